/* Cases of Expand, Tile. */
#include "contract/ops/cases.h"

static const int64_t shape_2_1_4[] = {2, 1, 4};
static const int64_t shape_3_4[] = {3, 4};
static const int64_t shape_below[] = {-1, 4};
static const int64_t times_2_3[] = {2, 3};
static const int64_t times_1_3[] = {1, 3};
static const int64_t times_1[] = {1};
static const int64_t times_huge[] = {INT64_MAX, INT64_MAX};

static const op_case grads[] = {
    {.op = "Expand", .in = {F32(3, 1), CONST(TB_I64, shape_2_1_4, 3)}},
    {.op = "Expand", .in = {F32(4), CONST(TB_I64, shape_3_4, 2)}},
    {.op = "Expand", .in = {SCALAR, CONST(TB_I64, shape_3_4, 2)}},
    {.op = "Tile", .in = {F32(2, 2), CONST(TB_I64, times_2_3, 2)}},
    {.op = "Tile", .in = {F32(2, 1), CONST(TB_I64, times_1_3, 2)}},
    {.op = "Tile", .in = {F32(3), CONST(TB_I64, times_1, 1)}},
};

static const op_case refused[] = {
    {.op = "Expand", .in = {F32(2, 4), CONST(TB_I64, shape_3_4, 2)}},
    {.op = "Expand", .in = {F32(1, 4), CONST(TB_I64, shape_below, 2)}},
    {.op = "Expand", .in = {F32(1, 4), DRAWN(TB_I64, 2)}},
    {.op = "Tile", .in = {F32(2, 2), CONST(TB_I64, times_1, 1)}},
    {.op = "Tile", .in = {F32(2, 2), CONST(TB_I64, times_huge, 2)}},
    {.op = "Tile", .in = {F32(2, 2), DRAWN(TB_I64, 2)}},
};

const op_family family_expand = {.name = "expand",
                                 .grads = grads,
                                 .n_grads = COUNT_OF(grads),
                                 .refused = refused,
                                 .n_refused = COUNT_OF(refused)};
