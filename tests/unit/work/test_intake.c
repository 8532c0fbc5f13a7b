/* Updates on their way into a round's sum, with real seals and a real spool. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/check.h"
#include "support/folder.h"
#include "support/sealed.h"

static float mean_at(const sealed_round *f, size_t i)
{
    tb_err err;
    float mean = 0.0F;
    CHECK_OK(tb_sum_mean(tb_intake_sum(f->intake), i, &mean, 1, &err), err);
    return mean;
}

static void sealed_updates_become_their_weighted_mean(void **state)
{
    sealed_round f;
    sealed_setup(&f, *state);
    sealed_update a = sealed_make(&f, "a", 300, 1.0F, 3.0F);
    sealed_update b = sealed_make(&f, "b", 100, -1.0F, 1.0F);
    sealed_send(&f, &a);
    sealed_send(&f, &b);
    CHECK(tb_sum_updates(tb_intake_sum(f.intake)) == 2);
    CHECK(tb_sum_weight(tb_intake_sum(f.intake)) == 400);
    /* (300 * 1 - 100 * 1) / 400, and (300 * 3 + 100 * 1) / 400 */
    CHECK(mean_at(&f, 0) == 0.5F);
    CHECK(mean_at(&f, SEALED_VALUES - 1) == 0.5F);
    CHECK(mean_at(&f, TB_BLOCK_VALUES) == 2.5F);
    sealed_release(&a);
    sealed_release(&b);
    sealed_teardown(&f);
}

/* A block of `s` is bad: it is refused so, and after a drop the sum is what it
 * was before the upload began. */
static void check_refused(sealed_round *f, sealed_update *s, uint32_t bad,
                          tb_refusal code)
{
    tb_hash before = tb_sum_hash(tb_intake_sum(f->intake));
    tb_verdict v = {0};
    for (uint32_t i = 0; i < bad; i++) {
        CHECK(sealed_add(f, s, i).rc == TB_OK);
    }
    v = sealed_add(f, s, bad);
    CHECK(v.rc != TB_OK && v.refusal == code && v.why[0] != '\0');
    s->order.index = bad;
    v = (tb_verdict){0};
    tb_intake_drop(f->intake, &s->order, &v);
    CHECK(v.rc == TB_OK);
    tb_hash after = tb_sum_hash(tb_intake_sum(f->intake));
    CHECK(tb_hash_equal(&before, &after));
}

static void a_bad_block_is_refused_and_leaves_no_trace(void **state)
{
    sealed_round f;
    sealed_setup(&f, *state);
    sealed_update honest = sealed_make(&f, "h", 10, 0.25F, 0.25F);
    sealed_send(&f, &honest);
    for (uint32_t bad = 0; bad < SEALED_BLOCKS; bad++) {
        sealed_update s = sealed_make(&f, "m", 10, 1.0F, 1.0F);
        s.block[bad][5] ^= 1;
        check_refused(&f, &s, bad, TB_REFUSE_SEAL);
        sealed_release(&s);
        s = sealed_make(&f, "m", 10, 1.0F, 1.0F);
        s.len[bad]--;
        check_refused(&f, &s, bad, TB_REFUSE_SIZE);
        sealed_release(&s);
    }
    sealed_update nan = sealed_make(&f, "n", 10, 1.0F, NAN);
    check_refused(&f, &nan, 2, TB_REFUSE_VALUES);
    sealed_update large = sealed_make(&f, "l", 10, 1.0F, 4.5F);
    check_refused(&f, &large, 2, TB_REFUSE_VALUES);
    sealed_release(&nan);
    sealed_release(&large);
    sealed_release(&honest);
    sealed_teardown(&f);
}

