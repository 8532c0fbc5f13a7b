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

/* seed: initial weights and biases are uniform in +-1/sqrt(n_in), PyTorch's
 * default for Linear (kaiming_uniform_ with a = sqrt 5), drawn from the stream
 * (seed, 0, "init", parameter name). input_shape: a sample's shape, such as
 * [28, 28]; NULL: [first width]. Errors: USAGE (says what the text should look
 * like), LIMIT (parameters), MISMATCH (input_shape against the first width),
 * NOMEM. */
tb_rc tb_build_new(tb_graph **out, const char *text, uint64_t seed,
                   const tb_shape *input_shape, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Draws every PARAM anew by the same rule (job's `init: fresh`): weights of two
 * or more dimensions by their fan-in, a bias by the fan-in of the weight of
 * its node. */
tb_rc tb_build_init(tb_graph *graph, uint64_t seed, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
