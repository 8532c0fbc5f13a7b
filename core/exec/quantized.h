/* core/exec/quantized.h - quantised graphs made fast, for inference. What ONNX
 * says as DequantizeLinear -> Conv, Gemm or MatMul -> QuantizeLinear, or as
 * QLinearConv and QLinearMatMul, becomes one call on bytes with weights packed
 * once; Relu, Clip, MaxPool and changes of shape in between go along. Works on
 * a copy of the graph; knows nothing of memory or batches. */
#ifndef TB_EXEC_QUANTIZED_H
#define TB_EXEC_QUANTIZED_H

#include "model/graph.h"

/* *out: a copy of graph with every quantised layer fused, which borrows data
 * from graph and keeps its ids (what became needless stays, unread); NULL when
 * there is none. A byte differs from the unfused one by one step at most, where
 * float32 rounds the product of scales another way. Scales, zero points,
 * weights and biases must be constants (role CONST), else a layer stays as it
 * is. Errors: NOMEM, MALFORMED (a cycle). */
tb_rc tb_quantized_fuse(tb_graph **out, const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
