/* A coordinator that was restored from a backup: what the machine makes of the
 * rows, and what it tells clients of the time after the backup. */
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator.h"
#include "round_config.h"
#include "small_run.h"

static tb_run_params params;

static void make_run(void)
{
    small_run(&params, 1);
    params.rounds = 2;
    params.calibrate_max_abs = 8.0F;
    params.max_attempts = 3;
}

typedef struct bench {
    tb_coordinator *co;
    tb_actions out; /* of the last step */
    uint64_t seq;
    tb_hash round; /* that was open in the backup */
} bench;

static void row(bench *b, const tb_record *record)
{
    tb_err err = {0};
    b->seq++;
    CHECK_OK(tb_coordinator_replay(b->co, record, b->seq, &err), err);
}

static void event(bench *b, const tb_event *e)
{
    tb_err err = {0};
    tb_actions_release(&b->out);
    CHECK_OK(tb_coordinator_step(b->co, e, 1000, &b->out, &err), err);
}

static void say(bench *b, const tb_msg *msg)
{
    tb_event e = {.kind = TB_EV_MESSAGE, .client = named("anna"), .msg = msg};
    event(b, &e);
}

/* The first message that went out. */
static const tb_msg *sent(const bench *b)
{
    static const tb_msg none;
    for (size_t i = 0; i < b->out.n; i++) {
        if (b->out.at[i].kind == TB_ACT_SEND) {
            return b->out.at[i].u.msg;
        }
    }
    return &none;
}

/* A member, a run, its first round open with anna's update accepted. */
static void set_up(bench *b)
{
    static tb_round_config config;
    tb_err err = {0};
    tb_buf bytes;
    tb_name cohort = named("anna");
    tb_coordinator_params defaults = tb_coordinator_defaults();
    *b = (bench){0};
    make_run();
    CHECK_OK(tb_coordinator_new(&b->co, &defaults, &err), err);
    tb_record invited = {.kind = TB_REC_INVITED};
    invited.u.invited.client = named("anna");
    row(b, &invited);
    tb_record enrolled = {.kind = TB_REC_ENROLLED};
    enrolled.u.enrolled.client = named("anna");
    row(b, &enrolled);
    row(b, &(tb_record){.kind = TB_REC_RUN_STARTED, .u.run_started = &params});
    config = round_config(100, 0, "f32");
    tb_buf_init(&bytes, TB_CONFIG_BYTES_MAX);
    CHECK_OK(tb_round_config_encode(&config, &bytes, &err), err);
    b->round = tb_hash_of(bytes.data, bytes.len);
    row(b, &(tb_record){.kind = TB_REC_ROUND_OPENED,
                        .u.round_opened = {.round = 1,
                                           .attempt = 1,
                                           .config = {bytes.data, bytes.len},
                                           .n_clients = 1,
                                           .clients = &cohort}});
    row(b, &(tb_record){.kind = TB_REC_ACCEPTED,
                        .u.accepted = {.config = b->round,
                                       .client = cohort,
                                       .upload = {{7}},
                                       .n_blocks = 2,
                                       .weight = 3}});
    tb_buf_release(&bytes);
}

static void tear_down(bench *b)
{
    tb_actions_release(&b->out);
    tb_coordinator_free(&b->co);
    CHECK(tb_mem_live() == 0);
}

static void restore(bench *b, uint32_t epoch)
{
    tb_err err = {0};
    row(b, &(tb_record){.kind = TB_REC_RESTORED,
                        .u.restored = {.epoch = epoch, .id = {9, 9}}});
    CHECK_OK(tb_coordinator_resume(b->co, 0, &b->out, &err), err);
}

static void hello(bench *b)
{
    tb_msg msg = {.kind = TB_MSG_HELLO,
                  .u.hello = {.protocol_min = 1,
                              .protocol_max = 1,
                              .client = named("anna"),
                              .n_data_sets = 1}};
    msg.u.hello.data_sets[0] = named("numbers");
    say(b, &msg);
}

static void uploads_from_before_the_restore_are_of_a_wrong_round(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    restore(&b, 1);
    hello(&b);
    tb_msg begin = {.kind = TB_MSG_UPLOAD_BEGIN,
                    .u.upload_begin = {.config = b.round,
                                       .upload = {{7}}, /* was accepted */
                                       .n_blocks = 2}};
    say(&b, &begin);
    const tb_msg_refuse *no = &sent(&b)->u.refuse;
    CHECK(sent(&b)->kind == TB_MSG_REFUSE);
    CHECK(no->code == TB_REFUSE_WRONG_ROUND && no->retry_ms == 0);
    CHECK(strstr(no->why, "restored from a backup") != NULL);
    tear_down(&b);
}

static void the_round_begins_anew_under_the_new_epoch(void **state)
{
    bench b;
    tb_open open;
    tb_run_status status;
    static const uint8_t id[TB_EPOCH_ID_BYTES] = {9, 9};
    (void)state;
    set_up(&b);
    restore(&b, 4);
    CHECK(tb_coordinator_run_status(b.co, 0, &status) && !status.open);
    hello(&b);
    tb_msg check_in = {.kind = TB_MSG_CHECK_IN};
    say(&b, &check_in);
    CHECK(tb_coordinator_run_status(b.co, 0, &status) && status.open);
    CHECK(tb_coordinator_round(b.co, &status.config, &open));
    CHECK(open.config->round == 1 && open.config->attempt == 2);
    CHECK(open.config->epoch == 4 && open.config->epoch_row == 6);
    CHECK(memcmp(open.config->epoch_id, id, sizeof id) == 0);
    CHECK(!tb_hash_equal(&open.hash, &b.round));
    tear_down(&b);
}

static void an_epoch_never_falls(void **state)
{
    bench b;
    tb_err err = {0};
    (void)state;
    set_up(&b);
    restore(&b, 2);
    tb_record again = {.kind = TB_REC_RESTORED, .u.restored = {.epoch = 2}};
    CHECK_ERR(tb_coordinator_replay(b.co, &again, b.seq + 1, &err),
              TB_E_MALFORMED, err, "epoch 2 after epoch 2");
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uploads_from_before_the_restore_are_of_a_wrong_round),
        cmocka_unit_test(the_round_begins_anew_under_the_new_epoch),
        cmocka_unit_test(an_epoch_never_falls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
