/* What every operator of the list must hold: its gradient is the slope of its
 * forward kernel (central differences), it refuses shapes and types it cannot
 * take, running in place or as a view changes nothing. That forward kernels are
 * right is shown by the golden models. The cases stand in ops/. */
#include "support/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "contract/ops/cases.h"
#include "support/graph_run.h"

static const op_family *const families[] = {
#define FAMILY(name) &family_##name,
#include "contract/ops/families.def"
#undef FAMILY
};

static size_t n_in_of(const op_case *c)
{
    size_t n = N_IN_MAX;
    while (n > 0 && c->in[n - 1].dtype == TB_DTYPE_NONE &&
           !c->in[n - 1].omitted) {
        n--;
    }
    return n;
}

static size_t n_out_of(const op_case *c)
{
    return c->n_out > 0 ? c->n_out : 1;
}

static const char *domain_of(const op_case *c)
{
    return c->domain != NULL ? c->domain : TB_DOMAIN_ONNX;
}

/* Whether a gradient is asked for at an input. */
static bool is_drawn_float(const op_input *in)
{
    return in->data == NULL && tb_dtype_is_float(in->dtype);
}

/* --- a graph of one case -------------------------------------------------- */

typedef struct case_graph {
    tb_graph *graph;
    tb_node_id node;
    tb_value_id in[N_IN_MAX];
    tb_value_id y[N_OUT_MAX];
    tb_value_id dy[N_OUT_MAX];
    tb_value_id dx[N_IN_MAX];
} case_graph;

static tb_dims dims_of(const tb_shape *shape)
{
    tb_dims dims = {.rank = (int)shape->rank};
    for (size_t i = 0; i < shape->rank; i++) {
        dims.dim[i] = (int64_t)shape->dim[i];
    }
    return dims;
}

static void add_input(case_graph *g, const op_case *c, size_t i)
{
    const char name[] = {'x', (char)('0' + i), '\0'};
    const op_input *in = &c->in[i];
    tb_dims dims = dims_of(&in->shape);
    tb_tensor data =
        tb_tensor_view(in->dtype, &in->shape, (void *)(uintptr_t)in->data);
    tb_err err;
    g->in[i] = TB_ID_NONE;
    if (in->omitted) {
        return;
    }
    if (in->data != NULL) {
        CHECK_OK(tb_graph_add_data(g->graph, &g->in[i], name, TB_ROLE_CONST,
                                   &data, &err),
                 err);
    } else {
        CHECK_OK(tb_graph_add_input(g->graph, &g->in[i], name, in->dtype, &dims,
                                    &err),
                 err);
    }
}

static case_graph build(const op_case *c)
{
    case_graph g = {0};
    size_t n_attrs = 0;
    tb_err err;
    CHECK_OK(tb_graph_new(&g.graph, "case", c->opset > 0 ? c->opset : 17, &err),
             err);
    for (size_t i = 0; i < n_in_of(c); i++) {
        add_input(&g, c, i);
    }
    for (size_t i = 0; i < N_IN_MAX; i++) {
        g.dx[i] = TB_ID_NONE;
    }
    for (size_t i = 0; i < N_OUT_MAX; i++) {
        g.dy[i] = TB_ID_NONE;
    }
    for (size_t i = 0; i < n_out_of(c); i++) {
        CHECK_OK(tb_graph_add_temp(g.graph, &g.y[i], NULL, "y", &err), err);
    }
    while (n_attrs < N_ATTRS_MAX && c->attrs[n_attrs].name != NULL) {
        n_attrs++;
    }
    CHECK_OK(tb_graph_add_node(g.graph, &g.node,
                               &(tb_node_spec){.name = "node",
                                               .domain = domain_of(c),
                                               .op = c->op,
                                               .attrs = c->attrs,
                                               .n_attrs = n_attrs,
                                               .in = g.in,
                                               .n_in = n_in_of(c),
                                               .out = g.y,
                                               .n_out = n_out_of(c)},
                               &err),
             err);
    for (size_t i = 0; i < n_out_of(c); i++) {
        CHECK_OK(tb_graph_add_output(g.graph, g.y[i], &err), err);
    }
    return g;
}