static void
an_update_sealed_for_another_round_or_client_does_not_open(void **state)
{
    sealed_round f;
    sealed_setup(&f, *state);
    tb_hash round = f.hash;
    f.hash = tb_hash_of("another", 7);
    sealed_update other_round = sealed_make(&f, "a", 10, 1.0F, 1.0F);
    f.hash = round;
    check_refused(&f, &other_round, 0, TB_REFUSE_SEAL);
    sealed_update other_client = sealed_make(&f, "b", 10, 1.0F, 1.0F);
    CHECK(tb_name_set(&other_client.order.upload.client, "c"));
    check_refused(&f, &other_client, 0, TB_REFUSE_SEAL);
    sealed_release(&other_round);
    sealed_release(&other_client);
    sealed_teardown(&f);
}

static void an_end_needs_the_right_hash_and_the_clients_signature(void **state)
{
    sealed_round f;
    sealed_setup(&f, *state);
    sealed_update s = sealed_make(&f, "a", 10, 1.0F, 1.0F);
    for (uint32_t i = 0; i < SEALED_BLOCKS; i++) {
        CHECK(sealed_add(&f, &s, i).rc == TB_OK);
    }
    s.order.update.bytes[0] ^= 1;
    CHECK(sealed_end(&f, &s).refusal == TB_REFUSE_HASH);
    s.order.update.bytes[0] ^= 1;
    s.order.signature[0] ^= 1;
    CHECK(sealed_end(&f, &s).refusal == TB_REFUSE_IDENTITY);
    CHECK(tb_sum_updates(tb_intake_sum(f.intake)) == 0);
    s.order.signature[0] ^= 1;
    CHECK(sealed_end(&f, &s).rc == TB_OK);
    CHECK(tb_sum_updates(tb_intake_sum(f.intake)) == 1);
    sealed_release(&s);
    sealed_teardown(&f);
}

static void the_spool_gives_the_same_sum_after_a_restart(void **state)
{
    sealed_round f;
    sealed_setup(&f, *state);
    sealed_update a = sealed_make(&f, "a", 300, 1.0F, 3.0F);
    sealed_update b = sealed_make(&f, "b", 100, -1.0F, 1.0F);
    sealed_send(&f, &a);
    sealed_send(&f, &b);
    tb_hash before = tb_sum_hash(tb_intake_sum(f.intake));
    tb_intake_free(&f.intake);
    sealed_open(&f);
    tb_verdict v = {0};
    tb_intake_add_stored(f.intake, f.intake, &b.order, &v);
    CHECK(v.rc == TB_OK && v.weight == 100);
    tb_intake_add_stored(f.intake, f.intake, &a.order, &v);
    CHECK(v.rc == TB_OK && v.weight == 300);
    tb_hash after = tb_sum_hash(tb_intake_sum(f.intake));
    CHECK(tb_hash_equal(&before, &after));
    sealed_release(&a);
    sealed_release(&b);
    sealed_teardown(&f);
}

static void a_stored_update_with_another_hash_is_not_counted(void **state)
{
    sealed_round f;
    sealed_setup(&f, *state);
    sealed_update a = sealed_make(&f, "a", 300, 1.0F, 3.0F);
    sealed_send(&f, &a);
    tb_intake_free(&f.intake);
    sealed_open(&f);
    tb_hash empty = tb_sum_hash(tb_intake_sum(f.intake));
    tb_verdict v = {0};
    a.order.update.bytes[3] ^= 1;
    tb_intake_add_stored(f.intake, f.intake, &a.order, &v);
    CHECK(v.rc == TB_E_MISMATCH && v.refusal == 0);
    tb_hash after = tb_sum_hash(tb_intake_sum(f.intake));
    CHECK(tb_hash_equal(&empty, &after));
    a.order.upload.upload.bytes[0] ^= 1;
    tb_intake_add_stored(f.intake, f.intake, &a.order, &v);
    CHECK(v.rc == TB_E_NOT_FOUND);
    sealed_release(&a);
    sealed_teardown(&f);
}

