#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "inspect.h"
#include "model/notes.h"
#include "model/preprocess.h"

#define WIDTH      80
#define CELL_BYTES 96
#define LISTED_MIN 5 /* numbers of a constant that has a line of its own */

/* Columns of the drawing: what stands in them, and how wide they are. */
typedef struct drawing {
    const inspection *in;
    tb_buf *out;
    int op, shape, name; /* columns */
    int from;
} drawing;

/* --- numbers and shapes --------------------------------------------------- */

/* 1234567 as "1,234,567". */
static const char *grouped(uint64_t n, char out[32])
{
    char digits[32];
    size_t len = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, n);
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            out[at++] = ',';
        }
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

/* 313600 as "313.6 k". */
static const char *scaled(double n, char out[32])
{
    static const char *const unit[] = {"", " k", " M", " G", " T", " P"};
    size_t u = 0;
    while (n >= 999.95 && u + 1 < sizeof unit / sizeof unit[0]) {
        n /= 1000;
        u++;
    }
    (void)snprintf(out, 32, u == 0 ? "%.0f%s" : "%.1f%s", n, unit[u]);
    return out;
}

static const char *sized(size_t bytes, char out[32])
{
    tb_text_bytes(bytes, out, 32);
    return out;
}

/* "[N, 3, 8]"; cut with "...]" when it is too long. */
static void shape_text(const tb_dims *dims, char out[CELL_BYTES])
{
    size_t at = (size_t)snprintf(out, CELL_BYTES, "[");
    if (dims->rank == TB_RANK_UNKNOWN) {
        (void)snprintf(out, CELL_BYTES, "[?]");
        return;
    }
    for (int i = 0; i < dims->rank && at < CELL_BYTES - 32; i++) {
        const char *comma = i > 0 ? ", " : "";
        int n = dims->dim[i] == TB_DIM_ANY
                    ? snprintf(out + at, CELL_BYTES - at, "%sN", comma)
                    : snprintf(out + at, CELL_BYTES - at, "%s%" PRId64, comma,
                               dims->dim[i]);
        at += (size_t)n;
    }
    (void)snprintf(out + at, CELL_BYTES - at, "]");
}

/* The last columns of a name say most: "..rest/of/it". */
static void name_text(const char *name, int columns, char out[CELL_BYTES])
{
    size_t len = strlen(name);
    size_t most = (size_t)columns;
    bool cut = len > most;
    const char *at = cut ? name + (len - most + 2) : name;
    while (cut && ((unsigned char)*at & 0xc0) == 0x80) {
        at++; /* not in the middle of a character */
    }
    (void)snprintf(out, CELL_BYTES, "%s%s", cut ? ".." : "", at);
}

/* --- the drawing ---------------------------------------------------------- */

/* Whether an operand comes from a node or an input, and which: "in", "7". */
static bool source_text(const inspection *in, tb_value_id id, char out[24])
{
    const tb_value *value = tb_graph_value(in->graph, id);
    if (value == NULL ||
        (value->producer == TB_ID_NONE && value->role != TB_ROLE_INPUT)) {
        return false;
    }
    if (value->role == TB_ROLE_INPUT) {
        (void)snprintf(out, 24, "in");
        for (size_t i = 0; in->graph->n_inputs > 1 && i < in->graph->n_inputs;
             i++) {
            if (in->graph->inputs[i] == id) {
                (void)snprintf(out, 24, "in%zu", i + 1);
            }
        }
    } else {
        (void)snprintf(out, 24, "%zu", in->number_of[value->producer]);
    }
    return true;
}

/* The nodes and inputs that a node reads: "3 7"; nothing when it is just the
 * one in the line above. */
static void from_text(const inspection *in, const inspected_node *node,
                      char out[CELL_BYTES])
{
    const tb_node *n = in->graph->nodes[node->id];
    char above[24];
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n->n_in; i++) {
        char one[24];
        if (!source_text(in, n->in[i], one)) {
            continue;
        }
        if (at + strlen(one) + 1 > 9) {
            (void)snprintf(out + at, CELL_BYTES - at, " ..");
            return;
        }
        at += (size_t)snprintf(out + at, CELL_BYTES - at, "%s%s",
                               at > 0 ? " " : "", one);
    }
    (void)snprintf(above, sizeof above, "%zu", node->number - 1);
    if (strcmp(out, above) == 0) {
        out[0] = '\0';
    }
}

