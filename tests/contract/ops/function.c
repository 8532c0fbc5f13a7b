/* Cases of Neg, Abs, Sqrt, Exp, Erf, Elu, Gelu and their kin. */
#include "contract/ops/cases.h"

#define F64(...) DRAWN(TB_F64, __VA_ARGS__)

static const op_case grads[] = {
    {.op = "Neg", .in = {F32(3, 5)}},
    {.op = "Abs", .in = {F32(3, 5)}},
    {.op = "Abs", .in = {F64(3, 5)}},
    {.op = "Sqrt", .in = {F32(3, 5)}, .positive = true},
    {.op = "Reciprocal", .in = {F64(3, 5)}},
    {.op = "Exp", .in = {F32(3, 5)}},
    {.op = "Exp", .in = {F64(3, 5)}},
    {.op = "Log", .in = {F64(3, 5)}, .positive = true},
    {.op = "Log", .in = {F32(20)}, .positive = true},
    {.op = "Erf", .in = {F32(3, 5)}},
    {.op = "Erf", .in = {F64(3, 5)}},
    {.op = "Elu", .attrs = {FLOAT("alpha", 0.7f)}, .in = {F32(3, 5)}},
    {.op = "Selu", .in = {F32(3, 5)}},
    {.op = "Celu", .attrs = {FLOAT("alpha", 0.7f)}, .in = {F32(3, 5)}},
    {.op = "HardSigmoid", .in = {F32(3, 5)}},
    {.op = "HardSigmoid",
     .attrs = {FLOAT("alpha", 2.0f), FLOAT("beta", 0.1f)},
     .in = {F32(3, 5)}},
    {.op = "HardSwish", .in = {F32(3, 5)}},
    {.op = "Gelu", .opset = 20, .in = {F32(3, 5)}},
    {.op = "Gelu",
     .opset = 20,
     .attrs = {TEXT("approximate", "tanh")},
     .in = {F32(3, 5)}},
    {.op = "Gelu", .opset = 20, .in = {F64(3, 5)}},
    {.op = "Softplus", .in = {F32(3, 5)}},
    {.op = "Softsign", .in = {F32(3, 5)}},
    {.op = "Mish", .opset = 18, .in = {F32(3, 5)}},
    {.op = "ThresholdedRelu", .attrs = {FLOAT("alpha", 0.1f)}, .in = {F32(9)}},
};

static const op_case plain[] = {
    {.op = "Neg", .in = {I32(3)}},
    {.op = "Abs", .in = {DRAWN(TB_U64, 3)}},
    {.op = "Exp", .in = {DRAWN(TB_F16, 3)}},
    {.op = "Gelu", .opset = 20, .in = {DRAWN(TB_BF16, 3)}},
};

static const op_case refused[] = {
    {.op = "Neg", .in = {DRAWN(TB_U8, 3)}},
    {.op = "Abs", .in = {DRAWN(TB_BOOL, 3)}},
    {.op = "Sqrt", .in = {I32(3)}},
    {.op = "Reciprocal", .in = {I32(3)}},
    {.op = "Exp", .in = {I32(3)}},
    {.op = "Log", .in = {I32(3)}},
    {.op = "Erf", .in = {I32(3)}},
    {.op = "Elu", .in = {I32(3)}},
    {.op = "Selu", .attrs = {FLOAT("beta", 1.0f)}, .in = {F32(3)}},
    {.op = "Celu", .attrs = {FLOAT("alpha", 0.0f)}, .in = {F32(3)}},
    {.op = "HardSigmoid", .in = {I32(3)}},
    {.op = "HardSwish", .in = {I32(3)}},
    {.op = "Gelu",
     .opset = 20,
     .attrs = {TEXT("approximate", "cubic")},
     .in = {F32(3)}},
    {.op = "Softplus", .in = {I32(3)}},
    {.op = "Softsign", .in = {I32(3)}},
    {.op = "Mish", .opset = 18, .in = {I32(3)}},
    {.op = "ThresholdedRelu", .in = {I32(3)}},
};

const op_family family_function = {.name = "function",
                                   .grads = grads,
                                   .n_grads = COUNT_OF(grads),
                                   .plain = plain,
                                   .n_plain = COUNT_OF(plain),
                                   .refused = refused,
                                   .n_refused = COUNT_OF(refused)};