static void an_upload_that_starts_again_must_send_the_same_bytes(void **state)
{
    sealed_round f;
    sealed_setup(&f, *state);
    sealed_update a = sealed_make(&f, "a", 300, 1.0F, 3.0F);
    CHECK(sealed_add(&f, &a, 0).rc == TB_OK);
    CHECK(sealed_add(&f, &a, 1).rc == TB_OK);
    a.order.index = 2;
    tb_verdict v = {0};
    tb_intake_drop(f.intake, &a.order, &v); /* its connection was lost */
    CHECK(v.rc == TB_OK);
    CHECK(sealed_add(&f, &a, 0).rc == TB_OK);
    a.block[1][0] ^= 1;
    v = sealed_add(&f, &a, 1);
    CHECK(v.rc == TB_E_MISMATCH && v.refusal == TB_REFUSE_HASH);
    a.block[1][0] ^= 1;
    CHECK(sealed_add(&f, &a, 0).rc == TB_OK);
    CHECK(sealed_add(&f, &a, 1).rc == TB_OK);
    CHECK(sealed_add(&f, &a, 2).rc == TB_OK);
    CHECK(sealed_end(&f, &a).rc == TB_OK);
    CHECK(mean_at(&f, 0) == 1.0F);
    sealed_release(&a);
    sealed_teardown(&f);
}

/* Cuts the last n bytes off the spool's segment, or puts them back. */
static void tear(const sealed_round *f, uint8_t *bytes, size_t n, bool back)
{
    char name[2 * TB_RUN_ID_BYTES + 1 + TB_HASH_HEX_BYTES];
    memset(name, '0', 2 * TB_RUN_ID_BYTES); /* the run of the sealed_round */
    name[2 * TB_RUN_ID_BYTES] = '/';
    tb_hash_hex(&f->hash, name + 2 * TB_RUN_ID_BYTES + 1);
    FILE *file = fopen(tb_test_folder_path(f->dir, name), "r+b");
    CHECK(file != NULL);
    CHECK(fseek(file, back ? 0 : -(long)n, SEEK_END) == 0);
    if (back) {
        CHECK(fwrite(bytes, 1, n, file) == n);
    } else {
        long at = ftell(file);
        CHECK(fread(bytes, 1, n, file) == n);
        CHECK(ftruncate(fileno(file), at) == 0);
    }
    CHECK(fclose(file) == 0);
}

static uint32_t find(const sealed_round *f, const sealed_update *s)
{
    tb_verdict v = {.rc = TB_E_BUG};
    tb_intake_find(f->intake, &s->order, &v);
    CHECK(v.rc == TB_OK);
    return v.n_blocks;
}

static tb_verdict add_found(sealed_round *f, sealed_update *s, uint32_t index)
{
    tb_verdict v = {0};
    s->order.index = index;
    tb_intake_add_found(f->intake, &s->order, &v);
    return v;
}

/* The first n blocks come, then the process dies and starts again. */
static void cut_after(sealed_round *f, sealed_update *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        CHECK(sealed_add(f, s, i).rc == TB_OK);
    }
    tb_intake_free(&f->intake);
    sealed_open(f);
}

static void an_upload_goes_on_where_a_restart_cut_it(void **state)
{
    sealed_round f;
    sealed_setup(&f, *state);
    for (uint32_t n = 0; n <= SEALED_BLOCKS; n++) {
        for (int deferred = 0; deferred < 2; deferred++) {
            sealed_update s = sealed_make(&f, "a", 300, 1.0F, 3.0F);
            s.order.deferred = deferred == 1;
            cut_after(&f, &s, n);
            CHECK(find(&f, &s) == n);
            for (uint32_t i = 0; i < n; i++) {
                tb_verdict v = add_found(&f, &s, i);
                CHECK(v.rc == TB_OK && (i > 0 || v.weight == 300));
            }
            for (uint32_t i = n; i < SEALED_BLOCKS; i++) {
                CHECK(sealed_add(&f, &s, i).rc == TB_OK);
            }
            CHECK(sealed_end(&f, &s).rc == TB_OK);
            const tb_sum *sum = tb_intake_sum(f.intake);
            CHECK(tb_sum_updates(sum) == (deferred == 0));
            CHECK(deferred || mean_at(&f, 0) == 1.0F);
            CHECK(deferred || mean_at(&f, TB_BLOCK_VALUES) == 3.0F);
            sealed_release(&s);
            tb_intake_free(&f.intake);
            sealed_open(&f);
        }
    }
    sealed_teardown(&f);
}

