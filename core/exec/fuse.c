#include "exec/fuse.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/ops/conv.h"
#include "model/ops/group_norm.h"
#include "model/ops/matmul.h"

#define N_IN_OWN 3 /* of a Conv, Gemm or MatMul */
#define N_IN_MAX 7

/* A node that stands for several. */
typedef struct fused_node {
    tb_node node;
    tb_value_id in[N_IN_MAX];
    tb_value_id out;
    tb_tensor in_tensors[N_IN_MAX]; /* where the call needs more inputs */
} fused_node;

typedef struct fuser {
    tb_bound *bound;
    size_t *maker; /* [n_values] the call that makes it; n_calls: none */
    size_t *reads; /* [n_values] how many inputs read its data */
    fused_node *nodes;
    size_t n_nodes;
    bool *gone; /* [n_calls] done by another call */
} fuser;

static bool is(const tb_call *call, const char *domain, const char *op)
{
    return strcmp(call->op->name, op) == 0 &&
           strcmp(call->op->domain, domain) == 0;
}

static void count(fuser *f)
{
    tb_bound *b = f->bound;
    for (size_t v = 0; v < b->n_values; v++) {
        f->maker[v] = b->n_calls;
    }
    for (size_t i = 0; i < b->n_calls; i++) {
        const tb_call *call = &b->calls[i];
        for (size_t j = 0; j < call->n_out; j++) {
            if (call->node->out[j] != TB_ID_NONE) {
                f->maker[call->node->out[j]] = i;
            }
        }
        for (size_t j = 0; j < call->n_in; j++) {
            bool read = j >= 32 || (call->op->shape_only >> j & 1U) == 0;
            if (call->node->in[j] != TB_ID_NONE && read) {
                f->reads[call->node->in[j]]++;
            }
        }
    }
    for (size_t i = 0; i < b->graph->n_outputs; i++) {
        f->reads[b->graph->outputs[i]]++;
    }
}

/* The call that makes input j of call i and for nobody else; or n_calls. */
static size_t sole_maker(const fuser *f, size_t i, size_t j)
{
    tb_value_id v = f->bound->calls[i].node->in[j];
    if (v == TB_ID_NONE || f->reads[v] != 1) {
        return f->bound->n_calls;
    }
    size_t maker = f->maker[v];
    bool first =
        maker < f->bound->n_calls && f->bound->calls[maker].node->out[0] == v;
    return first ? maker : f->bound->n_calls;
}

/* Whether v is there before call i: it may be read there too. */
static bool is_before(const fuser *f, tb_value_id v, size_t i)
{
    return f->maker[v] == f->bound->n_calls || f->maker[v] < i;
}

/* Call `first` takes on what call `last` would do: its output, and n inputs of
 * it from `also` on, behind the third of its own. */
static void join(fuser *f, size_t first, size_t last, size_t also, size_t n)
{
    tb_call *call = &f->bound->calls[first];
    const tb_call *end = &f->bound->calls[last];
    fused_node *own = &f->nodes[f->n_nodes++];
    own->node = *call->node;
    memcpy(own->in, call->node->in, call->n_in * sizeof own->in[0]);
    own->node.in = own->in;
    own->node.out = &own->out;
    own->node.n_out = 1;
    own->out = end->node->out[0];
    if (n > 0) {
        size_t at = n > 1 ? N_IN_OWN : call->n_in;
        memcpy(own->in_tensors, call->in, call->n_in * sizeof call->in[0]);
        for (size_t i = call->n_in; i < at; i++) {
            own->in[i] = TB_ID_NONE;
        }
        memcpy(&own->in[at], &end->node->in[also], n * sizeof own->in[0]);
        memcpy(&own->in_tensors[at], &end->in[also],
               n * sizeof own->in_tensors[0]);
        call->in = own->in_tensors;
        call->n_in = at + n;
        own->node.n_in = call->n_in;
    }
    call->out[0] = end->out[0];
    call->node = &own->node;
    f->maker[own->out] = first;
    f->gone[last] = true;
}

/* --- the patterns --------------------------------------------------------- */

