/* Each kind has one walk over its fields, which writes them or reads them: so
 * the two directions cannot disagree. */
#include "fed/record.h"

#include <string.h>

#include "base/mem.h"

#define RECORD_VERSION   1
#define NAME_BYTES_LEAST 5 /* of a name in a body: length and one letter */

typedef struct walk {
    tb_buf *out;  /* writing; NULL: reading */
    tb_cursor in; /* reading */
    tb_rc rc;     /* after the first failure nothing moves any more */
    tb_err *err;
} walk;

static bool reading(const walk *w)
{
    return w->rc == TB_OK && w->out == NULL;
}

static void fail(walk *w, const char *what)
{
    if (w->rc == TB_OK) {
        w->rc = tb_fail(w->err, TB_E_MALFORMED, "record: %s", what);
    }
}

static void raw(walk *w, void *at, size_t n)
{
    if (w->rc == TB_OK && w->out != NULL) {
        w->rc = tb_buf_put(w->out, at, n, w->err);
    } else if (w->rc == TB_OK) {
        const uint8_t *from = NULL;
        w->rc = tb_cursor_take(&w->in, &from, n, w->err);
        if (w->rc == TB_OK) {
            memcpy(at, from, n);
        }
    }
}

static void u32(walk *w, uint32_t *v)
{
    uint8_t bytes[4];
    tb_le32_put(bytes, *v);
    raw(w, bytes, sizeof bytes);
    *v = tb_le32_get(bytes);
}

static void u64(walk *w, uint64_t *v)
{
    uint8_t bytes[8];
    tb_le64_put(bytes, *v);
    raw(w, bytes, sizeof bytes);
    *v = tb_le64_get(bytes);
}

static void f32(walk *w, float *v)
{
    uint32_t bits = 0;
    memcpy(&bits, v, sizeof bits);
    u32(w, &bits);
    memcpy(v, &bits, sizeof bits);
}

static void f64(walk *w, double *v)
{
    uint64_t bits = 0;
    memcpy(&bits, v, sizeof bits);
    u64(w, &bits);
    memcpy(v, &bits, sizeof bits);
}

/* An enum as a number under end; the caller copies it in and out. */
static uint32_t choice(walk *w, uint32_t v, uint32_t first, uint32_t end)
{
    u32(w, &v);
    if (w->rc == TB_OK && (v < first || v >= end)) {
        fail(w, "a choice is out of range");
    }
    return w->rc == TB_OK ? v : first;
}

static void hash(walk *w, tb_hash *v)
{
    raw(w, v->bytes, sizeof v->bytes);
}

/* Up to cap - 1 bytes without control characters. */
static void text(walk *w, char *v, size_t cap)
{
    uint32_t n = w->out != NULL ? (uint32_t)strnlen(v, cap - 1) : 0;
    u32(w, &n);
    if (w->rc == TB_OK && n >= cap) {
        fail(w, "a text is too long");
    }
    if (w->rc != TB_OK) {
        return;
    }
    raw(w, v, n);
    if (reading(w)) {
        memset(v + n, 0, cap - n);
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)v[i] < ' ' || v[i] == 0x7f) {
            fail(w, "a text holds a control character");
        }
    }
}

static void name(walk *w, tb_name *v)
{
    text(w, v->text, sizeof v->text);
    if (reading(w) && !tb_name_valid(v->text)) {
        fail(w, "a name is not a name");
    }
}

static void labels(walk *w, tb_labels *v)
{
    text(w, v->text, sizeof v->text);
    if (reading(w) && !tb_labels_valid(v->text)) {
        fail(w, "labels are not in their one form");
    }
}

static void eligible(walk *w, tb_eligible *v)
{
    text(w, v->text, sizeof v->text);
    if (reading(w)) {
        tb_eligible read;
        w->rc = tb_eligible_read(&read, v->text, w->err);
        *v = read;
    }
}

static void model(walk *w, tb_model_ref *v)
{
    hash(w, &v->raw);
    u64(w, &v->raw_bytes);
    hash(w, &v->stored);
    u64(w, &v->stored_bytes);
}

