#include "model/ops/window.h"

#include <string.h>

#include "model/ops/op_priv.h"

#define VALUE_MAX ((int64_t)INT32_MAX)

/* A part of an attribute of integers: one value a spatial dimension. */
typedef struct ints {
    const char *name;
    size_t n_all; /* values that it must have */
    size_t from;  /* the first of ours */
    size_t n;     /* spatial dimensions */
    int64_t least;
} ints;

/* Fills the last n of to; without the attribute they stay. */
static tb_rc take_ints(size_t to[TB_CONV_DIMS], const tb_node *node, ints want,
                       tb_err *err)
{
    const tb_attr *attr = tb_node_attr(node, want.name);
    if (attr == NULL || attr->kind != TB_ATTR_INTS) {
        return TB_OK;
    }
    if (attr->n != want.n_all) {
        return tb_fail(err, TB_E_MALFORMED,
                       "attribute \"%s\" has %zu values, not %zu", want.name,
                       attr->n, want.n_all);
    }
    for (size_t i = 0; i < want.n; i++) {
        int64_t v = attr->ints[want.from + i];
        if (v < want.least || v > VALUE_MAX) {
            return tb_fail(err, TB_E_MALFORMED,
                           "attribute \"%s\" holds %lld: %lld to %lld expected",
                           want.name, (long long)v, (long long)want.least,
                           (long long)VALUE_MAX);
        }
        to[TB_CONV_DIMS - want.n + i] = (size_t)v;
    }
    return TB_OK;
}

typedef enum padding { PADS, VALID, SAME_UPPER, SAME_LOWER } padding;

static tb_rc read_padding(padding *out, const tb_node *node, tb_err *err)
{
    static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER",
                                        "SAME_LOWER"};
    const tb_attr *attr = tb_node_attr(node, "auto_pad");
    *out = PADS;
    if (attr == NULL || attr->kind != TB_ATTR_STRING) {
        return TB_OK;
    }
    for (size_t i = 0; i < TB_COUNT(names); i++) {
        if (strcmp(attr->s, names[i]) == 0) {
            *out = (padding)i;
            return TB_OK;
        }
    }
    return tb_fail(err, TB_E_MALFORMED, "auto_pad \"%.32s\" is not known",
                   attr->s);
}

static tb_rc read_kernel(tb_window *w, const tb_node *node,
                         const tb_shape *weights, size_t n, tb_err *err)
{
    bool said = tb_node_attr(node, "kernel_shape") != NULL;
    tb_rc rc =
        take_ints(w->kernel, node, (ints){"kernel_shape", n, 0, n, 1}, err);
    if (rc != TB_OK || weights == NULL) {
        return rc == TB_OK && !said
                   ? tb_fail(err, TB_E_MALFORMED, "kernel_shape is missing")
                   : rc;
    }
    if (weights->rank != n + 2) {
        char text[TB_SHAPE_TEXT_BYTES];
        return tb_fail(err, TB_E_MISMATCH,
                       "weights of shape %s for %zu spatial dimensions",
                       tb_shape_text(weights, text), n);
    }
    for (size_t i = 0; i < n; i++) {
        size_t *kernel = &w->kernel[TB_CONV_DIMS - n + i];
        if (said && *kernel != weights->dim[2 + i]) {
            return tb_fail(err, TB_E_MISMATCH,
                           "kernel_shape says %zu where the weights have %zu",
                           *kernel, weights->dim[2 + i]);
        }
        *kernel = weights->dim[2 + i];
    }
    return TB_OK;
}

/* All but out and what depends on it. */
static tb_rc read_window(tb_window *w, padding *pad, const tb_node *node,
                         const tb_shape *x, const tb_shape *weights,
                         tb_err *err)
{
    char text[TB_SHAPE_TEXT_BYTES];
    if (x->rank < 3 || x->rank > 2 + TB_CONV_DIMS) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "input of shape %s: one to three spatial dimensions "
                       "expected",
                       tb_shape_text(x, text));
    }
    size_t n = x->rank - 2;
    *w = (tb_window){.rank = x->rank,
                     .in = {1, 1, 1},
                     .out = {1, 1, 1},
                     .kernel = {1, 1, 1},
                     .stride = {1, 1, 1},
                     .dilation = {1, 1, 1}};
    memcpy(w->in + TB_CONV_DIMS - n, x->dim + 2, n * sizeof w->in[0]);
    tb_rc rc = read_kernel(w, node, weights, n, err);
    if (rc == TB_OK) {
        rc = take_ints(w->stride, node, (ints){"strides", n, 0, n, 1}, err);
    }
    if (rc == TB_OK) {
        rc = take_ints(w->dilation, node, (ints){"dilations", n, 0, n, 1}, err);
    }
    if (rc == TB_OK) {
        rc = read_padding(pad, node, err);
    }
    if (rc == TB_OK && *pad == PADS) {
        rc = take_ints(w->pad, node, (ints){"pads", 2 * n, 0, n, 0}, err);
    }
    if (rc == TB_OK && *pad == PADS) {
        rc = take_ints(w->pad_end, node, (ints){"pads", 2 * n, n, n, 0}, err);
    }
    for (size_t d = 0; d < TB_CONV_DIMS && rc == TB_OK; d++) {
        bool fits =
            w->in[d] <= (size_t)VALUE_MAX && w->kernel[d] <= (size_t)VALUE_MAX;
        if (w->in[d] == 0 || w->kernel[d] == 0 || x->dim[1] == 0 || !fits) {
            rc = tb_fail(err, fits ? TB_E_MISMATCH : TB_E_LIMIT,
                         "input of shape %s", tb_shape_text(x, text));
        }
    }
    return rc;
}

