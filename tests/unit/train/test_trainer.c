/* The trainer beyond PyTorch's curves: hooks, refusals, memory, chance. */
#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "support/check.h"
#include "support/graph_run.h"
#include "support/mlp.h"
#include "train/head.h"

static const size_t width[] = {6, 9, 4};
static const char *const relu[] = {"Relu", NULL};
static const tb_test_mlp net = {width, 2, relu};

enum { BATCH = 8, N_X = BATCH * 6, N_PARAMS = 6 * 9 + 9 + 9 * 4 + 4 };

static float x[N_X];
static const int32_t y[BATCH] = {0, 1, 2, 3, 3, 2, 1, 0};

static tb_trainer_options options(double momentum, double weight_decay)
{
    return (tb_trainer_options){.loss = tb_loss_find("softmax_cross_entropy"),
                                .optimiser = tb_optimiser_find("sgd"),
                                .config = {.lr = 0.125,
                                           .momentum = momentum,
                                           .weight_decay = weight_decay},
                                .batch = BATCH,
                                .chance_seed = 1};
}

static tb_trainer *new_trainer(const tb_test_mlp *mlp, double momentum,
                               double weight_decay)
{
    tb_err err;
    tb_trainer *t = NULL;
    tb_graph *g = tb_test_mlp_new(mlp, 7);
    tb_trainer_options o = options(momentum, weight_decay);
    CHECK_OK(tb_trainer_new(&t, g, &o, &err), err);
    tb_graph_free(&g);
    return t;
}

static void step(tb_trainer *t, size_t n_rows)
{
    tb_err err;
    CHECK_OK(tb_trainer_step(t, x, y, n_rows, NULL, &err), err);
}

static int setup(void **state)
{
    (void)state;
    tb_stream s;
    tb_stream_init(&s, 3, 0, "test", "");
    for (size_t i = 0; i < N_X; i++) {
        x[i] = (float)tb_stream_normal(&s);
    }
    return 0;
}

/* The graph of a trainer, run from end to end by nobody but itself. */
static void the_loss_is_a_node_between_forward_and_backward(void **state)
{
    float grad[N_PARAMS];
    tb_score score = {0}, stepped = {0};
    graph_run run;
    tb_err err;
    (void)state;
    tb_trainer *t = new_trainer(&net, 0, 0);
    const tb_graph *g = tb_trainer_graph(t);
    const tb_head_rows rows = {.loss = tb_trainer_loss(t),
                               .options = &(tb_loss_options){0},
                               .layout = *tb_trainer_layout(t),
                               .n_rows = BATCH,
                               .score = &score};
    CHECK(g->n_inputs == 2 && g->values[g->inputs[1]]->dtype == TB_I32);
    CHECK_OK(graph_run_init(
                 &run, g, &(tb_bind_options){.batch = BATCH, .training = true},
                 &err),
             err);
    size_t loss = tb_head_install(run.bound, &rows);
    CHECK(loss > 0 && loss + 1 < run.bound->n_calls);
    memcpy(run.values[g->inputs[0]].data, x, sizeof x);
    memcpy(run.values[g->inputs[1]].data, y, sizeof y);
    graph_run_go(&run, NULL);
    CHECK_OK(tb_trainer_gradient(t, x, y, BATCH, grad, &err), err);
    for (size_t s = 0; s < tb_trainer_slots(t)->n; s++) {
        const tb_slot *slot = &tb_trainer_slots(t)->slot[s];
        const tb_tensor *made = &run.values[g->outputs[1 + s]];
        CHECK(tb_tensor_count(made) == slot->n);
        CHECK(memcmp(made->data, grad + slot->offset,
                     slot->n * sizeof grad[0]) == 0);
    }
    CHECK_OK(tb_trainer_step(t, x, y, BATCH, &stepped, &err), err);
    CHECK(score.n_rows == BATCH && score.loss_sum == stepped.loss_sum);
    graph_run_release(&run);
    tb_trainer_free(&t);
    CHECK(tb_mem_live() == 0);
}