static void metrics(walk *w, tb_metrics *v)
{
    f64(w, &v->train_loss);
    f64(w, &v->loss);
    f64(w, &v->accuracy);
    u64(w, &v->samples);
}

static void invited(walk *w, tb_record *r)
{
    tb_rec_invited *v = &r->u.invited;
    raw(w, v->invite, sizeof v->invite);
    raw(w, v->public_key, sizeof v->public_key);
    name(w, &v->client);
    u64(w, &v->expires_s);
    labels(w, &v->labels);
}

static void enrolled(walk *w, tb_record *r)
{
    tb_rec_enrolled *v = &r->u.enrolled;
    raw(w, v->invite, sizeof v->invite);
    name(w, &v->client);
    raw(w, v->sign_key, sizeof v->sign_key);
    raw(w, v->curve_key, sizeof v->curve_key);
    u64(w, &v->at_s);
}

static void rotated(walk *w, tb_record *r)
{
    tb_rec_rotated *v = &r->u.rotated;
    name(w, &v->client);
    v->step = (tb_rotation_step)choice(w, v->step, 1, TB_ROTATION_STEP_END);
    raw(w, v->sign_key, sizeof v->sign_key);
    raw(w, v->curve_key, sizeof v->curve_key);
    u64(w, &v->at_s);
    u64(w, &v->old_until_s);
}

static void move(walk *w, tb_move *v)
{
    uint8_t bytes[TB_MOVE_BYTES_MAX];
    uint32_t n = w->out != NULL ? (uint32_t)tb_move_encode(v, bytes) : 0;
    u32(w, &n);
    if (w->rc == TB_OK && n > sizeof bytes) {
        fail(w, "a move is too long");
        return;
    }
    raw(w, bytes, n);
    if (reading(w)) {
        w->rc = tb_move_decode(v, bytes, n, w->err);
    }
}

static void coordinator_key(walk *w, tb_record *r)
{
    tb_rec_coordinator_key *v = &r->u.coordinator_key;
    v->step = (tb_rotation_step)choice(w, v->step, 1, TB_ROTATION_STEP_END);
    move(w, &v->move);
    u64(w, &v->until_s);
    text(w, v->listen, sizeof v->listen);
    text(w, v->enrol, sizeof v->enrol);
}

static void revoked(walk *w, tb_record *r)
{
    name(w, &r->u.revoked.client);
    text(w, r->u.revoked.why, sizeof r->u.revoked.why);
}

static void labelled(walk *w, tb_record *r)
{
    name(w, &r->u.labelled.client);
    labels(w, &r->u.labelled.labels);
}

static void job_text(walk *w, tb_run_params *v)
{
    uint32_t n = (uint32_t)v->n_job;
    u32(w, &n);
    if (w->rc == TB_OK && n >= sizeof v->job_text) {
        fail(w, "the job text is too long");
    }
    if (w->rc == TB_OK) {
        raw(w, v->job_text, n);
        v->n_job = n;
    }
}

static void run_numbers(walk *w, tb_run_params *v)
{
    u64(w, &v->n_params);
    u64(w, &v->n_statistics);
    u64(w, &v->n_observed);
    u64(w, &v->seed);
    u32(w, &v->rounds);
    u32(w, &v->target);
    u32(w, &v->minimum);
    f64(w, &v->over_selection);
    f64(w, &v->server_lr);
    f32(w, &v->max_abs);
    f32(w, &v->calibrate_max_abs);
    u32(w, &v->max_weight);
    u64(w, &v->deadline_ms);
    u64(w, &v->select_ms);
    u64(w, &v->lost_ms);
    u32(w, &v->max_attempts);
    v->evaluate = (tb_where)choice(w, v->evaluate, 0, TB_WHERE_COUNT);
    v->calibrate = (tb_where)choice(w, v->calibrate, 0, TB_WHERE_COUNT);
    v->publish = (tb_publish)choice(w, v->publish, 0, TB_PUBLISH_COUNT);
    u32(w, &v->patience);
    f64(w, &v->min_delta);
    u32(w, &v->masked_from);
    v->mode = (tb_mode)choice(w, v->mode, 0, TB_MODE_COUNT);
    v->weights = (tb_weighting)choice(w, v->weights, 0, TB_WEIGHTS_COUNT);
    u32(w, &v->buffer);
    u32(w, &v->max_staleness);
}

