#include "marks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "live.h"
#include "wire/manifest.h"

#define NO_RUN SIZE_MAX

/* --- from rows ------------------------------------------------------------ */

static tb_rc reserve(void **at, size_t n, size_t *cap, size_t size, tb_err *err)
{
    if (n < *cap) {
        return TB_OK;
    }
    size_t more = *cap > 0 ? 2 * *cap : 32;
    void *bigger = tb_mem_resize(*at, more, size);
    if (bigger == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu marks", more);
    }
    *at = bigger;
    *cap = more;
    return TB_OK;
}

static tb_rc add(tb_marks *m, const tb_mark *mark, tb_err *err)
{
    void *at = m->at;
    tb_rc rc = reserve(&at, m->n, &m->cap, sizeof *m->at, err);
    m->at = at;
    if (rc == TB_OK) {
        m->at[m->n++] = *mark;
    }
    return rc;
}

static tb_rc add_run(tb_marks *m, const tb_run_params *p, tb_err *err)
{
    void *at = m->runs;
    tb_rc rc = reserve(&at, m->n_runs, &m->cap_runs, sizeof *m->runs, err);
    m->runs = at;
    if (rc != TB_OK) {
        return rc;
    }
    tb_mark_run *run = &m->runs[m->n_runs];
    *run = (tb_mark_run){.run = p->run,
                         .name = p->name,
                         .job = p->job,
                         .last = p->model.raw,
                         .accuracy = (double)NAN,
                         .loss = (double)NAN};
    memcpy(run->aggregation_key, p->aggregation_key,
           sizeof run->aggregation_key);
    tb_mark mark = {
        .raw = p->model.raw, .use = TB_MARK_START, .run = m->n_runs++};
    return add(m, &mark, err);
}

/* The run that a committed configuration is of; NO_RUN: none that we know. */
static size_t run_of_config(const tb_marks *m, const tb_hash *config)
{
    for (size_t i = m->n_runs; i-- > 0;) {
        if (!m->runs[i].ended && tb_hash_equal(&m->runs[i].config, config)) {
            return i;
        }
    }
    return NO_RUN;
}

/* The best models so far, as publishing may judge them: strictly better than
 * all before. */
static void judge(tb_mark_run *run, const tb_metrics *metrics)
{
    bool by_accuracy =
        isfinite(metrics->accuracy) && !(metrics->accuracy <= run->accuracy);
    bool by_loss = isfinite(metrics->loss) && !(metrics->loss >= run->loss);
    if (by_accuracy) {
        run->accuracy = metrics->accuracy;
        run->by_accuracy = run->last;
    }
    if (by_loss) {
        run->loss = metrics->loss;
        run->by_loss = run->last;
    }
}

static tb_rc committed(tb_marks *m, const tb_rec_committed *c, tb_err *err)
{
    size_t i = run_of_config(m, &c->config);
    if (i == NO_RUN) {
        return TB_OK;
    }
    tb_mark_run *run = &m->runs[i];
    tb_mark mark = {.raw = c->result.raw, .run = i, .round = c->round};
    if (c->task == TB_TASK_EVALUATE) {
        judge(run, &c->metrics);
        return TB_OK;
    }
    mark.use = c->task == TB_TASK_TRAIN ? TB_MARK_ROUND : TB_MARK_RANGES;
    if (c->task == TB_TASK_TRAIN) {
        run->last = c->result.raw;
        run->last_round = c->round;
        judge(run, &c->metrics);
    }
    return c->result.raw_bytes > 0 ? add(m, &mark, err) : TB_OK;
}

static tb_rc run_ended(tb_marks *m, const tb_rec_run_ended *r, tb_err *err)
{
    tb_mark_run *run = tb_marks_run(m, &r->run);
    if (run == NULL) {
        return TB_OK;
    }
    run->ended = true;
    tb_mark mark = {.raw = r->model.raw,
                    .use = TB_MARK_FINAL,
                    .run = (size_t)(run - m->runs)};
    return r->model.raw_bytes > 0 ? add(m, &mark, err) : TB_OK;
}

static int by_hash(const void *a, const void *b)
{
    return memcmp(a, b, TB_HASH_BYTES); /* raw comes first in both structs */
}

static bool names(const tb_rec_swept *s, const tb_hash *raw)
{
    for (uint32_t k = 0; k < s->n_blobs; k++) {
        if (tb_hash_equal(raw, &s->blobs[k])) {
            return true;
        }
    }
    return false;
}

static bool has_manifest(const tb_marks *m, const tb_mark *artefact)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->at[i].use == TB_MARK_MANIFEST &&
            m->at[i].sequence == artefact->sequence &&
            tb_name_equal(&m->at[i].model, &artefact->model)) {
            return true;
        }
    }
    return false;
}

/* An artefact that another version has too goes with its own version. */
static void drop_artefacts(tb_marks *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (m->at[i].use != TB_MARK_ARTEFACT || has_manifest(m, &m->at[i])) {
            m->at[n++] = m->at[i];
        }
    }
    m->n = n;
}

