#include "crypto/invite.h"

#include "crypto/crypto.h"
#include "vectors.h"

static void fill(tb_invite *invite)
{
    tb_err err = {0};
    CHECK_OK(tb_invite_init(invite, &err), err);
    memset(invite->root_public, 0x11, sizeof invite->root_public);
    memset(invite->curve_key, 0x22, sizeof invite->curve_key);
    invite->expires_s = 1900000000;
    memcpy(invite->name, "edge-01", 8);
    memcpy(invite->endpoint, "tcp://10.0.0.1:4713", 20);
}

static void an_invite_made_by_the_script_is_read(void **state)
{
    static const char endpoint[] = "tcp://127.0.0.1:4713";
    char again[TB_INVITE_TEXT_BYTES];
    uint8_t public_key[32];
    tb_invite invite;
    tb_err err = {0};
    (void)state;
    CHECK_OK(tb_invite_decode(&invite, vector_text("invite", 0), &err), err);
    CHECK(invite.id[0] == 1 && invite.id[15] == 1);
    CHECK(invite.curve_key[0] == 3 && invite.curve_key[31] == 3);
    CHECK(invite.expires_s == 2000000000);
    assert_string_equal(invite.name, "edge-07");
    assert_string_equal(invite.endpoint, endpoint);
    CHECK_OK(tb_invite_encode(&invite, again, &err), err);
    assert_string_equal(again, vector_text("invite", 0));
    /* The proofs of the script's client verify, and are what we make. */
    tb_enrolment made;
    uint8_t want[TB_SIGNATURE_BYTES];
    uint8_t seed[32];
    tb_sign_key *key = NULL;
    vector_bytes(seed, sizeof seed, "client_seed", 0);
    CHECK_OK(tb_sign_key_from_seed(&key, seed, &err), err);
    vector_bytes(public_key, sizeof public_key, "client_public", 0);
    assert_memory_equal(tb_sign_key_public(key), public_key, 32);
    tb_enrolment_sign(&made, &invite, key, invite.curve_key);
    vector_bytes(want, sizeof want, "proof", 0);
    assert_memory_equal(made.proof, want, sizeof want);
    vector_bytes(want, sizeof want, "enrol", 0);
    assert_memory_equal(made.signature, want, sizeof want);
    tb_sign_key_free(&key);
    tb_invite_release(&invite);
    tb_invite_release(&invite); /* safe twice */
    CHECK(tb_secret_live() == 0);
}

static void white_space_around_an_invite_is_ignored(void **state)
{
    char text[TB_INVITE_TEXT_BYTES];
    char padded[TB_INVITE_TEXT_BYTES + 8] = " \n\t";
    tb_invite invite;
    tb_err err = {0};
    (void)state;
    fill(&invite);
    CHECK_OK(tb_invite_encode(&invite, text, &err), err);
    tb_invite_release(&invite);
    memcpy(padded + 3, text, strlen(text));
    memcpy(padded + 3 + strlen(text), "\r\n", 3);
    CHECK_OK(tb_invite_decode(&invite, padded, &err), err);
    assert_string_equal(invite.name, "edge-01");
    tb_invite_release(&invite);
}

static void the_longest_name_and_endpoint_come_back(void **state)
{
    char text[TB_INVITE_TEXT_BYTES];
    tb_invite invite;
    tb_err err = {0};
    (void)state;
    fill(&invite);
    memset(invite.name, 'n', sizeof invite.name - 1);
    memset(invite.endpoint, 'e', sizeof invite.endpoint - 1);
    CHECK_OK(tb_invite_encode(&invite, text, &err), err);
    tb_invite_release(&invite);
    CHECK_OK(tb_invite_decode(&invite, text, &err), err);
    CHECK(strlen(invite.name) == 63 && strlen(invite.endpoint) == 255);
    invite.name[63] = 'x';
    CHECK_ERR(tb_invite_encode(&invite, text, &err), TB_E_USAGE, err, "name");
    invite.name[0] = '\0';
    CHECK_ERR(tb_invite_encode(&invite, text, &err), TB_E_USAGE, err, "name");
    tb_invite_release(&invite);
}

static void an_invite_cut_at_any_character_is_said_to_be_cut(void **state)
{
    char text[TB_INVITE_TEXT_BYTES];
    tb_invite invite;
    tb_err err = {0};
    (void)state;
    fill(&invite);
    CHECK_OK(tb_invite_encode(&invite, text, &err), err);
    tb_invite_release(&invite);
    for (size_t len = strlen(text); len-- > 0;) {
        text[len] = '\0';
        const char *why =
            len >= strlen("tributary-invite-1.") ? "cut short" : "starts with";
        CHECK_ERR(tb_invite_decode(&invite, text, &err), TB_E_MALFORMED, err,
                  why);
        assert_null(invite.key);
    }
}

static void any_mistyped_character_is_seen(void **state)
{
    char good[TB_INVITE_TEXT_BYTES];
    tb_invite invite;
    tb_err err = {0};
    (void)state;
    fill(&invite);
    CHECK_OK(tb_invite_encode(&invite, good, &err), err);
    tb_invite_release(&invite);
    static const char instead[] = "Aa0_-";
    for (size_t i = 0; i < strlen(good); i++) {
        for (const char *c = instead; *c != '\0'; c++) {
            char text[TB_INVITE_TEXT_BYTES];
            memcpy(text, good, sizeof text);
            text[i] = *c;
            tb_rc rc = tb_invite_decode(&invite, text, &err);
            CHECK(*c == good[i]
                      ? rc == TB_OK
                      : rc == TB_E_MALFORMED || rc == TB_E_UNSUPPORTED);
            tb_invite_release(&invite);
        }
    }
}

