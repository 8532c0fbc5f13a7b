/* core/train/loss_priv.h - the members of the table of losses, one file each
 * under losses/, and what they share. */
#ifndef TB_TRAIN_LOSS_PRIV_H
#define TB_TRAIN_LOSS_PRIV_H

#include "train/loss.h"

extern const tb_loss tb_loss_softmax_cross_entropy;
extern const tb_loss tb_loss_bce_with_logits;
extern const tb_loss tb_loss_mse;
extern const tb_loss tb_loss_l1;
extern const tb_loss tb_loss_huber;

/* b's options, or those that are all zero. */
const tb_loss_options *tb_loss_options_of(const tb_loss_batch *b);

/* Any number is a target; and the weight of a batch of values, its rows. */
tb_rc tb_loss_check_values(const tb_loss_batch *b, tb_err *err);
double tb_loss_weigh_rows(const tb_loss_batch *b);

/* b->weight, or loss->weigh(b). */
double tb_loss_weight(const tb_loss *loss, const tb_loss_batch *b);

/* Zeroes the gradient of padding; n values a row. */
void tb_loss_clear_padding(const tb_loss_batch *b, size_t n);

#endif
