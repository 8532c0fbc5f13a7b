#include "crypto/rotate.h"

#include <string.h>

#include "base/mem.h"
#include "crypto/crypto.h"
#include "support/check.h"

typedef struct fixture {
    tb_sign_key *old_key, *new_key, *root, *other;
} fixture;

static void setup(fixture *f)
{
    static const uint8_t seeds[4][TB_KEY_SEED_BYTES] = {{1}, {2}, {3}, {4}};
    tb_err err = {0};
    CHECK_OK(tb_crypto_init(&err), err);
    CHECK_OK(tb_sign_key_from_seed(&f->old_key, seeds[0], &err), err);
    CHECK_OK(tb_sign_key_from_seed(&f->new_key, seeds[1], &err), err);
    CHECK_OK(tb_sign_key_from_seed(&f->root, seeds[2], &err), err);
    CHECK_OK(tb_sign_key_from_seed(&f->other, seeds[3], &err), err);
}

static void teardown(fixture *f)
{
    tb_sign_key_free(&f->old_key);
    tb_sign_key_free(&f->new_key);
    tb_sign_key_free(&f->root);
    tb_sign_key_free(&f->other);
}

static tb_rotation rotation(const fixture *f)
{
    tb_rotation r = {
        .federation = {.bytes = {7}}, .name = "edge-01", .curve_key = {9}};
    tb_rotation_sign(&r, f->old_key, f->new_key);
    return r;
}

static void both_keys_must_have_signed_all_of_it(void **state)
{
    fixture f;
    tb_err err = {0};
    (void)state;
    setup(&f);
    tb_rotation r = rotation(&f);
    CHECK_OK(tb_rotation_verify(&r, &err), err);
    uint8_t *const parts[] = {
        r.federation.bytes, (uint8_t *)r.name, r.old_sign_key, r.sign_key,
        r.curve_key,        r.by_old,          r.by_new};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        parts[i][0] ^= 1;
        CHECK(tb_rotation_verify(&r, &err) == TB_E_DENIED);
        parts[i][0] ^= 1;
    }
    CHECK_OK(tb_rotation_verify(&r, &err), err);
    tb_rotation forged = r; /* whoever has only one of the two keys */
    tb_rotation_sign(&forged, f.other, f.new_key);
    memcpy(forged.old_sign_key, r.old_sign_key, sizeof r.old_sign_key);
    CHECK_ERR(tb_rotation_verify(&forged, &err), TB_E_DENIED, err,
              "the key so far");
    tb_rotation_sign(&forged, f.old_key, f.other);
    memcpy(forged.sign_key, r.sign_key, sizeof r.sign_key);
    CHECK(tb_rotation_verify(&forged, &err) == TB_E_DENIED);
    teardown(&f);
}

static void the_same_keys_give_the_same_bytes(void **state)
{
    fixture f;
    (void)state;
    setup(&f);
    tb_rotation a = rotation(&f);
    tb_rotation b = rotation(&f);
    CHECK(memcmp(a.by_old, b.by_old, sizeof a.by_old) == 0 &&
          memcmp(a.by_new, b.by_new, sizeof a.by_new) == 0);
    teardown(&f);
}

static tb_move move_of(const fixture *f)
{
    tb_move m = {.certificate = {.serial = 2,
                                 .sign_key = {1},
                                 .curve_key = {2},
                                 .valid_from = 100,
                                 .valid_until = 200},
                 .endpoint = "tcp://fl.example:7702"};
    tb_certificate_sign(&m.certificate, f->root);
    tb_move_sign(&m, f->root);
    return m;
}

static void a_move_is_the_roots_word_alone(void **state)
{
    fixture f;
    tb_err err = {0};
    tb_move back;
    uint8_t bytes[TB_MOVE_BYTES_MAX];
    (void)state;
    setup(&f);
    const uint8_t *root = tb_sign_key_public(f.root);
    tb_move m = move_of(&f);
    size_t n = tb_move_encode(&m, bytes);
    CHECK(n == 8 + 192 + 4 + 21 + 64);
    CHECK_OK(tb_move_decode(&back, bytes, n, &err), err);
    assert_string_equal(back.endpoint, m.endpoint);
    CHECK_OK(tb_move_verify(&back, root, 150, &err), err);
    CHECK(tb_move_verify(&back, root, 200, &err) == TB_E_DENIED);
    CHECK(tb_move_verify(&back, tb_sign_key_public(f.other), 150, &err) ==
          TB_E_DENIED);
    for (size_t i = 0; i < n; i++) { /* each altered byte is noticed */
        bytes[i] ^= 1;
        CHECK(tb_move_decode(&back, bytes, n, &err) != TB_OK ||
              tb_move_verify(&back, root, 150, &err) == TB_E_DENIED);
        bytes[i] ^= 1;
    }
    for (size_t i = 0; i < n; i++) {
        CHECK(tb_move_decode(&back, bytes, i, &err) != TB_OK);
    }
    tb_move_sign(&m, f.other); /* a certificate alone moves nobody */
    CHECK(tb_move_verify(&m, root, 150, &err) == TB_E_DENIED);
    teardown(&f);
}

static void what_is_no_endpoint_is_refused(void **state)
{
    fixture f;
    tb_err err = {0};
    tb_move back;
    uint8_t bytes[TB_MOVE_BYTES_MAX];
    (void)state;
    setup(&f);
    tb_move m = move_of(&f);
    memset(m.endpoint, 'x', sizeof m.endpoint - 1);
    CHECK(tb_move_decode(&back, bytes, tb_move_encode(&m, bytes), &err) ==
          TB_OK);
    memcpy(m.endpoint, "tcp://a b", 10);
    CHECK(tb_move_decode(&back, bytes, tb_move_encode(&m, bytes), &err) ==
          TB_E_MALFORMED);
    m.endpoint[0] = '\0';
    CHECK(tb_move_decode(&back, bytes, tb_move_encode(&m, bytes), &err) ==
          TB_E_MALFORMED);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_keys_must_have_signed_all_of_it),
        cmocka_unit_test(the_same_keys_give_the_same_bytes),
        cmocka_unit_test(a_move_is_the_roots_word_alone),
        cmocka_unit_test(what_is_no_endpoint_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
