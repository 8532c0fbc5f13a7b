#include "exec/quantized.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "exec/quantized_priv.h"
#include "tensor/conv_int8.h"

#define ATTRS_MAX 16

typedef struct fuser {
    const tb_graph *from; /* what is looked at */
    tb_graph *to;         /* what is changed: a copy with the same ids */
    tb_readers readers;
    size_t *pixels; /* owned [n_values of from]: channels of bytes that lie as
                     * pixels; 0: as ONNX has them */
} fuser;

/* --- the copy ------------------------------------------------------------- */

static bool is_quantised(const tb_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        tb_quant_layer layer;
        if (tb_quant_match(&layer, graph, (tb_node_id)i)) {
            return true;
        }
    }
    return false;
}

/* Lets the copy read the same bytes, so that they exist once and a parameter
 * that is set later is seen. */
static void share_data(tb_graph *to, const tb_graph *from)
{
    for (size_t i = 0; i < from->n_values; i++) {
        if (from->values[i] != NULL && from->values[i]->data.data != NULL) {
            tb_tensor *data = &to->values[i]->data;
            tb_tensor_release(data);
            *data = from->values[i]->data;
            data->owns = false;
        }
    }
}

/* --- which bytes lie as pixels -------------------------------------------- */

/* Whether the steps of a convolution end in a matrix of rows, and only there:
 * Flatten from axis 1, pools before. *flat: whether there is such an end. */
static bool steps_allow_pixels(const fuser *f, const tb_quant_tail *tail,
                               bool *flat)
{
    *flat = false;
    for (size_t i = 0; i < tail->n_steps; i++) {
        const tb_node *node = f->from->nodes[tail->step[i]];
        if (tb_quant_is(node, "Flatten") && !*flat &&
            tb_node_int(node, "axis", 1) == 1) {
            *flat = true;
        } else if (!tb_quant_is(node, "MaxPool") || *flat) {
            return false;
        }
    }
    return true;
}

/* Whether node takes bytes v as pixels of `channels` channels: a convolution,
 * or a product when v is flat. */
static bool takes_pixels(const fuser *f, tb_node_id node, tb_value_id v,
                         size_t channels, bool flat)
{
    tb_quant_layer layer;
    return tb_quant_match(&layer, f->from, node) && layer.x == v &&
           layer.conv != flat && (!flat || layer.k % channels == 0);
}

/* Whether all that read v do so, some through DequantizeLinear. */
static bool readers_take_pixels(const fuser *f, tb_value_id v, size_t channels,
                                bool flat)
{
    const tb_readers *r = &f->readers;
    if (tb_graph_is_output(f->from, v)) {
        return false;
    }
    for (size_t i = r->first[v]; i < r->first[v + 1]; i++) {
        const tb_node *node = f->from->nodes[r->node[i]];
        tb_value_id real = node->out[0];
        if (takes_pixels(f, r->node[i], v, channels, flat)) {
            continue;
        }
        if (!tb_quant_is(node, "DequantizeLinear") || real == TB_ID_NONE ||
            tb_graph_is_output(f->from, real)) {
            return false;
        }
        for (size_t k = r->first[real]; k < r->first[real + 1]; k++) {
            if (!takes_pixels(f, r->node[k], v, channels, flat)) {
                return false;
            }
        }
    }
    return true;
}

/* --- weights -------------------------------------------------------------- */

/* The initialisers of a fused layer. */
typedef struct packed {
    tb_value_id weights;
    tb_value_id bias;
    tb_value_id scale;
} packed;

static tb_conv_int8 conv_of(const tb_quant_layer *l, const tb_node *node)
{
    const tb_shape *w = &l->w->shape;
    const tb_attr *dilations = tb_node_attr(node, "dilations");
    tb_conv_int8 conv = {.window = {.in_c = w->dim[1] * l->groups,
                                    .kernel = {1, w->dim[w->rank - 1]},
                                    .stride = {1, 1},
                                    .dilation = {1, 1}},
                         .out_c = l->n,
                         .groups = l->groups};
    if (w->rank == 4) {
        conv.window.kernel[0] = w->dim[2];
    }
    if (dilations != NULL && dilations->n == w->rank - 2) {
        conv.window.dilation[1] = (size_t)dilations->ints[dilations->n - 1];
    }
    return conv;
}

