/* The server of CurveZMQ against a client that is written from RFC 26. */
#include "crypto/curve.h"

#include <sodium.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/crypto.h"
#include "crypto/secret.h"
#include "support/check.h"
#include "support/curve_client.h"

#define INITIATE_MAX 600
#define DATA_MAX     70000

/* A door, a connection to it, and the client at its other end. */
typedef struct talk {
    uint8_t server[32], server_secret[32];
    tb_curve_door *door;
    tb_curve_session session;
    curve_client client;
} talk;

static const uint8_t zeroes[64];

static void open_talk(talk *t)
{
    *t = (talk){0};
    CHECK(crypto_box_keypair(t->server, t->server_secret) == 0);
    CHECK(tb_curve_door_new(&t->door, t->server_secret, NULL) == TB_OK);
    curve_client_init(&t->client, t->server);
}

static void close_talk(talk *t)
{
    tb_curve_release(&t->session);
    tb_curve_release(&t->session);
    tb_curve_door_free(&t->door);
    tb_curve_door_free(&t->door);
    CHECK(tb_secret_live() == 0);
    CHECK(tb_mem_live() == 0);
}

static void greet(talk *t)
{
    uint8_t hello[TB_CURVE_HELLO_BYTES];
    uint8_t welcome[TB_CURVE_WELCOME_BYTES];
    tb_err err = {0};
    curve_client_hello(&t->client, zeroes, hello);
    CHECK_OK(tb_curve_hello(&t->session, t->door, hello, sizeof hello, welcome,
                            &err),
             err);
    CHECK(curve_client_welcome(&t->client, welcome));
}

static size_t put_initiate(talk *t, uint8_t out[static INITIATE_MAX])
{
    uint8_t proof[CURVE_PROOF_BYTES];
    curve_client_prove(&t->client, proof);
    return curve_client_initiate(&t->client, proof, curve_client_dealer,
                                 curve_client_dealer_bytes, out);
}

static void prove(talk *t)
{
    uint8_t body[INITIATE_MAX];
    tb_curve_proof proof;
    tb_err err = {0};
    size_t n = put_initiate(t, body);
    CHECK_OK(tb_curve_initiate(&t->session, t->door, body, n, &proof, &err),
             err);
    assert_memory_equal(proof.key, t->client.key, 32);
    CHECK(proof.n_metadata == curve_client_dealer_bytes);
    assert_memory_equal(proof.metadata, curve_client_dealer, proof.n_metadata);
}

static void meet(talk *t)
{
    uint8_t ready[TB_CURVE_READY_BYTES_MIN + 5];
    uint8_t metadata[5];
    uint64_t nonce = 0;
    open_talk(t);
    greet(t);
    prove(t);
    tb_curve_ready(&t->session, (const uint8_t *)"words", 5, ready);
    CHECK(
        curve_client_ready(&t->client, ready, sizeof ready, metadata, &nonce));
    assert_memory_equal(metadata, "words", 5);
    CHECK(nonce == 1);
}

static void both_sides_agree_and_talk(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 16, 255, 256, DATA_MAX};
    static uint8_t data[DATA_MAX];
    static uint8_t body[DATA_MAX + TB_CURVE_MESSAGE_BYTES_MIN];
    static uint8_t got[DATA_MAX + 1];
    talk t;
    (void)state;
    meet(&t);
    randombytes_buf(data, sizeof data);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = sizes[i];
        tb_curve_words in = {.flags = 0xff};
        uint64_t nonce = 0;
        tb_err err = {0};
        curve_client_message(&t.client, (uint8_t)(i & 3), data, n, body);
        CHECK_OK(tb_curve_open(&t.session, body, n + TB_CURVE_MESSAGE_BYTES_MIN,
                               &in, &err),
                 err);
        CHECK(in.flags == (i & 3) && in.n_data == n);
        assert_memory_equal(in.data, data, n);
        tb_curve_seal(&t.session, tb_curve_next_nonce(&t.session),
                      TB_CURVE_FLAG_MORE, data, n, body);
        CHECK(curve_client_open(&t.client, body, n + TB_CURVE_MESSAGE_BYTES_MIN,
                                got, &nonce));
        CHECK(nonce == 2 + i && got[0] == 1); /* READY had 1 */
        assert_memory_equal(got + 1, data, n);
    }
    close_talk(&t);
}

