/* What every loss of the table must do. */
#include <math.h>
#include <string.h>

#include "support/check.h"
#include "train/loss.h"

enum { ROWS = 3, PADDED = 5, COLS = 4 };

/* Targets from 0 to 1, which every loss of values takes. */
typedef struct sample {
    float out[PADDED * COLS];
    float grad[PADDED * COLS];
    int32_t label[ROWS];
    float value[ROWS * COLS];
} sample;

static const sample start = {
    .out = {0.5f,  -1.0f, 2.0f, 0.25f, 3.0f, 3.0f, -3.0f, 0.0f, -0.5f, 1.5f,
            0.75f, -2.0f, 9.0f, 9.0f,  9.0f, 9.0f, 9.0f,  9.0f, 9.0f,  9.0f},
    .label = {2, 0, 3},
    .value = {1.0f, 0.1f, 0.25f, 0.5f, 1.0f, 1.0f, 0.0f, 0.9f, 0.0f, 1.0f, 0.7f,
              0.0f}};

static tb_loss_batch batch_of(const tb_loss *loss, sample *s)
{
    bool classes = loss->target == TB_TARGET_CLASS;
    return (tb_loss_batch){.out = s->out,
                           .y = classes ? (const void *)s->label
                                        : (const void *)s->value,
                           .n_rows = ROWS,
                           .n_padded = PADDED,
                           .layout = {.n_cols = COLS},
                           .grad = s->grad};
}

static double loss_of(const tb_loss *loss, sample *s)
{
    tb_score score = {0};
    tb_loss_batch b = batch_of(loss, s);
    loss->run(&b, &score);
    assert_int_equal(score.n_rows, ROWS);
    return score.loss_sum / ROWS;
}

static void the_gradient_is_the_slope_of_the_mean_loss(void **state)
{
    (void)state;
    for (size_t l = 0; tb_loss_list[l] != NULL; l++) {
        sample s = start;
        loss_of(tb_loss_list[l], &s);
        sample at = s;
        for (size_t i = 0; i < ROWS * COLS; i++) {
            const float step = 1.0f / 64;
            at.out[i] = s.out[i] + step;
            double above = loss_of(tb_loss_list[l], &at);
            at.out[i] = s.out[i] - step;
            double below = loss_of(tb_loss_list[l], &at);
            at.out[i] = s.out[i];
            double slope = (above - below) / (2.0 * (double)step);
            CHECK(fabs(slope - (double)s.grad[i]) < 1e-4);
        }
    }
}

static void padding_rows_weigh_nothing(void **state)
{
    (void)state;
    for (size_t l = 0; tb_loss_list[l] != NULL; l++) {
        sample s = start;
        double loss = loss_of(tb_loss_list[l], &s);
        for (size_t i = ROWS * COLS; i < PADDED * COLS; i++) {
            CHECK(s.grad[i] == 0.0f);
            s.out[i] = -77.0f;
        }
        CHECK(loss_of(tb_loss_list[l], &s) == loss);
    }
}

static void scores_of_batches_add_up(void **state)
{
    (void)state;
    for (size_t l = 0; tb_loss_list[l] != NULL; l++) {
        sample s = start;
        tb_score score = {0};
        tb_loss_batch b = batch_of(tb_loss_list[l], &s);
        tb_loss_list[l]->run(&b, &score);
        tb_score once = score;
        tb_loss_list[l]->run(&b, &score);
        assert_int_equal(score.n_rows, 2 * once.n_rows);
        assert_int_equal(score.n_correct, 2 * once.n_correct);
        assert_int_equal(score.n_counted, 2 * once.n_counted);
        CHECK(score.weight == 2.0 * once.weight);
        CHECK(once.weight == tb_loss_list[l]->weigh(&b));
        CHECK(fabs(score.loss_sum - 2.0 * once.loss_sum) < 1e-9);
    }
}

