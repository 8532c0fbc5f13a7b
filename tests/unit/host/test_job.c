#include "host/job.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "support/check.h"

#define LEAST                                                                  \
    "name: a\nmodel.new: mlp:4-2\ndata.set: d\nrounds: 3\ncohort.target: 5\n"

static tb_rc read_job(tb_job *job, const char *text, tb_err *err)
{
    return tb_job_read(job, text, strlen(text), "job.yaml", err);
}

static void the_example_job_says_what_the_main_job_is(void **state)
{
    (void)state;
    tb_buf text;
    tb_job job;
    tb_err err = {0};
    tb_buf_init(&text, 65536);
    const char *path = TB_SOURCE_DIR "/examples/fashion.yaml";
    CHECK_OK(tb_file_read(&text, path, &err), err);
    CHECK_OK(tb_job_read(&job, (char *)text.data, text.len, path, &err), err);
    assert_string_equal(job.name.text, "fashion");
    assert_string_equal(job.model.make, "mlp:784-200-200-10");
    CHECK(job.model.fresh && job.data.bytes && !job.data.values);
    CHECK(job.data.scale == 1.0f / 255 && job.data.classes.n == 10);
    assert_string_equal(job.data.classes.at[9], "Ankle boot");
    CHECK(job.rounds == 30 && job.local_epochs == 2 && job.batch == 32);
    CHECK(job.optimiser.lr == 0.1 && job.cohort.target == 10);
    CHECK(job.deadline_ms == 60000 && job.max_drop == 0.005 && job.serve);
    CHECK(job.calibrate.where == TB_JOB_CLIENTS);
    CHECK(job.guard_data.where == TB_JOB_CLIENTS);
    tb_job_release(&job);
    tb_job_release(&job);
    tb_buf_release(&text);
    CHECK(tb_mem_live() == 0);
}

static void what_follows_from_other_keys_is_filled_in(void **state)
{
    (void)state;
    tb_job job;
    tb_err err = {0};
    CHECK_OK(read_job(&job, LEAST, &err), err);
    CHECK(job.model.fresh);         /* there is nothing to keep */
    CHECK(job.cohort.minimum == 5); /* as the target */
    CHECK(!job.data.bytes);         /* not idx */
    CHECK(job.publish == TB_JOB_LAST && job.seed == 1);
    tb_job_release(&job);
    CHECK_OK(read_job(&job, LEAST "data.reader: idx\ncalibrate: c\n", &err),
             err);
    CHECK(job.data.bytes && job.guard_data.where == TB_JOB_FILE);
    assert_string_equal(job.guard_data.path, "c");
    tb_job_release(&job);
    CHECK_OK(read_job(&job, LEAST "data: {reader: idx, dtype: f32}\n", &err),
             err);
    CHECK(!job.data.bytes);
    CHECK(job.mode == TB_JOB_SYNC && job.weights == TB_JOB_SAMPLES);
    tb_job_release(&job);
    CHECK_OK(read_job(&job, LEAST "mode: async\nbuffer: 7\n", &err), err);
    CHECK(job.weights == TB_JOB_UNIFORM && job.max_staleness == 10);
    CHECK(job.cohort.minimum == 7 && job.update.max_weight == 1000000);
    tb_job_release(&job);
    CHECK_OK(read_job(&job, LEAST "mode: async\nbuffer: 7\nweights: samples\n",
                      &err),
             err);
    CHECK(job.weights == TB_JOB_SAMPLES && job.update.max_weight == 65535);
    tb_job_release(&job);
}

