/* Cases of Add, Sub, Mul, Div, Pow, Min, Max, Sum, Mean, Clip. */
#include "contract/ops/cases.h"

#define F64(...) DRAWN(TB_F64, __VA_ARGS__)

static const float two[] = {2.0f};
static const float half[] = {0.5f};
static const float low[] = {-0.4f};
static const float high[] = {0.7f};
static const double low_f64[] = {-0.4};
static const int64_t three[] = {3};
static const float two_limits[] = {0.1f, 0.2f};

static const op_case grads[] = {
    {.op = "Add", .in = {F32(2, 3), F32(2, 3)}},
    {.op = "Add", .in = {F32(2, 3, 4), F32(4)}},
    {.op = "Add", .in = {F64(2, 3, 4), F64(3, 1)}},
    {.op = "Sub", .in = {F32(2, 1, 4), F32(3, 1)}},
    {.op = "Sub", .in = {F32(3), F32(2, 3)}},
    {.op = "Mul", .in = {F32(2, 3, 4), F32(3, 1)}},
    {.op = "Mul", .in = {SCALAR, F32(2, 3)}},
    {.op = "Mul", .in = {F64(2, 3), F64(1)}},
    {.op = "Div", .in = {F32(2, 3), F32(2, 3)}},
    {.op = "Div", .in = {F32(2, 3, 2), F32(1, 3, 1)}},
    {.op = "Pow", .in = {F32(2, 3), CONST(TB_F32, two, 1)}},
    {.op = "Pow", .in = {F32(2, 3), CONST(TB_F32, half, 1)}, .positive = true},
    {.op = "Pow", .in = {F32(2, 3), CONST(TB_I64, three, 1)}},
    {.op = "Pow", .in = {F32(2, 3), F32(3)}, .positive = true},
    {.op = "Pow", .in = {F32(3), F64(2, 1)}, .positive = true},
    {.op = "Min", .in = {F32(2, 3), F32(3), F32(2, 1)}},
    {.op = "Min", .in = {F64(4)}},
    {.op = "Max", .in = {F32(2, 3), F32(2, 3)}},
    {.op = "Max", .in = {F32(2, 1, 3), F32(4, 1)}},
    {.op = "Sum", .in = {F32(2, 3), F32(3), SCALAR}},
    {.op = "Sum", .in = {F32(2, 3)}},
    {.op = "Mean", .in = {F32(2, 3), F32(3), F32(2, 1)}},
    {.op = "Mean", .in = {F64(2), F64(2)}},
    {.op = "Clip",
     .in = {F32(4, 5), CONST(TB_F32, low, 1), CONST(TB_F32, high, 1)}},
    {.op = "Clip", .in = {F32(4, 5), OMITTED, CONST(TB_F32, high, 1)}},
    {.op = "Clip", .in = {F64(4, 5), CONST(TB_F64, low_f64, 1)}},
    {.op = "Clip",
     .opset = 10,
     .attrs = {FLOAT("min", -0.4f), FLOAT("max", 0.7f)},
     .in = {F32(4, 5)}},
};

static const op_case plain[] = {
    {.op = "Div", .in = {I32(2, 3), I32(3)}}, /* some by zero */
    {.op = "Add", .in = {DRAWN(TB_F16, 2, 3), DRAWN(TB_F16, 3)}},
    {.op = "Max", .in = {DRAWN(TB_U64, 2, 3), DRAWN(TB_U64, 3)}},
    {.op = "Clip", .in = {DRAWN(TB_U64, 3), DRAWN(TB_U64, 1)}},
};

static const op_case refused[] = {
    {.op = "Add", .in = {F32(2, 3), F32(2)}},
    {.op = "Add", .in = {F32(2, 3), I32(3)}},
    {.op = "Sub", .in = {F32(2, 3), F32(3, 2)}},
    {.op = "Mul", .in = {F32(4), F32(5)}},
    {.op = "Div", .in = {DRAWN(TB_BOOL, 2), DRAWN(TB_BOOL, 2)}},
    {.op = "Pow", .in = {F32(4), F32(5)}},
    {.op = "Pow", .in = {F32(4), DRAWN(TB_BOOL, 4)}},
    {.op = "Min", .in = {F32(4), F32(4), F32(5)}},
    {.op = "Max", .in = {F32(4), I32(4)}},
    {.op = "Sum", .in = {F32(4), F32(5)}},
    {.op = "Sum", .in = {F32(4), OMITTED, F32(4)}},
    {.op = "Mean", .in = {F32(4), F32(5)}},
    {.op = "Clip", .in = {F32(4), I32(1)}},
    {.op = "Clip", .in = {F32(4), CONST(TB_F32, two_limits, 2)}},
    {.op = "Clip", .opset = 10, .in = {I32(4)}},
};

const op_family family_arithmetic = {.name = "arithmetic",
                                     .grads = grads,
                                     .n_grads = COUNT_OF(grads),
                                     .plain = plain,
                                     .n_plain = COUNT_OF(plain),
                                     .refused = refused,
                                     .n_refused = COUNT_OF(refused)};
