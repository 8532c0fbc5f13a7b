/* tests/conformance/run.c - runs the node tests of a pack (pack.h):
 *   conformance PACK [--write FOLDER] [--only NAME] [--at-least N] [--newer]
 * Each model is read, bound with what its operators must know beforehand as
 * constants, run, and compared with numpy's outputs to the tolerance of the
 * test (integers exactly). What we write of it must read back, be the same
 * bytes when written again, and give the same outputs bit for bit. --write
 * keeps those files for other judges. Prints passed / in scope and every
 * failing name; exits 1 when one fails that exceptions.h does not name, or
 * when one named passes (but with --newer); with --at-least, when fewer than N
 * pass. */
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "conformance/exceptions.h"
#include "conformance/pack.h"
#include "exec/exec.h"
#include "model/onnx.h"

#define MAX_BYTES    ((size_t)64 << 20)
#define N_WAYS       4
#define N_EXCEPTIONS (sizeof node_exceptions / sizeof node_exceptions[0])

/* A model made ready: which inputs became constants, and its executor. */
typedef struct ready {
    tb_graph *graph;
    tb_exec *exec;
    tb_chance chance;
    size_t n_open;
    size_t open[64]; /* inputs of the test that are fed at the run */
} ready;

/* --- what must be known beforehand ---------------------------------------- */

/* Whether the test feeds another shape than its model declares: some do, to an
 * operator that does not look at it. */
static bool misdeclared(const tb_value *value, const tb_tensor *t)
{
    bool same = value->dims.rank == (int)t->shape.rank;
    for (size_t i = 0; same && i < t->shape.rank; i++) {
        same = value->dims.dim[i] == TB_DIM_ANY ||
               value->dims.dim[i] == (int64_t)t->shape.dim[i];
    }
    return !same;
}

/* The first way that binds counts: nothing constant, then only small integers
 * and scalars, then all but the first input, then everything. */
static bool fixed(const tb_value *value, const tb_tensor *t, size_t i, int way)
{
    bool whole = !tb_dtype_is_float(t->dtype) || tb_tensor_count(t) <= 1;
    return misdeclared(value, t) || way == 3 || (way == 2 && i > 0) ||
           (way == 1 && i > 0 && whole);
}

static tb_rc fix_inputs(ready *r, const pack_case *c, int way, tb_err *err)
{
    tb_value_id ids[64];
    tb_rc rc = TB_OK;
    r->n_open = 0;
    if (c->n_in > 64 || r->graph->n_inputs != c->n_in) {
        return tb_fail(err, TB_E_MISMATCH, "%zu inputs, not %zu",
                       r->graph->n_inputs, c->n_in);
    }
    for (size_t i = 0; i < c->n_in; i++) {
        ids[i] = r->graph->inputs[i];
    }
    for (size_t i = 0; rc == TB_OK && i < c->n_in; i++) {
        const tb_tensor *t = &c->ends[i];
        if (t->dtype == TB_DTYPE_NONE) {
            rc = tb_fail(err, TB_E_UNSUPPORTED, "input %zu is no tensor", i);
        } else if (fixed(r->graph->values[ids[i]], t, i, way)) {
            rc = tb_graph_fix_input(r->graph, ids[i], t, err);
        } else {
            r->open[r->n_open++] = i;
        }
    }
    return rc == TB_OK ? tb_graph_sweep(r->graph, err) : rc;
}

/* Whether a node says that it trains. */
static bool trains(const tb_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const tb_node *node = graph->nodes[i];
        if (node != NULL && tb_node_int(node, "training_mode", 0) != 0) {
            return true;
        }
    }
    return false;
}

static tb_rc make_exec(ready *r, tb_err *err)
{
    tb_bound *bound = NULL;
    tb_bind_options how = {.batch = 1, .training = trains(r->graph)};
    tb_rc rc = tb_bind_new(&bound, r->graph, &how, err);
    if (rc == TB_OK) {
        rc = tb_exec_from(&r->exec, &bound, NULL, 0, &r->chance, err);
    }
    tb_bind_free(&bound);
    return rc;
}

static void drop(ready *r)
{
    tb_exec_free(&r->exec);
    tb_graph_free(&r->graph);
}

static tb_rc make_ready(ready *r, const pack_case *c, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_err first = {0};
    tb_rc rc = tb_onnx_read(&graph, c->model, c->n_model, NULL, err);
    for (int way = 0; graph != NULL && way < N_WAYS; way++) {
        drop(r);
        rc = tb_graph_clone(&r->graph, graph, err);
        rc = rc == TB_OK ? fix_inputs(r, c, way, err) : rc;
        rc = rc == TB_OK ? make_exec(r, err) : rc;
        if (rc == TB_OK) {
            break;
        }
        first = way == 0 ? *err : first;
    }
    if (graph != NULL && rc != TB_OK) {
        *err = first;
    }
    tb_graph_free(&graph);
    return rc;
}

