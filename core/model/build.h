/* core/model/build.h - new models from a line of text. "mlp:784-200-200-10" is
 * Flatten (when the input has more than one dimension), then Gemm and Relu per
 * layer, the last without Relu; input "input" [N, 784] float32, output
 * "logits" [N, 10], parameters "fc1.weight" [200, 784] (transB), "fc1.bias"
 * [200], ... */
#ifndef TB_MODEL_BUILD_H
#define TB_MODEL_BUILD_H

#include "model/graph.h"

#define TB_BUILD_LAYERS_MAX 32
#define TB_BUILD_WIDTH_MAX  1000000
#define TB_BUILD_PARAMS_MAX ((size_t)1 << 28)

/* seed: of the first weights and biases, drawn as by tb_init_fresh (init.h).
 * input_shape: a sample's shape, such as [28, 28]; NULL: [first width]. Errors:
 * USAGE (says what the text should look like), LIMIT (parameters), MISMATCH
 * (input_shape against the first width), NOMEM. */
tb_rc tb_build_new(tb_graph **out, const char *text, uint64_t seed,
                   const tb_shape *input_shape, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
