#include "gc.h"

#include <string.h>

#include "base/mem.h"
#include "host/spool.h"
#include "live.h"

/* What goes: each blob once. */
typedef struct plan {
    tb_named_list named;
    tb_hash *blobs; /* owned */
    size_t n_blobs;
    tb_run_id *runs; /* owned */
    size_t n_runs;
} plan;

static void release(plan *p)
{
    tb_named_release(&p->named);
    tb_mem_free(p->blobs);
    tb_mem_free(p->runs);
}

/* Before all files are looked at, what must stay is looked for: next to a
 * damaged folder nothing is removed that might yet mend it. */
static tb_rc must_be_there(const tb_named *named, tb_state *state, tb_err *err)
{
    char text[160];
    tb_blob_ref ref;
    tb_rc rc = tb_blobs_find(state->blobs, &named->raw, &ref, err);
    if (rc != TB_OK) {
        tb_mark_text(named->mark, &state->marks, text, sizeof text);
        rc = tb_err_prefix(err, rc, "nothing was removed: %s", text);
    }
    return rc;
}

static tb_rc plan_blobs(plan *p, tb_state *state, bool leftovers, tb_err *err)
{
    const tb_named_list *list = &p->named;
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < list->n && rc == TB_OK; i++) {
        if (i > 0 && tb_hash_equal(&list->at[i].raw, &list->at[i - 1].raw)) {
            continue;
        }
        if (tb_named_kept(list, &list->at[i].raw)) {
            rc = leftovers ? must_be_there(&list->at[i], state, err) : TB_OK;
        } else {
            p->blobs[p->n_blobs++] = list->at[i].raw;
        }
    }
    return rc;
}

static tb_rc make_plan(plan *p, tb_state *state, const tb_gc_options *o,
                       tb_err *err)
{
    const tb_retention *retention = &o->retention;
    tb_marks *marks = &state->marks;
    tb_marks_look(marks, state->folder);
    tb_rc rc = tb_marks_read(marks, state->blobs, false, err);
    if (rc == TB_OK) {
        rc = tb_marks_list(&p->named, marks, retention, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    p->blobs = tb_mem_array(p->named.n, sizeof *p->blobs);
    p->runs = tb_mem_array(marks->n_runs, sizeof *p->runs);
    if (p->blobs == NULL || p->runs == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu marks", p->named.n);
    }
    for (size_t i = 0; i < marks->n_runs; i++) {
        if (marks->runs[i].kept && !tb_marks_keeps_run(marks, i, retention)) {
            p->runs[p->n_runs++] = marks->runs[i].run;
        }
    }
    return plan_blobs(p, state, o->leftovers, err);
}

/* As many rows as it takes. */
static tb_rc journal_plan(const plan *p, const tb_gc_options *o, tb_err *err)
{
    tb_rc rc = TB_OK;
    size_t blobs = 0, runs = 0;
    while (rc == TB_OK && (blobs < p->n_blobs || runs < p->n_runs)) {
        size_t n = p->n_blobs - blobs;
        size_t m = p->n_runs - runs;
        n = n < TB_SWEPT_MAX ? n : TB_SWEPT_MAX;
        m = m < TB_SWEPT_MAX ? m : TB_SWEPT_MAX;
        tb_record record = {.kind = TB_REC_SWEPT,
                            .u.swept = {.n_blobs = (uint32_t)n,
                                        .n_runs = (uint32_t)m,
                                        .blobs = p->blobs + blobs,
                                        .runs = p->runs + runs}};
        rc = o->journal(o->arg, &record, err);
        blobs += n;
        runs += m;
    }
    return rc;
}

/* --- files ---------------------------------------------------------------- */

static bool keep(const void *arg, const tb_hash *raw)
{
    return tb_named_kept(arg, raw);
}

static tb_rc sweep_blobs(tb_gc_result *out, const plan *p, tb_state *state,
                         bool dry_run, tb_err *err)
{
    tb_blob_sweep sweep = {.keep = keep, .arg = &p->named, .dry_run = dry_run};
    tb_rc rc = tb_blobs_sweep(state->blobs, &sweep, err);
    out->n_files = sweep.n;
    out->bytes = sweep.bytes;
    return rc;
}

/* Only what the rows let go: others may be at work in the folder, and what they
 * write is named soon (tributaryd publish). */
static tb_rc remove_blobs(tb_gc_result *out, const plan *p, tb_state *state,
                          tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < p->n_blobs && rc == TB_OK; i++) {
        tb_blob_ref ref;
        rc = tb_blobs_find(state->blobs, &p->blobs[i], &ref, err);
        if (rc == TB_OK) {
            rc = tb_blobs_remove(state->blobs, &ref, err);
            out->n_files += 2;
            out->bytes += ref.stored_bytes;
        } else if (rc != TB_E_NOMEM) {
            rc = TB_OK; /* gone, or damaged: a look at all files takes it */
        }
    }
    return rc;
}

/* Keys and spools of every run that is over and not kept: also those that a
 * kill left. */
static tb_rc sweep_runs(const tb_state *state, tb_err *err)
{
    const char *spool = tb_folder_path(state->folder, TB_ITEM_SPOOL);
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < state->marks.n_runs && rc == TB_OK; i++) {
        const tb_mark_run *run = &state->marks.runs[i];
        if (!run->ended || run->kept) {
            continue;
        }
        rc = tb_live_destroy_key(state->folder, &run->run, err);
        if (rc == TB_OK) {
            rc = tb_spool_remove_run(spool, &run->run, err);
        }
        if (rc == TB_OK) {
            rc = tb_live_unkeep(state->folder, &run->run, err);
        }
    }
    return rc;
}

tb_rc tb_gc_run(tb_gc_result *out, tb_state *state,
                const tb_gc_options *options, tb_err *err)
{
    plan p = {0};
    *out = (tb_gc_result){0};
    tb_rc rc = make_plan(&p, state, options, err);
    bool idle = p.n_blobs == 0 && p.n_runs == 0;
    out->n_blobs = p.n_blobs;
    out->n_runs = p.n_runs;
    if (rc == TB_OK && !options->dry_run) {
        rc = journal_plan(&p, options, err);
    }
    if (rc == TB_OK && options->leftovers) {
        rc = sweep_blobs(out, &p, state, options->dry_run, err);
    } else if (rc == TB_OK && !idle && !options->dry_run) {
        rc = remove_blobs(out, &p, state, err);
    }
    if (rc == TB_OK && !options->dry_run &&
        (p.n_runs > 0 || options->leftovers)) {
        rc = sweep_runs(state, err);
    }
    release(&p);
    return rc;
}

tb_rc tb_gc_report(tb_json **out, const tb_gc_result *result, tb_err *err)
{
    const struct {
        const char *key;
        uint64_t n;
    } counts[] = {{"blobs", result->n_blobs},
                  {"runs", result->n_runs},
                  {"files", result->n_files},
                  {"bytes", result->bytes}};
    tb_json *o = tb_json_object();
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < sizeof counts / sizeof *counts && rc == TB_OK; i++) {
        rc = tb_json_put_int(o, counts[i].key, (int64_t)counts[i].n, err);
    }
    if (rc != TB_OK) {
        tb_json_free(&o);
    }
    *out = o;
    return rc;
}
