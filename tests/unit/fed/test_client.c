/* The client machine, step by step. Its driver and its coordinator here are the
 * test. */
#include "fed/client.h"

#include <string.h>

#include "base/mem.h"
#include "round_config.h"

typedef struct bench {
    tb_client *cl;
    tb_cactions out; /* of the last step */
    int64_t now;
    tb_client_params params;
    tb_buf offer; /* canonical configuration */
    tb_hash round;
    uint8_t state[TB_CLIENT_STATE_BYTES_MAX]; /* as it was last saved */
    size_t n_state;
} bench;

static void step(bench *b, tb_cevent event)
{
    tb_err err = {0};
    tb_cactions_release(&b->out);
    CHECK_OK(tb_client_step(b->cl, &event, b->now, &b->out, &err), err);
    for (size_t i = 0; i < b->out.n; i++) {
        const tb_caction *a = &b->out.at[i];
        if (a->kind == TB_CACT_SAVE) {
            memcpy(b->state, a->bytes, a->n_bytes);
            b->n_state = a->n_bytes;
        }
    }
}

static void tick(bench *b)
{
    b->now = tb_client_next_ms(b->cl);
    CHECK(b->now != INT64_MAX);
    step(b, (tb_cevent){.kind = TB_CEV_TICK});
}

static void tell(bench *b, const tb_msg *msg)
{
    step(b, (tb_cevent){.kind = TB_CEV_MESSAGE, .msg = msg, .genuine = true});
}

static size_t count(const bench *b, tb_caction_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < b->out.n; i++) {
        n += b->out.at[i].kind == kind;
    }
    return n;
}

static bool said(const bench *b, tb_msg_kind kind)
{
    for (size_t i = 0; i < b->out.n; i++) {
        if (b->out.at[i].kind == TB_CACT_SEND &&
            b->out.at[i].msg->kind == kind) {
            return true;
        }
    }
    return false;
}

static tb_cphase phase(const bench *b)
{
    tb_client_status status;
    tb_client_status_get(b->cl, &status);
    return status.phase;
}

static void start(bench *b)
{
    tb_err err = {0};
    CHECK_OK(tb_client_new(&b->cl, &b->params, b->state, b->n_state, &err),
             err);
}

static void set_up(bench *b)
{
    tb_round_config config = round_config(100, 1, "f32");
    tb_err err = {0};
    memset(b, 0, sizeof *b);
    b->params = tb_client_defaults();
    CHECK(tb_name_set(&b->params.name, "anna"));
    CHECK(tb_name_set(&b->params.data_sets[0], "numbers"));
    b->params.n_data_sets = 1;
    tb_buf_init(&b->offer, TB_CONFIG_BYTES_MAX);
    CHECK_OK(tb_round_config_encode(&config, &b->offer, &err), err);
    b->round = tb_hash_of(b->offer.data, b->offer.len);
    start(b);
}

static void tear_down(bench *b)
{
    tb_cactions_release(&b->out);
    tb_client_free(&b->cl);
    tb_buf_release(&b->offer);
    CHECK(tb_mem_live() == 0);
}

static void welcome(bench *b)
{
    tb_msg msg = {.kind = TB_MSG_WELCOME, .u.welcome = {.protocol = 1}};
    step(b, (tb_cevent){.kind = TB_CEV_CONNECTED});
    CHECK(said(b, TB_MSG_HELLO));
    tell(b, &msg);
}

static tb_msg offer_of(const bench *b)
{
    return (tb_msg){.kind = TB_MSG_OFFER,
                    .u.offer = {.config = {b->offer.data, b->offer.len}}};
}

