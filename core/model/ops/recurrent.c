/* core/model/ops/recurrent.c - what LSTM, GRU and RNN do around their cells:
 * one product of all steps with W, then step by step; and the way back, with
 * one product of all steps for each gradient of a weight. */
#include "model/ops/recurrent_priv.h"

#include <string.h>

#include "tensor/gemm.h"
#include "tensor/kernels.h"

/* Inputs of both ways, and further ones of the way back. */
enum { X, W, R, B, LENS, H0, C0, P, Y, GATES, KEPT, D_Y, D_H, D_C };

/* --- shapes --------------------------------------------------------------- */

static tb_rc expect(const tb_call *call, size_t i, const char *name,
                    const tb_shape *want, tb_err *err)
{
    char got[TB_SHAPE_TEXT_BYTES];
    char text[TB_SHAPE_TEXT_BYTES];
    if (!tb_op_has(call, i) || tb_shape_equal(&call->in[i].shape, want)) {
        return TB_OK;
    }
    return tb_fail(err, TB_E_MISMATCH, "%s is %s, %s expected", name,
                   tb_shape_text(&call->in[i].shape, got),
                   tb_shape_text(want, text));
}

/* Of a state at either end: [directions, batch, H], or batch first. */
static tb_shape edge_shape(const tb_rnn *s)
{
    return s->batch_first ? TB_SHAPE(s->n_rows, s->n_dirs, s->n_hidden)
                          : TB_SHAPE(s->n_dirs, s->n_rows, s->n_hidden);
}

static tb_shape y_shape(const tb_rnn *s)
{
    return s->batch_first
               ? TB_SHAPE(s->n_rows, s->n_steps, s->n_dirs, s->n_hidden)
               : TB_SHAPE(s->n_steps, s->n_dirs, s->n_rows, s->n_hidden);
}

static tb_rc check_types(const tb_call *call, tb_err *err)
{
    for (size_t i = 0; i < call->n_in; i++) {
        tb_dtype want = i == LENS ? TB_I32 : TB_F32;
        if (tb_op_has(call, i) && call->in[i].dtype != want) {
            return tb_fail(err, TB_E_UNSUPPORTED, "input %zu is %s, not %s", i,
                           tb_dtype_name(call->in[i].dtype),
                           tb_dtype_name(want));
        }
    }
    return TB_OK;
}

static tb_rc read_direction(tb_rnn *s, const tb_node *node, tb_err *err)
{
    const tb_attr *attr = tb_node_attr(node, "direction");
    const char *text = attr != NULL ? attr->s : "forward";
    s->backwards = strcmp(text, "reverse") == 0;
    s->n_dirs = strcmp(text, "bidirectional") == 0 ? 2 : 1;
    if (s->n_dirs == 1 && !s->backwards && strcmp(text, "forward") != 0) {
        return tb_fail(err, TB_E_UNSUPPORTED, "direction \"%s\"", text);
    }
    return TB_OK;
}

/* Extents from X and R; each at least 1. */
static tb_rc read_extents(tb_rnn *s, const tb_call *call,
                          const tb_rnn_cell *cell, tb_err *err)
{
    const tb_shape *x = &call->in[X].shape;
    const tb_shape *r = &call->in[R].shape;
    char text[TB_SHAPE_TEXT_BYTES];
    if (x->rank != 3 || r->rank != 3 || tb_tensor_count(&call->in[X]) == 0 ||
        r->dim[2] == 0) {
        bool bad_x = x->rank != 3 || tb_tensor_count(&call->in[X]) == 0;
        return tb_fail(err, TB_E_MISMATCH,
                       "%s is %s, three dimensions over 0 expected",
                       bad_x ? "X" : "R", tb_shape_text(bad_x ? x : r, text));
    }
    s->n_steps = x->dim[s->batch_first];
    s->n_rows = x->dim[!s->batch_first];
    s->n_in = x->dim[2];
    s->n_hidden = r->dim[2];
    s->n_wide = s->n_hidden * cell->n_gates;
    s->step = s->batch_first ? 1 : s->n_rows;
    s->row = s->batch_first ? s->n_steps : 1;
    int64_t said = tb_node_int(call->node, "hidden_size", 0);
    if (said != 0 && said != (int64_t)s->n_hidden) {
        return tb_fail(err, TB_E_MISMATCH, "hidden_size %lld, but R has %zu",
                       (long long)said, s->n_hidden);
    }
    return TB_OK;
}