static void a_frame_sealed_again_has_the_same_bytes(void **state)
{
    uint8_t first[TB_CURVE_MESSAGE_BYTES_MIN + 4];
    uint8_t again[sizeof first];
    talk t;
    (void)state;
    meet(&t);
    uint64_t nonce = tb_curve_next_nonce(&t.session);
    uint64_t later = tb_curve_next_nonce(&t.session);
    CHECK(later == nonce + 1);
    tb_curve_seal(&t.session, nonce, 0, (const uint8_t *)"data", 4, first);
    tb_curve_seal(&t.session, later, 0, (const uint8_t *)"data", 4, again);
    CHECK(memcmp(first, again, sizeof first) != 0);
    tb_curve_seal(&t.session, nonce, 0, (const uint8_t *)"data", 4, again);
    assert_memory_equal(first, again, sizeof first);
    close_talk(&t);
}

static tb_rc try_hello(talk *t, const uint8_t *hello, size_t n, tb_err *err)
{
    uint8_t welcome[TB_CURVE_WELCOME_BYTES];
    tb_rc rc = tb_curve_hello(&t->session, t->door, hello, n, welcome, err);
    if (rc != TB_OK) {
        CHECK(t->session.secret == NULL && tb_secret_live() == 1);
    }
    return rc;
}

static void a_hello_that_is_altered_or_cut_is_refused(void **state)
{
    uint8_t hello[TB_CURVE_HELLO_BYTES + 1] = {0};
    talk t;
    (void)state;
    open_talk(&t);
    curve_client_hello(&t.client, zeroes, hello);
    for (size_t i = 0; i < TB_CURVE_HELLO_BYTES; i++) {
        hello[i] ^= 1;
        CHECK(try_hello(&t, hello, TB_CURVE_HELLO_BYTES, NULL) ==
              TB_E_MALFORMED);
        hello[i] ^= 1;
        CHECK(try_hello(&t, hello, i, NULL) == TB_E_MALFORMED);
    }
    CHECK(try_hello(&t, hello, sizeof hello, NULL) == TB_E_MALFORMED);
    CHECK(try_hello(&t, hello, TB_CURVE_HELLO_BYTES, NULL) == TB_OK);
    close_talk(&t);
}

static void a_hello_must_be_for_this_key_and_hold_zeroes(void **state)
{
    uint8_t hello[TB_CURVE_HELLO_BYTES];
    uint8_t words[64] = {0};
    tb_err err = {0};
    talk t;
    talk other;
    (void)state;
    open_talk(&t);
    words[63] = 1;
    curve_client_hello(&t.client, words, hello);
    CHECK_ERR(try_hello(&t, hello, sizeof hello, &err), TB_E_MALFORMED, err,
              "another server's key");
    open_talk(&other);
    curve_client_hello(&other.client, zeroes, hello);
    tb_curve_door_free(&other.door);
    CHECK_ERR(try_hello(&t, hello, sizeof hello, &err), TB_E_MALFORMED, err,
              "another server's key");
    close_talk(&t);
}

/* Points of small order: what anyone agrees on with them is no secret. The
 * first five are those of RFC 7748's security considerations in their form
 * below 2^255 - 19. */