/* Numbers away from 0 (kinks, poles), the same at every call. */
static void draw(const tb_tensor *t, unsigned seed, bool positive)
{
    for (size_t i = 0; i < tb_tensor_count(t); i++) {
        seed = seed * 1103515245u + 12345u;
        double x = 0.15 + 0.85 * (double)((seed >> 8) & 0xffff) / 65536;
        x = positive || (seed >> 24 & 1) != 0 ? x : -x;
        if (tb_dtype_in(t->dtype, TB_TYPES_FLOAT)) {
            tb_tensor_put_f64(t, i, x);
        } else {
            tb_tensor_put_i64(t, i, (int64_t)(seed >> 16 & 3));
        }
    }
}

static const tb_chance chance = {.key = 77, .step = 3};

static bool listed_op(const tb_op *op, const op_case *c)
{
    int opset = c->opset > 0 ? c->opset : 17;
    return strcmp(op->domain, domain_of(c)) == 0 &&
           strcmp(op->name, c->op) == 0 && opset >= op->since &&
           opset <= op->until;
}

/* --- gradients ------------------------------------------------------------ */

/* sum of dy * y over all outputs that a gradient arrives at */
static double weighted_sum(const graph_run *run, const case_graph *g,
                           const op_case *c)
{
    double sum = 0;
    for (size_t k = 0; k < n_out_of(c); k++) {
        if (g->dy[k] == TB_ID_NONE) {
            continue;
        }
        const tb_tensor *y = &run->values[g->y[k]];
        const tb_tensor *dy = &run->values[g->dy[k]];
        for (size_t i = 0; i < tb_tensor_count(y); i++) {
            sum += tb_tensor_f64_at(y, i) * tb_tensor_f64_at(dy, i);
        }
    }
    return sum;
}

static double sum_with(graph_run *run, const case_graph *g, const op_case *c,
                       const tb_tensor *x, size_t i, double at)
{
    tb_tensor_put_f64(x, i, at);
    graph_run_go(run, &chance);
    return weighted_sum(run, g, c);
}

/* Compares dx with the slope of sum(dy * y) at every element of input j. */
static void check_slopes(graph_run *run, const case_graph *g, const op_case *c,
                         size_t j)
{
    const double step = 1.0 / 128;
    tb_tensor dx;
    const tb_tensor *x = &run->values[g->in[j]];
    tb_err err;
    graph_run_go(run, &chance);
    CHECK_OK(tb_tensor_copy(&dx, &run->values[g->dx[j]], &err), err);
    CHECK(tb_shape_equal(&dx.shape, &x->shape));
    for (size_t i = 0; i < tb_tensor_count(x); i++) {
        double was = tb_tensor_f64_at(x, i);
        double high = sum_with(run, g, c, x, i, was + step);
        double up = tb_tensor_f64_at(x, i);
        double low = sum_with(run, g, c, x, i, was - step);
        double slope = (high - low) / (up - tb_tensor_f64_at(x, i));
        tb_tensor_put_f64(x, i, was);
        double got = tb_tensor_f64_at(&dx, i);
        if (!(fabs(got - slope) <= 2e-3 * (0.1 + fabs(slope)))) {
            fail_msg("%s: element %zu of input %zu: gradient %g, slope %g",
                     c->op, i, j, got, slope);
        }
    }
    tb_tensor_release(&dx);
}

/* An input of the graph for the gradient of output k. */
static void add_dy(case_graph *g, const op_case *c, size_t k)
{
    const char name[] = {'d', 'y', (char)('0' + k), '\0'};
    tb_bound *bound = NULL;
    tb_err err;
    CHECK_OK(tb_bind_new(
                 &bound, g->graph,
                 &(tb_bind_options){.batch = 1, .training = c->training}, &err),
             err);
    tb_dims dims = dims_of(&bound->values[g->y[k]].shape);
    CHECK_OK(tb_graph_add_input(g->graph, &g->dy[k], name,
                                bound->values[g->y[k]].dtype, &dims, &err),
             err);
    tb_bind_free(&bound);
}

