/* core/model/ops/conv.h - what passes over a bound graph may tell a Conv call.
 * For core/exec and core/train. */
#ifndef TB_MODEL_OPS_CONV_H
#define TB_MODEL_OPS_CONV_H

#include "model/op.h"

/* Lets a bound call end in min(max(y, low), high), as a Relu (0, infinity) or
 * Clip behind it would; NaN stays. False, and nothing changed, when the call is
 * no Conv or clamps already. */
bool tb_op_conv_clamp(tb_call *call, float low, float high) TB_NONNULL(1);

/* Lets a bound call go on as the BatchNormalization behind it would, by running
 * statistics: same bits. Its inputs 1 to 4 become inputs 3 to 6 of the call,
 * read at each run. False, and nothing changed, when the call is no Conv,
 * clamps or goes on so already, or trains. */
bool tb_op_conv_norm(tb_call *call, const tb_call *norm) TB_NONNULL(1, 2);

/* Lets a bound call of a convolution's gradient move a parameter instead of
 * making output `out`: p = *keep * p - *rate * gradient, the very bits of
 * tb_k_axpby, read from both at each run; the parameter lies where that output
 * does, and is read before by this call only. False, and nothing changed, when
 * the call is no such gradient, or out is that of its input. */
bool tb_op_conv_step(tb_call *call, size_t out, const float *keep,
                     const float *rate) TB_NONNULL(1, 3, 4);

#endif
