/* Cases of Gather. */
#include "contract/ops/cases.h"

static const int64_t index_far[] = {3};
static const int64_t index_near[] = {2, -3, 2, 0}; /* one of them twice */

static const op_case grads[] = {
    {.op = "Gather", .in = {F32(3, 2), CONST(TB_I64, index_near, 4)}},
    {.op = "Gather",
     .attrs = {INT("axis", 1)},
     .in = {F32(2, 3), CONST(TB_I64, index_near, 2, 2)}},
    {.op = "Gather",
     .attrs = {INT("axis", -2)},
     .in = {F32(2, 4, 3), I32(2, 3)}},
    {.op = "Gather", .in = {F32(4, 2), DRAWN(TB_I64, 5)}},
};

static const op_case refused[] = {
    {.op = "Gather", .in = {F32(3, 2), CONST(TB_I64, index_far, 1)}},
    {.op = "Gather", .in = {F32(3, 2), F32(1)}},
    {.op = "Gather", .in = {SCALAR, I32(1)}},
    {.op = "Gather", .in = {F32(1, 1, 1, 1, 1), I32(1, 1, 1, 1, 1)}},
};

const op_family family_gather = {.name = "gather",
                                 .grads = grads,
                                 .n_grads = COUNT_OF(grads),
                                 .refused = refused,
                                 .n_refused = COUNT_OF(refused)};