/* Adds dy as inputs and the backward nodes; their results are outputs. */
static void add_backward(case_graph *g, const op_case *c)
{
    bool wants[N_IN_MAX] = {false};
    const tb_op *op = NULL;
    tb_err err;
    for (size_t k = 0; k < n_out_of(c); k++) {
        if ((c->quiet >> k & 1) == 0) {
            add_dy(g, c, k);
        }
    }
    for (size_t i = 0; i < N_IN_MAX; i++) {
        wants[i] = is_drawn_float(&c->in[i]);
    }
    tb_grad grad = {.graph = g->graph,
                    .node = g->graph->nodes[g->node],
                    .dy = g->dy,
                    .wants = wants,
                    .dx = g->dx,
                    .err = &err};
    CHECK_OK(tb_op_of(&op, g->graph, grad.node, &err), err);
    CHECK_OK(tb_op_backward(&grad, op), err);
    for (size_t i = 0; i < N_IN_MAX; i++) {
        if (wants[i]) {
            CHECK_OK(tb_graph_add_output(g->graph, g->dx[i], &err), err);
        }
    }
}

/* Binds the graph of a case and draws all its inputs. */
static void start(graph_run *run, const case_graph *g, const op_case *c)
{
    tb_err err;
    CHECK_OK(graph_run_init(
                 run, g->graph,
                 &(tb_bind_options){.batch = 1, .training = c->training}, &err),
             err);
    for (size_t k = 0; k < n_out_of(c); k++) {
        if (g->dy[k] != TB_ID_NONE) {
            draw(&run->values[g->dy[k]], 5 + (unsigned)k, false);
        }
    }
    for (size_t i = 0; i < n_in_of(c); i++) {
        if (!c->in[i].omitted && c->in[i].data == NULL) {
            draw(&run->values[g->in[i]], (unsigned)i + 1, c->positive);
        }
    }
}

/* What `inspect` tells of a step: the gradient of what counts its operations
 * by its sizes takes about as many. */
static void check_flops(const graph_run *run, const case_graph *g,
                        const op_case *c)
{
    double forward = 0;
    double back = 0;
    bool by_size = false;
    for (size_t i = 0; i < run->bound->n_calls; i++) {
        const tb_call *call = &run->bound->calls[i];
        bool first = run->bound->call_nodes[i] == g->node;
        by_size = by_size || (first && call->op->flops != NULL);
        *(first ? &forward : &back) += tb_op_flops(call);
    }
    if (by_size && 2 * back < forward) {
        fail_msg("%s: the gradient of %g operations is said to take %g", c->op,
                 forward, back);
    }
}

static void check_gradient(const op_case *c)
{
    case_graph g = build(c);
    graph_run run;
    add_backward(&g, c);
    start(&run, &g, c);
    check_flops(&run, &g, c);
    for (size_t i = 0; i < n_in_of(c); i++) {
        if (g.dx[i] != TB_ID_NONE) {
            check_slopes(&run, &g, c, i);
        }
    }
    graph_run_release(&run);
    tb_graph_free(&g.graph);
}

static void every_gradient_is_the_slope(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        for (size_t k = 0; k < families[f]->n_grads; k++) {
            check_gradient(&families[f]->grads[k]);
        }
    }
    CHECK(tb_mem_live() == 0);
}

/* --- completeness --------------------------------------------------------- */

static const op_case *find_case(const tb_op *op, const op_case *cases, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        if (listed_op(op, &cases[k])) {
            return &cases[k];
        }
    }
    return NULL;
}

/* A case that the operator takes, or NULL. */
static const op_case *taken_case(const tb_op *op)
{
    const op_case *c = NULL;
    for (size_t f = 0; f < COUNT_OF(families) && c == NULL; f++) {
        c = find_case(op, families[f]->grads, families[f]->n_grads);
        if (c == NULL) {
            c = find_case(op, families[f]->plain, families[f]->n_plain);
        }
    }
    return c;
}