/* What a layer needs besides x, while it is made. */
typedef struct numbers {
    int8_t *weights; /* owned [n_bytes] */
    size_t n_bytes;
    int32_t *bias; /* owned [n]; first the sums of weights */
    float *scale;  /* owned [n] */
} numbers;

static void numbers_release(numbers *n)
{
    tb_mem_free(n->weights);
    tb_mem_free(n->bias);
    tb_mem_free(n->scale);
}

/* Packs the weights; pixels: channels of x that lie as pixels, or 0. */
static tb_rc pack(numbers *out, const tb_quant_layer *l, const tb_node *node,
                  size_t pixels, tb_err *err)
{
    bool flip = l->w->dtype == TB_U8;
    tb_conv_int8 conv = conv_of(l, node);
    const tb_int8_shape shape = {.n = l->n, .k = l->k, .n_segments = 1};
    size_t area = pixels > 0 ? l->k / pixels : 1;
    const tb_int8_layout layout = {.column_step = l->n_step,
                                   .outer_step = l->k_step,
                                   .n_inner = pixels > 0 ? pixels : l->k,
                                   .inner_step = area * l->k_step,
                                   .flip = flip};
    out->n_bytes = l->conv ? tb_conv_int8_packed_bytes(&conv)
                           : tb_int8_packed_bytes(l->n, 1, l->k);
    out->weights = tb_mem_aligned(out->n_bytes, 1);
    out->bias = tb_mem_array(l->n, sizeof *out->bias);
    out->scale = tb_mem_array(l->n, sizeof *out->scale);
    if (out->weights == NULL || out->bias == NULL || out->scale == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu bytes of weights", out->n_bytes);
    }
    if (l->conv) {
        tb_conv_int8_pack(out->weights, l->w->data, &conv, flip);
        tb_conv_int8_weight_sums(out->bias, out->weights, &conv);
    } else {
        tb_int8_pack(out->weights, l->w->data, &shape, &layout);
        tb_int8_column_sums(out->bias, out->weights, &shape);
    }
    return TB_OK;
}

static tb_rc add_data(fuser *f, tb_value_id *out, const char *what,
                      const tb_tensor *data, tb_err *err)
{
    char *name = tb_graph_fresh_name(f->to, what);
    tb_rc rc = name == NULL ? tb_fail(err, TB_E_NOMEM, "%s", what)
                            : tb_graph_add_data(f->to, out, name, TB_ROLE_CONST,
                                                data, err);
    tb_mem_free(name);
    return rc;
}

/* Bias and scale as the sums want them: the zero point of x is taken off. */
static void set_finish(numbers *n, const tb_quant_layer *l,
                       const tb_quant_tail *tail)
{
    int64_t zero = l->x_quant.zero + (l->x_quant.type == TB_I8 ? 128 : 0);
    for (size_t j = 0; j < l->n; j++) {
        int64_t b = (int64_t)nearbyint(tb_quant_bias(l, j));
        double s = tb_quant_scale(l, j);
        n->bias[j] = (int32_t)(b - zero * n->bias[j]);
        n->scale[j] = (float)(tail->quantised ? s / tail->y_quant.scale : s);
    }
}

static tb_rc add_packed(fuser *f, packed *out, const tb_quant_layer *l,
                        const tb_quant_tail *tail, size_t pixels, tb_err *err)
{
    numbers n = {0};
    tb_rc rc = pack(&n, l, f->from->nodes[l->node], pixels, err);
    if (rc == TB_OK) {
        const tb_tensor t =
            tb_tensor_view(TB_I8, &TB_SHAPE(n.n_bytes), n.weights);
        set_finish(&n, l, tail);
        rc = add_data(f, &out->weights, "packed", &t, err);
    }
    if (rc == TB_OK) {
        const tb_tensor t = tb_tensor_view(TB_I32, &TB_SHAPE(l->n), n.bias);
        rc = add_data(f, &out->bias, "sums", &t, err);
    }
    if (rc == TB_OK) {
        const tb_tensor t = tb_tensor_view(TB_F32, &TB_SHAPE(l->n), n.scale);
        rc = add_data(f, &out->scale, "scales", &t, err);
    }
    numbers_release(&n);
    return rc;
}

