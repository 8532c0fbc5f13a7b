#include "crypto/seal.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include "vectors.h"

#define N_BLOCKS    3
#define BLOCK_BYTES 48
#define SEALED      (BLOCK_BYTES + TB_SEAL_TAG_BYTES)

/* One upload of N_BLOCKS blocks of BLOCK_BYTES, sealed by ourselves. */
typedef struct upload {
    tb_box_key *run;
    tb_seal_binding to;
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    uint8_t plain[N_BLOCKS][BLOCK_BYTES];
    uint8_t sealed[N_BLOCKS][SEALED];
    tb_hash hash;
} upload;

static void seal_upload(upload *u)
{
    tb_err err = {0};
    tb_sealer *sealer = NULL;
    CHECK_OK(tb_box_key_new(&u->run, &err), err);
    u->to = (tb_seal_binding){tb_hash_of("config", 6), "edge-01"};
    CHECK_OK(tb_sealer_new(&sealer, tb_box_key_public(u->run), &u->to, N_BLOCKS,
                           &err),
             err);
    memcpy(u->header, tb_sealer_header(sealer), sizeof u->header);
    for (int i = 0; i < N_BLOCKS; i++) {
        CHECK_ERR(tb_sealer_end(sealer, &u->hash, &err), TB_E_MISMATCH, err,
                  "of 3 blocks");
        memset(u->plain[i], 'a' + i, BLOCK_BYTES);
        CHECK_OK(tb_sealer_next(sealer, u->plain[i], BLOCK_BYTES, u->sealed[i],
                                &err),
                 err);
    }
    CHECK_OK(tb_sealer_end(sealer, &u->hash, &err), err);
    uint8_t more[SEALED];
    CHECK_ERR(tb_sealer_next(sealer, u->plain[0], BLOCK_BYTES, more, &err),
              TB_E_USAGE, err, "more than 3");
    tb_sealer_free(&sealer);
}

static void release_upload(upload *u)
{
    tb_box_key_free(&u->run);
    CHECK(tb_secret_live() == 0);
    CHECK(tb_mem_live() == 0);
}

static tb_opener *opener_of(const upload *u)
{
    tb_opener *opener = NULL;
    tb_err err = {0};
    CHECK_OK(tb_opener_new(&opener, u->run, &u->to, u->header, &err), err);
    return opener;
}

/* Opens block i of an upload as if it were another in some respect. */
static tb_rc open_as(const tb_box_key *run, const tb_seal_binding *to,
                     const uint8_t *header, uint32_t index,
                     const uint8_t *sealed)
{
    uint8_t plain[BLOCK_BYTES];
    tb_opener *opener = NULL;
    tb_rc rc = tb_opener_new(&opener, run, to, header, NULL);
    if (rc == TB_OK) {
        rc = tb_opener_block(opener, index, sealed, SEALED, plain, NULL);
    }
    tb_opener_free(&opener);
    return rc;
}

static void an_update_sealed_by_the_script_opens(void **state)
{
    uint8_t secret[32];
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    uint8_t signature[TB_SIGNATURE_BYTES];
    uint8_t public_key[32];
    tb_seal_binding to = {.client = "edge-07"};
    tb_hash update;
    tb_hash want;
    tb_update_hasher hasher;
    tb_box_key *run = NULL;
    tb_opener *opener = NULL;
    tb_err err = {0};
    (void)state;
    vector_bytes(secret, sizeof secret, "run_secret", 0);
    vector_bytes(to.config.bytes, TB_HASH_BYTES, "config", 0);
    CHECK(vector_bytes(header, sizeof header, "header", 0) == sizeof header);
    CHECK_OK(tb_box_key_from_seed(&run, secret, &err), err);
    CHECK_OK(tb_opener_new(&opener, run, &to, header, &err), err);
    tb_update_hasher_init(&hasher, header);
    CHECK(hasher.n_blocks == 3);
    for (int i = 0; i < 3; i++) {
        uint8_t sealed[256];
        uint8_t plain[256];
        uint8_t got[256];
        size_t n = vector_bytes(sealed, sizeof sealed, "sealed", i);
        size_t n_plain = vector_bytes(plain, sizeof plain, "plain", i);
        CHECK(n == n_plain + TB_SEAL_TAG_BYTES);
        CHECK_OK(tb_opener_block(opener, (uint32_t)i, sealed, n, got, &err),
                 err);
        assert_memory_equal(got, plain, n_plain);
        tb_update_hasher_add(&hasher, sealed, n);
    }
    CHECK_OK(tb_update_hasher_end(&hasher, &update, &err), err);
    vector_bytes(want.bytes, sizeof want.bytes, "update", 0);
    CHECK(tb_hash_equal(&update, &want));
    vector_bytes(signature, sizeof signature, "signature", 0);
    vector_bytes(public_key, sizeof public_key, "client_public", 0);
    CHECK_OK(tb_update_verify(signature, public_key, &to.config, &update, &err),
             err);
    tb_opener_free(&opener);
    tb_box_key_free(&run);
}