/* What one window spans: no overflow, since both stay under 2^31. */
static size_t span_of(const tb_window *w, size_t d)
{
    return (w->kernel[d] - 1) * w->dilation[d] + 1;
}

static void split_padding(tb_window *w, size_t d, size_t total, bool upper)
{
    w->pad[d] = upper ? total / 2 : total - total / 2;
    w->pad_end[d] = total - w->pad[d];
}

static void pad_same(tb_window *w, size_t d, bool upper)
{
    w->out[d] = (w->in[d] + w->stride[d] - 1) / w->stride[d];
    size_t need = (w->out[d] - 1) * w->stride[d] + span_of(w, d);
    split_padding(w, d, need > w->in[d] ? need - w->in[d] : 0, upper);
}

static tb_rc count_windows(tb_window *w, size_t d, bool ceil, tb_err *err)
{
    size_t all = w->in[d] + w->pad[d] + w->pad_end[d];
    size_t span = span_of(w, d);
    if (span > all) {
        return tb_fail(err, TB_E_MISMATCH,
                       "a window of %zu elements over %zu with padding", span,
                       all);
    }
    size_t round_up = ceil ? w->stride[d] - 1 : 0;
    w->out[d] = (all - span + round_up) / w->stride[d] + 1;
    if (ceil && (w->out[d] - 1) * w->stride[d] >= w->in[d] + w->pad[d]) {
        w->out[d]--; /* it would lie in the padding behind */
    }
    return TB_OK;
}

tb_rc tb_window_of(tb_window *out, const tb_node *node, const tb_shape *x,
                   const tb_shape *weights, tb_err *err)
{
    padding pad = PADS;
    bool ceil = tb_node_int(node, "ceil_mode", 0) != 0;
    tb_rc rc = read_window(out, &pad, node, x, weights, err);
    for (size_t d = 0; d < TB_CONV_DIMS && rc == TB_OK; d++) {
        if (pad == SAME_UPPER || pad == SAME_LOWER) {
            pad_same(out, d, pad == SAME_UPPER);
        } else {
            rc = count_windows(out, d, ceil, err);
        }
    }
    return rc;
}

/* --- turned round --------------------------------------------------------- */

/* w->in counts the windows, the input of ConvTranspose; w->out is how large
 * its output is without padding. */
static tb_rc pad_output(tb_window *w, padding pad, bool said, size_t d,
                        tb_err *err)
{
    size_t full = w->out[d];
    bool same = pad == SAME_UPPER || pad == SAME_LOWER;
    if (said || same) {
        size_t want = said ? w->pad[d] : w->in[d] * w->stride[d];
        split_padding(w, d, full > want ? full - want : 0, pad == SAME_UPPER);
        w->out[d] = want;
    } else if (full <= w->pad[d] + w->pad_end[d]) {
        return tb_fail(err, TB_E_MISMATCH,
                       "padding of %zu and %zu leaves nothing of %zu elements",
                       w->pad[d], w->pad_end[d], full);
    } else {
        w->out[d] = full - w->pad[d] - w->pad_end[d];
    }
    return TB_OK;
}

tb_rc tb_window_transposed(tb_window *out, const tb_node *node,
                           const tb_shape *x, const tb_shape *weights,
                           tb_err *err)
{
    padding pad = PADS;
    size_t more[TB_CONV_DIMS] = {0};
    size_t size[TB_CONV_DIMS] = {1, 1, 1};
    tb_rc rc = read_window(out, &pad, node, x, weights, err);
    size_t n = rc == TB_OK ? x->rank - 2 : 0;
    const tb_attr *said = tb_node_attr(node, "output_shape");
    /* Some exporters give batch and channels as well. */
    size_t skip = said != NULL && said->n == n + 2 ? 2 : 0;
    if (rc == TB_OK) {
        rc = take_ints(more, node, (ints){"output_padding", n, 0, n, 0}, err);
    }
    if (rc == TB_OK) {
        rc = take_ints(size, node, (ints){"output_shape", n + skip, skip, n, 1},
                       err);
    }
    for (size_t d = 0; d < TB_CONV_DIMS && rc == TB_OK; d++) {
        out->out[d] =
            (out->in[d] - 1) * out->stride[d] + more[d] + span_of(out, d);
        if (said != NULL) {
            out->pad[d] = size[d];
        }
        rc = pad_output(out, pad, said != NULL, d, err);
    }
    for (size_t d = 0; d < TB_CONV_DIMS && rc == TB_OK; d++) {
        size_t windows = out->in[d];
        out->in[d] = out->out[d];
        out->out[d] = windows;
    }
    return rc;
}

tb_shape tb_window_shape(const tb_window *w, size_t batch, size_t channels,
                         const size_t extent[TB_CONV_DIMS])
{
    size_t n = w->rank - 2;
    tb_shape shape = {.rank = w->rank, .dim = {batch, channels}};
    memcpy(shape.dim + 2, extent + TB_CONV_DIMS - n, n * sizeof extent[0]);
    return shape;
}