/* Up to WORK: the model was here already. */
static void work(bench *b)
{
    tb_msg offer = offer_of(b);
    welcome(b);
    CHECK(said(b, TB_MSG_CHECK_IN));
    tell(b, &offer);
    CHECK(said(b, TB_MSG_ACCEPT) && count(b, TB_CACT_FIND) == 1);
    step(b, (tb_cevent){.kind = TB_CEV_FOUND, .config = b->round, .have = 10});
    CHECK(count(b, TB_CACT_WORK) == 1 && phase(b) == TB_CPHASE_WORKING);
}

static tb_sealed sealed_of(uint8_t id)
{
    return (tb_sealed){
        .upload = {.bytes = {id}}, .n_blocks = 2, .update = {.bytes = {id, 1}}};
}

static void worked(bench *b, uint8_t id)
{
    step(b, (tb_cevent){.kind = TB_CEV_WORKED,
                        .config = b->round,
                        .sealed = sealed_of(id)});
}

static tb_msg credit_of(uint8_t id, uint32_t next, uint32_t until)
{
    return (tb_msg){
        .kind = TB_MSG_CREDIT,
        .u.credit = {.upload = {.bytes = {id}}, .next = next, .until = until}};
}

static tb_msg receipt_of(const bench *b, uint8_t id)
{
    return (tb_msg){.kind = TB_MSG_RECEIPT,
                    .u.receipt = {.config = b->round,
                                  .update = {.bytes = {id, 1}},
                                  .sequence = 9}};
}

static void a_round_goes_from_offer_to_receipt(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    work(&b);
    worked(&b, 5);
    CHECK(b.out.at[0].kind == TB_CACT_SAVE); /* before anything is sent */
    CHECK(said(&b, TB_MSG_UPLOAD_BEGIN));
    tb_msg credit = credit_of(5, 0, 1);
    tell(&b, &credit);
    CHECK(count(&b, TB_CACT_BLOCK) == 1 && !said(&b, TB_MSG_UPLOAD_END));
    credit = credit_of(5, 1, 2);
    tell(&b, &credit);
    CHECK(count(&b, TB_CACT_BLOCK) == 1 && said(&b, TB_MSG_UPLOAD_END));
    tb_msg receipt = receipt_of(&b, 5);
    tell(&b, &receipt);
    CHECK(b.out.at[0].kind == TB_CACT_SETTLE && b.out.at[0].accepted);
    CHECK(said(&b, TB_MSG_CHECK_IN));
    tear_down(&b);
}

static void nothing_moves_without_a_genuine_receipt_of_this_update(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    work(&b);
    worked(&b, 5);
    tb_msg receipt = receipt_of(&b, 5);
    step(&b, (tb_cevent){.kind = TB_CEV_MESSAGE, .msg = &receipt});
    CHECK(count(&b, TB_CACT_SETTLE) == 0);
    receipt = receipt_of(&b, 6);
    tell(&b, &receipt);
    CHECK(count(&b, TB_CACT_SETTLE) == 0);
    tear_down(&b);
}

/* The offer of another epoch, which began at this row. */
static tb_msg offer_of_epoch(bench *b, uint32_t epoch, uint64_t row)
{
    tb_err err = {0};
    tb_round_config config = round_config(100, 1, "f32");
    config.epoch = epoch;
    config.epoch_row = row;
    config.epoch_id[0] = (uint8_t)epoch;
    b->offer.len = 0;
    CHECK_OK(tb_round_config_encode(&config, &b->offer, &err), err);
    b->round = tb_hash_of(b->offer.data, b->offer.len);
    return offer_of(b);
}

static void check_note(const bench *b, const char *part, bool is_there)
{
    tb_client_status status;
    tb_client_status_get(b->cl, &status);
    CHECK((strstr(status.epoch_note, part) != NULL) == is_there);
}

/* The row of the receipt that is on its disk; 0: none. */
static uint64_t receipt_kept(const bench *b)
{
    tb_err err = {0};
    tb_client_past past;
    CHECK_OK(tb_client_past_read(&past, b->state, b->n_state, &err), err);
    return past.receipt.sequence;
}

