/* core/model/ops/gru.c - GRU of ONNX: gates in the order z, r, n; f() and g()
 * are the activations:
 * z = f(x_z + R_z h), r = f(x_r + R_r h), and n = g(x_n + R_n (r h)), or with
 * linear_before_reset n = g(x_n + r (R_n h + b_n)); h' = (1 - z) n + z h. */
#include <string.h>

#include "model/ops/recurrent_priv.h"
#include "tensor/gemm.h"
#include "tensor/kernels.h"

enum { F, G }; /* activations */

/* R is packed in two: z and r, and n behind them. */
static size_t n_panels(const tb_rnn_dir *q, bool back)
{
    size_t h = q->s->n_hidden;
    return back ? tb_gemm_panel_floats(h, 2 * h)
                : tb_gemm_panel_floats(2 * h, h);
}

static size_t panel_floats(const tb_rnn *s, bool back)
{
    const tb_rnn_dir q = {.s = s};
    return n_panels(&q, back) + tb_gemm_panel_floats(s->n_hidden, s->n_hidden);
}

static void pack(const tb_rnn_dir *q, bool back)
{
    size_t h = q->s->n_hidden;
    float *n = q->panels + n_panels(q, back);
    tb_gemm_pack(q->panels, !back, back ? h : 2 * h, back ? 2 * h : h, q->r, h);
    tb_gemm_pack(n, !back, h, h, q->r + 2 * h * h, h);
}

/* b_n of R stays apart where r multiplies it. */
static void bias(const tb_rnn_dir *q, float *out)
{
    size_t h = q->s->n_hidden;
    tb_rnn_bias_sum(q, out);
    if (q->s->linear_before) {
        memcpy(out + 2 * h, q->b + 2 * h, h * sizeof *out);
    }
}

/* --- forward -------------------------------------------------------------- */

/* scratch [n_rows, H] = R_n h + b_n, kept for the way back. */
static void linear_term(const tb_rnn_dir *q, size_t t)
{
    const tb_rnn *s = q->s;
    size_t h = s->n_hidden;
    const tb_gemm_shape shape = tb_gemm_dense(false, false, s->n_rows, h, h);
    tb_gemm_packed(&shape, 1.0f, q->h, q->panels + n_panels(q, false), 0.0f,
                   q->scratch);
    if (q->b != NULL) {
        tb_k_add_row(q->scratch, q->b + s->n_wide + 2 * h, s->n_rows, h);
    }
    for (size_t b = 0; q->kept != NULL && b < s->n_rows; b++) {
        memcpy(q->kept + tb_rnn_at(q, t, b) * h, q->scratch + b * h,
               h * sizeof q->kept[0]);
    }
}

static void step(const tb_rnn_dir *q, size_t t)
{
    const tb_rnn *s = q->s;
    size_t h = s->n_hidden;
    bool linear = s->linear_before;
    tb_rnn_recur(q, t, q->h, q->panels, 0, 2 * h);
    if (linear) {
        linear_term(q, t);
    }
    for (size_t b = 0; b < s->n_rows; b++) {
        float *row = q->gates + tb_rnn_at(q, t, b) * s->n_wide;
        float *term = q->scratch + b * h;
        tb_rnn_apply(&q->act[F], row, h);
        tb_rnn_apply(&q->act[F], row + h, h);
        tb_k_mul(term, row + h, linear ? term : q->h + b * h, h);
        if (linear) {
            tb_k_add(row + 2 * h, row + 2 * h, term, h);
        }
    }
    if (!linear) {
        tb_rnn_recur(q, t, q->scratch, q->panels + n_panels(q, false), 2 * h,
                     h);
    }
    for (size_t b = 0; b < s->n_rows; b++) {
        float *z = q->gates + tb_rnn_at(q, t, b) * s->n_wide;
        float *n = z + 2 * h;
        float *state = q->h + b * h;
        tb_rnn_apply(&q->act[G], n, h);
        for (size_t j = 0; tb_rnn_active(q, t, b) && j < h; j++) {
            state[j] = (1.0f - z[j]) * n[j] + z[j] * state[j];
        }
    }
}

/* --- backward ------------------------------------------------------------- */

/* d_gates of z and n, and dh z as what is left of dh; in d_kept, with
 * linear_before_reset, the gradient of R_n h + b_n: dn r. */
static void back_row(const tb_rnn_dir *q, size_t at, float *dh)
{
    size_t h = q->s->n_hidden;
    const float *z = q->gates + at * q->s->n_wide;
    const float *r = z + h;
    const float *n = z + 2 * h;
    const float *before = q->before + at * h;
    float *dz = q->d_gates + at * q->s->n_wide;
    float *dr = dz + h;
    float *dn = dz + 2 * h;
    for (size_t j = 0; j < h; j++) {
        dz[j] = dh[j] * (before[j] - n[j]);
        dn[j] = dh[j] * (1.0f - z[j]);
        dh[j] = dh[j] * z[j];
    }
    tb_rnn_slope(&q->act[F], dz, z, h);
    tb_rnn_slope(&q->act[G], dn, n, h);
    if (q->s->linear_before) {
        tb_k_mul(q->d_kept + at * h, dn, r, h);
        tb_k_mul(dr, dn, q->kept + at * h, h);
        tb_rnn_slope(&q->act[F], dr, r, h);
    }
}

