/* The daemon's own collections: after a round, after a run, at the start, and
 * when asked. In the driver's thread, between two passes. */
#include <string.h>

#include "base/log.h"
#include "daemon.h"
#include "gc.h"

/* Takes off the pins of all that is in the list. */
static void settle(tb_daemon *d, tb_unnamed *list)
{
    for (size_t i = 0; i < list->n; i++) {
        tb_blobs_settle(d->state.blobs, &list->raw[i]);
    }
    list->n = 0;
}

/* A round's result has its row: one pin of it, and whose it was. */
static void settle_result(tb_daemon *d, const tb_hash *raw)
{
    tb_live *live = d->lives;
    while (live != NULL && (live->unnamed.n == 0 ||
                            !tb_hash_equal(&live->unnamed.raw[0], raw))) {
        live = live->next;
    }
    if (live != NULL) {
        settle(d, &live->unnamed);
    }
}

/* The row of a version names its manifest, and that all the rest. */
static void settle_version(tb_daemon *d, const tb_rec_version *version)
{
    tb_live *live = tb_daemon_live(d, &version->run);
    if (live != NULL) {
        settle(d, &live->unnamed);
    } else { /* published by hand */
        tb_blobs_settle(d->state.blobs, &version->manifest);
    }
}

/* A row names the blob that an order put: it needs no pin any more. */
void tb_daemon_note_blobs(tb_daemon *d, const tb_record *record)
{
    if (record->kind == TB_REC_RUN_STARTED) {
        tb_blobs_settle(d->state.blobs, &record->u.run_started->model.raw);
    } else if (record->kind == TB_REC_VERSION) {
        settle_version(d, &record->u.version);
    } else if (record->kind == TB_REC_COMMITTED) {
        settle_result(d, &record->u.committed.result.raw);
        d->collect_due = true;
    } else if (record->kind == TB_REC_RUN_ENDED) {
        d->collect_due = true;
    }
}

void tb_daemon_let_blob_go(tb_daemon *d, const tb_hash *raw)
{
    tb_blobs_settle(d->state.blobs, raw);
    d->collect_due = true;
    d->leftovers_due = true;
}

void tb_daemon_let_go(tb_daemon *d, tb_live *live)
{
    while (live->unnamed.n > 0) {
        tb_daemon_let_blob_go(d, &live->unnamed.raw[--live->unnamed.n]);
    }
}

static tb_rc journal(void *arg, const tb_record *record, tb_err *err)
{
    tb_daemon *d = arg;
    tb_event event = {.kind = TB_EV_RECORD, .record = record};
    tb_rc rc = tb_daemon_event(d, &event, err);
    if (rc == TB_OK) {
        rc = tb_daemon_flush(d, err);
        d->broken = d->broken || rc != TB_OK;
    }
    return rc == TB_OK && d->stalled
               ? tb_fail(err, TB_E_FULL,
                         "the disk is full: free some space, "
                         "then tributaryd gc frees more")
               : rc;
}

static tb_rc collect(tb_daemon *d, tb_gc_result *out, bool leftovers,
                     bool dry_run, tb_err *err)
{
    tb_gc_options options = {.retention = d->settings->keep,
                             .dry_run = dry_run,
                             .leftovers = leftovers,
                             .journal = journal,
                             .arg = d};
    tb_rc rc = tb_gc_run(out, &d->state, &options, err);
    if (rc == TB_OK && !dry_run && out->n_files > 0) {
        tb_log(
            TB_LOG_INFO,
            "event=gc blobs=%llu runs=%llu files=%llu "
            "bytes=%llu",
            (unsigned long long)out->n_blobs, (unsigned long long)out->n_runs,
            (unsigned long long)out->n_files, (unsigned long long)out->bytes);
    }
    return rc;
}

tb_rc tb_daemon_collect(tb_daemon *d, tb_err *err)
{
    tb_err why = {0};
    tb_gc_result result;
    if (!d->collect_due || d->stalled) {
        return TB_OK;
    }
    bool leftovers = d->leftovers_due;
    d->collect_due = false;
    d->leftovers_due = false;
    tb_rc rc = collect(d, &result, leftovers, false, &why);
    if (rc != TB_OK && !d->broken) {
        tb_log(TB_LOG_WARN, "event=gc error=\"%s\"", why.text);
        rc = TB_OK; /* the fleet goes on beside what was not removed */
    }
    return rc == TB_OK ? rc : tb_fail(err, rc, "%s", why.text);
}

tb_rc tb_daemon_gc(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_err why = {0};
    tb_json *value = NULL;
    tb_gc_result result;
    bool dry_run = tb_control_arg_get(r, "dry_run") != NULL;
    tb_rc rc = collect(d, &result, true, dry_run, &why);
    if (rc == TB_OK) {
        rc = tb_gc_report(&value, &result, &why);
    }
    if (rc != TB_OK) {
        return tb_daemon_answer_failed(d, r->id, rc, &why, err);
    }
    tb_daemon_answer(d, r->id, rc, &value, &why);
    return TB_OK;
}