static void
a_restored_coordinator_is_followed_and_its_loss_is_said(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    work(&b);
    worked(&b, 5);
    tb_msg receipt = receipt_of(&b, 5); /* of row 9 */
    tell(&b, &receipt);
    check_note(&b, "restored", false);
    tb_msg offer = offer_of_epoch(&b, 1, 10); /* it still has row 9 */
    tell(&b, &offer);
    CHECK(said(&b, TB_MSG_ACCEPT) && count(&b, TB_CACT_SAVE) == 1);
    check_note(&b, "epoch 1, from row 10", true);
    check_note(&b, "lost", false);
    CHECK(receipt_kept(&b) == 9);
    offer = offer_of_epoch(&b, 2, 9); /* but not any more */
    tell(&b, &offer);
    CHECK(said(&b, TB_MSG_ACCEPT));
    check_note(&b, "lost the update", true);
    CHECK(receipt_kept(&b) == 0); /* it is nothing to hold against anyone */
    tear_down(&b);
}

static void
a_copy_of_an_older_epoch_is_declined_after_a_restart_too(void **state)
{
    bench b;
    tb_client_status status;
    (void)state;
    set_up(&b);
    welcome(&b);
    tb_msg offer = offer_of_epoch(&b, 2, 10);
    tell(&b, &offer);
    CHECK(said(&b, TB_MSG_ACCEPT));
    tb_client_free(&b.cl);
    start(&b);
    welcome(&b);
    offer = offer_of_epoch(&b, 1, 10);
    tell(&b, &offer);
    CHECK(said(&b, TB_MSG_DECLINE) && !said(&b, TB_MSG_ACCEPT));
    tb_client_status_get(b.cl, &status);
    CHECK(strstr(status.last_why, "of epoch 1") != NULL);
    CHECK(status.epoch == 2);
    tear_down(&b);
}

static void an_offer_that_is_not_signed_is_not_taken(void **state)
{
    bench b;
    tb_client_status status;
    (void)state;
    set_up(&b);
    welcome(&b);
    tb_msg offer = offer_of(&b);
    step(&b, (tb_cevent){.kind = TB_CEV_MESSAGE, .msg = &offer});
    CHECK(b.out.n == 0);
    tb_client_status_get(b.cl, &status);
    CHECK(status.last_refusal == TB_REFUSE_IDENTITY);
    tear_down(&b);
}

static void a_coordinator_of_another_federation_is_left(void **state)
{
    bench b;
    tb_msg msg = {.kind = TB_MSG_WELCOME, .u.welcome = {.protocol = 1}};
    (void)state;
    set_up(&b);
    step(&b, (tb_cevent){.kind = TB_CEV_CONNECTED});
    step(&b, (tb_cevent){.kind = TB_CEV_MESSAGE, .msg = &msg});
    CHECK(count(&b, TB_CACT_CLOSE) == 1 && phase(&b) == TB_CPHASE_OFFLINE);
    tear_down(&b);
}

static void an_offer_of_data_that_is_not_here_is_declined(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    tb_client_free(&b.cl);
    CHECK(tb_name_set(&b.params.data_sets[0], "letters"));
    start(&b);
    welcome(&b);
    tb_msg offer = offer_of(&b);
    tell(&b, &offer);
    CHECK(said(&b, TB_MSG_DECLINE) && !said(&b, TB_MSG_ACCEPT));
    tear_down(&b);
}

