/* Cases of QuantizeLinear, DequantizeLinear. */
#include "contract/ops/cases.h"

static const float one_scale[] = {0.5f};
static const float two_scales[] = {0.5f, 0.25f};

static const op_case refused[] = {
    {.op = "QuantizeLinear", .in = {I32(3), CONST(TB_F32, one_scale, 1)}},
    {.op = "QuantizeLinear", .in = {F32(3, 5), CONST(TB_F32, two_scales, 2)}},
    {.op = "DequantizeLinear", .in = {F32(3), CONST(TB_F32, one_scale, 1)}},
    {.op = "DequantizeLinear",
     .attrs = {INT("axis", 5)},
     .in = {I32(3, 2), CONST(TB_F32, two_scales, 2)}},
};

/* Their slope is zero almost everywhere. */
static const char *const straight_through[] = {"QuantizeLinear",
                                               "DequantizeLinear"};

const op_family family_quantize = {.name = "quantize",
                                   .refused = refused,
                                   .n_refused = COUNT_OF(refused),
                                   .straight_through = straight_through,
                                   .n_straight_through =
                                       COUNT_OF(straight_through)};
