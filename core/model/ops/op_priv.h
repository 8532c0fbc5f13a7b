/* core/model/ops/op_priv.h - what the operator families share: checks for
 * infer, typed access for run, and the loop over broadcast shapes. */
#ifndef TB_MODEL_OPS_OP_PRIV_H
#define TB_MODEL_OPS_OP_PRIV_H

#include <math.h>

#include "model/op.h"
#include "tensor/kernels.h"

/* The state of a call as the family's own struct, which must fit. */
#define TB_OP_STATE(type, call)                                                \
    (_Generic(sizeof(char[sizeof(type) <= TB_OP_STATE_BYTES ? 1 : -1]),        \
              default                                                          \
              : (type *)(void *)(call)->state.bytes))
#define TB_OP_CONST_STATE(type, call)                                          \
    ((const type *)(const void *)(call)->state.bytes)

#define TB_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Elements of input or output i as float32. */
static inline const float *tb_op_f32(const tb_call *call, size_t i)
{
    return call->in[i].data;
}

#define TB_OP_EPSILON 1e-5f /* ONNX's default for normalisations */

/* 1 / sqrt(variance + epsilon) */
static inline float tb_op_rstd(double variance, float epsilon)
{
    return (float)(1 / sqrt(variance + (double)epsilon));
}

/* Elements of output 0 as float32. */
static inline float *tb_op_f32_out(const tb_call *call)
{
    return call->out[0].data;
}

/* Whether input i is there. */
static inline bool tb_op_has(const tb_call *call, size_t i)
{
    return i < call->n_in && call->in[i].dtype != TB_DTYPE_NONE;
}

/* Inputs [0, n) must be float32 (omitted ones are skipped). UNSUPPORTED. */
tb_rc tb_op_need_f32(const tb_call *call, size_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* An axis attribute in [-rank, rank) as an index; with end also rank itself. */
tb_rc tb_op_axis(size_t *out, int64_t axis, size_t rank, bool end, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* infer for one output of the first input's type and shape, which all inputs
 * have in common (their type; see tb_op.types). */
tb_rc tb_op_infer_same(tb_call *call, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* The same for (dy, x or y): both shapes must be equal. */
tb_rc tb_op_infer_grad(tb_call *call, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Copies in[0] to out[0] byte by byte, unless they are the same memory: run of
 * an operator whose output is a view. */
void tb_op_run_view(const tb_call *call) TB_NONNULL(1);

/* ReduceToLike(a, like): a summed down to the shape of like, times scale. */
tb_value_id tb_grad_reduce(tb_grad *g, tb_value_id a, tb_value_id like,
                           float scale) TB_NONNULL(1);

/* Emits a node of (dy, x, scale, mean, rstd) whose three outputs are the
 * gradients of a normalisation's first three inputs, as far as wanted. */
void tb_grad_emit_norm(tb_grad *g, const tb_node_spec *spec) TB_NONNULL(1, 2);

/* --- element by element (op_walk.c) --------------------------------------- */

#define TB_WALK_MAX 3

/* Up to three operands walked together over a shape to which all broadcast:
 * outer loops with strides, and an innermost run of n elements in which each
 * operand moves by 0 or 1. */
typedef struct tb_walk {
    size_t n_operands;
    size_t rank; /* of the outer loops */
    size_t dim[TB_RANK_MAX];
    size_t stride[TB_WALK_MAX][TB_RANK_MAX];
    size_t n_outer;           /* product of dim */
    size_t n;                 /* innermost run */
    size_t step[TB_WALK_MAX]; /* 0 or 1 */
} tb_walk;

/* The walk in motion: where each operand stands. Start from all zeros. */
typedef struct tb_walk_at {
    size_t index[TB_RANK_MAX];
    size_t at[TB_WALK_MAX]; /* elements from the start of each operand */
} tb_walk_at;

/* Plans a walk of n operands over `to`. */
void tb_walk_plan(tb_walk *walk, const tb_shape *const *operands, size_t n,
                  const tb_shape *to) TB_NONNULL(1, 2, 4);

/* To the next outer step. */
void tb_walk_next(tb_walk_at *at, const tb_walk *walk) TB_NONNULL(1, 2);

/* The walk of all inputs of a call (up to TB_WALK_MAX) over the shape to which
 * they broadcast. MISMATCH. */
tb_rc tb_op_plan_walk(tb_walk *walk, tb_shape *to, const tb_call *call,
                      tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Inputs [from, to) that are there have the type of input from. MISMATCH. */
tb_rc tb_op_need_same_type(const tb_call *call, size_t from, size_t to,
                           tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* A row of such a walk in motion: where the three tensors stand. */
typedef struct tb_op_pair {
    const tb_tensor *y, *a, *b;
    size_t at_y, at_a, at_b;
    size_t step_a, step_b;
} tb_op_pair;

/* y = f(a, b) by element type: float32; the other floats in double; integers in
 * 64 bits, cut to their type; u64. */
typedef struct tb_op_binary {
    tb_k_arith_op f32;
    double (*real)(double a, double b);
    int64_t (*whole)(int64_t a, int64_t b);
    uint64_t (*natural)(uint64_t a, uint64_t b);
} tb_op_binary;

/* infer for two inputs of one type that broadcast: the walk is the state. */
tb_rc tb_op_infer_binary(tb_call *call, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* run for such a call; or for any tensors of one type, y dense over the walk of
 * a and b. y may be a or b where that has as many elements. */
void tb_op_run_binary(const tb_call *call, const tb_op_binary *f)
    TB_NONNULL(1, 2);
void tb_op_walk_binary(const tb_walk *walk, const tb_tensor *y,
                       const tb_tensor *a, const tb_tensor *b,
                       const tb_op_binary *f) TB_NONNULL(1, 2, 3, 4, 5);

/* out[0] = f(in[0], in[1], ...; p) in double along a walk of all inputs, of any
 * float type: for what need not be fast. */
typedef double tb_op_each(const double x[TB_WALK_MAX], double p);
void tb_op_walk_each(const tb_call *call, const tb_walk *walk, tb_op_each *f,
                     double p) TB_NONNULL(1, 2, 3);

/* out[0] = f(in[0]) of a float type. */
void tb_op_run_map(const tb_call *call, tb_k_map_of f, float p, float q)
    TB_NONNULL(1);

/* The members of the list. */
#define TB_OP(name) extern const tb_op tb_op_##name;
#include "model/ops/list.def"
#undef TB_OP

#endif