static void run_started(walk *w, tb_record *r)
{
    if (reading(w)) {
        r->owned = tb_mem_array(1, sizeof *r->u.run_started);
        r->u.run_started = r->owned;
        if (r->owned == NULL) {
            w->rc = tb_fail(w->err, TB_E_NOMEM, "record: run");
            return;
        }
    }
    tb_run_params *v = r->u.run_started;
    raw(w, v->run.bytes, sizeof v->run.bytes);
    hash(w, &v->federation);
    hash(w, &v->job);
    name(w, &v->name);
    name(w, &v->data_set);
    eligible(w, &v->eligible);
    name(w, &v->codec);
    name(w, &v->strategy);
    raw(w, v->aggregation_key, sizeof v->aggregation_key);
    model(w, &v->model);
    run_numbers(w, v);
    job_text(w, v);
    if (reading(w)) {
        w->rc = tb_run_params_check(v, w->err);
    }
}

/* Room for the cohort and a copy of the configuration, in one piece. */
static void own_round(walk *w, tb_record *r)
{
    tb_rec_round_opened *v = &r->u.round_opened;
    if (v->n_clients > w->in.left / NAME_BYTES_LEAST ||
        v->n_clients > TB_COHORT_MAX) {
        fail(w, "a cohort is too large");
        return;
    }
    size_t names = v->n_clients * sizeof *v->clients;
    uint8_t *bytes = tb_mem_array(1, names + v->config.len);
    if (bytes == NULL) {
        w->rc =
            tb_fail(w->err, TB_E_NOMEM, "record: cohort of %u", v->n_clients);
        return;
    }
    r->owned = bytes;
    memcpy(bytes + names, v->config.data, v->config.len);
    v->config.data = bytes + names;
    v->clients = r->owned;
}

static void round_opened(walk *w, tb_record *r)
{
    tb_rec_round_opened *v = &r->u.round_opened;
    raw(w, v->run.bytes, sizeof v->run.bytes);
    u32(w, &v->round);
    u32(w, &v->attempt);
    v->task = (tb_task)choice(w, v->task, 0, TB_TASK_COUNT);
    uint32_t n = (uint32_t)v->config.len;
    u32(w, &n);
    if (w->rc == TB_OK && n > TB_CONFIG_BYTES_MAX) {
        fail(w, "a configuration is too long");
    }
    if (reading(w)) {
        w->rc = tb_cursor_take(&w->in, &v->config.data, n, w->err);
        v->config.len = n;
    } else if (w->rc == TB_OK) {
        w->rc = tb_buf_put(w->out, v->config.data, n, w->err);
    }
    u32(w, &v->n_clients);
    if (reading(w)) {
        own_round(w, r);
    }
    for (uint32_t i = 0; w->rc == TB_OK && i < v->n_clients; i++) {
        name(w, &v->clients[i]);
    }
}

static void clock_left(walk *w, tb_record *r)
{
    hash(w, &r->u.clock.config);
    u64(w, &r->u.clock.left_ms);
}

static void acceptance(walk *w, tb_rec_accepted *v)
{
    hash(w, &v->config);
    name(w, &v->client);
    raw(w, v->upload.bytes, sizeof v->upload.bytes);
    hash(w, &v->update);
    u32(w, &v->n_blocks);
    u32(w, &v->weight);
    u32(w, &v->full);
    u32(w, &v->staleness);
    if (w->rc == TB_OK && (v->weight == 0 || v->weight > v->full)) {
        fail(w, "a weight is 0, or more than whole");
    }
}

static void accepted(walk *w, tb_record *r)
{
    acceptance(w, &r->u.accepted);
}

static void expelled(walk *w, tb_record *r)
{
    tb_rec_expelled *v = &r->u.expelled;
    hash(w, &v->config);
    name(w, &v->client);
    v->code = (tb_refusal)choice(w, v->code, 1, TB_REFUSE_END);
}

static void purged(walk *w, tb_record *r)
{
    acceptance(w, &r->u.purged);
}