static void a_torn_block_is_sent_again(void **state)
{
    sealed_round f;
    uint8_t last[8];
    sealed_setup(&f, *state);
    sealed_update s = sealed_make(&f, "a", 300, 1.0F, 3.0F);
    CHECK(sealed_add(&f, &s, 0).rc == TB_OK);
    CHECK(sealed_add(&f, &s, 1).rc == TB_OK);
    tear(&f, last, sizeof last, false);
    tb_intake_free(&f.intake);
    sealed_open(&f);
    CHECK(find(&f, &s) == 1);
    CHECK(add_found(&f, &s, 0).rc == TB_OK);
    CHECK(sealed_add(&f, &s, 1).rc == TB_OK);
    CHECK(sealed_add(&f, &s, 2).rc == TB_OK);
    CHECK(sealed_end(&f, &s).rc == TB_OK);
    CHECK(mean_at(&f, 0) == 1.0F);
    sealed_release(&s);
    sealed_teardown(&f);
}

static void only_the_very_same_upload_goes_on(void **state)
{
    sealed_round f;
    sealed_setup(&f, *state);
    sealed_update s = sealed_make(&f, "a", 300, 1.0F, 3.0F);
    sealed_update other = sealed_make(&f, "a", 300, 1.0F, 3.0F);
    cut_after(&f, &s, 2);
    CHECK(find(&f, &other) == 0); /* sealed anew: another id */
    tb_upload_ref *ref = &other.order.upload;
    ref->upload = s.order.upload.upload;
    CHECK(find(&f, &other) == 0); /* its header differs */
    tb_verdict v = sealed_add(&f, &other, 0);
    CHECK(v.rc == TB_E_MISMATCH && v.refusal == TB_REFUSE_HASH);
    *ref = s.order.upload;
    CHECK(tb_name_set(&ref->client, "b"));
    CHECK(find(&f, &other) == 0);
    v = sealed_add(&f, &other, 0);
    CHECK(v.rc != TB_OK && v.refusal != 0);
    *ref = s.order.upload;
    ref->n_blocks++;
    CHECK(find(&f, &other) == 0);
    CHECK(find(&f, &s) == 2);
    sealed_release(&other);
    sealed_release(&s);
    sealed_teardown(&f);
}

static void a_bad_block_in_the_spool_is_refused_after_a_restart(void **state)
{
    sealed_round f;
    sealed_setup(&f, *state);
    tb_hash empty = tb_sum_hash(tb_intake_sum(f.intake));
    sealed_update s = sealed_make(&f, "a", 300, 1.0F, 3.0F);
    s.block[1][7] ^= 1;
    CHECK(sealed_add(&f, &s, 0).rc == TB_OK);
    CHECK(sealed_add(&f, &s, 1).refusal == TB_REFUSE_SEAL);
    tb_intake_free(&f.intake);
    sealed_open(&f);
    CHECK(find(&f, &s) == 2);
    CHECK(add_found(&f, &s, 0).rc == TB_OK);
    tb_verdict v = add_found(&f, &s, 1);
    CHECK(v.rc != TB_OK && v.refusal == TB_REFUSE_SEAL);
    tb_intake_drop(f.intake, &s.order, &v); /* order.index is 1 */
    CHECK(v.rc == TB_OK);
    tb_hash after = tb_sum_hash(tb_intake_sum(f.intake));
    CHECK(tb_hash_equal(&empty, &after));
    sealed_release(&s);
    sealed_teardown(&f);
}

static void what_went_on_can_be_taken_out_for_a_checkpoint(void **state)
{
    sealed_round f;
    tb_err err;
    sealed_setup(&f, *state);
    tb_hash empty = tb_sum_hash(tb_intake_sum(f.intake));
    sealed_update s = sealed_make(&f, "a", 300, 1.0F, 3.0F);
    cut_after(&f, &s, 2);
    CHECK(add_found(&f, &s, 0).rc == TB_OK);
    CHECK(add_found(&f, &s, 1).rc == TB_OK);
    CHECK(sealed_add(&f, &s, 2).rc == TB_OK);
    tb_hash after = tb_sum_hash(tb_intake_sum(f.intake));
    CHECK(!tb_hash_equal(&empty, &after));
    CHECK_OK(tb_intake_settle(f.intake, &err), err);
    after = tb_sum_hash(tb_intake_sum(f.intake));
    CHECK(tb_hash_equal(&empty, &after));
    sealed_release(&s);
    sealed_teardown(&f);
}

