/* replay: proves a run from the journal and the spool alone. Every accepted
 * update of every committed round is opened and added again, the model goes
 * from round to round as it did, and each hash must be the journal's. Of an
 * asynchronous run each update counts where it did: in the first buffer that is
 * open, and has not closed, at its acceptance or after it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "base/file.h"
#include "base/mem.h"
#include "live.h"
#include "state.h"
#include "verbs.h"
#include "work/intake.h"
#include "work/patch.h"
#include "work/round.h"

/* The spool of a training round of an asynchronous run. */
typedef struct source {
    struct source *next;
    tb_hash config;
    uint32_t round;
    tb_intake *intake; /* without a sum */
} source;

typedef struct replay {
    const char *wanted; /* hex digits that the run's id begins with */
    tb_state *state;    /* borrowed */
    const tb_master_key *master;
    bool found;
    tb_run_params params;
    tb_job job;
    tb_box_key *key;
    tb_blob_edit *model;      /* that the next round starts from */
    tb_patch *patch;          /* owned; NULL: not found out, or of no use */
    tb_intake *intake;        /* of the open round; NULL: its updates are not
                               * here */
    tb_err missing;           /* why they are not */
    tb_hash config;           /* hash of its configuration */
    bool taking;              /* it is a buffer that has not closed */
    source *sources;          /* of the rounds that updates may come for */
    tb_rec_accepted *waiting; /* owned; accepted while no buffer was open */
    size_t n_waiting, cap_waiting;
    uint32_t n_rounds, n_updates;
    tb_hash last; /* model hash that came out */
} replay;

static tb_rc start(replay *r, const tb_run_params *params, tb_err *err)
{
    char hex[TB_RUN_HEX_BYTES];
    tb_run_hex(&params->run, hex);
    if (strncmp(hex, r->wanted, strlen(r->wanted)) != 0) {
        return TB_OK;
    }
    if (r->found) {
        return tb_fail(err, TB_E_USAGE,
                       "more than one run begins with %s: give more digits",
                       r->wanted);
    }
    r->found = true;
    r->params = *params;
    r->last = params->model.raw;
    tb_blob_ref ref = tb_state_ref(&params->model);
    tb_rc rc = tb_live_read(&r->job, &r->key, r->state->folder, r->master,
                            &params->run, err);
    if (rc == TB_E_NOT_FOUND) {
        rc = tb_fail(err, rc,
                     "run %s cannot be replayed: its key and sealed updates "
                     "were destroyed when it ended; `tributaryd run "
                     "--keep-updates` keeps them",
                     hex);
    }
    return rc == TB_OK ? tb_blobs_edit(&r->model, r->state->blobs, &ref, err)
                       : rc;
}

/* An intake over a round's segment; max_updates 0: without a sum. */
static tb_rc open_intake(replay *r, const tb_round_config *config,
                         const tb_hash *hash, uint32_t max_updates,
                         tb_intake **out, tb_err *err)
{
    tb_spool *spool = NULL;
    tb_rc rc = tb_spool_open_read(
        &spool, tb_folder_path(r->state->folder, TB_ITEM_SPOOL), &config->run,
        hash, err);
    if (rc == TB_OK) {
        tb_intake_options options = {.config = config,
                                     .hash = *hash,
                                     .max_updates = max_updates,
                                     .key = r->key,
                                     .spool = spool};
        rc = tb_intake_new(out, &options, err);
        if (rc != TB_OK) {
            tb_spool_close(&spool);
        }
    }
    return rc;
}

static bool buffered(const replay *r, tb_task task)
{
    return r->params.mode == TB_MODE_ASYNC && task == TB_TASK_TRAIN;
}

static void free_sources(replay *r, uint32_t older_than)
{
    for (source **at = &r->sources; *at != NULL;) {
        source *s = *at;
        if (s->round < older_than) {
            *at = s->next;
            tb_intake_free(&s->intake);
            tb_mem_free(s);
        } else {
            at = &s->next;
        }
    }
}