static void closed(walk *w, tb_record *r)
{
    hash(w, &r->u.closed.config);
    u32(w, &r->u.closed.n_accepted);
    text(w, r->u.closed.why, sizeof r->u.closed.why);
}

static void committed(walk *w, tb_record *r)
{
    tb_rec_committed *v = &r->u.committed;
    hash(w, &v->config);
    v->task = (tb_task)choice(w, v->task, 0, TB_TASK_COUNT);
    u32(w, &v->round);
    model(w, &v->result);
    metrics(w, &v->metrics);
    u32(w, &v->n_clients);
    u64(w, &v->weight);
}

static void abandoned(walk *w, tb_record *r)
{
    hash(w, &r->u.abandoned.config);
    text(w, r->u.abandoned.why, sizeof r->u.abandoned.why);
}

static void version(walk *w, tb_record *r)
{
    name(w, &r->u.version.model);
    u64(w, &r->u.version.sequence);
    hash(w, &r->u.version.manifest);
    raw(w, r->u.version.run.bytes, TB_RUN_ID_BYTES);
}

static void run_ended(walk *w, tb_record *r)
{
    tb_rec_run_ended *v = &r->u.run_ended;
    raw(w, v->run.bytes, sizeof v->run.bytes);
    v->outcome = (tb_outcome)choice(w, v->outcome, 1, TB_OUTCOME_END);
    model(w, &v->model);
    text(w, v->why, sizeof v->why);
}

static void run_paused(walk *w, tb_record *r)
{
    tb_rec_run_paused *v = &r->u.run_paused;
    raw(w, v->run.bytes, sizeof v->run.bytes);
    u64(w, &v->paused_s);
    text(w, v->why, sizeof v->why);
}

static void run_resumed(walk *w, tb_record *r)
{
    raw(w, r->u.run_resumed.run.bytes, TB_RUN_ID_BYTES);
}

static void run_cancelled(walk *w, tb_record *r)
{
    tb_rec_run_cancelled *v = &r->u.run_cancelled;
    raw(w, v->run.bytes, sizeof v->run.bytes);
    text(w, v->why, sizeof v->why);
}

static void left_over(walk *w, tb_record *r)
{
    tb_rec_left_over *v = &r->u.left_over;
    raw(w, v->run.bytes, sizeof v->run.bytes);
    u32(w, &v->n_updates);
    text(w, v->why, sizeof v->why);
}

static void restored(walk *w, tb_record *r)
{
    tb_rec_restored *v = &r->u.restored;
    u32(w, &v->epoch);
    raw(w, v->id, sizeof v->id);
    u64(w, &v->restored_s);
    if (w->rc == TB_OK && v->epoch == 0) {
        fail(w, "an epoch is 0");
    }
}

/* Both lists in one piece. */
static void own_swept(walk *w, tb_record *r)
{
    tb_rec_swept *v = &r->u.swept;
    size_t blobs = v->n_blobs * sizeof *v->blobs;
    uint8_t *bytes = tb_mem_array(1, blobs + v->n_runs * sizeof *v->runs + 1);
    if (bytes == NULL) {
        w->rc = tb_fail(w->err, TB_E_NOMEM, "record: %u blobs", v->n_blobs);
        return;
    }
    r->owned = bytes;
    v->blobs = r->owned;
    v->runs = (tb_run_id *)(void *)(bytes + blobs);
}

static void swept(walk *w, tb_record *r)
{
    tb_rec_swept *v = &r->u.swept;
    u32(w, &v->n_blobs);
    u32(w, &v->n_runs);
    if (w->rc == TB_OK &&
        (v->n_blobs > TB_SWEPT_MAX || v->n_runs > TB_SWEPT_MAX)) {
        fail(w, "too much is swept at once");
    }
    if (reading(w)) {
        own_swept(w, r);
    }
    for (uint32_t i = 0; w->rc == TB_OK && i < v->n_blobs; i++) {
        hash(w, &v->blobs[i]);
    }
    for (uint32_t i = 0; w->rc == TB_OK && i < v->n_runs; i++) {
        raw(w, v->runs[i].bytes, TB_RUN_ID_BYTES);
    }
}

