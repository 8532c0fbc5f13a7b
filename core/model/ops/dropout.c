/* core/model/ops/dropout.c - Dropout: the identity in inference; in training a
 * mask that is a pure function of (key, step, salt, element), so the backward
 * pass draws it again instead of keeping it. */
#include <string.h>

#include "model/ops/op_priv.h"

#define RATIO 0.5 /* ONNX's default */

typedef struct dropout_state {
    bool active;
    uint64_t salt;      /* tells the nodes of a graph apart */
    uint32_t threshold; /* elements that draw less are dropped */
    float scale;        /* 1 / (1 - ratio) */
} dropout_state;

/* --- the mask ------------------------------------------------------------- */

/* The finaliser of SplitMix64 (Steele, Lea and Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The mask of this node and step. */
static tb_k_drop mask_of(const dropout_state *s, const tb_chance *chance)
{
    return (tb_k_drop){mix(chance->key ^ mix(s->salt + mix(chance->step))),
                       s->threshold, s->scale};
}

/* A number from a name that is the same everywhere (FNV-1a), as an int64 that
 * an attribute can hold. */
static int64_t salt_of(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name != '\0'; name++) {
        h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    }
    return (int64_t)(h >> 1);
}

/* --- forward -------------------------------------------------------------- */

/* The ratio: input 1 from opset 12 on, before that an attribute. */
static tb_rc read_ratio(dropout_state *s, const tb_call *call, tb_err *err)
{
    double ratio = (double)tb_node_float(call->node, "ratio", (float)RATIO);
    if (tb_op_has(call, 1)) {
        if (!tb_dtype_in(call->in[1].dtype, TB_TYPES_FLOAT) ||
            tb_tensor_count(&call->in[1]) != 1 || call->in[1].data == NULL) {
            return tb_fail(err, TB_E_UNSUPPORTED,
                           "the ratio must be one constant number");
        }
        ratio = tb_tensor_f64_at(&call->in[1], 0);
    }
    if (!(ratio >= 0 && ratio < 1)) {
        return tb_fail(err, TB_E_MALFORMED, "ratio %g, not in [0, 1)", ratio);
    }
    s->active = call->training && ratio > 0;
    s->threshold = (uint32_t)(ratio * 0x1p32);
    s->scale = (float)(1 / (1 - ratio));
    return TB_OK;
}

static tb_rc infer(tb_call *call, tb_err *err)
{
    dropout_state *s = TB_OP_STATE(dropout_state, call);
    const tb_shape *shape = &call->in[0].shape;
    const tb_value *y = tb_graph_value(call->graph, call->node->out[0]);
    tb_rc rc = read_ratio(s, call, err);
    s->salt = (uint64_t)salt_of(y->name);
    /* a mask must be written, whatever happens to y */
    call->view_of = s->active || call->n_out > 1 ? -1 : 0;
    call->out[0] = tb_tensor_view(call->in[0].dtype, shape, NULL);
    if (call->n_out > 1) {
        call->out[1] = tb_tensor_view(TB_BOOL, shape, NULL);
    }
    return rc;
}

/* y = kept ? x / (1 - ratio) : 0 */
static void draw(const tb_call *call, const dropout_state *s)
{
    const tb_tensor *x = &call->in[0];
    const tb_tensor *y = &call->out[0];
    tb_k_drop drop = mask_of(s, call->chance);
    size_t n = tb_tensor_count(y);
    if (x->dtype == TB_F32) {
        tb_k_dropped(y->data, x->data, n, &drop);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t kept = 0;
        tb_k_drop_mask(&kept, 1, &drop);
        tb_tensor_put_f64(y, i,
                          kept ? tb_tensor_f64_at(x, i) * (double)s->scale : 0);
        drop.start += 0x9e3779b97f4a7c15u; /* the next number is the first */
    }
}

