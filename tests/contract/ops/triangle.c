/* Cases of Trilu, CumSum. */
#include "contract/ops/cases.h"

static const int64_t one[] = {1};
static const int64_t less_two[] = {-2};
static const int64_t far[] = {INT64_MAX};
static const int64_t zero[] = {0};
static const int64_t two[] = {2};

static const op_case grads[] = {
    {.op = "Trilu", .in = {F32(2, 3, 4), CONST(TB_I64, one, 1)}},
    {.op = "Trilu", .in = {F32(4, 3)}},
    {.op = "Trilu",
     .attrs = {INT("upper", 0)},
     .in = {F32(5, 3), CONST(TB_I64, less_two, 1)}},
    {.op = "Trilu",
     .attrs = {INT("upper", 0)},
     .in = {F32(2, 3), CONST(TB_I64, far, 1)}},
    {.op = "CumSum", .in = {F32(4), CONST(TB_I64, zero, 1)}},
    {.op = "CumSum",
     .attrs = {INT("exclusive", 1)},
     .in = {F32(2, 3, 2), CONST(TB_I64, one, 1)}},
    {.op = "CumSum",
     .attrs = {INT("reverse", 1), INT("exclusive", 1)},
     .in = {F32(3, 2), CONST(TB_I64, zero, 1)}},
};

static const op_case refused[] = {
    {.op = "Trilu", .in = {F32(4)}},
    {.op = "Trilu", .in = {F32(4, 3), DRAWN(TB_I64, 1)}},
    {.op = "CumSum", .in = {F32(4, 3), CONST(TB_I64, two, 1)}},
    {.op = "CumSum", .in = {F32(4, 3), DRAWN(TB_I64, 1)}},
};

const op_family family_triangle = {.name = "triangle",
                                   .grads = grads,
                                   .n_grads = COUNT_OF(grads),
                                   .refused = refused,
                                   .n_refused = COUNT_OF(refused)};
