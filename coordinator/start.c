/* Starts of jobs: what a job needs is read and measured on the pool, so that
 * the driver never stands still; then the run is journalled and answered. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon.h"
#include "disk.h"
#include "model/onnx.h"
#include "model_blobs.h"
#include "wire/manifest.h"
#include "work/finish.h"
#include "work/model.h"
#include "work/round.h"

#define STARTING_MAX 4u /* at a time: each may hold a large model */

typedef struct start_task {
    tb_errand errand; /* first: the driver knows it as this */
    tb_daemon *daemon;
    uint64_t asker;         /* control connection */
    bool force;             /* whatever room the disk has */
    tb_job job;             /* owned */
    tb_buf list;            /* owned: the model's files, or empty */
    tb_rec_version version; /* to start from; sequence 0: none */
    tb_live *live;          /* owned: what came of it */
    tb_rc rc;
    tb_err why;
} start_task;

_Static_assert(offsetof(start_task, errand) == 0, "an errand is its task");

static void free_task(start_task *t)
{
    tb_live_free(&t->live);
    tb_job_release(&t->job);
    tb_buf_release(&t->list);
    tb_mem_free(t);
}

/* --- on a thread of the pool ---------------------------------------------- */

/* The files of the version to start from. */
static tb_rc find_version_blobs(start_task *t, tb_model_blobs *out, tb_err *err)
{
    tb_manifest m = {0};
    tb_buf bytes;
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    tb_rc rc = tb_state_blob_find(&t->daemon->state, &t->version.manifest,
                                  &bytes, err);
    if (rc == TB_OK) {
        rc = tb_manifest_decode(&m, bytes.data, bytes.len, err);
    }
    if (rc == TB_OK) {
        rc = tb_model_blobs_of(out, &m, err);
    }
    tb_manifest_release(&m);
    tb_buf_release(&bytes);
    return rc;
}

/* What is registered could be read once; what was given perhaps never. */
static tb_rc blame(const tb_job *job, tb_rc rc, tb_err *err)
{
    if (job->model.version[0] != '\0' && tb_rc_fault(rc) == TB_FAULT_PEER) {
        return tb_err_prefix(err, rc,
                             "version %s cannot be read (`tributaryd check` "
                             "says what is lost and how to mend it)",
                             job->model.version);
    }
    return tb_err_prefix(err, rc, "%s%s", job->model.file, job->model.version);
}

/* The job's model as it was given: *graph stays NULL where the job makes it. */
static tb_rc read_model(start_task *t, tb_graph **graph, tb_err *err)
{
    const tb_job *job = &t->live->job;
    tb_blobs *blobs = t->daemon->state.blobs;
    tb_model_blobs model;
    if (job->model.make[0] != '\0') {
        return TB_OK;
    }
    tb_rc rc = t->version.sequence > 0
                   ? find_version_blobs(t, &model, err)
                   : tb_model_blobs_read(&model, &t->list, blobs, err);
    if (rc == TB_OK) {
        rc = tb_model_blobs_graph(graph, &model, blobs, err);
        rc = rc == TB_OK ? rc : blame(job, rc, err);
    }
    if (rc == TB_OK) {
        rc = tb_work_note_data(
            *graph, model.n_files > 0 ? model.files[0].name.text : NULL, err);
    }
    return rc;
}

/* Writes the model that the run starts from. */
static tb_rc write_model(start_task *t, int fd, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_rc rc = read_model(t, &graph, err);
    if (rc == TB_OK) {
        rc = tb_work_prepare(&graph, &t->live->job, err);
    }
    if (rc == TB_OK) {
        rc = tb_onnx_write_fd(fd, graph, err);
    }
    tb_graph_free(&graph);
    return rc;
}

/* What the machine must know of it, and whether it could be published. */
static tb_rc look_at_model(tb_live *live, int fd, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_rc rc =
        tb_work_read_fd(&graph, &live->job, fd, TB_ONNX_VALUES_NONE, err);
    if (rc == TB_OK) {
        rc = tb_work_count(&live->params, &live->job, graph, err);
    }
    if (rc == TB_OK && tb_patch_fits(&live->job, &live->params)) {
        rc = tb_patch_new(&live->patch, &live->job, fd, err);
    } else if (rc == TB_OK &&
               lseek(fd, 0, SEEK_END) > (off_t)TB_BLOB_BYTES_MAX) {
        rc = tb_fail(err, TB_E_LIMIT,
                     "a model of over %zu bytes is not pruned while it trains: "
                     "leave out after.prune.last_rounds",
                     TB_BLOB_BYTES_MAX);
    }
    if (rc == TB_OK) {
        rc = tb_work_check_publish(&live->job, &live->params, &graph, err);
    }
    tb_graph_free(&graph);
    return rc;
}