/* MatMul -> Add of [n], given on either side. */
static void fuse_bias(fuser *f, size_t i)
{
    tb_call *add = &f->bound->calls[i];
    for (size_t j = 0; j < 2; j++) {
        size_t made = sole_maker(f, i, j);
        const tb_tensor *row = &add->in[1 - j];
        if (made == f->bound->n_calls ||
            !tb_shape_equal(&add->in[j].shape, &add->out[0].shape) ||
            !is_before(f, add->node->in[1 - j], made)) {
            continue;
        }
        if (tb_op_matmul_bias(&f->bound->calls[made], &row->shape)) {
            join(f, made, i, 1 - j, 1);
            return;
        }
    }
}

/* One number of a Clip that is known now. */
static bool bound_of(const tb_bound *b, const tb_call *clip, size_t i,
                     float *out)
{
    if (i >= clip->n_in || clip->node->in[i] == TB_ID_NONE) {
        return true;
    }
    const float *at = b->values[clip->node->in[i]].data;
    if (at == NULL || tb_tensor_count(&clip->in[i]) != 1) {
        return false;
    }
    *out = *at;
    return true;
}

static void fuse_clamp(fuser *f, size_t i)
{
    const tb_call *call = &f->bound->calls[i];
    size_t made = sole_maker(f, i, 0);
    float low = -INFINITY;
    float high = INFINITY;
    if (made == f->bound->n_calls) {
        return;
    }
    if (is(call, TB_DOMAIN_ONNX, "Relu")) {
        low = 0.0f;
    } else if (call->op->since < 11 || !bound_of(f->bound, call, 1, &low) ||
               !bound_of(f->bound, call, 2, &high) || !(low <= high)) {
        return;
    }
    tb_call *maker = &f->bound->calls[made];
    bool relu = low == 0.0f && high > 1e30f;
    if (tb_op_conv_clamp(maker, low, high) ||
        (relu && tb_op_product_relu(maker))) {
        join(f, made, i, 0, 0);
    }
}

/* Conv -> BatchNormalization, of whose other outputs nobody reads one */
static void fuse_norm(fuser *f, size_t i)
{
    const tb_call *call = &f->bound->calls[i];
    size_t made = sole_maker(f, i, 0);
    bool alone = made < f->bound->n_calls;
    for (size_t j = 1; alone && j < call->n_in; j++) {
        alone = is_before(f, call->node->in[j], made);
    }
    for (size_t j = 1; alone && j < call->n_out; j++) {
        tb_value_id v = call->node->out[j];
        alone = v == TB_ID_NONE || f->reads[v] == 0;
    }
    if (alone && tb_op_conv_norm(&f->bound->calls[made], call)) {
        join(f, made, i, 1, 4);
    }
}

/* Whether t holds one number for each channel of x, and stretches over it. */
static bool is_per_channel(const tb_tensor *t, const tb_shape *x)
{
    size_t after = x->rank - 1;
    return x->rank >= 2 && t->shape.rank >= after &&
           t->shape.dim[t->shape.rank - after] == x->dim[1] &&
           tb_tensor_count(t) == x->dim[1];
}

static bool is_all(const tb_bound *b, const tb_call *call, size_t in, float v)
{
    const float *at = b->values[call->node->in[in]].data;
    bool yes = at != NULL;
    for (size_t i = 0; yes && i < tb_tensor_count(&call->in[in]); i++) {
        yes = at[i] == v;
    }
    return yes;
}

/* The input of call i that a call `op` makes for nobody else, and whose other
 * one has a number a channel of x: *made is that call. */
static bool find_factor(const fuser *f, size_t i, const char *op,
                        const tb_shape *x, size_t *in, size_t *made)
{
    const tb_bound *b = f->bound;
    for (*in = 0; *in < 2; (*in)++) {
        *made = sole_maker(f, i, *in);
        if (*made < b->n_calls && is(&b->calls[*made], TB_DOMAIN_ONNX, op) &&
            tb_shape_equal(&b->calls[i].in[*in].shape, x) &&
            is_per_channel(&b->calls[i].in[1 - *in], x)) {
            return true;
        }
    }
    return false;
}

/* Reshape -> InstanceNormalization -> Reshape -> Mul -> Add: the last one does
 * it all. */
