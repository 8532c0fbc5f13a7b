/* What the journal's rows make of the history and of the registry. */
#include <string.h>

#include "base/mem.h"
#include "history.h"
#include "registry.h"
#include "support/check.h"

static void add(tb_history *h, const tb_record *record)
{
    tb_err err;
    CHECK_OK(tb_history_add(h, record, &err), err);
}

/* Run n of this name. */
static void start(tb_history *h, uint8_t n, const char *name, uint32_t rounds)
{
    static tb_run_params params; /* large */
    memset(&params, 0, sizeof params);
    params.rounds = rounds;
    params.run.bytes[0] = n;
    params.evaluate = TB_WHERE_CLIENTS;
    CHECK(tb_name_set(&params.name, name));
    add(h, &(tb_record){.kind = TB_REC_RUN_STARTED, .u.run_started = &params});
}

/* Its configuration is a single byte, the run's number. */
static void open_round(tb_history *h, uint8_t n, tb_task task,
                       uint32_t n_clients)
{
    tb_record record = {.kind = TB_REC_ROUND_OPENED};
    record.u.round_opened.run.bytes[0] = n;
    record.u.round_opened.config = (tb_span){&n, 1};
    record.u.round_opened.task = task;
    record.u.round_opened.n_clients = n_clients;
    add(h, &record);
}

static tb_record committed(uint8_t n, tb_task task, uint32_t round,
                           double accuracy)
{
    tb_record record = {.kind = TB_REC_COMMITTED};
    record.u.committed = (tb_rec_committed){
        .config = tb_hash_of(&n, 1),
        .task = task,
        .round = round,
        .n_clients = 3,
        .metrics = {.train_loss = task == TB_TASK_TRAIN ? 0.5 : 9.0,
                    .loss = 0.25,
                    .accuracy = accuracy,
                    .samples = task == TB_TASK_TRAIN ? 0 : 100}};
    return record;
}

static void commit(tb_history *h, uint8_t n, tb_task task, uint32_t round,
                   double accuracy)
{
    tb_record record = committed(n, task, round, accuracy);
    add(h, &record);
}

static void end(tb_history *h, uint8_t n, tb_outcome outcome)
{
    tb_record ended = {.kind = TB_REC_RUN_ENDED};
    ended.u.run_ended.run.bytes[0] = n;
    ended.u.run_ended.outcome = outcome;
    memcpy(ended.u.run_ended.why, "enough", 7);
    add(h, &ended);
}

static void a_line_a_training_round_and_the_clients_measure_of_it(void **state)
{
    (void)state;
    tb_history h = {0};
    start(&h, 1, "small", 40);
    for (uint32_t round = 1; round <= 40; round++) {
        open_round(&h, 1, TB_TASK_TRAIN, 10 + round);
        commit(&h, 1, TB_TASK_TRAIN, round, 0.1);
        CHECK(tb_history_ready(&h.runs[0]) == round - 1);
        open_round(&h, 1, TB_TASK_EVALUATE, 5);
        commit(&h, 1, TB_TASK_EVALUATE, round, 0.5 + round / 100.0);
        CHECK(tb_history_ready(&h.runs[0]) == round);
    }
    open_round(&h, 1, TB_TASK_CALIBRATE, 5);
    commit(&h, 1, TB_TASK_CALIBRATE, 40, 0.0);
    const tb_run_history *run = tb_history_newest(&h);
    CHECK(run->n == 40 && run->rounds == 40 && !run->ended);
    CHECK(run->at[39].round == 40 && run->at[39].n_in == 3);
    CHECK(run->at[39].n_asked == 50); /* of the training round */
    CHECK(run->at[39].metrics.accuracy == 0.9);
    CHECK(run->at[39].metrics.train_loss == 0.5);
    CHECK(!run->at[39].seen);
    tb_history_release(&h);
    tb_history_release(&h);
}

static void runs_that_go_side_by_side_have_a_history_each(void **state)
{
    (void)state;
    tb_history h = {0};
    start(&h, 1, "first", 2);
    start(&h, 2, "second", 7);
    open_round(&h, 1, TB_TASK_TRAIN, 3);
    open_round(&h, 2, TB_TASK_TRAIN, 4);
    commit(&h, 2, TB_TASK_TRAIN, 1, 0.25);
    commit(&h, 1, TB_TASK_TRAIN, 1, 0.5);
    end(&h, 1, TB_OUTCOME_CANCELLED);
    const tb_run_history *first = tb_history_find(&h, &(tb_run_id){{1}});
    const tb_run_history *second = tb_history_find(&h, &(tb_run_id){{2}});
    CHECK(first->ended && first->outcome == TB_OUTCOME_CANCELLED);
    CHECK(strcmp(first->why, "enough") == 0 && first->n == 1);
    CHECK(first->at[0].n_asked == 3 && first->at[0].metrics.accuracy == 0.5);
    CHECK(!second->ended && second->n == 1 && second->rounds == 7);
    CHECK(second->at[0].n_asked == 4);
    CHECK(second->at[0].metrics.accuracy == 0.25);
    CHECK(tb_history_newest(&h) == second);
    tb_history_release(&h);
}

