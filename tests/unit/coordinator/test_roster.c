/* The text of a roster: what was written is read back, what was altered not. */
#include "roster.h"

#include <string.h>

#include "crypto/crypto.h"
#include "support/check.h"

typedef struct fixture {
    tb_sign_key *root, *sign;
    tb_certificate certificate;
    tb_coordinator *machine;
    tb_buf text;
} fixture;

static void put(fixture *f, const tb_record *record)
{
    static uint64_t seq;
    tb_err err = {0};
    seq = record == NULL ? 0 : seq + 1;
    if (record != NULL) {
        CHECK_OK(tb_coordinator_replay(f->machine, record, seq, &err), err);
    }
}

static void enrol(fixture *f, const char *name, uint8_t key)
{
    tb_record r = {.kind = TB_REC_ENROLLED};
    r.u.enrolled = (tb_rec_enrolled){.sign_key = {key}, .curve_key = {key, 1}};
    r.u.enrolled.at_s = 1000u + key;
    CHECK(tb_name_set(&r.u.enrolled.client, name));
    put(f, &r);
}

static void setup(fixture *f)
{
    static const uint8_t seeds[2][TB_KEY_SEED_BYTES] = {{1}, {2}};
    tb_err err = {0};
    tb_coordinator_params params = tb_coordinator_defaults();
    *f = (fixture){0};
    CHECK_OK(tb_crypto_init(&err), err);
    CHECK_OK(tb_sign_key_from_seed(&f->root, seeds[0], &err), err);
    CHECK_OK(tb_sign_key_from_seed(&f->sign, seeds[1], &err), err);
    f->certificate.serial = 1;
    f->certificate.valid_until = 10;
    memcpy(f->certificate.sign_key, tb_sign_key_public(f->sign), 32);
    tb_certificate_sign(&f->certificate, f->root);
    CHECK_OK(tb_coordinator_new(&f->machine, &params, &err), err);
    put(f, NULL);
    enrol(f, "anna", 7);
    enrol(f, "bert", 8);
    tb_record rotated = {.kind = TB_REC_ROTATED};
    rotated.u.rotated = (tb_rec_rotated){.step = TB_ROTATION_PROVEN,
                                         .sign_key = {9},
                                         .curve_key = {9, 9},
                                         .at_s = 2000,
                                         .old_until_s = 3000};
    CHECK(tb_name_set(&rotated.u.rotated.client, "bert"));
    put(f, &rotated);
    tb_record labelled = {.kind = TB_REC_LABELLED};
    CHECK(tb_name_set(&labelled.u.labelled.client, "anna"));
    CHECK(tb_labels_change(&labelled.u.labelled.labels, "tag=b tag=a", NULL) ==
          TB_OK);
    put(f, &labelled);
    tb_record revoked = {.kind = TB_REC_REVOKED};
    CHECK(tb_name_set(&revoked.u.revoked.client, "bert"));
    put(f, &revoked);
    tb_buf_init(&f->text, TB_ROSTER_BYTES_MAX);
    CHECK_OK(
        tb_roster_write(&f->text, f->machine, f->sign, &f->certificate, &err),
        err);
}

static void teardown(fixture *f)
{
    tb_buf_release(&f->text);
    tb_coordinator_free(&f->machine);
    tb_sign_key_free(&f->root);
    tb_sign_key_free(&f->sign);
}

typedef struct seen {
    tb_member m[4];
    size_t n;
} seen;

static tb_rc see(void *arg, const tb_member *m, tb_err *err)
{
    seen *s = arg;
    if (s->n == 4) {
        return tb_fail(err, TB_E_LIMIT, "too many");
    }
    s->m[s->n++] = *m;
    return TB_OK;
}

static tb_rc read_text(const fixture *f, const tb_sign_key *root, seen *s,
                       tb_err *err)
{
    return tb_roster_read((const char *)f->text.data, f->text.len,
                          tb_sign_key_public(root), see, s, err);
}

static void members_come_back_with_keys_labels_and_times(void **state)
{
    fixture f;
    tb_err err = {0};
    seen s = {.n = 0};
    (void)state;
    setup(&f);
    CHECK_OK(read_text(&f, f.root, &s, &err), err);
    CHECK(s.n == 2);
    assert_string_equal(s.m[0].client.text, "anna");
    assert_string_equal(s.m[0].labels.text, "tag=a tag=b");
    CHECK(!s.m[0].revoked && s.m[0].sign_key[0] == 7 &&
          s.m[0].curve_key[1] == 1 && s.m[0].since_s == 1007);
    CHECK(s.m[1].revoked && s.m[1].sign_key[0] == 9 && s.m[1].n_old == 1);
    CHECK(s.m[1].since_s == 2000 && s.m[1].old[0].since_s == 1008 &&
          s.m[1].old[0].until_s == 3000 && s.m[1].old[0].sign_key[0] == 8);
    teardown(&f);
}

static void each_altered_byte_and_each_cut_is_refused(void **state)
{
    fixture f;
    tb_err err = {0};
    seen s = {.n = 0};
    (void)state;
    setup(&f);
    for (size_t i = 0; i < f.text.len; i++) {
        f.text.data[i] ^= 1;
        CHECK(read_text(&f, f.root, &s, &err) != TB_OK && s.n == 0);
        f.text.data[i] ^= 1;
    }
    size_t len = f.text.len;
    for (size_t i = 0; i < len; i++) {
        f.text.len = i;
        CHECK(read_text(&f, f.root, &s, &err) != TB_OK && s.n == 0);
    }
    f.text.len = len;
    CHECK_ERR(read_text(&f, f.sign, &s, &err), TB_E_DENIED, err,
              "not of this federation");
    CHECK(s.n == 0);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_come_back_with_keys_labels_and_times),
        cmocka_unit_test(each_altered_byte_and_each_cut_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
