/* Losses, optimisers, clipping and schedules against PyTorch's numbers, which
 * tests/golden/train/make_parts.py made; and how a head reads a model's end. */
#include <math.h>

#include "support/golden.h"
#include "support/mlp.h"
#include "train/clip.h"
#include "train/head.h"
#include "train/optimiser.h"
#include "train/schedule.h"

/* --- losses --------------------------------------------------------------- */

enum { ROWS = 6, COLS = 4, N_OUT = ROWS * COLS, N_CASES = 13 };

/* What losses.f32 begins with. */
typedef struct inputs {
    float out[N_OUT];
    float label[ROWS];
    float some[ROWS]; /* labels, and -100 */
    float value[N_OUT];
    float bit[N_OUT];
    float weight[COLS];
    float ones[COLS];
} inputs;

typedef struct loss_case {
    const char *loss;
    bool some;     /* labels from `some`, which are ignored where -100 */
    bool weighted; /* class weights, or weights of ones */
    bool apart;    /* [2, 4, 3] instead of [6, 4] */
    double smoothing, delta;
} loss_case;

static const loss_case cases[N_CASES] = {
    {.loss = "softmax_cross_entropy"},
    {.loss = "softmax_cross_entropy", .weighted = true},
    {.loss = "softmax_cross_entropy", .smoothing = 0.1},
    {.loss = "softmax_cross_entropy", .some = true},
    {.loss = "softmax_cross_entropy",
     .some = true,
     .weighted = true,
     .smoothing = 0.2},
    {.loss = "softmax_cross_entropy",
     .some = true,
     .weighted = true,
     .smoothing = 0.2,
     .apart = true},
    {.loss = "softmax_cross_entropy", .apart = true},
    {.loss = "bce_with_logits"},
    {.loss = "bce_with_logits", .weighted = true},
    {.loss = "mse"},
    {.loss = "l1"},
    {.loss = "huber"},
    {.loss = "huber", .delta = 0.3},
};

static void check_loss(const loss_case *c, const inputs *in, const float *want)
{
    tb_err err;
    int32_t label[ROWS];
    float grad[N_OUT];
    tb_score score = {0};
    const tb_loss *loss = tb_loss_find(c->loss);
    bool classes = loss->target == TB_TARGET_CLASS;
    for (size_t i = 0; i < ROWS; i++) {
        label[i] = (int32_t)(c->some ? in->some[i] : in->label[i]);
    }
    tb_loss_options options = {.delta = c->delta,
                               .smoothing = c->smoothing,
                               .ignores = c->some,
                               .ignore = -100};
    if (c->weighted && classes) {
        options.class_weight = in->weight;
        options.n_class_weight = COLS;
    } else if (c->weighted) {
        options.pos_weight = in->ones;
        options.n_pos_weight = COLS;
    }
    const void *values = c->loss[0] == 'b' ? in->bit : in->value;
    tb_loss_batch b = {.out = in->out,
                       .y = classes ? label : values,
                       .n_rows = c->apart ? 2 : ROWS,
                       .n_padded = c->apart ? 2 : ROWS,
                       .layout = {.n_cols = COLS,
                                  .n_labels = c->apart ? 3 : 1,
                                  .class_first = c->apart},
                       .options = &options,
                       .grad = grad};
    CHECK_OK(tb_loss_options_check(loss, &options, COLS, &err), err);
    CHECK_OK(loss->check(&b, &err), err);
    loss->run(&b, &score);
    double mean = (double)want[0];
    CHECK(fabs(tb_score_loss(&score) - mean) <= 1e-6 * (1.0 + mean));
    for (size_t i = 0; i < N_OUT; i++) {
        CHECK(fabsf(grad[i] - want[1 + i]) <= 1e-6f);
    }
    if (classes) {
        assert_int_equal(score.n_counted, c->some ? 4 : 6);
    }
}

static void losses_and_their_gradients_are_those_of_pytorch(void **state)
{
    (void)state;
    const size_t n_in = sizeof(inputs) / sizeof(float);
    float *golden = tb_test_golden("losses", n_in + N_CASES * (1 + N_OUT));
    inputs in;
    memcpy(&in, golden, sizeof in);
    for (size_t i = 0; i < N_CASES; i++) {
        check_loss(&cases[i], &in, golden + n_in + i * (1 + N_OUT));
    }
    tb_mem_free(golden);
}

