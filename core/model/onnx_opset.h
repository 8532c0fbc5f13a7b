/* core/model/onnx_opset.h - which opset a graph is written in. */
#ifndef TB_MODEL_ONNX_OPSET_H
#define TB_MODEL_ONNX_OPSET_H

#include "model/bind.h"

/* The lowest opset from TB_GRAPH_OPSET on in which every node may be said and
 * means what it means in the graph; else the graph's own. types: of all values,
 * from tb_bind_types. */
int tb_onnx_opset(const tb_graph *graph, const tb_value_type *types)
    TB_NONNULL(1, 2);

/* The first IR version that knows that opset, at least 8 (the table of versions
 * in onnx/docs/Versioning.md). */
int tb_onnx_ir(int opset);

#endif
