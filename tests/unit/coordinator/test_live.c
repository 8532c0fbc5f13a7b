/* A run's files: what brings it back, and what is left when it is over. */
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "home.h"
#include "live.h"
#include "support/check.h"

static const char job_text[] = "name: small\n"
                               "model: {new: mlp:6-5-3}\n"
                               "data: {set: rows, reader: npy, classes: [a, b, "
                               "c]}\n"
                               "loss: softmax_cross_entropy\n"
                               "rounds: 2\n"
                               "cohort: {target: 2, minimum: 1}\n";

typedef struct bench {
    tb_folder *folder;
    tb_keys keys;
    tb_job job;
    tb_live *live;
} bench;

static void setup(bench *b, const char *dir)
{
    tb_err err;
    home h = make_home(dir);
    memset(b, 0, sizeof *b);
    CHECK_OK(tb_folder_open(&b->folder, h.dir, TB_FOLDER_COORDINATOR,
                            TB_FOLDER_LOCK, &err),
             err);
    CHECK_OK(tb_keys_read(&b->keys, b->folder, h.master, &err), err);
    CHECK_OK(tb_job_read(&b->job, job_text, sizeof job_text - 1, "job", &err),
             err);
    CHECK_OK(tb_live_prepare(&b->live, &b->job, &err), err);
    CHECK_OK(tb_live_start(b->live, b->folder, &b->keys, &err), err);
    CHECK(b->job.name.text[0] == '\0'); /* taken */
}

static void teardown(bench *b)
{
    tb_live_free(&b->live);
    tb_job_release(&b->job);
    tb_keys_release(&b->keys);
    tb_folder_close(&b->folder);
}

static const char *file_of(const bench *b, const char *suffix)
{
    static char path[1024];
    char hex[TB_RUN_HEX_BYTES];
    tb_run_hex(&b->live->params.run, hex);
    (void)snprintf(path, sizeof path, "%s/%s.%s",
                   tb_folder_path(b->folder, TB_ITEM_RUNS), hex, suffix);
    return path;
}

static void a_run_comes_back_with_its_own_key_and_job(void **state)
{
    tb_err err;
    bench b;
    tb_live *again = NULL;
    setup(&b, *state);
    CHECK_OK(tb_live_resume(&again, b.folder, &b.keys, &b.live->params, &err),
             err);
    CHECK(memcmp(tb_box_key_secret(again->key), tb_box_key_secret(b.live->key),
                 32) == 0);
    CHECK(strcmp(again->job.name.text, "small") == 0);
    tb_live_free(&again);
    teardown(&b);
}

static void a_run_with_another_job_or_key_does_not_come_back(void **state)
{
    tb_err err;
    bench b;
    tb_live *again = NULL;
    setup(&b, *state);
    tb_run_params params = b.live->params;
    params.job.bytes[0] ^= 1;
    CHECK_ERR(tb_live_resume(&again, b.folder, &b.keys, &params, &err),
              TB_E_MISMATCH, err, "job");
    CHECK(again == NULL);
    tb_buf key;
    tb_buf_init(&key, 4096);
    CHECK_OK(tb_file_read(&key, file_of(&b, "key"), &err), err);
    key.data[key.len - 1] ^= 1;
    CHECK_OK(tb_file_write(file_of(&b, "key"), key.data, key.len, 0600, &err),
             err);
    tb_rc rc = tb_live_resume(&again, b.folder, &b.keys, &b.live->params, &err);
    CHECK(rc == TB_E_DENIED && again == NULL);
    tb_buf_release(&key);
    teardown(&b);
}

static void a_run_without_one_of_its_files_is_lost(void **state)
{
    tb_err err;
    bench b;
    tb_live *again = NULL;
    setup(&b, *state);
    const tb_run_id *run = &b.live->params.run;
    CHECK(!tb_live_lost(b.folder, run));
    CHECK_OK(tb_live_destroy_key(b.folder, run, &err), err);
    CHECK_OK(tb_live_destroy_key(b.folder, run, &err), err);
    CHECK(tb_live_lost(b.folder, run));
    CHECK_ERR(tb_live_resume(&again, b.folder, &b.keys, &b.live->params, &err),
              TB_E_NOT_FOUND, err, ".key");
    CHECK(tb_file_exists(file_of(&b, "job")));
    CHECK_OK(tb_live_discard(b.folder, run, &err), err);
    CHECK(!tb_file_exists(file_of(&b, "job")));
    CHECK(tb_live_lost(b.folder, run));
    teardown(&b);
}

static void a_kept_run_says_so(void **state)
{
    tb_err err;
    bench b;
    setup(&b, *state);
    CHECK(!tb_live_kept(b.folder, &b.live->params.run));
    CHECK_OK(tb_live_keep(b.folder, &b.live->params.run, &err), err);
    CHECK_OK(tb_live_keep(b.folder, &b.live->params.run, &err), err);
    CHECK(tb_live_kept(b.folder, &b.live->params.run));
    teardown(&b);
}

static void a_job_whose_data_is_not_there_stays_the_callers(void **state)
{
    tb_err err;
    bench b;
    tb_live *other = NULL;
    tb_job job = {0};
    setup(&b, *state);
    CHECK_OK(tb_job_read(&job, job_text, sizeof job_text - 1, "job", &err),
             err);
    job.evaluate.where = TB_JOB_FILE;
    memcpy(job.evaluate.path, "/nowhere", 9);
    CHECK_ERR(tb_live_prepare(&other, &job, &err), TB_E_UNSUPPORTED, err,
              "/nowhere");
    CHECK(other == NULL && strcmp(job.name.text, "small") == 0);
    tb_job_release(&job);
    teardown(&b);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_run_comes_back_with_its_own_key_and_job),
        TEST(a_run_with_another_job_or_key_does_not_come_back),
        TEST(a_run_without_one_of_its_files_is_lost),
        TEST(a_kept_run_says_so),
        TEST(a_job_whose_data_is_not_there_stays_the_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