/* Labels 1 and 0 of two rows [2 labels, 2 classes], all ignored. */
static void a_batch_of_ignored_labels_moves_nothing(void **state)
{
    (void)state;
    const float out[4] = {1.0f, 2.0f, 3.0f, 4.0f};
    const int32_t label[2] = {-7, -7};
    float grad[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    tb_score score = {0};
    const tb_loss_options options = {.ignores = true, .ignore = -7};
    const tb_loss *loss = tb_loss_find("softmax_cross_entropy");
    tb_loss_batch b = {.out = out,
                       .y = label,
                       .n_rows = 2,
                       .n_padded = 2,
                       .layout = {.n_cols = 2},
                       .options = &options,
                       .grad = grad};
    CHECK_OK(loss->check(&b, NULL), (tb_err){0});
    loss->run(&b, &score);
    for (size_t i = 0; i < 4; i++) {
        CHECK(grad[i] == 0.0f);
    }
    CHECK(score.n_rows == 2 && score.n_counted == 0 && score.weight == 0.0);
    CHECK(isnan(tb_score_loss(&score)) && isnan(tb_score_accuracy(&score)));
}

static void numbers_of_another_loss_are_refused(void **state)
{
    (void)state;
    static const float w[2] = {1.0f, -1.0f};
    static const float zero[2] = {0.0f, 0.0f};
    static const struct {
        const char *loss;
        tb_loss_options options;
        const char *says;
    } rows[] = {
        {"mse", {.smoothing = 0.1}, "not to mse"},
        {"mse", {.ignores = true}, "not to mse"},
        {"mse", {.delta = 1.0}, "not to mse"},
        {"huber", {.delta = -1.0}, "over 0"},
        {"huber", {.delta = NAN}, "over 0"},
        {"softmax_cross_entropy", {.smoothing = 1.0}, "[0, 1)"},
        {"softmax_cross_entropy",
         {.class_weight = w, .n_class_weight = 2},
         "weight 1 is -1"},
        {"softmax_cross_entropy",
         {.class_weight = zero, .n_class_weight = 2},
         "nothing counts"},
        {"softmax_cross_entropy",
         {.class_weight = w, .n_class_weight = 1},
         "1 class weights for 2"},
        {"softmax_cross_entropy",
         {.pos_weight = w, .n_pos_weight = 2},
         "not to softmax_cross_entropy"},
        {"bce_with_logits",
         {.pos_weight = w, .n_pos_weight = 2},
         "targets 1 is -1"},
        {"bce_with_logits", {.pos_weight = w, .n_pos_weight = 3}, "for 2"},
    };
    tb_err err;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_ERR(tb_loss_options_check(tb_loss_find(rows[i].loss),
                                        &rows[i].options, 2, &err),
                  TB_E_USAGE, err, rows[i].says);
    }
}

/* --- the end of a model --------------------------------------------------- */

static tb_rc layout_of(tb_loss_layout *l, const tb_shape *out, size_t n_labels,
                       const tb_graph *g, tb_err *err)
{
    tb_shape rows = TB_SHAPE(8, 3);
    tb_tensor in = tb_tensor_view(TB_F32, &rows, NULL);
    tb_tensor y = tb_tensor_view(TB_F32, out, NULL);
    const tb_head_ends ends = {&in, &y};
    return tb_head_layout(l, g, tb_loss_find("softmax_cross_entropy"), n_labels,
                          &ends, err);
}

static void labels_find_their_classes_by_the_shape_of_the_output(void **state)
{
    (void)state;
    static const size_t width[] = {3, 4};
    static const char *const none[] = {NULL};
    const tb_test_mlp net = {width, 1, none};
    const struct {
        tb_shape out;
        size_t n_labels;
        size_t n_cols; /* 0: refused */
        bool class_first;
    } rows[] = {
        {TB_SHAPE(8, 10), 1, 10, false},
        {TB_SHAPE(8, 10), 0, 10, false},
        {TB_SHAPE(8, 5, 2), 1, 10, false},
        {TB_SHAPE(8, 5, 2), 5, 2, false},
        {TB_SHAPE(8, 5, 2), 2, 5, true},
        {TB_SHAPE(8, 5, 5), 5, 5, false},
        {TB_SHAPE(8, 3, 6, 7), 42, 3, true},
        {TB_SHAPE(8, 6, 7, 3), 42, 3, false},
        {TB_SHAPE(8, 4, 4, 4), 16, 4, true},
        {TB_SHAPE(8, 10), 10, 0, false},
        {TB_SHAPE(8, 5, 2), 3, 0, false},
    };
    tb_err err;
    tb_graph *g = tb_test_mlp_new(&net, 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tb_loss_layout l = {0};
        tb_rc rc = layout_of(&l, &rows[i].out, rows[i].n_labels, g, &err);
        if (rows[i].n_cols == 0) {
            CHECK_ERR(rc, TB_E_MISMATCH, err, "labels a row");
            continue;
        }
        CHECK_OK(rc, err);
        assert_int_equal(l.n_cols, rows[i].n_cols);
        CHECK(l.class_first == rows[i].class_first);
    }
    tb_graph_free(&g);
}

