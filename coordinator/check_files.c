/* The parts of a check that are files by themselves: keys and certificate, jobs
 * and keys of runs, blobs. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "check_priv.h"
#include "live.h"

/* --- keys ----------------------------------------------------------------- */

#define KEYS_MEAN                                                              \
    "the daemon does not start: it cannot prove to clients who it is"
#define KEYS_MEND "put it back from a backup: clients know these keys"

/* The code of a look at something: a finding when it is not TB_OK. */
static tb_rc found(tb_checker *c, tb_rc rc, const tb_err *what,
                   const char *means, const char *mend, tb_err *err)
{
    if (rc == TB_OK) {
        return TB_OK;
    }
    if (rc == TB_E_NOMEM) {
        return tb_fail(err, rc, "%s", what->text);
    }
    return tb_check_add(
        c, rc == TB_E_NOT_FOUND ? TB_FINDING_LOST : TB_FINDING_DAMAGED, what,
        means, mend, err);
}

static tb_rc check_root(tb_checker *c, const tb_keys *keys, tb_err *err)
{
    tb_err what = {0};
    tb_sign_key *root = NULL;
    const char *path = tb_folder_path(c->folder, TB_ITEM_ROOT_KEY);
    if (!tb_file_exists(path)) {
        return TB_OK; /* moved away, as is wise */
    }
    tb_rc rc = tb_sign_key_read(&root, path, &what);
    if (rc == TB_OK && memcmp(tb_sign_key_public(root), keys->root_public,
                              TB_SIGN_PUBLIC_BYTES) != 0) {
        rc = tb_fail(&what, TB_E_MISMATCH,
                     "%s: is not the key that signed the certificate", path);
    }
    c->out->n_keys += rc == TB_OK;
    tb_sign_key_free(&root);
    return found(
        c, rc, &what, "no new certificate can be signed for this federation",
        "put it back from its own copy; the daemon runs without it", err);
}

/* Keys that are about to take the place of others (rotate). */
static tb_rc check_next(tb_checker *c, tb_err *err)
{
    tb_err what = {0};
    tb_sign_key *sign = NULL;
    tb_box_key *curve = NULL;
    const char *signs = tb_folder_path(c->folder, TB_ITEM_NEXT_SIGN_KEY);
    const char *curves = tb_folder_path(c->folder, TB_ITEM_NEXT_CURVE_KEY);
    tb_rc rc =
        tb_file_exists(signs) ? tb_sign_key_read(&sign, signs, &what) : TB_OK;
    if (rc == TB_OK && tb_file_exists(curves)) {
        rc = tb_box_key_read(&curve, curves, &what);
    }
    c->out->n_keys += sign != NULL;
    c->out->n_keys += curve != NULL;
    tb_sign_key_free(&sign);
    tb_box_key_free(&curve);
    return found(c, rc, &what, "the change of keys that goes on cannot end",
                 "rotate the keys again; the old ones work until then", err);
}

tb_rc tb_check_keys(tb_checker *c, tb_err *err)
{
    tb_keys keys = {0};
    tb_err what = {0};
    tb_rc rc = tb_keys_read_public(&keys, c->folder, &what);
    bool whole = rc == TB_OK;
    rc = found(c, rc, &what, KEYS_MEAN, KEYS_MEND, err);
    if (rc == TB_OK && whole) {
        c->out->n_keys += 2;
        rc = check_root(c, &keys, err);
    }
    if (rc == TB_OK) {
        rc = check_next(c, err);
    }
    if (rc == TB_OK && whole) {
        rc = tb_certificate_verify(&keys.certificate, keys.root_public,
                                   (uint64_t)tb_clock_unix_s(), &what);
        rc = found(c, rc, &what, KEYS_MEAN,
                   "sign a new certificate with the root key, or mend the "
                   "clock of this machine",
                   err);
    }
    tb_keys_release(&keys);
    return rc;
}

/* --- runs ----------------------------------------------------------------- */

static tb_rc check_job(const tb_checker *c, const tb_mark_run *run,
                       tb_err *what)
{
    tb_job job = {0};
    tb_hash hash;
    tb_rc rc = tb_live_read_job(&job, c->folder, &run->run, what);
    if (rc == TB_OK) {
        rc = tb_job_hash(&job, &hash, what);
        if (rc == TB_OK && !tb_hash_equal(&hash, &run->job)) {
            rc = tb_fail(what, TB_E_MISMATCH,
                         "runs/: the job of a run of %s is another than was "
                         "started",
                         run->name.text);
        }
        tb_job_release(&job);
    }
    return rc;
}

static tb_rc check_run_key(const tb_checker *c, const tb_mark_run *run,
                           tb_err *what)
{
    tb_box_key *key = NULL;
    if (c->master == NULL) {
        return TB_OK; /* a finding already, or not asked for */
    }
    tb_rc rc = tb_live_read_key(&key, c->folder, c->master, &run->run, what);
    if (rc == TB_OK && memcmp(tb_box_key_public(key), run->aggregation_key,
                              TB_CURVE_PUBLIC_BYTES) != 0) {
        rc = tb_fail(what, TB_E_MISMATCH,
                     "runs/: the key of a run of %s is another than clients "
                     "seal to",
                     run->name.text);
    }
    tb_box_key_free(&key);
    return rc;
}