static void a_step_allocates_nothing(void **state)
{
    (void)state;
    for (int momentum = 0; momentum < 2; momentum++) {
        tb_trainer *t = new_trainer(&net, 0.9 * momentum, 0.01);
        size_t live = tb_mem_live();
        tb_mem_fail_after(0);
        step(t, BATCH);
        step(t, 3);
        tb_mem_fail_after(-1);
        CHECK(tb_mem_live() == live);
        tb_trainer_free(&t);
    }
}

static void a_smaller_batch_has_the_gradient_of_its_rows(void **state)
{
    (void)state;
    tb_err err;
    float small[N_PARAMS], whole[N_PARAMS];
    tb_trainer *t = new_trainer(&net, 0.0, 0.0);
    tb_trainer_options o = options(0.0, 0.0);
    tb_graph *g = tb_test_mlp_new(&net, 7);
    tb_trainer *exact = NULL;
    o.batch = 3;
    CHECK_OK(tb_trainer_new(&exact, g, &o, &err), err);
    CHECK_OK(tb_trainer_gradient(t, x, y, 3, small, &err), err);
    CHECK_OK(tb_trainer_gradient(exact, x, y, 3, whole, &err), err);
    for (size_t i = 0; i < N_PARAMS; i++) {
        CHECK(small[i] == whole[i]);
    }
    tb_graph_free(&g);
    tb_trainer_free(&t);
    tb_trainer_free(&exact);
}

/* w' = w - lr (g + decay w + mu (w - anchor) + offset), by hand from the
 * gradient, in both ways a step is carried out. */
static void check_hooks(double momentum)
{
    tb_err err;
    float before[N_PARAMS], grad[N_PARAMS], anchor[N_PARAMS], offset[N_PARAMS];
    tb_trainer *t = new_trainer(&net, momentum, 0.25);
    for (size_t i = 0; i < N_PARAMS; i++) {
        anchor[i] = (float)(i % 5) / 10;
        offset[i] = (float)(i % 3) / 50;
    }
    CHECK(tb_trainer_n_params(t) == N_PARAMS);
    memcpy(before, tb_trainer_params(t), sizeof before);
    CHECK_OK(tb_trainer_gradient(t, x, y, BATCH, grad, &err), err);
    CHECK(memcmp(before, tb_trainer_params(t), sizeof before) == 0);
    tb_trainer_set_prox(t, 0.5f, anchor);
    tb_trainer_set_offset(t, offset);
    step(t, BATCH);
    for (size_t i = 0; i < N_PARAMS; i++) {
        float pull = 0.5f * (before[i] - anchor[i]);
        float g = grad[i] + 0.25f * before[i] + pull + offset[i];
        CHECK(fabsf(tb_trainer_params(t)[i] - (before[i] - 0.125f * g)) <
              1e-6f);
    }
    tb_trainer_free(&t);
}

static void proximal_term_and_offset_pull_a_fused_step(void **state)
{
    (void)state;
    check_hooks(0.0);
}

static void proximal_term_and_offset_pull_a_step_with_momentum(void **state)
{
    (void)state;
    check_hooks(0.5); /* the first step has no momentum yet */
}

static void masked_parameters_stay_zero(void **state)
{
    (void)state;
    uint8_t keep[N_PARAMS];
    tb_trainer *t = new_trainer(&net, 0.9, 0.0);
    float *w = tb_trainer_params(t);
    for (size_t i = 0; i < N_PARAMS; i++) {
        keep[i] = i % 3 != 0;
        w[i] = keep[i] != 0 ? w[i] : 0.0f;
    }
    tb_trainer_set_mask(t, keep);
    step(t, BATCH);
    step(t, BATCH);
    size_t n_zero = 0;
    for (size_t i = 0; i < N_PARAMS; i++) {
        CHECK(keep[i] != 0 || w[i] == 0.0f);
        n_zero += w[i] == 0.0f;
    }
    CHECK(n_zero < N_PARAMS / 2);
    tb_trainer_free(&t);
}

