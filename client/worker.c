#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "host/blob.h"
#include "host/job.h"
#include "own.h"
#include "sealed.h"
#include "work/local.h"
#include "work/model.h"

struct worker {
    const home *home;
    const data_set *sets;
    size_t n_sets;
    tb_pool *pool;               /* of one thread */
    int fd;                      /* eventfd: a result is there */
    const tb_sign_key *sign_key; /* of the job: the one at its start */
    atomic_bool stop;
    atomic_bool done;
    /* of the job: the thread's while it runs, else the agent's */
    tb_round_config config;
    worker_result result;
    /* the thread's alone: the data set at hand, and what it was read by */
    tb_dataset *data;
    tb_hash data_key;
};

tb_rc worker_blob_path(char **out, const home *h, const tb_hash *stored,
                       tb_err *err)
{
    char hex[TB_HASH_HEX_BYTES];
    tb_hash_hex(stored, hex);
    return home_path(out, h, TB_ITEM_BLOBS, hex, err);
}

tb_rc worker_sealed_path(char **out, const home *h, const tb_hash *config,
                         tb_err *err)
{
    char hex[TB_HASH_HEX_BYTES];
    tb_hash_hex(config, hex);
    return home_path(out, h, TB_ITEM_SEALED, hex, err);
}

tb_rc worker_new(worker **out, const home *h, const data_set *sets,
                 size_t n_sets, tb_err *err)
{
    worker *w = tb_mem_array(1, sizeof *w);
    if (w == NULL) {
        return tb_fail(err, TB_E_NOMEM, "worker: no memory");
    }
    w->home = h;
    w->sets = sets;
    w->n_sets = n_sets;
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    tb_rc rc = w->fd >= 0 ? TB_OK : tb_fail(err, TB_E_IO, "no eventfd");
    if (rc == TB_OK) {
        rc = tb_pool_new(&w->pool, 1, err);
    }
    if (rc != TB_OK) {
        worker_free(&w);
        return rc;
    }
    *out = w;
    return TB_OK;
}

void worker_free(worker **w)
{
    if (*w == NULL) {
        return;
    }
    atomic_store(&(*w)->stop, true);
    tb_pool_free(&(*w)->pool);
    tb_dataset_free(&(*w)->data);
    if ((*w)->fd >= 0) {
        (void)close((*w)->fd);
    }
    tb_mem_free(*w);
    *w = NULL;
}

/* A file of no name beside the model's, for its raw bytes. */
static tb_rc open_raw(int *fd, const char *stored, tb_err *err)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s.raw-XXXXXX", stored);
    *fd = mkostemp(path, O_CLOEXEC);
    return *fd >= 0 && unlink(path) == 0
               ? TB_OK
               : tb_fail_errno(err, errno, "%s", path);
}

/* The round's model, unpacked and checked, of any size. A file that is not what
 * the round names is removed, so that it is fetched again. */
static tb_rc load_model(const worker *w, int *fd, tb_err *err)
{
    const tb_round_config *c = &w->config;
    const tb_blob_ref ref = {.raw = c->model,
                             .raw_bytes = c->model_bytes,
                             .stored = c->model_stored,
                             .stored_bytes = c->model_stored_bytes};
    char *path = NULL;
    tb_rc rc = worker_blob_path(&path, w->home, &c->model_stored, err);
    if (rc == TB_OK) {
        rc = open_raw(fd, path, err);
    }
    if (rc == TB_OK) {
        rc = tb_blob_unpack_fd(path, &ref, *fd, err);
        if (rc == TB_E_MISMATCH || rc == TB_E_MALFORMED) {
            (void)unlink(path);
        }
    }
    tb_mem_free(path);
    return rc;
}

/* What decides how a data set is read: its name and the job's `data` part. */
static tb_rc key_of(tb_hash *out, const tb_name *name, const tb_job *job,
                    tb_err *err)
{
    tb_hasher hasher;
    tb_job reading = {.data = job->data}; /* borrows: not released */
    tb_buf text;
    tb_buf_init(&text, TB_SETTINGS_FILE_BYTES_MAX);
    tb_rc rc = tb_job_encode(&reading, TB_JOB_ALL, &text, err);
    if (rc == TB_OK) {
        tb_hasher_init(&hasher);
        tb_hasher_add(&hasher, name->text, strlen(name->text) + 1);
        tb_hasher_add(&hasher, text.data, text.len);
        *out = tb_hasher_end(&hasher);
    }
    tb_buf_release(&text);
    return rc;
}

