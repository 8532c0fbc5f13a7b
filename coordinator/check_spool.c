/* The sealed updates that a check looks at: those of rounds that are open, and
 * of runs that were kept for replay. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "check_priv.h"
#include "crypto/seal.h"
#include "host/spool.h"
#include "live.h"

/* --- rounds, from rows ---------------------------------------------------- */

static const char *spool_dir(const tb_checker *c)
{
    return tb_folder_path(c->folder, TB_ITEM_SPOOL);
}

/* Size of a round's segment; -1: it is not there. */
static int64_t segment_bytes(const tb_checker *c, const tb_kept_round *r)
{
    char run[TB_RUN_HEX_BYTES];
    char config[TB_HASH_HEX_BYTES];
    char path[4096];
    struct stat st;
    tb_run_hex(&r->run, run);
    tb_hash_hex(&r->config, config);
    (void)snprintf(path, sizeof path, "%s/%s/%s", spool_dir(c), run, config);
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static void let_go(tb_kept_round *r)
{
    tb_mem_free(r->updates);
    r->updates = NULL;
    r->n = 0;
    r->cap = 0;
}

static tb_rc add_round(tb_checker *c, const tb_rec_round_opened *o, tb_err *err)
{
    if (c->n_rounds == c->cap_rounds) {
        size_t cap = c->cap_rounds > 0 ? 2 * c->cap_rounds : 32;
        tb_kept_round *at = tb_mem_resize(c->rounds, cap, sizeof *at);
        if (at == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu rounds", cap);
        }
        c->rounds = at;
        c->cap_rounds = cap;
    }
    c->rounds[c->n_rounds++] =
        (tb_kept_round){.run = o->run,
                        .config = tb_hash_of(o->config.data, o->config.len),
                        .round = o->round,
                        .task = o->task,
                        .open = true};
    return TB_OK;
}

/* The newest round of this configuration (that is open), or NULL. */
static tb_kept_round *find_round(const tb_checker *c, const tb_hash *config,
                                 bool open)
{
    for (size_t i = c->n_rounds; i-- > 0;) {
        if ((c->rounds[i].open || !open) &&
            tb_hash_equal(&c->rounds[i].config, config)) {
            return &c->rounds[i];
        }
    }
    return NULL;
}

/* Of an asynchronous run updates come for rounds that are over, too. */
static tb_rc add_update(tb_checker *c, const tb_rec_accepted *a, tb_err *err)
{
    tb_kept_round *r = find_round(c, &a->config, false);
    if (r == NULL) {
        return TB_OK;
    }
    size_t i = (size_t)(r - c->rounds);
    c->n_settled = i < c->n_settled ? i : c->n_settled;
    r->n_waiting++;
    if (!r->open && segment_bytes(c, r) < 0) {
        return TB_OK;
    }
    if (r->n == r->cap) {
        size_t cap = r->cap > 0 ? 2 * r->cap : 16;
        tb_kept_update *at = tb_mem_resize(r->updates, cap, sizeof *at);
        if (at == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu updates", cap);
        }
        r->updates = at;
        r->cap = cap;
    }
    r->updates[r->n++] =
        (tb_kept_update){a->client, a->upload, a->update, a->n_blocks};
    r->n_accepted++;
    return TB_OK;
}

/* A round that is over needs its list only while its segment is there. */
static void leave_round(tb_checker *c, tb_kept_round *r)
{
    r->open = false;
    if (segment_bytes(c, r) < 0) {
        let_go(r);
    }
}

typedef enum passage {
    CLOSES, /* what waits counts in this round */
    SUMMED, /* what counts in it is in a model, or in none */
    ENDS    /* the run is over: so is all */
} passage;

static void take_step(tb_kept_round *r, passage step)
{
    r->n_closed = step == CLOSES ? r->n_closed + r->n_waiting : 0;
    r->n_waiting = step == SUMMED ? r->n_waiting : 0;
}

/* All updates of a run that may count in a round go through its steps: those of
 * earlier configurations too, if it trains. round: NULL: of any. */
static void step_run(tb_checker *c, const tb_run_id *run,
                     const tb_kept_round *round, passage step)
{
    for (size_t i = c->n_settled; i < c->n_rounds; i++) {
        tb_kept_round *r = &c->rounds[i];
        bool counts = round == NULL || r == round ||
                      (round->task == TB_TASK_TRAIN && r->task == round->task);
        if (counts && memcmp(r->run.bytes, run->bytes, TB_RUN_ID_BYTES) == 0) {
            take_step(r, step);
        }
    }
    while (c->n_settled < c->n_rounds &&
           c->rounds[c->n_settled].n_waiting == 0 &&
           c->rounds[c->n_settled].n_closed == 0) {
        c->n_settled++;
    }
}

static void close_round(tb_checker *c, const tb_hash *config)
{
    tb_kept_round *r = find_round(c, config, true);
    if (r != NULL) {
        r->closed = true;
        step_run(c, &r->run, r, CLOSES);
    }
}

/* Committed or abandoned; one that was abandoned before it closed takes what
 * waits along. */
static void end_round(tb_checker *c, const tb_hash *config, bool committed)
{
    tb_kept_round *r = find_round(c, config, true);
    if (r == NULL) {
        return;
    }
    if (!committed && !r->closed) {
        step_run(c, &r->run, r, CLOSES);
    }
    step_run(c, &r->run, r, SUMMED);
    leave_round(c, r);
}

/* No round goes on, and nothing of them counts any more. */
static void restored(tb_checker *c)
{
    for (size_t i = 0; i < c->n_rounds; i++) {
        tb_kept_round *r = &c->rounds[i];
        r->open = false;
        r->n_waiting = 0;
        r->n_closed = 0;
        if (segment_bytes(c, r) < 0) {
            r->n_accepted = 0; /* a restore leaves open rounds behind */
        }
    }
    c->n_settled = c->n_rounds;
}

static void purged(tb_checker *c, const tb_rec_accepted *a)
{
    tb_kept_round *r = find_round(c, &a->config, false);
    if (r != NULL && r->n_waiting > 0) {
        r->n_waiting--;
    }
}

tb_rc tb_check_note_round(tb_checker *c, const tb_record *record, tb_err *err)
{
    if (record->kind == TB_REC_ROUND_OPENED) {
        return add_round(c, &record->u.round_opened, err);
    }
    if (record->kind == TB_REC_ACCEPTED) {
        return add_update(c, &record->u.accepted, err);
    }
    if (record->kind == TB_REC_PURGED) {
        purged(c, &record->u.purged);
    } else if (record->kind == TB_REC_CLOSED) {
        close_round(c, &record->u.closed.config);
    } else if (record->kind == TB_REC_COMMITTED) {
        end_round(c, &record->u.committed.config, true);
    } else if (record->kind == TB_REC_ABANDONED) {
        end_round(c, &record->u.abandoned.config, false);
    } else if (record->kind == TB_REC_RUN_ENDED) {
        step_run(c, &record->u.run_ended.run, NULL, ENDS);
    } else if (record->kind == TB_REC_RESTORED) {
        restored(c);
    }
    return TB_OK;
}

void tb_check_free_rounds(tb_checker *c)
{
    for (size_t i = 0; i < c->n_rounds; i++) {
        let_go(&c->rounds[i]);
    }
    tb_mem_free(c->rounds);
    c->rounds = NULL;
    c->n_rounds = 0;
}

/* --- segments ------------------------------------------------------------- */

/* Every block is there, whole, and together they are what was accepted. */
static tb_rc check_update(const tb_spool *spool, const tb_kept_update *u,
                          tb_err *err)
{
    tb_hash hash;
    tb_buf block;
    tb_update_hasher *hasher = tb_mem_aligned(1, sizeof *hasher);
    const tb_spool_upload *head = tb_spool_find(spool, &u->upload);
    tb_buf_init(&block, TB_PAYLOAD_BYTES_MAX);
    tb_rc rc = TB_OK;
    if (hasher == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "an update");
    } else if (head == NULL) {
        rc = tb_fail(err, TB_E_NOT_FOUND, "is not in the spool");
    } else {
        tb_update_hasher_init(hasher, head->header);
    }
    for (uint32_t i = 0; rc == TB_OK && i < u->n_blocks; i++) {
        block.len = 0;
        rc = tb_spool_read(spool, &u->upload, i, &block, err);
        if (rc == TB_OK) {
            tb_update_hasher_add(hasher, block.data, block.len);
        }
    }
    if (rc == TB_OK) {
        rc = tb_update_hasher_end(hasher, &hash, err);
    }
    if (rc == TB_OK && !tb_hash_equal(&hash, &u->update)) {
        rc = tb_fail(err, TB_E_MISMATCH, "is not the one that was accepted");
    }
    tb_buf_release(&block);
    tb_mem_free(hasher);
    return rc;
}

