/* core/train/loss_priv.h - the members of the table of losses, one file each
 * under losses/. */
#ifndef TB_TRAIN_LOSS_PRIV_H
#define TB_TRAIN_LOSS_PRIV_H

#include "train/loss.h"

extern const tb_loss tb_loss_softmax_cross_entropy;
extern const tb_loss tb_loss_mse;

#endif
