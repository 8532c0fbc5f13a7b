/* Cases of Transpose. */
#include "contract/ops/cases.h"

static const int64_t perm_201[] = {2, 0, 1};
static const int64_t perm_0213[] = {0, 2, 1, 3};
static const int64_t perm_0231[] = {0, 2, 3, 1};
static const int64_t perm_0132[] = {0, 1, 3, 2};
static const int64_t perm_twice[] = {0, 0, 1};
static const int64_t perm_short[] = {1, 0};

static const op_case grads[] = {
    {.op = "Transpose",
     .attrs = {INTS("perm", perm_201)},
     .in = {F32(2, 3, 4)}},
    {.op = "Transpose",
     .attrs = {INTS("perm", perm_0213)},
     .in = {F32(2, 3, 2, 4)}},
    {.op = "Transpose",
     .attrs = {INTS("perm", perm_0231)},
     .in = {F32(2, 3, 2, 4)}},
    {.op = "Transpose",
     .attrs = {INTS("perm", perm_0132)},
     .in = {F32(1, 2, 5, 6)}},
    {.op = "Transpose", .in = {F32(1, 4, 1)}},
    {.op = "Transpose", .in = {F32(2, 3, 4)}},
};

static const op_case refused[] = {
    {.op = "Transpose",
     .attrs = {INTS("perm", perm_twice)},
     .in = {F32(2, 3, 4)}},
    {.op = "Transpose",
     .attrs = {INTS("perm", perm_short)},
     .in = {F32(2, 3, 4)}},
};

const op_family family_transpose = {.name = "transpose",
                                    .grads = grads,
                                    .n_grads = COUNT_OF(grads),
                                    .refused = refused,
                                    .n_refused = COUNT_OF(refused)};
