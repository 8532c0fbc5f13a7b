#include "model/build.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/stream.h"
#include "base/text.h"
#include "model/op.h"
#include "model/params.h"

#define MLP        "mlp:"
#define NAME_BYTES 32

/* --- initial values ------------------------------------------------------- */

/* Uniform in +-1/sqrt(n_in), from the parameter's own stream. */
static void draw(tb_value *value, size_t n_in, uint64_t seed)
{
    tb_stream stream;
    float *to = value->data.data;
    size_t n = tb_tensor_count(&value->data);
    double bound = n_in > 0 ? 1 / sqrt((double)n_in) : 0;
    tb_stream_init(&stream, seed, 0, "init", value->name);
    for (size_t i = 0; i < n; i++) {
        to[i] = (float)((2 * tb_stream_uniform(&stream) - 1) * bound);
    }
}

/* How many numbers flow into one output of a weight at input `at` of node. */
static size_t fan_in(const tb_node *node, const tb_value *weight, size_t at)
{
    const tb_shape *shape = &weight->data.shape;
    if (shape->rank < 2) {
        return tb_tensor_count(&weight->data);
    }
    bool trans = tb_node_int(node, at == 0 ? "transA" : "transB", 0) != 0;
    bool columns = at == 0 ? !trans : trans; /* which extent is summed over */
    return shape->dim[shape->rank - (columns ? 1 : 2)];
}

/* Fan-in of the weight beside a bias, or of the MatMul that a bias follows. */
static size_t fan_in_of_bias(const tb_graph *graph, const tb_node *node,
                             size_t at)
{
    if (strcmp(node->op, "Add") == 0) {
        const tb_value *other = tb_graph_value(graph, node->in[1 - at]);
        node = other != NULL ? tb_graph_node(graph, other->producer) : NULL;
    }
    for (size_t i = 2; node != NULL && i-- > 0;) {
        const tb_value *weight =
            i < node->n_in ? tb_graph_value(graph, node->in[i]) : NULL;
        if (weight != NULL && weight->data.data != NULL) {
            return fan_in(node, weight, i);
        }
    }
    return 0;
}

static void draw_param(const tb_graph *graph, tb_value_id id, uint64_t seed)
{
    tb_value *value = graph->values[id];
    const tb_node *node = tb_graph_node(graph, tb_graph_first_use(graph, id));
    size_t at = 0;
    size_t n_in = 0;
    while (node != NULL && node->in[at] != id) {
        at++;
    }
    if (node != NULL && (at == 2 || strcmp(node->op, "Add") == 0)) {
        n_in = fan_in_of_bias(graph, node, at);
    } else if (node != NULL) {
        n_in = fan_in(node, value, at);
    }
    draw(value, n_in > 0 ? n_in : tb_tensor_count(&value->data), seed);
}

tb_rc tb_build_init(tb_graph *graph, uint64_t seed, tb_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        if (value != NULL && value->role == TB_ROLE_PARAM) {
            draw_param(graph, (tb_value_id)i, seed);
            n++;
        }
    }
    return n > 0 ? TB_OK
                 : tb_fail(err, TB_E_MISMATCH,
                           "the model has no parameter to train");
}

/* --- mlp ------------------------------------------------------------------ */

typedef struct widths {
    size_t n; /* of layers, with the input */
    size_t width[TB_BUILD_LAYERS_MAX + 1];
} widths;

/* "784-200-10" */
static tb_rc parse_widths(widths *out, const char *text, tb_err *err)
{
    char number[NAME_BYTES];
    size_t n_params = 0;
    *out = (widths){0};
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, "-");
        uint64_t width = 0;
        if (len == 0 || len >= sizeof number || !isdigit((unsigned char)*at)) {
            break;
        }
        memcpy(number, at, len);
        number[len] = '\0';
        if (tb_text_u64(number, &width, NULL) != TB_OK || width == 0 ||
            width > TB_BUILD_WIDTH_MAX || out->n > TB_BUILD_LAYERS_MAX) {
            break;
        }
        out->width[out->n++] = (size_t)width;
        if (out->n >= 2) {
            n_params += (out->width[out->n - 2] + 1) * (size_t)width;
        }
        if (n_params > TB_BUILD_PARAMS_MAX) {
            return tb_fail(err, TB_E_LIMIT,
                           "model \"mlp:%s\": over %zu parameters", text,
                           TB_BUILD_PARAMS_MAX);
        }
        at += len;
        if (*at == '\0' && out->n >= 2) {
            return TB_OK;
        }
        if (*at == '\0') {
            break;
        }
    }
    return tb_fail(err, TB_E_USAGE,
                   "model \"mlp:%s\": widths like mlp:784-200-10 expected, 2 "
                   "to %d of them, each 1 to %d",
                   text, TB_BUILD_LAYERS_MAX + 1, TB_BUILD_WIDTH_MAX);
}

static tb_rc add_param(tb_graph *graph, tb_value_id *out, size_t layer,
                       const char *what, const tb_shape *shape, tb_err *err)
{
    char name[NAME_BYTES];
    tb_tensor zeros;
    (void)snprintf(name, sizeof name, "fc%zu.%s", layer, what);
    tb_rc rc = tb_tensor_init(&zeros, TB_F32, shape, err);
    if (rc == TB_OK) {
        rc = tb_graph_add_data(graph, out, name, TB_ROLE_PARAM, &zeros, err);
    }
    tb_tensor_release(&zeros);
    return rc;
}