static void write_mask(const tb_call *call, const dropout_state *s)
{
    size_t n = tb_tensor_count(&call->out[1]);
    if (s->active) {
        const tb_k_drop drop = mask_of(s, call->chance);
        tb_k_drop_mask(call->out[1].data, n, &drop);
    } else {
        memset(call->out[1].data, 1, n);
    }
}

static void run(const tb_call *call)
{
    const dropout_state *s = TB_OP_CONST_STATE(dropout_state, call);
    if (s->active) {
        draw(call, s);
    } else {
        tb_op_run_view(call);
    }
    if (call->n_out > 1 && call->out[1].data != NULL) {
        write_mask(call, s);
    }
}

/* --- backward ------------------------------------------------------------- */

/* dx = kept ? dy / (1 - ratio) : 0, of the same mask */
static void backward(tb_grad *g)
{
    const tb_value *y = tb_graph_value(g->graph, g->node->out[0]);
    const tb_value_id in[2] = {g->dy[0],
                               g->node->n_in > 1 ? g->node->in[1] : TB_ID_NONE};
    const tb_attr attrs[2] = {
        TB_ATTR_I("salt", salt_of(y->name)),
        TB_ATTR_F("ratio", tb_node_float(g->node, "ratio", (float)RATIO))};
    g->dx[0] =
        tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                        .op = "DropoutGrad",
                                        .attrs = attrs,
                                        .n_attrs = TB_COUNT(attrs),
                                        .in = in,
                                        .n_in = in[1] == TB_ID_NONE ? 1 : 2});
}

static tb_rc grad_infer(tb_call *call, tb_err *err)
{
    dropout_state *s = TB_OP_STATE(dropout_state, call);
    tb_rc rc = read_ratio(s, call, err);
    s->salt = (uint64_t)tb_node_int(call->node, "salt", 0);
    call->view_of = s->active ? -1 : 0;
    call->out[0] = tb_tensor_view(call->in[0].dtype, &call->in[0].shape, NULL);
    return rc;
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl attrs_7[] = {{"ratio", TB_ATTR_FLOAT, false}};
static const tb_attr_decl attrs_12[] = {{"seed", TB_ATTR_INT, false}};
static const tb_attr_decl attrs_grad[] = {{"salt", TB_ATTR_INT, true},
                                          {"ratio", TB_ATTR_FLOAT, false}};

const tb_op tb_op_dropout_7 = {.domain = TB_DOMAIN_ONNX,
                               .name = "Dropout",
                               .since = 7,
                               .until = 11,
                               .in_min = 1,
                               .in_max = 1,
                               .out_min = 1,
                               .out_max = 2,
                               .attrs = attrs_7,
                               .n_attrs = TB_COUNT(attrs_7),
                               .in_place = 1,
                               .types = TB_TYPES_FLOAT,
                               .flops_each = 9,
                               .random = true,
                               .infer = infer,
                               .run = run,
                               .backward = backward};

const tb_op tb_op_dropout = {.domain = TB_DOMAIN_ONNX,
                             .name = "Dropout",
                             .since = 12,
                             .until = TB_OPSET_ANY,
                             .in_min = 1,
                             .in_max = 3,
                             .out_min = 1,
                             .out_max = 2,
                             .attrs = attrs_12,
                             .n_attrs = TB_COUNT(attrs_12),
                             .in_place = 1,
                             .types = TB_TYPES_FLOAT,
                             .flops_each = 9,
                             .random = true,
                             .infer = infer,
                             .run = run,
                             .backward = backward};

const tb_op tb_op_dropout_grad = {.domain = TB_DOMAIN_GRAD,
                                  .name = "DropoutGrad",
                                  .since = 1,
                                  .until = TB_OPSET_ANY,
                                  .in_min = 1,
                                  .in_max = 2,
                                  .out_min = 1,
                                  .out_max = 1,
                                  .attrs = attrs_grad,
                                  .n_attrs = TB_COUNT(attrs_grad),
                                  .in_place = 1,
                                  .types = TB_TYPES_FLOAT,
                                  .flops_each = 9,
                                  .random = true,
                                  .infer = grad_infer,
                                  .run = run};