static const struct {
    const char *name;
    void (*fields)(walk *w, tb_record *record);
} kinds[TB_REC_KIND_END] = {
    [TB_REC_INVITED] = {"invited", invited},
    [TB_REC_ENROLLED] = {"enrolled", enrolled},
    [TB_REC_REVOKED] = {"revoked", revoked},
    [TB_REC_RUN_STARTED] = {"run_started", run_started},
    [TB_REC_ROUND_OPENED] = {"round_opened", round_opened},
    [TB_REC_CLOCK] = {"clock", clock_left},
    [TB_REC_ACCEPTED] = {"accepted", accepted},
    [TB_REC_EXPELLED] = {"expelled", expelled},
    [TB_REC_CLOSED] = {"closed", closed},
    [TB_REC_COMMITTED] = {"committed", committed},
    [TB_REC_ABANDONED] = {"abandoned", abandoned},
    [TB_REC_VERSION] = {"version", version},
    [TB_REC_RUN_ENDED] = {"run_ended", run_ended},
    [TB_REC_RUN_PAUSED] = {"run_paused", run_paused},
    [TB_REC_RUN_RESUMED] = {"run_resumed", run_resumed},
    [TB_REC_RUN_CANCELLED] = {"run_cancelled", run_cancelled},
    [TB_REC_LEFT_OVER] = {"left_over", left_over},
    [TB_REC_RESTORED] = {"restored", restored},
    [TB_REC_SWEPT] = {"swept", swept},
    [TB_REC_ROTATED] = {"rotated", rotated},
    [TB_REC_COORDINATOR_KEY] = {"coordinator_key", coordinator_key},
    [TB_REC_PURGED] = {"purged", purged},
    [TB_REC_LABELLED] = {"labelled", labelled},
};

static bool known(uint32_t kind)
{
    return kind < TB_REC_KIND_END && kinds[kind].fields != NULL;
}

tb_rc tb_record_encode(const tb_record *record, tb_buf *out, tb_err *err)
{
    if (!known(record->kind)) {
        return tb_fail(err, TB_E_BUG, "record: kind %d", (int)record->kind);
    }
    size_t start = out->len;
    tb_record copy = *record; /* the walk may write where it reads */
    walk w = {.out = out, .err = err};
    w.rc = tb_buf_put_u8(out, RECORD_VERSION, err);
    kinds[record->kind].fields(&w, &copy);
    if (w.rc == TB_OK && out->len - start > TB_RECORD_BYTES_MAX) {
        w.rc = tb_fail(err, TB_E_LIMIT, "record: %zu bytes", out->len - start);
    }
    if (w.rc != TB_OK) {
        out->len = start;
    }
    return w.rc;
}

tb_rc tb_record_decode(tb_record *out, uint32_t kind, const uint8_t *bytes,
                       size_t len, tb_err *err)
{
    *out = (tb_record){0};
    if (!known(kind) || len > TB_RECORD_BYTES_MAX) {
        return tb_fail(err, known(kind) ? TB_E_LIMIT : TB_E_UNSUPPORTED,
                       "record: kind %u of %zu bytes", kind, len);
    }
    walk w = {.in = {bytes, len}, .err = err};
    uint8_t v = 0;
    w.rc = tb_cursor_u8(&w.in, &v, err);
    if (w.rc == TB_OK && v != RECORD_VERSION) {
        w.rc = tb_fail(err, TB_E_UNSUPPORTED, "record: version %u", v);
    }
    out->kind = (tb_record_kind)kind;
    if (w.rc == TB_OK) {
        kinds[kind].fields(&w, out);
    }
    if (w.rc == TB_OK && w.in.left > 0) {
        fail(&w, "bytes behind its end");
    }
    if (w.rc != TB_OK) {
        (void)tb_err_prefix(err, w.rc, "%s", kinds[kind].name);
        tb_record_release(out);
    }
    return w.rc;
}

void tb_record_release(tb_record *record)
{
    tb_mem_free(record->owned);
    *record = (tb_record){0};
}

const char *tb_record_kind_name(uint32_t kind)
{
    return known(kind) ? kinds[kind].name : "unknown";
}