/* The model, measured once before it starts: what does not fit is said now, and
 * not by every client. */
static tb_rc check_fit(const tb_live *live, int fd, tb_err *err)
{
    tb_metrics ignored;
    const tb_dataset *data =
        live->evaluate != NULL ? live->evaluate : live->calibrate;
    return data == NULL
               ? TB_OK
               : tb_work_evaluate_fd(&ignored, &live->job, fd, data, err);
}

/* The model that the run starts from, stored. */
static tb_rc put_model(start_task *t, tb_err *err)
{
    tb_blob_ref ref;
    tb_blob_edit *edit = NULL;
    tb_blobs *blobs = t->daemon->state.blobs;
    tb_rc rc = tb_blobs_edit_new(&edit, blobs, err);
    int fd = rc == TB_OK ? tb_blob_edit_fd(edit) : -1;
    if (rc == TB_OK) {
        rc = write_model(t, fd, err);
    }
    if (rc == TB_OK) {
        rc = look_at_model(t->live, fd, err);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_put_edit(blobs, edit, TB_BLOB_LEVEL_FAST, &ref, err);
    }
    if (rc == TB_OK) {
        t->live->params.model = tb_state_model(&ref);
        rc = check_fit(t->live, fd, err);
    }
    tb_blob_edit_free(&edit);
    return rc;
}

static void prepare(void *arg)
{
    start_task *t = arg;
    t->rc = tb_live_prepare(&t->live, &t->job, &t->why);
    if (t->rc == TB_OK) {
        t->rc = put_model(t, &t->why);
    }
    tb_mailbox_post(t->daemon->mailbox, &t->errand.letter);
}

/* --- the driver's side ---------------------------------------------------- */

static void drop(tb_errand *errand)
{
    free_task((start_task *)(void *)errand);
}

/* Room for it, beside the rounds of the runs that live. */
static tb_rc check_disk(tb_daemon *d, const tb_live *live, tb_err *err)
{
    uint64_t others = 0;
    tb_disk_need need = tb_disk_need_of(&live->params, d->settings);
    for (const tb_live *l = d->lives; l != NULL; l = l->next) {
        uint64_t more = tb_disk_need_of(&l->params, d->settings).updates;
        others = others > UINT64_MAX - more ? UINT64_MAX : others + more;
    }
    return tb_disk_check(tb_folder_dir(d->state.folder), &need, others,
                         d->settings, err);
}

/* The run is journalled, unless something came between. */
static tb_rc begin_run(tb_daemon *d, start_task *t, tb_run_id *run)
{
    tb_err ignored;
    tb_err *why = &t->why;
    if (!tb_control_waits(d->control, t->asker)) {
        return tb_fail(why, TB_E_CANCELLED, "who asked for it is gone");
    }
    tb_rc rc = t->force ? TB_OK : check_disk(d, t->live, why);
    if (rc == TB_OK) {
        rc = tb_live_start(t->live, d->state.folder, &d->keys, why);
    }
    *run = t->live->params.run;
    if (rc == TB_OK) {
        tb_event event = {.kind = TB_EV_START, .params = &t->live->params};
        rc = tb_daemon_event(d, &event, why);
    }
    if (rc == TB_OK) {
        tb_daemon_add_live(d, &t->live);
    } else {
        (void)!tb_live_discard(d->state.folder, run, &ignored);
    }
    return rc;
}

/* {"run": id, "queued": place}; 0: it has its turn. */
static void answer_started(tb_daemon *d, uint64_t asker, const tb_run_id *run)
{
    tb_err err = {0};
    tb_run_status s = {0};
    char hex[TB_RUN_HEX_BYTES];
    size_t i = 0;
    while (tb_coordinator_run_status(d->state.machine, i, &s) &&
           memcmp(s.run.bytes, run->bytes, sizeof run->bytes) != 0) {
        i++;
    }
    tb_run_hex(run, hex);
    tb_json *reply = tb_json_object();
    tb_rc rc = tb_json_put_text(reply, "run", hex, &err);
    if (rc == TB_OK) {
        rc = tb_json_put_int(reply, "queued", (int64_t)s.queued, &err);
    }
    tb_daemon_answer(d, asker, rc, &reply, &err);
}

