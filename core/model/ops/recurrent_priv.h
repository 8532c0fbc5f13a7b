/* core/model/ops/recurrent_priv.h - what LSTM, GRU and RNN share: one call as
 * a list of directions, each a loop over steps around a cell. The cells
 * (lstm.c, gru.c, rnn.c) know their gates; recurrent.c does all the rest,
 * forward and backward through time. Gates of all steps lie as [rows, n_wide],
 * one row a step of a sample, in the order in which X has them. */
#ifndef TB_MODEL_OPS_RECURRENT_PRIV_H
#define TB_MODEL_OPS_RECURRENT_PRIV_H

#include "model/ops/op_priv.h"

/* An activation function with its numbers. Its slope is taken from its value:
 * nothing else is kept for the way back. */
typedef struct tb_rnn_act {
    uint8_t kind;
    float alpha;
    float beta;
    float clip; /* x is bounded by this on both sides first; 0: it is not */
    float low;  /* values at and beyond these came from a bounded x */
    float high;
} tb_rnn_act;

/* What infer found. */
typedef struct tb_rnn {
    size_t n_steps;
    size_t n_rows; /* samples */
    size_t n_in;
    size_t n_hidden;
    size_t n_wide; /* gates of one row: 4, 3 or 1 times n_hidden */
    size_t n_dirs;
    size_t step;        /* rows of X from one step to the next */
    size_t row;         /* rows of X from one sample to the next */
    bool batch_first;   /* layout 1 */
    bool backwards;     /* one direction, and that from the last step */
    bool coupled;       /* LSTM: the forget gate is 1 - the input gate */
    bool linear_before; /* GRU: r multiplies behind the product with R */
    tb_rnn_act act[2][3];
} tb_rnn;

/* One direction of a call in motion. What a cell does not use is NULL. */
typedef struct tb_rnn_dir {
    const tb_rnn *s;
    const tb_rnn_act *act;
    size_t d;
    const float *r;      /* [n_wide, H] */
    const float *b;      /* [2 n_wide], or NULL */
    const float *p;      /* peepholes [3 H], or NULL */
    const int32_t *lens; /* [n_rows], or NULL: every sample is n_steps long */
    float *panels;       /* the packed R: see tb_rnn_cell.pack */
    float *scratch;      /* [n_rows, H], on the way back a row more */
    /* forward */
    float *gates; /* [rows, n_wide] */
    float *kept;  /* [rows, H] the cell's own; NULL when nobody asks */
    float *h;     /* [n_rows, H] the state, and c of LSTM */
    float *c;
    /* backward; gates and kept are only read */
    const float *y;  /* Y whole */
    const float *c0; /* initial_c whole, or NULL */
    float *before;   /* [rows, H] the h that each step started from */
    float *d_gates;  /* [rows, n_wide] before the activations */
    float *d_kept;   /* [rows, H] GRU: see gru.c */
    float *d_h;      /* [n_rows, H] on its way back, and d_c of LSTM */
    float *d_c;
    float *d_p; /* [3 H], or NULL */
} tb_rnn_dir;

typedef struct tb_rnn_cell {
    size_t n_gates;
    size_t n_acts;
    /* Index of the outputs behind the sequence, and of what a cell saves. */
    size_t n_out;
    bool has_c;
    bool saves_gates;
    bool saves_kept;
    const char *const *defaults; /* [n_acts] names of activations */
    /* The n_wide biases that are added to X W^T from b [2 n_wide]. */
    void (*bias)(const tb_rnn_dir *q, float *bias);
    /* Floats of panels, and how they are filled, for either way. */
    size_t (*panel_floats)(const tb_rnn *s, bool back);
    void (*pack)(const tb_rnn_dir *q, bool back);
    /* From gates = X W^T + bias of step t and the state to the next state;
     * samples that have ended keep theirs. */
    void (*step)(const tb_rnn_dir *q, size_t t);
    /* d_h (and d_c) behind step t to d_gates of t and d_h before it; samples
     * that had ended have gates' gradients of zero and keep theirs. */
    void (*back)(const tb_rnn_dir *q, size_t t);
    /* dR [n_wide, H] and the second half of dB [n_wide], from all steps. */
    void (*weights)(const tb_rnn_dir *q, float *d_r, float *d_rb);
} tb_rnn_cell;

