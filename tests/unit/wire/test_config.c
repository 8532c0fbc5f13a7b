#include "wire/config.h"

#include "base/file.h"
#include "base/mem.h"
#include "samples.h"

/* About 38 KB each: static, as the stack of a test is better spent. */
static tb_round_config config;
static tb_round_config back;

static tb_buf encoded(void)
{
    tb_buf buf;
    tb_err err = {0};
    sample_config(&config);
    tb_buf_init(&buf, TB_CONFIG_BYTES_MAX);
    CHECK_OK(tb_round_config_encode(&config, &buf, &err), err);
    return buf;
}

static void a_configuration_comes_back_bit_for_bit(void **state)
{
    tb_buf again;
    tb_err err = {0};
    (void)state;
    tb_buf buf = encoded();
    CHECK_OK(tb_round_config_decode(&back, buf.data, buf.len, &err), err);
    assert_memory_equal(&back, &config, sizeof config);
    tb_buf_init(&again, TB_CONFIG_BYTES_MAX);
    CHECK_OK(tb_round_config_encode(&back, &again, &err), err);
    CHECK(again.len == buf.len);
    assert_memory_equal(again.data, buf.data, buf.len);
    tb_buf_release(&buf);
    tb_buf_release(&again);
    CHECK(tb_mem_live() == 0);
}

static void the_largest_configuration_fits(void **state)
{
    tb_buf buf;
    tb_err err = {0};
    (void)state;
    sample_config(&config);
    config.n_sections = TB_SECTIONS_MAX;
    for (uint32_t i = 0; i < TB_SECTIONS_MAX; i++) {
        memset(config.sections[i].name.text, 's', TB_NAME_BYTES - 1);
        config.sections[i].name.text[0] = (char)('A' + i % 26);
        config.sections[i].name.text[1] = (char)('A' + i / 26);
        config.sections[i].n_values = TB_BLOCK_VALUES * 2000ull;
        config.sections[i].weighted = true;
    }
    config.n_job = TB_JOB_BYTES_MAX;
    memset(config.job_text, 'j', TB_JOB_BYTES_MAX);
    tb_buf_init(&buf, TB_CONFIG_BYTES_MAX);
    CHECK_OK(tb_round_config_encode(&config, &buf, &err), err);
    CHECK_OK(tb_round_config_decode(&back, buf.data, buf.len, &err), err);
    assert_memory_equal(&back, &config, sizeof config);
    CHECK(tb_round_config_blocks(&back) == 1 + 64 * 2000);
    tb_buf_release(&buf);
}

static void blocks_are_the_head_and_one_for_each_65536_values(void **state)
{
    (void)state;
    sample_config(&config);
    CHECK(tb_round_config_values(&config) == 199211);
    CHECK(tb_round_config_blocks(&config) == 1 + 4); /* 3.04 blocks */
    config.n_sections = 1;
    config.sections[0].n_values = TB_BLOCK_VALUES;
    CHECK(tb_round_config_blocks(&config) == 1 + 1);
    config.sections[0].n_values = TB_BLOCK_VALUES + 1;
    CHECK(tb_round_config_blocks(&config) == 1 + 2);
}

static void any_field_changes_the_hash_and_so_the_round(void **state)
{
    (void)state;
    tb_buf first = encoded();
    tb_hash hash = tb_hash_of(first.data, first.len);
    for (int field = 0; field < 10; field++) {
        tb_buf buf;
        tb_err err = {0};
        sample_config(&config);
        config.federation.bytes[0] ^= field == 0;
        config.job.bytes[0] ^= field == 1;
        config.run.bytes[0] ^= field == 2;
        config.round += field == 3;
        config.model.bytes[31] ^= field == 4;
        config.attempt += field == 5;
        config.epoch += field == 6;
        config.epoch_id[15] ^= field == 7;
        config.epoch_row += field == 8;
        config.sum_weight += field == 9;
        tb_buf_init(&buf, TB_CONFIG_BYTES_MAX);
        CHECK_OK(tb_round_config_encode(&config, &buf, &err), err);
        tb_hash other = tb_hash_of(buf.data, buf.len);
        CHECK(!tb_hash_equal(&hash, &other));
        tb_buf_release(&buf);
    }
    tb_buf_release(&first);
}

static void a_configuration_cut_within_a_field_is_refused(void **state)
{
    (void)state;
    tb_buf buf = encoded();
    for (size_t len = 0; len < buf.len; len++) {
        tb_err err = {0};
        back.round = 99;
        CHECK(tb_round_config_decode(&back, buf.data, len, &err) != TB_OK);
        CHECK(err.text[0] != '\0' && back.round == 0);
    }
    tb_buf_release(&buf);
    CHECK(tb_mem_live() == 0);
}

