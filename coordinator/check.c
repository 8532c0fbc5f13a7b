#include "check.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "check_priv.h"
#include "crypto/crypto.h"

#define TRIES 4 /* while a daemon goes on under our eyes */

const char *tb_finding_kind_name(tb_finding_kind kind)
{
    static const char *const names[] = {[TB_FINDING_DAMAGED] = "damaged",
                                        [TB_FINDING_LOST] = "lost",
                                        [TB_FINDING_HARMLESS] = "harmless"};
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "?";
}

void tb_check_release(tb_check *check)
{
    tb_mem_free(check->at);
    *check = (tb_check){0};
}

tb_rc tb_check_add(tb_checker *c, tb_finding_kind kind, const tb_err *what,
                   const char *means, const char *mend, tb_err *err)
{
    tb_check *out = c->out;
    if (out->n == out->cap) {
        size_t cap = out->cap > 0 ? 2 * out->cap : 8;
        tb_finding *at = tb_mem_resize(out->at, cap, sizeof *at);
        if (at == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu findings", cap);
        }
        out->at = at;
        out->cap = cap;
    }
    tb_finding *f = &out->at[out->n++];
    f->kind = kind;
    (void)snprintf(f->what, sizeof f->what, "%s", what->text);
    (void)snprintf(f->means, sizeof f->means, "%s", means);
    (void)snprintf(f->mend, sizeof f->mend, "%s", mend);
    return TB_OK;
}

tb_rc tb_check_fatal(tb_rc rc)
{
    return rc == TB_E_NOMEM ? rc : TB_OK;
}

/* --- the journal ---------------------------------------------------------- */

#define RESTORE                                                                \
    "stop the daemon and restore the folder from a backup (tributaryd "        \
    "restore): clients go on under a new epoch"

static tb_rc check_acceptance(tb_checker *c, const tb_rec_accepted *a,
                              tb_err *err)
{
    tb_accepted found;
    const tb_acceptance key = {a->config, a->client, a->update};
    c->n_acceptances++;
    tb_rc rc = tb_store_accepted(c->store, &key, &found, err);
    if (rc == TB_OK && found != TB_ACCEPTED_SAME) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "the table of acceptances does not hold the update of %s",
                     a->client.text);
    }
    return rc;
}

static tb_rc take_row(void *arg, const tb_row *row, tb_err *err)
{
    tb_checker *c = arg;
    tb_record record;
    tb_rc rc =
        tb_record_decode(&record, row->kind, row->body, row->body_bytes, err);
    if (rc == TB_OK) {
        rc = tb_marks_note(&c->marks, &record, err);
    }
    if (rc == TB_OK) {
        rc = tb_check_note_round(c, &record, err);
    }
    if (rc == TB_OK) {
        rc = tb_check_note_signer(c, &record, row->seq, err);
    }
    if (rc == TB_OK && record.kind == TB_REC_ACCEPTED) {
        rc = check_acceptance(c, &record.u.accepted, err);
    }
    tb_record_release(&record);
    c->out->n_rows = rc == TB_OK ? row->seq : c->out->n_rows;
    return rc == TB_OK ? rc
                       : tb_err_prefix(err, rc, "journal row %llu",
                                       (unsigned long long)row->seq);
}

