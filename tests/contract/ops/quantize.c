/* Cases of QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear,
 * MatMulInteger, QLinearMatMul, ConvInteger, QLinearConv. */
#include "contract/ops/cases.h"

static const float one_scale[] = {0.5f};
static const float two_scales[] = {0.5f, 0.25f};
static const float four_scales[] = {0.5f, 0.25f, 0.125f, 1.0f};
static const uint8_t u8_zero[] = {3};
static const int8_t i8_zero[] = {-2};
static const int8_t i8_zeros[] = {-2, 1};
static const int64_t huge_pads[] = {0, 2147483647, 0, 2147483647};
static const int64_t huge_steps[] = {1, 2147483647};

#define U8(...)  DRAWN(TB_U8, __VA_ARGS__)
#define I8(...)  DRAWN(TB_I8, __VA_ARGS__)
#define A_SCALE  CONST(TB_F32, one_scale, 1)
#define A_ZERO   CONST(TB_U8, u8_zero, 1)
#define I8_ZERO  CONST(TB_I8, i8_zero, 1)
#define SCALES   CONST(TB_F32, two_scales, 2)
#define I8_ZEROS CONST(TB_I8, i8_zeros, 2)

static const op_case plain[] = {
    {.op = "DynamicQuantizeLinear", .in = {F32(3, 5)}, .n_out = 3},
    {.op = "MatMulInteger", .in = {U8(2, 3, 4), I8(4, 5), A_ZERO}},
    {.op = "MatMulInteger", .in = {I8(4), U8(2, 4, 3), I8_ZERO, A_ZERO}},
    {.op = "QLinearMatMul",
     .in = {U8(2, 3, 4), A_SCALE, A_ZERO, I8(4, 2), SCALES, I8_ZEROS, A_SCALE,
            I8_ZERO}},
    {.op = "ConvInteger", .in = {U8(2, 4, 5, 6), I8(2, 4, 3, 3), A_ZERO}},
    {.op = "ConvInteger",
     .attrs = {INT("group", 2)},
     .in = {I8(1, 4, 9), U8(2, 2, 3), I8_ZERO, A_ZERO}},
    {.op = "QLinearConv",
     .in = {U8(1, 3, 5, 5), A_SCALE, A_ZERO, I8(2, 3, 3, 3), SCALES, I8_ZEROS,
            A_SCALE, A_ZERO, I32(2)}},
};

static const op_case refused[] = {
    {.op = "QuantizeLinear", .in = {DRAWN(TB_I64, 3), A_SCALE}},
    {.op = "QuantizeLinear", .in = {F32(3, 5), SCALES}},
    {.op = "QuantizeLinear",
     .opset = 21,
     .attrs = {INT("block_size", 2)},
     .in = {F32(3, 5), CONST(TB_F32, four_scales, 2, 2)}},
    {.op = "QuantizeLinear",
     .opset = 21,
     .attrs = {INT("output_dtype", TB_I64)},
     .in = {F32(3), A_SCALE}},
    {.op = "DequantizeLinear", .in = {F32(3), A_SCALE}},
    {.op = "DequantizeLinear", .in = {U8(3), A_SCALE, I8_ZERO}},
    {.op = "DequantizeLinear",
     .attrs = {INT("axis", 5)},
     .in = {I32(3, 2), SCALES}},
    {.op = "DynamicQuantizeLinear", .in = {I32(3)}, .n_out = 3},
    {.op = "MatMulInteger", .in = {U8(2, 3), I8(4, 5)}},
    {.op = "MatMulInteger", .in = {U8(2, 3), I32(3, 5)}},
    {.op = "MatMulInteger", .in = {U8(2, 3), I8(3, 5), I8_ZERO}},
    {.op = "QLinearMatMul",
     .in = {U8(3, 4), A_SCALE, A_ZERO, I8(4, 5), SCALES, I8_ZERO, A_SCALE,
            A_ZERO}},
    {.op = "ConvInteger", .in = {U8(2, 4, 5, 6), I8(2, 3, 3, 3)}},
    {.op = "ConvInteger", .in = {U8(2, 4), I8(2, 4)}},
    {.op = "ConvInteger",
     .attrs = {INTS("pads", huge_pads), INTS("dilations", huge_steps)},
     .in = {U8(1, 1, 3, 3), I8(1, 1, 3, 3)}},
    {.op = "QLinearConv",
     .in = {U8(1, 3, 5, 5), A_SCALE, A_ZERO, I8(2, 3, 3, 3), SCALES, I8_ZEROS,
            A_SCALE, A_ZERO, I32(3)}},
};

/* Their slope is zero almost everywhere. */
static const char *const straight_through[] = {"QuantizeLinear",
                                               "DequantizeLinear"};

const op_family family_quantize = {.name = "quantize",
                                   .plain = plain,
                                   .n_plain = COUNT_OF(plain),
                                   .refused = refused,
                                   .n_refused = COUNT_OF(refused),
                                   .straight_through = straight_through,
                                   .n_straight_through =
                                       COUNT_OF(straight_through)};
