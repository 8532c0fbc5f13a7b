/* Updates as plain blocks. */
#include "fed/update.h"

#include <math.h>

#include "base/mem.h"
#include "round_config.h"

#define N (TB_BLOCK_VALUES + 100) /* a head, a full block and a short one */

static float values[N];
static float scratch[TB_BLOCK_VALUES];
static uint8_t bytes[TB_BLOCK_BYTES_MAX];

static void fill(void)
{
    for (size_t i = 0; i < N; i++) {
        values[i] = (float)(i % 97) / 16.0F - 3.0F;
    }
}

static void an_update_goes_through_blocks_into_the_sum(void **state)
{
    tb_round_config config = round_config(N - 1, 1, "f32");
    tb_sum *whole = NULL;
    tb_sum *blocks = NULL;
    tb_err err = {0};
    (void)state;
    fill();
    CHECK_OK(tb_sum_new(&whole, &config, 2, &err), err);
    CHECK_OK(tb_sum_new(&blocks, &config, 2, &err), err);
    tb_update_sink sink = {&config, blocks, scratch};
    CHECK_OK(tb_sum_add(whole, 0, values, N, 42, &err), err);
    CHECK(tb_round_config_blocks(&config) == 3);
    uint32_t weight = 0;
    for (uint32_t b = 0; b < 3; b++) {
        size_t n = tb_update_block_bytes(&config, b);
        CHECK_OK(tb_update_block_encode(&config, b, values, 42, bytes, &err),
                 err);
        if (b == 0) {
            CHECK_OK(tb_update_head_decode(&config, bytes, n, &weight, &err),
                     err);
            CHECK(weight == 42);
        } else {
            CHECK_OK(tb_update_block_add(&sink, b, bytes, n, weight, &err),
                     err);
        }
    }
    tb_hash a = tb_sum_hash(whole);
    tb_hash b = tb_sum_hash(blocks);
    CHECK(tb_hash_equal(&a, &b));
    /* and the last block back out again */
    CHECK_OK(tb_update_block_subtract(
                 &sink, 2, bytes, tb_update_block_bytes(&config, 2), 42, &err),
             err);
    CHECK_OK(tb_sum_subtract(whole, TB_BLOCK_VALUES, values + TB_BLOCK_VALUES,
                             100, 42, &err),
             err);
    a = tb_sum_hash(whole);
    b = tb_sum_hash(blocks);
    CHECK(tb_hash_equal(&a, &b));
    tb_sum_free(&whole);
    tb_sum_free(&blocks);
}

static void the_places_of_blocks_are_these(void **state)
{
    tb_round_config config = round_config(N, 0, "q8");
    (void)state;
    CHECK(tb_update_block_values(&config, 0) == 0);
    CHECK(tb_update_block_values(&config, 1) == TB_BLOCK_VALUES);
    CHECK(tb_update_block_values(&config, 2) == 100);
    CHECK(tb_update_block_values(&config, 3) == 0);
    CHECK(tb_update_block_offset(2) == TB_BLOCK_VALUES);
    CHECK(tb_update_block_bytes(&config, 0) == TB_UPDATE_HEAD_BYTES);
    CHECK(tb_update_block_bytes(&config, 2) == 4 + 100);
    CHECK(tb_name_set(&config.codec, "zip"));
    CHECK(tb_update_block_bytes(&config, 1) == 0);
}

