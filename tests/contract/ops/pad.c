/* Cases of Pad. */
#include "contract/ops/cases.h"

static const int64_t pads_1_2[] = {1, 0, 0, 2};
static const int64_t pads_rows[] = {2, 0, 1, 0};
static const int64_t pads_cut[] = {-1, 2, 1, -2};
static const int64_t pads_wide[] = {0, 4, 0, 5};
static const int64_t pads_one[] = {1, 2};
static const int64_t pads_short[] = {1, 1};
static const int64_t pads_away[] = {0, -2, 0, -2};
static const int64_t pads_huge[] = {0, INT64_MAX, 0, INT64_MAX};
static const int64_t axis_last[] = {-1};
static const float value_2[] = {2.0f};
static const int64_t value_whole[] = {2};

static const op_case grads[] = {
    {.op = "Pad",
     .in = {F32(2, 3), CONST(TB_I64, pads_1_2, 4), CONST(TB_F32, value_2, 1)}},
    {.op = "Pad", .in = {F32(2, 3), CONST(TB_I64, pads_rows, 4)}},
    {.op = "Pad", .in = {F32(3, 4), CONST(TB_I64, pads_cut, 4)}},
    {.op = "Pad",
     .attrs = {TEXT("mode", "reflect")},
     .in = {F32(3, 3), CONST(TB_I64, pads_1_2, 4)}},
    {.op = "Pad", /* over and over */
     .attrs = {TEXT("mode", "reflect")},
     .in = {F32(2, 3), CONST(TB_I64, pads_wide, 4)}},
    {.op = "Pad",
     .attrs = {TEXT("mode", "edge")},
     .in = {F32(2, 3), CONST(TB_I64, pads_rows, 4)}},
    {.op = "Pad",
     .opset = 19,
     .attrs = {TEXT("mode", "wrap")},
     .in = {F32(2, 3), CONST(TB_I64, pads_wide, 4)}},
    {.op = "Pad",
     .opset = 18,
     .in = {F32(2, 3), CONST(TB_I64, pads_one, 2), OMITTED,
            CONST(TB_I64, axis_last, 1)}},
    {.op = "Pad",
     .opset = 10,
     .attrs = {INTS("pads", pads_1_2), FLOAT("value", 3.0f)},
     .in = {F32(2, 3)}},
};

static const op_case refused[] = {
    {.op = "Pad", .in = {F32(2, 3), CONST(TB_I64, pads_short, 2)}},
    {.op = "Pad", .in = {F32(2, 3), CONST(TB_I64, pads_away, 4)}},
    {.op = "Pad", .in = {F32(2, 3), CONST(TB_I64, pads_huge, 4)}},
    {.op = "Pad", .in = {F32(2, 3), DRAWN(TB_I64, 4)}},
    {.op = "Pad",
     .in = {F32(2, 3), CONST(TB_I64, pads_1_2, 4),
            CONST(TB_I64, value_whole, 1)}},
    {.op = "Pad",
     .attrs = {TEXT("mode", "mirror")},
     .in = {F32(2, 3), CONST(TB_I64, pads_1_2, 4)}},
    {.op = "Pad",
     .attrs = {TEXT("mode", "edge")},
     .in = {F32(0, 3), CONST(TB_I64, pads_1_2, 4)}},
    {.op = "Pad",
     .opset = 18,
     .in = {F32(2, 3), CONST(TB_I64, pads_1_2, 4), OMITTED,
            CONST(TB_I64, axis_last, 1)}},
    {.op = "Pad",
     .opset = 10,
     .attrs = {INTS("pads", pads_short)},
     .in = {F32(2, 3)}},
};

const op_family family_pad = {.name = "pad",
                              .grads = grads,
                              .n_grads = COUNT_OF(grads),
                              .refused = refused,
                              .n_refused = COUNT_OF(refused)};
