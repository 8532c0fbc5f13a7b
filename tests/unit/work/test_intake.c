/* Updates on their way into a round's sum, with real seals and a real spool. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/crypto.h"
#include "crypto/seal.h"
#include "fed/update.h"
#include "support/check.h"
#include "support/folder.h"
#include "work/intake.h"

#define N_VALUES                                                               \
    (TB_BLOCK_VALUES + 10u) /* two blocks of values, and the head */
#define N_BLOCKS 3u

typedef struct fixture {
    tb_round_config config;
    tb_hash hash;
    tb_box_key *key;
    tb_sign_key *client_key;
    tb_intake *intake;
    const char *dir;
} fixture;

/* A client's update: what it sends. */
typedef struct sent {
    tb_order order; /* with header, ids and signature */
    uint8_t *block[N_BLOCKS];
    size_t len[N_BLOCKS];
} sent;

static void open_intake(fixture *f)
{
    tb_err err;
    tb_intake_options options = {
        .config = &f->config, .hash = f->hash, .max_updates = 4, .key = f->key};
    CHECK_OK(
        tb_spool_open(&options.spool, f->dir, &f->config.run, &f->hash, &err),
        err);
    CHECK_OK(tb_intake_new(&f->intake, &options, &err), err);
}

static void setup(fixture *f, const char *dir)
{
    tb_err err;
    memset(f, 0, sizeof *f);
    f->dir = dir;
    f->hash = tb_hash_of("round", 5);
    f->config.max_abs = 4.0F;
    f->config.max_weight = 1000;
    f->config.n_sections = 1;
    f->config.sections[0].n_values = N_VALUES;
    f->config.sections[0].weighted = true;
    CHECK(tb_name_set(&f->config.codec, "f32"));
    CHECK(tb_name_set(&f->config.sections[0].name, "parameters"));
    CHECK_OK(tb_crypto_init(&err), err);
    CHECK_OK(
        tb_sum_fraction_bits(&f->config.fraction_bits, 4, 1000, 4.0F, &err),
        err);
    CHECK_OK(tb_box_key_new(&f->key, &err), err);
    CHECK_OK(tb_sign_key_new(&f->client_key, &err), err);
    open_intake(f);
}

static void teardown(fixture *f)
{
    tb_intake_free(&f->intake);
    tb_box_key_free(&f->key);
    tb_sign_key_free(&f->client_key);
}

/* Every value is `value`, but for the first of the last block. */
static void fill(float *values, float value, float odd)
{
    for (size_t i = 0; i < N_VALUES; i++) {
        values[i] = value;
    }
    values[TB_BLOCK_VALUES] = odd;
}

/* Seals as a client would, but without its own checks: odd may be NaN. */
static sent seal(const fixture *f, const char *client, uint32_t weight,
                 float value, float odd)
{
    sent s = {0};
    tb_err err;
    tb_sealer *sealer = NULL;
    tb_seal_binding to = {f->hash, client};
    float *values = tb_mem_array(N_VALUES, sizeof *values);
    fill(values, value, 0.0F);
    CHECK_OK(
        tb_sealer_new(&sealer, tb_box_key_public(f->key), &to, N_BLOCKS, &err),
        err);
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        size_t n = tb_update_block_bytes(&f->config, i);
        s.len[i] = n + TB_SEAL_TAG_BYTES;
        s.block[i] = tb_mem_array(s.len[i], 1);
        CHECK_OK(tb_update_block_encode(&f->config, i, values, weight,
                                        s.block[i], &err),
                 err);
        if (i == 2) {
            memcpy(s.block[i], &odd, sizeof odd); /* f32 little-endian */
        }
        CHECK_OK(tb_sealer_next(sealer, s.block[i], n, s.block[i], &err), err);
    }
    tb_order *o = &s.order;
    o->upload.key = 1 + (uint64_t)client[0];
    o->upload.config = f->hash;
    o->upload.n_blocks = N_BLOCKS;
    o->weight = weight;
    o->full = weight;
    o->into = f->hash;
    CHECK(tb_name_set(&o->upload.client, client));
    memcpy(o->upload.header, tb_sealer_header(sealer), TB_UPLOAD_HEADER_BYTES);
    memcpy(o->upload.upload.bytes, o->upload.header + 36, TB_UPLOAD_ID_BYTES);
    CHECK_OK(tb_sealer_end(sealer, &o->update, &err), err);
    tb_update_sign(o->signature, f->client_key, &f->hash, &o->update);
    tb_sealer_free(&sealer);
    tb_mem_free(values);
    return s;
}

