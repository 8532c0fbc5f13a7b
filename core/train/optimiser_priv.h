/* core/train/optimiser_priv.h - the members of the table of optimisers, one
 * file each under optimisers/, and what they share. */
#ifndef TB_TRAIN_OPTIMISER_PRIV_H
#define TB_TRAIN_OPTIMISER_PRIV_H

#include "train/optimiser.h"

extern const tb_optimiser tb_optimiser_sgd;
extern const tb_optimiser tb_optimiser_adam;
extern const tb_optimiser tb_optimiser_adamw;
extern const tb_optimiser tb_optimiser_rmsprop;
extern const tb_optimiser tb_optimiser_adagrad;

/* The keys an optimiser reads beside lr and weight_decay. */
typedef enum tb_opt_reads {
    TB_OPT_MOMENTUM = 1,
    TB_OPT_NESTEROV = 2, /* and dampening */
    TB_OPT_BETAS = 4,
    TB_OPT_ALPHA = 8,
    TB_OPT_LR_DECAY = 16,
    TB_OPT_EPS = 32
} tb_opt_reads;

/* A step that is never linear in w and g. */
bool tb_opt_not_linear(const tb_opt_config *c, float *keep, float *rate);

/* Ranges of what is read, and that the rest is 0. Errors: USAGE, with the
 * optimiser's name in front. */
tb_rc tb_opt_check(const char *name, unsigned reads, const tb_opt_config *c,
                   tb_err *err);

#endif