static tb_rc add_source(replay *r, const tb_round_config *config, tb_err *err)
{
    source *s = tb_mem_array(1, sizeof *s);
    uint32_t most = r->params.max_staleness;
    if (s == NULL) {
        return tb_fail(err, TB_E_NOMEM, "a round");
    }
    *s = (source){
        .next = r->sources, .config = r->config, .round = config->round};
    r->sources = s;
    free_sources(r, config->round > most ? config->round - most : 0);
    return open_intake(r, config, &r->config, 0, &s->intake, err);
}

static tb_rc add(replay *r, const tb_rec_accepted *a, tb_err *err);

/* What was accepted before the buffer opened is in it. */
static tb_rc add_waiting(replay *r, tb_err *err)
{
    tb_rc rc = TB_OK;
    r->taking = true;
    for (size_t i = 0; rc == TB_OK && i < r->n_waiting; i++) {
        rc = add(r, &r->waiting[i], err);
    }
    r->n_waiting = 0;
    return rc;
}

static tb_rc open_round(replay *r, const tb_rec_round_opened *o, tb_err *err)
{
    tb_round_config *config = tb_mem_array(1, sizeof *config);
    if (config == NULL) {
        return tb_fail(err, TB_E_NOMEM, "a round");
    }
    r->config = tb_hash_of(o->config.data, o->config.len);
    tb_intake_free(&r->intake);
    tb_rc rc =
        tb_round_config_decode(config, o->config.data, o->config.len, err);
    if (rc == TB_OK) {
        rc = open_intake(r, config, &r->config,
                         tb_run_updates_max(&r->params, config->task),
                         &r->intake, &r->missing);
    }
    if (rc == TB_E_NOT_FOUND) { /* fine, unless the round was committed */
        tb_mem_free(config);
        return TB_OK;
    }
    if (rc != TB_OK) {
        rc = tb_fail(err, rc, "%s", r->missing.text);
    } else if (buffered(r, config->task)) {
        rc = add_source(r, config, err);
        rc = rc == TB_OK ? add_waiting(r, err) : rc;
    }
    tb_mem_free(config);
    return rc;
}

/* Where the blocks of an update lie; NULL: not a round of ours. */
static tb_intake *source_of(const replay *r, const tb_hash *config)
{
    for (const source *s = r->sources; s != NULL; s = s->next) {
        if (tb_hash_equal(&s->config, config)) {
            return s->intake;
        }
    }
    return r->intake != NULL && tb_hash_equal(config, &r->config) ? r->intake
                                                                  : NULL;
}

static tb_rc keep_waiting(replay *r, const tb_rec_accepted *a, tb_err *err)
{
    if (r->n_waiting == r->cap_waiting) {
        size_t cap = r->cap_waiting == 0 ? 16 : 2 * r->cap_waiting;
        tb_rec_accepted *all = tb_mem_resize(r->waiting, cap, sizeof *all);
        if (all == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu updates", cap);
        }
        r->waiting = all;
        r->cap_waiting = cap;
    }
    r->waiting[r->n_waiting++] = *a;
    return TB_OK;
}

/* An update of an asynchronous run waits while no buffer is open. */
static tb_rc accept(replay *r, const tb_rec_accepted *a, tb_err *err)
{
    bool of_buffer = source_of(r, &a->config) != r->intake;
    return of_buffer && !r->taking ? keep_waiting(r, a, err) : add(r, a, err);
}

