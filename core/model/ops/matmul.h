/* core/model/ops/matmul.h - what a bound product can do on its way out, for
 * whoever fuses calls (exec/fuse.h). Each returns false, and changes nothing,
 * when the call is none of these or cannot; else the caller sees to inputs and
 * outputs. */
#ifndef TB_MODEL_OPS_MATMUL_H
#define TB_MODEL_OPS_MATMUL_H

#include "model/op.h"

/* MatMul, one product over all rows: adds a row of this shape, [n], which
 * becomes its third input. */
bool tb_op_matmul_bias(tb_call *call, const tb_shape *row) TB_NONNULL(1, 2);

/* Gemm, or MatMul as above: ends in y <= 0 ? 0 : y. */
bool tb_op_product_relu(tb_call *call) TB_NONNULL(1);

/* Gemm without C: ends in gate > 0 ? y : 0 * y, gate being its third input, in
 * the shape of y. */
bool tb_op_gemm_gate(tb_call *call) TB_NONNULL(1);

#endif