/* All of state, from inputs X to P. */
static tb_rc read_call(tb_call *call, const tb_rnn_cell *cell, tb_err *err)
{
    tb_rnn *s = TB_OP_STATE(tb_rnn, call);
    const tb_node *node = call->node;
    *s = (tb_rnn){.batch_first = tb_node_int(node, "layout", 0) != 0,
                  .coupled = tb_node_int(node, "input_forget", 0) != 0,
                  .linear_before =
                      tb_node_int(node, "linear_before_reset", 0) != 0};
    tb_rc rc = check_types(call, err);
    if (rc == TB_OK) {
        rc = read_direction(s, node, err);
    }
    if (rc == TB_OK) {
        rc = tb_rnn_acts(s, node, cell, err);
    }
    if (rc == TB_OK) {
        rc = read_extents(s, call, cell, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    const tb_shape edge = edge_shape(s);
    const struct {
        size_t i;
        const char *name;
        tb_shape shape;
    } wants[] = {
        {W, "W", TB_SHAPE(s->n_dirs, s->n_wide, s->n_in)},
        {R, "R", TB_SHAPE(s->n_dirs, s->n_wide, s->n_hidden)},
        {B, "B", TB_SHAPE(s->n_dirs, 2 * s->n_wide)},
        {LENS, "sequence_lens", TB_SHAPE(s->n_rows)},
        {H0, "initial_h", edge},
        {C0, "initial_c", edge},
        {P, "P", TB_SHAPE(s->n_dirs, 3 * s->n_hidden)},
    };
    for (size_t i = 0; i < TB_COUNT(wants) && rc == TB_OK; i++) {
        rc = expect(call, wants[i].i, wants[i].name, &wants[i].shape, err);
    }
    return rc;
}

/* --- scratch memory ------------------------------------------------------- */

/* Hands out floats of a block, or only counts them when there is none. */
typedef struct carver {
    float *block;
    size_t n;
} carver;

static float *carve(carver *c, size_t n)
{
    float *out = c->block == NULL ? NULL : c->block + c->n;
    c->n += (n + 15) / 16 * 16;
    return out;
}

static size_t all_rows(const tb_rnn *s)
{
    return s->n_steps * s->n_rows;
}

/* The forward pass; gates go to scratch unless they are saved. */
static float *carve_forward(tb_rnn_dir *q, carver *c, const tb_rnn_cell *cell,
                            bool saved)
{
    const tb_rnn *s = q->s;
    size_t state = s->n_rows * s->n_hidden;
    float *bias = carve(c, s->n_wide);
    q->panels = carve(c, cell->panel_floats(s, false));
    q->scratch = carve(c, state);
    q->h = carve(c, state);
    q->c = cell->has_c ? carve(c, state) : NULL;
    if (!saved) {
        q->gates = carve(c, all_rows(s) * s->n_wide);
    }
    return bias;
}

static void carve_back(tb_rnn_dir *q, carver *c, const tb_rnn_cell *cell)
{
    const tb_rnn *s = q->s;
    size_t state = s->n_rows * s->n_hidden;
    q->panels = carve(c, cell->panel_floats(s, true));
    q->scratch = carve(c, state + s->n_hidden);
    q->d_h = carve(c, state);
    q->d_c = cell->has_c ? carve(c, state) : NULL;
    q->before = carve(c, all_rows(s) * s->n_hidden);
    q->d_gates = carve(c, all_rows(s) * s->n_wide);
    q->d_kept = cell->saves_kept ? carve(c, all_rows(s) * s->n_hidden) : NULL;
}

/* --- helpers of cells ----------------------------------------------------- */

void tb_rnn_recur(const tb_rnn_dir *q, size_t t, const float *a,
                  const float *panels, size_t at, size_t n)
{
    const tb_rnn *s = q->s;
    tb_gemm_shape shape =
        tb_gemm_dense(false, false, s->n_rows, n, s->n_hidden);
    shape.c_step = s->row * s->n_wide;
    tb_gemm_packed(&shape, 1.0f, a, panels, 1.0f,
                   q->gates + tb_rnn_at(q, t, 0) * s->n_wide + at);
}

void tb_rnn_recur_back(const tb_rnn_dir *q, size_t t, size_t at, size_t k,
                       const float *panels, float *out)
{
    const tb_rnn *s = q->s;
    tb_gemm_shape shape =
        tb_gemm_dense(false, false, s->n_rows, s->n_hidden, k);
    shape.a_step = s->row * s->n_wide;
    tb_gemm_packed(&shape, 1.0f,
                   q->d_gates + tb_rnn_at(q, t, 0) * s->n_wide + at, panels,
                   1.0f, out);
}

void tb_rnn_outer(const tb_rnn_dir *q, float *d_r, const float *a,
                  size_t a_step, size_t n, const float *b)
{
    tb_gemm_shape shape =
        tb_gemm_dense(true, false, n, q->s->n_hidden, all_rows(q->s));
    shape.a_step = a_step;
    tb_gemm(&shape, 1.0f, a, b, 0.0f, d_r);
}

void tb_rnn_bias_sum(const tb_rnn_dir *q, float *bias)
{
    tb_k_add(bias, q->b, q->b + q->s->n_wide, q->s->n_wide);
}

size_t tb_rnn_panel_floats(const tb_rnn *s, bool back)
{
    return back ? tb_gemm_panel_floats(s->n_hidden, s->n_wide)
                : tb_gemm_panel_floats(s->n_wide, s->n_hidden);
}

void tb_rnn_pack(const tb_rnn_dir *q, bool back)
{
    size_t h = q->s->n_hidden;
    size_t wide = q->s->n_wide;
    if (back) {
        tb_gemm_pack(q->panels, false, h, wide, q->r, h);
    } else {
        tb_gemm_pack(q->panels, true, wide, h, q->r, h);
    }
}

void tb_rnn_weights(const tb_rnn_dir *q, float *d_r, float *d_rb)
{
    size_t wide = q->s->n_wide;
    if (d_r != NULL) {
        tb_rnn_outer(q, d_r, q->d_gates, wide, wide, q->before);
    }
    if (d_rb != NULL) {
        tb_k_sum_rows(d_rb, q->d_gates, all_rows(q->s), wide, 1.0f, 0.0f);
    }
}

/* --- forward -------------------------------------------------------------- */

/* Floats before Y of step t, sample b. */
static size_t y_at(const tb_rnn_dir *q, size_t t, size_t b)
{
    const tb_rnn *s = q->s;
    size_t row = s->batch_first ? (b * s->n_steps + t) * s->n_dirs + q->d
                                : (t * s->n_dirs + q->d) * s->n_rows + b;
    return row * s->n_hidden;
}

/* The t-th step of the direction. */
static size_t nth_step(const tb_rnn_dir *q, size_t i)
{
    bool last_first = q->d == 1 || q->s->backwards;
    return last_first ? q->s->n_steps - 1 - i : i;
}

static const float *in_or_null(const tb_call *call, size_t i)
{
    return tb_op_has(call, i) ? call->in[i].data : NULL;
}

static float *out_or_null(const tb_call *call, size_t i)
{
    return i < call->n_out ? call->out[i].data : NULL;
}

/* Lengths outside [0, n_steps] are a fault; they then act as the nearest. */
static void check_lens(const tb_call *call, const tb_rnn *s)
{
    const int32_t *lens = tb_op_has(call, LENS) ? call->in[LENS].data : NULL;
    for (size_t b = 0; lens != NULL && b < s->n_rows; b++) {
        if (lens[b] < 0 || (size_t)lens[b] > s->n_steps) {
            tb_op_fault(call, lens[b], s->n_steps + 1);
        }
    }
}

static tb_rnn_dir start_dir(const tb_call *call, const tb_rnn *s, size_t d)
{
    const float *b = in_or_null(call, B);
    const float *p = in_or_null(call, P);
    return (tb_rnn_dir){.s = s,
                        .act = s->act[d],
                        .d = d,
                        .r = tb_op_f32(call, R) + d * s->n_wide * s->n_hidden,
                        .b = b == NULL ? NULL : b + d * 2 * s->n_wide,
                        .p = p == NULL ? NULL : p + d * 3 * s->n_hidden,
                        .lens =
                            tb_op_has(call, LENS) ? call->in[LENS].data : NULL};
}

/* state [n_rows, H] from an initial one, or zero. */
static void load_edge(const tb_rnn_dir *q, float *state, const float *edge)
{
    size_t h = q->s->n_hidden;
    if (edge == NULL) {
        memset(state, 0, q->s->n_rows * h * sizeof *state);
        return;
    }
    for (size_t b = 0; b < q->s->n_rows; b++) {
        memcpy(state + b * h, edge + tb_rnn_edge(q, b), h * sizeof *state);
    }
}

static void store_edge(const tb_rnn_dir *q, float *edge, const float *state)
{
    size_t h = q->s->n_hidden;
    for (size_t b = 0; edge != NULL && b < q->s->n_rows; b++) {
        memcpy(edge + tb_rnn_edge(q, b), state + b * h, h * sizeof *state);
    }
}

static void write_y(const tb_rnn_dir *q, float *y, size_t t)
{
    size_t h = q->s->n_hidden;
    for (size_t b = 0; y != NULL && b < q->s->n_rows; b++) {
        float *at = y + y_at(q, t, b);
        if (tb_rnn_active(q, t, b)) {
            memcpy(at, q->h + b * h, h * sizeof *at);
        } else {
            memset(at, 0, h * sizeof *at);
        }
    }
}

/* gates = X W^T + bias, all steps at once. */
static void project(const tb_call *call, const tb_rnn_dir *q,
                    const tb_rnn_cell *cell, float *bias)
{
    const tb_rnn *s = q->s;
    tb_gemm_shape shape =
        tb_gemm_dense(false, true, all_rows(s), s->n_wide, s->n_in);
    tb_gemm_tail tail = {.from = bias, .from_row = 0, .from_col = 1};
    memset(bias, 0, s->n_wide * sizeof *bias);
    if (q->b != NULL) {
        cell->bias(q, bias);
    }
    tb_gemm_with(&shape, 1.0f, tb_op_f32(call, X),
                 tb_op_f32(call, W) + q->d * s->n_wide * s->n_in, 1.0f,
                 q->gates, &tail);
}

static void run_direction(const tb_call *call, const tb_rnn_cell *cell,
                          size_t d)
{
    const tb_rnn *s = TB_OP_CONST_STATE(tb_rnn, call);
    tb_rnn_dir q = start_dir(call, s, d);
    carver c = {.block = call->work};
    float *gates = out_or_null(call, cell->n_out);
    float *kept = out_or_null(call, cell->n_out + 1);
    bool saved = cell->saves_gates && gates != NULL;
    float *bias = carve_forward(&q, &c, cell, saved);
    if (saved) {
        q.gates = gates + d * all_rows(s) * s->n_wide;
    }
    if (cell->saves_kept && kept != NULL) {
        q.kept = kept + d * all_rows(s) * s->n_hidden;
    }
    load_edge(&q, q.h, in_or_null(call, H0));
    if (cell->has_c) {
        load_edge(&q, q.c, in_or_null(call, C0));
    }
    project(call, &q, cell, bias);
    cell->pack(&q, false);
    for (size_t i = 0; i < s->n_steps; i++) {
        size_t t = nth_step(&q, i);
        cell->step(&q, t);
        write_y(&q, out_or_null(call, 0), t);
    }
    store_edge(&q, out_or_null(call, 1), q.h);
    if (cell->has_c) {
        store_edge(&q, out_or_null(call, 2), q.c);
    }
}

void tb_rnn_run(const tb_call *call, const tb_rnn_cell *cell)
{
    const tb_rnn *s = TB_OP_CONST_STATE(tb_rnn, call);
    check_lens(call, s);
    for (size_t d = 0; d < s->n_dirs; d++) {
        run_direction(call, cell, d);
    }
}

tb_rc tb_rnn_infer(tb_call *call, const tb_rnn_cell *cell, tb_err *err)
{
    tb_rnn *s = TB_OP_STATE(tb_rnn, call);
    tb_rc rc = read_call(call, cell, err);
    if (rc != TB_OK) {
        return rc;
    }
    const tb_shape shapes[] = {y_shape(s), edge_shape(s), edge_shape(s)};
    size_t saved = cell->n_out;
    for (size_t i = 0; i < call->n_out; i++) {
        tb_shape shape = TB_SHAPE(s->n_dirs, all_rows(s),
                                  i == saved ? s->n_wide : s->n_hidden);
        call->out[i] =
            tb_tensor_view(TB_F32, i < saved ? &shapes[i] : &shape, NULL);
    }
    tb_rnn_dir q = {.s = s};
    carver c = {0};
    bool keeps = cell->saves_gates && call->n_out > saved &&
                 call->node->out[saved] != TB_ID_NONE;
    carve_forward(&q, &c, cell, keeps);
    call->work_bytes = c.n * sizeof(float);
    return TB_OK;
}

double tb_rnn_flops(const tb_call *call)
{
    const tb_rnn *s = TB_OP_CONST_STATE(tb_rnn, call);
    return 2.0 * (double)s->n_dirs * (double)all_rows(s) * (double)s->n_wide *
           (double)(s->n_in + s->n_hidden);
}

/* --- backward ------------------------------------------------------------- */

void tb_rnn_backward(tb_grad *g, const tb_rnn_cell *cell, const char *op)
{
    tb_value_id in[TB_RNN_GRAD_IN];
    tb_value_id out[TB_RNN_GRAD_OUT];
    static const size_t of[TB_RNN_GRAD_OUT] = {X, W, R, B, H0, C0, P};
    for (size_t i = 0; i < TB_RNN_GRAD_IN; i++) {
        in[i] = TB_ID_NONE;
    }
    for (size_t i = 0; i < cell->n_out && i < g->node->n_out; i++) {
        in[D_Y + i] = g->dy[i];
    }
    in[Y] = tb_grad_output(g, 0);
    if (cell->saves_gates) {
        in[GATES] = tb_grad_output(g, cell->n_out);
    }
    if (cell->saves_kept) {
        in[KEPT] = tb_grad_output(g, cell->n_out + 1);
    }
    const tb_node *node = g->node;
    memcpy(in, node->in, node->n_in * sizeof in[0]);
    for (size_t i = 0; i < TB_RNN_GRAD_OUT; i++) {
        out[i] = TB_ID_NONE;
        if (g->rc == TB_OK && of[i] < node->n_in && g->wants[of[i]]) {
            g->rc = tb_graph_add_temp(g->graph, &out[i], NULL, op, g->err);
            g->dx[of[i]] = out[i];
        }
    }
    if (g->rc == TB_OK) {
        g->rc = tb_graph_add_node(g->graph, NULL,
                                  &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                                  .op = op,
                                                  .attrs = node->attrs,
                                                  .n_attrs = node->n_attrs,
                                                  .in = in,
                                                  .n_in = TB_RNN_GRAD_IN,
                                                  .out = out,
                                                  .n_out = TB_RNN_GRAD_OUT},
                                  g->err);
    }
}

tb_rc tb_rnn_grad_infer(tb_call *call, const tb_rnn_cell *cell, tb_err *err)
{
    const tb_rnn *s = TB_OP_CONST_STATE(tb_rnn, call);
    static const size_t of[TB_RNN_GRAD_OUT] = {X, W, R, B, H0, C0, P};
    tb_rc rc = read_call(call, cell, err);
    if (rc != TB_OK) {
        return rc;
    }
    for (size_t i = 0; i < call->n_out; i++) {
        const tb_shape none = {0}; /* of an output that is not there */
        call->out[i] = tb_tensor_view(
            TB_F32, tb_op_has(call, of[i]) ? &call->in[of[i]].shape : &none,
            NULL);
    }
    tb_rnn_dir q = {.s = s};
    carver c = {0};
    carve_back(&q, &c, cell);
    call->work_bytes = c.n * sizeof(float);
    return TB_OK;
}

/* before: the h that each step of a sample started from. */
static void gather_before(const tb_rnn_dir *q, const float *h0)
{
    const tb_rnn *s = q->s;
    size_t h = s->n_hidden;
    for (size_t t = 0; t < s->n_steps; t++) {
        size_t last = tb_rnn_before(q, t);
        for (size_t b = 0; b < s->n_rows; b++) {
            float *at = q->before + tb_rnn_at(q, t, b) * h;
            bool first = last == s->n_steps || !tb_rnn_active(q, last, b);
            const float *from = q->y;
            if (first) {
                from = h0 == NULL ? NULL : h0 + tb_rnn_edge(q, b);
            } else {
                from += y_at(q, last, b);
            }
            if (from == NULL) {
                memset(at, 0, h * sizeof *at);
            } else {
                memcpy(at, from, h * sizeof *at);
            }
        }
    }
}

/* d_h of each sample still running at step t gets what arrives at Y. */
static void add_d_y(const tb_rnn_dir *q, const float *d_y, size_t t)
{
    size_t h = q->s->n_hidden;
    for (size_t b = 0; d_y != NULL && b < q->s->n_rows; b++) {
        if (tb_rnn_active(q, t, b)) {
            float *at = q->d_h + b * h;
            tb_k_add(at, at, d_y + y_at(q, t, b), h);
        }
    }
}

/* The products over all steps. */
static void finish_direction(const tb_call *call, const tb_rnn_dir *q,
                             const tb_rnn_cell *cell)
{
    const tb_rnn *s = q->s;
    size_t wide = s->n_wide;
    size_t rows = all_rows(s);
    float *d_x = out_or_null(call, 0);
    float *d_w = out_or_null(call, 1);
    float *d_r = out_or_null(call, 2);
    float *d_b = out_or_null(call, 3);
    if (d_x != NULL) {
        tb_gemm_shape shape = tb_gemm_dense(false, false, rows, s->n_in, wide);
        tb_gemm(&shape, 1.0f, q->d_gates,
                tb_op_f32(call, W) + q->d * wide * s->n_in,
                q->d > 0 ? 1.0f : 0.0f, d_x);
    }
    if (d_w != NULL) {
        tb_gemm_shape shape = tb_gemm_dense(true, false, wide, s->n_in, rows);
        tb_gemm(&shape, 1.0f, q->d_gates, tb_op_f32(call, X), 0.0f,
                d_w + q->d * wide * s->n_in);
    }
    if (d_b != NULL) {
        d_b += q->d * 2 * wide;
        tb_k_sum_rows(d_b, q->d_gates, rows, wide, 1.0f, 0.0f);
    }
    cell->weights(q, d_r == NULL ? NULL : d_r + q->d * wide * s->n_hidden,
                  d_b == NULL ? NULL : d_b + wide);
}

static void back_direction(const tb_call *call, const tb_rnn_cell *cell,
                           size_t d)
{
    const tb_rnn *s = TB_OP_CONST_STATE(tb_rnn, call);
    tb_rnn_dir q = start_dir(call, s, d);
    carver c = {.block = call->work};
    float *d_p = out_or_null(call, 6);
    carve_back(&q, &c, cell);
    q.y = tb_op_f32(call, Y);
    q.c0 = in_or_null(call, C0);
    q.d_p = d_p == NULL ? NULL : d_p + d * 3 * s->n_hidden;
    if (q.d_p != NULL) {
        memset(q.d_p, 0, 3 * s->n_hidden * sizeof *q.d_p);
    }
    /* Never written: run's own inputs. */
    q.gates = cell->saves_gates
                  ? (float *)call->in[GATES].data + d * all_rows(s) * s->n_wide
                  : NULL;
    q.kept = cell->saves_kept
                 ? (float *)call->in[KEPT].data + d * all_rows(s) * s->n_hidden
                 : NULL;
    gather_before(&q, in_or_null(call, H0));
    load_edge(&q, q.d_h, in_or_null(call, D_H));
    if (cell->has_c) {
        load_edge(&q, q.d_c, in_or_null(call, D_C));
    }
    cell->pack(&q, true);
    for (size_t i = s->n_steps; i > 0; i--) {
        size_t t = nth_step(&q, i - 1);
        add_d_y(&q, in_or_null(call, D_Y), t);
        cell->back(&q, t);
    }
    store_edge(&q, out_or_null(call, 4), q.d_h);
    if (cell->has_c) {
        store_edge(&q, out_or_null(call, 5), q.d_c);
    }
    finish_direction(call, &q, cell);
}

void tb_rnn_grad_run(const tb_call *call, const tb_rnn_cell *cell)
{
    const tb_rnn *s = TB_OP_CONST_STATE(tb_rnn, call);
    for (size_t d = 0; d < s->n_dirs; d++) {
        back_direction(call, cell, d);
    }
}
