/* No operator may be led astray by a file: each contract case (ops/) is spoilt
 * in one place after another - attributes, constant operands, extents, ranks,
 * element types - and bound; what is still accepted is run, on hostile data
 * too, forward and with its gradient. Either an error or a result, in bounded
 * memory. Sanitizers watch the rest. */
#include "support/check.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "contract/ops/cases.h"
#include "support/bounded.h"

#define VALUE_BYTES  ((size_t)1 << 20) /* of one value of a hostile case */
#define PLAN_BYTES   ((size_t)4 << 20)
#define BOUND_BYTES  ((size_t)10 << 20) /* what binding and a run may take */
#define RUN_WORK_MAX 3e6
#define LIST_MAX     64

static const op_family *const families[] = {
#define FAMILY(name) &family_##name,
#include "contract/ops/families.def"
#undef FAMILY
};

static const int64_t evil[] = {INT64_MIN,
                               -((int64_t)1 << 40),
                               -3,
                               -1,
                               0,
                               1,
                               7,
                               255,
                               65536,
                               (int64_t)1 << 31,
                               (int64_t)1 << 40,
                               (int64_t)1 << 60,
                               INT64_MAX};
static const double evil_reals[] = {-1,       0,         1e-45, 3e38,
                                    INFINITY, -INFINITY, NAN};
static const size_t evil_extents[] = {
    0, 1, 5, 4096, (size_t)1 << 31, (size_t)1 << 40, (size_t)1 << 62};

static size_t n_bound, n_run, n_backward; /* how many cases came so far */

/* --- a graph of one case -------------------------------------------------- */

static tb_rc add_input(tb_graph *graph, tb_value_id *id, const op_input *in,
                       size_t i)
{
    const char name[] = {'x', (char)('0' + i), '\0'};
    tb_dims dims = {.rank = (int)in->shape.rank};
    *id = TB_ID_NONE;
    for (size_t k = 0; k < in->shape.rank; k++) {
        dims.dim[k] = (int64_t)in->shape.dim[k];
    }
    if (in->omitted) {
        return TB_OK;
    }
    if (in->data == NULL) {
        return tb_graph_add_input(graph, id, name, in->dtype, &dims, NULL);
    }
    tb_tensor data =
        tb_tensor_view(in->dtype, &in->shape, (void *)(uintptr_t)in->data);
    return tb_graph_add_data(graph, id, name, TB_ROLE_CONST, &data, NULL);
}

typedef struct case_graph {
    tb_graph *graph;
    tb_node_id node;
    size_t n_out;
    tb_value_id out[N_OUT_MAX];
} case_graph;

static case_graph build(const op_case *c)
{
    case_graph g = {.n_out = c->n_out > 0 ? c->n_out : 1};
    tb_err err;
    tb_value_id in[N_IN_MAX];
    tb_node_spec spec = {.name = "node",
                         .domain = c->domain,
                         .op = c->op,
                         .attrs = c->attrs,
                         .in = in,
                         .out = g.out,
                         .n_out = g.n_out};
    CHECK_OK(tb_graph_new(&g.graph, "case", c->opset > 0 ? c->opset : 17, &err),
             err);
    while (spec.n_attrs < N_ATTRS_MAX && c->attrs[spec.n_attrs].name != NULL) {
        spec.n_attrs++;
    }
    while (spec.n_in < N_IN_MAX && (c->in[spec.n_in].dtype != TB_DTYPE_NONE ||
                                    c->in[spec.n_in].omitted)) {
        CHECK(add_input(g.graph, &in[spec.n_in], &c->in[spec.n_in],
                        spec.n_in) == TB_OK);
        spec.n_in++;
    }
    for (size_t i = 0; i < g.n_out; i++) {
        CHECK_OK(tb_graph_add_temp(g.graph, &g.out[i], NULL, "y", &err), err);
    }
    CHECK_OK(tb_graph_add_node(g.graph, &g.node, &spec, &err), err);
    for (size_t i = 0; i < g.n_out; i++) {
        CHECK_OK(tb_graph_add_output(g.graph, g.out[i], &err), err);
    }
    return g;
}

/* --- one attack ----------------------------------------------------------- */

/* A gradient for each float output as inputs of the graph, the backward nodes,
 * and what they make as outputs. Errors: as backward functions have them. */