static int wider(int columns, const char *text)
{
    int n = (int)strlen(text);
    return n > columns ? n : columns;
}

/* How wide the columns must be; names get the rest. */
static void measure(drawing *d)
{
    char cell[CELL_BYTES];
    d->op = (int)strlen("operator");
    d->shape = (int)strlen("output");
    d->from = (int)strlen("from");
    for (size_t i = 0; i < d->in->n_nodes; i++) {
        const tb_node *node = d->in->graph->nodes[d->in->nodes[i].id];
        d->op = wider(d->op, node->op);
        from_text(d->in, &d->in->nodes[i], cell);
        d->from = wider(d->from, cell);
        for (size_t k = 0; k < node->n_out; k++) {
            if (node->out[k] != TB_ID_NONE) {
                shape_text(&d->in->types[node->out[k]].dims, cell);
                d->shape = wider(d->shape, cell);
            }
        }
    }
    d->shape = d->shape > 24 ? 24 : d->shape;
    d->op = d->op > 24 ? 24 : d->op;
    d->name = WIDTH -
              (4 + 1 + d->op + 1 + d->from + 1 + 1 + d->shape + 1 + 10 + 1 + 8);
    d->name = d->name < 6 ? 6 : d->name;
}

/* Appends a line without the blanks at its end. */
static tb_rc put_trimmed(tb_buf *out, const char *line, tb_err *err)
{
    size_t n = strlen(line);
    while (n > 0 && line[n - 1] == ' ') {
        n--;
    }
    return tb_buf_printf(out, err, "%.*s\n", (int)n, line);
}

/* One line; numbers of outputs behind the first are left out. */
static tb_rc put_line(const drawing *d, const inspected_node *node,
                      tb_value_id output, bool first, tb_err *err)
{
    const tb_node *n = d->in->graph->nodes[node->id];
    char number[24] = "";
    char from[CELL_BYTES] = "";
    char name[CELL_BYTES];
    char shape[CELL_BYTES] = "[?]";
    char own[32] = "";
    char flops[32] = "";
    if (output != TB_ID_NONE) {
        shape_text(&d->in->types[output].dims, shape);
    }
    if (first) {
        (void)snprintf(number, sizeof number, "%zu", node->number);
        from_text(d->in, node, from);
        name_text(inspected_name(d->in->graph, n), d->name, name);
        if (node->n_own > 0) {
            (void)grouped(node->n_own, own);
        }
        if (node->folded) {
            (void)snprintf(flops, sizeof flops, "constant");
        } else if (node->flops > 0) {
            (void)scaled(node->flops, flops);
        }
    } else {
        name_text(d->in->graph->values[output]->name, d->name, name);
    }
    char line[8 * CELL_BYTES];
    (void)snprintf(line, sizeof line, "%4s %-*.*s %-*s %-*s %-*s %10s %8s",
                   number, d->op, d->op, first ? n->op : "", d->from, from,
                   d->name, name, d->shape, shape, own, flops);
    return put_trimmed(d->out, line, err);
}

static tb_rc put_node(const drawing *d, const inspected_node *node, tb_err *err)
{
    const tb_node *n = d->in->graph->nodes[node->id];
    bool first = true;
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < n->n_out; i++) {
        if (n->out[i] != TB_ID_NONE) {
            rc = put_line(d, node, n->out[i], first, err);
            first = false;
        }
    }
    return rc;
}

static tb_rc put_nodes(const inspection *in, tb_buf *out, tb_err *err)
{
    drawing d = {.in = in, .out = out};
    measure(&d);
    tb_rc rc = tb_buf_printf(out, err, "\n%4s %-*s %-*s %-*s %-*s %10s %8s\n",
                             "#", d.op, "operator", d.from, "from", d.name,
                             "node", d.shape, "output", "parameters", "FLOPs");
    for (size_t i = 0; rc == TB_OK && i < in->n_nodes; i++) {
        rc = put_node(&d, &in->nodes[i], err);
    }
    return rc;
}

/* --- the rest ------------------------------------------------------------- */

static tb_rc put_head(const inspection *in, tb_buf *out, tb_err *err)
{
    char size[32];
    char hex[TB_HASH_HEX_BYTES];
    tb_hash_hex(&in->hash, hex);
    bool apart = in->data_bytes > in->n_bytes;
    return tb_buf_printf(out, err, "model \"%s\", opset %d, %s%s\nhash %s\n",
                         in->graph->name, in->graph->opset,
                         sized(in->n_bytes, size),
                         apart ? ", its data in files beside it" : "", hex);
}