static void the_model_is_fetched_from_where_it_stopped(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    welcome(&b);
    tb_msg offer = offer_of(&b);
    tell(&b, &offer);
    step(&b, (tb_cevent){.kind = TB_CEV_FOUND, .config = b.round, .have = 4});
    CHECK(said(&b, TB_MSG_FETCH));
    CHECK(b.out.at[0].msg->u.fetch.offset == 4 &&
          b.out.at[0].msg->u.fetch.length == 6);
    tb_msg chunk = {.kind = TB_MSG_CHUNK,
                    .u.chunk = {.offset = 4, .total = 10}};
    step(&b, (tb_cevent){.kind = TB_CEV_MESSAGE,
                         .msg = &chunk,
                         .genuine = true,
                         .payload_bytes = 3});
    CHECK(count(&b, TB_CACT_STORE) == 1 && count(&b, TB_CACT_WORK) == 0);
    tick(&b); /* the rest was lost: asked for again */
    CHECK(b.out.at[0].msg->u.fetch.offset == 7);
    chunk.u.chunk.offset = 7;
    step(&b, (tb_cevent){.kind = TB_CEV_MESSAGE,
                         .msg = &chunk,
                         .genuine = true,
                         .payload_bytes = 3});
    CHECK(count(&b, TB_CACT_WORK) == 1);
    tear_down(&b);
}

static void a_bad_model_is_fetched_again_a_hopeless_job_declined(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    work(&b);
    step(&b, (tb_cevent){.kind = TB_CEV_WORKED,
                         .config = b.round,
                         .rc = TB_E_MISMATCH,
                         .why = "its hash is wrong"});
    CHECK(count(&b, TB_CACT_FIND) == 1);
    step(&b, (tb_cevent){.kind = TB_CEV_FOUND, .config = b.round, .have = 10});
    step(&b, (tb_cevent){.kind = TB_CEV_WORKED,
                         .config = b.round,
                         .rc = TB_E_UNSUPPORTED,
                         .why = "no such loss"});
    CHECK(said(&b, TB_MSG_DECLINE));
    CHECK(strcmp(b.out.at[0].msg->u.answer.why, "no such loss") == 0);
    tear_down(&b);
}

static void a_decline_is_not_told_under_an_older_refusals_code(void **state)
{
    bench b;
    tb_client_status status;
    (void)state;
    set_up(&b);
    welcome(&b);
    tb_msg offer = offer_of(&b);
    step(&b, (tb_cevent){.kind = TB_CEV_MESSAGE, .msg = &offer});
    tb_client_status_get(b.cl, &status);
    CHECK(status.last_refusal == TB_REFUSE_IDENTITY);
    tell(&b, &offer);
    step(&b, (tb_cevent){.kind = TB_CEV_FOUND, .config = b.round, .have = 10});
    step(&b, (tb_cevent){.kind = TB_CEV_WORKED,
                         .config = b.round,
                         .rc = TB_E_REFUSED,
                         .why = "row 3 holds NaN"});
    CHECK(said(&b, TB_MSG_DECLINE));
    tb_client_status_get(b.cl, &status);
    CHECK(status.last_refusal == 0);
    CHECK(strstr(status.last_why, "row 3 holds NaN") != NULL);
    tear_down(&b);
}

static void a_huge_pause_from_the_coordinator_is_cut_not_wrapped(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    tb_msg no = {.kind = TB_MSG_REFUSE,
                 .u.refuse = {.code = TB_REFUSE_STATE,
                              .about = TB_MSG_CHECK_IN,
                              .retry_ms = UINT64_C(1) << 63}};
    for (int i = 0; i < 3; i++) { /* doubled each time */
        welcome(&b);
        tell(&b, &no);
        CHECK(tb_client_next_ms(b.cl) == b.now + 3600000);
    }
    tear_down(&b);
}

static void only_the_update_that_is_still_needed_is_named(void **state)
{
    bench b;
    tb_hash config;
    (void)state;
    set_up(&b);
    CHECK(!tb_client_sealed(b.cl, &config));
    work(&b);
    worked(&b, 5);
    tb_client_free(&b.cl);
    start(&b);
    CHECK(tb_client_sealed(b.cl, &config));
    CHECK(tb_hash_equal(&config, &b.round));
    step(&b, (tb_cevent){.kind = TB_CEV_LOST});
    CHECK(!tb_client_sealed(b.cl, &config));
    tear_down(&b);
}