static tb_rc add_backward(case_graph *g, const op_case *c,
                          const tb_bind_options *how, tb_err *err)
{
    tb_value_id dy[N_OUT_MAX];
    tb_value_id dx[N_IN_MAX];
    bool wants[N_IN_MAX];
    const tb_op *op = NULL;
    tb_bound *bound = NULL;
    tb_rc rc = tb_bind_new(&bound, g->graph, how, err);
    for (size_t k = 0; rc == TB_OK && k < g->n_out; k++) {
        const char name[] = {'d', 'y', (char)('0' + k), '\0'};
        const tb_tensor *y = &bound->values[g->out[k]];
        tb_dims dims = {.rank = (int)y->shape.rank};
        for (size_t d = 0; d < y->shape.rank; d++) {
            dims.dim[d] = (int64_t)y->shape.dim[d];
        }
        dy[k] = TB_ID_NONE;
        if (y->dtype == TB_F32 && (c->quiet >> k & 1) == 0) {
            rc = tb_graph_add_input(g->graph, &dy[k], name, TB_F32, &dims, err);
        }
    }
    tb_bind_free(&bound);
    for (size_t i = 0; i < N_IN_MAX; i++) {
        dx[i] = TB_ID_NONE;
        wants[i] = c->in[i].dtype == TB_F32 && c->in[i].data == NULL;
    }
    tb_grad grad = {.graph = g->graph,
                    .node = g->graph->nodes[g->node],
                    .dy = dy,
                    .wants = wants,
                    .dx = dx,
                    .err = err};
    if (rc == TB_OK) {
        rc = tb_op_of(&op, g->graph, grad.node, err);
    }
    if (rc == TB_OK) {
        rc = tb_op_backward(&grad, op);
    }
    for (size_t i = 0; rc == TB_OK && i < N_IN_MAX; i++) {
        if (dx[i] != TB_ID_NONE && !tb_graph_is_output(g->graph, dx[i]) &&
            g->graph->values[dx[i]]->producer != TB_ID_NONE) {
            rc = tb_graph_add_output(g->graph, dx[i], err);
        }
    }
    return rc;
}

static void check_answer(const op_case *c, tb_rc rc, const tb_err *err,
                         size_t before)
{
    if (tb_mem_peak_bytes() - before > BOUND_BYTES) {
        fail_msg("%s: it took %zu bytes", c->op, tb_mem_peak_bytes() - before);
    }
    if (rc != TB_OK && tb_rc_fault(rc) != TB_FAULT_PEER) {
        fail_msg("%s: %s: %s", c->op, tb_rc_name(rc), err->text);
    }
}

static void attack(const op_case *c, bool training)
{
    static const bounds most = {VALUE_BYTES, PLAN_BYTES, RUN_WORK_MAX};
    case_graph g = build(c);
    tb_err err = {0};
    const tb_bind_options options = {
        .batch = 1, .training = training, .max_bytes = VALUE_BYTES};
    size_t before = tb_mem_bytes();
    size_t ran = n_run;
    n_bound++;
    tb_mem_peak_reset();
    tb_rc rc = bounded_try(g.graph, &options, &most, &n_run, &err);
    check_answer(c, rc, &err, before);
    if (training && n_run > ran) {
        rc = add_backward(&g, c, &options, &err);
        if (rc == TB_OK) {
            rc = bounded_try(g.graph, &options, &most, &n_backward, &err);
        }
        check_answer(c, rc, &err, before);
    }
    tb_graph_free(&g.graph);
}

/* The case as it stands, bound for inference and for training. */
static void attack_both(const op_case *c)
{
    attack(c, false);
    attack(c, true);
}

/* --- what is spoilt ------------------------------------------------------- */

static void spoil_ints(const op_case *c, size_t k)
{
    int64_t ints[LIST_MAX] = {0};
    op_case bad = *c;
    size_t n = c->attrs[k].n < LIST_MAX ? c->attrs[k].n : LIST_MAX;
    bad.attrs[k].ints = ints;
    for (size_t j = 0; j < n; j++) {
        for (size_t e = 0; e < COUNT_OF(evil); e++) {
            memcpy(ints, c->attrs[k].ints, n * sizeof ints[0]);
            ints[j] = evil[e];
            attack_both(&bad);
        }
    }
    for (size_t e = 0; e < COUNT_OF(evil); e++) {
        for (size_t j = 0; j < LIST_MAX; j++) {
            ints[j] = evil[e];
        }
        static const size_t lengths[] = {0, 1, 2, 3, 4, 9, LIST_MAX};
        for (size_t j = 0; j < COUNT_OF(lengths); j++) {
            bad.attrs[k].n = lengths[j];
            attack_both(&bad);
        }
    }
}

static void spoil_attrs(const op_case *c)
{
    static const char *const texts[] = {
        "",        "SAME_UPPER",    "VALID",   "x%s%n",
        "forward", "bidirectional", "constant"};
    for (size_t k = 0; k < N_ATTRS_MAX && c->attrs[k].name != NULL; k++) {
        op_case bad = *c;
        if (c->attrs[k].kind == TB_ATTR_INTS) {
            spoil_ints(c, k);
        }
        for (size_t e = 0;
             c->attrs[k].kind == TB_ATTR_INT && e < COUNT_OF(evil); e++) {
            bad.attrs[k].i = evil[e];
            attack_both(&bad);
        }
        for (size_t e = 0;
             c->attrs[k].kind == TB_ATTR_FLOAT && e < COUNT_OF(evil_reals);
             e++) {
            bad.attrs[k].f = (float)evil_reals[e];
            attack_both(&bad);
        }
        for (size_t e = 0;
             c->attrs[k].kind == TB_ATTR_STRING && e < COUNT_OF(texts); e++) {
            bad.attrs[k].s = texts[e];
            attack_both(&bad);
        }
    }
}

