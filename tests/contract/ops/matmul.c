/* Cases of Gemm, MatMul. */
#include "contract/ops/cases.h"

static const op_case grads[] = {
    {.op = "Gemm", .in = {F32(3, 4), F32(4, 2), F32(2)}},
    {.op = "Gemm", .attrs = {INT("transB", 1)}, .in = {F32(3, 4), F32(2, 4)}},
    {.op = "Gemm",
     .attrs = {INT("transA", 1)},
     .in = {F32(4, 3), F32(4, 2), SCALAR}},
    {.op = "Gemm",
     .attrs = {INT("transA", 1), INT("transB", 1), FLOAT("alpha", 0.5f),
               FLOAT("beta", -2.0f)},
     .in = {F32(4, 3), F32(2, 4), F32(3, 1)}},
    {.op = "MatMul", .in = {F32(3, 4), F32(4, 2)}},
    {.op = "MatMul", .in = {F32(2, 3, 4), F32(4, 2)}},
    {.op = "MatMul", .in = {F32(2, 1, 3, 4), F32(3, 4, 2)}},
    {.op = "MatMul", .in = {F32(3, 4), F32(2, 4, 2)}},
    {.op = "MatMul", .in = {F32(2, 2, 3, 4), F32(4, 2)}},
    {.op = "MatMul", .in = {F32(4), F32(4, 2)}},
    {.op = "MatMul", .in = {F32(4), F32(3, 4, 2)}},
    {.op = "MatMul", .in = {F32(3, 4), F32(4)}},
    {.op = "MatMul", .in = {F32(2, 3, 4), F32(4)}},
    {.op = "MatMul", .in = {F32(4), F32(4)}},
    {.op = "MatMul", .in = {F32(1, 4), F32(3, 4, 2)}},
};

static const op_case refused[] = {
    {.op = "Gemm", .in = {F32(3, 4), F32(3, 2)}},
    {.op = "Gemm", .in = {F32(3, 4, 1), F32(4, 2)}},
    {.op = "Gemm", .in = {F32(3, 4), F32(4, 2), F32(3)}},
    {.op = "Gemm", .in = {F32(3, 4), F32(4, 2), F32(1, 3, 2)}},
    {.op = "MatMul", .in = {F32(3, 4), F32(3, 4)}},
    {.op = "MatMul", .in = {F32(2, 3, 4), F32(3, 4, 2)}},
    {.op = "MatMul", .in = {F32(3), F32(4, 2)}},
    {.op = "MatMul", .in = {F32(3), SCALAR}},
};

const op_family family_matmul = {.name = "matmul",
                                 .grads = grads,
                                 .n_grads = COUNT_OF(grads),
                                 .refused = refused,
                                 .n_refused = COUNT_OF(refused)};
