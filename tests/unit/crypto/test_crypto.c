/* Known answers for the primitives, as the library here computes them, and the
 * slots for secrets. */
#include "crypto/crypto.h"

#include "crypto/secret.h"
#include "vectors.h"

static void xchacha20_poly1305_gives_the_draft_s_vector(void **state)
{
    /* draft-irtf-cfrg-xchacha-03, A.3.1 */
    static const char plain[] =
        "Ladies and Gentlemen of the class of '99: If I could offer you only "
        "one tip for the future, sunscreen would be it.";
    static const char want_hex[] =
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
        "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
        "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
        "21f9664c97637da9768812f615c68b13b52e"
        "c0875924c1c7987947deafd8780acf49";
    uint8_t key[32];
    uint8_t nonce[24];
    uint8_t ad[12];
    uint8_t want[160];
    uint8_t got[160];
    unsigned long long n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] = (uint8_t)(0x80 + i);
    }
    for (size_t i = 0; i < sizeof nonce; i++) {
        nonce[i] = (uint8_t)(0x40 + i);
    }
    CHECK(unhex(ad, sizeof ad, "50515253c0c1c2c3c4c5c6c7") == sizeof ad);
    size_t n_want = unhex(want, sizeof want, want_hex);
    CHECK(crypto_aead_xchacha20poly1305_ietf_encrypt(
              got, &n, (const uint8_t *)plain, sizeof plain - 1, ad, sizeof ad,
              NULL, nonce, key) == 0);
    CHECK(n == n_want);
    assert_memory_equal(got, want, n_want);
}

static void random_bytes_differ_each_time(void **state)
{
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};
    (void)state;
    tb_random_bytes(a, sizeof a);
    tb_random_bytes(b, sizeof b);
    CHECK(memcmp(a, b, sizeof a) != 0);
}

static void a_slot_comes_zeroed_and_is_wiped_when_given_back(void **state)
{
    (void)state;
    uint8_t *secret = tb_secret_new();
    assert_non_null(secret);
    CHECK(sodium_is_zero(secret, TB_SECRET_BYTES));
    memset(secret, 0x5a, TB_SECRET_BYTES);
    const uint8_t *was = secret;
    tb_secret_free(&secret);
    assert_null(secret);
    /* Its slab stays mapped; only the list's link lies in its first bytes. */
    CHECK(
        sodium_is_zero(was + sizeof(void *), TB_SECRET_BYTES - sizeof(void *)));
    tb_secret_free(&secret);
    CHECK(tb_secret_live() == 0);
}

static void more_secrets_live_than_sodium_malloc_has_objects(void **state)
{
    enum { N = 20000 };
    static uint8_t *slots[N];
    (void)state;
    for (int i = 0; i < N; i++) {
        slots[i] = tb_secret_new();
        assert_non_null(slots[i]);
        memset(slots[i], i & 0xff, TB_SECRET_BYTES);
    }
    CHECK(tb_secret_live() == N);
    for (int i = 0; i < N; i++) {
        CHECK(slots[i][0] == (i & 0xff) && slots[i][63] == (i & 0xff));
        tb_secret_free(&slots[i]);
    }
    CHECK(tb_secret_live() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xchacha20_poly1305_gives_the_draft_s_vector),
        cmocka_unit_test(random_bytes_differ_each_time),
        cmocka_unit_test(a_slot_comes_zeroed_and_is_wiped_when_given_back),
        cmocka_unit_test(more_secrets_live_than_sodium_malloc_has_objects),
    };
    tb_err err = {0};
    return tb_crypto_init(&err) == TB_OK
               ? cmocka_run_group_tests(tests, NULL, NULL)
               : 1;
}