static void keys_that_do_not_fit_together_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"name: a\ndata.set: d\nrounds: 3\ncohort.target: 5\n",
         "no model: give model.file (ONNX), model.version"},
        {LEAST "model.file: m.onnx\n", "more than one is given"},
        {LEAST "cohort.minimum: 6\n", "cohort.minimum 6 is over"},
        {LEAST "optimiser.nesterov: true\n", "wants optimiser.momentum"},
        {LEAST "buffer: 3\n", "buffer wants mode: async"},
        {LEAST "mode: async\n", "mode: async wants buffer"},
        {LEAST "mode: async\nbuffer: 2\ncohort.minimum: 3\n",
         "cohort.minimum 3 is over buffer 2"},
        {LEAST "mode: async\nbuffer: 2\nweights: samples\n"
               "update.max_weight: 70000\n",
         "update.max_weight 70000 is over 65535"},
        {LEAST "publish: best\n", "publish: best wants evaluate"},
        {LEAST "early_stop.patience: 2\n", "early_stop.patience wants"},
        {LEAST "loss: mse\n", "loss mse wants data.target: value"},
        {LEAST "data.target: value\n", "wants data.target: class"},
        {LEAST "data: {mean: [1, 2], std: [1, 2, 3]}\n", "data.mean has 2"},
        {LEAST "data.classes: [x, y, x]\n", "\"x\" stands there twice"},
        {LEAST "after.prune.last_rounds: 4\n", "is over rounds 3"},
        {LEAST "after.quantise.kind: int8\n", "wants calibrate"},
        {LEAST "after.prune.kind: structured\n", "after.guard wants data"},
        {LEAST "loss: mse\ndata.target: value\nafter.softmax: true\n",
         "after.softmax wants"},
        {LEAST "eligible:\n  - site=lyon\n  - memory>>3\n",
         "job.yaml:8:5: eligible: \"memory>>3\", column 7: = != >= or <="},
        {LEAST "roudns: 3\n", "job.yaml:6:1: unknown key \"roudns\"; did you "
                              "mean \"rounds\"?"},
        {LEAST "after: {guard: {max_drop: nan}}\n",
         "job.yaml:6:27: after.guard.max_drop: \"nan\" is not a number"},
        {LEAST "optimiser.momentum: 1\n",
         "\"1\" is not a number of at least 0 and under 1"},
        {"name: a\nmodel.new: m\nrounds: 3\ncohort.target: 5\n",
         "job.yaml: data.set is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tb_job job;
        tb_err err = {0};
        print_message("%s", cases[i].text);
        CHECK_ERR(read_job(&job, cases[i].text, &err), TB_E_USAGE, err,
                  cases[i].want);
        CHECK(job.rounds == 0); /* empty again */
    }
    CHECK(tb_mem_live() == 0);
}

static void equal_settings_have_one_text_and_one_hash(void **state)
{
    (void)state;
    tb_job a;
    tb_job b;
    tb_hash hash_a;
    tb_hash hash_b;
    tb_err err = {0};
    CHECK_OK(read_job(&a, LEAST "optimiser: {lr: 0.10, momentum: 0}\n", &err),
             err);
    CHECK_OK(read_job(&b,
                      "cohort: {target: 5}\ndata: {set: d}\nname: a\n"
                      "rounds: 3\nmodel: {new: 'mlp:4-2', init: fresh}\n"
                      "deadline: 600s\n",
                      &err),
             err);
    CHECK_OK(tb_job_hash(&a, &hash_a, &err), err);
    CHECK_OK(tb_job_hash(&b, &hash_b, &err), err);
    CHECK(tb_hash_equal(&hash_a, &hash_b));
    b.seed = 2;
    CHECK_OK(tb_job_hash(&b, &hash_b, &err), err);
    CHECK(!tb_hash_equal(&hash_a, &hash_b));
    tb_job_release(&a);
    tb_job_release(&b);
}

