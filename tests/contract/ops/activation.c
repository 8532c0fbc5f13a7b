/* Cases of Relu and its kin. */
#include "contract/ops/cases.h"

static const op_case grads[] = {
    {.op = "Relu", .in = {F32(3, 5)}},
    {.op = "Relu", .in = {DRAWN(TB_F64, 7)}},
    {.op = "LeakyRelu", .attrs = {FLOAT("alpha", 0.3f)}, .in = {F32(3, 5)}},
    {.op = "LeakyRelu", .in = {F32(15)}},
    {.op = "Sigmoid", .in = {F32(3, 5)}},
    {.op = "Sigmoid", .in = {DRAWN(TB_F64, 7)}},
    {.op = "Tanh", .in = {F32(3, 5)}},
    {.op = "Tanh", .in = {DRAWN(TB_F64, 7)}},
    {.op = "PRelu", .in = {F32(2, 3, 4), F32(3, 1)}},
    {.op = "PRelu", .in = {F32(3, 5), F32(5)}},
    {.op = "PRelu", .in = {DRAWN(TB_F64, 3, 5), DRAWN(TB_F64, 1)}},
};

static const op_case plain[] = {
    {.op = "Relu", .in = {I32(3)}},
};

static const op_case refused[] = {
    {.op = "Relu", .in = {DRAWN(TB_U8, 3)}},
    {.op = "LeakyRelu", .in = {I32(3)}},
    {.op = "Sigmoid", .in = {I32(3)}},
    {.op = "Tanh", .in = {I32(3)}},
    {.op = "PRelu", .in = {F32(3), F32(2, 3)}},
    {.op = "PRelu", .in = {F32(3), DRAWN(TB_F64, 3)}},
};

const op_family family_activation = {.name = "activation",
                                     .grads = grads,
                                     .n_grads = COUNT_OF(grads),
                                     .plain = plain,
                                     .n_plain = COUNT_OF(plain),
                                     .refused = refused,
                                     .n_refused = COUNT_OF(refused)};
