/* core/model/ops/recurrent.c - what LSTM, GRU and RNN do around their cells:
 * one product of all steps with W, then step by step; and the way back, with
 * one product of all steps for each gradient of a weight. */
#include "model/ops/recurrent_priv.h"

#include <string.h>

#include "tensor/gemm.h"
#include "tensor/kernels.h"

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
        tb_gemm_dense(true, false, n, q->s->n_hidden, tb_rnn_rows(q->s));
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
        tb_k_sum_rows(d_rb, q->d_gates, tb_rnn_rows(q->s), wide, 1.0f, 0.0f);
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
    const int32_t *lens =
        tb_op_has(call, TB_RNN_LENS) ? call->in[TB_RNN_LENS].data : NULL;
    for (size_t b = 0; lens != NULL && b < s->n_rows; b++) {
        if (lens[b] < 0 || (size_t)lens[b] > s->n_steps) {
            tb_op_fault(call, lens[b], s->n_steps + 1);
        }
    }
}

static tb_rnn_dir start_dir(const tb_call *call, const tb_rnn *s, size_t d)
{
    const float *b = in_or_null(call, TB_RNN_B);
    const float *p = in_or_null(call, TB_RNN_P);
    return (tb_rnn_dir){
        .s = s,
        .act = s->act[d],
        .d = d,
        .r = tb_op_f32(call, TB_RNN_R) + d * s->n_wide * s->n_hidden,
        .b = b == NULL ? NULL : b + d * 2 * s->n_wide,
        .p = p == NULL ? NULL : p + d * 3 * s->n_hidden,
        .lens =
            tb_op_has(call, TB_RNN_LENS) ? call->in[TB_RNN_LENS].data : NULL};
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
        tb_gemm_dense(false, true, tb_rnn_rows(s), s->n_wide, s->n_in);
    tb_gemm_tail tail = {.from = bias, .from_row = 0, .from_col = 1};
    memset(bias, 0, s->n_wide * sizeof *bias);
    if (q->b != NULL) {
        cell->bias(q, bias);
    }
    tb_gemm_with(&shape, 1.0f, tb_op_f32(call, TB_RNN_X),
                 tb_op_f32(call, TB_RNN_W) + q->d * s->n_wide * s->n_in, 1.0f,
                 q->gates, &tail);
}