static bool has_gradient_case(const tb_op *op)
{
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        if (find_case(op, families[f]->grads, families[f]->n_grads) != NULL) {
            return true;
        }
        for (size_t k = 0; k < families[f]->n_straight_through; k++) {
            if (strcmp(op->name, families[f]->straight_through[k]) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool refuses_something(const tb_op *op)
{
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        if (find_case(op, families[f]->refused, families[f]->n_refused) !=
            NULL) {
            return true;
        }
    }
    /* These take anything. */
    return strcmp(op->name, "Identity") == 0 ||
           strcmp(op->name, "Shape") == 0 || strcmp(op->name, "Size") == 0;
}

static void every_operator_is_examined(void **state)
{
    (void)state;
    for (size_t i = 0; tb_op_list[i] != NULL; i++) {
        const tb_op *op = tb_op_list[i];
        CHECK((op->infer != NULL && op->run != NULL) != (op->expand != NULL));
        CHECK(op->in_min <= op->in_max);
        CHECK(op->out_min >= 1 && op->out_min <= op->out_max);
        if (strcmp(op->domain, TB_DOMAIN_GRAD) == 0 ||
            strcmp(op->domain, TB_DOMAIN_FUSED) == 0) {
            CHECK(op->backward == NULL);
            continue;
        }
        if (op->backward != NULL && !has_gradient_case(op)) {
            fail_msg("%s from opset %d: no gradient checked", op->name,
                     op->since);
        }
        if (op->backward == NULL && taken_case(op) == NULL) {
            fail_msg("%s from opset %d: no plain case", op->name, op->since);
        }
        if (!refuses_something(op)) {
            fail_msg("%s from opset %d: nothing refused", op->name, op->since);
        }
    }
}

static void two_operators_never_claim_the_same_name_and_opset(void **state)
{
    (void)state;
    for (size_t i = 0; tb_op_list[i] != NULL; i++) {
        for (size_t k = 0; k < i; k++) {
            const tb_op *a = tb_op_list[i];
            const tb_op *b = tb_op_list[k];
            CHECK(strcmp(a->name, b->name) != 0 ||
                  strcmp(a->domain, b->domain) != 0 || a->until < b->since ||
                  b->until < a->since);
        }
    }
}

/* --- refusals ------------------------------------------------------------- */

static void check_refused(const op_case *c, const char *what)
{
    case_graph g = build(c);
    tb_bound *bound = NULL;
    tb_err err = {0};
    tb_rc rc = tb_bind_new(
        &bound, g.graph,
        &(tb_bind_options){.batch = 1, .training = c->training}, &err);
    if (rc == TB_OK) {
        fail_msg("%s: %s was taken", c->op, what);
    }
    CHECK(tb_rc_fault(rc) == TB_FAULT_PEER);
    CHECK(strstr(err.text, c->op) != NULL);
    CHECK(strstr(err.text, "node") != NULL);
    tb_graph_free(&g.graph);
}

static void every_operator_refuses_what_it_cannot_take(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        for (size_t k = 0; k < families[f]->n_refused; k++) {
            char what[64];
            (void)snprintf(what, sizeof what, "refused case %zu of %s", k,
                           families[f]->name);
            check_refused(&families[f]->refused[k], what);
        }
    }
    CHECK(tb_mem_live() == 0);
}

static void
every_operator_refuses_element_types_that_it_does_not_list(void **state)
{
    static const union {
        double any[64];
    } zeros;
    (void)state;
    for (size_t i = 0; tb_op_list[i] != NULL; i++) {
        const tb_op *op = tb_op_list[i];
        const op_case *taken = op->types != 0 ? taken_case(op) : NULL;
        for (int d = 1; taken != NULL && d <= (int)TB_BF16; d++) {
            op_case c = *taken;
            if (tb_dtype_bytes((tb_dtype)d) == 0 ||
                tb_dtype_in((tb_dtype)d, op->types)) {
                continue;
            }
            op_input *in = &c.in[op->typed_by];
            in->dtype = (tb_dtype)d;
            if (in->data != NULL) { /* other bytes, if there are enough */
                in->data = zeros.any;
            }
            check_refused(&c, tb_dtype_name((tb_dtype)d));
        }
    }
}

/* --- memory --------------------------------------------------------------- */

/* Runs a call with out[0] laid over in[i]; the result must be want. */
static void check_in_place(tb_call *call, size_t i, const tb_tensor *want)
{
    tb_tensor copy;
    tb_tensor kept[32];
    tb_tensor out = call->out[0];
    tb_err err;
    CHECK(call->n_in <= COUNT_OF(kept));
    memcpy(kept, call->in, call->n_in * sizeof kept[0]);
    CHECK_OK(tb_tensor_copy(&copy, &call->in[i], &err), err);
    for (size_t k = 0; k < call->n_in; k++) { /* the same value twice */
        if (call->in[k].data == kept[i].data) {
            call->in[k].data = copy.data;
        }
    }
    call->out[0].data = copy.data;
    call->op->run(call);
    if (memcmp(copy.data, want->data, tb_tensor_bytes(want)) != 0) {
        fail_msg("%s: another result in place of input %zu", call->op->name, i);
    }
    memcpy(call->in, kept, call->n_in * sizeof kept[0]);
    call->out[0] = out;
    tb_tensor_release(&copy);
}

static void check_memory_hints(tb_call *call)
{
    tb_tensor want;
    tb_err err;
    if (call->out[0].data == NULL) { /* another output is the one wanted */
        return;
    }
    CHECK_OK(tb_tensor_copy(&want, &call->out[0], &err), err);
    if (call->view_of >= 0) {
        const tb_tensor *in = &call->in[call->view_of];
        CHECK(tb_tensor_bytes(in) == tb_tensor_bytes(&want));
        CHECK(memcmp(in->data, want.data, tb_tensor_bytes(in)) == 0);
        check_in_place(call, (size_t)call->view_of, &want);
    }
    for (size_t i = 0; i < call->n_in; i++) {
        if ((call->op->in_place >> i & 1) != 0 &&
            tb_tensor_bytes(&call->in[i]) == tb_tensor_bytes(&want)) {
            check_in_place(call, i, &want);
        }
        if ((call->op->shape_only >> i & 1) != 0) {
            void *data = call->in[i].data;
            call->in[i].data = NULL; /* not read: nothing to fall over */
            call->op->run(call);
            CHECK(memcmp(call->out[0].data, want.data,
                         tb_tensor_bytes(&want)) == 0);
            call->in[i].data = data;
        }
    }
    tb_tensor_release(&want);
}

static void check_memory(const op_case *c, bool backward)
{
    case_graph g = build(c);
    graph_run run;
    if (backward) {
        add_backward(&g, c);
    }
    start(&run, &g, c);
    graph_run_go(&run, &chance);
    for (size_t i = 0; i < run.bound->n_calls; i++) {
        check_memory_hints(&run.bound->calls[i]);
    }
    graph_run_release(&run);
    tb_graph_free(&g.graph);
}

static void memory_hints_are_true_forward_and_backward(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        for (size_t k = 0; k < families[f]->n_grads; k++) {
            check_memory(&families[f]->grads[k], true);
        }
        for (size_t k = 0; k < families[f]->n_plain; k++) {
            check_memory(&families[f]->plain[k], false);
        }
    }
    CHECK(tb_mem_live() == 0);
}

