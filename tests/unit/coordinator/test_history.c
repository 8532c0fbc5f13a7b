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

static void start(tb_history *h, const char *name, uint32_t rounds)
{
    tb_run_params params = {.rounds = rounds};
    CHECK(tb_name_set(&params.name, name));
    add(h, &(tb_record){.kind = TB_REC_RUN_STARTED, .u.run_started = &params});
}

static void open_round(tb_history *h, tb_task task, uint32_t n_clients)
{
    tb_record record = {.kind = TB_REC_ROUND_OPENED};
    record.u.round_opened.task = task;
    record.u.round_opened.n_clients = n_clients;
    add(h, &record);
}

static void commit(tb_history *h, tb_task task, uint32_t round, double accuracy)
{
    tb_record record = {.kind = TB_REC_COMMITTED};
    record.u.committed = (tb_rec_committed){
        .task = task,
        .round = round,
        .n_clients = 3,
        .metrics = {.train_loss = task == TB_TASK_TRAIN ? 0.5 : 9.0,
                    .loss = 0.25,
                    .accuracy = accuracy,
                    .samples = 100}};
    add(h, &record);
}

static void a_line_a_training_round_and_the_clients_measure_of_it(void **state)
{
    (void)state;
    tb_history h = {0};
    start(&h, "small", 40);
    for (uint32_t round = 1; round <= 40; round++) {
        open_round(&h, TB_TASK_TRAIN, 10 + round);
        commit(&h, TB_TASK_TRAIN, round, 0.1);
        open_round(&h, TB_TASK_EVALUATE, 5);
        commit(&h, TB_TASK_EVALUATE, round, 0.5 + round / 100.0);
    }
    open_round(&h, TB_TASK_CALIBRATE, 5);
    commit(&h, TB_TASK_CALIBRATE, 40, 0.0);
    CHECK(h.n == 40 && h.rounds == 40 && !h.ended);
    CHECK(h.at[39].round == 40 && h.at[39].n_in == 3);
    CHECK(h.at[39].n_asked == 50); /* of the training round */
    CHECK(h.at[39].metrics.accuracy == 0.9);
    CHECK(h.at[39].metrics.train_loss == 0.5);
    CHECK(!h.at[39].seen);
    tb_history_release(&h);
    tb_history_release(&h);
}

static void a_new_run_starts_a_new_history(void **state)
{
    (void)state;
    tb_history h = {0};
    start(&h, "first", 2);
    open_round(&h, TB_TASK_TRAIN, 3);
    commit(&h, TB_TASK_TRAIN, 1, 0.5);
    tb_record ended = {.kind = TB_REC_RUN_ENDED};
    ended.u.run_ended.outcome = TB_OUTCOME_CANCELLED;
    memcpy(ended.u.run_ended.why, "enough", 7);
    add(&h, &ended);
    CHECK(h.ended && h.outcome == TB_OUTCOME_CANCELLED && h.n == 1);
    CHECK(strcmp(h.why, "enough") == 0);
    start(&h, "second", 7);
    CHECK(!h.ended && h.n == 0 && h.rounds == 7);
    CHECK(strcmp(h.name.text, "second") == 0);
    tb_history_release(&h);
}

static void a_line_that_finds_no_memory_changes_nothing(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_history h = {0};
    tb_record record = {.kind = TB_REC_COMMITTED};
    record.u.committed.task = TB_TASK_TRAIN;
    start(&h, "small", 2);
    tb_mem_fail_after(0);
    tb_rc rc = tb_history_add(&h, &record, &err);
    tb_mem_fail_after(-1);
    CHECK(rc == TB_E_NOMEM && h.n == 0);
    add(&h, &record);
    CHECK(h.n == 1);
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
        cmocka_unit_test(a_new_run_starts_a_new_history),
        cmocka_unit_test(a_line_that_finds_no_memory_changes_nothing),
        cmocka_unit_test(the_newest_row_of_a_model_is_its_current_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
