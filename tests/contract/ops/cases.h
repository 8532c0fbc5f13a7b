/* tests/contract/ops/cases.h - what a case of the operator contract is. Each
 * file of this folder holds the cases of one family and ends in one
 * op_family; families.def names them all. test_ops.c does the rest:
 *   grads    each gradient is the slope of the forward kernel; memory hints
 *            hold
 *   plain    accepted, no gradient: memory hints hold
 *   refused  binding fails, and says which operator and node it was
 * Every ONNX operator needs a grads case (plain, when it has no gradient), a
 * refused case, and a types mask that is refused beyond. */
#ifndef TB_TESTS_CONTRACT_OPS_CASES_H
#define TB_TESTS_CONTRACT_OPS_CASES_H

#include "model/op.h"

#define N_IN_MAX    10
#define N_OUT_MAX   4
#define N_ATTRS_MAX 12

/* Inputs with `data` are constants, the others are drawn: floats of size 0.15
 * to 1 with either sign, integers 0 to 3. */
typedef struct op_input {
    tb_dtype dtype; /* NONE: behind the last input, or omitted */
    tb_shape shape;
    const void *data;
    bool omitted;
} op_input;

typedef struct op_case {
    const char *op;
    const char *domain; /* NULL: ONNX's own */
    int opset;          /* 0: 17 */
    tb_attr attrs[N_ATTRS_MAX];
    op_input in[N_IN_MAX];
    size_t n_out;  /* 0: 1 */
    bool training; /* bound for training */
    bool positive; /* floats are drawn above 0 */
    /* Outputs that no gradient is fed to: bit i (an index, a running mean). */
    unsigned quiet;
} op_case;

typedef struct op_family {
    const char *name;
    const op_case *grads;
    size_t n_grads;
    const op_case *plain;
    size_t n_plain;
    const op_case *refused;
    size_t n_refused;
    /* Operators whose slope is zero almost everywhere, yet which pass a
     * gradient on purpose; tests of their own show that. */
    const char *const *straight_through;
    size_t n_straight_through;
} op_family;

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define COUNT(...)  (sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t))

/* Inputs: F32(2, 3) drawn, SCALAR drawn, DRAWN(TB_I32, 3) of any type,
 * CONST(TB_I64, array, extents...), OMITTED. */
#define DRAWN(type, ...)                                                       \
    {                                                                          \
        .dtype = type, .shape = {                                              \
            .rank = COUNT(__VA_ARGS__),                                        \
            .dim = {__VA_ARGS__}                                               \
        }                                                                      \
    }
#define F32(...) DRAWN(TB_F32, __VA_ARGS__)
#define I32(...) DRAWN(TB_I32, __VA_ARGS__)
#define SCALAR                                                                 \
    {                                                                          \
        .dtype = TB_F32                                                        \
    }
#define CONST(type, values, ...)                                               \
    {                                                                          \
        .dtype = type,                                                         \
        .shape = {.rank = COUNT(__VA_ARGS__), .dim = {__VA_ARGS__}},           \
        .data = values                                                         \
    }
#define OMITTED                                                                \
    {                                                                          \
        .omitted = true                                                        \
    }

/* Attributes. */
#define INT(nm, v)                                                             \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_INT, .i = v                                \
    }
#define FLOAT(nm, v)                                                           \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_FLOAT, .f = v                              \
    }
#define TEXT(nm, v)                                                            \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_STRING, .s = v                             \
    }
#define INTS(nm, v)                                                            \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_INTS, .ints = v, .n = COUNT_OF(v)          \
    }

#define FAMILY(name) extern const op_family family_##name;
#include "contract/ops/families.def"
#undef FAMILY

#endif
