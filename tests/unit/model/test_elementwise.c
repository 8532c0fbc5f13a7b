/* What elementwise operators make of each element type, by hand: wrapping,
 * truncation, unsigned 64 bits, halves; and normalisation by groups. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/bind.h"
#include "support/check.h"

enum { N_IN_MAX = 4 };

typedef struct operand {
    tb_dtype dtype; /* NONE: none */
    tb_shape shape;
    const void *data;
} operand;

typedef struct sum {
    const char *op;
    const char *domain; /* NULL: ONNX's own */
    int opset;          /* 0: 17 */
    tb_attr attrs[2];
    operand in[N_IN_MAX];
    tb_dtype dtype;
    size_t n;
    const void *want;
} sum;

/* A node of constants is folded when it is bound: that runs it. */
static void check(const sum *s)
{
    tb_graph *g = NULL;
    tb_bound *bound = NULL;
    tb_value_id in[N_IN_MAX], y = TB_ID_NONE, out = TB_ID_NONE;
    size_t n_in = 0;
    size_t n_attrs = 0;
    tb_err err;
    CHECK_OK(tb_graph_new(&g, "g", s->opset > 0 ? s->opset : 17, &err), err);
    for (; n_in < N_IN_MAX && s->in[n_in].dtype != TB_DTYPE_NONE; n_in++) {
        const char name[] = {(char)('a' + n_in), '\0'};
        const operand *o = &s->in[n_in];
        tb_tensor t =
            tb_tensor_view(o->dtype, &o->shape, (void *)(uintptr_t)o->data);
        CHECK_OK(tb_graph_add_data(g, &in[n_in], name, TB_ROLE_CONST, &t, &err),
                 err);
    }
    while (n_attrs < 2 && s->attrs[n_attrs].name != NULL) {
        n_attrs++;
    }
    tb_node_spec spec = {.op = s->op,
                         .domain = s->domain,
                         .attrs = s->attrs,
                         .n_attrs = n_attrs,
                         .in = in,
                         .n_in = n_in};
    CHECK_OK(tb_graph_apply(g, &y, &spec, &err), err);
    spec = (tb_node_spec){.op = "Identity", .in = &y, .n_in = 1};
    CHECK_OK(tb_graph_apply(g, &out, &spec, &err), err);
    CHECK_OK(tb_graph_add_output(g, out, &err), err);
    CHECK_OK(tb_bind_new(&bound, g, &(tb_bind_options){.batch = 1}, &err), err);
    const tb_tensor *got = &bound->values[y];
    CHECK(got->dtype == s->dtype && tb_tensor_count(got) == s->n);
    if (memcmp(got->data, s->want, tb_tensor_bytes(got)) != 0) {
        fail_msg("%s of %s: other numbers", s->op,
                 tb_dtype_name(s->in[0].dtype));
    }
    tb_bind_free(&bound);
    tb_graph_free(&g);
}

#define OF(type, array)                                                        \
    {                                                                          \
        .dtype = type,                                                         \
        .shape = {.rank = 1, .dim = {sizeof(array) / sizeof((array)[0])}},     \
        .data = array                                                          \
    }
#define WANT(type, array)                                                      \
    .dtype = type, .n = sizeof(array) / sizeof((array)[0]), .want = array

