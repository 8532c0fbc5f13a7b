/* Cases of the reductions. */
#include "contract/ops/cases.h"

static const int64_t axis_0[] = {0};
static const int64_t axis_1[] = {1};
static const int64_t axis_last[] = {-1};
static const int64_t axes_0_2[] = {0, 2};
static const int64_t axes_1_3[] = {1, 3};
static const int64_t axis_3[] = {3};
static const int64_t axes_twice[] = {1, -1};

#define BY_INPUT(name, since, drawn_positive)                                  \
    {.op = name,                                                               \
     .opset = since,                                                           \
     .positive = drawn_positive,                                               \
     .in = {F32(3, 4, 5), CONST(TB_I64, axis_last, 1)}},                       \
        {.op = name,                                                           \
         .opset = since,                                                       \
         .positive = drawn_positive,                                           \
         .attrs = {INT("keepdims", 0)},                                        \
         .in = {F32(3, 2, 3, 2), CONST(TB_I64, axes_1_3, 2)}},                 \
        {.op = name,                                                           \
         .opset = since,                                                       \
         .positive = drawn_positive,                                           \
         .attrs = {INT("keepdims", 0)},                                        \
         .in = {F32(3, 2, 4), CONST(TB_I64, axes_0_2, 2)}},                    \
        {.op = name,                                                           \
         .opset = since,                                                       \
         .positive = drawn_positive,                                           \
         .in = {F32(2, 18)}},                                                  \
    {                                                                          \
        .op = name, .opset = since, .positive = drawn_positive,                \
        .attrs = {INT("noop_with_empty_axes", 1)}, .in = {                     \
            F32(2, 3)                                                          \
        }                                                                      \
    }

#define BY_ATTRIBUTE(name, drawn_positive)                                     \
    {.op = name,                                                               \
     .opset = 12,                                                              \
     .positive = drawn_positive,                                               \
     .attrs = {INTS("axes", axis_0)},                                          \
     .in = {F32(6, 3)}},                                                       \
    {                                                                          \
        .op = name, .opset = 12, .positive = drawn_positive,                   \
        .attrs = {INTS("axes", axis_1), INT("keepdims", 0)}, .in = {           \
            F32(2, 3, 4)                                                       \
        }                                                                      \
    }

/* Few elements: two that are near each other make a kink. */
#define EXTREME(name)                                                          \
    {.op = name,                                                               \
     .opset = 18,                                                              \
     .in = {F32(3, 2, 2), CONST(TB_I64, axis_last, 1)}},                       \
        {.op = name,                                                           \
         .opset = 18,                                                          \
         .attrs = {INT("keepdims", 0)},                                        \
         .in = {F32(2, 2, 2), CONST(TB_I64, axes_0_2, 2)}},                    \
        {.op = name,                                                           \
         .opset = 12,                                                          \
         .attrs = {INTS("axes", axis_1), INT("keepdims", 0)},                  \
         .in = {F32(2, 3, 2)}},                                                \
    {                                                                          \
        .op = name, .opset = 12, .in = { F32(3) }                              \
    }

static const op_case grads[] = {
    BY_INPUT("ReduceSum", 13, false),
    BY_ATTRIBUTE("ReduceSum", false),
    BY_INPUT("ReduceMean", 18, false),
    BY_ATTRIBUTE("ReduceMean", false),
    EXTREME("ReduceMax"),
    EXTREME("ReduceMin"),
    BY_INPUT("ReduceL1", 18, false),
    BY_ATTRIBUTE("ReduceL1", false),
    BY_INPUT("ReduceL2", 18, false),
    BY_ATTRIBUTE("ReduceL2", false),
    BY_INPUT("ReduceLogSum", 18, true),
    BY_ATTRIBUTE("ReduceLogSum", true),
    BY_INPUT("ReduceLogSumExp", 18, false),
    BY_ATTRIBUTE("ReduceLogSumExp", false),
    BY_INPUT("ReduceSumSquare", 18, false),
    BY_ATTRIBUTE("ReduceSumSquare", false),
};

static const op_case plain[] = {
    {.op = "ReduceProd",
     .opset = 18,
     .in = {F32(2, 3), CONST(TB_I64, axis_0, 1)}},
    {.op = "ReduceProd", .in = {F32(2, 3)}},
    {.op = "ReduceSum", .in = {DRAWN(TB_I64, 2, 3), CONST(TB_I64, axis_0, 1)}},
    {.op = "ReduceMax", .in = {DRAWN(TB_U8, 2, 3)}},
    {.op = "ReduceMean", .in = {DRAWN(TB_F64, 2, 3)}},
};

#define REFUSED(name, since)                                                   \
    {.op = name, .opset = since, .in = {F32(2, 3), CONST(TB_I64, axis_3, 1)}}, \
        {.op = name,                                                           \
         .opset = since,                                                       \
         .in = {F32(2, 3), CONST(TB_I64, axes_twice, 2)}},                     \
        {.op = name, .opset = since, .in = {F32(2, 3), DRAWN(TB_I64, 1)}},     \
    {                                                                          \
        .op = name, .opset = 12, .attrs = {INTS("axes", axis_3)}, .in = {      \
            F32(2, 3)                                                          \
        }                                                                      \
    }

static const op_case refused[] = {
    REFUSED("ReduceSum", 13),       REFUSED("ReduceMean", 18),
    REFUSED("ReduceMax", 18),       REFUSED("ReduceMin", 18),
    REFUSED("ReduceProd", 18),      REFUSED("ReduceL1", 18),
    REFUSED("ReduceL2", 18),        REFUSED("ReduceLogSum", 18),
    REFUSED("ReduceLogSumExp", 18), REFUSED("ReduceSumSquare", 18),
};

const op_family family_reduce = {.name = "reduce",
                                 .grads = grads,
                                 .n_grads = COUNT_OF(grads),
                                 .plain = plain,
                                 .n_plain = COUNT_OF(plain),
                                 .refused = refused,
                                 .n_refused = COUNT_OF(refused)};