/* Updates that a sum still needs. */
static uint32_t n_unsummed(const tb_kept_round *r)
{
    return r->n_waiting + r->n_closed;
}

static tb_rc add_finding(tb_checker *c, const tb_kept_round *r, tb_rc rc,
                         const tb_err *what, tb_err *err)
{
    char means[256];
    if (rc == TB_E_NOMEM) {
        return tb_fail(err, rc, "%s", what->text);
    }
    bool in_use = r->open || n_unsummed(r) > 0;
    (void)snprintf(
        means, sizeof means,
        r->open  ? "round %u will be abandoned and asked again: its clients "
                   "lose time, nothing else"
        : in_use ? "updates to the model of round %u wait for the buffer that "
                   "is open, which will be abandoned: clients lose time, "
                   "nothing else"
                 : "round %u of this ended run cannot be replayed",
        r->round);
    return tb_check_add(
        c, rc == TB_E_NOT_FOUND ? TB_FINDING_LOST : TB_FINDING_DAMAGED, what,
        means,
        in_use ? "nothing; or put the segment back from a backup before the "
                 "next start"
               : "put the segment back from a backup; the model itself is "
                 "not touched",
        err);
}

static tb_rc check_updates(tb_checker *c, const tb_kept_round *r,
                           const tb_spool *spool, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < r->n && rc == TB_OK; i++) {
        tb_err what = {0};
        rc = check_update(spool, &r->updates[i], &what);
        c->out->n_updates += rc == TB_OK;
        if (rc != TB_OK) {
            rc = tb_err_prefix(&what, rc, "spool: the update of %s in round %u",
                               r->updates[i].client.text, r->round);
            rc = add_finding(c, r, rc, &what, err);
        }
    }
    return rc;
}