static void clients_see_no_path_and_nothing_of_what_comes_after(void **state)
{
    (void)state;
    static const char *const secret[] = {"model.file", "evaluate", "calibrate",
                                         "after.",     "publish",  "/",
                                         "early_stop"};
    tb_job job;
    tb_job back;
    tb_err err = {0};
    tb_buf text;
    tb_buf again;
    tb_buf_init(&text, 8192);
    tb_buf_init(&again, 8192);
    CHECK_OK(read_job(&job,
                      "name: a\nmodel.file: /m.onnx\ndata.set: d\nrounds: 3\n"
                      "cohort.target: 5\nevaluate: /e\ncalibrate: /c\n"
                      "after.prune.kind: structured\nbatch: 7\n"
                      "data.classes: [x, \"\\u00e9 y\"]\ndata.reader: idx\n",
                      &err),
             err);
    CHECK_OK(tb_job_encode(&job, TB_JOB_FOR_CLIENTS, &text, &err), err);
    CHECK_OK(tb_buf_put_u8(&text, 0, &err), err);
    for (size_t i = 0; i < sizeof secret / sizeof *secret; i++) {
        CHECK(strstr((char *)text.data, secret[i]) == NULL);
    }
    CHECK_OK(tb_job_decode(&back, (char *)text.data, text.len - 1, &err), err);
    CHECK(back.batch == 7 && back.data.classes.n == 2 && back.data.bytes);
    CHECK(back.evaluate.where == TB_JOB_NOWHERE && back.model.file[0] == '\0');
    CHECK_OK(tb_job_encode(&back, TB_JOB_FOR_CLIENTS, &again, &err), err);
    CHECK(again.len == text.len - 1 &&
          memcmp(again.data, text.data, again.len) == 0);
    tb_job_release(&back);
    /* The whole text comes back as well. */
    text.len = 0;
    again.len = 0;
    CHECK_OK(tb_job_encode(&job, TB_JOB_ALL, &text, &err), err);
    CHECK_OK(tb_job_decode(&back, (char *)text.data, text.len, &err), err);
    CHECK_OK(tb_job_encode(&back, TB_JOB_ALL, &again, &err), err);
    CHECK(again.len == text.len &&
          memcmp(again.data, text.data, again.len) == 0);
    tb_job_release(&back);
    tb_job_release(&job);
    tb_buf_release(&text);
    tb_buf_release(&again);
}

static void every_preset_is_a_valid_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < tb_job_table.n_rows; i++) {
        const tb_setting *row = &tb_job_table.rows[i];
        tb_job job;
        tb_settings s;
        tb_err err = {0};
        tb_settings_init(&s, &tb_job_table, &job);
        if (row->preset != NULL) {
            CHECK_OK(
                tb_settings_set(&s, row->key, row->preset, TB_FROM_FLAG, &err),
                err);
        }
        CHECK(row->help != NULL && row->help[strlen(row->help) - 1] != '.');
        CHECK(row->type == TB_SETTING_BOOL || row->value != NULL);
        CHECK(strlen(row->key) < TB_SETTINGS_KEY_BYTES);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(row->key, tb_job_table.rows[j].key);
        }
        tb_settings_release(&tb_job_table, &job);
    }
}

static tb_rc attempt(void *arg, tb_err *err)
{
    (void)arg;
    tb_job job;
    tb_hash hash;
    tb_rc rc = read_job(&job, LEAST "data: {classes: [a, b], mean: 1}\n", err);
    if (rc == TB_OK) {
        rc = tb_job_hash(&job, &hash, err);
        tb_job_release(&job);
    }
    return rc;
}

static void it_survives_each_allocation_failing(void **state)
{
    (void)state;
    CHECK(tb_check_each_allocation(attempt, NULL) >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_job_says_what_the_main_job_is),
        cmocka_unit_test(what_follows_from_other_keys_is_filled_in),
        cmocka_unit_test(keys_that_do_not_fit_together_are_refused),
        cmocka_unit_test(equal_settings_have_one_text_and_one_hash),
        cmocka_unit_test(clients_see_no_path_and_nothing_of_what_comes_after),
        cmocka_unit_test(every_preset_is_a_valid_value),
        cmocka_unit_test(it_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