static void a_softmax_says_which_axis_has_the_classes(void **state)
{
    (void)state;
    static const size_t width[] = {3, 4};
    static const char *const none[] = {NULL};
    const tb_test_mlp net = {width, 1, none};
    for (int64_t axis = -2; axis <= 2; axis++) {
        tb_err err;
        tb_loss_layout l;
        tb_graph *head = NULL;
        tb_graph *g = tb_test_mlp_new(&net, 1);
        const tb_attr attr = TB_ATTR_I("axis", axis);
        tb_value_id logits = g->outputs[0];
        tb_value_id y = TB_ID_NONE;
        tb_node_spec softmax = {.op = axis == 1 ? "LogSoftmax" : "Softmax",
                                .attrs = &attr,
                                .n_attrs = 1,
                                .in = &logits,
                                .n_in = 1};
        CHECK_OK(tb_graph_apply(g, &y, &softmax, &err), err);
        tb_graph_set_output(g, 0, y);
        tb_rc rc = layout_of(&l, &TB_SHAPE(8, 5, 5), 5, g, &err);
        if (axis == 0) {
            CHECK_ERR(rc, TB_E_MISMATCH, err, "runs over axis 0");
        } else {
            CHECK_OK(rc, err);
            CHECK(l.class_first == (axis == 1 || axis == -2));
        }
        CHECK_OK(
            tb_head_new(&head, g, tb_loss_find("softmax_cross_entropy"), &err),
            err);
        CHECK(head->outputs[0] == logits); /* stepped over */
        tb_graph_free(&head);
        CHECK_OK(tb_head_new(&head, g, tb_loss_find("mse"), &err), err);
        CHECK(head->outputs[0] == y);
        tb_graph_free(&head);
        tb_graph_free(&g);
    }
}

/* --- optimisers, clipping, schedules -------------------------------------- */

enum { STEPS = 20, N_W = 7 };

typedef struct opt_case {
    const char *name;
    tb_opt_config c; /* what differs from the defaults; all of it when lr */
} opt_case;

static const opt_case opt_cases[] = {
    {"sgd", {.lr = 0.1, .momentum = 0.9, .dampening = 0.3}},
    {"adam", {.lr = 0.0}},
    {"adam",
     {.lr = 0.01,
      .beta1 = 0.8,
      .beta2 = 0.95,
      .eps = 1e-4,
      .weight_decay = 0.1}},
    {"adamw", {.lr = 0.0}},
    {"adamw",
     {.lr = 0.02,
      .beta1 = 0.9,
      .beta2 = 0.999,
      .eps = 1e-8,
      .weight_decay = 0.5}},
    {"rmsprop", {.lr = 0.0}},
    {"rmsprop",
     {.lr = 0.02,
      .alpha = 0.9,
      .momentum = 0.8,
      .eps = 1e-8,
      .weight_decay = 0.1}},
    {"adagrad", {.lr = 0.0}},
    {"adagrad",
     {.lr = 0.1, .lr_decay = 0.05, .eps = 1e-10, .weight_decay = 0.1}},
};

static void twenty_steps_of_each_optimiser_are_those_of_pytorch(void **state)
{
    (void)state;
    enum { N = sizeof opt_cases / sizeof opt_cases[0] };
    float *golden =
        tb_test_golden("optimisers", N_W + (1 + N) * (size_t)STEPS * N_W);
    const float *grads = golden + N_W;
    const float *want = grads + STEPS * N_W;
    for (size_t i = 0; i < N; i++) {
        const tb_optimiser *o = tb_optimiser_find(opt_cases[i].name);
        tb_opt_config c =
            opt_cases[i].c.lr > 0.0 ? opt_cases[i].c : o->defaults;
        float w[N_W], g[N_W], first[N_W] = {0}, second[N_W] = {0};
        float *const states[TB_OPT_STATES_MAX] = {first, second};
        memcpy(w, golden, sizeof w);
        for (size_t step = 1; step <= STEPS; step++, want += N_W) {
            memcpy(g, grads + (step - 1) * N_W, sizeof g);
            o->update(&c, step, w, g, states, N_W);
            for (size_t k = 0; k < N_W; k++) {
                CHECK(fabsf(w[k] - want[k]) <= 2e-6f * (1.0f + fabsf(want[k])));
            }
        }
    }
    tb_mem_free(golden);
}

