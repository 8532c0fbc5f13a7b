/* A sealed update on disk: what was written opens, and nothing else does. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "client/sealed.h"
#include "crypto/crypto.h"
#include "crypto/seal.h"
#include "fed/update.h"
#include "support/check.h"
#include "support/folder.h"

enum { N_VALUES = 12, WEIGHT = 7, UPLOAD_ID_AT = 36 };

typedef struct fixture {
    tb_round_config config;
    tb_hash hash;
    tb_name client;
    tb_box_key *run;
    tb_sign_key *key;
    float values[N_VALUES];
    const char *path;
} fixture;

static void setup(fixture *f, const char *dir)
{
    tb_err err;
    memset(f, 0, sizeof *f);
    CHECK_OK(tb_crypto_init(&err), err);
    CHECK_OK(tb_box_key_new(&f->run, &err), err);
    CHECK_OK(tb_sign_key_new(&f->key, &err), err);
    CHECK(tb_name_set(&f->client, "client-00"));
    CHECK(tb_name_set(&f->config.codec, "f32"));
    CHECK(tb_name_set(&f->config.sections[0].name, "parameters"));
    f->config.n_sections = 1;
    f->config.sections[0].n_values = N_VALUES;
    f->config.max_abs = 100.0F;
    f->config.max_weight = 100;
    memcpy(f->config.aggregation_key, tb_box_key_public(f->run),
           sizeof f->config.aggregation_key);
    f->hash = tb_hash_of("round", 5);
    for (size_t i = 0; i < N_VALUES; i++) {
        f->values[i] = (float)i / 3.0F - 1.0F;
    }
    f->path = tb_test_folder_path(dir, "sealed");
}

static void teardown(fixture *f)
{
    tb_box_key_free(&f->run);
    tb_sign_key_free(&f->key);
}

static tb_rc write_sealed(const fixture *f, tb_sealed *out, tb_err *err)
{
    const sealed_options options = {.config = &f->config,
                                    .hash = &f->hash,
                                    .client = &f->client,
                                    .key = f->key,
                                    .values = f->values,
                                    .weight = WEIGHT};
    return sealed_write(f->path, &options, out, err);
}

static void what_was_written_opens_with_the_runs_key(void **state)
{
    tb_err err;
    fixture f;
    tb_sealed s;
    tb_opener *opener = NULL;
    uint8_t plain[256];
    uint32_t weight = 0;
    tb_buf block;
    tb_buf_init(&block, TB_PAYLOAD_BYTES_MAX);
    setup(&f, *state);
    CHECK_OK(write_sealed(&f, &s, &err), err);
    CHECK(s.n_blocks == 2);
    const tb_seal_binding to = {.config = f.hash, .client = f.client.text};
    CHECK_OK(tb_opener_new(&opener, f.run, &to, s.header, &err), err);
    CHECK_OK(sealed_read(f.path, &s.upload, 0, &block, &err), err);
    CHECK_OK(tb_opener_block(opener, 0, block.data, block.len, plain, &err),
             err);
    CHECK_OK(tb_update_head_decode(&f.config, plain,
                                   block.len - TB_SEAL_TAG_BYTES, &weight,
                                   &err),
             err);
    CHECK(weight == WEIGHT);
    block.len = 0;
    CHECK_OK(sealed_read(f.path, &s.upload, 1, &block, &err), err);
    CHECK_OK(tb_opener_block(opener, 1, block.data, block.len, plain, &err),
             err);
    CHECK(memcmp(plain, f.values, sizeof f.values) == 0);
    CHECK_OK(tb_update_verify(s.signature, tb_sign_key_public(f.key), &f.hash,
                              &s.update, &err),
             err);
    tb_opener_free(&opener);
    tb_buf_release(&block);
    teardown(&f);
}

static void another_upload_or_block_is_not_there(void **state)
{
    tb_err err;
    fixture f;
    tb_sealed s;
    tb_buf block;
    tb_buf_init(&block, TB_PAYLOAD_BYTES_MAX);
    setup(&f, *state);
    CHECK_OK(write_sealed(&f, &s, &err), err);
    CHECK_ERR(sealed_read(f.path, &s.upload, 2, &block, &err), TB_E_MALFORMED,
              err, "sealed");
    s.upload.bytes[3] ^= 1;
    CHECK_ERR(sealed_read(f.path, &s.upload, 0, &block, &err), TB_E_NOT_FOUND,
              err, "another id");
    CHECK_ERR(sealed_read("/nowhere/at/all", &s.upload, 0, &block, &err),
              TB_E_NOT_FOUND, err, "nowhere");
    CHECK(block.len == 0);
    tb_buf_release(&block);
    teardown(&f);
}

static void a_file_cut_at_any_byte_is_refused(void **state)
{
    tb_err err;
    fixture f;
    tb_sealed s;
    tb_buf whole;
    tb_buf block;
    tb_buf_init(&whole, 1 << 20);
    tb_buf_init(&block, TB_PAYLOAD_BYTES_MAX);
    setup(&f, *state);
    CHECK_OK(write_sealed(&f, &s, &err), err);
    CHECK_OK(tb_file_read(&whole, f.path, &err), err);
    for (size_t n = 0; n < whole.len; n++) {
        const char *path = tb_test_folder_write(*state, "cut", whole.data, n);
        CHECK_ERR(sealed_read(path, &s.upload, 1, &block, &err), TB_E_MALFORMED,
                  err, "sealed");
    }
    tb_buf_release(&whole);
    tb_buf_release(&block);
    teardown(&f);
}

static void each_byte_of_the_front_counts(void **state)
{
    tb_err err;
    fixture f;
    tb_sealed s;
    tb_buf whole;
    tb_buf good;
    tb_buf block;
    tb_buf_init(&whole, 1 << 20);
    tb_buf_init(&good, TB_PAYLOAD_BYTES_MAX);
    tb_buf_init(&block, TB_PAYLOAD_BYTES_MAX);
    setup(&f, *state);
    CHECK_OK(write_sealed(&f, &s, &err), err);
    CHECK_OK(tb_file_read(&whole, f.path, &err), err);
    CHECK_OK(sealed_read(f.path, &s.upload, 1, &good, &err), err);
    for (size_t at = 0; at < 12; at++) { /* magic, version, blocks */
        whole.data[at] ^= 0x80;
        const char *path =
            tb_test_folder_write(*state, "bad", whole.data, whole.len);
        block.len = 0;
        tb_rc rc = sealed_read(path, &s.upload, 1, &block, &err);
        CHECK(rc != TB_OK || block.len != good.len ||
              memcmp(block.data, good.data, good.len) != 0);
        whole.data[at] ^= 0x80;
    }
    tb_buf_release(&whole);
    tb_buf_release(&good);
    tb_buf_release(&block);
    teardown(&f);
}

static void values_that_are_not_finite_leave_no_file(void **state)
{
    tb_err err;
    fixture f;
    tb_sealed s;
    setup(&f, *state);
    f.values[5] = NAN;
    CHECK(write_sealed(&f, &s, &err) == TB_E_MALFORMED);
    CHECK(!tb_file_exists(f.path));
    CHECK(!tb_file_exists(tb_test_folder_path(*state, "sealed.tmp")));
    teardown(&f);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    const fixture *f = arg;
    tb_sealed s;
    tb_buf block;
    tb_buf_init(&block, TB_PAYLOAD_BYTES_MAX);
    tb_rc rc = write_sealed(f, &s, err);
    if (rc == TB_OK) {
        rc = sealed_read(f->path, &s.upload, 1, &block, err);
    }
    tb_buf_release(&block);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    fixture f;
    setup(&f, *state);
    CHECK(tb_check_each_allocation(attempt, &f) > 3);
    teardown(&f);
}

#define TEST(f)                                                                \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_opens_with_the_runs_key),
        TEST(another_upload_or_block_is_not_there),
        TEST(a_file_cut_at_any_byte_is_refused),
        TEST(each_byte_of_the_front_counts),
        TEST(values_that_are_not_finite_leave_no_file),
        TEST(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