static void a_reset_trainer_repeats_itself_bit_by_bit(void **state)
{
    (void)state;
    static const char *const drop[] = {"Dropout", NULL};
    const tb_test_mlp dropping = {width, 2, drop};
    float start[N_PARAMS], first[N_PARAMS];
    tb_trainer *t = new_trainer(&dropping, 0.9, 0.0);
    memcpy(start, tb_trainer_params(t), sizeof start);
    for (int i = 0; i < 5; i++) {
        step(t, BATCH);
    }
    memcpy(first, tb_trainer_params(t), sizeof first);
    for (uint64_t seed = 1; seed < 3; seed++) { /* 1: the same, 2: another */
        memcpy(tb_trainer_params(t), start, sizeof start);
        tb_trainer_reset(t, seed);
        for (int i = 0; i < 5; i++) {
            step(t, BATCH);
        }
        bool same = memcmp(first, tb_trainer_params(t), sizeof first) == 0;
        CHECK(same == (seed == 1));
    }
    tb_trainer_free(&t);
}

static void bad_rows_and_labels_are_refused_and_move_nothing(void **state)
{
    (void)state;
    tb_err err;
    tb_score score = {0};
    float before[N_PARAMS];
    int32_t labels[BATCH] = {0, 1, 4, 0, 0, 0, 0, 0};
    tb_trainer *t = new_trainer(&net, 0.0, 0.5);
    memcpy(before, tb_trainer_params(t), sizeof before);
    CHECK_ERR(tb_trainer_step(t, x, y, 0, &score, &err), TB_E_MISMATCH, err,
              "0 rows");
    CHECK_ERR(tb_trainer_step(t, x, y, BATCH + 1, &score, &err), TB_E_MISMATCH,
              err, "9 rows");
    CHECK_ERR(tb_trainer_step(t, x, labels, BATCH, &score, &err), TB_E_MISMATCH,
              err, "label 4");
    CHECK(memcmp(before, tb_trainer_params(t), sizeof before) == 0);
    CHECK(score.n_rows == 0 && score.loss_sum == 0.0);
    tb_trainer_free(&t);
}

/* The same step in one run, in runs of 3 rows (the last has 2), and of 1. */
static void pieces_of_a_batch_make_the_step_of_the_whole(void **state)
{
    (void)state;
    static const float weight[4] = {1.0f, 0.25f, 2.0f, 0.5f};
    float want[N_PARAMS], grad[N_PARAMS];
    double loss = 0.0;
    const size_t micro[] = {0, 3, 1};
    for (size_t i = 0; i < 3; i++) {
        tb_err err;
        tb_trainer *t = NULL;
        tb_score score = {0};
        tb_graph *g = tb_test_mlp_new(&net, 7);
        tb_trainer_options o = options(0.9, 0.01);
        o.loss_options.class_weight = weight;
        o.loss_options.n_class_weight = 4;
        o.micro_batch = micro[i];
        CHECK_OK(tb_trainer_new(&t, g, &o, &err), err);
        CHECK(tb_trainer_input(t)->shape.dim[0] == BATCH);
        CHECK_OK(tb_trainer_gradient(t, x, y, BATCH, grad, &err), err);
        memcpy(tb_trainer_x(t), x, sizeof x);
        memcpy(tb_trainer_y(t), y, sizeof y);
        CHECK_OK(tb_trainer_step(t, tb_trainer_x(t), tb_trainer_y(t), BATCH,
                                 &score, &err),
                 err);
        CHECK_OK(tb_trainer_step(t, x, y, 5, &score, &err), err);
        CHECK(score.n_rows == BATCH + 5 && score.n_counted == BATCH + 5);
        const float *params = tb_trainer_params(t);
        for (size_t k = 0; k < N_PARAMS && i > 0; k++) {
            CHECK(fabsf(params[k] - want[k]) <= 1e-6f);
        }
        CHECK(i == 0 || fabs(tb_score_loss(&score) - loss) < 1e-6);
        memcpy(want, params, sizeof want);
        loss = tb_score_loss(&score);
        tb_trainer_free(&t);
        tb_graph_free(&g);
    }
}

