/* Cases of Slice. */
#include "contract/ops/cases.h"

static const int64_t one_1[] = {1};
static const int64_t one_far[] = {INT64_MAX};
static const int64_t starts_1_4[] = {1, -1};
static const int64_t ends_3_low[] = {3, INT64_MIN};
static const int64_t axes_0_2[] = {0, -1};
static const int64_t steps_1_back[] = {1, -2};
static const int64_t steps_0[] = {1, 0};
static const int64_t axes_twice[] = {1, -1};

static const op_case grads[] = {
    {.op = "Slice",
     .in = {F32(4, 3), CONST(TB_I64, one_1, 1), CONST(TB_I64, one_far, 1)}},
    {.op = "Slice",
     .in = {F32(4, 2, 5), CONST(TB_I64, starts_1_4, 2),
            CONST(TB_I64, ends_3_low, 2), CONST(TB_I64, axes_0_2, 2),
            CONST(TB_I64, steps_1_back, 2)}},
    {.op = "Slice",
     .in = {F32(3, 4), CONST(TB_I64, one_1, 1), CONST(TB_I64, one_far, 1),
            CONST(TB_I64, one_1, 1)}},
    {.op = "Slice",
     .opset = 9,
     .attrs = {INTS("starts", one_1), INTS("ends", one_far),
               INTS("axes", one_1)},
     .in = {F32(2, 4)}},
};

static const op_case refused[] = {
    {.op = "Slice", .in = {F32(4), DRAWN(TB_I64, 1), CONST(TB_I64, one_1, 1)}},
    {.op = "Slice",
     .in = {F32(4), CONST(TB_I64, starts_1_4, 2), CONST(TB_I64, one_1, 1)}},
    {.op = "Slice",
     .in = {F32(4), CONST(TB_I64, starts_1_4, 2),
            CONST(TB_I64, ends_3_low, 2)}},
    {.op = "Slice",
     .in = {F32(4, 3), CONST(TB_I64, starts_1_4, 2),
            CONST(TB_I64, ends_3_low, 2), CONST(TB_I64, axes_0_2, 2),
            CONST(TB_I64, steps_0, 2)}},
    {.op = "Slice",
     .in = {F32(4, 3), CONST(TB_I64, starts_1_4, 2),
            CONST(TB_I64, ends_3_low, 2), CONST(TB_I64, axes_twice, 2)}},
    {.op = "Slice",
     .opset = 9,
     .attrs = {INTS("starts", one_1), INTS("ends", one_far),
               INTS("axes", one_1)},
     .in = {F32(4)}},
};

const op_family family_slice = {.name = "slice",
                                .grads = grads,
                                .n_grads = COUNT_OF(grads),
                                .refused = refused,
                                .n_refused = COUNT_OF(refused)};
