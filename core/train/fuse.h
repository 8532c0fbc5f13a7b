/* core/train/fuse.h - lets the call that makes a gradient move the parameter at
 * once: a matrix product, w = keep * w - rate * a b, the rows of a table that
 * were looked up, or weights and bias of a convolution. For optimisers that are
 * linear in w and g; saves the gradient's memory and two trips through it. */
#ifndef TB_TRAIN_FUSE_H
#define TB_TRAIN_FUSE_H

#include "model/bind.h"
#include "model/params.h"

/* Read at each run. */
typedef struct tb_fuse_rates {
    float keep;
    float rate;
} tb_fuse_rates;

/* Rewrites, in a bound graph not yet planned, each call that makes grads[s] as
 * a plain product, by a Gather of rows or for a convolution, unless the
 * parameter is still read behind it; place grads[s] on the parameter then.
 * fused [slots->n]: which slots. rates is borrowed for the life of bound. */
void tb_fuse_updates(tb_bound *bound, const tb_slots *slots,
                     const tb_value_id *grads, const tb_fuse_rates *rates,
                     bool *fused) TB_NONNULL(1, 2, 3, 4, 5);

#endif
