/* Signatures and certificates. */
#include "crypto/sign.h"

#include "crypto/cert.h"
#include "crypto/crypto.h"
#include "vectors.h"

#define NOW_S 1800000000u

static tb_sign_key *key_of(uint8_t fill)
{
    uint8_t seed[32];
    tb_sign_key *key = NULL;
    tb_err err = {0};
    memset(seed, fill, sizeof seed);
    CHECK_OK(tb_sign_key_from_seed(&key, seed, &err), err);
    return key;
}

static void a_signature_holds_for_its_bytes_key_and_context_only(void **state)
{
    static const char text[] = "a round configuration";
    uint8_t signature[TB_SIGNATURE_BYTES];
    tb_err err = {0};
    (void)state;
    tb_sign_key *key = key_of(1);
    tb_sign_key *other = key_of(2);
    const uint8_t *public_key = tb_sign_key_public(key);
    for (int c = 0; c < TB_SIGN_CONTEXT_COUNT; c++) {
        tb_sign(signature, key, (tb_sign_context)c, text, sizeof text);
        for (int d = 0; d < TB_SIGN_CONTEXT_COUNT; d++) {
            CHECK(tb_verify(signature, public_key, (tb_sign_context)d, text,
                            sizeof text,
                            &err) == (c == d ? TB_OK : TB_E_DENIED));
        }
        CHECK_ERR(tb_verify(signature, public_key, (tb_sign_context)c, text,
                            sizeof text - 1, &err),
                  TB_E_DENIED, err, "signature");
        CHECK(tb_verify(signature, tb_sign_key_public(other),
                        (tb_sign_context)c, text, sizeof text,
                        NULL) == TB_E_DENIED);
        for (size_t i = 0; i < sizeof signature; i++) {
            signature[i] ^= 1;
            CHECK(tb_verify(signature, public_key, (tb_sign_context)c, text,
                            sizeof text, NULL) == TB_E_DENIED);
            signature[i] ^= 1;
        }
    }
    tb_sign_key_free(&key);
    tb_sign_key_free(&other);
}

static tb_certificate certificate(const tb_sign_key *root)
{
    tb_certificate cert = {
        .serial = 7, .valid_from = NOW_S - 10, .valid_until = NOW_S + 10};
    memset(cert.sign_key, 0xa1, sizeof cert.sign_key);
    memset(cert.curve_key, 0xa2, sizeof cert.curve_key);
    tb_certificate_sign(&cert, root);
    return cert;
}

static void a_certificate_comes_back_and_verifies(void **state)
{
    uint8_t bytes[TB_CERTIFICATE_BYTES];
    uint8_t again[TB_CERTIFICATE_BYTES];
    tb_certificate back;
    tb_err err = {0};
    (void)state;
    tb_sign_key *root = key_of(3);
    tb_certificate cert = certificate(root);
    tb_certificate_encode(&cert, bytes);
    CHECK_OK(tb_certificate_decode(&back, bytes, sizeof bytes, &err), err);
    CHECK_OK(
        tb_certificate_verify(&back, tb_sign_key_public(root), NOW_S, &err),
        err);
    CHECK(back.serial == 7 && back.sign_key[31] == 0xa1 &&
          back.curve_key[0] == 0xa2);
    tb_certificate_encode(&back, again);
    assert_memory_equal(again, bytes, sizeof bytes);
    tb_sign_key_free(&root);
}

static void
a_certificate_holds_from_its_first_to_before_its_last_second(void **state)
{
    tb_err err = {0};
    (void)state;
    tb_sign_key *root = key_of(3);
    const uint8_t *pinned = tb_sign_key_public(root);
    tb_certificate cert = certificate(root);
    CHECK_ERR(tb_certificate_verify(&cert, pinned, NOW_S - 11, &err),
              TB_E_DENIED, err, "clock");
    CHECK_OK(tb_certificate_verify(&cert, pinned, NOW_S - 10, &err), err);
    CHECK_OK(tb_certificate_verify(&cert, pinned, NOW_S + 9, &err), err);
    CHECK_ERR(tb_certificate_verify(&cert, pinned, NOW_S + 10, &err),
              TB_E_DENIED, err, "expired");
    tb_sign_key_free(&root);
}

static void a_certificate_of_another_root_is_denied(void **state)
{
    tb_err err = {0};
    (void)state;
    tb_sign_key *root = key_of(3);
    tb_sign_key *other = key_of(4);
    tb_certificate cert = certificate(other);
    CHECK_ERR(
        tb_certificate_verify(&cert, tb_sign_key_public(root), NOW_S, &err),
        TB_E_DENIED, err, "another federation");
    /* Claiming our federation does not help. */
    cert.federation = tb_federation_of(tb_sign_key_public(root));
    CHECK_ERR(
        tb_certificate_verify(&cert, tb_sign_key_public(root), NOW_S, &err),
        TB_E_DENIED, err, "signature");
    tb_sign_key_free(&root);
    tb_sign_key_free(&other);
}

static void every_byte_of_a_certificate_counts(void **state)
{
    uint8_t bytes[TB_CERTIFICATE_BYTES];
    (void)state;
    tb_sign_key *root = key_of(3);
    tb_certificate cert = certificate(root);
    tb_certificate_encode(&cert, bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        tb_certificate back;
        bytes[i] ^= 1;
        tb_rc rc = tb_certificate_decode(&back, bytes, sizeof bytes, NULL);
        if (rc == TB_OK) {
            rc = tb_certificate_verify(&back, tb_sign_key_public(root), NOW_S,
                                       NULL);
        }
        CHECK(rc != TB_OK);
        bytes[i] ^= 1;
    }
    tb_sign_key_free(&root);
}

static void a_certificate_cut_or_too_long_is_malformed(void **state)
{
    uint8_t bytes[TB_CERTIFICATE_BYTES + 1] = {0};
    tb_certificate back = {.serial = 99};
    tb_err err = {0};
    (void)state;
    tb_sign_key *root = key_of(3);
    tb_certificate cert = certificate(root);
    tb_certificate_encode(&cert, bytes);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        if (len != TB_CERTIFICATE_BYTES) {
            CHECK(tb_certificate_decode(&back, bytes, len, &err) ==
                  TB_E_MALFORMED);
        }
    }
    bytes[4] = 2;
    CHECK_ERR(tb_certificate_decode(&back, bytes, TB_CERTIFICATE_BYTES, &err),
              TB_E_UNSUPPORTED, err, "version 2");
    bytes[4] = 1;
    memcpy(bytes + 112, bytes + 120, 8); /* valid_from = valid_until */
    CHECK_ERR(tb_certificate_decode(&back, bytes, TB_CERTIFICATE_BYTES, &err),
              TB_E_MALFORMED, err, "ends before");
    CHECK(back.serial == 99); /* unchanged by all the failures */
    tb_sign_key_free(&root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_holds_for_its_bytes_key_and_context_only),
        cmocka_unit_test(a_certificate_comes_back_and_verifies),
        cmocka_unit_test(
            a_certificate_holds_from_its_first_to_before_its_last_second),
        cmocka_unit_test(a_certificate_of_another_root_is_denied),
        cmocka_unit_test(every_byte_of_a_certificate_counts),
        cmocka_unit_test(a_certificate_cut_or_too_long_is_malformed),
    };
    tb_err err = {0};
    return tb_crypto_init(&err) == TB_OK
               ? cmocka_run_group_tests(tests, NULL, NULL)
               : 1;
}
