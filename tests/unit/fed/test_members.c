/* Members in the coordinator machine: labels and who is eligible. */
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator.h"
#include "small_run.h"

typedef struct bench {
    tb_coordinator *co;
    tb_actions out; /* of the last step */
} bench;

static tb_labels labelled(const char *text)
{
    tb_labels labels = {""};
    CHECK(tb_labels_change(&labels, text, NULL) == TB_OK);
    return labels;
}

static tb_rc step(bench *b, const tb_event *event, tb_err *err)
{
    tb_actions_release(&b->out);
    return tb_coordinator_step(b->co, event, 1, &b->out, err);
}

static tb_rc record(bench *b, const tb_record *record, tb_err *err)
{
    tb_event event = {.kind = TB_EV_RECORD, .record = record};
    return step(b, &event, err);
}

static void enrol(bench *b, const char *client, const char *labels)
{
    tb_err err = {0};
    tb_record invited = {.kind = TB_REC_INVITED};
    tb_record enrolled = {.kind = TB_REC_ENROLLED};
    invited.u.invited.client = named(client);
    invited.u.invited.labels = labelled(labels);
    memcpy(invited.u.invited.invite, client, strlen(client));
    enrolled.u.enrolled.client = named(client);
    memcpy(enrolled.u.enrolled.invite, client, strlen(client));
    CHECK_OK(record(b, &invited, &err), err);
    CHECK_OK(record(b, &enrolled, &err), err);
}

static void say(bench *b, const char *client, const tb_msg *msg)
{
    tb_err err = {0};
    tb_event event = {
        .kind = TB_EV_MESSAGE, .client = named(client), .msg = msg};
    CHECK_OK(step(b, &event, &err), err);
}

static void come_in(bench *b, const char *client, const char *reported)
{
    tb_msg hello = {.kind = TB_MSG_HELLO,
                    .u.hello = {.protocol_min = 1,
                                .protocol_max = 1,
                                .client = named(client),
                                .labels = labelled(reported),
                                .n_data_sets = 1}};
    tb_msg check_in = {.kind = TB_MSG_CHECK_IN};
    hello.u.hello.data_sets[0] = named("numbers");
    say(b, client, &hello);
    say(b, client, &check_in);
}

/* Whether the last step asked this client to take part. */
static bool offered(const bench *b, const char *client)
{
    for (size_t i = 0; i < b->out.n; i++) {
        const tb_action *a = &b->out.at[i];
        if (a->kind == TB_ACT_SEND && a->u.msg->kind == TB_MSG_OFFER &&
            strcmp(a->client.text, client) == 0) {
            return true;
        }
    }
    return false;
}

static void start(bench *b, const char *condition, uint32_t target)
{
    static tb_run_params p; /* large */
    tb_err err = {0};
    small_run(&p, target);
    CHECK_OK(tb_eligible_add(&p.eligible, condition, &err), err);
    tb_event event = {.kind = TB_EV_START, .params = &p};
    CHECK_OK(step(b, &event, &err), err);
}

static void set_up(bench *b)
{
    tb_err err = {0};
    tb_coordinator_params params = tb_coordinator_defaults();
    memset(b, 0, sizeof *b);
    CHECK_OK(tb_coordinator_new(&b->co, &params, &err), err);
    CHECK_OK(tb_coordinator_resume(b->co, 0, &b->out, &err), err);
}

static void tear_down(bench *b)
{
    tb_actions_release(&b->out);
    tb_coordinator_free(&b->co);
    CHECK(tb_mem_live() == 0);
}

static void waits_for(const bench *b, const char *text)
{
    tb_run_status status;
    CHECK(tb_coordinator_run_status(b->co, 0, &status));
    if (strstr(status.waits_for, text) == NULL) {
        fail_msg("no \"%s\" in: %s", text, status.waits_for);
    }
}

static void only_clients_whose_labels_fit_are_asked(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    enrol(&b, "anna", "site=paris");
    enrol(&b, "bert", "site=lyon");
    enrol(&b, "carl", "");
    come_in(&b, "anna", "");
    come_in(&b, "bert", "");
    come_in(&b, "carl", "site=lyon"); /* its own word will do */
    start(&b, "site=lyon", 2);
    CHECK(!offered(&b, "anna"));
    CHECK(offered(&b, "bert") && offered(&b, "carl"));
    tear_down(&b);
}

static void the_operators_word_beats_the_clients(void **state)
{
    bench b;
    tb_err err = {0};
    (void)state;
    set_up(&b);
    enrol(&b, "anna", "memory=1GB");
    come_in(&b, "anna", "memory=64GB cpus=4");
    start(&b, "memory>=8GB", 1);
    CHECK(!offered(&b, "anna"));
    waits_for(&b, "0 of 1 connected clients are eligible");
    waits_for(&b, "eligible: memory>=8GB");
    tb_record r = {.kind = TB_REC_LABELLED};
    r.u.labelled.client = named("anna");
    CHECK_OK(record(&b, &r, &err), err); /* nothing said any more */
    CHECK(offered(&b, "anna"));
    tear_down(&b);
}