static void clipping_is_that_of_pytorch(void **state)
{
    (void)state;
    enum { N = 9, SPLIT = 4 };
    float *golden = tb_test_golden("clip", 4 * N);
    const double limits[2] = {1.0, 100.0};
    const float *want = golden + N;
    for (size_t l = 0; l < 2; l++, want += N) {
        double norm = sqrt(tb_clip_squares(golden, SPLIT) +
                           tb_clip_squares(golden + SPLIT, N - SPLIT));
        float factor = (float)tb_clip_factor(norm, limits[l]);
        for (size_t i = 0; i < N; i++) {
            CHECK(fabsf(golden[i] * factor - want[i]) <= 1e-6f);
        }
    }
    float g[N];
    memcpy(g, golden, sizeof g);
    tb_clip_value(g, N, 0.5);
    CHECK(memcmp(g, want, sizeof g) == 0);
    tb_err err;
    CHECK_OK(tb_clip_check(&(tb_clip){.value = 1.0, .norm = 2.0}, &err), err);
    CHECK_ERR(tb_clip_check(&(tb_clip){.value = -1.0}, &err), TB_E_USAGE, err,
              "value -1");
    CHECK_ERR(tb_clip_check(&(tb_clip){.norm = NAN}, &err), TB_E_USAGE, err,
              "norm");
    tb_mem_free(golden);
}

static void squares_of_many_numbers_add_up(void **state)
{
    (void)state;
    float g[100];
    for (size_t n = 0; n <= 100; n++) {
        double want = 0.0;
        for (size_t i = 0; i < n; i++) {
            g[i] = (float)(i + 1);
            want += (double)(i + 1) * (double)(i + 1);
        }
        CHECK(tb_clip_squares(g, n) == want); /* whole numbers: exact */
    }
}

static void schedules_are_those_of_pytorch(void **state)
{
    (void)state;
    static const tb_schedule rows[] = {
        {.warmup = 4},
        {.kind = TB_SCHEDULE_STEP, .warmup = 4, .every = 3, .gamma = 0.5},
        {.kind = TB_SCHEDULE_COSINE, .warmup = 5, .total = 20, .floor = 0.1},
        {.kind = TB_SCHEDULE_COSINE, .total = 20},
    };
    float *golden = tb_test_golden("schedules", 4 * (size_t)STEPS);
    tb_err err;
    for (size_t i = 0; i < 4; i++) {
        CHECK_OK(tb_schedule_check(&rows[i], &err), err);
        for (size_t step = 0; step < STEPS; step++) {
            double want = (double)golden[i * STEPS + step];
            CHECK(fabs(tb_schedule_factor(&rows[i], step) - want) < 1e-6);
        }
    }
    CHECK(tb_schedule_factor(&rows[2], 1000) == 0.1); /* stays at its floor */
    CHECK(tb_schedule_factor(&(tb_schedule){0}, 1000) == 1.0);
    tb_mem_free(golden);
}

static void schedules_without_sense_are_refused(void **state)
{
    (void)state;
    static const tb_schedule bad[] = {
        {.kind = TB_SCHEDULE_STEP, .gamma = 0.5},
        {.kind = TB_SCHEDULE_STEP, .every = 1},
        {.kind = TB_SCHEDULE_STEP, .every = 1, .gamma = 1.5},
        {.kind = TB_SCHEDULE_STEP, .every = 1, .gamma = NAN},
        {.kind = TB_SCHEDULE_COSINE},
        {.kind = TB_SCHEDULE_COSINE, .total = 5, .warmup = 5},
        {.kind = TB_SCHEDULE_COSINE, .total = 5, .floor = 1.0},
    };
    tb_err err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_ERR(tb_schedule_check(&bad[i], &err), TB_E_USAGE, err,
                  "schedule");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_their_gradients_are_those_of_pytorch),
        cmocka_unit_test(a_batch_of_ignored_labels_moves_nothing),
        cmocka_unit_test(numbers_of_another_loss_are_refused),
        cmocka_unit_test(labels_find_their_classes_by_the_shape_of_the_output),
        cmocka_unit_test(a_softmax_says_which_axis_has_the_classes),
        cmocka_unit_test(twenty_steps_of_each_optimiser_are_those_of_pytorch),
        cmocka_unit_test(clipping_is_that_of_pytorch),
        cmocka_unit_test(squares_of_many_numbers_add_up),
        cmocka_unit_test(schedules_are_those_of_pytorch),
        cmocka_unit_test(schedules_without_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