static void what_is_sealed_opens_in_any_order_and_in_place(void **state)
{
    upload u;
    tb_err err = {0};
    (void)state;
    seal_upload(&u);
    tb_opener *opener = opener_of(&u);
    for (uint32_t i = N_BLOCKS; i-- > 0;) {
        CHECK_OK(
            tb_opener_block(opener, i, u.sealed[i], SEALED, u.sealed[i], &err),
            err);
        assert_memory_equal(u.sealed[i], u.plain[i], BLOCK_BYTES);
    }
    tb_opener_free(&opener);
    release_upload(&u);
}

static void a_block_opens_only_in_its_own_place(void **state)
{
    upload u;
    (void)state;
    seal_upload(&u);
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        for (uint32_t j = 0; j < N_BLOCKS; j++) {
            CHECK(open_as(u.run, &u.to, u.header, j, u.sealed[i]) ==
                  (i == j ? TB_OK : TB_E_DENIED));
        }
    }
    CHECK(open_as(u.run, &u.to, u.header, N_BLOCKS, u.sealed[0]) ==
          TB_E_MALFORMED);
    release_upload(&u);
}

static void a_block_opens_only_for_its_round_client_run_and_count(void **state)
{
    upload u;
    upload v;
    (void)state;
    seal_upload(&u);
    seal_upload(&v);
    /* Federation, job, run, round and model all change the config's hash. */
    tb_seal_binding to = u.to;
    to.config = tb_hash_of("confih", 6);
    CHECK(open_as(u.run, &to, u.header, 0, u.sealed[0]) == TB_E_DENIED);
    to = u.to;
    to.client = "edge-02";
    CHECK(open_as(u.run, &to, u.header, 0, u.sealed[0]) == TB_E_DENIED);
    to.client = "edge-0";
    CHECK(open_as(u.run, &to, u.header, 0, u.sealed[0]) == TB_E_DENIED);
    CHECK(open_as(v.run, &u.to, u.header, 0, u.sealed[0]) == TB_E_DENIED);
    CHECK(open_as(u.run, &u.to, v.header, 0, u.sealed[0]) == TB_E_DENIED);
    CHECK(open_as(u.run, &u.to, u.header, 0, v.sealed[0]) == TB_E_DENIED);
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    memcpy(header, u.header, sizeof header);
    header[52]++; /* one block more */
    CHECK(open_as(u.run, &u.to, header, 0, u.sealed[0]) == TB_E_DENIED);
    tb_box_key_free(&v.run);
    release_upload(&u);
}

