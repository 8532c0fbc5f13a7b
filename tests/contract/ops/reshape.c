/* Cases of Flatten, Reshape, Squeeze, Unsqueeze, Identity. */
#include "contract/ops/cases.h"

static const int64_t shape_4_6[] = {4, 6};
static const int64_t shape_open[] = {0, -1};
static const int64_t shape_wrong[] = {5, -1};
static const int64_t axes_0_2[] = {0, -1};
static const int64_t axes_1[] = {1};
static const int64_t axes_twice[] = {1, 1};

static const op_case grads[] = {
    {.op = "Identity", .in = {F32(3, 5)}},
    {.op = "Flatten", .attrs = {INT("axis", 2)}, .in = {F32(2, 3, 4)}},
    {.op = "Reshape", .in = {F32(2, 3, 4), CONST(TB_I64, shape_4_6, 2)}},
    {.op = "Unsqueeze", .in = {F32(2, 3), CONST(TB_I64, axes_0_2, 2)}},
    {.op = "Unsqueeze",
     .opset = 11,
     .attrs = {INTS("axes", axes_1)},
     .in = {F32(2, 3)}},
    {.op = "Squeeze", .in = {F32(2, 1, 3), CONST(TB_I64, axes_1, 1)}},
    {.op = "Squeeze", .opset = 11, .in = {F32(1, 3, 1)}},
};

static const op_case refused[] = {
    {.op = "Flatten", .attrs = {INT("axis", 4)}, .in = {F32(2, 3, 4)}},
    {.op = "Reshape", .in = {F32(2, 3, 4), CONST(TB_I64, shape_wrong, 2)}},
    {.op = "Reshape", .in = {SCALAR, CONST(TB_I64, shape_open, 2)}},
    {.op = "Reshape", .in = {F32(2), F32(2)}},
    {.op = "Unsqueeze", .in = {F32(2), CONST(TB_I64, axes_twice, 2)}},
    {.op = "Unsqueeze", .opset = 11, .in = {F32(2)}},
    {.op = "Squeeze", .in = {F32(1, 2), CONST(TB_I64, axes_1, 1)}},
    {.op = "Squeeze",
     .opset = 11,
     .attrs = {INTS("axes", axes_1)},
     .in = {F32(2)}},
};

const op_family family_reshape = {.name = "reshape",
                                  .grads = grads,
                                  .n_grads = COUNT_OF(grads),
                                  .refused = refused,
                                  .n_refused = COUNT_OF(refused)};
