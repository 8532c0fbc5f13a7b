/* Data movement and reductions against naive twins that look every element up
 * by its index, over drawn shapes and every element type; and indexes from data
 * that are out of range. */
#include "support/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "support/graph_run.h"

#define RANK 3

static unsigned seed = 11;

static size_t draw(size_t n)
{
    seed = seed * 1103515245u + 12345u;
    return (size_t)(seed >> 12) % n;
}

/* --- one node, run -------------------------------------------------------- */

typedef struct one {
    tb_graph *graph;
    tb_value_id x;
    tb_value_id y;
    graph_run run;
} one;

typedef struct list {
    size_t n; /* 0: input omitted */
    int64_t at[2 * RANK];
} list;

static tb_value_id add_list(tb_graph *graph, const char *name, const list *l)
{
    tb_value_id id = TB_ID_NONE;
    tb_tensor t =
        tb_tensor_view(TB_I64, &TB_SHAPE(l->n), (void *)(uintptr_t)l->at);
    tb_err err;
    if (l->n > 0) {
        CHECK_OK(tb_graph_add_data(graph, &id, name, TB_ROLE_CONST, &t, &err),
                 err);
    }
    return id;
}

/* op(x, lists...) at opset 18, x filled with small whole numbers. */
static one start(const char *op, const tb_attr *attr, tb_dtype dtype,
                 const tb_shape *shape, const list lists[4])
{
    one o = {0};
    tb_dims dims = {.rank = (int)shape->rank};
    tb_value_id in[5] = {TB_ID_NONE};
    size_t n_in = 1;
    tb_err err;
    for (size_t d = 0; d < shape->rank; d++) {
        dims.dim[d] = (int64_t)shape->dim[d];
    }
    CHECK_OK(tb_graph_new(&o.graph, "one", 18, &err), err);
    CHECK_OK(tb_graph_add_input(o.graph, &in[0], "x", dtype, &dims, &err), err);
    o.x = in[0];
    for (size_t i = 0; i < 4; i++) {
        const char name[] = {'l', (char)('0' + i), '\0'};
        in[i + 1] = add_list(o.graph, name, &lists[i]);
        n_in = in[i + 1] != TB_ID_NONE ? i + 2 : n_in;
    }
    CHECK_OK(tb_graph_apply(o.graph, &o.y,
                            &(tb_node_spec){.name = "node",
                                            .op = op,
                                            .attrs = attr,
                                            .n_attrs = attr != NULL,
                                            .in = in,
                                            .n_in = n_in},
                            &err),
             err);
    CHECK_OK(tb_graph_add_output(o.graph, o.y, &err), err);
    CHECK_OK(
        graph_run_init(&o.run, o.graph, &(tb_bind_options){.batch = 1}, &err),
        err);
    for (size_t i = 0; i < tb_tensor_count(&o.run.values[o.x]); i++) {
        tb_tensor_put_i64(&o.run.values[o.x], i, (int64_t)draw(100));
    }
    graph_run_go(&o.run, NULL);
    return o;
}

static void finish(one *o)
{
    graph_run_release(&o->run);
    tb_graph_free(&o->graph);
}

static tb_shape draw_shape(void)
{
    return TB_SHAPE(1 + draw(6), 1 + draw(6), 1 + draw(40));
}

static const tb_dtype types[] = {TB_F32, TB_U8,  TB_I8,   TB_U16, TB_I16,
                                 TB_I32, TB_I64, TB_BOOL, TB_F16, TB_F64,
                                 TB_U32, TB_U64, TB_BF16};

#define N_TYPES (sizeof types / sizeof types[0])

/* Index i of a shape, dimension by dimension. */
static void split(size_t index[RANK], size_t i, const tb_shape *shape)
{
    for (size_t d = RANK; d-- > 0;) {
        index[d] = i % shape->dim[d];
        i /= shape->dim[d];
    }
}

static size_t join(const size_t index[RANK], const tb_shape *shape)
{
    size_t i = 0;
    for (size_t d = 0; d < RANK; d++) {
        i = i * shape->dim[d] + index[d];
    }
    return i;
}

