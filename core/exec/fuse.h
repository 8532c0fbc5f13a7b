/* core/exec/fuse.h - lets one call do what two would, in a bound graph that has
 * no memory yet, for inference and training alike:
 *   MatMul -> Add of a row          the row is where the sums start
 *   Gemm, MatMul, Conv -> Relu      the product ends in it
 *   Conv -> Clip                    the same
 *   Conv -> BatchNormalization      in inference, a line a channel
 *   Reshape -> InstanceNormalization (of ones and zeros) -> Reshape -> Mul
 *     -> Add of [C, 1, ...]         what PyTorch makes of GroupNorm
 *   Gemm -> ReluGrad                a gradient's product passes its gate
 * where nobody else reads what lies between. Same bits as apart, but for sums
 * of more than TB_GEMM_CHUNK terms behind MatMul -> Add, which are rounded in
 * another order, the sign of a zero behind Conv, and GroupNorm, which
 * multiplies by one factor instead of two. */
#ifndef TB_EXEC_FUSE_H
#define TB_EXEC_FUSE_H

#include "model/bind.h"

/* Rewrites bound; call->node of a fused call is a node of its own, whose inputs
 * and outputs are those of all its parts. Errors: NOMEM; bound is as it was. */
tb_rc tb_fuse_calls(tb_bound *bound, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

#endif