static void a_drop_that_failed_midway_goes_on_where_it_stopped(void **state)
{
    sealed_round f;
    uint8_t last[8];
    sealed_setup(&f, *state);
    sealed_update honest = sealed_make(&f, "h", 10, 0.25F, 0.25F);
    sealed_send(&f, &honest);
    tb_hash before = tb_sum_hash(tb_intake_sum(f.intake));
    sealed_update s = sealed_make(&f, "m", 10, 1.0F, 1.0F);
    for (uint32_t i = 0; i < SEALED_BLOCKS; i++) {
        CHECK(sealed_add(&f, &s, i).rc == TB_OK);
    }
    s.order.index = SEALED_BLOCKS;
    tb_verdict v = {0};
    tear(&f, last, sizeof last, false); /* block 1 can be read, 2 cannot */
    tb_intake_drop(f.intake, &s.order, &v);
    CHECK(v.rc != TB_OK);
    tear(&f, last, sizeof last, true);
    v = (tb_verdict){0};
    tb_intake_drop(f.intake, &s.order, &v);
    CHECK(v.rc == TB_OK);
    tb_hash after = tb_sum_hash(tb_intake_sum(f.intake));
    CHECK(tb_hash_equal(&before, &after));
    sealed_release(&s);
    sealed_release(&honest);
    sealed_teardown(&f);
}

static void a_purged_update_leaves_the_sum_as_if_it_had_never_come(void **state)
{
    sealed_round f;
    uint8_t last[8];
    tb_verdict v = {0};
    sealed_setup(&f, *state);
    sealed_update honest = sealed_make(&f, "h", 10, 0.25F, 0.25F);
    sealed_update s = sealed_make(&f, "m", 30, 1.0F, 1.0F);
    sealed_send(&f, &honest);
    tb_hash before = tb_sum_hash(tb_intake_sum(f.intake));
    sealed_send(&f, &s);
    s.order.weight = 30;
    s.order.full = 30;
    tear(&f, last, sizeof last, false); /* its last block is gone for a while */
    tb_intake_drop_stored(f.intake, f.intake, &s.order, &v);
    CHECK(v.rc != TB_OK);
    tear(&f, last, sizeof last, true);
    v = (tb_verdict){0};
    tb_intake_drop_stored(f.intake, f.intake, &s.order, &v);
    CHECK(v.rc == TB_OK);
    tb_hash after = tb_sum_hash(tb_intake_sum(f.intake));
    CHECK(tb_hash_equal(&before, &after));
    sealed_release(&s);
    sealed_release(&honest);
    sealed_teardown(&f);
}

/* A second intake of the run, without a sum: of an older round. */
static tb_intake *older_intake(sealed_round *f, const tb_hash *hash)
{
    tb_err err;
    tb_intake *older = NULL;
    tb_intake_options options = {
        .config = &f->config, .hash = *hash, .key = f->key};
    CHECK_OK(tb_spool_open(&options.spool, f->dir, &f->config.run, hash, &err),
             err);
    CHECK_OK(tb_intake_new(&older, &options, &err), err);
    CHECK(tb_intake_sum(older) == NULL);
    return older;
}

/* Blocks and end of a stale update, which go to an intake without a sum. */
static void send_deferred(sealed_round *f, tb_intake *older, sealed_update *s)
{
    tb_intake *open = f->intake;
    f->intake = older;
    s->order.deferred = true;
    sealed_send(f, s);
    f->intake = open;
    s->order.deferred = false;
}