static tb_rc put_ends(const inspection *in, tb_buf *out, const char *what,
                      const tb_value_id *ids, size_t n, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        const tb_value *value = in->graph->values[ids[i]];
        const tb_value_type *type = &in->types[ids[i]];
        bool known = type->dtype != TB_DTYPE_NONE;
        char shape[CELL_BYTES];
        char name[CELL_BYTES];
        shape_text(known ? &type->dims : &value->dims, shape);
        name_text(value->name, 40, name);
        rc = tb_buf_printf(out, err, "%-6s  %s  %s %s\n", what, name,
                           tb_dtype_name(known ? type->dtype : value->dtype),
                           shape);
    }
    return rc;
}

static tb_rc put_classes(const tb_graph *graph, tb_buf *out, tb_err *err)
{
    size_t n = tb_preprocess_n_classes(graph);
    tb_rc rc = n > 0 ? tb_buf_printf(out, err, "classes") : TB_OK;
    int column = 7;
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        size_t len = 0;
        const char *text = tb_preprocess_class(graph, i, &len);
        bool wraps = column + 2 + (int)len > WIDTH;
        rc = tb_buf_printf(out, err, "%s %.*s%s", wraps ? "\n      " : "",
                           (int)len, text, i + 1 < n ? "," : "\n");
        column = (wraps ? 6 : column) + 2 + (int)len;
    }
    return rc;
}

static tb_rc put_initialiser(const tb_value *value, tb_buf *out, tb_err *err)
{
    char shape[CELL_BYTES];
    char name[CELL_BYTES];
    char n[32];
    shape_text(&value->dims, shape);
    name_text(value->name, 40, name);
    return tb_buf_printf(out, err, "  %-40s %-4s %-20s %10s\n", name,
                         tb_dtype_name(value->dtype), shape,
                         grouped(tb_tensor_count(&value->data), n));
}

/* Axes and sizes, of which an exporter writes hundreds, are only counted. A
 * constant that may be a weight says how it is trained. */
static tb_rc put_initialisers(const inspection *in, initialiser_kind kind,
                              tb_buf *out, tb_err *err)
{
    char n[32];
    size_t n_small = 0;
    bool weights = false;
    if (in->n_of[kind] == 0) {
        return TB_OK;
    }
    tb_rc rc = tb_buf_printf(out, err, "\n%s: %zu, %s numbers\n",
                             initialiser_kind_name(kind), in->n_of[kind],
                             grouped(in->in_each[kind], n));
    for (size_t i = 0; rc == TB_OK && i < in->graph->n_values; i++) {
        const tb_value *value = in->graph->values[i];
        if (value == NULL || value->data.data == NULL || in->kinds[i] != kind) {
            continue;
        }
        if (kind == KIND_CONSTANT &&
            tb_tensor_count(&value->data) < LISTED_MIN) {
            n_small++;
            continue;
        }
        weights = weights || (kind == KIND_CONSTANT && value->dtype == TB_F32);
        rc = put_initialiser(value, out, err);
    }
    if (rc == TB_OK && n_small > 0) {
        rc = tb_buf_printf(out, err, "  %zu of fewer than %d numbers\n",
                           n_small, LISTED_MIN);
    }
    return rc == TB_OK && weights && in->trains
               ? tb_buf_printf(out, err,
                               "  (a weight among these? --train NAME)\n")
               : rc;
}

/* The lines of one way to run: what it needs. */
static tb_rc put_run(const inspection *in, size_t batch,
                     const tb_exec_cost *cost, tb_buf *out, tb_err *err)
{
    char all[32];
    char flops[32];
    char bytes[32];
    return tb_buf_printf(out, err,
                         "inference  %8zu  %10s  %10s  (activations %s)\n",
                         batch, sized(in->data_bytes + cost->bytes, all),
                         scaled(cost->flops, flops), sized(cost->bytes, bytes));
}