/* Rows, then what rows do not show. */
static tb_rc read_journal(tb_checker *c, tb_err *err)
{
    tb_rc rc = tb_store_open(&c->store, c->folder, err);
    if (rc == TB_OK) {
        rc = tb_store_hold(c->store, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_store_read(c->store, 1, take_row, c, err);
    if (rc == TB_OK) {
        rc = tb_store_examine(c->store, c->n_acceptances, err);
    }
    tb_store_let_go(c->store);
    return rc;
}

static tb_rc check_journal(tb_checker *c, tb_err *err)
{
    char means[256];
    tb_err what = {0};
    tb_rc rc = read_journal(c, &what);
    c->whole = rc == TB_OK;
    if (rc == TB_E_NOMEM) {
        return tb_fail(err, rc, "%s", what.text);
    }
    if (rc != TB_OK) {
        (void)snprintf(means, sizeof means,
                       "%llu rows from the first on are whole; what was "
                       "enrolled, accepted or published after them is not "
                       "known, and the daemon does not start",
                       (unsigned long long)c->out->n_rows);
        return tb_check_add(c,
                            rc == TB_E_MISMATCH || rc == TB_E_NOT_FOUND
                                ? TB_FINDING_LOST
                                : TB_FINDING_DAMAGED,
                            &what, means, RESTORE, err);
    }
    rc = tb_store_check_head(c->folder, &what);
    if (rc != TB_OK && !c->in_use) {
        rc = tb_check_add(c, TB_FINDING_HARMLESS, &what,
                          "no row is lost: the rest of HEAD and the rows agree",
                          "nothing: the next two rows write it anew", err);
    }
    return tb_check_fatal(rc);
}

/* --- the whole ------------------------------------------------------------ */

/* The master key lies outside the folder; without it run keys stay shut. */
static tb_rc read_master(tb_checker *c, const tb_check_options *o, tb_err *err)
{
    tb_err what = {0};
    char *beside = tb_folder_master_path(o->dir);
    if (beside == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", o->dir);
    }
    tb_rc rc = tb_master_key_read(
        &c->master, o->master_key != NULL ? o->master_key : beside, &what);
    tb_mem_free(beside);
    if (rc == TB_OK) {
        c->out->n_keys++;
        return TB_OK;
    }
    rc = rc == TB_E_NOMEM
             ? tb_fail(err, rc, "%s", what.text)
             : tb_check_add(c,
                            rc == TB_E_NOT_FOUND ? TB_FINDING_LOST
                                                 : TB_FINDING_DAMAGED,
                            &what,
                            "run keys cannot be opened: runs that live cannot "
                            "go on, and were not checked",
                            "name its file with --master-key, or put it back "
                            "from its own copy",
                            err);
    return rc;
}

static tb_rc check_parts(tb_checker *c, const tb_check_options *o, tb_err *err)
{
    tb_rc rc = o->no_master ? TB_OK : read_master(c, o, err);
    if (rc == TB_OK) {
        rc = check_journal(c, err);
    }
    tb_marks_look(&c->marks, c->folder);
    if (rc == TB_OK && (o->parts & TB_CHECK_KEYS) != 0) {
        rc = tb_check_keys(c, err);
    }
    if (rc == TB_OK && (o->parts & TB_CHECK_RUNS) != 0) {
        rc = tb_check_runs(c, err);
    }
    if (rc == TB_OK && (o->parts & TB_CHECK_BLOBS) != 0) {
        rc = tb_check_blobs(c, err);
    }
    if (rc == TB_OK && (o->parts & TB_CHECK_SPOOL) != 0) {
        rc = tb_check_spool(c, err);
    }
    if (rc == TB_OK && (o->parts & TB_CHECK_SUMS) != 0) {
        rc = tb_check_sums(c, err);
    }
    if (rc == TB_OK && o->receipts != NULL && c->whole) {
        rc = tb_check_receipts(c, o->receipts, err);
    }
    return rc;
}

static tb_rc look(tb_check *out, const tb_check_options *o, bool *in_use,
                  tb_err *err)
{
    tb_checker c = {.out = out};
    *out = (tb_check){0};
    tb_rc rc = tb_folder_open(&c.folder, o->dir, TB_FOLDER_COORDINATOR,
                              TB_FOLDER_READ, err);
    if (rc == TB_OK) {
        c.in_use = tb_folder_in_use(c.folder);
        rc = tb_blobs_open(&c.blobs, tb_folder_path(c.folder, TB_ITEM_BLOBS),
                           err);
    }
    if (rc == TB_OK) {
        rc = check_parts(&c, o, err);
    }
    *in_use = c.in_use;
    tb_check_free_rounds(&c);
    tb_mem_free(c.epochs);
    tb_marks_release(&c.marks);
    tb_master_key_free(&c.master);
    tb_blobs_close(&c.blobs);
    tb_store_close(&c.store);
    tb_folder_close(&c.folder);
    if (rc != TB_OK) {
        tb_check_release(out);
    }
    return rc;
}

tb_rc tb_check_run(tb_check *out, const tb_check_options *options, tb_err *err)
{
    uint64_t rows = 0;
    bool in_use = false;
    *out = (tb_check){0};
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = look(out, options, &in_use, err);
    }
    /* What a daemon deletes while we look is not lost: look again for as long
     * as its journal moves on. */
    for (int i = 1; rc == TB_OK && in_use && out->n > 0 && i < TRIES; i++) {
        bool moved = out->n_rows != rows;
        rows = out->n_rows;
        if (!moved) {
            break;
        }
        tb_check_release(out);
        rc = look(out, options, &in_use, err);
    }
    return rc;
}