static void release(sent *s)
{
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        tb_mem_free(s->block[i]);
    }
}

static tb_verdict add_block(fixture *f, sent *s, uint32_t index)
{
    tb_verdict v = {0};
    s->order.index = index;
    tb_intake_add(f->intake, &s->order, s->block[index], s->len[index], &v);
    return v;
}

static tb_verdict end(fixture *f, sent *s)
{
    tb_verdict v = {0};
    tb_intake_end(f->intake, &s->order, tb_sign_key_public(f->client_key), &v);
    return v;
}

static void send_all(fixture *f, sent *s)
{
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        tb_verdict v = add_block(f, s, i);
        CHECK(v.rc == TB_OK);
        CHECK(i > 0 || v.weight == s->order.full);
    }
    CHECK(end(f, s).rc == TB_OK);
}

static float mean_at(const fixture *f, size_t i)
{
    tb_err err;
    float mean = 0.0F;
    CHECK_OK(tb_sum_mean(tb_intake_sum(f->intake), i, &mean, 1, &err), err);
    return mean;
}

static void sealed_updates_become_their_weighted_mean(void **state)
{
    fixture f;
    setup(&f, *state);
    sent a = seal(&f, "a", 300, 1.0F, 3.0F);
    sent b = seal(&f, "b", 100, -1.0F, 1.0F);
    send_all(&f, &a);
    send_all(&f, &b);
    CHECK(tb_sum_updates(tb_intake_sum(f.intake)) == 2);
    CHECK(tb_sum_weight(tb_intake_sum(f.intake)) == 400);
    /* (300 * 1 - 100 * 1) / 400, and (300 * 3 + 100 * 1) / 400 */
    CHECK(mean_at(&f, 0) == 0.5F);
    CHECK(mean_at(&f, N_VALUES - 1) == 0.5F);
    CHECK(mean_at(&f, TB_BLOCK_VALUES) == 2.5F);
    release(&a);
    release(&b);
    teardown(&f);
}

/* A block of `s` is bad: it is refused so, and after a drop the sum is what it
 * was before the upload began. */
static void check_refused(fixture *f, sent *s, uint32_t bad, tb_refusal code)
{
    tb_hash before = tb_sum_hash(tb_intake_sum(f->intake));
    tb_verdict v = {0};
    for (uint32_t i = 0; i < bad; i++) {
        CHECK(add_block(f, s, i).rc == TB_OK);
    }
    v = add_block(f, s, bad);
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
    fixture f;
    setup(&f, *state);
    sent honest = seal(&f, "h", 10, 0.25F, 0.25F);
    send_all(&f, &honest);
    for (uint32_t bad = 0; bad < N_BLOCKS; bad++) {
        sent s = seal(&f, "m", 10, 1.0F, 1.0F);
        s.block[bad][5] ^= 1;
        check_refused(&f, &s, bad, TB_REFUSE_SEAL);
        release(&s);
        s = seal(&f, "m", 10, 1.0F, 1.0F);
        s.len[bad]--;
        check_refused(&f, &s, bad, TB_REFUSE_SIZE);
        release(&s);
    }
    sent nan = seal(&f, "n", 10, 1.0F, NAN);
    check_refused(&f, &nan, 2, TB_REFUSE_VALUES);
    sent large = seal(&f, "l", 10, 1.0F, 4.5F);
    check_refused(&f, &large, 2, TB_REFUSE_VALUES);
    release(&nan);
    release(&large);
    release(&honest);
    teardown(&f);
}