/* Plain SGD: w - w' is lr times the clipped gradient, by hand. */
static void a_step_moves_by_the_clipped_gradient(void **state)
{
    (void)state;
    tb_err err;
    float before[N_PARAMS], grad[N_PARAMS];
    for (int by_value = 0; by_value < 2; by_value++) {
        tb_trainer *t = NULL;
        tb_graph *g = tb_test_mlp_new(&net, 7);
        tb_trainer_options o = options(0.0, 0.0);
        o.clip.value = by_value != 0 ? 0.02 : 0.0;
        o.clip.norm = by_value != 0 ? 0.0 : 0.05;
        CHECK_OK(tb_trainer_new(&t, g, &o, &err), err);
        memcpy(before, tb_trainer_params(t), sizeof before);
        CHECK_OK(tb_trainer_gradient(t, x, y, BATCH, grad, &err), err);
        double squares = 0.0;
        for (size_t i = 0; i < N_PARAMS; i++) {
            squares += (double)grad[i] * (double)grad[i];
        }
        CHECK(sqrt(squares) > 0.1); /* so that it is clipped at all */
        step(t, BATCH);
        for (size_t i = 0; i < N_PARAMS; i++) {
            double want = (double)grad[i];
            if (by_value != 0) {
                want = fmin(fmax(want, -0.02), 0.02);
            } else {
                want *= 0.05 / (sqrt(squares) + 1e-6);
            }
            float moved = before[i] - tb_trainer_params(t)[i];
            CHECK(fabs((double)moved - 0.125 * want) < 1e-7);
        }
        tb_trainer_free(&t);
        tb_graph_free(&g);
    }
}

static void frozen_parameters_are_no_part_of_the_vector(void **state)
{
    (void)state;
    static const char *const some[] = {"w0", "b0"};
    static const char *const all[] = {"w0", "b0", "w1", "b1"};
    tb_err err;
    tb_trainer *t = NULL;
    tb_trainer_options o = options(0.0, 0.0);
    tb_graph *g = tb_test_mlp_new(&net, 7);
    tb_params_rule rule = {.freeze = some, .n_freeze = 2};
    CHECK_OK(tb_params_assign(g, &rule, &err), err);
    CHECK_OK(tb_trainer_new(&t, g, &o, &err), err);
    CHECK(tb_trainer_n_params(t) == 9 * 4 + 4);
    step(t, BATCH);
    tb_trainer_free(&t);
    rule = (tb_params_rule){.freeze = all, .n_freeze = 4};
    CHECK_OK(tb_params_assign(g, &rule, &err), err);
    CHECK_ERR(tb_trainer_new(&t, g, &o, &err), TB_E_MISMATCH, err,
              "nothing to train");
    tb_graph_free(&g);
}

static void a_softmax_at_the_end_is_stepped_over(void **state)
{
    (void)state;
    static const char *const ends[] = {"Relu", "Softmax"};
    const tb_test_mlp served = {width, 2, ends};
    tb_trainer *plain = new_trainer(&net, 0.0, 0.0);
    tb_trainer *t = new_trainer(&served, 0.0, 0.0);
    step(plain, BATCH);
    step(t, BATCH);
    CHECK(memcmp(tb_trainer_params(t), tb_trainer_params(plain),
                 N_PARAMS * sizeof(float)) == 0);
    tb_trainer_free(&plain);
    tb_trainer_free(&t);
}

