/* How many windows there are and how they are padded. Counts with explicit pads
 * are PyTorch's (MaxPool1d, ConvTranspose1d); auto_pad is TensorFlow's SAME,
 * by hand. */
#include "model/ops/window.h"
#include "support/check.h"

typedef struct window_case {
    int64_t in, kernel, stride, pad, dilation;
    int64_t more; /* ceil_mode, or output_padding */
    size_t out;
} window_case;

static const window_case pools[] = {
    {5, 2, 3, 1, 1, 1, 2}, /* the third would begin in the padding behind */
    {5, 2, 3, 1, 1, 0, 2}, {7, 3, 2, 1, 1, 1, 4}, {6, 3, 2, 0, 1, 1, 3},
    {9, 2, 2, 1, 2, 1, 5}, {4, 1, 3, 0, 1, 1, 2},
};

static const window_case turned[] = {
    {4, 3, 2, 1, 1, 1, 8},
    {3, 2, 3, 0, 2, 2, 11},
    {5, 4, 1, 2, 1, 0, 4},
};

static tb_window window_of(const window_case *c, bool transposed)
{
    const int64_t pads[2] = {c->pad, c->pad};
    const tb_attr attrs[] = {
        {.name = "kernel_shape",
         .kind = TB_ATTR_INTS,
         .n = 1,
         .ints = &c->kernel},
        {.name = "strides", .kind = TB_ATTR_INTS, .n = 1, .ints = &c->stride},
        {.name = "dilations",
         .kind = TB_ATTR_INTS,
         .n = 1,
         .ints = &c->dilation},
        {.name = "pads", .kind = TB_ATTR_INTS, .n = 2, .ints = pads},
        transposed ? (tb_attr){.name = "output_padding",
                               .kind = TB_ATTR_INTS,
                               .n = 1,
                               .ints = &c->more}
                   : (tb_attr){.name = "ceil_mode",
                               .kind = TB_ATTR_INT,
                               .i = c->more}};
    const tb_node node = {.attrs = attrs,
                          .n_attrs = sizeof attrs / sizeof attrs[0]};
    const tb_shape x = TB_SHAPE(1, 1, (size_t)c->in);
    const tb_shape weights = TB_SHAPE(1, 1, (size_t)c->kernel);
    tb_window w;
    tb_err err;
    CHECK_OK(transposed ? tb_window_transposed(&w, &node, &x, &weights, &err)
                        : tb_window_of(&w, &node, &x, NULL, &err),
             err);
    return w;
}

static void windows_are_counted_as_pytorch_counts_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pools / sizeof pools[0]; i++) {
        CHECK(window_of(&pools[i], false).out[2] == pools[i].out);
    }
    for (size_t i = 0; i < sizeof turned / sizeof turned[0]; i++) {
        tb_window w = window_of(&turned[i], true);
        CHECK(w.in[2] == turned[i].out);
        CHECK(w.out[2] == (size_t)turned[i].in);
    }
}

/* 6 elements in steps of 2, kernel 3: 3 windows reach over 7, one zero. */
static void padding_to_the_same_size_is_split_upper_or_lower(void **state)
{
    static const char *const names[] = {"SAME_UPPER", "SAME_LOWER"};
    const int64_t kernel[] = {3};
    const int64_t stride[] = {2};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const tb_attr attrs[] = {
            {.name = "auto_pad", .kind = TB_ATTR_STRING, .s = names[i]},
            {.name = "kernel_shape",
             .kind = TB_ATTR_INTS,
             .n = 1,
             .ints = kernel},
            {.name = "strides", .kind = TB_ATTR_INTS, .n = 1, .ints = stride}};
        const tb_node node = {.attrs = attrs, .n_attrs = 3};
        tb_window w;
        tb_err err;
        CHECK_OK(tb_window_of(&w, &node, &TB_SHAPE(1, 1, 6), NULL, &err), err);
        CHECK(w.out[2] == 3 && w.pad[2] == i && w.pad_end[2] == 1 - i);
        CHECK(w.out[0] == 1 && w.kernel[1] == 1 && w.stride[1] == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_counted_as_pytorch_counts_them),
        cmocka_unit_test(padding_to_the_same_size_is_split_upper_or_lower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