static void
an_update_sealed_for_another_round_or_client_does_not_open(void **state)
{
    fixture f;
    setup(&f, *state);
    tb_hash round = f.hash;
    f.hash = tb_hash_of("another", 7);
    sent other_round = seal(&f, "a", 10, 1.0F, 1.0F);
    f.hash = round;
    check_refused(&f, &other_round, 0, TB_REFUSE_SEAL);
    sent other_client = seal(&f, "b", 10, 1.0F, 1.0F);
    CHECK(tb_name_set(&other_client.order.upload.client, "c"));
    check_refused(&f, &other_client, 0, TB_REFUSE_SEAL);
    release(&other_round);
    release(&other_client);
    teardown(&f);
}

static void an_end_needs_the_right_hash_and_the_clients_signature(void **state)
{
    fixture f;
    setup(&f, *state);
    sent s = seal(&f, "a", 10, 1.0F, 1.0F);
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        CHECK(add_block(&f, &s, i).rc == TB_OK);
    }
    s.order.update.bytes[0] ^= 1;
    CHECK(end(&f, &s).refusal == TB_REFUSE_HASH);
    s.order.update.bytes[0] ^= 1;
    s.order.signature[0] ^= 1;
    CHECK(end(&f, &s).refusal == TB_REFUSE_IDENTITY);
    CHECK(tb_sum_updates(tb_intake_sum(f.intake)) == 0);
    s.order.signature[0] ^= 1;
    CHECK(end(&f, &s).rc == TB_OK);
    CHECK(tb_sum_updates(tb_intake_sum(f.intake)) == 1);
    release(&s);
    teardown(&f);
}

static void the_spool_gives_the_same_sum_after_a_restart(void **state)
{
    fixture f;
    setup(&f, *state);
    sent a = seal(&f, "a", 300, 1.0F, 3.0F);
    sent b = seal(&f, "b", 100, -1.0F, 1.0F);
    send_all(&f, &a);
    send_all(&f, &b);
    tb_hash before = tb_sum_hash(tb_intake_sum(f.intake));
    tb_intake_free(&f.intake);
    open_intake(&f);
    tb_verdict v = {0};
    tb_intake_add_stored(f.intake, f.intake, &b.order, &v);
    CHECK(v.rc == TB_OK && v.weight == 100);
    tb_intake_add_stored(f.intake, f.intake, &a.order, &v);
    CHECK(v.rc == TB_OK && v.weight == 300);
    tb_hash after = tb_sum_hash(tb_intake_sum(f.intake));
    CHECK(tb_hash_equal(&before, &after));
    release(&a);
    release(&b);
    teardown(&f);
}

static void a_stored_update_with_another_hash_is_not_counted(void **state)
{
    fixture f;
    setup(&f, *state);
    sent a = seal(&f, "a", 300, 1.0F, 3.0F);
    send_all(&f, &a);
    tb_intake_free(&f.intake);
    open_intake(&f);
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
    release(&a);
    teardown(&f);
}

static void an_upload_that_starts_again_must_send_the_same_bytes(void **state)
{
    fixture f;
    setup(&f, *state);
    sent a = seal(&f, "a", 300, 1.0F, 3.0F);
    CHECK(add_block(&f, &a, 0).rc == TB_OK);
    CHECK(add_block(&f, &a, 1).rc == TB_OK);
    a.order.index = 2;
    tb_verdict v = {0};
    tb_intake_drop(f.intake, &a.order, &v); /* its connection was lost */
    CHECK(v.rc == TB_OK);
    CHECK(add_block(&f, &a, 0).rc == TB_OK);
    a.block[1][0] ^= 1;
    v = add_block(&f, &a, 1);
    CHECK(v.rc == TB_E_MISMATCH && v.refusal == TB_REFUSE_HASH);
    a.block[1][0] ^= 1;
    CHECK(add_block(&f, &a, 0).rc == TB_OK);
    CHECK(add_block(&f, &a, 1).rc == TB_OK);
    CHECK(add_block(&f, &a, 2).rc == TB_OK);
    CHECK(end(&f, &a).rc == TB_OK);
    CHECK(mean_at(&f, 0) == 1.0F);
    release(&a);
    teardown(&f);
}

