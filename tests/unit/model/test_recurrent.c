/* LSTM, GRU and RNN against their equations as ONNX writes them, sample by
 * sample and step by step in double. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/stream.h"
#include "support/check.h"
#include "support/graph_run.h"

enum { I = 5, H = 37, BATCH = 7, STEPS = 6, GATES = 4, DIRS = 2 };

typedef struct variant {
    const char *op;
    const char *direction;
    int64_t layout;
    int64_t special; /* input_forget, linear_before_reset */
    float clip;
    bool lens;
    bool start; /* initial states, and peepholes for LSTM */
} variant;

static const variant variants[] = {
    {"LSTM", "forward", 0, 0, 0.0f, false, false},
    {"LSTM", "bidirectional", 0, 0, 0.0f, true, true},
    {"LSTM", "reverse", 1, 1, 0.5f, true, true},
    {"GRU", "forward", 0, 0, 0.0f, false, true},
    {"GRU", "bidirectional", 1, 1, 0.0f, true, true},
    {"GRU", "reverse", 0, 1, 0.4f, true, false},
    {"GRU", "bidirectional", 0, 0, 0.0f, true, true},
    {"RNN", "forward", 1, 0, 0.0f, false, true},
    {"RNN", "bidirectional", 0, 0, 0.3f, true, true},
};

static const int32_t lens[BATCH] = {6, 0, 1, 3, 6, 5, 2};

/* Everything that one variant is fed, as large as any needs it. */
typedef struct feed {
    float x[STEPS * BATCH * I];
    float w[DIRS * GATES * H * I];
    float r[DIRS * GATES * H * H];
    float b[DIRS * 2 * GATES * H];
    float h0[DIRS * BATCH * H];
    float c0[DIRS * BATCH * H];
    float p[DIRS * 3 * H];
} feed;

static feed data;

static void fill(float *x, size_t n, double size, uint64_t seed)
{
    tb_stream s;
    tb_stream_init(&s, seed, 0, "test", "");
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(size * (2 * tb_stream_uniform(&s) - 1));
    }
}

static size_t n_gates(const variant *v)
{
    return strcmp(v->op, "LSTM") == 0 ? 4 : strcmp(v->op, "GRU") == 0 ? 3 : 1;
}

static size_t n_dirs(const variant *v)
{
    return strcmp(v->direction, "bidirectional") == 0 ? 2 : 1;
}

/* --- the equations -------------------------------------------------------- */

typedef struct state {
    double h[H];
    double c[H];
} state;

static double bounded(const variant *v, double x)
{
    return v->clip > 0 ? fmax(fmin(x, (double)v->clip), -(double)v->clip) : x;
}

static double sigma(const variant *v, double x)
{
    return 1 / (1 + exp(-bounded(v, x)));
}

static double tang(const variant *v, double x)
{
    return tanh(bounded(v, x));
}

/* W x + W_b of gate g, element j. */
static double from_x(const variant *v, size_t d, const float *x, size_t g,
                     size_t j)
{
    size_t row = (d * n_gates(v) + g) * H + j;
    double sum = (double)data.b[d * 2 * n_gates(v) * H + g * H + j];
    for (size_t i = 0; i < I; i++) {
        sum += (double)data.w[row * I + i] * (double)x[i];
    }
    return sum;
}

/* R h + R_b of gate g, element j. */
static double from_h(const variant *v, size_t d, const double *h, size_t g,
                     size_t j)
{
    size_t n = n_gates(v);
    double sum = (double)data.b[(d * 2 * n + n + g) * H + j];
    for (size_t i = 0; i < H; i++) {
        sum += (double)data.r[((d * n + g) * H + j) * H + i] * h[i];
    }
    return sum;
}

static double peephole(const variant *v, size_t d, size_t which, size_t j,
                       double c)
{
    return v->start ? (double)data.p[(d * 3 + which) * H + j] * c : 0;
}

static void step_lstm(const variant *v, size_t d, const float *x, state *s)
{
    state next;
    for (size_t j = 0; j < H; j++) {
        double in[4];
        for (size_t g = 0; g < 4; g++) {
            in[g] = from_x(v, d, x, g, j) + from_h(v, d, s->h, g, j);
        }
        double c = s->c[j];
        double i = sigma(v, in[0] + peephole(v, d, 0, j, c));
        double f = sigma(v, in[2] + peephole(v, d, 2, j, c));
        f = v->special != 0 ? 1 - i : f;
        next.c[j] = f * c + i * tang(v, in[3]);
        double o = sigma(v, in[1] + peephole(v, d, 1, j, next.c[j]));
        next.h[j] = o * tang(v, next.c[j]);
    }
    *s = next;
}

