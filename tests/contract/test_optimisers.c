/* What every optimiser of the table must do, over settings that all accept. */
#include <math.h>
#include <string.h>

#include "support/check.h"
#include "train/optimiser.h"

enum { N = 5000 }; /* more than one tile */

/* Settings for one optimiser; the rest from its defaults. */
typedef struct setting {
    const char *optimiser;
    tb_opt_config config; /* 0: the default */
} setting;

static const setting settings[] = {
    {"sgd", {.lr = 0.1}},
    {"sgd", {.lr = 0.1, .weight_decay = 0.01}},
    {"sgd", {.lr = 0.05, .momentum = 0.5}},
    {"sgd", {.lr = 0.05, .momentum = 0.5, .dampening = 0.1}},
    {"sgd",
     {.lr = 0.05, .momentum = 0.5, .nesterov = true, .weight_decay = 0.01}},
    {"adam", {.lr = 0.3}},
    {"adam", {.lr = 0.3, .weight_decay = 0.01, .beta1 = 0.5}},
    {"adamw", {.lr = 0.3}},
    {"rmsprop", {.lr = 0.1}},
    {"rmsprop", {.lr = 0.02, .momentum = 0.5, .weight_decay = 0.01}},
    {"adagrad", {.lr = 1.0}},
    {"adagrad", {.lr = 1.0, .lr_decay = 0.001}},
};

enum { N_SETTINGS = sizeof settings / sizeof settings[0] };

static const tb_optimiser *at(size_t i, tb_opt_config *c)
{
    const tb_optimiser *o = tb_optimiser_find(settings[i].optimiser);
    CHECK(o != NULL);
    *c = o->defaults;
    const tb_opt_config *given = &settings[i].config;
    c->lr = given->lr;
    c->momentum = given->momentum;
    c->dampening = given->dampening;
    c->nesterov = given->nesterov;
    c->lr_decay = given->lr_decay;
    c->weight_decay =
        given->weight_decay > 0.0 ? given->weight_decay : c->weight_decay;
    c->beta1 = given->beta1 > 0.0 ? given->beta1 : c->beta1;
    return o;
}

typedef struct walk {
    float w[N];
    float g[N];
    float state[TB_OPT_STATES_MAX][N];
} walk;

static walk one, two;

/* The gradient of sum of i % 7 * w^2 / 2. */
static void set_gradient(walk *k)
{
    for (size_t i = 0; i < N; i++) {
        k->g[i] = (float)(i % 7) * k->w[i];
    }
}

static void begin(walk *k)
{
    memset(k, 0, sizeof *k);
    for (size_t i = 0; i < N; i++) {
        k->w[i] = (float)(i % 11) - 5.0f;
    }
}

static void update(const tb_optimiser *o, const tb_opt_config *c, size_t step,
                   walk *k, size_t from, size_t to)
{
    float *state[TB_OPT_STATES_MAX];
    for (size_t i = 0; i < TB_OPT_STATES_MAX; i++) {
        state[i] = k->state[i] + from;
    }
    o->update(c, step, k->w + from, k->g + from, state, to - from);
}

static double height(const walk *k)
{
    double sum = 0.0;
    for (size_t i = 0; i < N; i++) {
        sum += (double)(i % 7) * (double)k->w[i] * (double)k->w[i];
    }
    return sum;
}

static void every_optimiser_is_tried(void **state)
{
    (void)state;
    for (size_t o = 0; tb_optimiser_list[o] != NULL; o++) {
        const tb_optimiser *opt = tb_optimiser_list[o];
        bool tried = false;
        for (size_t i = 0; i < N_SETTINGS; i++) {
            tried = tried || strcmp(settings[i].optimiser, opt->name) == 0;
        }
        CHECK(tried);
        CHECK(tb_optimiser_find(opt->name) == opt);
        CHECK(strstr(tb_optimiser_names(), opt->name) != NULL);
    }
    CHECK(tb_optimiser_find("no such optimiser") == NULL);
}

static void steps_go_down_a_bowl(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        tb_opt_config c;
        const tb_optimiser *o = at(i, &c);
        begin(&one);
        double first = height(&one);
        for (size_t step = 1; step <= 60; step++) {
            set_gradient(&one);
            update(o, &c, step, &one, 0, N);
        }
        CHECK(height(&one) < 0.02 * first);
    }
}