/* Cuts the last n bytes off the spool's segment, or puts them back. */
static void tear(const fixture *f, uint8_t *bytes, size_t n, bool back)
{
    char name[2 * TB_RUN_ID_BYTES + 1 + TB_HASH_HEX_BYTES];
    memset(name, '0', 2 * TB_RUN_ID_BYTES); /* the run of the fixture */
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

static void a_drop_that_failed_midway_goes_on_where_it_stopped(void **state)
{
    fixture f;
    uint8_t last[8];
    setup(&f, *state);
    sent honest = seal(&f, "h", 10, 0.25F, 0.25F);
    send_all(&f, &honest);
    tb_hash before = tb_sum_hash(tb_intake_sum(f.intake));
    sent s = seal(&f, "m", 10, 1.0F, 1.0F);
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        CHECK(add_block(&f, &s, i).rc == TB_OK);
    }
    s.order.index = N_BLOCKS;
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
    release(&s);
    release(&honest);
    teardown(&f);
}

static void a_purged_update_leaves_the_sum_as_if_it_had_never_come(void **state)
{
    fixture f;
    uint8_t last[8];
    tb_verdict v = {0};
    setup(&f, *state);
    sent honest = seal(&f, "h", 10, 0.25F, 0.25F);
    sent s = seal(&f, "m", 30, 1.0F, 1.0F);
    send_all(&f, &honest);
    tb_hash before = tb_sum_hash(tb_intake_sum(f.intake));
    send_all(&f, &s);
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
    release(&s);
    release(&honest);
    teardown(&f);
}

/* A second intake of the run, without a sum: of an older round. */
static tb_intake *older_intake(fixture *f, const tb_hash *hash)
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
static void send_deferred(fixture *f, tb_intake *older, sent *s)
{
    tb_intake *open = f->intake;
    f->intake = older;
    s->order.deferred = true;
    send_all(f, s);
    f->intake = open;
    s->order.deferred = false;
}

static void a_deferred_update_is_added_to_a_later_rounds_sum(void **state)
{
    fixture f;
    tb_verdict v = {0};
    setup(&f, *state);
    tb_hash open = f.hash;
    f.hash = tb_hash_of("older", 5);
    sent a = seal(&f, "a", 300, 1.0F, 3.0F);
    tb_hash old = f.hash;
    f.hash = open;
    tb_intake *older = older_intake(&f, &old);
    sent b = seal(&f, "b", 100, -1.0F, 1.0F);
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
    release(&a);
    release(&b);
    tb_intake_free(&older);
    teardown(&f);
}

static void a_deferred_update_is_checked_as_any_other(void **state)
{
    fixture f;
    setup(&f, *state);
    tb_hash empty = tb_sum_hash(tb_intake_sum(f.intake));
    for (uint32_t bad = 0; bad < N_BLOCKS; bad++) {
        sent s = seal(&f, "m", 10, 1.0F, 1.0F);
        s.order.deferred = true;
        s.block[bad][5] ^= 1;
        check_refused(&f, &s, bad, TB_REFUSE_SEAL);
        release(&s);
    }
    sent nan = seal(&f, "n", 10, 1.0F, NAN);
    nan.order.deferred = true;
    check_refused(&f, &nan, 2, TB_REFUSE_VALUES);
    sent large = seal(&f, "l", 10, 1.0F, 4.5F);
    large.order.deferred = true;
    check_refused(&f, &large, 2, TB_REFUSE_VALUES);
    tb_hash after = tb_sum_hash(tb_intake_sum(f.intake));
    CHECK(tb_hash_equal(&empty, &after));
    release(&nan);
    release(&large);
    teardown(&f);
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
        TEST(a_drop_that_failed_midway_goes_on_where_it_stopped),
        TEST(a_purged_update_leaves_the_sum_as_if_it_had_never_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