static void after_a_restart_it_sends_the_same_sealed_update(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    work(&b);
    worked(&b, 5);
    tb_client_free(&b.cl);
    start(&b);
    welcome(&b);
    CHECK(said(&b, TB_MSG_UPLOAD_BEGIN) && !said(&b, TB_MSG_CHECK_IN));
    CHECK(b.out.at[0].msg->u.upload_begin.upload.bytes[0] == 5);
    CHECK(tb_hash_equal(&b.out.at[0].msg->u.upload_begin.config, &b.round));
    tb_msg credit = credit_of(5, 1, 2); /* block 0 was there */
    tell(&b, &credit);
    CHECK(count(&b, TB_CACT_BLOCK) == 1 && said(&b, TB_MSG_UPLOAD_END));
    tear_down(&b);
}

static void a_lost_sealed_file_leads_to_new_work(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    work(&b);
    worked(&b, 5);
    step(&b, (tb_cevent){.kind = TB_CEV_LOST});
    CHECK(count(&b, TB_CACT_SETTLE) == 1 && said(&b, TB_MSG_CHECK_IN));
    tb_msg offer = offer_of(&b);
    tell(&b, &offer);
    CHECK(said(&b, TB_MSG_ACCEPT));
    tear_down(&b);
}

static void a_final_refusal_settles_a_passing_one_waits(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    work(&b);
    worked(&b, 5);
    tb_msg no = {.kind = TB_MSG_REFUSE,
                 .u.refuse = {.code = TB_REFUSE_FULL,
                              .about = TB_MSG_BLOCK,
                              .config = b.round,
                              .retry_ms = 500}};
    tell(&b, &no);
    CHECK(b.out.n == 0 && tb_client_next_ms(b.cl) == b.now + 500);
    tick(&b);
    CHECK(said(&b, TB_MSG_UPLOAD_BEGIN));
    no.u.refuse =
        (tb_msg_refuse){.code = TB_REFUSE_LATE, .about = TB_MSG_UPLOAD_BEGIN};
    tell(&b, &no); /* of another round: nothing */
    CHECK(count(&b, TB_CACT_SETTLE) == 0);
    no.u.refuse.config = b.round;
    tell(&b, &no);
    CHECK(b.out.at[0].kind == TB_CACT_SETTLE && !b.out.at[0].accepted);
    CHECK(said(&b, TB_MSG_CHECK_IN));
    tear_down(&b);
}

static void silence_is_answered_by_asking_again_and_then_anew(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    tick(&b);
    CHECK(count(&b, TB_CACT_CONNECT) == 1);
    welcome(&b);
    for (int i = 0; i < 4; i++) {
        tick(&b);
        CHECK(said(&b, TB_MSG_CHECK_IN));
    }
    tick(&b);
    CHECK(count(&b, TB_CACT_CLOSE) == 1);
    tick(&b);
    CHECK(count(&b, TB_CACT_CONNECT) == 1);
    tear_down(&b);
}

static void pauses_before_connecting_double_up_to_the_most(void **state)
{
    bench b;
    int64_t last = 0;
    (void)state;
    set_up(&b);
    for (int i = 1; i < 20; i++) {
        step(&b, (tb_cevent){.kind = TB_CEV_DISCONNECTED});
        int64_t pause = tb_client_next_ms(b.cl) - b.now;
        int64_t most = 200 << (i <= 10 ? i - 1 : 10);
        most = most < 30000 ? most : 30000;
        CHECK(pause >= most / 2 && pause <= most);
        last = pause;
        b.now += pause;
    }
    CHECK(last >= 15000);
    tear_down(&b);
}