/* The other order: u = R_n^T dn is the gradient of r h, so dr = u h and
 * dh += u r; d_kept gets r h, the operand of dR_n. */
static void back_reset_row(const tb_rnn_dir *q, size_t at, const float *u,
                           float *dh)
{
    size_t h = q->s->n_hidden;
    const float *r = q->gates + at * q->s->n_wide + h;
    const float *before = q->before + at * h;
    float *dr = q->d_gates + at * q->s->n_wide + h;
    float *product = q->d_kept + at * h;
    for (size_t j = 0; j < h; j++) {
        dr[j] = u[j] * before[j];
        dh[j] = dh[j] + u[j] * r[j];
        product[j] = r[j] * before[j];
    }
    tb_rnn_slope(&q->act[F], dr, r, h);
}

static void back_reset(const tb_rnn_dir *q, size_t t)
{
    const tb_rnn *s = q->s;
    size_t h = s->n_hidden;
    memset(q->scratch, 0, s->n_rows * h * sizeof q->scratch[0]);
    tb_rnn_recur_back(q, t, 2 * h, h, q->panels + n_panels(q, true),
                      q->scratch);
    for (size_t b = 0; b < s->n_rows; b++) {
        if (tb_rnn_active(q, t, b)) {
            back_reset_row(q, tb_rnn_at(q, t, b), q->scratch + b * h,
                           q->d_h + b * h);
        }
    }
}

/* d_h += d_kept R_n */
static void back_linear(const tb_rnn_dir *q, size_t t)
{
    const tb_rnn *s = q->s;
    size_t h = s->n_hidden;
    tb_gemm_shape shape = tb_gemm_dense(false, false, s->n_rows, h, h);
    shape.a_step = s->row * h;
    tb_gemm_packed(&shape, 1.0f, q->d_kept + tb_rnn_at(q, t, 0) * h,
                   q->panels + n_panels(q, true), 1.0f, q->d_h);
}

static void back(const tb_rnn_dir *q, size_t t)
{
    const tb_rnn *s = q->s;
    size_t h = s->n_hidden;
    for (size_t b = 0; b < s->n_rows; b++) {
        size_t at = tb_rnn_at(q, t, b);
        if (tb_rnn_active(q, t, b)) {
            back_row(q, at, q->d_h + b * h);
        } else {
            memset(q->d_gates + at * s->n_wide, 0,
                   s->n_wide * sizeof q->d_gates[0]);
            memset(q->d_kept + at * h, 0, h * sizeof q->d_kept[0]);
        }
    }
    if (s->linear_before) {
        back_linear(q, t);
    } else {
        back_reset(q, t);
    }
    tb_rnn_recur_back(q, t, 0, 2 * h, q->panels, q->d_h);
}

static void weights(const tb_rnn_dir *q, float *d_r, float *d_rb)
{
    const tb_rnn *s = q->s;
    size_t h = s->n_hidden;
    size_t rows = s->n_steps * s->n_rows;
    if (d_r != NULL) {
        float *d_n = d_r + 2 * h * h;
        tb_rnn_outer(q, d_r, q->d_gates, s->n_wide, 2 * h, q->before);
        if (s->linear_before) {
            tb_rnn_outer(q, d_n, q->d_kept, h, h, q->before);
        } else {
            tb_rnn_outer(q, d_n, q->d_gates + 2 * h, s->n_wide, h, q->d_kept);
        }
    }
    if (d_rb != NULL) {
        tb_k_sum_rows(d_rb, q->d_gates, rows, s->n_wide, 1.0f, 0.0f);
        if (s->linear_before) {
            tb_k_sum_rows(d_rb + 2 * h, q->d_kept, rows, h, 1.0f, 0.0f);
        }
    }
}

/* --- the table ------------------------------------------------------------ */

static const char *const defaults[] = {"Sigmoid", "Tanh"};

static const tb_rnn_cell cell = {.n_gates = 3,
                                 .n_acts = 2,
                                 .n_out = 2,
                                 .saves_gates = true,
                                 .saves_kept = true,
                                 .defaults = defaults,
                                 .bias = bias,
                                 .panel_floats = panel_floats,
                                 .pack = pack,
                                 .step = step,
                                 .back = back,
                                 .weights = weights};

static const tb_attr_decl attrs[] = {
    TB_RNN_ATTRS, {"linear_before_reset", TB_ATTR_INT, false}};

TB_RNN_OPERATOR(gru, "GRU", 6, 2, 2, 1U << 1 | 1U << 2 | 1U << 3);