static tb_rc add(replay *r, const tb_rec_accepted *a, tb_err *err)
{
    tb_order order = {.kind = TB_ORDER_ADD_STORED,
                      .update = a->update,
                      .weight = a->weight,
                      .full = a->full};
    tb_verdict verdict = {0};
    order.upload.key = 1;
    order.upload.config = a->config;
    order.upload.client = a->client;
    order.upload.upload = a->upload;
    order.upload.n_blocks = a->n_blocks;
    order.into = r->config;
    tb_intake_add_stored(source_of(r, &a->config), r->intake, &order, &verdict);
    tb_weights w = tb_run_weights(&r->params, tb_intake_config(r->intake)->task,
                                  verdict.weight, a->staleness);
    if (verdict.rc == TB_OK && (w.weight != a->weight || w.full != a->full)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "the update of %s weighs %u of %u in the spool and %u "
                       "of %u in the journal",
                       a->client.text, w.weight, w.full, a->weight, a->full);
    }
    r->n_updates += verdict.rc == TB_OK;
    return verdict.rc == TB_OK ? TB_OK
                               : tb_fail(err, verdict.rc, "update of %s: %s",
                                         a->client.text, verdict.why);
}

/* Out of the sum again, as it was while its round was open. */
static tb_rc purge(replay *r, const tb_rec_accepted *p, tb_err *err)
{
    tb_order order = {
        .kind = TB_ORDER_DROP_STORED, .weight = p->weight, .full = p->full};
    tb_verdict verdict = {0};
    for (size_t i = 0; i < r->n_waiting; i++) {
        if (tb_hash_equal(&r->waiting[i].update, &p->update)) {
            r->waiting[i] = r->waiting[--r->n_waiting]; /* not summed yet */
            return TB_OK;
        }
    }
    order.upload.key = 1;
    order.upload.config = p->config;
    order.upload.client = p->client;
    order.upload.upload = p->upload;
    order.upload.n_blocks = p->n_blocks;
    tb_intake_drop_stored(source_of(r, &p->config), r->intake, &order,
                          &verdict);
    r->n_updates -= verdict.rc == TB_OK;
    return verdict.rc == TB_OK ? TB_OK
                               : tb_fail(err, verdict.rc, "update of %s: %s",
                                         p->client.text, verdict.why);
}

/* The model's file becomes the next one, as the daemon makes it: its values are
 * moved. */
static tb_rc move_model(replay *r, const tb_work_round *round, tb_err *err)
{
    tb_metrics metrics;
    int fd = tb_blob_edit_fd(r->model);
    tb_rc rc =
        r->patch == NULL ? tb_patch_new(&r->patch, &r->job, fd, err) : TB_OK;
    return rc == TB_OK ? tb_patch_apply(r->patch, fd, round, &metrics, err)
                       : rc;
}

/* The same in memory, for jobs that do more. */
static tb_rc make_model(replay *r, const tb_work_round *round, tb_err *err)
{
    tb_metrics metrics;
    tb_buf old, next;
    int fd = tb_blob_edit_fd(r->model);
    tb_buf_init(&old, TB_BLOB_BYTES_MAX);
    tb_buf_init(&next, TB_BLOB_BYTES_MAX);
    tb_rc rc = lseek(fd, 0, SEEK_SET) == 0
                   ? tb_file_read_fd(&old, fd, err)
                   : tb_fail_errno(err, errno, "a model's file");
    if (rc == TB_OK) {
        rc = tb_work_aggregate(&next, &metrics, round, &old, err);
    }
    if (rc == TB_OK && (lseek(fd, 0, SEEK_SET) != 0 || ftruncate(fd, 0) != 0)) {
        rc = tb_fail_errno(err, errno, "a model's file");
    }
    if (rc == TB_OK) {
        rc = tb_file_write_fd(fd, next.data, next.len, err);
    }
    tb_buf_release(&old);
    tb_buf_release(&next);
    return rc;
}