static void a_deferred_update_is_added_to_a_later_rounds_sum(void **state)
{
    sealed_round f;
    tb_verdict v = {0};
    sealed_setup(&f, *state);
    tb_hash open = f.hash;
    f.hash = tb_hash_of("older", 5);
    sealed_update a = sealed_make(&f, "a", 300, 1.0F, 3.0F);
    tb_hash old = f.hash;
    f.hash = open;
    tb_intake *older = older_intake(&f, &old);
    sealed_update b = sealed_make(&f, "b", 100, -1.0F, 1.0F);
    send_deferred(&f, older, &a);
    send_deferred(&f, f.intake, &b);
    CHECK(tb_sum_updates(tb_intake_sum(f.intake)) == 0);
    CHECK(tb_sum_weight(tb_intake_sum(f.intake)) == 0);
    /* a is damped to a third of its weight */
    a.order.weight = 100;
    tb_intake_add_stored(older, f.intake, &a.order, &v);
    CHECK(v.rc == TB_OK && v.weight == 300);
    tb_intake_add_stored(f.intake, f.intake, &b.order, &v);
    CHECK(v.rc == TB_OK && v.weight == 100);
    CHECK(tb_sum_updates(tb_intake_sum(f.intake)) == 2);
    CHECK(tb_sum_weight(tb_intake_sum(f.intake)) == 200);
    CHECK(tb_sum_full(tb_intake_sum(f.intake)) == 400);
    /* (100 * 1 - 100 * 1) / 400, and (100 * 3 + 100 * 1) / 400 */
    CHECK(mean_at(&f, 0) == 0.0F);
    CHECK(mean_at(&f, TB_BLOCK_VALUES) == 1.0F);
    sealed_release(&a);
    sealed_release(&b);
    tb_intake_free(&older);
    sealed_teardown(&f);
}

static void a_deferred_update_is_checked_as_any_other(void **state)
{
    sealed_round f;
    sealed_setup(&f, *state);
    tb_hash empty = tb_sum_hash(tb_intake_sum(f.intake));
    for (uint32_t bad = 0; bad < SEALED_BLOCKS; bad++) {
        sealed_update s = sealed_make(&f, "m", 10, 1.0F, 1.0F);
        s.order.deferred = true;
        s.block[bad][5] ^= 1;
        check_refused(&f, &s, bad, TB_REFUSE_SEAL);
        sealed_release(&s);
    }
    sealed_update nan = sealed_make(&f, "n", 10, 1.0F, NAN);
    nan.order.deferred = true;
    check_refused(&f, &nan, 2, TB_REFUSE_VALUES);
    sealed_update large = sealed_make(&f, "l", 10, 1.0F, 4.5F);
    large.order.deferred = true;
    check_refused(&f, &large, 2, TB_REFUSE_VALUES);
    tb_hash after = tb_sum_hash(tb_intake_sum(f.intake));
    CHECK(tb_hash_equal(&empty, &after));
    sealed_release(&nan);
    sealed_release(&large);
    sealed_teardown(&f);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sealed_updates_become_their_weighted_mean),
        TEST(a_bad_block_is_refused_and_leaves_no_trace),
        TEST(an_update_sealed_for_another_round_or_client_does_not_open),
        TEST(an_end_needs_the_right_hash_and_the_clients_signature),
        TEST(the_spool_gives_the_same_sum_after_a_restart),
        TEST(a_stored_update_with_another_hash_is_not_counted),
        TEST(an_upload_that_starts_again_must_send_the_same_bytes),
        TEST(a_deferred_update_is_added_to_a_later_rounds_sum),
        TEST(a_deferred_update_is_checked_as_any_other),
        TEST(an_upload_goes_on_where_a_restart_cut_it),
        TEST(a_torn_block_is_sent_again),
        TEST(only_the_very_same_upload_goes_on),
        TEST(a_bad_block_in_the_spool_is_refused_after_a_restart),
        TEST(what_went_on_can_be_taken_out_for_a_checkpoint),
        TEST(a_drop_that_failed_midway_goes_on_where_it_stopped),
        TEST(a_purged_update_leaves_the_sum_as_if_it_had_never_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
