#include "crypto/wrap.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include "vectors.h"

static tb_master_key *master_of(uint8_t fill)
{
    uint8_t seed[32];
    tb_master_key *key = NULL;
    tb_err err = {0};
    memset(seed, fill, sizeof seed);
    CHECK_OK(tb_master_key_from_seed(&key, seed, &err), err);
    return key;
}

static void wrapped_bytes_open_for_their_context_and_master_only(void **state)
{
    static const char plain[] = "a partial sum";
    tb_buf wrapped;
    tb_buf opened;
    tb_err err = {0};
    (void)state;
    tb_master_key *master = master_of(1);
    tb_master_key *other = master_of(2);
    tb_buf_init(&wrapped, 1000);
    tb_buf_init(&opened, 1000);
    for (size_t len = 0; len <= sizeof plain; len++) {
        wrapped.len = 0;
        opened.len = 0;
        CHECK_OK(tb_wrap(&wrapped, master, "checkpoint r1", plain, len, &err),
                 err);
        CHECK(wrapped.len == len + TB_WRAP_OVERHEAD_BYTES);
        CHECK_OK(tb_unwrap(&opened, master, "checkpoint r1", wrapped.data,
                           wrapped.len, &err),
                 err);
        CHECK(opened.len == len);
        CHECK(len == 0 || memcmp(opened.data, plain, len) == 0);
        opened.len = 0;
        CHECK_ERR(tb_unwrap(&opened, master, "checkpoint r2", wrapped.data,
                            wrapped.len, &err),
                  TB_E_DENIED, err, "checkpoint r2");
        CHECK(tb_unwrap(&opened, other, "checkpoint r1", wrapped.data,
                        wrapped.len, NULL) == TB_E_DENIED);
        CHECK(opened.len == 0);
    }
    tb_buf_release(&wrapped);
    tb_buf_release(&opened);
    tb_master_key_free(&master);
    tb_master_key_free(&other);
}

static void every_bit_and_every_byte_of_wrapped_bytes_counts(void **state)
{
    tb_buf wrapped;
    tb_buf opened;
    tb_err err = {0};
    (void)state;
    tb_master_key *master = master_of(1);
    tb_buf_init(&wrapped, 1000);
    tb_buf_init(&opened, 1000);
    CHECK_OK(tb_wrap(&wrapped, master, "c", "0123456789", 10, &err), err);
    for (size_t i = 0; i < wrapped.len * 8; i++) {
        wrapped.data[i / 8] ^= (uint8_t)(1u << (i % 8));
        CHECK(tb_unwrap(&opened, master, "c", wrapped.data, wrapped.len,
                        NULL) != TB_OK);
        wrapped.data[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    for (size_t len = 0; len < wrapped.len; len++) {
        CHECK(tb_unwrap(&opened, master, "c", wrapped.data, len, NULL) !=
              TB_OK);
    }
    CHECK(opened.len == 0);
    tb_buf_release(&wrapped);
    tb_buf_release(&opened);
    tb_master_key_free(&master);
}

static void the_same_bytes_are_never_wrapped_alike(void **state)
{
    tb_buf a;
    tb_buf b;
    tb_err err = {0};
    (void)state;
    tb_master_key *master = master_of(1);
    tb_buf_init(&a, 100);
    tb_buf_init(&b, 100);
    CHECK_OK(tb_wrap(&a, master, "c", "x", 1, &err), err);
    CHECK_OK(tb_wrap(&b, master, "c", "x", 1, &err), err);
    CHECK(memcmp(a.data, b.data, a.len) != 0);
    CHECK(tb_wrap(&a, master, "c", a.data, 90, NULL) == TB_E_LIMIT);
    tb_buf_release(&a);
    tb_buf_release(&b);
    tb_master_key_free(&master);
}

static void the_key_of_a_run_comes_back(void **state)
{
    uint8_t wrapped[TB_WRAPPED_KEY_BYTES];
    tb_box_key *key = NULL;
    tb_box_key *back = NULL;
    tb_err err = {0};
    (void)state;
    tb_master_key *master = master_of(1);
    CHECK_OK(tb_box_key_new(&key, &err), err);
    tb_box_key_wrap(wrapped, key, master, "run-key 7");
    CHECK_OK(tb_box_key_unwrap(&back, master, "run-key 7", wrapped,
                               sizeof wrapped, &err),
             err);
    assert_memory_equal(tb_box_key_secret(key), tb_box_key_secret(back), 32);
    tb_box_key_free(&back);
    CHECK_ERR(tb_box_key_unwrap(&back, master, "run-key 8", wrapped,
                                sizeof wrapped, &err),
              TB_E_DENIED, err, "run-key 8");
    CHECK_ERR(tb_box_key_unwrap(&back, master, "run-key 7", wrapped,
                                sizeof wrapped - 1, &err),
              TB_E_MALFORMED, err, "not a wrapped key");
    assert_null(back);
    tb_box_key_free(&key);
    tb_master_key_free(&master);
    CHECK(tb_secret_live() == 0);
}

static tb_rc wrap_and_unwrap(void *arg, tb_err *err)
{
    tb_buf wrapped;
    tb_buf opened;
    tb_buf_init(&wrapped, 1000);
    tb_buf_init(&opened, 1000);
    tb_rc rc = tb_wrap(&wrapped, arg, "c", "plain", 5, err);
    if (rc == TB_OK) {
        rc = tb_unwrap(&opened, arg, "c", wrapped.data, wrapped.len, err);
    }
    tb_buf_release(&wrapped);
    tb_buf_release(&opened);
    return rc;
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    tb_master_key *master = master_of(1);
    CHECK(tb_check_each_allocation(wrap_and_unwrap, master) == 2);
    tb_master_key_free(&master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrapped_bytes_open_for_their_context_and_master_only),
        cmocka_unit_test(every_bit_and_every_byte_of_wrapped_bytes_counts),
        cmocka_unit_test(the_same_bytes_are_never_wrapped_alike),
        cmocka_unit_test(the_key_of_a_run_comes_back),
        cmocka_unit_test(each_allocation_may_fail),
    };
    tb_err err = {0};
    return tb_crypto_init(&err) == TB_OK
               ? cmocka_run_group_tests(tests, NULL, NULL)
               : 1;
}
