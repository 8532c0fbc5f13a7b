/* What a job's keys make of a round's training. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "support/check.h"
#include "work/model.h"
#include "work/plan.h"

static const char common[] = "name: small\n"
                             "model: {new: 'mlp:4-3'}\n"
                             "data: {set: rows}\n"
                             "rounds: 10\n"
                             "cohort: {target: 2}\n";

static const tb_sample_spec classes = {
    .x_dtype = TB_F32, .target = TB_TARGET_CLASS, .n_targets = 1};

static tb_rc read_job(tb_job *job, const char *more, tb_err *err)
{
    tb_buf text;
    tb_buf_init(&text, 4096);
    CHECK(tb_buf_printf(&text, err, "%s%s", common, more) == TB_OK);
    tb_rc rc =
        tb_job_read(job, (const char *)text.data, text.len, "job.yaml", err);
    tb_buf_release(&text);
    return rc;
}

static bool same(const tb_opt_config *a, const tb_opt_config *b)
{
    return a->lr == b->lr && a->weight_decay == b->weight_decay &&
           a->momentum == b->momentum && a->dampening == b->dampening &&
           a->nesterov == b->nesterov && a->beta1 == b->beta1 &&
           a->beta2 == b->beta2 && a->alpha == b->alpha &&
           a->lr_decay == b->lr_decay && a->eps == b->eps;
}

static void each_optimiser_has_its_own_defaults(void **state)
{
    (void)state;
    for (size_t i = 0; tb_optimiser_list[i] != NULL; i++) {
        const tb_optimiser *o = tb_optimiser_list[i];
        tb_err err;
        tb_job job;
        tb_trainer_options t;
        char more[64];
        (void)snprintf(more, sizeof more, "optimiser: {kind: %s}\n", o->name);
        CHECK_OK(read_job(&job, more, &err), err);
        CHECK_OK(tb_work_training(&t, &job, &classes, 1, &err), err);
        CHECK(t.optimiser == o);
        CHECK(same(&t.config, &o->defaults));
        tb_job_release(&job);
    }
}

static void what_is_given_wins_over_a_default(void **state)
{
    (void)state;
    tb_err err;
    tb_job job;
    tb_trainer_options t;
    tb_run_params *params = tb_mem_array(1, sizeof *params);
    CHECK_OK(read_job(&job,
                      "optimiser: {kind: adamw, lr: 0.5, weight_decay: 0,\n"
                      "            beta1: 0.5, eps: 1e-4}\n"
                      "clip: {norm: 2, value: 0.5}\n"
                      "batch: 64\n"
                      "micro_batch: 16\n"
                      "label_smoothing: 0.25\n"
                      "class_weights: [1, 2, 0.5]\n"
                      "ignore_index: -100\n"
                      "bn: local\n",
                      &err),
             err);
    tb_sample_spec spec = classes;
    spec.ignores = true;
    spec.ignore = -100;
    spec.n_targets = 7;
    CHECK_OK(tb_work_training(&t, &job, &spec, 1, &err), err);
    CHECK(t.config.lr == 0.5 && t.config.weight_decay == 0.0);
    CHECK(t.config.beta1 == 0.5 && t.config.beta2 == 0.999);
    CHECK(t.config.eps == 1e-4);
    CHECK(t.clip.norm == 2.0 && t.clip.value == 0.5);
    CHECK(t.batch == 64 && t.micro_batch == 16);
    CHECK(t.loss_options.smoothing == 0.25 && t.n_labels == 7);
    CHECK(t.loss_options.n_class_weight == 3);
    CHECK(t.loss_options.class_weight[1] == 2.0f);
    CHECK(t.loss_options.ignores && t.loss_options.ignore == -100);
    CHECK(job.bn_local);
    /* clients get it all, in the text of the job */
    CHECK_OK(tb_work_plan(params, &job, &err), err);
    tb_job_release(&job);
    CHECK_OK(tb_job_decode(&job, params->job_text, params->n_job, &err), err);
    tb_trainer_options there;
    CHECK_OK(tb_work_training(&there, &job, &spec, 1, &err), err);
    CHECK(same(&there.config, &t.config));
    CHECK(there.loss_options.n_class_weight == 3 && job.bn_local);
    CHECK(strcmp(job.loss_options.ignore, "-100") == 0);
    tb_job_release(&job);
    tb_mem_free(params);
}

/* Half the rate behind every third round, two rounds of warm-up first. */
static void a_schedule_counts_rounds(void **state)
{
    (void)state;
    static const double want[10] = {0.4, 0.8, 0.8, 0.8, 0.8,
                                    0.4, 0.4, 0.4, 0.2, 0.2};
    tb_err err;
    tb_job job;
    CHECK_OK(read_job(&job,
                      "optimiser: {lr: 0.8}\n"
                      "schedule: {kind: step, warmup: 2, every: 3,\n"
                      "           gamma: 0.5}\n",
                      &err),
             err);
    for (uint32_t round = 1; round <= 10; round++) {
        tb_trainer_options t;
        CHECK_OK(tb_work_training(&t, &job, &classes, round, &err), err);
        CHECK(fabs(t.config.lr - want[round - 1]) < 1e-12);
    }
    tb_job_release(&job);
}

static void keys_that_do_not_fit_are_refused_before_a_run(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        const char *says;
    } rows[] = {
        {"optimiser: {kind: adam, momentum: 0.9}\n", "adam: has no momentum"},
        {"optimiser: {kind: sgd, beta1: 0.9}\n", "sgd: has no beta1"},
        {"optimiser: {kind: rmsprop, alpha: 0.9, eps: 0}\n", "eps 0"},
        {"schedule: {kind: cosine, warmup: 10}\n", "more steps than warm-up"},
        {"loss: bce_with_logits\nlabel_smoothing: 0.1\n",
         "not to bce_with_logits"},
        {"huber_delta: 2\n", "delta belongs to huber"},
        {"class_weights: [0, 0]\n", "nothing counts"},
    };
    tb_run_params *params = tb_mem_array(1, sizeof *params);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tb_err err;
        tb_job job;
        CHECK_OK(read_job(&job, rows[i].more, &err), err);
        CHECK_ERR(tb_work_plan(params, &job, &err), TB_E_USAGE, err,
                  rows[i].says);
        tb_job_release(&job);
    }
    tb_mem_free(params);
    tb_err err;
    tb_job job;
    CHECK_ERR(read_job(&job, "loss: huber\n", &err), TB_E_USAGE, err,
              "wants data.target: value");
    CHECK_OK(read_job(&job, "loss: bce_with_logits\n", &err), err);
    tb_job_release(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_optimiser_has_its_own_defaults),
        cmocka_unit_test(what_is_given_wins_over_a_default),
        cmocka_unit_test(a_schedule_counts_rounds),
        cmocka_unit_test(keys_that_do_not_fit_are_refused_before_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