/* One layer: y = x W^T + b, W [n_out, n_in]. */
static tb_rc add_gemm(tb_graph *graph, tb_value_id *x, size_t layer,
                      const widths *w, tb_err *err)
{
    char name[NAME_BYTES];
    tb_value_id in[3] = {*x, TB_ID_NONE, TB_ID_NONE};
    tb_value_id y = TB_ID_NONE;
    const tb_attr trans = TB_ATTR_I("transB", 1);
    size_t n_in = w->width[layer - 1];
    size_t n_out = w->width[layer];
    bool last = layer + 1 == w->n;
    tb_rc rc =
        add_param(graph, &in[1], layer, "weight", &TB_SHAPE(n_out, n_in), err);
    if (rc == TB_OK) {
        rc = add_param(graph, &in[2], layer, "bias", &TB_SHAPE(n_out), err);
    }
    (void)snprintf(name, sizeof name, "fc%zu", layer);
    if (rc == TB_OK) {
        rc = tb_graph_add_temp(graph, &y, last ? "logits" : name, NULL, err);
    }
    return rc == TB_OK ? tb_graph_apply(graph, x,
                                        &(tb_node_spec){.name = name,
                                                        .op = "Gemm",
                                                        .attrs = &trans,
                                                        .n_attrs = 1,
                                                        .in = in,
                                                        .n_in = 3,
                                                        .out = &y,
                                                        .n_out = 1},
                                        err)
                       : rc;
}

static tb_rc add_relu(tb_graph *graph, tb_value_id *x, size_t layer,
                      tb_err *err)
{
    char name[NAME_BYTES];
    tb_value_id y = TB_ID_NONE;
    (void)snprintf(name, sizeof name, "relu%zu", layer);
    tb_rc rc = tb_graph_add_temp(graph, &y, name, NULL, err);
    if (rc != TB_OK) {
        return rc;
    }
    return tb_graph_apply(graph, x,
                          &(tb_node_spec){.name = name,
                                          .op = "Relu",
                                          .in = x,
                                          .n_in = 1,
                                          .out = &y,
                                          .n_out = 1},
                          err);
}

/* The input, and Flatten where a sample has more than one dimension. */
static tb_rc add_head(tb_graph *graph, tb_value_id *x, const widths *w,
                      const tb_shape *input_shape, tb_err *err)
{
    tb_shape shape = input_shape != NULL ? *input_shape : TB_SHAPE(w->width[0]);
    size_t n = 0;
    tb_dims dims = {.rank = (int)shape.rank + 1, .dim = {TB_DIM_ANY}};
    tb_rc rc = tb_shape_count(&n, &shape, err);
    if (rc != TB_OK || n != w->width[0] || shape.rank >= TB_RANK_MAX) {
        char text[TB_SHAPE_TEXT_BYTES];
        return tb_fail(err, TB_E_MISMATCH,
                       "samples of shape %s do not fit a first layer of %zu",
                       tb_shape_text(&shape, text), w->width[0]);
    }
    for (size_t i = 0; i < shape.rank; i++) {
        dims.dim[i + 1] = (int64_t)shape.dim[i];
    }
    rc = tb_graph_add_input(graph, x, "input", TB_F32, &dims, err);
    if (rc != TB_OK || shape.rank == 1) {
        return rc;
    }
    tb_value_id flat = TB_ID_NONE;
    rc = tb_graph_add_temp(graph, &flat, "flat", NULL, err);
    if (rc != TB_OK) {
        return rc;
    }
    return tb_graph_apply(graph, x,
                          &(tb_node_spec){.name = "flatten",
                                          .op = "Flatten",
                                          .in = x,
                                          .n_in = 1,
                                          .out = &flat,
                                          .n_out = 1},
                          err);
}

tb_rc tb_build_new(tb_graph **out, const char *text, uint64_t seed,
                   const tb_shape *input_shape, tb_err *err)
{
    widths w;
    tb_graph *graph = NULL;
    tb_value_id x = TB_ID_NONE;
    *out = NULL;
    if (strncmp(text, MLP, strlen(MLP)) != 0) {
        return tb_fail(err, TB_E_USAGE,
                       "model \"%s\": mlp:784-200-10 and the like expected",
                       text);
    }
    tb_rc rc = parse_widths(&w, text + strlen(MLP), err);
    if (rc == TB_OK) {
        rc = tb_graph_new(&graph, "mlp", TB_GRAPH_OPSET, err);
    }
    if (rc == TB_OK) {
        rc = add_head(graph, &x, &w, input_shape, err);
    }
    for (size_t layer = 1; rc == TB_OK && layer < w.n; layer++) {
        rc = add_gemm(graph, &x, layer, &w, err);
        if (rc == TB_OK && layer + 1 < w.n) {
            rc = add_relu(graph, &x, layer, err);
        }
    }
    if (rc == TB_OK) {
        rc = tb_graph_add_output(graph, x, err);
    }
    if (rc == TB_OK) {
        rc = tb_build_init(graph, seed, err);
    }
    if (rc == TB_OK) {
        *out = graph;
        graph = NULL;
    }
    tb_graph_free(&graph);
    return rc;
}
