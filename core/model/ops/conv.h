/* core/model/ops/conv.h - what passes over a bound graph may tell a Conv call.
 * For core/exec and core/train. */
#ifndef TB_MODEL_OPS_CONV_H
#define TB_MODEL_OPS_CONV_H

#include "model/op.h"

/* Lets a bound call end in min(max(y, low), high), as a Relu (0, infinity) or
 * Clip behind it would; NaN stays. False, and nothing changed, when the call is
 * no Conv or clamps already. */
bool tb_op_conv_clamp(tb_call *call, float low, float high) TB_NONNULL(1);

#endif
