/* Cases of Conv, ConvTranspose. */
#include "contract/ops/cases.h"

static const int64_t ones[] = {1, 1};
static const int64_t twos[] = {2, 2};
static const int64_t two[] = {2};
static const int64_t one_two[] = {1, 2};
static const int64_t two_three[] = {2, 3};
static const int64_t pads_1[] = {1, 1};
static const int64_t pads_2[] = {1, 0, 2, 1};
static const int64_t pads_3[] = {1, 0, 1, 0, 1, 1};
static const int64_t sizes[] = {5, 4};
static const int64_t zeros[] = {0, 0};
static const int64_t far[] = {INT64_MAX, 1};
static const int64_t wide[] = {3, 3};
static const int64_t three[] = {1, 1, 1};

static const op_case grads[] = {
    {.op = "Conv", .in = {F32(2, 2, 5, 4), F32(3, 2, 3, 2), F32(3)}},
    {.op = "Conv",
     .attrs = {INTS("strides", two_three), INTS("pads", pads_2),
               INTS("dilations", one_two), INTS("kernel_shape", twos)},
     .in = {F32(1, 3, 6, 7), F32(2, 3, 2, 2)}},
    {.op = "Conv",
     .attrs = {INT("group", 2), TEXT("auto_pad", "SAME_UPPER")},
     .in = {F32(1, 4, 4, 5), F32(4, 2, 3, 3), F32(4)}},
    {.op = "Conv",
     .attrs = {INT("group", 3), TEXT("auto_pad", "SAME_LOWER"),
               INTS("strides", twos)},
     .in = {F32(2, 3, 5, 4), F32(3, 1, 2, 2), F32(3)}},
    {.op = "Conv",
     .attrs = {TEXT("auto_pad", "VALID")},
     .in = {F32(1, 2, 3, 3), F32(2, 2, 1, 1)}},
    {.op = "Conv",
     .attrs = {INTS("pads", pads_1), INTS("strides", two)},
     .in = {F32(2, 2, 6), F32(2, 2, 3), F32(2)}},
    {.op = "Conv",
     .attrs = {INTS("pads", pads_3)},
     .in = {F32(1, 2, 2, 3, 2), F32(2, 2, 2, 2, 2), F32(2)}},
    {.op = "ConvTranspose", .in = {F32(2, 3, 2, 3), F32(3, 2, 3, 2), F32(2)}},
    {.op = "ConvTranspose",
     .attrs = {INTS("strides", two_three), INTS("pads", pads_2),
               INTS("dilations", one_two), INTS("output_padding", ones)},
     .in = {F32(1, 2, 3, 3), F32(2, 3, 3, 2)}},
    {.op = "ConvTranspose",
     .attrs = {INT("group", 2), INTS("strides", twos),
               INTS("output_shape", sizes)},
     .in = {F32(1, 4, 3, 2), F32(4, 1, 3, 3), F32(2)}},
    {.op = "ConvTranspose",
     .attrs = {TEXT("auto_pad", "SAME_UPPER"), INTS("strides", twos)},
     .in = {F32(1, 1, 3, 2), F32(1, 2, 3, 3)}},
    {.op = "ConvTranspose",
     .attrs = {INTS("strides", two)},
     .in = {F32(1, 2, 4), F32(2, 1, 3)}},
};

static const op_case refused[] = {
    {.op = "Conv", .in = {F32(2, 5), F32(3, 2)}},
    {.op = "Conv", .in = {F32(1, 1, 2, 2, 2, 2), F32(1, 1, 1, 1, 1, 1)}},
    {.op = "Conv", .in = {F32(1, 2, 5, 5), F32(3, 3, 3, 3)}},
    {.op = "Conv", .in = {F32(1, 2, 5, 5), F32(3, 2, 3)}},
    {.op = "Conv", .in = {F32(1, 2, 2, 5), F32(3, 2, 3, 3)}},
    {.op = "Conv", .in = {F32(1, 2, 5, 5), F32(3, 2, 3, 3), F32(2)}},
    {.op = "Conv",
     .attrs = {INT("group", 2)},
     .in = {F32(1, 2, 5, 5), F32(3, 1, 3, 3)}},
    {.op = "Conv",
     .attrs = {INT("group", 0)},
     .in = {F32(1, 2, 5, 5), F32(2, 2, 3, 3)}},
    {.op = "Conv",
     .attrs = {INTS("strides", zeros)},
     .in = {F32(1, 2, 5, 5), F32(2, 2, 3, 3)}},
    {.op = "Conv",
     .attrs = {INTS("dilations", far)},
     .in = {F32(1, 2, 5, 5), F32(2, 2, 3, 3)}},
    {.op = "Conv",
     .attrs = {INTS("pads", ones)},
     .in = {F32(1, 2, 5, 5), F32(2, 2, 3, 3)}},
    {.op = "Conv",
     .attrs = {INTS("kernel_shape", twos)},
     .in = {F32(1, 2, 5, 5), F32(2, 2, 3, 3)}},
    {.op = "Conv",
     .attrs = {TEXT("auto_pad", "SAME")},
     .in = {F32(1, 2, 5, 5), F32(2, 2, 3, 3)}},
    {.op = "ConvTranspose", .in = {F32(1, 2, 5, 5), F32(3, 3, 3, 3)}},
    {.op = "ConvTranspose",
     .attrs = {INT("group", 2)},
     .in = {F32(1, 3, 5, 5), F32(3, 3, 3, 3)}},
    {.op = "ConvTranspose",
     .attrs = {INTS("pads", pads_3)},
     .in = {F32(1, 2, 5, 5), F32(2, 1, 3, 3)}},
    {.op = "ConvTranspose",
     .attrs = {INTS("output_padding", three)},
     .in = {F32(1, 2, 5, 5), F32(2, 1, 3, 3)}},
    {.op = "ConvTranspose",
     .attrs = {INTS("kernel_shape", wide), INTS("output_shape", far)},
     .in = {F32(1, 2, 5, 5), F32(2, 1, 3, 3)}},
    {.op = "ConvTranspose", .in = {F32(1, 2, 5, 5), F32(2, 1, 3, 3), F32(2)}},
};

const op_family family_conv = {.name = "conv",
                               .grads = grads,
                               .n_grads = COUNT_OF(grads),
                               .refused = refused,
                               .n_refused = COUNT_OF(refused)};