/* --- nodes ---------------------------------------------------------------- */

typedef struct attr_list {
    tb_attr attr[ATTRS_MAX];
    size_t n;
} attr_list;

static void put(attr_list *list, tb_attr attr)
{
    list->attr[list->n++] = attr;
}

/* The attributes of a window that a node has. */
static void put_window(attr_list *list, const tb_node *node)
{
    static const char *const names[] = {"auto_pad",  "strides",
                                        "dilations", "pads",
                                        "ceil_mode", "kernel_shape"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const tb_attr *attr = tb_node_attr(node, names[i]);
        if (attr != NULL) {
            put(list, *attr);
        }
    }
}

/* The bounds before zero is added, in steps of the result. */
static void put_finish(attr_list *list, const tb_quant_layer *l,
                       const tb_quant_tail *t)
{
    double low = t->low;
    double high = t->high;
    if (t->quantised) {
        double least = t->y_quant.type == TB_I8 ? -128.0 : 0.0;
        double zero = (double)t->y_quant.zero;
        low = fmax(nearbyint(low / t->y_quant.scale), least - zero);
        high = fmin(nearbyint(high / t->y_quant.scale), least + 255.0 - zero);
        low = fmin(low, least + 255.0 - zero);
        high = fmax(high, least - zero);
    }
    put(list, TB_ATTR_I("x_type", (int64_t)l->x_quant.type));
    put(list, TB_ATTR_I("y_type",
                        (int64_t)(t->quantised ? t->y_quant.type : TB_F32)));
    put(list, TB_ATTR_I("y_zero", t->quantised ? t->y_quant.zero : 0));
    put(list, TB_ATTR_F("low", (float)low));
    put(list, TB_ATTR_F("high", (float)high));
}

/* A node that makes out, or (NONE) a new value that *out then is. */
static tb_rc emit(fuser *f, tb_value_id *out, const tb_node_spec *spec,
                  tb_err *err)
{
    tb_node_spec s = *spec;
    if (*out != TB_ID_NONE) {
        s.out = out;
        s.n_out = 1;
    }
    tb_value_id made = *out;
    tb_rc rc = tb_graph_apply(f->to, &made, &s, err);
    *out = made;
    return rc;
}

static tb_rc emit_layer(fuser *f, tb_value_id *out, const tb_quant_layer *l,
                        const tb_quant_tail *tail, bool y_pixels, tb_err *err)
{
    const tb_node *node = f->from->nodes[l->node];
    size_t pixels = f->pixels[l->x];
    int64_t kernel[2] = {0, 0};
    attr_list list = {.n = 0};
    packed p;
    tb_rc rc = add_packed(f, &p, l, tail, l->conv ? 0 : pixels, err);
    if (rc != TB_OK) {
        return rc;
    }
    put_finish(&list, l, tail);
    if (l->conv) {
        put_window(&list, node);
        put(&list, TB_ATTR_I("group", (int64_t)l->groups));
        put(&list, TB_ATTR_I("x_zero", l->x_quant.zero));
        put(&list, TB_ATTR_I("x_pixels", pixels > 0));
        put(&list, TB_ATTR_I("y_pixels", y_pixels));
        if (tb_node_attr(node, "kernel_shape") == NULL) {
            size_t n = l->w->shape.rank - 2;
            for (size_t i = 0; i < n; i++) {
                kernel[i] = (int64_t)l->w->shape.dim[2 + i];
            }
            put(&list, (tb_attr){.name = "kernel_shape",
                                 .kind = TB_ATTR_INTS,
                                 .ints = kernel,
                                 .n = n});
        }
    } else {
        put(&list, TB_ATTR_I("axis", pixels > 0 ? 1 : -1));
    }
    const tb_value_id in[4] = {l->x, p.weights, p.bias, p.scale};
    return emit(f, out,
                &(tb_node_spec){.name = node->name,
                                .domain = TB_DOMAIN_FUSED,
                                .op = l->conv ? "Int8Conv" : "Int8Gemm",
                                .attrs = list.attr,
                                .n_attrs = list.n,
                                .in = in,
                                .n_in = 4},
                err);
}

