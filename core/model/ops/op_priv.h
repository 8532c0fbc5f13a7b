/* core/model/ops/op_priv.h - what the operator families share: checks for
 * infer, typed access for run, and the loop over broadcast shapes. */
#ifndef TB_MODEL_OPS_OP_PRIV_H
#define TB_MODEL_OPS_OP_PRIV_H

#include "model/op.h"

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

/* infer for one float32 output of the first input's shape. */
tb_rc tb_op_infer_same(tb_call *call, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* The same for (dy, x or y): both shapes must be equal. */
tb_rc tb_op_infer_grad(tb_call *call, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Copies in[0] to out[0] byte by byte, unless they are the same memory: run of
 * an operator whose output is a view. */
void tb_op_run_view(const tb_call *call) TB_NONNULL(1);

/* ReduceToLike(a, like): a summed down to the shape of like, times scale. */
tb_value_id tb_grad_reduce(tb_grad *g, tb_value_id a, tb_value_id like,
                           float scale) TB_NONNULL(1);

/* Two operands walked together over a shape to which both broadcast: outer
 * loops with strides, and an innermost run of n elements in which each operand
 * moves by 0 or 1. */
typedef struct tb_walk2 {
    size_t rank; /* of the outer loops */
    size_t dim[TB_RANK_MAX];
    size_t stride[2][TB_RANK_MAX];
    size_t n_outer; /* product of dim */
    size_t n;       /* innermost run */
    size_t step[2]; /* 0 or 1 */
} tb_walk2;

/* Plans a walk of operands a and b over `to`. */
void tb_walk2_plan(tb_walk2 *walk, const tb_shape *a, const tb_shape *b,
                   const tb_shape *to) TB_NONNULL(1, 2, 3, 4);

/* The walk in motion: where each operand stands. Start from all zeros. */
typedef struct tb_walk2_at {
    size_t index[TB_RANK_MAX];
    size_t at[2]; /* elements from the start of each operand */
} tb_walk2_at;

/* To the next outer step. */
void tb_walk2_next(tb_walk2_at *at, const tb_walk2 *walk) TB_NONNULL(1, 2);

/* The members of the list. */
#define TB_OP(name) extern const tb_op tb_op_##name;
#include "model/ops/list.def"
#undef TB_OP

#endif
