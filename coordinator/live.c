#include "live.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "crypto/wrap.h"
#include "work/model.h"
#include "work/plan.h"

#define PATH_BYTES    4096
#define CONTEXT_BYTES 64

void tb_run_hex(const tb_run_id *run, char out[static TB_RUN_HEX_BYTES])
{
    for (size_t i = 0; i < TB_RUN_ID_BYTES; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", run->bytes[i]);
    }
}

static void path_of(char out[static PATH_BYTES], const tb_folder *folder,
                    const tb_run_id *run, const char *suffix)
{
    char hex[TB_RUN_HEX_BYTES];
    tb_run_hex(run, hex);
    (void)snprintf(out, PATH_BYTES, "%s/%s.%s",
                   tb_folder_path(folder, TB_ITEM_RUNS), hex, suffix);
}

/* A wrapped key opens only for its own run. */
static void context_of(char out[static CONTEXT_BYTES], const tb_run_id *run)
{
    char hex[TB_RUN_HEX_BYTES];
    tb_run_hex(run, hex);
    (void)snprintf(out, CONTEXT_BYTES, "run key %s", hex);
}

static tb_rc write_files(const tb_live *live, const tb_folder *folder,
                         const tb_keys *keys, tb_err *err)
{
    char path[PATH_BYTES];
    char context[CONTEXT_BYTES];
    uint8_t wrapped[TB_WRAPPED_KEY_BYTES];
    tb_buf text;
    tb_buf_init(&text, TB_SETTINGS_FILE_BYTES_MAX);
    tb_rc rc = tb_job_encode(&live->job, TB_JOB_ALL, &text, err);
    if (rc == TB_OK) {
        path_of(path, folder, &live->params.run, "job");
        rc = tb_file_write(path, text.data, text.len, 0600, err);
    }
    if (rc == TB_OK) {
        context_of(context, &live->params.run);
        tb_box_key_wrap(wrapped, live->key, keys->master, context);
        path_of(path, folder, &live->params.run, "key");
        rc = tb_file_write(path, wrapped, sizeof wrapped, 0600, err);
    }
    tb_buf_release(&text);
    return rc;
}

static tb_rc read_place(tb_dataset **data, const tb_job *job,
                        tb_job_where where, const char *path, tb_err *err)
{
    return where == TB_JOB_FILE && *data == NULL
               ? tb_work_dataset(data, job, path, err)
               : TB_OK;
}

tb_rc tb_live_data(tb_live *live, tb_err *err)
{
    const tb_job *job = &live->job;
    tb_rc rc = read_place(&live->evaluate, job, job->evaluate.where,
                          job->evaluate.path, err);
    if (rc == TB_OK) {
        rc = read_place(&live->calibrate, job, job->calibrate.where,
                        job->calibrate.path, err);
    }
    if (rc == TB_OK && (job->guard_data.where != job->calibrate.where ||
                        strcmp(job->guard_data.path, job->calibrate.path))) {
        rc = read_place(&live->guard, job, job->guard_data.where,
                        job->guard_data.path, err);
    }
    return rc;
}

tb_rc tb_live_prepare(tb_live **out, tb_job *job_take, tb_err *err)
{
    *out = NULL;
    tb_live *live = tb_mem_array(1, sizeof *live);
    if (live == NULL) {
        return tb_fail(err, TB_E_NOMEM, "a run");
    }
    live->job = *job_take;
    tb_rc rc = tb_live_data(live, err);
    if (rc == TB_OK) {
        rc = tb_work_plan(&live->params, &live->job, err);
    }
    if (rc != TB_OK) {
        memset(&live->job, 0, sizeof live->job); /* still the caller's */
        tb_live_free(&live);
        return rc;
    }
    memset(job_take, 0, sizeof *job_take);
    *out = live;
    return TB_OK;
}

tb_rc tb_live_start(tb_live *live, const tb_folder *folder, const tb_keys *keys,
                    tb_err *err)
{
    tb_rc rc = tb_box_key_new(&live->key, err);
    if (rc == TB_OK) {
        tb_random_bytes(live->params.run.bytes, TB_RUN_ID_BYTES);
        live->params.federation = keys->certificate.federation;
        memcpy(live->params.aggregation_key, tb_box_key_public(live->key),
               sizeof live->params.aggregation_key);
        rc = write_files(live, folder, keys, err);
    }
    return rc;
}

/* The text must be what the job gives again, byte for byte. */
static tb_rc check_canonical(const tb_job *job, const tb_buf *text, tb_err *err)
{
    tb_buf again;
    tb_buf_init(&again, TB_SETTINGS_FILE_BYTES_MAX);
    tb_rc rc = tb_job_encode(job, TB_JOB_ALL, &again, err);
    if (rc == TB_OK && (again.len != text->len ||
                        memcmp(again.data, text->data, text->len) != 0)) {
        rc = tb_fail(err, TB_E_MALFORMED, "is not the text that was written");
    }
    tb_buf_release(&again);
    return rc;
}