static void swept(tb_marks *m, const tb_rec_swept *s)
{
    size_t n = 0;
    bool versions = false;
    for (size_t i = 0; i < m->n; i++) {
        if (names(s, &m->at[i].raw)) {
            versions = versions || m->at[i].use == TB_MARK_MANIFEST;
        } else {
            m->at[n++] = m->at[i];
        }
    }
    m->n = n;
    if (versions) {
        drop_artefacts(m);
    }
    for (uint32_t k = 0; k < s->n_runs; k++) {
        tb_mark_run *run = tb_marks_run(m, &s->runs[k]);
        if (run != NULL) {
            run->swept = true;
            run->kept = false;
        }
    }
}

static void opened(tb_marks *m, const tb_rec_round_opened *o)
{
    tb_mark_run *run = tb_marks_run(m, &o->run);
    if (run != NULL) {
        run->config = tb_hash_of(o->config.data, o->config.len);
    }
}

tb_rc tb_marks_note(tb_marks *m, const tb_record *record, tb_err *err)
{
    if (record->kind == TB_REC_RUN_STARTED) {
        return add_run(m, record->u.run_started, err);
    }
    if (record->kind == TB_REC_ROUND_OPENED) {
        opened(m, &record->u.round_opened);
    } else if (record->kind == TB_REC_COMMITTED) {
        return committed(m, &record->u.committed, err);
    } else if (record->kind == TB_REC_RUN_ENDED) {
        return run_ended(m, &record->u.run_ended, err);
    } else if (record->kind == TB_REC_VERSION) {
        const tb_rec_version *v = &record->u.version;
        tb_mark mark = {.raw = v->manifest,
                        .use = TB_MARK_MANIFEST,
                        .run = NO_RUN,
                        .model = v->model,
                        .sequence = v->sequence};
        return add(m, &mark, err);
    } else if (record->kind == TB_REC_SWEPT) {
        swept(m, &record->u.swept);
    }
    return TB_OK;
}

void tb_marks_look(tb_marks *m, const tb_folder *folder)
{
    for (size_t i = 0; i < m->n_runs; i++) {
        m->runs[i].kept = m->runs[i].ended && !m->runs[i].swept &&
                          tb_live_kept(folder, &m->runs[i].run);
    }
}

tb_mark_run *tb_marks_run(const tb_marks *m, const tb_run_id *run)
{
    for (size_t i = m->n_runs; i-- > 0;) {
        if (memcmp(m->runs[i].run.bytes, run->bytes, TB_RUN_ID_BYTES) == 0) {
            return &m->runs[i];
        }
    }
    return NULL;
}

void tb_marks_release(tb_marks *m)
{
    tb_mem_free(m->at);
    tb_mem_free(m->runs);
    *m = (tb_marks){0};
}

/* --- what is kept --------------------------------------------------------- */

bool tb_marks_keeps_run(const tb_marks *m, size_t run,
                        const tb_retention *retention)
{
    if (!m->runs[run].kept) {
        return false;
    }
    uint32_t newer = 0;
    for (size_t i = run + 1; i < m->n_runs; i++) {
        newer += m->runs[i].kept;
    }
    return retention->spool == 0 || newer < retention->spool;
}

static bool keeps_version(const tb_marks *m, const tb_mark *mark,
                          const tb_retention *retention)
{
    uint32_t newer = 0;
    if (retention->versions == 0) {
        return true; /* all: nothing to count, at every round */
    }
    for (size_t i = 0; i < m->n; i++) {
        const tb_mark *other = &m->at[i];
        newer += other->use == TB_MARK_MANIFEST &&
                 tb_name_equal(&other->model, &mark->model) &&
                 other->sequence > mark->sequence;
    }
    return newer < retention->versions;
}

/* Whether the run may yet publish it, or goes on from it. */
static bool in_use(const tb_mark_run *run, const tb_mark *mark)
{
    return tb_hash_equal(&mark->raw, &run->last) ||
           tb_hash_equal(&mark->raw, &run->by_accuracy) ||
           tb_hash_equal(&mark->raw, &run->by_loss);
}

static bool keeps(const tb_marks *m, const tb_mark *mark,
                  const tb_retention *retention)
{
    const tb_mark_run *run = mark->run != NO_RUN ? &m->runs[mark->run] : NULL;
    bool all = retention->checkpoints == 0;
    switch (mark->use) {
    case TB_MARK_START:
        return all || !run->ended ||
               tb_marks_keeps_run(m, mark->run, retention);
    case TB_MARK_RANGES:
        return all || !run->ended;
    case TB_MARK_ROUND:
        return all || (!run->ended && in_use(run, mark)) ||
               run->last_round - mark->round < retention->checkpoints;
    case TB_MARK_MANIFEST:
    case TB_MARK_ARTEFACT:
        return keeps_version(m, mark, retention);
    case TB_MARK_FINAL:
        break;
    }
    return true;
}

/* --- the list ------------------------------------------------------------- */

