#include "base/hash.h"

#include <string.h>

#include "support/check.h"

/* Expected values: Python's hashlib.blake2b(x, digest_size=32). */
static void it_is_blake2b_256(void **state)
{
    (void)state;
    static uint8_t many[256 * 300];
    for (size_t i = 0; i < sizeof many; i++) {
        many[i] = (uint8_t)i;
    }
    const struct {
        const void *bytes;
        size_t len;
        const char *want;
    } cases[] = {
        {NULL, 0,
         "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"},
        {"abc", 3,
         "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"},
        {many, sizeof many,
         "ec4f8836546d9707c9b48b45ee2f64b6a0ab22ac8e823bcb79fb90467c2c73ed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char hex[TB_HASH_HEX_BYTES];
        tb_hash whole = tb_hash_of(cases[i].bytes, cases[i].len);
        tb_hash_hex(&whole, hex);
        assert_string_equal(hex, cases[i].want);
        tb_hasher hasher;
        tb_hasher_init(&hasher);
        const uint8_t *at = cases[i].bytes;
        for (size_t n = 0; n < cases[i].len;) { /* pieces of 1, 2, 3, ... */
            size_t piece = n + 1 < cases[i].len - n ? n + 1 : cases[i].len - n;
            tb_hasher_add(&hasher, at + n, piece);
            n += piece;
        }
        tb_hash pieces = tb_hasher_end(&hasher);
        CHECK(tb_hash_equal(&whole, &pieces));
    }
}

static void one_bit_makes_another_hash(void **state)
{
    (void)state;
    tb_hash a = tb_hash_of("a", 1);
    tb_hash b = a;
    CHECK(tb_hash_equal(&a, &b));
    for (size_t i = 0; i < TB_HASH_BYTES; i++) {
        b = a;
        b.bytes[i] ^= 0x80;
        CHECK(!tb_hash_equal(&a, &b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_blake2b_256),
        cmocka_unit_test(one_bit_makes_another_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