/* --- movement ------------------------------------------------------------- */

/* Whether y[index] is x[map(index)] everywhere; SIZE_MAX: it is 0. */
typedef size_t map_fn(const size_t index[RANK], const tb_shape *x,
                      const list lists[4], const char *mode);

static void check_moved(const one *o, const list lists[4], const char *mode,
                        map_fn *map)
{
    const tb_tensor *x = &o->run.values[o->x];
    const tb_tensor *y = &o->run.values[o->y];
    size_t index[RANK];
    for (size_t i = 0; i < tb_tensor_count(y); i++) {
        split(index, i, &y->shape);
        size_t from = map(index, &x->shape, lists, mode);
        double want = from == SIZE_MAX ? 0 : tb_tensor_f64_at(x, from);
        if (tb_tensor_f64_at(y, i) != want) {
            fail_msg("%s of %s: element %zu is %g, not %g",
                     o->run.bound->calls[0].op->name, tb_dtype_name(x->dtype),
                     i, tb_tensor_f64_at(y, i), want);
        }
    }
}

static size_t sliced(const size_t index[RANK], const tb_shape *x,
                     const list lists[4], const char *mode)
{
    size_t from[RANK];
    (void)mode;
    for (size_t d = 0; d < RANK; d++) {
        int64_t step = lists[3].at[d];
        int64_t begin = lists[0].at[d];
        int64_t n = (int64_t)x->dim[d];
        begin = begin < 0 ? begin + n : begin;
        begin = begin < 0 ? 0 : begin;
        begin = step < 0 && begin >= n ? n - 1 : begin;
        from[d] = (size_t)(begin + step * (int64_t)index[d]);
    }
    return join(from, x);
}

static void slices_are_what_the_naive_twin_takes(void **state)
{
    (void)state;
    for (size_t r = 0; r < 400; r++) {
        tb_shape shape = draw_shape();
        list lists[4] = {{.n = RANK}, {.n = RANK}, {.n = RANK}, {.n = RANK}};
        for (size_t d = 0; d < RANK; d++) {
            int64_t n = (int64_t)shape.dim[d];
            lists[0].at[d] = (int64_t)draw((size_t)n * 2 + 3) - n - 1;
            lists[1].at[d] = (int64_t)draw((size_t)n * 2 + 3) - n - 1;
            lists[2].at[d] = (int64_t)d;
            lists[3].at[d] = draw(3) == 0   ? -1 - (int64_t)draw(3)
                             : draw(2) == 0 ? 1
                                            : 1 + (int64_t)draw(3);
        }
        one o = start("Slice", NULL, types[r % N_TYPES], &shape, lists);
        check_moved(&o, lists, NULL, sliced);
        finish(&o);
    }
    CHECK(tb_mem_live() == 0);
}

static size_t tiled(const size_t index[RANK], const tb_shape *x,
                    const list lists[4], const char *mode)
{
    size_t from[RANK];
    (void)lists;
    (void)mode;
    for (size_t d = 0; d < RANK; d++) {
        from[d] = index[d] % x->dim[d];
    }
    return join(from, x);
}

static void tiles_are_copies_side_by_side(void **state)
{
    (void)state;
    for (size_t r = 0; r < 100; r++) {
        tb_shape shape = draw_shape();
        list lists[4] = {{.n = RANK}};
        for (size_t d = 0; d < RANK; d++) {
            lists[0].at[d] = (int64_t)draw(4);
        }
        one o = start("Tile", NULL, types[r % N_TYPES], &shape, lists);
        for (size_t d = 0; d < RANK; d++) {
            CHECK(o.run.values[o.y].shape.dim[d] ==
                  shape.dim[d] * (size_t)lists[0].at[d]);
        }
        check_moved(&o, lists, NULL, tiled);
        finish(&o);
    }
}

