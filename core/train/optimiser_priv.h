/* core/train/optimiser_priv.h - the members of the table of optimisers, one
 * file each under optimisers/. */
#ifndef TB_TRAIN_OPTIMISER_PRIV_H
#define TB_TRAIN_OPTIMISER_PRIV_H

#include "train/optimiser.h"

extern const tb_optimiser tb_optimiser_sgd;

#endif
