/* core/model/ops/recurrent_infer.c - shapes and scratch memory of LSTM, GRU and
 * RNN, forward and back. */
#include <string.h>

#include "model/ops/recurrent_priv.h"

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
        tb_dtype want = i == TB_RNN_LENS ? TB_I32 : TB_F32;
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
    const tb_shape *x = &call->in[TB_RNN_X].shape;
    const tb_shape *r = &call->in[TB_RNN_R].shape;
    char text[TB_SHAPE_TEXT_BYTES];
    if (x->rank != 3 || r->rank != 3 ||
        tb_tensor_count(&call->in[TB_RNN_X]) == 0 || r->dim[2] == 0) {
        bool bad_x = x->rank != 3 || tb_tensor_count(&call->in[TB_RNN_X]) == 0;
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
        return tb_fail(err, TB_E_MISMATCH,
                       "hidden_size is %lld, but R's last dimension %zu",
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
        {TB_RNN_W, "W", TB_SHAPE(s->n_dirs, s->n_wide, s->n_in)},
        {TB_RNN_R, "R", TB_SHAPE(s->n_dirs, s->n_wide, s->n_hidden)},
        {TB_RNN_B, "B", TB_SHAPE(s->n_dirs, 2 * s->n_wide)},
        {TB_RNN_LENS, "sequence_lens", TB_SHAPE(s->n_rows)},
        {TB_RNN_H0, "initial_h", edge},
        {TB_RNN_C0, "initial_c", edge},
        {TB_RNN_P, "P", TB_SHAPE(s->n_dirs, 3 * s->n_hidden)},
    };
    for (size_t i = 0; i < TB_COUNT(wants) && rc == TB_OK; i++) {
        rc = expect(call, wants[i].i, wants[i].name, &wants[i].shape, err);
    }
    return rc;
}

/* --- scratch memory ------------------------------------------------------- */

static float *carve(tb_rnn_carver *c, size_t n)
{
    float *out = c->block == NULL ? NULL : c->block + c->n;
    c->n += (n + 15) / 16 * 16;
    return out;
}

float *tb_rnn_carve_forward(tb_rnn_dir *q, tb_rnn_carver *c,
                            const tb_rnn_cell *cell, bool saved)
{
    const tb_rnn *s = q->s;
    size_t state = s->n_rows * s->n_hidden;
    float *bias = carve(c, s->n_wide);
    q->panels = carve(c, cell->panel_floats(s, false));
    q->scratch = carve(c, state);
    q->h = carve(c, state);
    q->c = cell->has_c ? carve(c, state) : NULL;
    if (!saved) {
        q->gates = carve(c, tb_rnn_rows(s) * s->n_wide);
    }
    return bias;
}

void tb_rnn_carve_back(tb_rnn_dir *q, tb_rnn_carver *c, const tb_rnn_cell *cell)
{
    const tb_rnn *s = q->s;
    size_t state = s->n_rows * s->n_hidden;
    q->panels = carve(c, cell->panel_floats(s, true));
    q->scratch = carve(c, state + s->n_hidden);
    q->d_h = carve(c, state);
    q->d_c = cell->has_c ? carve(c, state) : NULL;
    q->before = carve(c, tb_rnn_rows(s) * s->n_hidden);
    q->d_gates = carve(c, tb_rnn_rows(s) * s->n_wide);
    q->d_kept =
        cell->saves_kept ? carve(c, tb_rnn_rows(s) * s->n_hidden) : NULL;
}

/* --- infer ---------------------------------------------------------------- */

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
        tb_shape shape = TB_SHAPE(s->n_dirs, tb_rnn_rows(s),
                                  i == saved ? s->n_wide : s->n_hidden);
        call->out[i] =
            tb_tensor_view(TB_F32, i < saved ? &shapes[i] : &shape, NULL);
    }
    tb_rnn_dir q = {.s = s};
    tb_rnn_carver c = {0};
    bool keeps = cell->saves_gates && call->n_out > saved &&
                 call->node->out[saved] != TB_ID_NONE;
    tb_rnn_carve_forward(&q, &c, cell, keeps);
    call->work_bytes = c.n * sizeof(float);
    return TB_OK;
}

tb_rc tb_rnn_grad_infer(tb_call *call, const tb_rnn_cell *cell, tb_err *err)
{
    const tb_rnn *s = TB_OP_CONST_STATE(tb_rnn, call);
    static const size_t of[TB_RNN_GRAD_OUT] = {
        TB_RNN_X, TB_RNN_W, TB_RNN_R, TB_RNN_B, TB_RNN_H0, TB_RNN_C0, TB_RNN_P};
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
    tb_rnn_carver c = {0};
    tb_rnn_carve_back(&q, &c, cell);
    call->work_bytes = c.n * sizeof(float);
    return TB_OK;
}
