/* What every optimiser of the table must do, over settings that all accept. */
#include <math.h>
#include <string.h>

#include "support/check.h"
#include "train/optimiser.h"

enum { N = 5000 }; /* more than one tile */

static const tb_opt_config settings[] = {
    {.lr = 0.1},
    {.lr = 0.1, .weight_decay = 0.01},
    {.lr = 0.05, .momentum = 0.5},
    {.lr = 0.05, .momentum = 0.5, .nesterov = true, .weight_decay = 0.01},
};

enum { N_SETTINGS = sizeof settings / sizeof settings[0] };

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

static void steps_go_down_a_bowl(void **state)
{
    (void)state;
    for (size_t o = 0; tb_optimiser_list[o] != NULL; o++) {
        for (size_t c = 0; c < N_SETTINGS; c++) {
            begin(&one);
            double first = height(&one);
            for (size_t step = 1; step <= 50; step++) {
                set_gradient(&one);
                update(tb_optimiser_list[o], &settings[c], step, &one, 0, N);
            }
            CHECK(height(&one) < 0.01 * first);
        }
    }
}

static void pieces_give_the_same_bits_as_the_whole(void **state)
{
    (void)state;
    for (size_t o = 0; tb_optimiser_list[o] != NULL; o++) {
        for (size_t c = 0; c < N_SETTINGS; c++) {
            begin(&one);
            begin(&two);
            for (size_t step = 1; step <= 3; step++) {
                set_gradient(&one);
                set_gradient(&two);
                update(tb_optimiser_list[o], &settings[c], step, &one, 0, N);
                update(tb_optimiser_list[o], &settings[c], step, &two, 0, 77);
                update(tb_optimiser_list[o], &settings[c], step, &two, 77, N);
            }
            CHECK(memcmp(one.w, two.w, sizeof one.w) == 0);
        }
    }
}

static void a_linear_step_is_what_update_does(void **state)
{
    (void)state;
    for (size_t o = 0; tb_optimiser_list[o] != NULL; o++) {
        for (size_t c = 0; c < N_SETTINGS; c++) {
            float keep = 0.0f;
            float rate = 0.0f;
            if (!tb_optimiser_list[o]->linear(&settings[c], &keep, &rate)) {
                CHECK(tb_optimiser_list[o]->n_states(&settings[c]) > 0);
                continue;
            }
            begin(&one);
            set_gradient(&one);
            two = one;
            update(tb_optimiser_list[o], &settings[c], 1, &one, 0, N);
            for (size_t i = 0; i < N; i++) {
                float want = keep * two.w[i] - rate * two.g[i];
                CHECK(fabsf(one.w[i] - want) <= 1e-6f * (1 + fabsf(want)));
            }
        }
    }
}

static void settings_without_sense_are_refused(void **state)
{
    (void)state;
    static const tb_opt_config bad[] = {
        {.lr = 0.0},
        {.lr = -1.0},
        {.lr = NAN},
        {.lr = INFINITY},
        {.lr = 0.1, .momentum = 1.0},
        {.lr = 0.1, .momentum = NAN},
        {.lr = 0.1, .momentum = -0.1},
        {.lr = 0.1, .weight_decay = -1.0},
        {.lr = 0.1, .weight_decay = NAN},
        {.lr = 0.1, .nesterov = true},
    };
    tb_err err;
    for (size_t o = 0; tb_optimiser_list[o] != NULL; o++) {
        const tb_optimiser *opt = tb_optimiser_list[o];
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            CHECK_ERR(opt->check(&bad[i], &err), TB_E_USAGE, err, opt->name);
        }
        for (size_t i = 0; i < N_SETTINGS; i++) {
            CHECK_OK(opt->check(&settings[i], &err), err);
            CHECK(opt->n_states(&settings[i]) <= TB_OPT_STATES_MAX);
        }
        CHECK(tb_optimiser_find(opt->name) == opt);
    }
    CHECK(tb_optimiser_find("no such optimiser") == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_go_down_a_bowl),
        cmocka_unit_test(pieces_give_the_same_bits_as_the_whole),
        cmocka_unit_test(a_linear_step_is_what_update_does),
        cmocka_unit_test(settings_without_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