tb_rc tb_live_read_job(tb_job *out, const tb_folder *folder,
                       const tb_run_id *run, tb_err *err)
{
    char path[PATH_BYTES];
    tb_buf text;
    tb_buf_init(&text, TB_SETTINGS_FILE_BYTES_MAX);
    path_of(path, folder, run, "job");
    tb_rc rc = tb_file_read(&text, path, err);
    if (rc == TB_OK) {
        rc = tb_job_decode(out, (const char *)text.data, text.len, err);
    }
    if (rc == TB_OK) {
        rc = check_canonical(out, &text, err);
        if (rc != TB_OK) {
            rc = tb_err_prefix(err, rc, "%s", path);
            tb_job_release(out);
        }
    }
    tb_buf_release(&text);
    return rc;
}

tb_rc tb_live_read_key(tb_box_key **out, const tb_folder *folder,
                       const tb_master_key *master, const tb_run_id *run,
                       tb_err *err)
{
    char path[PATH_BYTES];
    char context[CONTEXT_BYTES];
    tb_buf bytes;
    *out = NULL;
    tb_buf_init(&bytes, TB_WRAPPED_KEY_BYTES + 1);
    path_of(path, folder, run, "key");
    tb_rc rc = tb_file_read(&bytes, path, err);
    if (rc == TB_OK) {
        context_of(context, run);
        rc =
            tb_box_key_unwrap(out, master, context, bytes.data, bytes.len, err);
        rc = rc == TB_OK ? rc : tb_err_prefix(err, rc, "%s", path);
    }
    tb_buf_release(&bytes);
    return rc;
}

tb_rc tb_live_read(tb_job *job, tb_box_key **key, const tb_folder *folder,
                   const tb_master_key *master, const tb_run_id *run,
                   tb_err *err)
{
    tb_rc rc = tb_live_read_job(job, folder, run, err);
    if (rc == TB_OK) {
        rc = tb_live_read_key(key, folder, master, run, err);
        if (rc != TB_OK) {
            tb_job_release(job);
        }
    }
    return rc;
}

tb_rc tb_live_resume(tb_live **out, const tb_folder *folder,
                     const tb_keys *keys, const tb_run_params *params,
                     tb_err *err)
{
    *out = NULL;
    tb_live *live = tb_mem_array(1, sizeof *live);
    if (live == NULL) {
        return tb_fail(err, TB_E_NOMEM, "a run");
    }
    live->params = *params;
    tb_hash hash;
    tb_rc rc = tb_live_read(&live->job, &live->key, folder, keys->master,
                            &params->run, err);
    if (rc == TB_OK) {
        rc = tb_job_hash(&live->job, &hash, err);
    }
    if (rc == TB_OK && !tb_hash_equal(&hash, &params->job)) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "the run's job file is not the job that was started");
    }
    if (rc != TB_OK) {
        tb_live_free(&live);
    }
    *out = live;
    return rc;
}

void tb_live_free(tb_live **live)
{
    tb_live *l = *live;
    if (l == NULL) {
        return;
    }
    tb_box_key_free(&l->key);
    tb_patch_free(&l->patch);
    tb_dataset_free(&l->evaluate);
    tb_dataset_free(&l->calibrate);
    tb_dataset_free(&l->guard);
    tb_job_release(&l->job);
    tb_mem_free(l);
    *live = NULL;
}

static tb_rc destroy(const tb_folder *folder, const tb_run_id *run,
                     const char *suffix, tb_err *err)
{
    char path[PATH_BYTES];
    path_of(path, folder, run, suffix);
    if (unlink(path) != 0 && errno != ENOENT) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    return tb_file_sync_dir(tb_folder_path(folder, TB_ITEM_RUNS), err);
}

tb_rc tb_live_destroy_key(const tb_folder *folder, const tb_run_id *run,
                          tb_err *err)
{
    return destroy(folder, run, "key", err);
}

tb_rc tb_live_discard(const tb_folder *folder, const tb_run_id *run,
                      tb_err *err)
{
    tb_rc rc = destroy(folder, run, "key", err);
    return rc == TB_OK ? destroy(folder, run, "job", err) : rc;
}

static bool is_there(const tb_folder *folder, const tb_run_id *run,
                     const char *suffix)
{
    char path[PATH_BYTES];
    path_of(path, folder, run, suffix);
    return tb_file_exists(path);
}

bool tb_live_lost(const tb_folder *folder, const tb_run_id *run)
{
    return !is_there(folder, run, "job") || !is_there(folder, run, "key");
}

tb_rc tb_live_keep(const tb_folder *folder, const tb_run_id *run, tb_err *err)
{
    char path[PATH_BYTES];
    path_of(path, folder, run, "kept");
    return tb_file_write(path, "", 0, 0600, err);
}

tb_rc tb_live_unkeep(const tb_folder *folder, const tb_run_id *run, tb_err *err)
{
    return destroy(folder, run, "kept", err);
}

bool tb_live_kept(const tb_folder *folder, const tb_run_id *run)
{
    return is_there(folder, run, "kept");
}