/* Walks one step at a time, turning round or starting over at the ends. */
static int64_t walked(int64_t steps, int64_t n, const char *mode)
{
    int64_t at = 0;
    int64_t way = 1;
    bool back = steps < 0;
    if (n == 1) {
        return 0;
    }
    for (steps = back ? -steps : steps; steps > 0; steps--) {
        if (strcmp(mode, "reflect") == 0) {
            way = at == n - 1 ? -1 : at == 0 ? 1 : way;
            at += way;
        } else if (strcmp(mode, "wrap") == 0) {
            at = back ? (at + n - 1) % n : (at + 1) % n;
        } else {
            at = back || at == n - 1 ? at : at + 1;
        }
    }
    return at;
}

static size_t padded(const size_t index[RANK], const tb_shape *x,
                     const list lists[4], const char *mode)
{
    size_t from[RANK];
    for (size_t d = 0; d < RANK; d++) {
        int64_t i = (int64_t)index[d] - lists[0].at[d];
        int64_t n = (int64_t)x->dim[d];
        if (strcmp(mode, "constant") == 0 && (i < 0 || i >= n)) {
            return SIZE_MAX;
        }
        from[d] = (size_t)(i >= 0 && i < n ? i : walked(i, n, mode));
    }
    return join(from, x);
}

static void pads_go_on_as_their_mode_says(void **state)
{
    static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
    (void)state;
    for (size_t r = 0; r < 400; r++) {
        tb_shape shape = draw_shape();
        list lists[4] = {{.n = 2 * RANK}};
        tb_attr mode = {
            .name = "mode", .kind = TB_ATTR_STRING, .s = modes[r % 4]};
        for (size_t d = 0; d < RANK; d++) {
            bool some = draw(3) != 0;
            int64_t most = (int64_t)shape.dim[d] / 2; /* to be cut off */
            lists[0].at[d] = some ? (int64_t)draw(9) - most : 0;
            lists[0].at[RANK + d] = some ? (int64_t)draw(9) - most : 0;
        }
        one o = start("Pad", &mode, types[draw(N_TYPES)], &shape, lists);
        check_moved(&o, lists, modes[r % 4], padded);
        finish(&o);
    }
}

/* --- reductions ----------------------------------------------------------- */

static double taken(const char *op, double a, double x, size_t n)
{
    if (strcmp(op, "ReduceMax") == 0) {
        return n == 0 || x > a ? x : a;
    }
    if (strcmp(op, "ReduceMin") == 0) {
        return n == 0 || x < a ? x : a;
    }
    bool square =
        strcmp(op, "ReduceSumSquare") == 0 || strcmp(op, "ReduceL2") == 0;
    return square ? a + x * x : a + x;
}

/* One element of y by a walk over all of x. */
static double reduced(const char *op, const tb_tensor *x, const tb_shape *y,
                      size_t i)
{
    size_t at[RANK];
    size_t index[RANK];
    double a = 0;
    size_t n = 0;
    split(at, i, y);
    for (size_t k = 0; k < tb_tensor_count(x); k++) {
        bool mine = true;
        split(index, k, &x->shape);
        for (size_t d = 0; d < RANK; d++) {
            mine = mine && (y->dim[d] == 1 || index[d] == at[d]);
        }
        if (mine) {
            a = taken(op, a, tb_tensor_f64_at(x, k), n);
            n++;
        }
    }
    return strcmp(op, "ReduceMean") == 0 ? a / (double)n
           : strcmp(op, "ReduceL2") == 0 ? sqrt(a)
                                         : a;
}

static void check_reduced(const char *op, tb_dtype dtype)
{
    tb_shape shape = draw_shape();
    list lists[4] = {{0}};
    tb_err err;
    for (size_t d = 0; d < RANK; d++) {
        if (draw(2) == 0) {
            lists[0].at[lists[0].n++] = (int64_t)d - (draw(2) == 0 ? RANK : 0);
        }
    }
    one o = start(op, NULL, dtype, &shape, lists);
    const tb_tensor *y = &o.run.values[o.y];
    for (size_t i = 0; i < tb_tensor_count(y); i++) {
        double want = reduced(op, &o.run.values[o.x], &y->shape, i);
        tb_tensor cast; /* to what the type can hold */
        CHECK_OK(tb_tensor_init(&cast, dtype, &(tb_shape){0}, &err), err);
        tb_tensor_put_f64(&cast, 0, want);
        double is = tb_tensor_f64_at(y, i);
        want = tb_tensor_f64_at(&cast, 0);
        tb_tensor_release(&cast);
        if (fabs(is - want) > 1e-6 * fabs(want)) {
            fail_msg("%s of %s: element %zu is %g, not %g", op,
                     tb_dtype_name(dtype), i, is, want);
        }
    }
    finish(&o);
}

