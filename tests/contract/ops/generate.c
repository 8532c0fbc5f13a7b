/* Cases of Shape, Size, ConstantOfShape, Range. */
#include "contract/ops/cases.h"

static const int64_t shape_2_3[] = {2, 3};
static const int64_t shape_below[] = {2, -3};
static const int64_t ten[] = {10};
static const int64_t three[] = {3};
static const int64_t zero[] = {0};
static const int32_t short_ten[] = {10};
static const float tenth[] = {0.1f};
static const float one[] = {1.0f};
static const float none[] = {0.0f};
static const float everything[] = {1e30f};

static const op_case plain[] = {
    {.op = "Shape", .in = {F32(3, 5)}},
    {.op = "Shape", .attrs = {INT("start", -1)}, .in = {F32(3, 5)}},
    {.op = "Size", .in = {F32(3, 5)}},
    {.op = "ConstantOfShape", .in = {CONST(TB_I64, shape_2_3, 2)}},
    {.op = "Range",
     .in = {CONST(TB_I64, zero, 1), CONST(TB_I64, ten, 1),
            CONST(TB_I64, three, 1)}},
    {.op = "Range",
     .in = {CONST(TB_F32, none, 1), CONST(TB_F32, one, 1),
            CONST(TB_F32, tenth, 1)}},
};

static const op_case refused[] = {
    {.op = "ConstantOfShape", .in = {CONST(TB_I64, shape_below, 2)}},
    {.op = "ConstantOfShape", .in = {DRAWN(TB_I64, 2)}},
    {.op = "Range",
     .in = {CONST(TB_I64, zero, 1), CONST(TB_I64, ten, 1),
            CONST(TB_I64, zero, 1)}},
    {.op = "Range",
     .in = {CONST(TB_I64, zero, 1), CONST(TB_I32, short_ten, 1),
            CONST(TB_I64, three, 1)}},
    {.op = "Range",
     .in = {CONST(TB_F32, none, 1), CONST(TB_F32, everything, 1),
            CONST(TB_F32, tenth, 1)}},
    {.op = "Range",
     .in = {CONST(TB_I64, zero, 1), DRAWN(TB_I64, 1), CONST(TB_I64, three, 1)}},
};

const op_family family_generate = {.name = "generate",
                                   .plain = plain,
                                   .n_plain = COUNT_OF(plain),
                                   .refused = refused,
                                   .n_refused = COUNT_OF(refused)};
