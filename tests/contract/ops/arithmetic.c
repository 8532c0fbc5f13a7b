/* Cases of Add, Sub, Mul, Div. */
#include "contract/ops/cases.h"

static const op_case grads[] = {
    {.op = "Add", .in = {F32(2, 3), F32(2, 3)}},
    {.op = "Add", .in = {F32(2, 3, 4), F32(4)}},
    {.op = "Sub", .in = {F32(2, 1, 4), F32(3, 1)}},
    {.op = "Sub", .in = {F32(3), F32(2, 3)}},
    {.op = "Mul", .in = {F32(2, 3, 4), F32(3, 1)}},
    {.op = "Mul", .in = {SCALAR, F32(2, 3)}},
    {.op = "Div", .in = {F32(2, 3), F32(2, 3)}},
    {.op = "Div", .in = {F32(2, 3, 2), F32(1, 3, 1)}},
};

static const op_case refused[] = {
    {.op = "Add", .in = {F32(2, 3), F32(2)}},
    {.op = "Add", .in = {F32(2, 3), I32(3)}},
    {.op = "Sub", .in = {F32(2, 3), F32(3, 2)}},
    {.op = "Mul", .in = {F32(4), F32(5)}},
    {.op = "Div", .in = {I32(2), I32(2)}},
};

const op_family family_arithmetic = {.name = "arithmetic",
                                     .grads = grads,
                                     .n_grads = COUNT_OF(grads),
                                     .refused = refused,
                                     .n_refused = COUNT_OF(refused)};
