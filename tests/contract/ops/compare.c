/* Cases of comparisons, of logic, and of Where. */
#include "contract/ops/cases.h"

#define BOOL(...) DRAWN(TB_BOOL, __VA_ARGS__)

static const uint8_t choice[] = {1, 0, 1};

static const op_case grads[] = {
    {.op = "Where", .in = {CONST(TB_BOOL, choice, 3), F32(2, 3), F32(2, 3)}},
    {.op = "Where", .in = {CONST(TB_BOOL, choice, 3, 1), F32(3, 2), SCALAR}},
    {.op = "Where", .in = {CONST(TB_BOOL, choice, 3), SCALAR, F32(2, 3)}},
};

static const op_case plain[] = {
    {.op = "Equal", .in = {I32(2, 3), I32(3)}},
    {.op = "Less", .in = {F32(2, 3), F32(2, 1)}},
    {.op = "Greater", .in = {DRAWN(TB_U64, 4), DRAWN(TB_U64, 4)}},
    {.op = "LessOrEqual", .in = {F32(2, 3), SCALAR}},
    {.op = "GreaterOrEqual", .in = {F32(4), F32(4)}},
    {.op = "And", .in = {BOOL(2, 3), BOOL(3)}},
    {.op = "Or", .in = {BOOL(3), BOOL(3)}},
    {.op = "Xor", .in = {BOOL(3), BOOL(3)}},
    {.op = "Not", .in = {BOOL(3)}},
    {.op = "Where", .in = {BOOL(3), I32(3), I32(2, 1)}},
};

static const op_case refused[] = {
    {.op = "Equal", .in = {F32(3), I32(3)}},
    {.op = "Less", .in = {F32(3), F32(2)}},
    {.op = "Greater", .in = {BOOL(3), BOOL(3)}},
    {.op = "LessOrEqual", .in = {F32(3), F32(2)}},
    {.op = "GreaterOrEqual", .in = {F32(3), I32(3)}},
    {.op = "And", .in = {F32(3), F32(3)}},
    {.op = "Or", .in = {BOOL(3), I32(3)}},
    {.op = "Xor", .in = {I32(3), I32(3)}},
    {.op = "Not", .in = {I32(3)}},
    {.op = "Where", .in = {I32(3), F32(3), F32(3)}},
    {.op = "Where", .in = {BOOL(3), F32(3), I32(3)}},
    {.op = "Where", .in = {BOOL(3), F32(2), F32(3)}},
};

const op_family family_compare = {.name = "compare",
                                  .grads = grads,
                                  .n_grads = COUNT_OF(grads),
                                  .plain = plain,
                                  .n_plain = COUNT_OF(plain),
                                  .refused = refused,
                                  .n_refused = COUNT_OF(refused)};