static void pieces_give_the_same_bits_as_the_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        tb_opt_config c;
        const tb_optimiser *o = at(i, &c);
        begin(&one);
        begin(&two);
        for (size_t step = 1; step <= 3; step++) {
            set_gradient(&one);
            set_gradient(&two);
            update(o, &c, step, &one, 0, N);
            update(o, &c, step, &two, 0, 77);
            update(o, &c, step, &two, 77, N);
        }
        CHECK(memcmp(one.w, two.w, sizeof one.w) == 0);
    }
}

static void a_linear_step_is_what_update_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        tb_opt_config c;
        float keep = 0.0f;
        float rate = 0.0f;
        const tb_optimiser *o = at(i, &c);
        if (!o->linear(&c, &keep, &rate)) {
            CHECK(o->n_states(&c) > 0);
            continue;
        }
        begin(&one);
        set_gradient(&one);
        two = one;
        update(o, &c, 1, &one, 0, N);
        for (size_t k = 0; k < N; k++) {
            float want = keep * two.w[k] - rate * two.g[k];
            CHECK(fabsf(one.w[k] - want) <= 1e-6f * (1 + fabsf(want)));
        }
    }
}

/* Each breaks one number of an optimiser that reads it. */
static void settings_without_sense_are_refused(void **state)
{
    (void)state;
    static const setting bad[] = {
        {"", {.lr = -1.0}},
        {"", {.lr = NAN}},
        {"", {.lr = INFINITY}},
        {"", {.lr = 0.1, .weight_decay = -1.0}},
        {"", {.lr = 0.1, .weight_decay = NAN}},
        {"sgd", {.lr = 0.1, .momentum = 1.0}},
        {"sgd", {.lr = 0.1, .momentum = NAN}},
        {"sgd", {.lr = 0.1, .momentum = -0.1}},
        {"sgd", {.lr = 0.1, .nesterov = true}},
        {"sgd", {.lr = 0.1, .dampening = 0.1}},
        {"sgd",
         {.lr = 0.1, .momentum = 0.5, .dampening = 0.1, .nesterov = true}},
        {"sgd", {.lr = 0.1, .beta1 = 0.9}},
        {"sgd", {.lr = 0.1, .eps = 1e-8}},
        {"adam", {.lr = 0.1, .beta1 = 1.0, .beta2 = 0.9, .eps = 1e-8}},
        {"adam", {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.9, .eps = 0.0}},
        {"adam", {.lr = 0.1, .momentum = 0.9, .beta2 = 0.9, .eps = 1e-8}},
        {"adamw", {.lr = 0.1, .beta1 = 0.9, .beta2 = NAN, .eps = 1e-8}},
        {"rmsprop", {.lr = 0.1, .alpha = 1.0, .eps = 1e-8}},
        {"rmsprop", {.lr = 0.1, .alpha = 0.9, .eps = -1.0}},
        {"rmsprop", {.lr = 0.1, .alpha = 0.9, .nesterov = true, .eps = 1e-8}},
        {"adagrad", {.lr = 0.1, .lr_decay = -1.0, .eps = 1e-8}},
        {"adagrad", {.lr = 0.1, .alpha = 0.5, .eps = 1e-8}},
    };
    tb_err err;
    for (size_t o = 0; tb_optimiser_list[o] != NULL; o++) {
        const tb_optimiser *opt = tb_optimiser_list[o];
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            if (bad[i].optimiser[0] == '\0' ||
                strcmp(bad[i].optimiser, opt->name) == 0) {
                CHECK_ERR(opt->check(&bad[i].config, &err), TB_E_USAGE, err,
                          opt->name);
            }
        }
        CHECK_OK(opt->check(&opt->defaults, &err), err);
    }
    for (size_t i = 0; i < N_SETTINGS; i++) {
        tb_opt_config c;
        const tb_optimiser *opt = at(i, &c);
        CHECK_OK(opt->check(&c, &err), err);
        CHECK(opt->n_states(&c) <= TB_OPT_STATES_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_optimiser_is_tried),
        cmocka_unit_test(steps_go_down_a_bowl),
        cmocka_unit_test(pieces_give_the_same_bits_as_the_whole),
        cmocka_unit_test(a_linear_step_is_what_update_does),
        cmocka_unit_test(settings_without_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