/* --- running and comparing ------------------------------------------------ */

static tb_rc execute(ready *r, const pack_case *c, tb_err *err)
{
    for (size_t i = 0; i < r->n_open; i++) {
        const tb_tensor *to = tb_exec_input(r->exec, i);
        const tb_tensor *from = &c->ends[r->open[i]];
        if (tb_tensor_bytes(to) != tb_tensor_bytes(from)) {
            return tb_fail(err, TB_E_MISMATCH, "input %zu: %zu bytes, not %zu",
                           i, tb_tensor_bytes(to), tb_tensor_bytes(from));
        }
        memcpy(to->data, from->data, tb_tensor_bytes(to));
    }
    tb_exec_run(r->exec);
    return TB_OK;
}

static bool near(double x, double want, const pack_case *c)
{
    return (isnan(x) && isnan(want)) || x == want ||
           fabs(x - want) <= c->atol + c->rtol * fabs(want);
}

static tb_rc compare(const tb_tensor *y, const tb_tensor *want,
                     const pack_case *c, tb_err *err)
{
    char is[TB_SHAPE_TEXT_BYTES];
    char should[TB_SHAPE_TEXT_BYTES];
    tb_tensor copy; /* aligned */
    if (y->dtype != want->dtype || !tb_shape_equal(&y->shape, &want->shape)) {
        return tb_fail(err, TB_E_MISMATCH, "%s of %s instead of %s of %s",
                       tb_shape_text(&y->shape, is), tb_dtype_name(y->dtype),
                       tb_shape_text(&want->shape, should),
                       tb_dtype_name(want->dtype));
    }
    tb_rc rc = tb_tensor_copy(&copy, want, err);
    bool exact = y->dtype != TB_F32 && y->dtype != TB_F64 &&
                 y->dtype != TB_F16 && y->dtype != TB_BF16;
    if (rc == TB_OK && exact &&
        memcmp(y->data, copy.data, tb_tensor_bytes(&copy)) != 0) {
        rc = tb_fail(err, TB_E_MISMATCH, "other integers");
    }
    for (size_t i = 0; rc == TB_OK && !exact && i < tb_tensor_count(y); i++) {
        double a = tb_tensor_f64_at(y, i);
        double b = tb_tensor_f64_at(&copy, i);
        if (!near(a, b, c)) {
            rc = tb_fail(err, TB_E_MISMATCH, "element %zu is %.9g, not %.9g", i,
                         a, b);
        }
    }
    tb_tensor_release(&copy);
    return rc;
}

static tb_rc compare_all(const ready *r, const pack_case *c, tb_err *err)
{
    tb_rc rc = TB_OK;
    if (r->graph->n_outputs != c->n_out) {
        return tb_fail(err, TB_E_MISMATCH, "%zu outputs, not %zu",
                       r->graph->n_outputs, c->n_out);
    }
    for (size_t i = 0; rc == TB_OK && i < c->n_out; i++) {
        rc = compare(tb_exec_output(r->exec, i), &c->ends[c->n_in + i], c, err);
        if (rc != TB_OK) {
            rc = tb_err_prefix(err, rc, "output %zu", i);
        }
    }
    return rc;
}

/* --- writing -------------------------------------------------------------- */

/* The model that was written and read again runs as the first did. */
static tb_rc runs_alike(const ready *first, const tb_graph *graph,
                        const pack_case *c, tb_err *err)
{
    ready again = {0};
    tb_rc rc = tb_graph_clone(&again.graph, graph, err);
    again.n_open = first->n_open;
    memcpy(again.open, first->open, sizeof again.open);
    rc = rc == TB_OK ? make_exec(&again, err) : rc;
    rc = rc == TB_OK ? execute(&again, c, err) : rc;
    for (size_t i = 0; rc == TB_OK && i < c->n_out; i++) {
        const tb_tensor *a = tb_exec_output(first->exec, i);
        const tb_tensor *b = tb_exec_output(again.exec, i);
        if (tb_tensor_bytes(a) != tb_tensor_bytes(b) ||
            memcmp(a->data, b->data, tb_tensor_bytes(a)) != 0) {
            rc = tb_fail(err, TB_E_MISMATCH, "another output %zu", i);
        }
    }
    drop(&again);
    return rc;
}