/* --- straight-through ----------------------------------------------------- */

/* x = -1 and 200 lie outside u8 at scale 0.5, zero 0: by hand. */
static void a_quantised_pair_passes_the_gradient_inside_its_range(void **state)
{
    static const float one_scale[] = {0.5f};
    static const op_case c = {.op = "QuantizeLinear",
                              .in = {F32(4), CONST(TB_F32, one_scale, 1)}};
    const float x[4] = {-1.0f, 0.25f, 127.5f, 200.0f};
    const uint8_t q[4] = {0, 0, 255, 255}; /* 0.5 goes to even */
    const float grad[4] = {1, 2, 3, 4};
    const float want[4] = {0, 2, 3, 0};
    case_graph g = build(&c);
    tb_value_id dy = TB_ID_NONE;
    tb_value_id dx[N_IN_MAX] = {TB_ID_NONE, TB_ID_NONE, TB_ID_NONE};
    const bool wants[N_IN_MAX] = {true, false, false};
    const tb_dims dims = {.rank = 1, .dim = {4}};
    graph_run run;
    tb_err err;
    (void)state;
    CHECK_OK(tb_graph_add_input(g.graph, &dy, "dy", TB_F32, &dims, &err), err);
    tb_grad grads_of = {.graph = g.graph,
                        .node = g.graph->nodes[g.node],
                        .dy = &dy,
                        .wants = wants,
                        .dx = dx,
                        .err = &err};
    CHECK_OK(tb_op_backward(&grads_of, tb_op_find("", "QuantizeLinear", 17)),
             err);
    CHECK_OK(tb_graph_add_output(g.graph, dx[0], &err), err);
    CHECK_OK(
        graph_run_init(&run, g.graph, &(tb_bind_options){.batch = 1}, &err),
        err);
    memcpy(run.values[g.in[0]].data, x, sizeof x);
    memcpy(run.values[dy].data, grad, sizeof grad);
    graph_run_go(&run, NULL);
    CHECK(memcmp(run.values[g.y[0]].data, q, sizeof q) == 0);
    CHECK(memcmp(run.values[dx[0]].data, want, sizeof want) == 0);
    graph_run_release(&run);
    tb_graph_free(&g.graph);
}

