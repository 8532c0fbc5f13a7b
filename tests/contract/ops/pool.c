/* Cases of MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool. Those of a
 * maximum have shapes in which no draw comes near a tie. */
#include "contract/ops/cases.h"

static const int64_t twos[] = {2, 2};
static const int64_t threes[] = {3, 3};
static const int64_t two_three[] = {2, 3};
static const int64_t one_two[] = {1, 2};
static const int64_t pads[] = {1, 0, 1, 1};
static const int64_t three[] = {3};
static const int64_t pads_1[] = {1, 1};
static const int64_t cube[] = {2, 1, 2};
static const int64_t huge[] = {1 << 20, 1 << 20};
static const int64_t huge_pads[] = {1 << 20, 1 << 20, 1 << 20, 1 << 20};
static const int64_t zeros[] = {0, 1};

static const op_case grads[] = {
    {.op = "MaxPool",
     .attrs = {INTS("kernel_shape", twos), INTS("strides", twos)},
     .in = {F32(2, 3, 2, 6)}},
    {.op = "MaxPool",
     .attrs = {INTS("kernel_shape", twos), INTS("strides", twos)},
     .in = {F32(2, 3, 5, 3)}},
    {.op = "MaxPool",
     .attrs = {INTS("kernel_shape", two_three), INTS("strides", one_two),
               INTS("dilations", one_two), INTS("pads", pads),
               INT("ceil_mode", 1)},
     .in = {F32(2, 3, 4, 4)}},
    {.op = "MaxPool",
     .attrs = {INTS("kernel_shape", three), TEXT("auto_pad", "SAME_UPPER")},
     .in = {F32(2, 2, 7)}},
    {.op = "MaxPool",
     .attrs = {INTS("kernel_shape", cube)},
     .in = {F32(1, 1, 3, 2, 3)}},
    {.op = "MaxPool",
     .attrs = {INTS("kernel_shape", twos), INT("storage_order", 1)},
     .in = {F32(2, 3, 4, 3)},
     .n_out = 2,
     .quiet = 2},
    {.op = "AveragePool",
     .attrs = {INTS("kernel_shape", twos), INTS("strides", twos)},
     .in = {F32(2, 2, 4, 5)}},
    {.op = "AveragePool",
     .attrs = {INTS("kernel_shape", threes), INTS("strides", two_three),
               INTS("pads", pads), INT("count_include_pad", 1),
               INT("ceil_mode", 1)},
     .in = {F32(1, 2, 5, 7)}},
    {.op = "AveragePool",
     .opset = 19,
     .attrs = {INTS("kernel_shape", two_three), INTS("dilations", one_two),
               INTS("pads", pads)},
     .in = {F32(1, 2, 5, 6)}},
    {.op = "AveragePool",
     .attrs = {INTS("kernel_shape", three), INTS("pads", pads_1)},
     .in = {F32(2, 2, 7)}},
    {.op = "GlobalAveragePool", .in = {F32(2, 3, 4, 5)}},
    {.op = "GlobalAveragePool", .in = {F32(2, 3)}},
    {.op = "GlobalMaxPool", .in = {F32(2, 3, 4)}},
    {.op = "GlobalMaxPool", .in = {F32(1, 3, 3, 2, 1, 1)}},
};

static const op_case plain[] = {
    {.op = "MaxPool",
     .attrs = {INTS("kernel_shape", twos)},
     .in = {DRAWN(TB_U8, 1, 2, 3, 3)}},
    {.op = "MaxPool",
     .attrs = {INTS("kernel_shape", twos)},
     .in = {DRAWN(TB_I8, 1, 2, 3, 3)},
     .n_out = 2},
};

static const op_case refused[] = {
    {.op = "MaxPool", .in = {F32(1, 1, 4, 4)}},
    {.op = "MaxPool", .attrs = {INTS("kernel_shape", twos)}, .in = {F32(1, 4)}},
    {.op = "MaxPool",
     .attrs = {INTS("kernel_shape", threes)},
     .in = {F32(1, 1, 2, 4)}},
    {.op = "MaxPool",
     .attrs = {INTS("kernel_shape", zeros)},
     .in = {F32(1, 1, 4, 4)}},
    {.op = "MaxPool",
     .attrs = {INTS("kernel_shape", huge), INTS("pads", huge_pads)},
     .in = {F32(1, 1, 4, 4)}},
    {.op = "AveragePool", .in = {F32(1, 1, 4, 4)}},
    {.op = "AveragePool",
     .attrs = {INTS("kernel_shape", three)},
     .in = {F32(1, 1, 4, 4)}},
    {.op = "GlobalAveragePool", .in = {F32(3)}},
    {.op = "GlobalAveragePool", .in = {F32(2, 3, 0)}},
    {.op = "GlobalMaxPool", .in = {F32(3)}},
};

const op_family family_pool = {.name = "pool",
                               .grads = grads,
                               .n_grads = COUNT_OF(grads),
                               .plain = plain,
                               .n_plain = COUNT_OF(plain),
                               .refused = refused,
                               .n_refused = COUNT_OF(refused)};