static void step_gru(const variant *v, size_t d, const float *x, state *s)
{
    state next = *s;
    double r[H];
    double rh[H];
    for (size_t j = 0; j < H; j++) {
        r[j] = sigma(v, from_x(v, d, x, 1, j) + from_h(v, d, s->h, 1, j));
        rh[j] = r[j] * s->h[j];
    }
    for (size_t j = 0; j < H; j++) {
        double z = sigma(v, from_x(v, d, x, 0, j) + from_h(v, d, s->h, 0, j));
        double n = v->special != 0 ? r[j] * from_h(v, d, s->h, 2, j)
                                   : from_h(v, d, rh, 2, j);
        n = tang(v, from_x(v, d, x, 2, j) + n);
        next.h[j] = (1 - z) * n + z * s->h[j];
    }
    *s = next;
}

static void step_rnn(const variant *v, size_t d, const float *x, state *s)
{
    state next = *s;
    for (size_t j = 0; j < H; j++) {
        next.h[j] = tang(v, from_x(v, d, x, 0, j) + from_h(v, d, s->h, 0, j));
    }
    *s = next;
}

/* --- the comparison ------------------------------------------------------- */

static tb_value_id add(tb_graph *g, const char *name, tb_dtype type,
                       const tb_shape *shape, const void *values)
{
    tb_err err;
    tb_value_id id = TB_ID_NONE;
    tb_tensor t = tb_tensor_view(type, shape, (void *)(uintptr_t)values);
    CHECK_OK(tb_graph_add_data(g, &id, name, TB_ROLE_PARAM, &t, &err), err);
    return id;
}

static size_t list_attrs(const variant *v, tb_attr attrs[4])
{
    attrs[0] = (tb_attr){
        .name = "direction", .kind = TB_ATTR_STRING, .s = v->direction};
    attrs[1] = TB_ATTR_I("layout", v->layout);
    attrs[2] = TB_ATTR_F("clip", v->clip);
    attrs[3] = TB_ATTR_I(
        n_gates(v) == 4 ? "input_forget" : "linear_before_reset", v->special);
    return n_gates(v) == 1 ? 3 : 4;
}

static tb_graph *new_graph(const variant *v)
{
    size_t g = n_gates(v);
    size_t d = n_dirs(v);
    bool first = v->layout != 0;
    tb_shape edge = first ? TB_SHAPE(BATCH, d, H) : TB_SHAPE(d, BATCH, H);
    tb_shape x = first ? TB_SHAPE(BATCH, STEPS, I) : TB_SHAPE(STEPS, BATCH, I);
    tb_graph *graph = NULL;
    tb_attr attrs[4];
    tb_value_id in[8];
    tb_value_id out[3];
    tb_err err;
    CHECK_OK(tb_graph_new(&graph, "recurrent", 17, &err), err);
    for (size_t i = 0; i < 8; i++) {
        in[i] = TB_ID_NONE;
    }
    in[0] = add(graph, "X", TB_F32, &x, data.x);
    in[1] = add(graph, "W", TB_F32, &TB_SHAPE(d, g * H, I), data.w);
    in[2] = add(graph, "R", TB_F32, &TB_SHAPE(d, g * H, H), data.r);
    in[3] = add(graph, "B", TB_F32, &TB_SHAPE(d, 2 * g * H), data.b);
    if (v->lens) {
        in[4] = add(graph, "lens", TB_I32, &TB_SHAPE(BATCH), lens);
    }
    if (v->start) {
        in[5] = add(graph, "h0", TB_F32, &edge, data.h0);
        in[6] = add(graph, "c0", TB_F32, &edge, data.c0);
        in[7] = add(graph, "P", TB_F32, &TB_SHAPE(d, 3 * H), data.p);
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK_OK(tb_graph_add_temp(graph, &out[i], NULL, "y", &err), err);
    }
    size_t n_out = g == 4 ? 3 : 2;
    const tb_node_spec spec = {.op = v->op,
                               .attrs = attrs,
                               .n_attrs = list_attrs(v, attrs),
                               .in = in,
                               .n_in = g == 4 ? 8 : 6,
                               .out = out,
                               .n_out = n_out};
    CHECK_OK(tb_graph_add_node(graph, NULL, &spec, &err), err);
    for (size_t i = 0; i < n_out; i++) {
        CHECK_OK(tb_graph_add_output(graph, out[i], &err), err);
    }
    return graph;
}