static tb_rc commit(replay *r, const tb_rec_committed *c, tb_err *err)
{
    if (r->intake == NULL) {
        return tb_fail(err, TB_E_NOT_FOUND, "round %u: %s", c->round,
                       r->missing.text);
    }
    tb_work_round round = {.job = &r->job,
                           .params = &r->params,
                           .config = tb_intake_config(r->intake),
                           .sum = tb_intake_sum(r->intake)};
    if (c->task != TB_TASK_TRAIN) {
        return TB_OK;
    }
    tb_rc rc = tb_patch_fits(&r->job, &r->params) ? move_model(r, &round, err)
                                                  : make_model(r, &round, err);
    if (rc == TB_OK) {
        rc = tb_blob_edit_hash(r->model, &r->last, err);
    }
    if (rc == TB_OK) {
        if (!tb_hash_equal(&r->last, &c->result.raw)) {
            char ours[TB_HASH_HEX_BYTES], theirs[TB_HASH_HEX_BYTES];
            tb_hash_hex(&r->last, ours);
            tb_hash_hex(&c->result.raw, theirs);
            rc = tb_fail(err, TB_E_MISMATCH,
                         "round %u: replay gives %.16s..., the journal says "
                         "%.16s...",
                         c->round, ours, theirs);
        }
    }
    r->n_rounds += rc == TB_OK;
    return rc;
}

static bool is_ours(const replay *r, const tb_record *record)
{
    switch (record->kind) {
    case TB_REC_ROUND_OPENED:
        return r->found && memcmp(&record->u.round_opened.run, &r->params.run,
                                  sizeof(tb_run_id)) == 0;
    case TB_REC_ACCEPTED:
        return source_of(r, &record->u.accepted.config) != NULL;
    case TB_REC_PURGED:
        return source_of(r, &record->u.purged.config) != NULL;
    case TB_REC_CLOSED:
        return r->intake != NULL &&
               tb_hash_equal(&record->u.closed.config, &r->config);
    case TB_REC_ABANDONED:
        return r->intake != NULL &&
               tb_hash_equal(&record->u.abandoned.config, &r->config);
    case TB_REC_COMMITTED:
        return r->found &&
               tb_hash_equal(&record->u.committed.config, &r->config);
    case TB_REC_RUN_STARTED:
        return true;
    case TB_REC_INVITED:
    case TB_REC_ENROLLED:
    case TB_REC_REVOKED:
    case TB_REC_CLOCK:
    case TB_REC_EXPELLED:
    case TB_REC_VERSION:
    case TB_REC_RUN_ENDED:
    case TB_REC_LEFT_OVER:
    case TB_REC_RESTORED:
    case TB_REC_SWEPT:
    case TB_REC_LABELLED:
    case TB_REC_RUN_PAUSED:
    case TB_REC_RUN_RESUMED:
    case TB_REC_RUN_CANCELLED:
    case TB_REC_ROTATED:
    case TB_REC_COORDINATOR_KEY:
    case TB_REC_KIND_END:
    default:
        return false;
    }
}

static tb_rc take_row(void *arg, const tb_row *row, tb_err *err)
{
    replay *r = arg;
    tb_record record;
    tb_rc rc =
        tb_record_decode(&record, row->kind, row->body, row->body_bytes, err);
    if (rc == TB_OK && is_ours(r, &record)) {
        if (record.kind == TB_REC_RUN_STARTED) {
            rc = start(r, record.u.run_started, err);
        } else if (record.kind == TB_REC_ROUND_OPENED) {
            rc = open_round(r, &record.u.round_opened, err);
        } else if (record.kind == TB_REC_ACCEPTED) {
            rc = accept(r, &record.u.accepted, err);
        } else if (record.kind == TB_REC_PURGED) {
            rc = purge(r, &record.u.purged, err);
        } else if (record.kind == TB_REC_COMMITTED) {
            rc = commit(r, &record.u.committed, err);
        } else { /* CLOSED, ABANDONED */
            r->taking = false;
        }
    }
    tb_record_release(&record);
    return rc;
}

