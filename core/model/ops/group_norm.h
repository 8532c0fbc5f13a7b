/* core/model/ops/group_norm.h - what exec/fuse.h may make of an
 * InstanceNormalization over groups of channels. */
#ifndef TB_MODEL_OPS_GROUP_NORM_H
#define TB_MODEL_OPS_GROUP_NORM_H

#include "model/op.h"

/* Lets a bound call be the GroupNormalization over x, its input, [n, c, ...],
 * with a scale and a bias for each channel (inputs 1 and 2, of c elements), in
 * the groups and by the epsilon of norm, which saw x as [n, groups, ...].
 * False, and nothing changed, when norm is no InstanceNormalization, or c are
 * not as many in each group. */
bool tb_op_group_norm_over(tb_call *call, const tb_call *norm,
                           const tb_shape *x) TB_NONNULL(1, 2, 3);

#endif