/* --- Dropout -------------------------------------------------------------- */

/* Kept share and scale of a mask at ratio 0.4 over many elements. */
static void dropout_keeps_its_share_and_changes_with_the_step(void **state)
{
    static const float ratio_40[] = {0.4f};
    static const op_case c = {.op = "Dropout",
                              .in = {F32(100000), CONST(TB_F32, ratio_40, 1)},
                              .training = true};
    case_graph g = build(&c);
    graph_run run;
    tb_err err;
    size_t kept[2] = {0, 0};
    size_t both = 0;
    (void)state;
    static uint8_t first[100000];
    CHECK_OK(graph_run_init(&run, g.graph,
                            &(tb_bind_options){.batch = 1, .training = true},
                            &err),
             err);
    float *x = run.values[g.in[0]].data;
    for (size_t i = 0; i < 100000; i++) {
        x[i] = 3;
    }
    for (size_t step = 0; step < 2; step++) {
        graph_run_go(&run, &(tb_chance){.key = 9, .step = step});
        const float *y = run.values[g.y[0]].data;
        for (size_t i = 0; i < 100000; i++) {
            CHECK(y[i] == 0 || fabsf(y[i] - 5) < 1e-5f); /* 3 / (1 - 0.4) */
            kept[step] += y[i] != 0;
            both += step == 1 && y[i] != 0 && first[i] != 0;
            first[i] = y[i] != 0;
        }
    }
    /* Expected 60,000 and 36,000; five standard deviations are about 800. */
    CHECK(kept[0] > 59200 && kept[0] < 60800);
    CHECK(kept[1] > 59200 && kept[1] < 60800);
    CHECK(both > 35200 && both < 36800);
    graph_run_release(&run);
    tb_graph_free(&g.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_is_examined),
        cmocka_unit_test(two_operators_never_claim_the_same_name_and_opset),
        cmocka_unit_test(every_gradient_is_the_slope),
        cmocka_unit_test(every_operator_refuses_what_it_cannot_take),
        cmocka_unit_test(
            every_operator_refuses_element_types_that_it_does_not_list),
        cmocka_unit_test(memory_hints_are_true_forward_and_backward),
        cmocka_unit_test(a_quantised_pair_passes_the_gradient_inside_its_range),
        cmocka_unit_test(dropout_keeps_its_share_and_changes_with_the_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