static void a_flipped_bit_is_refused_or_another_configuration(void **state)
{
    tb_buf again;
    (void)state;
    tb_buf buf = encoded();
    tb_buf_init(&again, TB_CONFIG_BYTES_MAX);
    for (size_t i = 0; i < buf.len * 8; i++) {
        buf.data[i / 8] ^= (uint8_t)(1u << (i % 8));
        if (tb_round_config_decode(&back, buf.data, buf.len, NULL) == TB_OK) {
            again.len = 0;
            CHECK(tb_round_config_encode(&back, &again, NULL) == TB_OK);
            CHECK(again.len == buf.len &&
                  memcmp(again.data, buf.data, buf.len) == 0);
        }
        buf.data[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    tb_buf_release(&buf);
    tb_buf_release(&again);
}

static void bytes_behind_the_last_field_are_refused(void **state)
{
    tb_err err = {0};
    (void)state;
    tb_buf buf = encoded();
    CHECK_OK(tb_buf_put(&buf, "\xf0\x01\x07", 3, &err), err);
    CHECK_ERR(tb_round_config_decode(&back, buf.data, buf.len, &err),
              TB_E_MALFORMED, err, "canonical");
    tb_buf_release(&buf);
}

static void refuses(tb_rc want, const char *part)
{
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, TB_CONFIG_BYTES_MAX);
    CHECK_ERR(tb_round_config_encode(&config, &buf, &err), want, err, part);
    CHECK(buf.len == 0);
    tb_buf_release(&buf);
    sample_config(&config);
}

static void each_broken_field_is_named(void **state)
{
    (void)state;
    sample_config(&config);
    config.protocol = 2;
    refuses(TB_E_UNSUPPORTED, "protocol 2");
    config.task = TB_TASK_COUNT;
    refuses(TB_E_UNSUPPORTED, "task 3");
    config.round = 0;
    refuses(TB_E_LIMIT, "round=0");
    config.attempt = 0;
    refuses(TB_E_LIMIT, "attempt=0");
    config.model_bytes = TB_MODEL_BYTES_MAX + 1;
    refuses(TB_E_LIMIT, "model_bytes=");
    config.codec.text[0] = '\0';
    refuses(TB_E_MALFORMED, "codec: not a name");
    config.fraction_bits = 19;
    refuses(TB_E_LIMIT, "fraction_bits=19");
    config.fraction_bits = 63;
    refuses(TB_E_LIMIT, "fraction_bits=63");
    config.max_abs = 0;
    refuses(TB_E_LIMIT, "max_abs");
    config.max_abs = -1;
    refuses(TB_E_MALFORMED, "max_abs");
    config.max_abs = (float)(1e300 * 1e300);
    refuses(TB_E_MALFORMED, "max_abs");
    config.max_weight = 0;
    refuses(TB_E_LIMIT, "max_weight=0");
    config.deadline_ms = 0;
    refuses(TB_E_LIMIT, "deadline_ms=0");
    config.data_set.text[0] = '/';
    refuses(TB_E_MALFORMED, "data_set");
    config.n_sections = 0;
    refuses(TB_E_LIMIT, "0 sections");
    config.n_sections = TB_SECTIONS_MAX + 1;
    refuses(TB_E_LIMIT, "65 sections");
    config.sections[1].n_values = 0;
    refuses(TB_E_LIMIT, "section 1: n_values=0");
    config.sections[1].name = config.sections[0].name;
    refuses(TB_E_MALFORMED, "two sections named parameters");
    config.sections[0].n_values = TB_SECTION_VALUES;
    config.sections[1].n_values = TB_SECTION_VALUES;
    refuses(TB_E_LIMIT, "blocks");
    config.n_job = TB_JOB_BYTES_MAX + 1;
    refuses(TB_E_LIMIT, "job_text: 32769");
    config.n_job--;
    refuses(TB_E_MALFORMED, "job_text");
    config.job_text[5] = '\x1b';
    refuses(TB_E_MALFORMED, "job_text");
}

/* Encodes behind other bytes, and reads that. What fails leaves the buffer as
 * it was, and the configuration empty. */
static tb_rc send_and_read(void *arg, tb_err *err)
{
    static const tb_round_config empty;
    uint8_t first[200];
    tb_buf buf;
    (void)arg;
    FILL(first, 0x5a);
    memset(&back, 0x5a, sizeof back);
    tb_buf_init(&buf, sizeof first + TB_CONFIG_BYTES_MAX);
    tb_rc rc = tb_buf_put(&buf, first, sizeof first, err);
    size_t before = buf.len;
    if (rc == TB_OK) {
        rc = tb_round_config_encode(&config, &buf, err);
        CHECK(memcmp(buf.data, first, before) == 0);
        CHECK(rc == TB_OK || buf.len == before);
    }
    if (rc == TB_OK) {
        rc = tb_round_config_decode(&back, buf.data + before, buf.len - before,
                                    err);
        CHECK(memcmp(&back, rc == TB_OK ? &config : &empty, sizeof back) == 0);
    }
    tb_buf_release(&buf);
    return rc;
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    sample_config(&config);
    CHECK(tb_check_each_allocation(send_and_read, NULL) > 12);
}

static void a_configuration_encoded_by_the_script_is_read(void **state)
{
    tb_buf file;
    tb_err err = {0};
    (void)state;
    tb_buf_init(&file, TB_CONFIG_BYTES_MAX);
    CHECK_OK(
        tb_file_read(&file, TB_SOURCE_DIR "/tests/corpus/config/train", &err),
        err);
    CHECK_OK(tb_round_config_decode(&back, file.data, file.len, &err), err);
    CHECK(back.round == 3 && back.task == TB_TASK_TRAIN && back.masked);
    CHECK(back.max_abs == 8 && back.seed == 42 && back.n_job == 36);
    CHECK(back.sections[0].weighted && !back.sections[1].weighted);
    tb_buf_release(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_comes_back_bit_for_bit),
        cmocka_unit_test(the_largest_configuration_fits),
        cmocka_unit_test(blocks_are_the_head_and_one_for_each_65536_values),
        cmocka_unit_test(any_field_changes_the_hash_and_so_the_round),
        cmocka_unit_test(a_configuration_cut_within_a_field_is_refused),
        cmocka_unit_test(a_flipped_bit_is_refused_or_another_configuration),
        cmocka_unit_test(bytes_behind_the_last_field_are_refused),
        cmocka_unit_test(each_broken_field_is_named),
        cmocka_unit_test(a_configuration_encoded_by_the_script_is_read),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
