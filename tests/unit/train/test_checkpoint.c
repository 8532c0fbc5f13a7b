/* A training that was interrupted, as bytes: what was saved comes back, and
 * what is damaged is refused. */
#include "train/checkpoint.h"

#include <string.h>

#include "base/mem.h"
#include "support/check.h"
#include "support/mlp.h"

static const size_t width[] = {4, 6, 3};
static const char *const then[] = {"Relu", NULL};
static const tb_test_mlp net = {width, 2, then};

enum { BATCH = 8, N_PARAMS = 4 * 6 + 6 + 6 * 3 + 3 };

static const tb_progress where = {
    .steps = 5, .seed = 1, .n_rows = 40, .epoch = {8, 8, 3, 8.0, 9.5}};

static tb_trainer *new_trainer(const tb_graph *g, const char *optimiser)
{
    tb_err err;
    tb_trainer *t = NULL;
    tb_trainer_options o = {.loss = tb_loss_find("softmax_cross_entropy"),
                            .optimiser = tb_optimiser_find(optimiser),
                            .batch = BATCH};
    o.config = o.optimiser->defaults;
    CHECK_OK(tb_trainer_new(&t, g, &o, &err), err);
    return t;
}

static void step(tb_trainer *t)
{
    static const int32_t y[BATCH] = {0, 1, 2, 0, 1, 2, 0, 1};
    float x[BATCH * 4];
    tb_err err;
    for (size_t i = 0; i < BATCH * 4; i++) {
        x[i] = (float)(i % 7) / 3.0f - 1.0f;
    }
    CHECK_OK(tb_trainer_step(t, x, y, BATCH, NULL, &err), err);
}

/* Five steps of Adam, then their checkpoint. */
static tb_rc save(tb_buf *out, tb_trainer **t, tb_graph **g, tb_err *err)
{
    tb_buf settings;
    *g = tb_test_mlp_new(&net, 7);
    *t = new_trainer(*g, "adam");
    for (int i = 0; i < 5; i++) {
        step(*t);
    }
    tb_buf_init(&settings, 64);
    CHECK(tb_buf_printf(&settings, err, "lr: 0.001\n") == TB_OK);
    tb_rc rc = tb_checkpoint_encode(out, *t, *g, &where, &settings, err);
    tb_buf_release(&settings);
    return rc;
}

static void a_restored_trainer_goes_on_in_the_same_bits(void **state)
{
    (void)state;
    tb_err err;
    tb_buf bytes;
    tb_checkpoint c;
    tb_trainer *t = NULL;
    tb_graph *g = NULL;
    tb_buf_init(&bytes, 1 << 20);
    CHECK_OK(save(&bytes, &t, &g, &err), err);
    CHECK_OK(tb_checkpoint_decode(&c, "c.npz", bytes.data, bytes.len, &err),
             err);
    CHECK(c.progress.steps == 5 && c.progress.seed == 1);
    CHECK(c.progress.n_rows == 40 && c.n_states == 2);
    CHECK(c.progress.epoch.n_rows == 8 && c.progress.epoch.n_correct == 3);
    CHECK(c.progress.epoch.loss_sum == 9.5);
    CHECK(c.settings.len == 10 && c.n_params == N_PARAMS);
    tb_trainer *other = new_trainer(c.graph, "adam");
    CHECK_OK(tb_checkpoint_restore(&c, other, &err), err);
    tb_trainer_resume(other, c.progress.steps, 0);
    step(t);
    step(other);
    CHECK(memcmp(tb_trainer_params(t), tb_trainer_params(other),
                 N_PARAMS * sizeof(float)) == 0);
    tb_trainer_free(&other);
    tb_trainer *sgd = new_trainer(c.graph, "sgd");
    CHECK_ERR(tb_checkpoint_restore(&c, sgd, &err), TB_E_MISMATCH, err,
              "same optimiser");
    tb_trainer_free(&sgd);
    tb_checkpoint_release(&c);
    tb_trainer_free(&t);
    tb_graph_free(&g);
    tb_buf_release(&bytes);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    tb_err err;
    tb_buf bytes;
    tb_trainer *t = NULL;
    tb_graph *g = NULL;
    tb_buf_init(&bytes, 1 << 20);
    CHECK_OK(save(&bytes, &t, &g, &err), err);
    tb_trainer_free(&t);
    tb_graph_free(&g);
    size_t live = tb_mem_live();
    for (size_t n = 0; n < bytes.len; n++) {
        tb_checkpoint c;
        CHECK(tb_checkpoint_decode(&c, "c", bytes.data, n, &err) != TB_OK);
        CHECK(c.graph == NULL && tb_mem_live() == live);
    }
    tb_buf_release(&bytes);
}

/* Whatever byte changes, it is refused, or reads as a whole checkpoint. */
static void changed_bytes_do_no_harm(void **state)
{
    (void)state;
    tb_err err;
    tb_buf bytes;
    tb_trainer *t = NULL;
    tb_graph *g = NULL;
    tb_buf_init(&bytes, 1 << 20);
    CHECK_OK(save(&bytes, &t, &g, &err), err);
    size_t live = tb_mem_live();
    size_t refused = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        tb_checkpoint c;
        bytes.data[i] ^= 0x41;
        if (tb_checkpoint_decode(&c, "c", bytes.data, bytes.len, &err) !=
            TB_OK) {
            refused++;
        }
        tb_checkpoint_release(&c);
        CHECK(tb_mem_live() == live);
        bytes.data[i] ^= 0x41;
    }
    CHECK(refused > bytes.len / 2);
    tb_trainer_free(&t);
    tb_graph_free(&g);
    tb_buf_release(&bytes);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    const tb_buf *bytes = arg;
    tb_checkpoint c;
    tb_rc rc = tb_checkpoint_decode(&c, "c", bytes->data, bytes->len, err);
    tb_checkpoint_release(&c);
    return rc;
}

static void reading_survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_err err;
    tb_buf bytes;
    tb_trainer *t = NULL;
    tb_graph *g = NULL;
    tb_buf_init(&bytes, 1 << 20);
    CHECK_OK(save(&bytes, &t, &g, &err), err);
    CHECK(tb_check_each_allocation(attempt, &bytes) > 10);
    tb_trainer_free(&t);
    tb_graph_free(&g);
    tb_buf_release(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restored_trainer_goes_on_in_the_same_bits),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(changed_bytes_do_no_harm),
        cmocka_unit_test(reading_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