static void fuse_groups(fuser *f, size_t i)
{
    tb_bound *b = f->bound;
    tb_call *add = &b->calls[i];
    const tb_shape *x = &add->out[0].shape;
    size_t term = 0, factor = 0, mul = 0, back = 0;
    if (!find_factor(f, i, "Mul", x, &term, &mul) ||
        !find_factor(f, mul, "Reshape", x, &factor, &back)) {
        return;
    }
    size_t norm = sole_maker(f, back, 0);
    size_t there = norm < b->n_calls && is(&b->calls[norm], TB_DOMAIN_ONNX,
                                           "InstanceNormalization")
                       ? sole_maker(f, norm, 0)
                       : b->n_calls;
    if (there == b->n_calls ||
        !is(&b->calls[there], TB_DOMAIN_ONNX, "Reshape") ||
        !tb_shape_equal(&b->calls[there].in[0].shape, x) ||
        !is_all(b, &b->calls[norm], 1, 1.0f) ||
        !is_all(b, &b->calls[norm], 2, 0.0f) ||
        !tb_op_group_norm_over(add, &b->calls[norm], x)) {
        return;
    }
    fused_node *own = &f->nodes[f->n_nodes++];
    const tb_call *from[3] = {&b->calls[there], &b->calls[mul], add};
    const size_t in[3] = {0, 1 - factor, 1 - term};
    own->node = *add->node;
    for (size_t k = 0; k < 3; k++) {
        own->in[k] = from[k]->node->in[in[k]];
        own->in_tensors[k] = from[k]->in[in[k]];
    }
    own->node.in = own->in;
    own->node.n_in = 3;
    add->node = &own->node;
    add->in = own->in_tensors;
    add->n_in = 3;
    f->gone[there] = f->gone[norm] = f->gone[back] = f->gone[mul] = true;
}

/* Gemm -> ReluGrad(dy, y) */
static void fuse_gate(fuser *f, size_t i)
{
    const tb_call *call = &f->bound->calls[i];
    size_t made = sole_maker(f, i, 0);
    if (made < f->bound->n_calls &&
        tb_node_float(call->node, "alpha", 0.0f) == 0.0f &&
        is_before(f, call->node->in[1], made) &&
        tb_op_gemm_gate(&f->bound->calls[made])) {
        join(f, made, i, 1, 1);
    }
}

static void fuse(fuser *f)
{
    const tb_bound *b = f->bound;
    for (size_t i = 0; i < b->n_calls; i++) {
        const tb_call *call = &b->calls[i];
        if (is(call, TB_DOMAIN_ONNX, "BatchNormalization")) {
            fuse_norm(f, i);
        }
        if (call->n_out != 1 || call->out[0].dtype != TB_F32) {
            continue;
        }
        if (is(call, TB_DOMAIN_ONNX, "Add")) {
            fuse_bias(f, i);
            fuse_groups(f, i);
        } else if (is(call, TB_DOMAIN_ONNX, "Relu") ||
                   is(call, TB_DOMAIN_ONNX, "Clip")) {
            fuse_clamp(f, i);
        } else if (is(call, TB_DOMAIN_GRAD, "ReluGrad")) {
            fuse_gate(f, i);
        }
    }
}

static void close_gaps(tb_bound *b, const bool *gone)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_calls; i++) {
        if (!gone[i]) {
            b->calls[n] = b->calls[i];
            b->call_nodes[n++] = b->call_nodes[i];
        }
    }
    b->n_calls = n;
}

tb_rc tb_fuse_calls(tb_bound *bound, tb_err *err)
{
    fuser f = {.bound = bound};
    tb_rc rc = TB_OK;
    f.maker = tb_mem_array(bound->n_values, sizeof f.maker[0]);
    f.reads = tb_mem_array(bound->n_values, sizeof f.reads[0]);
    f.gone = tb_mem_array(bound->n_calls, sizeof f.gone[0]);
    f.nodes = tb_mem_array(bound->n_calls, sizeof f.nodes[0]);
    if (f.maker == NULL || f.reads == NULL || f.gone == NULL ||
        f.nodes == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "fusing %zu calls", bound->n_calls);
        goto done;
    }
    count(&f);
    fuse(&f);
    close_gaps(bound, f.gone);
    bound->fused = f.nodes;
    f.nodes = NULL;
done:
    tb_mem_free(f.maker);
    tb_mem_free(f.reads);
    tb_mem_free(f.gone);
    tb_mem_free(f.nodes);
    return rc;
}