static tb_rc read_manifest(tb_manifest *out, const tb_hash *raw,
                           tb_blobs *blobs, tb_err *err)
{
    tb_blob_ref ref;
    tb_buf bytes;
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    tb_rc rc = tb_blobs_find(blobs, raw, &ref, err);
    if (rc == TB_OK) {
        rc = tb_blobs_load(blobs, &ref, &bytes, err);
    }
    if (rc == TB_OK) {
        rc = tb_manifest_decode(out, bytes.data, bytes.len, err);
    }
    tb_buf_release(&bytes);
    return rc;
}

static tb_rc mark_artefacts(tb_marks *marks, size_t manifest, tb_blobs *blobs,
                            tb_err *err)
{
    tb_manifest m = {0};
    size_t n = marks->n;
    tb_rc rc = read_manifest(&m, &marks->at[manifest].raw, blobs, err);
    for (uint32_t i = 0; i < m.n_artefacts && rc == TB_OK; i++) {
        tb_mark mark = marks->at[manifest];
        mark.raw = m.artefacts[i].raw;
        mark.use = TB_MARK_ARTEFACT;
        mark.role = m.artefacts[i].role;
        rc = add(marks, &mark, err);
    }
    for (uint32_t i = 0; i < m.n_files && rc == TB_OK; i++) {
        tb_mark mark = marks->at[manifest];
        mark.raw = m.files[i].raw;
        mark.use = TB_MARK_ARTEFACT;
        mark.role = m.artefacts[0].role;
        rc = add(marks, &mark, err);
    }
    if (rc == TB_OK) {
        marks->at[manifest].read = true;
    } else {
        marks->n = n;
    }
    tb_manifest_release(&m);
    return rc;
}

tb_rc tb_marks_read(tb_marks *marks, tb_blobs *blobs, bool lenient, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < marks->n && rc == TB_OK; i++) {
        const tb_mark *mark = &marks->at[i];
        if (mark->use == TB_MARK_MANIFEST && !mark->read) {
            rc = mark_artefacts(marks, i, blobs, err);
            rc = lenient && rc != TB_E_NOMEM ? TB_OK : rc;
        }
    }
    return rc;
}

tb_rc tb_marks_list(tb_named_list *out, const tb_marks *marks,
                    const tb_retention *retention, tb_err *err)
{
    *out = (tb_named_list){.at = tb_mem_array(marks->n, sizeof *out->at)};
    if (out->at == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu marks", marks->n);
    }
    for (; out->n < marks->n; out->n++) {
        const tb_mark *mark = &marks->at[out->n];
        out->at[out->n] = (tb_named){.raw = mark->raw,
                                     .use = mark->use,
                                     .mark = mark,
                                     .kept = keeps(marks, mark, retention)};
    }
    qsort(out->at, out->n, sizeof *out->at, by_hash);
    return TB_OK;
}

_Static_assert(offsetof(tb_named, raw) == 0, "sorted by their first bytes");

/* The first entry of this hash, or NULL. */
static const tb_named *first(const tb_named_list *list, const tb_hash *raw)
{
    const tb_named *at =
        bsearch(raw, list->at, list->n, sizeof *list->at, by_hash);
    while (at != NULL && at > list->at && tb_hash_equal(&at[-1].raw, raw)) {
        at--;
    }
    return at;
}

bool tb_named_any(const tb_named_list *list, const tb_hash *raw)
{
    return first(list, raw) != NULL;
}

bool tb_named_kept(const tb_named_list *list, const tb_hash *raw)
{
    const tb_named *end = list->at + list->n;
    const tb_named *at = first(list, raw);
    bool kept = false;
    for (; at != NULL && at < end && tb_hash_equal(&at->raw, raw); at++) {
        kept = kept || at->kept;
    }
    return kept;
}

void tb_named_release(tb_named_list *list)
{
    tb_mem_free(list->at);
    *list = (tb_named_list){0};
}

void tb_mark_text(const tb_mark *mark, const tb_marks *marks, char *out,
                  size_t size)
{
    char run[TB_RUN_HEX_BYTES] = "";
    const char *name = "";
    if (mark->run != NO_RUN) {
        tb_run_hex(&marks->runs[mark->run].run, run);
        name = marks->runs[mark->run].name.text;
    }
    unsigned long long sequence = mark->sequence;
    switch (mark->use) {
    case TB_MARK_START:
        (void)snprintf(out, size, "the model that run %.8s of %s began with",
                       run, name);
        break;
    case TB_MARK_ROUND:
        (void)snprintf(out, size, "the model of round %u of run %.8s of %s",
                       mark->round, run, name);
        break;
    case TB_MARK_RANGES:
        (void)snprintf(out, size, "the calibrated ranges of run %.8s of %s",
                       run, name);
        break;
    case TB_MARK_FINAL:
        (void)snprintf(out, size, "the model that run %.8s of %s ended with",
                       run, name);
        break;
    case TB_MARK_MANIFEST:
        (void)snprintf(out, size, "the manifest of %s version %llu",
                       mark->model.text, sequence);
        break;
    case TB_MARK_ARTEFACT:
        (void)snprintf(out, size, "%s version %llu, %s", mark->model.text,
                       sequence,
                       tb_artefact_role_name((tb_artefact_role)mark->role));
        break;
    }
}