static tb_rc print(const replay *r, bool as_json, tb_err *err)
{
    char hex[TB_HASH_HEX_BYTES];
    tb_hash_hex(&r->last, hex);
    if (!as_json) {
        (void)printf("replayed %u rounds, %u updates: every hash is the "
                     "journal's\nhash %s\n",
                     r->n_rounds, r->n_updates, hex);
        return TB_OK;
    }
    tb_json *object = tb_json_object();
    tb_rc rc = tb_json_put_int(object, "rounds", r->n_rounds, err);
    if (rc == TB_OK) {
        rc = tb_json_put_int(object, "updates", r->n_updates, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_text(object, "hash", hex, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_print(object, err);
    }
    tb_json_free(&object);
    return rc;
}

static tb_rc read_master(tb_master_key **out, const tb_dir_settings *at,
                         tb_err *err)
{
    if (at->master_key[0] != '\0') {
        return tb_master_key_read(out, at->master_key, err);
    }
    char *beside = tb_folder_master_path(at->dir);
    tb_rc rc = beside != NULL ? tb_master_key_read(out, beside, err)
                              : tb_fail(err, TB_E_NOMEM, "%s", at->dir);
    tb_mem_free(beside);
    return rc;
}

/* A run by name or by digits, as watch finds it; one that is remembered no more
 * by its digits alone. */
static tb_rc find_wanted(char out[static TB_RUN_HEX_BYTES],
                         const tb_cli_call *call, const tb_history *h,
                         tb_err *err)
{
    tb_run_history *found = tb_history_newest(h);
    tb_rc rc = call->n_args == 1
                   ? tb_history_named(&found, h, call->args[0], err)
                   : TB_OK;
    if (rc == TB_E_NOT_FOUND) {
        (void)snprintf(out, TB_RUN_HEX_BYTES, "%s", call->args[0]);
        return TB_OK;
    }
    if (rc == TB_OK) {
        tb_run_hex(found != NULL ? &found->run : &(tb_run_id){{0}}, out);
    }
    return rc;
}

static tb_rc replay_run(replay *r, bool as_json, tb_err *err)
{
    tb_rc rc = tb_store_read(r->state->store, 1, take_row, r, err);
    if (rc == TB_OK && !r->found) {
        rc = tb_fail(err, TB_E_NOT_FOUND,
                     r->state->history.n == 0
                         ? "no run yet%.0s"
                         : "no run \"%s\" in the journal: `tributaryd jobs` "
                           "lists them",
                     r->wanted);
    }
    if (rc == TB_OK) {
        rc = print(r, as_json, err);
    }
    tb_intake_free(&r->intake);
    free_sources(r, UINT32_MAX);
    tb_mem_free(r->waiting);
    tb_blob_edit_free(&r->model);
    tb_patch_free(&r->patch);
    tb_box_key_free(&r->key);
    tb_job_release(&r->job);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const tb_dir_settings *at = call->values[0];
    char wanted[TB_RUN_HEX_BYTES];
    tb_state state;
    tb_master_key *master = NULL;
    tb_rc rc = tb_state_open(&state, at->dir, TB_FOLDER_READ, err);
    if (rc != TB_OK) {
        return rc;
    }
    replay *r = tb_mem_array(1, sizeof *r);
    rc = r != NULL ? read_master(&master, at, err)
                   : tb_fail(err, TB_E_NOMEM, "a replay");
    if (rc == TB_OK) {
        rc = find_wanted(wanted, call, &state.history, err);
    }
    if (rc == TB_OK) {
        r->wanted = wanted;
        r->state = &state;
        r->master = master;
        rc = replay_run(r, call->json, err);
    }
    tb_mem_free(r);
    tb_master_key_free(&master);
    tb_state_close(&state);
    return rc;
}

const tb_verb verb_replay = {
    .name = "replay",
    .args = "[RUN|NAME]",
    .min_args = 0,
    .max_args = 1,
    .help = "compute a run again from journal and spool, and compare",
    .examples = "tributaryd replay --dir fleet\n"
                "tributaryd replay --dir fleet fashion\n",
    .notes = "The run that was started last, unless its model's name or the "
             "first digits of\nits id say another one. A finished run needs "
             "what `run --keep-updates` kept.\n",
    .json = true,
    .tables = {&tb_dir_table},
    .run = run,
};