/* infer, run and backward of the three operators. */
tb_rc tb_rnn_infer(tb_call *call, const tb_rnn_cell *cell, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_rnn_run(const tb_call *call, const tb_rnn_cell *cell) TB_NONNULL(1, 2);
void tb_rnn_backward(tb_grad *g, const tb_rnn_cell *cell, const char *op)
    TB_NONNULL(1, 2, 3);

/* infer and run of their gradients: in X W R B lens h0 c0 P Y gates kept dY
 * dY_h dY_c, out dX dW dR dB dh0 dc0 dP. */
tb_rc tb_rnn_grad_infer(tb_call *call, const tb_rnn_cell *cell, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_rnn_grad_run(const tb_call *call, const tb_rnn_cell *cell)
    TB_NONNULL(1, 2);

#define TB_RNN_GRAD_IN  14
#define TB_RNN_GRAD_OUT 7

/* Operations of a forward call and of its gradient, from their state. */
double tb_rnn_flops(const tb_call *call) TB_NONNULL(1);
double tb_rnn_grad_flops(const tb_call *call) TB_NONNULL(1);

/* --- between recurrent.c and recurrent_infer.c ---------------------------- */

/* Inputs of both ways, and further ones of the way back. */
enum {
    TB_RNN_X,
    TB_RNN_W,
    TB_RNN_R,
    TB_RNN_B,
    TB_RNN_LENS,
    TB_RNN_H0,
    TB_RNN_C0,
    TB_RNN_P,
    TB_RNN_Y,
    TB_RNN_GATES,
    TB_RNN_KEPT,
    TB_RNN_D_Y,
    TB_RNN_D_H,
    TB_RNN_D_C
};

/* Hands out floats of a block, or only counts them when there is none. */
typedef struct tb_rnn_carver {
    float *block;
    size_t n;
} tb_rnn_carver;

/* The forward pass; gates go to scratch unless they are saved. Returns room for
 * n_wide biases. */
float *tb_rnn_carve_forward(tb_rnn_dir *q, tb_rnn_carver *c,
                            const tb_rnn_cell *cell, bool saved)
    TB_NONNULL(1, 2, 3);
void tb_rnn_carve_back(tb_rnn_dir *q, tb_rnn_carver *c, const tb_rnn_cell *cell)
    TB_NONNULL(1, 2, 3);

/* Rows of X: steps of all samples. */
static inline size_t tb_rnn_rows(const tb_rnn *s)
{
    return s->n_steps * s->n_rows;
}

/* --- the table ------------------------------------------------------------ */

/* Attributes that all three have. */
#define TB_RNN_ATTRS                                                           \
    {"activation_alpha", TB_ATTR_FLOATS, false},                               \
        {"activation_beta", TB_ATTR_FLOATS, false},                            \
        {"activations", TB_ATTR_STRINGS, false},                               \
        {"clip", TB_ATTR_FLOAT, false}, {"direction", TB_ATTR_STRING, false},  \
        {"hidden_size", TB_ATTR_INT, false},                                   \
    {                                                                          \
        "layout", TB_ATTR_INT, false                                           \
    }

/* tb_op_<id> and tb_op_<id>_grad from `cell` and `attrs` above: an operator of
 * up to n_inputs and n_outputs, with n_private ones that its gradient asks for;
 * trained: bits of the inputs that train. */
#define TB_RNN_OPERATOR(id, text, n_inputs, n_outputs, n_private, trained)     \
    static tb_rc infer(tb_call *call, tb_err *err)                             \
    {                                                                          \
        return tb_rnn_infer(call, &cell, err);                                 \
    }                                                                          \
    static void run(const tb_call *call)                                       \
    {                                                                          \
        tb_rnn_run(call, &cell);                                               \
    }                                                                          \
    static void backward(tb_grad *g)                                           \
    {                                                                          \
        tb_rnn_backward(g, &cell, text "Grad");                                \
    }                                                                          \
    static tb_rc grad_infer(tb_call *call, tb_err *err)                        \
    {                                                                          \
        return tb_rnn_grad_infer(call, &cell, err);                            \
    }                                                                          \
    static void grad_run(const tb_call *call)                                  \
    {                                                                          \
        tb_rnn_grad_run(call, &cell);                                          \
    }                                                                          \
    const tb_op tb_op_##id = {.domain = TB_DOMAIN_ONNX,                        \
                              .name = text,                                    \
                              .since = 7,                                      \
                              .until = TB_OPSET_ANY,                           \
                              .in_min = 3,                                     \
                              .in_max = n_inputs,                              \
                              .out_min = 1,                                    \
                              .out_max = n_outputs,                            \
                              .any_output = true,                              \
                              .attrs = attrs,                                  \
                              .n_attrs = TB_COUNT(attrs),                      \
                              .trains = trained,                               \
                              .types = TB_TYPES_F32,                           \
                              .n_saved = n_private,                            \
                              .flops = tb_rnn_flops,                           \
                              .infer = infer,                                  \
                              .run = run,                                      \
                              .backward = backward};                           \
    const tb_op tb_op_##id##_grad = {.domain = TB_DOMAIN_GRAD,                 \
                                     .name = text "Grad",                      \
                                     .since = 1,                               \
                                     .until = TB_OPSET_ANY,                    \
                                     .in_min = 3,                              \
                                     .in_max = TB_RNN_GRAD_IN,                 \
                                     .out_min = 1,                             \
                                     .out_max = TB_RNN_GRAD_OUT,               \
                                     .any_output = true,                       \
                                     .attrs = attrs,                           \
                                     .n_attrs = TB_COUNT(attrs),               \
                                     .shape_only = 1U << 3,                    \
                                     .flops = tb_rnn_grad_flops,               \
                                     .infer = grad_infer,                      \
                                     .run = grad_run}