static const char *const weak_points[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

static void a_key_that_is_no_secret_is_refused(void **state)
{
    for (size_t i = 0; i < sizeof weak_points / sizeof weak_points[0]; i++) {
        uint8_t point[32];
        uint8_t body[INITIATE_MAX];
        uint8_t proof[CURVE_PROOF_BYTES];
        uint8_t nonce[24] = "CurveZMQHELLO---";
        uint8_t shared[32];
        tb_curve_proof out;
        talk t;
        (void)state;
        CHECK(sodium_hex2bin(point, sizeof point, weak_points[i], 64, NULL,
                             NULL, NULL) == 0);
        open_talk(&t);
        curve_client_hello(&t.client, zeroes, body);
        memcpy(body + 80, point, 32);
        /* What a server that does not look would agree on: zeroes. */
        memcpy(nonce + 16, body + 112, 8);
        CHECK(crypto_core_hsalsa20(shared, zeroes, zeroes, NULL) == 0);
        CHECK(crypto_box_easy_afternm(body + 120, zeroes, 64, nonce, shared) ==
              0);
        CHECK(try_hello(&t, body, TB_CURVE_HELLO_BYTES, NULL) ==
              TB_E_MALFORMED);
        greet(&t);
        memcpy(t.client.key, point, 32);
        curve_client_prove(&t.client, proof);
        memcpy(nonce, "VOUCH---", 8);
        memcpy(nonce + 8, proof + 32, 16);
        memcpy(proof + 48, t.client.short_key, 32);
        memcpy(proof + 80, t.server, 32);
        CHECK(crypto_box_easy_afternm(proof + 48, memcpy(body, proof + 48, 64),
                                      64, nonce, shared) == 0);
        size_t n = curve_client_initiate(&t.client, proof, NULL, 0, body);
        CHECK(tb_curve_initiate(&t.session, t.door, body, n, &out, NULL) ==
              TB_E_MALFORMED);
        close_talk(&t);
    }
}

static void an_initiate_that_is_altered_or_cut_is_refused(void **state)
{
    uint8_t good[INITIATE_MAX];
    uint8_t body[INITIATE_MAX];
    tb_curve_proof proof;
    talk t;
    (void)state;
    open_talk(&t);
    greet(&t);
    size_t n = put_initiate(&t, good);
    for (size_t i = 0; i < n; i++) {
        memcpy(body, good, n);
        body[i] ^= 1;
        CHECK(tb_curve_initiate(&t.session, t.door, body, n, &proof, NULL) ==
              TB_E_MALFORMED);
        memcpy(body, good, n);
        CHECK(tb_curve_initiate(&t.session, t.door, body, i, &proof, NULL) ==
              TB_E_MALFORMED);
    }
    CHECK(tb_curve_initiate(&t.session, t.door, good, n, &proof, NULL) ==
          TB_OK);
    /* The short-term secret is gone; only the traffic's key is left. */
    CHECK(sodium_is_zero(t.session.secret, 32));
    close_talk(&t);
}

/* What somebody else recorded opens nothing, even if the same short-term key
 * is sent again. */
static void an_initiate_of_another_connection_is_refused(void **state)
{
    uint8_t hello[TB_CURVE_HELLO_BYTES];
    uint8_t welcome[TB_CURVE_WELCOME_BYTES];
    uint8_t body[INITIATE_MAX];
    tb_curve_session again = {0};
    tb_curve_proof proof;
    tb_err err = {0};
    talk t;
    (void)state;
    open_talk(&t);
    curve_client_hello(&t.client, zeroes, hello);
    CHECK_OK(
        tb_curve_hello(&t.session, t.door, hello, sizeof hello, welcome, &err),
        err);
    CHECK(curve_client_welcome(&t.client, welcome));
    size_t n = put_initiate(&t, body);
    CHECK_OK(tb_curve_hello(&again, t.door, hello, sizeof hello, welcome, &err),
             err);
    CHECK_ERR(tb_curve_initiate(&again, t.door, body, n, &proof, &err),
              TB_E_MALFORMED, err, "of another connection");
    CHECK_OK(tb_curve_initiate(&t.session, t.door, body, n, &proof, &err), err);
    tb_curve_release(&again);
    close_talk(&t);
}

static void refuse_proof(talk *t, const uint8_t *proof, const char *why)
{
    uint8_t body[INITIATE_MAX];
    tb_curve_proof out;
    tb_err err = {0};
    size_t n = curve_client_initiate(&t->client, proof, curve_client_dealer,
                                     curve_client_dealer_bytes, body);
    CHECK_ERR(tb_curve_initiate(&t->session, t->door, body, n, &out, &err),
              TB_E_MALFORMED, err, why);
}

static void a_long_term_key_must_vouch_for_this_connection(void **state)
{
    uint8_t proof[CURVE_PROOF_BYTES];
    talk t;
    (void)state;
    open_talk(&t);
    greet(&t);
    curve_client liar = t.client;
    curve_client_init(&liar, t.server); /* another's keys ... */
    memcpy(liar.server_short, t.client.server_short, 32);
    curve_client_prove(&liar, proof); /* ... vouch for another's short key */
    refuse_proof(&t, proof, "does not prove");
    curve_client_prove(&t.client, proof);
    memcpy(proof, liar.key, 32); /* another's name on my word */
    refuse_proof(&t, proof, "does not prove");
    liar = t.client;
    memcpy(liar.server, t.client.key, 32); /* my word to another server */
    curve_client_prove(&liar, proof);
    refuse_proof(&t, proof, "does not prove");
    t.client.nonce = 1; /* HELLO had it */
    curve_client_prove(&t.client, proof);
    refuse_proof(&t, proof, "altered");
    t.client.nonce = 2;
    prove(&t);
    close_talk(&t);
}

static tb_rc open_copy(talk *t, const uint8_t *body, size_t n)
{
    uint8_t copy[128];
    tb_curve_words in;
    CHECK(n <= sizeof copy);
    memcpy(copy, body, n);
    return tb_curve_open(&t->session, copy, n, &in, NULL);
}

static void a_message_opens_once_whole_and_in_order(void **state)
{
    uint8_t first[TB_CURVE_MESSAGE_BYTES_MIN + 5];
    uint8_t second[sizeof first];
    uint8_t ours[sizeof first];
    talk t;
    (void)state;
    meet(&t);
    curve_client_message(&t.client, 1, (const uint8_t *)"first", 5, first);
    curve_client_message(&t.client, 0, (const uint8_t *)"later", 5, second);
    for (size_t i = 0; i < sizeof first; i++) {
        first[i] ^= 1;
        CHECK(open_copy(&t, first, sizeof first) == TB_E_MALFORMED);
        first[i] ^= 1;
        CHECK(open_copy(&t, first, i) == TB_E_MALFORMED);
    }
    CHECK(open_copy(&t, first, sizeof first) == TB_OK);
    CHECK(open_copy(&t, first, sizeof first) == TB_E_MALFORMED);
    CHECK(open_copy(&t, second, sizeof second) == TB_OK);
    CHECK(open_copy(&t, first, sizeof first) == TB_E_MALFORMED);
    /* Our own bytes sent back are not the client's. */
    tb_curve_seal(&t.session, 1000, 0, (const uint8_t *)"words", 5, ours);
    CHECK(open_copy(&t, ours, sizeof ours) == TB_E_MALFORMED);
    /* Numbers may be left out. */
    t.client.nonce = UINT64_MAX;
    curve_client_message(&t.client, 0, (const uint8_t *)"last.", 5, first);
    CHECK(open_copy(&t, first, sizeof first) == TB_OK);
    CHECK(open_copy(&t, first, sizeof first) == TB_E_MALFORMED);
    close_talk(&t);
}

static tb_rc make_door(void *arg, tb_err *err)
{
    tb_curve_door *door = NULL;
    tb_rc rc = tb_curve_door_new(&door, arg, err);
    CHECK((door == NULL) == (rc != TB_OK));
    tb_curve_door_free(&door);
    CHECK(tb_secret_live() == 0);
    return rc;
}

static void each_allocation_of_a_door_may_fail(void **state)
{
    uint8_t secret[32] = {7};
    (void)state;
    CHECK(tb_check_each_allocation(make_door, secret) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_agree_and_talk),
        cmocka_unit_test(a_frame_sealed_again_has_the_same_bytes),
        cmocka_unit_test(a_hello_that_is_altered_or_cut_is_refused),
        cmocka_unit_test(a_hello_must_be_for_this_key_and_hold_zeroes),
        cmocka_unit_test(a_key_that_is_no_secret_is_refused),
        cmocka_unit_test(an_initiate_that_is_altered_or_cut_is_refused),
        cmocka_unit_test(an_initiate_of_another_connection_is_refused),
        cmocka_unit_test(a_long_term_key_must_vouch_for_this_connection),
        cmocka_unit_test(a_message_opens_once_whole_and_in_order),
        cmocka_unit_test(each_allocation_of_a_door_may_fail),
    };
    tb_err err = {0};
    return tb_crypto_init(&err) == TB_OK
               ? cmocka_run_group_tests(tests, NULL, NULL)
               : 1;
}