static void each_kind_of_bad_invite_gets_its_own_message(void **state)
{
    char good[TB_INVITE_TEXT_BYTES];
    char text[TB_INVITE_TEXT_BYTES + 8];
    tb_invite invite;
    tb_err err = {0};
    (void)state;
    fill(&invite);
    CHECK_OK(tb_invite_encode(&invite, good, &err), err);
    tb_invite_release(&invite);
    size_t n = strlen(good);
    CHECK_ERR(tb_invite_decode(&invite, "hello", &err), TB_E_MALFORMED, err,
              "starts with");
    memcpy(text, good, n + 1);
    text[17] = '2';
    CHECK_ERR(tb_invite_decode(&invite, text, &err), TB_E_UNSUPPORTED, err,
              "version 1");
    memcpy(text, good, n + 1);
    text[60] = '!';
    CHECK_ERR(tb_invite_decode(&invite, text, &err), TB_E_MALFORMED, err,
              "mistyped near character 42");
    text[60] = good[60] == 'A' ? 'B' : 'A';
    CHECK_ERR(tb_invite_decode(&invite, text, &err), TB_E_MALFORMED, err,
              "mistyped or altered");
    memcpy(text, good, n);
    memcpy(text + n, "AAAA", 5);
    CHECK_ERR(tb_invite_decode(&invite, text, &err), TB_E_MALFORMED, err,
              "4 characters too many");
}

static void an_error_never_shows_a_part_of_the_secret(void **state)
{
    char text[TB_INVITE_TEXT_BYTES];
    tb_invite invite;
    tb_err err = {0};
    (void)state;
    fill(&invite);
    CHECK_OK(tb_invite_encode(&invite, text, &err), err);
    tb_invite_release(&invite);
    text[60] = '!';
    char part[9] = {0};
    memcpy(part, text + 45, 8); /* within the secret */
    CHECK(tb_invite_decode(&invite, text, &err) == TB_E_MALFORMED);
    assert_null(strstr(err.text, part));
}

static void an_enrolment_holds_for_its_own_fields_only(void **state)
{
    uint8_t curve[32] = {5};
    tb_invite invite;
    tb_sign_key *key = NULL;
    tb_enrolment e;
    tb_enrolment again;
    tb_err err = {0};
    (void)state;
    fill(&invite);
    const uint8_t *kept = tb_sign_key_public(invite.key);
    CHECK_OK(tb_sign_key_new(&key, &err), err);
    tb_enrolment_sign(&e, &invite, key, curve);
    tb_enrolment_sign(&again, &invite, key, curve);
    assert_memory_equal(&e, &again, sizeof e); /* a retry says the same */
    CHECK_OK(tb_enrolment_verify(&e, kept, &err), err);
    for (size_t i = 0; i < sizeof e; i++) {
        tb_enrolment bad = e;
        ((uint8_t *)&bad)[i] ^= 4;
        CHECK(tb_enrolment_verify(&bad, kept, NULL) == TB_E_DENIED);
    }
    /* Another invite's key, and someone else signing for our keys. */
    tb_invite other;
    fill(&other);
    CHECK_ERR(tb_enrolment_verify(&e, tb_sign_key_public(other.key), &err),
              TB_E_DENIED, err, "proof of the invite");
    tb_enrolment_sign(&again, &invite, other.key, curve);
    memcpy(again.sign_key, e.sign_key, sizeof again.sign_key);
    memcpy(again.proof, e.proof, sizeof again.proof);
    CHECK_ERR(tb_enrolment_verify(&again, kept, &err), TB_E_DENIED, err,
              "the client's own key");
    tb_invite_release(&other);
    tb_invite_release(&invite);
    tb_sign_key_free(&key);
}

static tb_rc decode_golden(void *arg, tb_err *err)
{
    tb_invite invite;
    tb_rc rc = tb_invite_decode(&invite, arg, err);
    tb_invite_release(&invite);
    CHECK(tb_secret_live() == 0);
    return rc;
}

static void each_allocation_may_fail(void **state)
{
    char text[TB_INVITE_TEXT_BYTES] = {0};
    (void)state;
    memcpy(text, vector_text("invite", 0), strlen(vector_text("invite", 0)));
    CHECK(tb_check_each_allocation(decode_golden, text) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_invite_made_by_the_script_is_read),
        cmocka_unit_test(white_space_around_an_invite_is_ignored),
        cmocka_unit_test(the_longest_name_and_endpoint_come_back),
        cmocka_unit_test(an_invite_cut_at_any_character_is_said_to_be_cut),
        cmocka_unit_test(any_mistyped_character_is_seen),
        cmocka_unit_test(each_kind_of_bad_invite_gets_its_own_message),
        cmocka_unit_test(an_error_never_shows_a_part_of_the_secret),
        cmocka_unit_test(an_enrolment_holds_for_its_own_fields_only),
        cmocka_unit_test(each_allocation_may_fail),
    };
    tb_err err = {0};
    return tb_crypto_init(&err) == TB_OK
               ? cmocka_run_group_tests(tests, NULL, NULL)
               : 1;
}