/* Each attribute that the operator knows and the case does not give. */
static void add_attrs(const op_case *c)
{
    const tb_op *op = tb_op_find(c->domain != NULL ? c->domain : TB_DOMAIN_ONNX,
                                 c->op, c->opset > 0 ? c->opset : 17);
    size_t n = 0;
    while (n < N_ATTRS_MAX && c->attrs[n].name != NULL) {
        n++;
    }
    for (size_t i = 0; op != NULL && n < N_ATTRS_MAX && i < op->n_attrs; i++) {
        int64_t ints[LIST_MAX];
        op_case bad = *c;
        bad.attrs[n] = (tb_attr){.name = op->attrs[i].name,
                                 .kind = op->attrs[i].kind,
                                 .s = "",
                                 .ints = ints};
        for (size_t e = 0; e < COUNT_OF(evil); e++) {
            for (size_t j = 0; j < LIST_MAX; j++) {
                ints[j] = evil[e];
            }
            bad.attrs[n].i = evil[e];
            bad.attrs[n].f = (float)evil[e];
            bad.attrs[n].n = op->attrs[i].kind == TB_ATTR_INTS ? e % 5 : 0;
            attack_both(&bad);
        }
    }
}

static void spoil_constant(const op_case *c, size_t i)
{
    uint64_t bytes[256];
    op_case bad = *c;
    tb_tensor t = tb_tensor_view(c->in[i].dtype, &c->in[i].shape, bytes);
    size_t n = tb_tensor_count(&t);
    if (tb_tensor_bytes(&t) > sizeof bytes) {
        return;
    }
    bad.in[i].data = bytes;
    for (size_t j = 0; j < n && j < LIST_MAX; j++) {
        for (size_t e = 0; e < COUNT_OF(evil); e++) {
            memcpy(bytes, c->in[i].data, tb_tensor_bytes(&t));
            if (tb_dtype_in(t.dtype, TB_TYPES_FLOAT)) {
                tb_tensor_put_f64(&t, j, evil_reals[e % COUNT_OF(evil_reals)]);
            } else if (t.dtype != TB_BOOL) {
                tb_tensor_put_i64(&t, j, evil[e]);
            }
            attack_both(&bad);
        }
    }
}

static void spoil_shape(const op_case *c, size_t i)
{
    const tb_shape *shape = &c->in[i].shape;
    op_case bad = *c;
    for (size_t d = 0; d < shape->rank; d++) {
        for (size_t e = 0; e < COUNT_OF(evil_extents); e++) {
            bad.in[i].shape = *shape;
            bad.in[i].shape.dim[d] = evil_extents[e];
            attack_both(&bad);
        }
    }
    for (size_t rank = 0; rank <= TB_RANK_MAX; rank++) {
        bad.in[i].shape = *shape;
        bad.in[i].shape.rank = rank;
        for (size_t d = shape->rank; d < rank; d++) {
            bad.in[i].shape.dim[d] = 2;
        }
        attack_both(&bad);
    }
}

static void spoil_inputs(const op_case *c)
{
    for (size_t i = 0;
         i < N_IN_MAX && (c->in[i].dtype != TB_DTYPE_NONE || c->in[i].omitted);
         i++) {
        op_case bad = *c;
        if (c->in[i].data != NULL) {
            spoil_constant(c, i);
        } else if (!c->in[i].omitted) {
            spoil_shape(c, i);
        }
        for (int type = TB_F32; type <= TB_BF16; type++) {
            if (tb_dtype_bytes((tb_dtype)type) == 0 || c->in[i].omitted) {
                continue;
            }
            bad.in[i] =
                (op_input){.dtype = (tb_dtype)type, .shape = c->in[i].shape};
            attack_both(&bad); /* also: what was constant is no more */
        }
        bad.in[i] = (op_input){.omitted = true};
        attack_both(&bad);
    }
}

static void spoil_all(const op_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        attack_both(&cases[i]);
        spoil_attrs(&cases[i]);
        add_attrs(&cases[i]);
        spoil_inputs(&cases[i]);
    }
}

static void every_operator_stands_what_a_file_may_say(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        size_t bound = n_bound;
        size_t ran = n_run;
        spoil_all(families[f]->grads, families[f]->n_grads);
        spoil_all(families[f]->plain, families[f]->n_plain);
        spoil_all(families[f]->refused, families[f]->n_refused);
        print_message("%s: %zu spoilt, %zu of them run\n", families[f]->name,
                      n_bound - bound, n_run - ran);
        CHECK(n_run > ran);
    }
    print_message("%zu with their gradient\n", n_backward);
    CHECK(n_backward > 0 && tb_mem_live() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_stands_what_a_file_may_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