static const char *path_of(const worker *w, const tb_name *name)
{
    for (size_t i = 0; i < w->n_sets; i++) {
        if (tb_name_equal(&w->sets[i].name, name)) {
            return w->sets[i].path;
        }
    }
    return NULL;
}

/* The data set of the round; it stays in memory for the next one. */
static tb_rc load_data(worker *w, tb_err *err)
{
    const tb_round_config *c = &w->config;
    const char *path = path_of(w, &c->data_set);
    tb_job job = {0};
    tb_hash key;
    if (path == NULL) {
        return tb_fail(err, TB_E_REFUSED, "no data set \"%s\" is offered here",
                       c->data_set.text);
    }
    tb_rc rc = tb_job_decode(&job, c->job_text, c->n_job, err);
    if (rc == TB_OK) {
        rc = key_of(&key, &c->data_set, &job, err);
    }
    if (rc == TB_OK &&
        (w->data == NULL || !tb_hash_equal(&key, &w->data_key))) {
        tb_dataset_free(&w->data);
        rc = tb_work_dataset(&w->data, &job, path, err);
        w->data_key = key;
    }
    tb_job_release(&job);
    return rc;
}

static tb_rc seal(worker *w, const float *values, tb_err *err)
{
    const sealed_options options = {.config = &w->config,
                                    .hash = &w->result.config,
                                    .client = &w->home->fed.client,
                                    .key = w->sign_key,
                                    .values = values,
                                    .weight = w->result.weight};
    char *path = NULL;
    tb_rc rc = worker_sealed_path(&path, w->home, &w->result.config, err);
    if (rc == TB_OK) {
        rc = sealed_write(path, &options, &w->result.sealed, err);
    }
    tb_mem_free(path);
    return rc;
}

/* Everything behind the model: what fails here by the round's or the data's
 * fault would fail again, so the client declines. */
static tb_rc train_and_seal(worker *w, int model, tb_err *err)
{
    tb_buf own, own_next;
    tb_buf_init(&own, TB_BLOB_BYTES_MAX);
    tb_buf_init(&own_next, TB_BLOB_BYTES_MAX);
    const tb_local_work local = {.config = &w->config,
                                 .client = w->home->fed.client.text,
                                 .model_fd = model,
                                 .data = w->data,
                                 .stop = &w->stop,
                                 .own = &own,
                                 .own_next = &own_next};
    size_t n = (size_t)tb_round_config_values(&w->config);
    float *values = tb_mem_aligned(n, sizeof *values);
    tb_rc rc =
        values != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "update: no memory");
    if (rc == TB_OK) {
        rc = own_read(&own, w->home, &w->config.run, err);
    }
    if (rc == TB_OK) {
        rc = tb_local_run(&local, values, &w->result.weight, err);
    }
    if (rc == TB_OK && own_next.len > 0) {
        rc = own_prepare(w->home, &w->config.run, &w->result.config, &own_next,
                         err);
    }
    if (rc == TB_OK) {
        rc = seal(w, values, err);
    }
    tb_buf_release(&own);
    tb_buf_release(&own_next);
    tb_mem_free(values);
    return rc;
}

static void work(void *arg)
{
    worker *w = arg;
    worker_result *r = &w->result;
    int64_t began_ms = tb_clock_ms();
    uint64_t one = 1;
    int model = -1;
    r->rc = load_model(w, &model, &r->err);
    if (r->rc == TB_OK) {
        r->rc = load_data(w, &r->err);
        if (r->rc == TB_OK) {
            r->rc = train_and_seal(w, model, &r->err);
        }
        if (tb_rc_fault(r->rc) == TB_FAULT_PEER) {
            r->rc = TB_E_REFUSED;
        }
    }
    if (model >= 0) {
        (void)close(model);
    }
    r->seconds = (double)(tb_clock_ms() - began_ms) / 1000.0;
    atomic_store(&w->done, true);
    (void)!write(w->fd, &one, sizeof one);
}

tb_rc worker_start(worker *w, const tb_round_config *config,
                   const tb_hash *hash, tb_err *err)
{
    w->config = *config;
    w->sign_key = w->home->sign_key;
    w->result = (worker_result){.config = *hash};
    atomic_store(&w->stop, false);
    return tb_pool_submit(w->pool, work, w, err);
}

void worker_give_up(worker *w)
{
    atomic_store(&w->stop, true);
}

int worker_fd(const worker *w)
{
    return w->fd;
}

bool worker_take(worker *w, worker_result *out)
{
    uint64_t count = 0;
    if (!atomic_exchange(&w->done, false)) {
        return false;
    }
    (void)!read(w->fd, &count, sizeof count);
    *out = w->result;
    return true;
}