static void altered_or_cut_state_is_refused_with_a_remedy(void **state)
{
    bench b;
    tb_client *cl = NULL;
    tb_err err = {0};
    (void)state;
    set_up(&b);
    work(&b);
    worked(&b, 5);
    CHECK(b.n_state > 0);
    for (size_t n = 1; n < b.n_state; n++) {
        CHECK_ERR(tb_client_new(&cl, &b.params, b.state, n, &err),
                  TB_E_MALFORMED, err, "remove it");
        b.state[n] ^= 1;
        CHECK(tb_client_new(&cl, &b.params, b.state, b.n_state, NULL) ==
              TB_E_MALFORMED);
        b.state[n] ^= 1;
        CHECK(cl == NULL);
    }
    tear_down(&b);
}

static void it_says_goodbye_and_keeps_its_update(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    work(&b);
    worked(&b, 5);
    step(&b, (tb_cevent){.kind = TB_CEV_STOP});
    CHECK(said(&b, TB_MSG_BYE) && count(&b, TB_CACT_CLOSE) == 1);
    CHECK(count(&b, TB_CACT_SETTLE) == 0 && phase(&b) == TB_CPHASE_STOPPED);
    CHECK(tb_client_next_ms(b.cl) == INT64_MAX);
    tear_down(&b);
}

static tb_rc whole_round(void *arg, tb_err *err)
{
    bench *b = arg;
    tb_cactions out = {0};
    tb_client *cl = NULL;
    tb_msg welcome_msg = {.kind = TB_MSG_WELCOME, .u.welcome = {.protocol = 1}};
    tb_msg offer = offer_of(b);
    const tb_cevent events[] = {
        {.kind = TB_CEV_CONNECTED},
        {.kind = TB_CEV_MESSAGE, .msg = &welcome_msg, .genuine = true},
        {.kind = TB_CEV_MESSAGE, .msg = &offer, .genuine = true},
    };
    tb_rc rc = tb_client_new(&cl, &b->params, NULL, 0, err);
    for (size_t i = 0; rc == TB_OK && i < 3; i++) {
        rc = tb_client_step(cl, &events[i], 0, &out, err);
    }
    tb_cactions_release(&out);
    tb_client_free(&cl);
    return rc;
}

static void it_survives_each_allocation_failing(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    tb_client_free(&b.cl);
    tb_cactions_release(&b.out);
    CHECK(tb_check_each_allocation(whole_round, &b) >= 6);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_goes_from_offer_to_receipt),
        cmocka_unit_test(
            a_restored_coordinator_is_followed_and_its_loss_is_said),
        cmocka_unit_test(
            a_copy_of_an_older_epoch_is_declined_after_a_restart_too),
        cmocka_unit_test(
            nothing_moves_without_a_genuine_receipt_of_this_update),
        cmocka_unit_test(an_offer_that_is_not_signed_is_not_taken),
        cmocka_unit_test(a_coordinator_of_another_federation_is_left),
        cmocka_unit_test(an_offer_of_data_that_is_not_here_is_declined),
        cmocka_unit_test(the_model_is_fetched_from_where_it_stopped),
        cmocka_unit_test(a_bad_model_is_fetched_again_a_hopeless_job_declined),
        cmocka_unit_test(a_decline_is_not_told_under_an_older_refusals_code),
        cmocka_unit_test(a_huge_pause_from_the_coordinator_is_cut_not_wrapped),
        cmocka_unit_test(only_the_update_that_is_still_needed_is_named),
        cmocka_unit_test(after_a_restart_it_sends_the_same_sealed_update),
        cmocka_unit_test(a_lost_sealed_file_leads_to_new_work),
        cmocka_unit_test(a_final_refusal_settles_a_passing_one_waits),
        cmocka_unit_test(silence_is_answered_by_asking_again_and_then_anew),
        cmocka_unit_test(pauses_before_connecting_double_up_to_the_most),
        cmocka_unit_test(altered_or_cut_state_is_refused_with_a_remedy),
        cmocka_unit_test(it_says_goodbye_and_keeps_its_update),
        cmocka_unit_test(it_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