static void a_head_with_any_other_byte_is_refused(void **state)
{
    tb_round_config config = round_config(N, 0, "f32");
    tb_err err = {0};
    uint32_t weight = 5;
    (void)state;
    CHECK_OK(tb_update_block_encode(&config, 0, values, 42, bytes, &err), err);
    for (size_t n = 0; n < TB_UPDATE_HEAD_BYTES; n++) {
        CHECK(tb_update_head_decode(&config, bytes, n, &weight, NULL) != TB_OK);
    }
    for (size_t i = 0; i < TB_UPDATE_HEAD_BYTES; i++) {
        bytes[i] ^= 0x80;
        bool in_weight = i == 8; /* 42 ^ 0x80 is a weight too */
        tb_rc rc = tb_update_head_decode(&config, bytes, TB_UPDATE_HEAD_BYTES,
                                         &weight, NULL);
        CHECK(in_weight ? rc == TB_OK : rc != TB_OK);
        bytes[i] ^= 0x80;
    }
    static const uint32_t bad[] = {0, 1001, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        tb_le32_put(bytes + 8, bad[i]);
        CHECK_ERR(tb_update_head_decode(&config, bytes, TB_UPDATE_HEAD_BYTES,
                                        &weight, &err),
                  TB_E_LIMIT, err, "weight");
        CHECK(tb_update_refusal(0, TB_E_LIMIT) == TB_REFUSE_WEIGHT);
    }
}

static void a_bad_block_leaves_the_sum_alone(void **state)
{
    tb_round_config config = round_config(N, 0, "f32");
    tb_sum *sum = NULL;
    tb_err err = {0};
    (void)state;
    fill();
    CHECK_OK(tb_sum_new(&sum, &config, 2, &err), err);
    tb_hash empty = tb_sum_hash(sum);
    tb_update_sink sink = {&config, sum, scratch};
    CHECK_OK(tb_update_block_encode(&config, 2, values, 1, bytes, &err), err);
    for (size_t n = 0; n < 400; n++) {
        CHECK_ERR(tb_update_block_add(&sink, 2, bytes, n, 1, &err),
                  TB_E_MISMATCH, err, "block 2");
    }
    CHECK_ERR(tb_update_block_add(&sink, 3, bytes, 400, 1, &err), TB_E_MISMATCH,
              err, "block 3");
    CHECK_ERR(tb_update_block_add(&sink, 0, bytes, 64, 1, &err), TB_E_MISMATCH,
              err, "block 0");
    tb_le32_put(bytes + 396, 0x7fc00000); /* NaN */
    CHECK_ERR(tb_update_block_add(&sink, 2, bytes, 400, 1, &err),
              TB_E_MALFORMED, err, "99");
    CHECK(tb_update_refusal(2, TB_E_MALFORMED) == TB_REFUSE_VALUES);
    tb_le32_put(bytes + 396, 0x41200000); /* 10.0, max_abs is 8 */
    CHECK_ERR(tb_update_block_add(&sink, 2, bytes, 400, 1, &err), TB_E_LIMIT,
              err, "max_abs");
    tb_hash after = tb_sum_hash(sum);
    CHECK(tb_hash_equal(&empty, &after));
    tb_sum_free(&sum);
}

static void a_client_does_not_encode_what_would_be_refused(void **state)
{
    tb_round_config config = round_config(N, 0, "f32");
    tb_err err = {0};
    (void)state;
    fill();
    values[N - 1] = 8.5F;
    CHECK_ERR(tb_update_block_encode(&config, 2, values, 1, bytes, &err),
              TB_E_LIMIT, err, "max_abs");
    values[N - 1] = NAN;
    CHECK_ERR(tb_update_block_encode(&config, 2, values, 1, bytes, &err),
              TB_E_MALFORMED, err, "finite");
    CHECK_ERR(tb_update_block_encode(&config, 0, values, 0, bytes, &err),
              TB_E_LIMIT, err, "weight 0");
    CHECK(tb_name_set(&config.codec, "zip"));
    CHECK_ERR(tb_update_block_encode(&config, 1, values, 1, bytes, &err),
              TB_E_UNSUPPORTED, err, "zip");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_update_goes_through_blocks_into_the_sum),
        cmocka_unit_test(the_places_of_blocks_are_these),
        cmocka_unit_test(a_head_with_any_other_byte_is_refused),
        cmocka_unit_test(a_bad_block_leaves_the_sum_alone),
        cmocka_unit_test(a_client_does_not_encode_what_would_be_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