tb_rc tb_check_runs(tb_checker *c, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < c->marks.n_runs && rc == TB_OK; i++) {
        const tb_mark_run *run = &c->marks.runs[i];
        const char *means =
            run->ended ? "this ended run cannot be replayed any more"
                       : "the run cannot go on: the next start cancels it or "
                         "refuses it";
        const char *mend = "put it back from a backup; or start the job anew: "
                           "with its seed it makes the same model";
        bool must = !run->ended || run->kept;
        tb_err what = {0};
        tb_rc job = check_job(c, run, &what);
        if (must || job != TB_E_NOT_FOUND) {
            c->out->n_run_files += job == TB_OK;
            rc = found(c, job, &what, means, mend, err);
        }
        if (rc == TB_OK && must) {
            tb_rc key = check_run_key(c, run, &what);
            c->out->n_run_files += key == TB_OK && c->master != NULL;
            rc = found(c, key, &what, means, mend, err);
        }
    }
    return rc;
}

/* --- blobs ---------------------------------------------------------------- */

/* What the loss of a blob means, and where it may be found again. */
static const char *blob_means(const tb_checker *c, const tb_named *named)
{
    const tb_mark *mark = named->mark;
    if (mark->use == TB_MARK_MANIFEST || mark->use == TB_MARK_ARTEFACT) {
        return "this version cannot be pulled, served or exported any more";
    }
    bool live = !c->marks.runs[mark->run].ended;
    return live && named->kept
               ? "the run that lives needs it: its rounds fail until it is "
                 "back"
               : "no round needs it any more; replay of its run may";
}

static const char *blob_mend(const tb_named *named)
{
    switch (named->mark->use) {
    case TB_MARK_MANIFEST:
    case TB_MARK_ARTEFACT:
        return "clients that pulled it have it (tributary models): pull and "
               "publish anew, or put the file back from a backup";
    case TB_MARK_START:
    case TB_MARK_ROUND:
    case TB_MARK_RANGES:
    case TB_MARK_FINAL:
        break;
    }
    return "put the file back from a backup, or from the blobs/ of a client of "
           "that round; a kept run makes it again (tributaryd replay)";
}

/* What is named, and the stored files that were looked at for it. */
typedef struct looks {
    tb_checker *c;
    tb_named_list named;
    tb_hash *stored; /* owned */
    size_t n_stored;
} looks;

static tb_rc check_named(looks *l, const tb_named *named, tb_err *err)
{
    char text[160];
    tb_checker *c = l->c;
    tb_blob_ref ref;
    tb_err what = {0};
    tb_rc rc = tb_blobs_find(c->blobs, &named->raw, &ref, &what);
    if (rc == TB_OK) {
        l->stored[l->n_stored++] = ref.stored;
        rc = tb_blobs_check(c->blobs, &ref, &what);
    }
    if (rc == TB_OK) {
        c->out->n_blobs++;
        c->out->blob_bytes += ref.stored_bytes;
    } else {
        tb_mark_text(named->mark, &c->marks, text, sizeof text);
        rc = tb_err_prefix(&what, rc, "%s", text);
    }
    return found(c, rc, &what, blob_means(c, named), blob_mend(named), err);
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, TB_HASH_BYTES);
}

static bool was_looked_at(const looks *l, const tb_blob_file *file)
{
    return file->kind == TB_BLOB_FILE_INDEX
               ? tb_named_any(&l->named, &file->name)
               : bsearch(&file->name, l->stored, l->n_stored, sizeof *l->stored,
                         by_bytes) != NULL;
}

/* Files that no row names must at least be what their names say. */
static tb_rc check_loose(void *arg, const tb_blob_file *file, tb_err *err)
{
    looks *l = arg;
    tb_blob_ref ref;
    tb_err what = {0};
    tb_rc rc = TB_OK;
    if (file->kind == TB_BLOB_FILE_OTHER || was_looked_at(l, file)) {
        return TB_OK;
    }
    if (file->kind == TB_BLOB_FILE_INDEX) {
        l->c->out->n_loose++;
        rc = tb_blobs_find(l->c->blobs, &file->name, &ref, &what);
    } else {
        rc = tb_blobs_verify(l->c->blobs, &file->name, &what);
    }
    if (rc == TB_E_NOT_FOUND && l->c->in_use) {
        return TB_OK; /* removed a moment ago */
    }
    return found(l->c, rc, &what, "no row that was read names it",
                 "nothing, if no other finding speaks of it: tributaryd gc "
                 "removes what nothing names",
                 err);
}

static tb_rc check_all_named(looks *l, tb_err *err)
{
    const tb_named_list *list = &l->named;
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < list->n && rc == TB_OK; i++) {
        bool again =
            i > 0 && tb_hash_equal(&list->at[i].raw, &list->at[i - 1].raw);
        rc = again ? TB_OK : check_named(l, &list->at[i], err);
    }
    qsort(l->stored, l->n_stored, sizeof *l->stored, by_bytes);
    return rc;
}

tb_rc tb_check_blobs(tb_checker *c, tb_err *err)
{
    static const tb_retention in_use = {.versions = 1, .checkpoints = 1};
    looks l = {.c = c};
    tb_rc rc = tb_marks_read(&c->marks, c->blobs, true, err);
    if (rc == TB_OK) {
        rc = tb_marks_list(&l.named, &c->marks, &in_use, err);
    }
    if (rc == TB_OK &&
        (l.stored = tb_mem_array(l.named.n, sizeof *l.stored)) == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "%zu blobs", l.named.n);
    }
    if (rc == TB_OK) {
        rc = check_all_named(&l, err);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_each(c->blobs, check_loose, &l, err);
    }
    tb_mem_free(l.stored);
    tb_named_release(&l.named);
    return rc;
}