static void pieces_of_a_step_give_its_gradient(void **state)
{
    (void)state;
    for (size_t l = 0; tb_loss_list[l] != NULL; l++) {
        sample s = start;
        tb_score whole = {0};
        tb_score pieces = {0};
        tb_loss_batch b = batch_of(tb_loss_list[l], &s);
        tb_loss_list[l]->run(&b, &whole);
        sample part = start;
        for (size_t r = 0; r < ROWS; r++) {
            tb_loss_batch p = batch_of(tb_loss_list[l], &part);
            bool classes = tb_loss_list[l]->target == TB_TARGET_CLASS;
            p.out += r * COLS;
            p.grad += r * COLS;
            p.y = classes ? (const void *)(part.label + r)
                          : (const void *)(part.value + r * COLS);
            p.n_rows = p.n_padded = 1;
            p.weight = tb_loss_list[l]->weigh(&b);
            tb_loss_list[l]->run(&p, &pieces);
        }
        for (size_t i = 0; i < ROWS * COLS; i++) {
            CHECK(fabsf(part.grad[i] - s.grad[i]) < 1e-7f);
        }
        CHECK(fabs(tb_score_loss(&whole) - tb_score_loss(&pieces)) < 1e-6);
    }
}

static void labels_outside_the_classes_are_refused(void **state)
{
    (void)state;
    static const int32_t bad[] = {-1, COLS, INT32_MAX, INT32_MIN};
    tb_err err;
    for (size_t l = 0; tb_loss_list[l] != NULL; l++) {
        sample s = start;
        tb_loss_batch b = batch_of(tb_loss_list[l], &s);
        CHECK_OK(tb_loss_list[l]->check(&b, &err), err);
        for (size_t i = 0; i < 4; i++) {
            s.label[1] = bad[i];
            if (tb_loss_list[l]->target == TB_TARGET_CLASS) {
                CHECK_ERR(tb_loss_list[l]->check(&b, &err), TB_E_MISMATCH, err,
                          "row 1");
            }
        }
    }
}

static void each_is_found_by_its_own_name(void **state)
{
    (void)state;
    for (size_t l = 0; tb_loss_list[l] != NULL; l++) {
        CHECK(tb_loss_find(tb_loss_list[l]->name) == tb_loss_list[l]);
    }
    CHECK(tb_loss_find("no such loss") == NULL);
}

/* By hand: out (0, ln 3) has p = (1/4, 3/4). */
static void cross_entropy_and_mse_are_those_of_the_books(void **state)
{
    (void)state;
    const float out[4] = {0.0f, 1.0986123f, 0.0f, 1.0986123f};
    const int32_t label[2] = {0, 1};
    const float value[4] = {1.0f, 1.0986123f, 0.0f, 0.0986123f};
    float grad[4];
    tb_score score = {0};
    tb_loss_batch b = {.out = out,
                       .y = label,
                       .n_rows = 2,
                       .n_padded = 2,
                       .layout = {.n_cols = 2},
                       .grad = grad};
    tb_loss_find("softmax_cross_entropy")->run(&b, &score);
    CHECK(fabs(score.loss_sum - (log(4.0) + log(4.0 / 3.0))) < 1e-6);
    CHECK(score.n_correct == 1);
    CHECK(fabsf(grad[0] + 0.375f) < 1e-6f && fabsf(grad[1] - 0.375f) < 1e-6f);
    CHECK(fabsf(grad[2] - 0.125f) < 1e-6f && fabsf(grad[3] + 0.125f) < 1e-6f);
    b.y = value;
    score = (tb_score){0};
    tb_loss_find("mse")->run(&b, &score);
    CHECK(fabs(score.loss_sum - 1.0) < 1e-6); /* (1 + 0) / 2 + (0 + 1) / 2 */
    CHECK(fabsf(grad[0] + 0.5f) < 1e-6f && fabsf(grad[3] - 0.5f) < 1e-6f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_is_the_slope_of_the_mean_loss),
        cmocka_unit_test(padding_rows_weigh_nothing),
        cmocka_unit_test(scores_of_batches_add_up),
        cmocka_unit_test(pieces_of_a_step_give_its_gradient),
        cmocka_unit_test(labels_outside_the_classes_are_refused),
        cmocka_unit_test(each_is_found_by_its_own_name),
        cmocka_unit_test(cross_entropy_and_mse_are_those_of_the_books),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
