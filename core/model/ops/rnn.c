/* core/model/ops/rnn.c - RNN of ONNX: h' = f(x W^T + h R^T + both biases). */
#include <string.h>

#include "model/ops/recurrent_priv.h"

static void step(const tb_rnn_dir *q, size_t t)
{
    size_t n = q->s->n_hidden;
    tb_rnn_recur(q, t, q->h, q->panels, 0, n);
    for (size_t b = 0; b < q->s->n_rows; b++) {
        if (tb_rnn_active(q, t, b)) {
            float *h = q->h + b * n;
            memcpy(h, q->gates + tb_rnn_at(q, t, b) * n, n * sizeof *h);
            tb_rnn_apply(&q->act[0], h, n);
        }
    }
}

/* h' itself is what step t made: the value that its slope needs. */
static const float *h_behind(const tb_rnn_dir *q, size_t t, size_t b)
{
    const tb_rnn *s = q->s;
    size_t row = s->batch_first ? (b * s->n_steps + t) * s->n_dirs + q->d
                                : (t * s->n_dirs + q->d) * s->n_rows + b;
    return q->y + row * s->n_hidden;
}

static void back(const tb_rnn_dir *q, size_t t)
{
    size_t n = q->s->n_hidden;
    for (size_t b = 0; b < q->s->n_rows; b++) {
        float *d = q->d_gates + tb_rnn_at(q, t, b) * n;
        float *d_h = q->d_h + b * n;
        if (!tb_rnn_active(q, t, b)) {
            memset(d, 0, n * sizeof *d);
            continue;
        }
        memcpy(d, d_h, n * sizeof *d);
        tb_rnn_slope(&q->act[0], d, h_behind(q, t, b), n);
        memset(d_h, 0, n * sizeof *d_h);
    }
    tb_rnn_recur_back(q, t, 0, n, q->panels, q->d_h);
}

static const char *const defaults[] = {"Tanh"};

static const tb_rnn_cell cell = {.n_gates = 1,
                                 .n_acts = 1,
                                 .n_out = 2,
                                 .defaults = defaults,
                                 .bias = tb_rnn_bias_sum,
                                 .panel_floats = tb_rnn_panel_floats,
                                 .pack = tb_rnn_pack,
                                 .step = step,
                                 .back = back,
                                 .weights = tb_rnn_weights};

static const tb_attr_decl attrs[] = {TB_RNN_ATTRS};

TB_RNN_OPERATOR(rnn, "RNN", 6, 2, 0, 1U << 1 | 1U << 2 | 1U << 3);