static void a_bit_flipped_anywhere_keeps_a_block_shut(void **state)
{
    upload u;
    (void)state;
    seal_upload(&u);
    for (size_t i = 0; i < SEALED * 8; i++) {
        u.sealed[1][i / 8] ^= (uint8_t)(1u << (i % 8));
        CHECK(open_as(u.run, &u.to, u.header, 1, u.sealed[1]) == TB_E_DENIED);
        u.sealed[1][i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    for (size_t i = 0; i < TB_UPLOAD_HEADER_BYTES; i++) {
        u.header[i] ^= 1;
        CHECK(open_as(u.run, &u.to, u.header, 1, u.sealed[1]) != TB_OK);
        u.header[i] ^= 1;
    }
    CHECK(open_as(u.run, &u.to, u.header, 1, u.sealed[1]) == TB_OK);
    release_upload(&u);
}

static void
a_block_cut_or_longer_stays_shut_and_leaves_no_plain_bytes(void **state)
{
    upload u;
    tb_err err = {0};
    (void)state;
    seal_upload(&u);
    tb_opener *opener = opener_of(&u);
    uint8_t sealed[SEALED + 1] = {0};
    memcpy(sealed, u.sealed[0], SEALED);
    for (size_t len = 0; len <= sizeof sealed; len++) {
        uint8_t plain[SEALED] = {0};
        if (len == SEALED) {
            continue;
        }
        tb_rc rc = tb_opener_block(opener, 0, sealed, len, plain, &err);
        CHECK(rc == (len < TB_SEAL_TAG_BYTES ? TB_E_MALFORMED : TB_E_DENIED));
        CHECK(sodium_is_zero(plain, sizeof plain));
    }
    tb_opener_free(&opener);
    release_upload(&u);
}

static void a_public_key_that_is_none_is_denied(void **state)
{
    upload u;
    uint8_t zero[32] = {0};
    tb_sealer *sealer = NULL;
    tb_opener *opener = NULL;
    tb_err err = {0};
    (void)state;
    seal_upload(&u);
    CHECK_ERR(tb_sealer_new(&sealer, zero, &u.to, 1, &err), TB_E_DENIED, err,
              "not one");
    memcpy(u.header + 4, zero, sizeof zero);
    CHECK_ERR(tb_opener_new(&opener, u.run, &u.to, u.header, &err), TB_E_DENIED,
              err, "not one");
    release_upload(&u);
}

static void a_header_is_checked(void **state)
{
    static const struct {
        size_t at;
        const char *why;
    } cases[] = {
        {0, "magic"}, {3, "magic"}, {56, "reserved"}, {63, "reserved"}};
    upload u;
    uint32_t n = 0;
    tb_err err = {0};
    (void)state;
    seal_upload(&u);
    CHECK_OK(tb_upload_header_check(u.header, &n, &err), err);
    CHECK(n == N_BLOCKS);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        u.header[cases[i].at] ^= 1;
        CHECK_ERR(tb_upload_header_check(u.header, &n, &err), TB_E_MALFORMED,
                  err, cases[i].why);
        u.header[cases[i].at] ^= 1;
    }
    u.header[52] = 0;
    CHECK_ERR(tb_upload_header_check(u.header, &n, &err), TB_E_MALFORMED, err,
              "no blocks");
    release_upload(&u);
}

static void a_name_must_fit_its_binding(void **state)
{
    upload u;
    tb_sealer *sealer = NULL;
    tb_err err = {0};
    (void)state;
    seal_upload(&u);
    char name[65];
    memset(name, 'n', sizeof name);
    name[64] = '\0';
    u.to.client = name;
    const uint8_t *run = tb_box_key_public(u.run);
    CHECK_ERR(tb_sealer_new(&sealer, run, &u.to, 1, &err), TB_E_USAGE, err,
              "1 to 63");
    name[63] = '\0';
    CHECK_OK(tb_sealer_new(&sealer, run, &u.to, 1, &err), err);
    tb_sealer_free(&sealer);
    u.to.client = "";
    CHECK_ERR(tb_sealer_new(&sealer, run, &u.to, 1, &err), TB_E_USAGE, err,
              "1 to 63");
    u.to.client = "edge";
    CHECK_ERR(tb_sealer_new(&sealer, run, &u.to, 0, &err), TB_E_USAGE, err,
              "no blocks");
    release_upload(&u);
}

static void the_update_hash_sees_order_count_and_header(void **state)
{
    upload u;
    tb_update_hasher h;
    tb_hash got;
    tb_err err = {0};
    (void)state;
    seal_upload(&u);
    tb_update_hasher_init(&h, u.header);
    for (int i = 0; i < N_BLOCKS; i++) { /* as a spool rebuilds it */
        tb_hash block = tb_hash_of(u.sealed[i], SEALED);
        tb_update_hasher_add_hash(&h, &block);
    }
    CHECK_OK(tb_update_hasher_end(&h, &got, &err), err);
    CHECK(tb_hash_equal(&got, &u.hash));
    tb_update_hasher_init(&h, u.header);
    tb_update_hasher_add(&h, u.sealed[1], SEALED);
    tb_update_hasher_add(&h, u.sealed[0], SEALED);
    CHECK_ERR(tb_update_hasher_end(&h, &got, &err), TB_E_MISMATCH, err,
              "2 of 3");
    tb_update_hasher_add(&h, u.sealed[2], SEALED);
    CHECK_OK(tb_update_hasher_end(&h, &got, &err), err);
    CHECK(!tb_hash_equal(&got, &u.hash));
    release_upload(&u);
}

static void an_update_s_signature_is_bound_to_its_round(void **state)
{
    uint8_t signature[TB_SIGNATURE_BYTES];
    tb_sign_key *key = NULL;
    tb_err err = {0};
    (void)state;
    tb_hash a = tb_hash_of("a", 1);
    tb_hash b = tb_hash_of("b", 1);
    CHECK_OK(tb_sign_key_new(&key, &err), err);
    const uint8_t *pub = tb_sign_key_public(key);
    tb_update_sign(signature, key, &a, &b);
    CHECK_OK(tb_update_verify(signature, pub, &a, &b, &err), err);
    CHECK(tb_update_verify(signature, pub, &b, &a, &err) == TB_E_DENIED);
    CHECK(tb_update_verify(signature, pub, &b, &b, &err) == TB_E_DENIED);
    CHECK(tb_update_verify(signature, pub, &a, &a, &err) == TB_E_DENIED);
    tb_sign_key_free(&key);
}

static tb_rc seal_and_open(void *arg, tb_err *err)
{
    const upload *u = arg;
    tb_sealer *sealer = NULL;
    tb_opener *opener = NULL;
    tb_rc rc =
        tb_sealer_new(&sealer, tb_box_key_public(u->run), &u->to, 1, err);
    if (rc == TB_OK) {
        rc = tb_opener_new(&opener, u->run, &u->to, tb_sealer_header(sealer),
                           err);
    }
    tb_sealer_free(&sealer);
    tb_opener_free(&opener);
    CHECK(tb_secret_live() == 1); /* the run's */
    return rc;
}

static void each_allocation_may_fail(void **state)
{
    upload u;
    (void)state;
    seal_upload(&u);
    CHECK(tb_check_each_allocation(seal_and_open, &u) == 3);
    release_upload(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_update_sealed_by_the_script_opens),
        cmocka_unit_test(what_is_sealed_opens_in_any_order_and_in_place),
        cmocka_unit_test(a_block_opens_only_in_its_own_place),
        cmocka_unit_test(a_block_opens_only_for_its_round_client_run_and_count),
        cmocka_unit_test(a_bit_flipped_anywhere_keeps_a_block_shut),
        cmocka_unit_test(
            a_block_cut_or_longer_stays_shut_and_leaves_no_plain_bytes),
        cmocka_unit_test(a_public_key_that_is_none_is_denied),
        cmocka_unit_test(a_header_is_checked),
        cmocka_unit_test(a_name_must_fit_its_binding),
        cmocka_unit_test(the_update_hash_sees_order_count_and_header),
        cmocka_unit_test(an_update_s_signature_is_bound_to_its_round),
        cmocka_unit_test(each_allocation_may_fail),
    };
    tb_err err = {0};
    return tb_crypto_init(&err) == TB_OK
               ? cmocka_run_group_tests(tests, NULL, NULL)
               : 1;
}