static tb_rc round_trip(const ready *r, const pack_case *c, const char *folder,
                        tb_err *err)
{
    tb_buf once;
    tb_buf twice;
    tb_graph *back = NULL;
    char path[1024];
    tb_buf_init(&once, MAX_BYTES);
    tb_buf_init(&twice, MAX_BYTES);
    tb_rc rc = tb_onnx_write(&once, r->graph, err);
    rc = rc == TB_OK ? tb_onnx_read(&back, once.data, once.len, NULL, err) : rc;
    rc = rc == TB_OK ? tb_onnx_write(&twice, back, err) : rc;
    if (rc == TB_OK && (once.len != twice.len ||
                        memcmp(once.data, twice.data, once.len) != 0)) {
        rc = tb_fail(err, TB_E_MISMATCH, "other bytes when written again");
    }
    if (rc == TB_OK && !trains(r->graph)) {
        rc = runs_alike(r, back, c, err);
    }
    if (rc == TB_OK && folder != NULL) {
        (void)snprintf(path, sizeof path, "%s/%s.onnx", folder, c->name);
        rc = tb_file_write(path, once.data, once.len, 0644, err);
    }
    tb_graph_free(&back);
    tb_buf_release(&once);
    tb_buf_release(&twice);
    return rc == TB_OK ? rc : tb_err_prefix(err, rc, "written");
}

/* --- all of them ---------------------------------------------------------- */

static tb_rc judge(const pack_case *c, const char *folder, tb_err *err)
{
    ready r = {.chance = {1, 1}};
    tb_rc rc = make_ready(&r, c, err);
    rc = rc == TB_OK ? execute(&r, c, err) : rc;
    rc = rc == TB_OK ? compare_all(&r, c, err) : rc;
    rc = rc == TB_OK ? round_trip(&r, c, folder, err) : rc;
    drop(&r);
    return rc;
}

static const char *excuse(const char *name)
{
    for (size_t i = 0; i < N_EXCEPTIONS; i++) {
        if (fnmatch(node_exceptions[i].name, name, 0) == 0) {
            return node_exceptions[i].reason;
        }
    }
    return NULL;
}

typedef struct wishes {
    const char *folder; /* for what we write; or NULL */
    const char *only;   /* names; or NULL: all */
    size_t at_least;    /* so many passing are enough; 0: see below */
    bool newer;         /* the package may have mended what it was excused */
} wishes;

/* One test: whether it passed; *bad: whether that is an objection. */
static bool judge_one(const pack_case *c, const wishes *w, bool *bad)
{
    tb_err err = {0};
    const char *why = excuse(c->name);
    bool passed = judge(c, w->folder, &err) == TB_OK;
    *bad = passed ? why != NULL && !w->newer : why == NULL;
    if (!passed) {
        (void)printf("%s %s: %s\n", why != NULL ? "excused" : "FAILED ",
                     c->name, why != NULL ? why : err.text);
    } else if (*bad) {
        (void)printf("FAILED  %s: passes, but is an exception\n", c->name);
    }
    return passed;
}

/* Whether there are no objections, or enough tests pass. */
static bool judge_all(const pack *p, const wishes *w)
{
    size_t n_passed = 0;
    size_t n_bad = 0;
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const pack_case *c = &p->cases[i];
        bool bad = false;
        if (w->only == NULL || fnmatch(w->only, c->name, 0) == 0) {
            n_passed += judge_one(c, w, &bad);
            n_bad += bad;
            n++;
        }
    }
    (void)printf("%zu/%zu node tests passed, %zu objections\n", n_passed, n,
                 n_bad);
    return n_bad == 0 || (w->at_least > 0 && n_passed >= w->at_least);
}

static bool read_wishes(wishes *w, int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--newer") == 0) {
            w->newer = true;
        } else if (more && strcmp(argv[i], "--write") == 0) {
            w->folder = argv[++i];
        } else if (more && strcmp(argv[i], "--only") == 0) {
            w->only = argv[++i];
        } else if (more && strcmp(argv[i], "--at-least") == 0) {
            w->at_least = strtoul(argv[++i], NULL, 10);
        } else {
            return false;
        }
    }
    return argc >= 2;
}

int main(int argc, char **argv)
{
    pack p = {0};
    tb_err err = {0};
    wishes w = {0};
    if (!read_wishes(&w, argc, argv)) {
        (void)fprintf(stderr, "conformance PACK [--write FOLDER] [--only NAME] "
                              "[--at-least N] [--newer]\n");
        return 2;
    }
    if (pack_open(&p, argv[1], &err) != TB_OK) {
        (void)fprintf(stderr, "conformance: %s\n", err.text);
        return 2;
    }
    bool good = judge_all(&p, &w);
    pack_close(&p);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