/* Bytes behind the last whole record: a write that a crash cut off, or one that
 * is going on, or altered ones. */
static tb_rc check_tail(tb_checker *c, const tb_kept_round *r, uint64_t whole,
                        int64_t size, tb_err *err)
{
    tb_err what = {0};
    if (c->in_use || size < 0 || (uint64_t)size == whole) {
        return TB_OK;
    }
    (void)tb_fail(&what, TB_E_MALFORMED,
                  "spool: %llu bytes behind byte %llu of round %u's segment "
                  "are no whole record",
                  (unsigned long long)((uint64_t)size - whole),
                  (unsigned long long)whole, r->round);
    return tb_check_add(c, TB_FINDING_HARMLESS, &what,
                        "a write was cut off, or bytes were altered; updates "
                        "that this touches are named by themselves",
                        "nothing: they are cut off before anything is written "
                        "behind them, at the latest; clients send what was not "
                        "acknowledged again",
                        err);
}

static tb_rc check_segment(tb_checker *c, const tb_kept_round *r, tb_err *err)
{
    tb_err what = {0};
    tb_spool *spool = NULL;
    const tb_mark_run *run = tb_marks_run(&c->marks, &r->run);
    bool must = n_unsummed(r) > 0 ||
                (r->n_accepted > 0 && (r->open || (run != NULL && run->kept)));
    int64_t size = segment_bytes(c, r);
    if (size < 0 && !must) {
        return TB_OK;
    }
    tb_rc rc =
        tb_spool_open_read(&spool, spool_dir(c), &r->run, &r->config, &what);
    if (rc != TB_OK) {
        return !must && rc == TB_E_NOT_FOUND
                   ? TB_OK
                   : add_finding(c, r, rc, &what, err);
    }
    c->out->n_segments++;
    rc = check_updates(c, r, spool, err);
    if (rc == TB_OK) {
        rc = check_tail(c, r, tb_spool_bytes(spool), size, err);
    }
    tb_spool_close(&spool);
    return rc;
}

tb_rc tb_check_spool(tb_checker *c, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < c->n_rounds && rc == TB_OK; i++) {
        rc = check_segment(c, &c->rounds[i], err);
    }
    return rc;
}
