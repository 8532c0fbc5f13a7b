#include "compress/fold.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "compress/pass_priv.h"

/* A convolution, and what normalises its output. */
typedef struct pair {
    tb_node_id conv;
    tb_node_id norm;
    const tb_tensor *w;
    const tb_tensor *bias; /* NULL: none */
    const float *scale;    /* [n] */
    const float *shift;
    const float *mean;
    const float *variance;
    size_t n; /* filters */
} pair;

static const tb_tensor *floats(const tb_graph *graph, tb_value_id id, size_t n)
{
    const tb_value *v = tb_graph_value(graph, id);
    return v != NULL && v->data.data != NULL && v->data.dtype == TB_F32 &&
                   (n == 0 || tb_tensor_count(&v->data) == n)
               ? &v->data
               : NULL;
}

static bool is(const tb_node *node, const char *op)
{
    return node != NULL && node->domain[0] == '\0' && strcmp(node->op, op) == 0;
}

static bool find_pair(pair *p, const tb_graph *graph, tb_node_id id)
{
    const tb_node *conv = tb_graph_node(graph, id);
    *p = (pair){.conv = id};
    if (!is(conv, "Conv") || tb_graph_n_uses(graph, conv->out[0]) != 1 ||
        tb_graph_is_output(graph, conv->out[0]) ||
        (p->w = floats(graph, conv->in[1], 0)) == NULL ||
        p->w->shape.rank < 3) {
        return false;
    }
    p->n = p->w->shape.dim[0];
    if (conv->n_in > 2 && conv->in[2] != TB_ID_NONE &&
        (p->bias = floats(graph, conv->in[2], p->n)) == NULL) {
        return false;
    }
    p->norm = tb_graph_first_use(graph, conv->out[0]);
    const tb_node *norm = tb_graph_node(graph, p->norm);
    if (!is(norm, "BatchNormalization") || norm->n_in != 5 || p->n == 0) {
        return false;
    }
    const float **to[4] = {&p->scale, &p->shift, &p->mean, &p->variance};
    for (size_t i = 0; i < 4; i++) {
        const tb_tensor *t = floats(graph, norm->in[1 + i], p->n);
        if (t == NULL) {
            return false;
        }
        *to[i] = t->data;
    }
    return true;
}

/* The new weights and bias; both owned by the caller. */
static tb_rc compute(tb_tensor *w, tb_tensor *b, const pair *p, float epsilon,
                     tb_err *err)
{
    tb_rc rc = tb_tensor_copy(w, p->w, err);
    if (rc == TB_OK) {
        rc = tb_tensor_init(b, TB_F32, &TB_SHAPE(p->n), err);
    }
    size_t each = tb_tensor_count(p->w) / p->n;
    for (size_t i = 0; rc == TB_OK && i < p->n; i++) {
        double s = (double)p->scale[i] /
                   sqrt((double)p->variance[i] + (double)epsilon);
        double old =
            p->bias == NULL ? 0.0 : (double)((const float *)p->bias->data)[i];
        ((float *)b->data)[i] =
            (float)((old - (double)p->mean[i]) * s + (double)p->shift[i]);
        for (size_t k = i * each; k < (i + 1) * each; k++) {
            float *at = (float *)w->data + k;
            *at = (float)((double)*at * s);
        }
    }
    return rc;
}

/* One Conv in the place of both nodes. */
static tb_rc replace(tb_graph *graph, const pair *p, const tb_tensor *w,
                     const tb_tensor *b, tb_err *err)
{
    const tb_node *conv = tb_graph_node(graph, p->conv);
    tb_value_id end = tb_graph_node(graph, p->norm)->out[0];
    const char *name = tb_graph_value(graph, conv->in[1])->name;
    tb_value_id in[3] = {conv->in[0], TB_ID_NONE, TB_ID_NONE};
    tb_rc rc = tb_pass_add_data(graph, &in[1], name, "folded", w, err);
    if (rc == TB_OK) {
        rc = tb_pass_add_data(graph, &in[2], name, "shift", b, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    tb_graph_remove_node(graph, p->norm);
    rc = tb_graph_add_node(graph, NULL,
                           &(tb_node_spec){.name = conv->name,
                                           .op = conv->op,
                                           .attrs = conv->attrs,
                                           .n_attrs = conv->n_attrs,
                                           .in = in,
                                           .n_in = 3,
                                           .out = &end,
                                           .n_out = 1},
                           err);
    if (rc == TB_OK) {
        tb_graph_remove_node(graph, p->conv);
    }
    return rc;
}

tb_rc tb_fold_normalisations(tb_graph *graph, tb_err *err)
{
    size_t n_nodes = graph->n_nodes; /* new ones come behind */
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < n_nodes; i++) {
        pair p;
        tb_tensor w = {0};
        tb_tensor b = {0};
        if (!find_pair(&p, graph, (tb_node_id)i)) {
            continue;
        }
        float epsilon =
            tb_node_float(tb_graph_node(graph, p.norm), "epsilon", 1e-5f);
        rc = compute(&w, &b, &p, epsilon, err);
        if (rc == TB_OK) {
            rc = replace(graph, &p, &w, &b, err);
        }
        tb_tensor_release(&w);
        tb_tensor_release(&b);
    }
    return rc;
}