static void run_direction(const tb_call *call, const tb_rnn_cell *cell,
                          size_t d)
{
    const tb_rnn *s = TB_OP_CONST_STATE(tb_rnn, call);
    tb_rnn_dir q = start_dir(call, s, d);
    tb_rnn_carver c = {.block = call->work};
    float *gates = out_or_null(call, cell->n_out);
    float *kept = out_or_null(call, cell->n_out + 1);
    bool saved = cell->saves_gates && gates != NULL;
    float *bias = tb_rnn_carve_forward(&q, &c, cell, saved);
    if (saved) {
        q.gates = gates + d * tb_rnn_rows(s) * s->n_wide;
    }
    if (cell->saves_kept && kept != NULL) {
        q.kept = kept + d * tb_rnn_rows(s) * s->n_hidden;
    }
    load_edge(&q, q.h, in_or_null(call, TB_RNN_H0));
    if (cell->has_c) {
        load_edge(&q, q.c, in_or_null(call, TB_RNN_C0));
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

/* Of products of all gates with so many columns. */
static double product_flops(const tb_rnn *s, size_t n_columns)
{
    return 2.0 * (double)s->n_dirs * (double)tb_rnn_rows(s) *
           (double)s->n_wide * (double)n_columns;
}

double tb_rnn_flops(const tb_call *call)
{
    const tb_rnn *s = TB_OP_CONST_STATE(tb_rnn, call);
    return product_flops(s, s->n_in + s->n_hidden);
}

static bool is_wanted(const tb_call *call, size_t out)
{
    return out < call->n_out && call->node->out[out] != TB_ID_NONE;
}

/* The way back through time, and what is wanted of X, W and R. */
double tb_rnn_grad_flops(const tb_call *call)
{
    const tb_rnn *s = TB_OP_CONST_STATE(tb_rnn, call);
    size_t n = s->n_hidden;
    n += is_wanted(call, 0) ? s->n_in : 0;
    n += is_wanted(call, 1) ? s->n_in : 0;
    n += is_wanted(call, 2) ? s->n_hidden : 0;
    return product_flops(s, n);
}

/* --- backward ------------------------------------------------------------- */

void tb_rnn_backward(tb_grad *g, const tb_rnn_cell *cell, const char *op)
{
    tb_value_id in[TB_RNN_GRAD_IN];
    tb_value_id out[TB_RNN_GRAD_OUT];
    static const size_t of[TB_RNN_GRAD_OUT] = {
        TB_RNN_X, TB_RNN_W, TB_RNN_R, TB_RNN_B, TB_RNN_H0, TB_RNN_C0, TB_RNN_P};
    for (size_t i = 0; i < TB_RNN_GRAD_IN; i++) {
        in[i] = TB_ID_NONE;
    }
    for (size_t i = 0; i < cell->n_out && i < g->node->n_out; i++) {
        in[TB_RNN_D_Y + i] = g->dy[i];
    }
    in[TB_RNN_Y] = tb_grad_output(g, 0);
    if (cell->saves_gates) {
        in[TB_RNN_GATES] = tb_grad_output(g, cell->n_out);
    }
    if (cell->saves_kept) {
        in[TB_RNN_KEPT] = tb_grad_output(g, cell->n_out + 1);
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
    size_t rows = tb_rnn_rows(s);
    float *d_x = out_or_null(call, 0);
    float *d_w = out_or_null(call, 1);
    float *d_r = out_or_null(call, 2);
    float *d_b = out_or_null(call, 3);
    if (d_x != NULL) {
        tb_gemm_shape shape = tb_gemm_dense(false, false, rows, s->n_in, wide);
        tb_gemm(&shape, 1.0f, q->d_gates,
                tb_op_f32(call, TB_RNN_W) + q->d * wide * s->n_in,
                q->d > 0 ? 1.0f : 0.0f, d_x);
    }
    if (d_w != NULL) {
        tb_gemm_shape shape = tb_gemm_dense(true, false, wide, s->n_in, rows);
        tb_gemm(&shape, 1.0f, q->d_gates, tb_op_f32(call, TB_RNN_X), 0.0f,
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
    tb_rnn_carver c = {.block = call->work};
    float *d_p = out_or_null(call, 6);
    tb_rnn_carve_back(&q, &c, cell);
    q.y = tb_op_f32(call, TB_RNN_Y);
    q.c0 = in_or_null(call, TB_RNN_C0);
    q.d_p = d_p == NULL ? NULL : d_p + d * 3 * s->n_hidden;
    if (q.d_p != NULL) {
        memset(q.d_p, 0, 3 * s->n_hidden * sizeof *q.d_p);
    }
    /* Never written: run's own inputs. */
    q.gates = cell->saves_gates ? (float *)call->in[TB_RNN_GATES].data +
                                      d * tb_rnn_rows(s) * s->n_wide
                                : NULL;
    q.kept = cell->saves_kept ? (float *)call->in[TB_RNN_KEPT].data +
                                    d * tb_rnn_rows(s) * s->n_hidden
                              : NULL;
    gather_before(&q, in_or_null(call, TB_RNN_H0));
    load_edge(&q, q.d_h, in_or_null(call, TB_RNN_D_H));
    if (cell->has_c) {
        load_edge(&q, q.d_c, in_or_null(call, TB_RNN_D_C));
    }
    cell->pack(&q, true);
    for (size_t i = s->n_steps; i > 0; i--) {
        size_t t = nth_step(&q, i - 1);
        add_d_y(&q, in_or_null(call, TB_RNN_D_Y), t);
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