static const int32_t div_a[] = {7, -7, 7, INT32_MIN, 5, -5};
static const int32_t div_b[] = {2, 2, -2, -1, 0, 0};
static const int32_t div_y[] = {3, -3, -3, INT32_MIN, 0, 0};
static const int64_t long_a[] = {INT64_MIN, INT64_MAX, -9};
static const int64_t long_b[] = {-1, 1, 4};
static const int64_t long_quotient[] = {INT64_MIN, INT64_MAX, -2};
static const int64_t long_sum[] = {INT64_MAX, INT64_MIN, -5};
static const int8_t small_a[] = {-128, 127, 100, -128};
static const int8_t small_b[] = {-1, 1, 100, 127};
static const int8_t small_quotient[] = {-128, 127, 1, -1};
static const int8_t small_sum[] = {127, -128, -56, -1};
static const int8_t small_abs[] = {-128, 127, 100, -128};
static const int8_t small_neg[] = {-128, -127, -100, -128};
static const uint8_t byte_a[] = {200, 1, 16, 9};
static const uint8_t byte_b[] = {100, 2, 17, 0};
static const uint8_t byte_sum[] = {44, 3, 33, 9};
static const uint8_t byte_difference[] = {100, 255, 255, 9};
static const uint8_t byte_product[] = {32, 2, 16, 0};
static const uint8_t byte_quotient[] = {2, 0, 0, 0};
#define TOP (UINT64_C(1) << 63)
static const uint64_t big_a[] = {TOP + 6, 1, 5};
static const uint64_t big_b[] = {3, TOP, 0};
static const uint64_t big_quotient[] = {UINT64_C(0x2aaaaaaaaaaaaaac), 0, 0};
static const uint64_t big_max[] = {TOP + 6, TOP, 5};
static const uint64_t big_min[] = {3, 1, 0};
static const uint8_t big_less[] = {0, 1, 0};
static const uint64_t big_low[] = {4};
static const uint64_t big_high[] = {TOP};
static const uint64_t big_clipped[] = {TOP, 4, 5};
/* halves: 1, 1, -2 plus 2^-11, 3 * 2^-11, 65504 (the largest) */
static const uint16_t half_a[] = {0x3c00, 0x3c00, 0xc000, 0x7bff};
static const uint16_t half_b[] = {0x1000, 0x1600, 0x7bff, 0x7bff};
static const uint16_t half_sum[] = {0x3c00, 0x3c02, 0x7bff, 0x7c00};
/* bf16: 1 + 2^-8 is half a step: to even; 3 * 2^-8 goes up to 2^-6 */
static const uint16_t bf_a[] = {0x3f80, 0x3f80};
static const uint16_t bf_b[] = {0x3b80, 0x3c40};
static const uint16_t bf_sum[] = {0x3f80, 0x3f82};
static const int64_t base[] = {3, -2, 2, -1, 7, 2};
static const int64_t power[] = {4, 3, -1, -3, 0, 62};
static const int64_t powers[] = {81, -8, 0, -1, 1, INT64_C(1) << 62};
static const int32_t nine[] = {9, 16};
static const float root[] = {0.5f, 0.5f};
static const int32_t roots[] = {3, 4};
static const double nan_a[] = {NAN, 1, -1};
static const double nan_b[] = {0, 2, -2};
static const double nan_c[] = {5, 3, 0};
static const double nan_min[] = {NAN, 1, -2};
static const int8_t limit_low[] = {5};
static const int8_t limit_high[] = {3};
static const int8_t limited[] = {3, 3, 3, 3};
static const uint8_t choice[] = {1, 0, 1};
static const uint16_t first[] = {1, 2, 3};
static const uint16_t second[] = {9};
static const uint16_t chosen[] = {1, 9, 3};
static const uint8_t both[] = {0, 0, 1};
static const uint8_t other[] = {0, 1, 1};
static const uint8_t differ[] = {1, 1, 0};
static const uint64_t near[] = {TOP + 1, TOP + 2, TOP, 1};
static const int64_t largest[] = {1};
static const int64_t smallest[] = {3};

