/* Cases of Softmax, LogSoftmax. */
#include "contract/ops/cases.h"

static const op_case grads[] = {
    {.op = "Softmax", .in = {F32(3, 5)}},
    {.op = "Softmax", .attrs = {INT("axis", 1)}, .in = {F32(2, 3, 4)}},
    {.op = "Softmax", .opset = 11, .in = {F32(2, 3, 4)}},
    {.op = "Softmax", .attrs = {INT("axis", 0)}, .in = {DRAWN(TB_F64, 3, 2)}},
    {.op = "LogSoftmax", .in = {F32(3, 5)}},
    {.op = "LogSoftmax", .in = {DRAWN(TB_F64, 3, 2)}},
    {.op = "LogSoftmax", .attrs = {INT("axis", 0)}, .in = {F32(2, 3, 4)}},
    {.op = "LogSoftmax",
     .opset = 11,
     .attrs = {INT("axis", 2)},
     .in = {F32(2, 3, 4)}},
};

static const op_case refused[] = {
    {.op = "Softmax", .attrs = {INT("axis", 2)}, .in = {F32(3, 5)}},
    {.op = "Softmax", .in = {SCALAR}},
    {.op = "Softmax",
     .opset = 11,
     .attrs = {INT("axis", 3)},
     .in = {F32(3, 5)}},
    {.op = "LogSoftmax", .attrs = {INT("axis", -3)}, .in = {F32(3, 5)}},
    {.op = "LogSoftmax", .opset = 11, .in = {I32(3, 5)}},
};

const op_family family_softmax = {.name = "softmax",
                                  .grads = grads,
                                  .n_grads = COUNT_OF(grads),
                                  .refused = refused,
                                  .n_refused = COUNT_OF(refused)};