static tb_rc back(tb_daemon *d, tb_errand *errand, tb_err *err)
{
    start_task *t = (start_task *)(void *)errand;
    tb_run_id run = {{0}};
    tb_rc done = TB_OK;
    d->n_starting--;
    tb_rc rc = t->rc == TB_OK ? begin_run(d, t, &run) : t->rc;
    if (rc != TB_OK) {
        tb_log(TB_LOG_INFO, "event=start result=%s why=\"%s\"", tb_rc_name(rc),
               t->why.text);
        if (t->live != NULL && t->live->params.model.raw_bytes > 0) {
            tb_daemon_let_blob_go(d, &t->live->params.model.raw);
        }
        done = tb_daemon_answer_failed(d, t->asker, rc, &t->why, err);
        free_task(t);
        return done;
    }
    done = tb_daemon_flush(d, err);
    if (done == TB_OK && d->stalled) {
        rc = tb_daemon_say_full(&t->why, "the run begins");
        tb_daemon_answer(d, t->asker, rc, NULL, &t->why);
    } else if (done == TB_OK) {
        answer_started(d, t->asker, &run);
    }
    free_task(t);
    return done;
}

/* Which version "NAME" or "NAME@SEQUENCE" is now; the job then says so. */
static tb_rc find_version(tb_daemon *d, start_task *t, tb_err *err)
{
    tb_name name;
    uint64_t sequence = 0;
    char text[TB_JOB_VERSION_BYTES];
    char *wish = t->job.model.version;
    (void)snprintf(text, sizeof text, "%s", wish);
    char *at = strchr(text, '@');
    tb_rc rc = TB_OK;
    if (at != NULL) {
        *at = '\0';
        rc = tb_text_u64(at + 1, &sequence, err);
    }
    if (rc != TB_OK || !tb_name_set(&name, text) || (at && sequence == 0)) {
        rc =
            tb_fail(err, TB_E_USAGE,
                    "model.version: \"%s\" is not NAME or NAME@SEQUENCE", wish);
    }
    if (rc != TB_OK) {
        return rc;
    }
    const tb_rec_version *v =
        tb_registry_find(&d->state.registry, &name, sequence);
    if (v == NULL) {
        return tb_fail(err, TB_E_NOT_FOUND,
                       "there is no version %s to start from: `tributaryd "
                       "models` lists them",
                       wish);
    }
    t->version = *v;
    (void)snprintf(wish, TB_JOB_VERSION_BYTES, "%s@%llu", name.text,
                   (unsigned long long)v->sequence);
    return TB_OK;
}

/* What can be said before anything is read. */
static tb_rc check(tb_daemon *d, start_task *t, const tb_control_request *r,
                   tb_err *err)
{
    if (d->n_starting >= STARTING_MAX) {
        return tb_fail(err, TB_E_BUSY,
                       "%u jobs are being started already: try again",
                       STARTING_MAX);
    }
    if (r->n_attachments == 0) {
        return tb_fail(err, TB_E_MALFORMED, "start: no job came");
    }
    tb_rc rc = tb_job_decode(&t->job, (const char *)r->attachments[0].data,
                             r->attachments[0].len, err);
    for (const tb_live *live = d->lives; rc == TB_OK && live != NULL;
         live = live->next) {
        if (tb_name_equal(&live->params.name, &t->job.name)) {
            rc = tb_fail(err, TB_E_BUSY,
                         "job %s is queued or running already: wait, "
                         "`tributaryd cancel %s`, or give this one another "
                         "name",
                         t->job.name.text, t->job.name.text);
        }
    }
    return rc == TB_OK && t->job.model.version[0] != '\0'
               ? find_version(d, t, err)
               : rc;
}

tb_rc tb_daemon_start(tb_daemon *d, tb_control_request *request, tb_err *err)
{
    tb_err why = {0};
    start_task *t = tb_mem_array(1, sizeof *t);
    if (t == NULL) {
        return tb_fail(err, TB_E_NOMEM, "a start");
    }
    t->errand.back = back;
    t->errand.drop = drop;
    t->daemon = d;
    t->asker = request->id;
    t->force = tb_control_arg_get(request, "force") != NULL;
    tb_rc rc = check(d, t, request, &why);
    if (rc == TB_OK) {
        if (request->n_attachments > 1) {
            t->list = request->attachments[1];
            request->attachments[1] = (tb_buf){0};
        }
        rc = tb_pool_submit(d->pool, prepare, t, &why);
    }
    if (rc != TB_OK) {
        free_task(t);
        return tb_daemon_answer_failed(d, request->id, rc, &why, err);
    }
    d->n_starting++;
    return TB_OK;
}