static const sum sums[] = {
    {.op = "Div",
     .in = {OF(TB_I32, div_a), OF(TB_I32, div_b)},
     WANT(TB_I32, div_y)},
    {.op = "Div",
     .in = {OF(TB_I64, long_a), OF(TB_I64, long_b)},
     WANT(TB_I64, long_quotient)},
    {.op = "Add",
     .in = {OF(TB_I64, long_a), OF(TB_I64, long_b)},
     WANT(TB_I64, long_sum)},
    {.op = "Div",
     .in = {OF(TB_I8, small_a), OF(TB_I8, small_b)},
     WANT(TB_I8, small_quotient)},
    {.op = "Add",
     .in = {OF(TB_I8, small_a), OF(TB_I8, small_b)},
     WANT(TB_I8, small_sum)},
    {.op = "Abs", .in = {OF(TB_I8, small_a)}, WANT(TB_I8, small_abs)},
    {.op = "Neg", .in = {OF(TB_I8, small_a)}, WANT(TB_I8, small_neg)},
    {.op = "Abs", .in = {OF(TB_U64, big_a)}, WANT(TB_U64, big_a)},
    {.op = "Add",
     .in = {OF(TB_U8, byte_a), OF(TB_U8, byte_b)},
     WANT(TB_U8, byte_sum)},
    {.op = "Sub",
     .in = {OF(TB_U8, byte_a), OF(TB_U8, byte_b)},
     WANT(TB_U8, byte_difference)},
    {.op = "Mul",
     .in = {OF(TB_U8, byte_a), OF(TB_U8, byte_b)},
     WANT(TB_U8, byte_product)},
    {.op = "Div",
     .in = {OF(TB_U8, byte_a), OF(TB_U8, byte_b)},
     WANT(TB_U8, byte_quotient)},
    {.op = "Div",
     .in = {OF(TB_U64, big_a), OF(TB_U64, big_b)},
     WANT(TB_U64, big_quotient)},
    {.op = "Max",
     .in = {OF(TB_U64, big_a), OF(TB_U64, big_b)},
     WANT(TB_U64, big_max)},
    {.op = "Min",
     .in = {OF(TB_U64, big_a), OF(TB_U64, big_b)},
     WANT(TB_U64, big_min)},
    {.op = "Less",
     .in = {OF(TB_U64, big_a), OF(TB_U64, big_b)},
     WANT(TB_BOOL, big_less)},
    {.op = "Clip",
     .in = {OF(TB_U64, big_a), OF(TB_U64, big_low), OF(TB_U64, big_high)},
     WANT(TB_U64, big_clipped)},
    {.op = "Add",
     .in = {OF(TB_F16, half_a), OF(TB_F16, half_b)},
     WANT(TB_F16, half_sum)},
    {.op = "Add",
     .in = {OF(TB_BF16, bf_a), OF(TB_BF16, bf_b)},
     WANT(TB_BF16, bf_sum)},
    {.op = "Pow",
     .in = {OF(TB_I64, base), OF(TB_I64, power)},
     WANT(TB_I64, powers)},
    {.op = "Pow",
     .in = {OF(TB_I32, nine), OF(TB_F32, root)},
     WANT(TB_I32, roots)},
    {.op = "Min",
     .in = {OF(TB_F64, nan_a), OF(TB_F64, nan_b), OF(TB_F64, nan_c)},
     WANT(TB_F64, nan_min)},
    {.op = "Clip",
     .in = {OF(TB_I8, small_a), OF(TB_I8, limit_low), OF(TB_I8, limit_high)},
     WANT(TB_I8, limited)},
    {.op = "Where",
     .in = {OF(TB_BOOL, choice), OF(TB_U16, first), OF(TB_U16, second)},
     WANT(TB_U16, chosen)},
    {.op = "Xor",
     .in = {OF(TB_BOOL, choice), OF(TB_BOOL, other)},
     WANT(TB_BOOL, differ)},
    {.op = "And",
     .in = {OF(TB_BOOL, choice), OF(TB_BOOL, other)},
     WANT(TB_BOOL, both)},
    {.op = "Not", .in = {OF(TB_BOOL, differ)}, WANT(TB_BOOL, both)},
    {.op = "ArgMax", .in = {OF(TB_U64, near)}, WANT(TB_I64, largest)},
    {.op = "ArgMin", .in = {OF(TB_U64, near)}, WANT(TB_I64, smallest)},
};

static void each_type_computes_as_its_numbers_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
        check(&sums[i]);
    }
    CHECK(tb_mem_live() == 0);
}

/* dy 4 and 8 of Max(a, b), whose first elements are equal. */
static void equal_operands_share_the_gradient_of_a_maximum(void **state)
{
    static const float dy[] = {4, 8};
    static const float y[] = {1, 2};
    static const float a[] = {1, 2};
    static const float b[] = {1, 0};
    static const float of_a[] = {2, 8};
    static const float of_b[] = {2, 0};
    (void)state;
    for (int64_t of = 0; of < 2; of++) {
        const sum s = {
            .op = "ExtremeGrad",
            .domain = TB_DOMAIN_GRAD,
            .attrs = {TB_ATTR_I("of", of)},
            .in = {OF(TB_F32, dy), OF(TB_F32, y), OF(TB_F32, a), OF(TB_F32, b)},
            .dtype = TB_F32,
            .n = 2,
            .want = of == 0 ? of_a : of_b};
        check(&s);
    }
}

/* Two groups of two channels: means 2 and 7, deviations 1 and 2, epsilon 0. */
static void
groups_are_scaled_by_channel_or_before_opset_21_by_group(void **state)
{
    static const float x[] = {1, 3, 5, 9};
    static const float scale[] = {1, 2, 3, 4};
    static const float bias[] = {10, 20, 30, 40};
    static const float by_channel[] = {9, 22, 27, 44};
    static const float by_group[] = {9, 11, 18, 22};
    static const float group_scale[] = {1, 2};
    static const float group_bias[] = {10, 20};
    (void)state;
    for (int old = 0; old < 2; old++) {
        sum s = {
            "GroupNormalization", .opset = old ? 18 : 21,
            .attrs = {TB_ATTR_I("num_groups", 2), TB_ATTR_F("epsilon", 0.0f)},
            .in = {{TB_F32, TB_SHAPE(1, 4, 1), x},
                   OF(TB_F32, scale),
                   OF(TB_F32, bias)},
            WANT(TB_F32, by_channel)};
        if (old) {
            s.in[1] = (operand)OF(TB_F32, group_scale);
            s.in[2] = (operand)OF(TB_F32, group_bias);
            s.want = by_group;
        }
        check(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_computes_as_its_numbers_do),
        cmocka_unit_test(equal_operands_share_the_gradient_of_a_maximum),
        cmocka_unit_test(
            groups_are_scaled_by_channel_or_before_opset_21_by_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
