/* Cases of Relu and its kin. */
#include "contract/ops/cases.h"

static const op_case grads[] = {
    {.op = "Relu", .in = {F32(3, 5)}},
    {.op = "LeakyRelu", .attrs = {FLOAT("alpha", 0.3f)}, .in = {F32(3, 5)}},
    {.op = "LeakyRelu", .in = {F32(15)}},
    {.op = "Sigmoid", .in = {F32(3, 5)}},
    {.op = "Tanh", .in = {F32(3, 5)}},
};

static const op_case refused[] = {
    {.op = "Relu", .in = {I32(3)}},
    {.op = "LeakyRelu", .in = {I32(3)}},
    {.op = "Sigmoid", .in = {I32(3)}},
    {.op = "Tanh", .in = {I32(3)}},
};

const op_family family_activation = {.name = "activation",
                                     .grads = grads,
                                     .n_grads = COUNT_OF(grads),
                                     .refused = refused,
                                     .n_refused = COUNT_OF(refused)};
