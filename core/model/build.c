#include "model/build.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "model/init.h"

#define MLP        "mlp:"
#define NAME_BYTES 32

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
        rc = tb_init_fresh(graph, seed, err);
    }
    if (rc == TB_OK) {
        *out = graph;
        graph = NULL;
    }
    tb_graph_free(&graph);
    return rc;
}