/* Whole numbers below 100: float32 sums of squares stay exact. */
static void reductions_are_what_the_naive_twin_finds(void **state)
{
    static const char *const ops[] = {"ReduceSum", "ReduceMax", "ReduceMin",
                                      "ReduceSumSquare"};
    static const char *const floats[] = {"ReduceMean", "ReduceL2"};
    static const tb_dtype numbers[] = {TB_F32, TB_F64, TB_U8,  TB_I8, TB_U16,
                                       TB_I32, TB_I64, TB_U64, TB_F16};
    (void)state;
    for (size_t r = 0; r < 900; r++) {
        check_reduced(ops[r % 4], numbers[r % 9]);
        check_reduced(floats[r % 2], r % 3 == 0 ? TB_F64 : TB_F32);
    }
    CHECK(tb_mem_live() == 0);
}

/* By hand: NaN is the maximum and the minimum; nothing sums to 0. */
static void nan_and_nothing_are_reduced_as_numpy_does(void **state)
{
    static const char *const ops[] = {"ReduceMax", "ReduceMin"};
    const list all[4] = {{0}};
    (void)state;
    for (size_t r = 0; r < 2; r++) {
        for (size_t at = 0; at < 40; at++) {
            one o = start(ops[r], NULL, TB_F32, &TB_SHAPE(40), all);
            ((float *)o.run.values[o.x].data)[at] = NAN;
            graph_run_go(&o.run, NULL);
            CHECK(isnan(*(const float *)o.run.values[o.y].data));
            finish(&o);
        }
    }
    const list axis[4] = {{.n = 1, .at = {0}}};
    one o = start("ReduceSum", NULL, TB_F32, &TB_SHAPE(0, 2), axis);
    const float *y = o.run.values[o.y].data;
    CHECK(tb_tensor_count(&o.run.values[o.y]) == 2 && y[0] == 0 && y[1] == 0);
    finish(&o);
    o = start("ReduceMax", NULL, TB_I8, &TB_SHAPE(0, 2), axis);
    CHECK(tb_tensor_i64_at(&o.run.values[o.y], 1) == INT8_MIN);
    finish(&o);
}

/* --- many parts ---------------------------------------------------------- */

enum { N_PARTS = 80 }; /* as many steps as a recurrent net may be unrolled to */

/* Parts [2, 1], numbered, joined to [2, 80], and its gradient taken apart. */
static void eighty_parts_are_joined_and_taken_apart(void **state)
{
    const tb_dims dims = {.rank = 2, .dim = {2, 1}};
    const tb_attr axis = TB_ATTR_I("axis", 1);
    tb_graph *graph = NULL;
    tb_value_id in[N_PARTS];
    tb_value_id dx[N_PARTS];
    tb_value_id y = TB_ID_NONE;
    bool wants[N_PARTS];
    graph_run run;
    tb_err err;
    (void)state;
    CHECK_OK(tb_graph_new(&graph, "parts", 17, &err), err);
    for (size_t i = 0; i < N_PARTS; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "x%u", (unsigned)i);
        CHECK_OK(tb_graph_add_input(graph, &in[i], name, TB_F32, &dims, &err),
                 err);
        wants[i] = i % 3 != 0; /* the others are not asked for */
    }
    CHECK_OK(tb_graph_apply(graph, &y,
                            &(tb_node_spec){.op = "Concat",
                                            .attrs = &axis,
                                            .n_attrs = 1,
                                            .in = in,
                                            .n_in = N_PARTS},
                            &err),
             err);
    tb_grad g = {.graph = graph,
                 .node = tb_graph_node(graph, graph->values[y]->producer),
                 .dy = &y, /* the parts themselves must come back */
                 .wants = wants,
                 .dx = dx,
                 .err = &err};
    CHECK_OK(tb_op_backward(&g, tb_op_find("", "Concat", 17)), err);
    for (size_t i = 0; i < N_PARTS; i++) {
        CHECK((dx[i] != TB_ID_NONE) == wants[i]);
        if (wants[i]) {
            CHECK_OK(tb_graph_add_output(graph, dx[i], &err), err);
        }
    }
    CHECK_OK(graph_run_init(&run, graph, &(tb_bind_options){.batch = 1}, &err),
             err);
    for (size_t i = 0; i < N_PARTS; i++) {
        float *x = run.values[in[i]].data;
        x[0] = (float)i;
        x[1] = (float)i + 100;
    }
    graph_run_go(&run, NULL);
    const float *all = run.values[y].data;
    for (size_t i = 0; i < N_PARTS; i++) {
        CHECK(all[i] == (float)i && all[N_PARTS + i] == (float)i + 100);
        const float *part = wants[i] ? run.values[dx[i]].data : NULL;
        CHECK(part == NULL ||
              (part[0] == (float)i && part[1] == (float)i + 100));
    }
    graph_run_release(&run);
    tb_graph_free(&graph);
    CHECK(tb_mem_live() == 0);
}