static void a_run_is_found_as_a_person_names_it(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_history h = {0};
    tb_run_history *run = NULL;
    start(&h, 0x3f, "fashion", 2);
    start(&h, 0x3e, "digits", 2);
    start(&h, 0x51, "fashion", 2);
    CHECK_OK(tb_history_named(&run, &h, "fashion", &err), err);
    CHECK(run->run.bytes[0] == 0x51); /* the newest of the name */
    CHECK_OK(tb_history_named(&run, &h, "3f00", &err), err);
    CHECK(run->run.bytes[0] == 0x3f);
    CHECK_ERR(tb_history_named(&run, &h, "3", &err), TB_E_USAGE, err,
              "2 runs begin with \"3\"");
    CHECK_ERR(tb_history_named(&run, &h, "none", &err), TB_E_NOT_FOUND, err,
              "no run \"none\": `tributaryd jobs` lists them");
    CHECK(tb_history_named(&run, &h, "", &err) == TB_E_NOT_FOUND);
    tb_history_release(&h);
}

/* 300 runs, of which one never ends. */
static void old_runs_are_left_out_and_lose_their_rounds_before(void **state)
{
    (void)state;
    tb_history h = {0};
    start(&h, 255, "long", 2);
    open_round(&h, 255, TB_TASK_TRAIN, 3);
    commit(&h, 255, TB_TASK_TRAIN, 1, 0.5);
    for (int i = 0; i < 300; i++) {
        start(&h, (uint8_t)(i % 200), "short", 1);
        open_round(&h, (uint8_t)(i % 200), TB_TASK_TRAIN, 3);
        commit(&h, (uint8_t)(i % 200), TB_TASK_TRAIN, 1, 0.5);
        end(&h, (uint8_t)(i % 200), TB_OUTCOME_DONE);
    }
    CHECK(h.n == TB_HISTORY_RUNS);
    CHECK(h.runs[0].run.bytes[0] == 255 && h.runs[0].n == 1);
    CHECK(h.runs[1].n == 0 && h.runs[1].ended);
    CHECK(tb_history_newest(&h)->n == 1);
    size_t lined = 0;
    for (size_t i = 1; i < h.n; i++) {
        lined += h.runs[i].n;
    }
    CHECK(lined <= TB_HISTORY_LINED + 1);
    tb_history_release(&h);
    CHECK(tb_mem_live() == 0);
}

static void a_line_that_finds_no_memory_changes_nothing(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_history h = {0};
    start(&h, 1, "small", 2);
    open_round(&h, 1, TB_TASK_TRAIN, 3);
    tb_record record = committed(1, TB_TASK_TRAIN, 1, 0.5);
    tb_mem_fail_after(0);
    tb_rc rc = tb_history_add(&h, &record, &err);
    tb_mem_fail_after(-1);
    CHECK(rc == TB_E_NOMEM && h.runs[0].n == 0);
    add(&h, &record);
    CHECK(h.runs[0].n == 1);
    tb_history_release(&h);
}

static void the_newest_row_of_a_model_is_its_current_version(void **state)
{
    (void)state;
    tb_err err;
    tb_registry r = {0};
    tb_name a, b, none;
    CHECK(tb_name_set(&a, "a") && tb_name_set(&b, "b"));
    CHECK(tb_name_set(&none, "none"));
    for (uint64_t i = 1; i <= 20; i++) {
        tb_rec_version v = {.model = i % 2 == 0 ? a : b,
                            .sequence = (i + 1) / 2};
        v.manifest.bytes[0] = (uint8_t)i;
        CHECK_OK(tb_registry_add(&r, &v, &err), err);
    }
    CHECK(tb_registry_find(&r, &a, 0)->manifest.bytes[0] == 20);
    CHECK(tb_registry_find(&r, &b, 0)->manifest.bytes[0] == 19);
    CHECK(tb_registry_find(&r, &b, 3)->manifest.bytes[0] == 5);
    CHECK(tb_registry_find(&r, &a, 11) == NULL);
    CHECK(tb_registry_find(&r, &none, 0) == NULL);
    tb_registry_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_a_training_round_and_the_clients_measure_of_it),
        cmocka_unit_test(runs_that_go_side_by_side_have_a_history_each),
        cmocka_unit_test(a_run_is_found_as_a_person_names_it),
        cmocka_unit_test(old_runs_are_left_out_and_lose_their_rounds_before),
        cmocka_unit_test(a_line_that_finds_no_memory_changes_nothing),
        cmocka_unit_test(the_newest_row_of_a_model_is_its_current_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