static void check_row(const tb_tensor *got, size_t at, const double *want)
{
    const float *y = (const float *)got->data + at;
    for (size_t j = 0; j < H; j++) {
        CHECK(fabs((double)y[j] - (want == NULL ? 0 : want[j])) <= 2e-6);
    }
}

/* Where X, Y and the ends of sample b lie. */
static size_t x_row(const variant *v, size_t t, size_t b)
{
    return v->layout != 0 ? b * STEPS + t : t * BATCH + b;
}

static size_t y_row(const variant *v, size_t t, size_t d, size_t b)
{
    return v->layout != 0 ? (b * STEPS + t) * n_dirs(v) + d
                          : (t * n_dirs(v) + d) * BATCH + b;
}

static size_t edge_row(const variant *v, size_t d, size_t b)
{
    return v->layout != 0 ? b * n_dirs(v) + d : d * BATCH + b;
}

/* One sample in one direction; of reverse ones only its own steps count. */
static void check_sample(const variant *v, const tb_tensor *const out[3],
                         size_t d, size_t b)
{
    state s = {{0}, {0}};
    size_t edge = edge_row(v, d, b) * H;
    size_t n = v->lens ? (size_t)lens[b] : STEPS;
    bool reverse = d == 1 || strcmp(v->direction, "reverse") == 0;
    for (size_t j = 0; v->start && j < H; j++) {
        s.h[j] = (double)data.h0[edge + j];
        s.c[j] = (double)data.c0[edge + j];
    }
    for (size_t i = 0; i < n; i++) {
        size_t t = reverse ? n - 1 - i : i;
        const float *x = data.x + x_row(v, t, b) * I;
        if (n_gates(v) == 4) {
            step_lstm(v, d, x, &s);
        } else if (n_gates(v) == 3) {
            step_gru(v, d, x, &s);
        } else {
            step_rnn(v, d, x, &s);
        }
        check_row(out[0], y_row(v, t, d, b) * H, s.h);
    }
    for (size_t t = n; t < STEPS; t++) {
        check_row(out[0], y_row(v, t, d, b) * H, NULL);
    }
    check_row(out[1], edge, s.h);
    if (n_gates(v) == 4) {
        check_row(out[2], edge, s.c);
    }
}

static void every_variant_follows_its_equations(void **unused)
{
    (void)unused;
    fill(data.x, sizeof data.x / sizeof(float), 1.0, 1);
    fill(data.w, sizeof data.w / sizeof(float), 0.5, 2);
    fill(data.r, sizeof data.r / sizeof(float), 0.3, 3);
    fill(data.b, sizeof data.b / sizeof(float), 0.5, 4);
    fill(data.h0, sizeof data.h0 / sizeof(float), 1.0, 5);
    fill(data.c0, sizeof data.c0 / sizeof(float), 1.0, 6);
    fill(data.p, sizeof data.p / sizeof(float), 0.5, 7);
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        const variant *v = &variants[i];
        const tb_tensor *out[3] = {NULL};
        graph_run run;
        tb_err err;
        tb_graph *graph = new_graph(v);
        CHECK_OK(
            graph_run_init(&run, graph, &(tb_bind_options){.batch = 1}, &err),
            err);
        graph_run_go(&run, NULL);
        for (size_t k = 0; k < graph->n_outputs; k++) {
            out[k] = &run.values[graph->outputs[k]];
        }
        for (size_t k = 0; k < n_dirs(v) * BATCH; k++) {
            check_sample(v, out, k / BATCH, k % BATCH);
        }
        graph_run_release(&run);
        tb_graph_free(&graph);
    }
    CHECK(tb_mem_live() == 0);
}

static void a_length_over_the_steps_is_a_fault(void **unused)
{
    (void)unused;
    static const variant v = {"GRU", "forward", 0, 0, 0.0f, true, false};
    tb_data_fault fault = {0};
    graph_run run;
    tb_err err;
    tb_graph *graph = new_graph(&v);
    int32_t *n = tb_graph_value(graph, tb_graph_find(graph, "lens"))->data.data;
    n[3] = STEPS + 1;
    CHECK_OK(graph_run_init(&run, graph, &(tb_bind_options){.batch = 1}, &err),
             err);
    run.bound->calls[0].fault = &fault;
    graph_run_go(&run, NULL);
    CHECK(fault.call != NULL && fault.value == STEPS + 1);
    graph_run_release(&run);
    tb_graph_free(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_follows_its_equations),
        cmocka_unit_test(a_length_over_the_steps_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