/* --- indexes from data ---------------------------------------------------- */

/* rows [4, 3] gathered by four indexes that only the run sees. */
static void an_index_out_of_range_is_reported_and_harmless(void **state)
{
    const tb_dims rows = {.rank = 2, .dim = {4, 3}};
    const tb_dims four = {.rank = 1, .dim = {4}};
    const int64_t at[4] = {1, -4, 4, INT64_MIN};
    tb_graph *graph = NULL;
    tb_value_id in[2];
    tb_value_id y = TB_ID_NONE;
    graph_run run;
    tb_err err;
    (void)state;
    CHECK_OK(tb_graph_new(&graph, "gather", 17, &err), err);
    CHECK_OK(tb_graph_add_input(graph, &in[0], "x", TB_F32, &rows, &err), err);
    CHECK_OK(tb_graph_add_input(graph, &in[1], "i", TB_I64, &four, &err), err);
    CHECK_OK(
        tb_graph_apply(graph, &y,
                       &(tb_node_spec){
                           .name = "node", .op = "Gather", .in = in, .n_in = 2},
                       &err),
        err);
    CHECK_OK(tb_graph_add_output(graph, y, &err), err);
    CHECK_OK(graph_run_init(&run, graph, &(tb_bind_options){.batch = 1}, &err),
             err);
    tb_data_fault fault = {0};
    run.bound->calls[0].fault = &fault;
    float *x = run.values[in[0]].data;
    for (size_t i = 0; i < 12; i++) {
        x[i] = (float)i;
    }
    memcpy(run.values[in[1]].data, at, sizeof at);
    graph_run_go(&run, NULL);
    const float *got = run.values[y].data;
    CHECK(got[0] == 3 && got[2] == 5); /* row 1 */
    CHECK(got[3] == 0 && got[5] == 2); /* row -4 is row 0 */
    CHECK(got[6] == 0 && got[7] == 0 && got[8] == 0);
    CHECK(got[9] == 0 && got[11] == 0);
    CHECK_ERR(tb_data_fault_error(&fault, &err), TB_E_MISMATCH, err,
              "index 4 where Gather (node \"node\") takes -4 to 3");
    CHECK_OK(tb_data_fault_error(&fault, &err), err);
    graph_run_release(&run);
    tb_graph_free(&graph);
    CHECK(tb_mem_live() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_what_the_naive_twin_takes),
        cmocka_unit_test(tiles_are_copies_side_by_side),
        cmocka_unit_test(pads_go_on_as_their_mode_says),
        cmocka_unit_test(reductions_are_what_the_naive_twin_finds),
        cmocka_unit_test(nan_and_nothing_are_reduced_as_numpy_does),
        cmocka_unit_test(eighty_parts_are_joined_and_taken_apart),
        cmocka_unit_test(an_index_out_of_range_is_reported_and_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