static tb_rc put_step(size_t batch, const tb_trainer_cost *cost, tb_buf *out,
                      tb_err *err)
{
    char s[8][32];
    return tb_buf_printf(
        out, err,
        "training   %8zu  %10s  %10s\n"
        "           activations %s + gradients %s + parameters %s\n"
        "           + constants %s + optimiser %s + batch %s\n",
        batch, sized(cost->bytes, s[0]), scaled(cost->flops, s[1]),
        sized(cost->activation_bytes, s[2]), sized(cost->gradient_bytes, s[3]),
        sized(cost->parameter_bytes, s[4]), sized(cost->constant_bytes, s[5]),
        sized(cost->state_bytes, s[6]), sized(cost->batch_bytes, s[7]));
}

static tb_rc put_totals(const inspection *in, tb_buf *out, tb_err *err)
{
    tb_rc rc = tb_buf_printf(out, err, "\n%-9s  %8s  %10s  %10s\n", "", "batch",
                             "memory", "FLOPs");
    if (rc == TB_OK) {
        rc = put_run(in, 1, &in->one, out, err);
    }
    if (rc == TB_OK && in->batch > 1) {
        rc = put_run(in, in->batch, &in->many, out, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    return in->trains ? put_step(in->batch, &in->training, out, err)
                      : tb_buf_printf(out, err, "training   no: %s\n",
                                      in->why_not.text);
}

static tb_rc put_budget(const inspection *in, tb_buf *out, tb_err *err)
{
    char budget[32];
    if (in->budget == 0) {
        return TB_OK;
    }
    (void)sized((size_t)in->budget, budget);
    if (in->piece >= in->batch) {
        return tb_buf_printf(out, err,
                             "\nbudget %s: batch %zu fits as it is; at most "
                             "%zu rows would\n",
                             budget, in->batch, in->largest);
    }
    if (in->piece == 0) {
        return tb_buf_printf(out, err,
                             "\nbudget %s: train with --batch %zu; pieces of "
                             "%zu rows would need more\n",
                             budget, in->largest, in->batch);
    }
    tb_rc rc = tb_buf_printf(out, err,
                             "\nbudget %s: train with --batch %zu "
                             "--micro-batch %zu\n",
                             budget, in->batch, in->piece);
    if (rc == TB_OK) {
        rc = put_step(in->batch, &in->in_pieces, out, err);
    }
    return rc == TB_OK && in->largest > 0
               ? tb_buf_printf(out, err,
                               "           or with --batch %zu, without "
                               "pieces\n",
                               in->largest)
               : rc;
}

/* A sentence behind "note:", over as many lines as it takes. */
static tb_rc put_note(tb_buf *out, const char *text, tb_err *err)
{
    size_t column = strlen("note:");
    tb_rc rc = tb_buf_printf(out, err, "\nnote:");
    while (rc == TB_OK && *text != '\0') {
        size_t n = strcspn(text, " ");
        bool wraps = column + 1 + n > WIDTH;
        rc = tb_buf_printf(out, err, "%s%.*s", wraps ? "\n      " : " ", (int)n,
                           text);
        column = (wraps ? 6 : column + 1) + n;
        text += n + (text[n] == ' ' ? 1 : 0);
    }
    return rc == TB_OK ? tb_buf_printf(out, err, "\n") : rc;
}

static tb_rc put_notes(const tb_graph *graph, tb_buf *out, tb_err *err)
{
    tb_note notes[TB_NOTES_MAX];
    size_t n = tb_model_notes(graph, notes);
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        rc = put_note(out, notes[i].text, err);
    }
    return rc;
}

tb_rc inspection_text(const inspection *what, tb_buf *out, tb_err *err)
{
    const tb_graph *graph = what->graph;
    tb_rc rc = put_head(what, out, err);
    if (rc == TB_OK) {
        rc = put_ends(what, out, "input", graph->inputs, graph->n_inputs, err);
    }
    if (rc == TB_OK) {
        rc = put_ends(what, out, "output", graph->outputs, graph->n_outputs,
                      err);
    }
    if (rc == TB_OK) {
        rc = put_classes(graph, out, err);
    }
    if (rc == TB_OK) {
        rc = put_nodes(what, out, err);
    }
    for (int kind = 0; rc == TB_OK && kind < KIND_COUNT; kind++) {
        rc = put_initialisers(what, (initialiser_kind)kind, out, err);
    }
    if (rc == TB_OK) {
        rc = put_totals(what, out, err);
    }
    if (rc == TB_OK) {
        rc = put_budget(what, out, err);
    }
    return rc == TB_OK ? put_notes(graph, out, err) : rc;
}
