/* Cases of Concat, Split. */
#include "contract/ops/cases.h"

static const int64_t parts_2_3[] = {2, 3};
static const int64_t parts_2_4[] = {2, 4};
static const int64_t parts_5[] = {5};
static const int64_t parts_below[] = {-1, 6};

static const op_case grads[] = {
    {.op = "Concat", .attrs = {INT("axis", 0)}, .in = {F32(3, 2), F32(1, 2)}},
    {.op = "Concat",
     .attrs = {INT("axis", -1)},
     .in = {F32(3, 2), F32(3, 1), F32(3, 4)}},
    {.op = "Concat", .attrs = {INT("axis", 1)}, .in = {F32(2, 3, 2)}},
    {.op = "Split",
     .attrs = {INT("axis", 1)},
     .in = {F32(3, 5), CONST(TB_I64, parts_2_3, 2)},
     .n_out = 2},
    {.op = "Split", /* a part whose gradient never comes */
     .attrs = {INT("axis", 1)},
     .in = {F32(3, 5), CONST(TB_I64, parts_2_3, 2)},
     .n_out = 2,
     .quiet = 1},
    {.op = "Split", .in = {F32(4, 3)}, .n_out = 2},
    {.op = "Split", .in = {F32(4, 3)}, .n_out = 1},
    {.op = "Split",
     .opset = 11,
     .attrs = {INT("axis", -1), INTS("split", parts_2_3)},
     .in = {F32(2, 5)},
     .n_out = 2},
    {.op = "Split", /* 2, 2 and what is left */
     .opset = 18,
     .attrs = {INT("axis", 1), INT("num_outputs", 3)},
     .in = {F32(2, 5)},
     .n_out = 3},
};

static const op_case refused[] = {
    {.op = "Concat", .attrs = {INT("axis", 0)}, .in = {F32(3, 2), F32(3, 3)}},
    {.op = "Concat", .attrs = {INT("axis", 0)}, .in = {F32(3, 2), I32(3, 2)}},
    {.op = "Concat", .attrs = {INT("axis", 2)}, .in = {F32(3, 2)}},
    {.op = "Split", .in = {F32(5)}, .n_out = 2},
    {.op = "Split", .in = {F32(5), CONST(TB_I64, parts_2_4, 2)}, .n_out = 2},
    {.op = "Split", .in = {F32(5), CONST(TB_I64, parts_5, 1)}, .n_out = 2},
    {.op = "Split", .in = {F32(5), CONST(TB_I64, parts_below, 2)}, .n_out = 2},
    {.op = "Split", .in = {F32(4), DRAWN(TB_I64, 2)}, .n_out = 2},
    {.op = "Split",
     .opset = 11,
     .attrs = {INTS("split", parts_2_4)},
     .in = {F32(5)},
     .n_out = 2},
    {.op = "Split",
     .opset = 18,
     .attrs = {INT("num_outputs", 3)},
     .in = {F32(6)},
     .n_out = 2},
};

const op_family family_concat = {.name = "concat",
                                 .grads = grads,
                                 .n_grads = COUNT_OF(grads),
                                 .refused = refused,
                                 .n_refused = COUNT_OF(refused)};