static void status_counts_who_is_eligible(void **state)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    bench b;
    (void)state;
    set_up(&b);
    for (size_t i = 0; i < 5; i++) {
        enrol(&b, names[i], i < 2 ? "site=lyon" : "site=rome");
        if (i != 4) {
            come_in(&b, names[i], "");
        }
    }
    start(&b, "site=lyon|nice", 3);
    waits_for(&b, "2 of 4 connected clients are eligible (data.set: numbers; "
                  "eligible: site=lyon|nice), 2 of them ready; "
                  "cohort.minimum: 3");
    tear_down(&b);
}

static void labels_are_of_members_only(void **state)
{
    bench b;
    tb_err err = {0};
    tb_member m;
    (void)state;
    set_up(&b);
    enrol(&b, "anna", "tag=a");
    tb_record r = {.kind = TB_REC_LABELLED};
    r.u.labelled.client = named("dora");
    CHECK_ERR(record(&b, &r, &err), TB_E_NOT_FOUND, err, "no member dora");
    r.u.labelled.client = named("anna");
    r.u.labelled.labels = labelled("site=lyon tag=b");
    CHECK_OK(record(&b, &r, &err), err);
    come_in(&b, "anna", "cpus=8");
    CHECK(tb_coordinator_member(b.co, 0, &m));
    assert_string_equal(m.labels.text, "site=lyon tag=b");
    assert_string_equal(m.reported.text, "cpus=8");
    tb_msg bye = {.kind = TB_MSG_BYE};
    say(&b, "anna", &bye);
    CHECK(tb_coordinator_member(b.co, 0, &m));
    assert_string_equal(m.labels.text, "site=lyon tag=b");
    assert_string_equal(m.reported.text, "");
    r = (tb_record){.kind = TB_REC_REVOKED};
    r.u.revoked.client = named("anna");
    CHECK_OK(record(&b, &r, &err), err);
    r = (tb_record){.kind = TB_REC_LABELLED};
    r.u.labelled.client = named("anna");
    CHECK_ERR(record(&b, &r, &err), TB_E_NOT_FOUND, err, "no member anna");
    tear_down(&b);
}

static tb_record rotation(tb_rotation_step step, uint8_t key)
{
    tb_record r = {.kind = TB_REC_ROTATED};
    r.u.rotated = (tb_rec_rotated){.client = named("anna"),
                                   .step = step,
                                   .sign_key = {key},
                                   .curve_key = {key},
                                   .at_s = 100u * key,
                                   .old_until_s = 100u * key + 50};
    return r;
}

static void keys_are_rotated_in_two_steps(void **state)
{
    bench b;
    tb_err err = {0};
    tb_member m;
    (void)state;
    set_up(&b);
    enrol(&b, "anna", "");
    tb_record r = rotation(TB_ROTATION_IN_USE, 1);
    CHECK_ERR(record(&b, &r, &err), TB_E_MISMATCH, err, "cannot be changed");
    r = rotation(TB_ROTATION_PROVEN, 1);
    CHECK_OK(record(&b, &r, &err), err);
    CHECK(tb_coordinator_member(b.co, 0, &m));
    CHECK(m.sign_key[0] == 1 && m.curve_key[0] == 1 && m.since_s == 100);
    CHECK(m.old_curve_in && m.n_old == 1 && m.old[0].until_s == 150);
    CHECK(m.old[0].sign_key[0] == 0 && m.old[0].since_s == 0);
    CHECK(record(&b, &r, &err) == TB_E_MISMATCH); /* these are its keys */
    r = rotation(TB_ROTATION_IN_USE, 1);
    CHECK_OK(record(&b, &r, &err), err);
    CHECK(tb_coordinator_member(b.co, 0, &m) && !m.old_curve_in);
    CHECK(record(&b, &r, &err) == TB_E_MISMATCH);
    for (uint8_t key = 2; key < 5; key++) { /* the oldest are forgotten */
        r = rotation(TB_ROTATION_PROVEN, key);
        CHECK_OK(record(&b, &r, &err), err);
    }
    CHECK(tb_coordinator_member(b.co, 0, &m));
    CHECK(m.n_old == 2 && m.old[0].sign_key[0] == 3 &&
          m.old[1].sign_key[0] == 2 && m.old[1].since_s == 200);
    r = (tb_record){.kind = TB_REC_REVOKED};
    r.u.revoked.client = named("anna");
    CHECK_OK(record(&b, &r, &err), err);
    r = rotation(TB_ROTATION_PROVEN, 9);
    CHECK_ERR(record(&b, &r, &err), TB_E_NOT_FOUND, err, "no member anna");
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_clients_whose_labels_fit_are_asked),
        cmocka_unit_test(the_operators_word_beats_the_clients),
        cmocka_unit_test(status_counts_who_is_eligible),
        cmocka_unit_test(labels_are_of_members_only),
        cmocka_unit_test(keys_are_rotated_in_two_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