static void senseless_options_are_refused(void **state)
{
    (void)state;
    tb_err err;
    tb_trainer *t = NULL;
    tb_graph *g = tb_test_mlp_new(&net, 7);
    tb_trainer_options o = options(0.0, 0.0);
    o.batch = 0;
    CHECK_ERR(tb_trainer_new(&t, g, &o, &err), TB_E_USAGE, err, "batch 0");
    o = options(0.0, 0.0);
    o.clip.norm = -1.0;
    CHECK_ERR(tb_trainer_new(&t, g, &o, &err), TB_E_USAGE, err, "clip norm");
    o = options(0.0, 0.0);
    o.loss_options.smoothing = 2.0;
    CHECK_ERR(tb_trainer_new(&t, g, &o, &err), TB_E_USAGE, err, "smoothing");
    o = options(2.0, 0.0);
    CHECK_ERR(tb_trainer_new(&t, g, &o, &err), TB_E_USAGE, err, "momentum");
    CHECK(t == NULL);
    tb_graph_free(&g);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    tb_trainer *t = NULL;
    tb_trainer_options o = options(0.9, 0.0);
    o.micro_batch = 3;
    float grad[N_PARAMS];
    tb_rc rc = tb_trainer_new(&t, arg, &o, err);
    if (rc == TB_OK) {
        rc = tb_trainer_gradient(t, x, y, BATCH, grad, err);
    }
    tb_trainer_free(&t);
    return rc;
}

static void making_survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_graph *g = tb_test_mlp_new(&net, 7);
    CHECK(tb_check_each_allocation(attempt, g) > 20);
    tb_graph_free(&g);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

/* What is measured is what is taken, by the heap's own count, but for the copy
 * of the graph and small lists; and measuring itself takes no such memory. */
static void what_is_measured_is_what_a_trainer_takes(void **state)
{
    static const size_t wide[] = {6, 900, 4};
    const tb_test_mlp big = {wide, 2, relu};
    static const double momentum[] = {0, 0.9};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (size_t piece = 0; piece < 2; piece++) {
            tb_err err;
            tb_trainer_cost cost;
            tb_trainer *t = NULL;
            tb_graph *g = tb_test_mlp_new(&big, 7);
            tb_trainer_options o = options(momentum[i], 0);
            o.batch = 1000;
            o.micro_batch = 300 * piece;
            size_t before = tb_mem_bytes();
            tb_mem_peak_reset();
            CHECK_OK(tb_trainer_measure(&cost, g, &o, &err), err);
            CHECK(tb_mem_bytes() == before);
            CHECK(tb_mem_peak_bytes() - before < 250000);
            CHECK_OK(tb_trainer_new(&t, g, &o, &err), err);
            size_t taken = tb_mem_bytes() - before;
            CHECK(taken > cost.bytes && taken < cost.bytes + 250000);
            size_t n = tb_trainer_n_params(t);
            CHECK(cost.parameter_bytes == n * 4 && cost.bytes > 1000000);
            CHECK(cost.state_bytes == (momentum[i] > 0 ? n * 4 : 0));
            tb_trainer_free(&t);
            tb_graph_free(&g);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_loss_is_a_node_between_forward_and_backward),
        TEST(a_step_allocates_nothing),
        TEST(what_is_measured_is_what_a_trainer_takes),
        TEST(a_smaller_batch_has_the_gradient_of_its_rows),
        TEST(proximal_term_and_offset_pull_a_fused_step),
        TEST(proximal_term_and_offset_pull_a_step_with_momentum),
        TEST(masked_parameters_stay_zero),
        TEST(a_reset_trainer_repeats_itself_bit_by_bit),
        TEST(bad_rows_and_labels_are_refused_and_move_nothing),
        TEST(pieces_of_a_batch_make_the_step_of_the_whole),
        TEST(a_step_moves_by_the_clipped_gradient),
        TEST(frozen_parameters_are_no_part_of_the_vector),
        TEST(a_softmax_at_the_end_is_stepped_over),
        TEST(senseless_options_are_refused),
        TEST(making_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
