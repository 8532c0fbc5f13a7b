/* core/model/ops/lstm.c - LSTM of ONNX: gates in the order i, o, f, g;
 * f(), g(), h() are the three activations, x what X and h before give a gate:
 * i = f(x_i + P_i c), f = f(x_f + P_f c) or 1 - i when coupled, g = g(x_g),
 * c' = f c + i g, o = f(x_o + P_o c'), h' = o h(c'). */
#include <string.h>

#include "model/ops/recurrent_priv.h"
#include "tensor/kernels.h"

enum { F, G, H_ACT }; /* activations */

/* y += a b, elementwise. */
static void add_product(float *y, const float *a, const float *b, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        y[j] = y[j] + a[j] * b[j];
    }
}

static void step_row(const tb_rnn_dir *q, float *row, float *c, float *h)
{
    size_t n = q->s->n_hidden;
    float *i = row;
    float *o = row + n;
    float *f = row + 2 * n;
    float *g = row + 3 * n;
    if (q->p != NULL) {
        add_product(i, q->p, c, n);
        add_product(f, q->p + 2 * n, c, n);
    }
    tb_rnn_apply(&q->act[F], i, n);
    if (q->s->coupled) {
        tb_k_affine(f, i, n, -1.0f, 1.0f);
    } else {
        tb_rnn_apply(&q->act[F], f, n);
    }
    tb_rnn_apply(&q->act[G], g, n);
    for (size_t j = 0; j < n; j++) {
        c[j] = f[j] * c[j] + i[j] * g[j];
    }
    if (q->p != NULL) {
        add_product(o, q->p + n, c, n);
    }
    tb_rnn_apply(&q->act[F], o, n);
    memcpy(h, c, n * sizeof *h);
    tb_rnn_apply(&q->act[H_ACT], h, n);
    tb_k_mul(h, h, o, n);
}

/* kept: c' of each step, also of samples that have ended. */
static void step(const tb_rnn_dir *q, size_t t)
{
    size_t n = q->s->n_hidden;
    size_t wide = q->s->n_wide;
    tb_rnn_recur(q, t, q->h, q->panels, 0, wide);
    for (size_t b = 0; b < q->s->n_rows; b++) {
        size_t at = tb_rnn_at(q, t, b);
        float *c = q->c + b * n;
        if (tb_rnn_active(q, t, b)) {
            step_row(q, q->gates + at * wide, c, q->h + b * n);
        }
        if (q->kept != NULL) {
            memcpy(q->kept + at * n, c, n * sizeof *c);
        }
    }
}

/* The c that step t of sample b started from; NULL: zero. */
static const float *c_before(const tb_rnn_dir *q, size_t t, size_t b)
{
    size_t last = tb_rnn_before(q, t);
    if (last < q->s->n_steps) {
        return q->kept + tb_rnn_at(q, last, b) * q->s->n_hidden;
    }
    return q->c0 == NULL ? NULL : q->c0 + tb_rnn_edge(q, b);
}

/* With dh, dc behind the step: do = dh h(c'), dc += dh o h'(c') + P_o do;
 * di = dc g, df = dc c, dg = dc i, each times the slope of its gate; and before
 * the step dc = dc f + P_i di + P_f df. c is never NULL. */
static void back_row(const tb_rnn_dir *q, size_t at, size_t b, const float *c)
{
    size_t n = q->s->n_hidden;
    const float *i = q->gates + at * q->s->n_wide;
    const float *o = i + n;
    const float *f = i + 2 * n;
    const float *g = i + 3 * n;
    const float *c2 = q->kept + at * n;
    float *di = q->d_gates + at * q->s->n_wide;
    float *d_o = di + n;
    float *df = di + 2 * n;
    float *dg = di + 3 * n;
    float *dh = q->d_h + b * n;
    float *dc = q->d_c + b * n;
    float *hc = q->scratch;
    memcpy(hc, c2, n * sizeof *hc);
    tb_rnn_apply(&q->act[H_ACT], hc, n);
    tb_k_mul(d_o, dh, hc, n);
    tb_rnn_slope(&q->act[F], d_o, o, n);
    tb_k_mul(dh, dh, o, n);
    tb_rnn_slope(&q->act[H_ACT], dh, hc, n);
    tb_k_add(dc, dc, dh, n);
    memset(dh, 0, n * sizeof *dh);
    if (q->p != NULL) {
        add_product(dc, q->p + n, d_o, n);
    }
    for (size_t j = 0; j < n; j++) {
        di[j] = dc[j] * g[j];
        df[j] = dc[j] * c[j];
        dg[j] = dc[j] * i[j];
        dc[j] = dc[j] * f[j];
    }
    if (q->s->coupled) {
        tb_k_sub(di, di, df, n);
        memset(df, 0, n * sizeof *df);
    }
    tb_rnn_slope(&q->act[F], di, i, n);
    tb_rnn_slope(&q->act[F], df, f, n);
    tb_rnn_slope(&q->act[G], dg, g, n);
    if (q->p != NULL) {
        add_product(dc, q->p, di, n);
        add_product(dc, q->p + 2 * n, df, n);
    }
    if (q->d_p != NULL) {
        add_product(q->d_p, di, c, n);
        add_product(q->d_p + n, d_o, c2, n);
        add_product(q->d_p + 2 * n, df, c, n);
    }
}

static void back(const tb_rnn_dir *q, size_t t)
{
    size_t n = q->s->n_hidden;
    size_t wide = q->s->n_wide;
    for (size_t b = 0; b < q->s->n_rows; b++) {
        size_t at = tb_rnn_at(q, t, b);
        if (!tb_rnn_active(q, t, b)) {
            memset(q->d_gates + at * wide, 0, wide * sizeof q->d_gates[0]);
            continue;
        }
        const float *c = c_before(q, t, b);
        if (c == NULL) {
            float *zero = q->scratch + n; /* its second row is always there */
            memset(zero, 0, n * sizeof *zero);
            c = zero;
        }
        back_row(q, at, b, c);
    }
    tb_rnn_recur_back(q, t, 0, wide, q->panels, q->d_h);
}

static const char *const defaults[] = {"Sigmoid", "Tanh", "Tanh"};

static const tb_rnn_cell cell = {.n_gates = 4,
                                 .n_acts = 3,
                                 .n_out = 3,
                                 .has_c = true,
                                 .saves_gates = true,
                                 .saves_kept = true,
                                 .defaults = defaults,
                                 .bias = tb_rnn_bias_sum,
                                 .panel_floats = tb_rnn_panel_floats,
                                 .pack = tb_rnn_pack,
                                 .step = step,
                                 .back = back,
                                 .weights = tb_rnn_weights};

static const tb_attr_decl attrs[] = {TB_RNN_ATTRS,
                                     {"input_forget", TB_ATTR_INT, false}};

TB_RNN_OPERATOR(lstm, "LSTM", 8, 3, 2, 1U << 1 | 1U << 2 | 1U << 3 | 1U << 7);