/* --- for cells ------------------------------------------------------------ */

/* Row of step t, sample b, in gates, kept and their gradients. */
static inline size_t tb_rnn_at(const tb_rnn_dir *q, size_t t, size_t b)
{
    return t * q->s->step + b * q->s->row;
}

/* Whether sample b reaches step t. */
static inline bool tb_rnn_active(const tb_rnn_dir *q, size_t t, size_t b)
{
    return q->lens == NULL || (int64_t)t < q->lens[b];
}

/* y[i] = act(y[i]), i < n. */
void tb_rnn_apply(const tb_rnn_act *act, float *y, size_t n) TB_NONNULL(1, 2);

/* d[i] = d[i] * act'(x[i]) where y[i] = act(x[i]). */
void tb_rnn_slope(const tb_rnn_act *act, float *d, const float *y, size_t n)
    TB_NONNULL(1, 2, 3);

/* Reads the activation attributes: n functions for each direction. defaults [n]
 * are their names. Errors: UNSUPPORTED (a name), MALFORMED (a count). */
tb_rc tb_rnn_acts(tb_rnn *s, const tb_node *node, const tb_rnn_cell *cell,
                  tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Adds a [n_rows, H] times packed panels of n columns to columns [at, at + n)
 * of the gates of step t. */
void tb_rnn_recur(const tb_rnn_dir *q, size_t t, const float *a,
                  const float *panels, size_t at, size_t n) TB_NONNULL(1, 3, 4);

/* The way back: adds columns [at, at + k) of the gradients of gates of step t
 * times panels [k, H] to out [n_rows, H]. */
void tb_rnn_recur_back(const tb_rnn_dir *q, size_t t, size_t at, size_t k,
                       const float *panels, float *out) TB_NONNULL(1, 5, 6);

/* d_r [n, H] = a^T b over all steps: a [rows, n] with a_step floats a row, b
 * [rows, H]. */
void tb_rnn_outer(const tb_rnn_dir *q, float *d_r, const float *a,
                  size_t a_step, size_t n, const float *b)
    TB_NONNULL(1, 2, 3, 6);

/* bias = the halves of b added up: of cells that have no use for them apart. */
void tb_rnn_bias_sum(const tb_rnn_dir *q, float *bias) TB_NONNULL(1, 2);

/* R as one operand: of LSTM and RNN. */
size_t tb_rnn_panel_floats(const tb_rnn *s, bool back) TB_NONNULL(1);
void tb_rnn_pack(const tb_rnn_dir *q, bool back) TB_NONNULL(1);
void tb_rnn_weights(const tb_rnn_dir *q, float *d_r, float *d_rb) TB_NONNULL(1);

/* The step before t in this direction; n_steps: t is the first. */
static inline size_t tb_rnn_before(const tb_rnn_dir *q, size_t t)
{
    bool last_first = q->d == 1 || q->s->backwards;
    if (last_first) {
        return t + 1;
    }
    return t == 0 ? q->s->n_steps : t - 1;
}

/* Floats before sample b of direction d in initial_h, Y_h and the like. */
static inline size_t tb_rnn_edge(const tb_rnn_dir *q, size_t b)
{
    const tb_rnn *s = q->s;
    return (s->batch_first ? b * s->n_dirs + q->d : q->d * s->n_rows + b) *
           s->n_hidden;
}

#endif
