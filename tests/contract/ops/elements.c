/* Cases of GatherElements, OneHot. */
#include "contract/ops/cases.h"

static const int64_t index_twice[] = {2, -3, 2, 0, 1, 1};
static const int64_t index_far[] = {0, 3};
static const int64_t four[] = {4};
static const int64_t below[] = {-4};
static const float off_on[] = {0.5f, 2.0f};

static const op_case grads[] = {
    {.op = "GatherElements",
     .in = {F32(3, 2), CONST(TB_I64, index_twice, 3, 2)}},
    {.op = "GatherElements",
     .attrs = {INT("axis", -1)},
     .in = {F32(4, 3), CONST(TB_I64, index_twice, 2, 3)}},
    {.op = "GatherElements",
     .attrs = {INT("axis", 1)},
     .in = {F32(2, 4, 2), I32(2, 3, 2)}},
};

static const op_case plain[] = {
    {.op = "OneHot",
     .in = {DRAWN(TB_I64, 2, 3), CONST(TB_I64, four, 1),
            CONST(TB_F32, off_on, 2)}},
    {.op = "OneHot",
     .attrs = {INT("axis", 0)},
     .in = {I32(3), CONST(TB_I64, four, 1), CONST(TB_F32, off_on, 2)}},
};

static const op_case refused[] = {
    {.op = "GatherElements", .in = {F32(3, 2), I32(3)}},
    {.op = "GatherElements", .in = {F32(3, 2), I32(3, 3)}},
    {.op = "GatherElements", .in = {F32(3, 2), F32(3, 2)}},
    {.op = "GatherElements", .in = {F32(3), CONST(TB_I64, index_far, 2)}},
    {.op = "OneHot",
     .in = {I32(3), CONST(TB_I64, below, 1), CONST(TB_F32, off_on, 2)}},
    {.op = "OneHot",
     .in = {I32(3), DRAWN(TB_I64, 1), CONST(TB_F32, off_on, 2)}},
    {.op = "OneHot",
     .in = {I32(3), CONST(TB_I64, four, 1), CONST(TB_F32, off_on, 1)}},
};

const op_family family_elements = {.name = "elements",
                                   .grads = grads,
                                   .n_grads = COUNT_OF(grads),
                                   .plain = plain,
                                   .n_plain = COUNT_OF(plain),
                                   .refused = refused,
                                   .n_refused = COUNT_OF(refused)};
