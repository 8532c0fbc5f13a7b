/* Cases of Shape, Gather, Concat. */
#include "contract/ops/cases.h"

static const int64_t index_far[] = {3};

static const op_case refused[] = {
    {.op = "Gather", .in = {F32(3, 2), CONST(TB_I64, index_far, 1)}},
    {.op = "Gather", .in = {F32(3, 2), I32(1)}},
    {.op = "Concat", .attrs = {INT("axis", 0)}, .in = {F32(3, 2), F32(3, 3)}},
    {.op = "Concat", .attrs = {INT("axis", 0)}, .in = {F32(3, 2), I32(3, 2)}},
};

static const int64_t index_near[] = {2, 0};

static const op_case plain[] = {
    {.op = "Shape", .in = {F32(3, 5)}},
    {.op = "Gather", .in = {F32(3, 2), CONST(TB_I64, index_near, 2)}},
    {.op = "Concat", .attrs = {INT("axis", 0)}, .in = {F32(3, 2), F32(1, 2)}},
};

const op_family family_select = {.name = "select",
                                 .plain = plain,
                                 .n_plain = COUNT_OF(plain),
                                 .refused = refused,
                                 .n_refused = COUNT_OF(refused)};