/* A pool, or a change of shape as it is in the model, over bytes. */
static tb_rc emit_step(fuser *f, tb_value_id *out, const tb_node *node,
                       tb_value_id x, bool pixels, tb_err *err)
{
    tb_value_id in[2] = {x, node->n_in > 1 ? node->in[1] : TB_ID_NONE};
    attr_list list = {.n = 0};
    if (!tb_quant_is(node, "MaxPool")) {
        return emit(f, out,
                    &(tb_node_spec){.name = node->name,
                                    .op = node->op,
                                    .attrs = node->attrs,
                                    .n_attrs = node->n_attrs,
                                    .in = in,
                                    .n_in = node->n_in},
                    err);
    }
    put_window(&list, node);
    put(&list, TB_ATTR_I("pixels", pixels));
    return emit(f, out,
                &(tb_node_spec){.name = node->name,
                                .domain = TB_DOMAIN_FUSED,
                                .op = "Int8MaxPool",
                                .attrs = list.attr,
                                .n_attrs = list.n,
                                .in = in,
                                .n_in = 1},
                err);
}

/* One layer and its tail; what they end in keeps its id. */
static tb_rc fuse(fuser *f, tb_quant_layer *l, tb_err *err)
{
    tb_quant_tail tail;
    bool flat = false;
    tb_quant_follow(&tail, l, f->from, &f->readers);
    tb_value_id end = f->from->nodes[tail.last]->out[0];
    bool pixels = l->conv && tail.quantised &&
                  steps_allow_pixels(f, &tail, &flat) &&
                  readers_take_pixels(f, end, l->n, flat);
    size_t n_steps = pixels && flat ? tail.n_steps - 1 : tail.n_steps;
    tb_value_id v = n_steps == 0 ? end : TB_ID_NONE;
    tb_graph_remove_node(f->to, tail.last);
    tb_rc rc = emit_layer(f, &v, l, &tail, pixels, err);
    for (size_t i = 0; rc == TB_OK && i < n_steps; i++) {
        tb_value_id x = v;
        v = i + 1 == n_steps ? end : TB_ID_NONE;
        rc = emit_step(f, &v, f->from->nodes[tail.step[i]], x, pixels, err);
    }
    f->pixels[end] = pixels ? l->n : 0;
    return rc;
}

tb_rc tb_quantized_fuse(tb_graph **out, const tb_graph *graph, tb_err *err)
{
    fuser f = {.from = graph};
    tb_node_id *order = NULL;
    size_t n_order = 0;
    *out = NULL;
    if (!is_quantised(graph)) {
        return TB_OK;
    }
    tb_rc rc = tb_graph_clone(&f.to, graph, err);
    if (rc == TB_OK) {
        share_data(f.to, graph);
        rc = tb_readers_init(&f.readers, graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_graph_order(&order, &n_order, graph, err);
    }
    f.pixels = tb_mem_array(graph->n_values, sizeof *f.pixels);
    if (rc == TB_OK && f.pixels == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "%zu values", graph->n_values);
    }
    for (size_t i = 0; rc == TB_OK && i < n_order; i++) {
        tb_quant_layer layer;
        if (tb_quant_match(&layer, graph, order[i])) {
            rc = fuse(&f, &layer, err);
        }
    }
    if (rc == TB_OK) {
        *out = f.to;
        f.to = NULL;
    }
    tb_graph_free(&f.to);
    tb_readers_release(&f.readers);
    tb_mem_free(f.pixels);
    tb_mem_free(order);
    return rc;
}
