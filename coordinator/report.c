#include "report.h"

#include <stdio.h>

#include "live.h"
#include "wire/manifest.h"

/* Members go in one after the other; the first failure sticks. */
typedef struct writer {
    tb_json *object;
    tb_rc rc;
    tb_err *err;
} writer;

static writer begin(tb_err *err)
{
    return (writer){.object = tb_json_object(), .rc = TB_OK, .err = err};
}

static void text(writer *w, const char *key, const char *v)
{
    if (w->rc == TB_OK) {
        w->rc = tb_json_put_text(w->object, key, v, w->err);
    }
}

static void number(writer *w, const char *key, uint64_t v)
{
    if (w->rc == TB_OK) {
        w->rc = tb_json_put_int(w->object, key, (int64_t)v, w->err);
    }
}

static void real(writer *w, const char *key, double v)
{
    if (w->rc == TB_OK) {
        w->rc = tb_json_put_float(w->object, key, v, w->err);
    }
}

static void flag(writer *w, const char *key, bool v)
{
    if (w->rc == TB_OK) {
        w->rc = tb_json_put_bool(w->object, key, v, w->err);
    }
}

static void hash(writer *w, const char *key, const tb_hash *v)
{
    char hex[TB_HASH_HEX_BYTES];
    tb_hash_hex(v, hex);
    text(w, key, hex);
}

static void run_id(writer *w, const tb_run_id *run)
{
    char hex[TB_RUN_HEX_BYTES];
    tb_run_hex(run, hex);
    text(w, "run", hex);
}

static tb_rc end(writer *w, tb_json **out)
{
    if (w->rc == TB_OK) {
        *out = w->object;
    } else {
        *out = NULL;
        tb_json_free(&w->object);
    }
    return w->rc;
}

/* Appends an object that was written to an array. */
static tb_rc append(tb_json *array, writer *w, tb_err *err)
{
    tb_json *object = NULL;
    tb_rc rc = end(w, &object);
    return rc == TB_OK ? tb_json_append(array, &object, err) : rc;
}

/* --- status --------------------------------------------------------------- */

static const char *state_of(const tb_run_status *s)
{
    return s->cancelled ? "cancelling"
           : s->paused  ? "paused"
           : s->queued  ? "queued"
                        : "running";
}

/* A run that was stopped by an operator waits for one, else for the daemon. */
static const char *waits_of(const tb_run_status *s, bool running)
{
    return running || s->paused
               ? s->waits_for
               : "the daemon, which does not run: tributaryd run";
}

static void put_run(writer *w, const tb_run_status *s,
                    const tb_report_live *live)
{
    run_id(w, &s->run);
    text(w, "job", s->name.text);
    text(w, "state", state_of(s));
    text(w, "phase", tb_phase_name(s->phase));
    text(w, "waits_for", waits_of(s, live->running));
    if (s->queued > 0) {
        number(w, "queued", s->queued);
    }
    if (s->paused) {
        number(w, "paused_since", s->paused_s);
    }
    number(w, "round", s->round);
    number(w, "rounds", s->rounds);
    number(w, "attempt", s->attempt);
    flag(w, "buffered", s->buffered);
    number(w, "asked", s->n_asked);
    number(w, "accepted", s->n_accepted);
    number(w, "wanted", s->n_wanted);
    number(w, "minimum", s->n_minimum);
    if (live->running) {
        number(w, "phase_ms", (uint64_t)(live->now_ms - s->since_ms));
    }
    real(w, "accuracy", s->metrics.accuracy);
    real(w, "loss", s->metrics.loss);
    real(w, "train_loss", s->metrics.train_loss);
    number(w, "best_round", s->best_round);
    real(w, "best_accuracy", s->best_metrics.accuracy);
    if (s->model.raw_bytes > 0) {
        hash(w, "model", &s->model.raw);
    }
}

/* "runs": what lives, in the order of its start. */
static void put_runs(writer *w, const tb_state *state,
                     const tb_report_live *live)
{
    static tb_run_status s; /* large; only the owner's thread comes here */
    tb_json *array = tb_json_array();
    for (size_t i = 0;
         w->rc == TB_OK && tb_coordinator_run_status(state->machine, i, &s);
         i++) {
        writer inner = begin(w->err);
        put_run(&inner, &s, live);
        w->rc = append(array, &inner, w->err);
    }
    if (w->rc == TB_OK) {
        w->rc = tb_json_put(w->object, "runs", &array, w->err);
    }
    tb_json_free(&array);
}

static void put_last(writer *w, const tb_history *h)
{
    const tb_run_history *last = tb_history_newest(h);
    if (last != NULL && last->ended) {
        text(w, "last_job", last->name.text);
        text(w, "last_outcome", tb_outcome_name(last->outcome));
        text(w, "last_why", last->why);
    }
}

static void put_live(writer *w, const tb_report_live *live)
{
    text(w, "endpoint", live->endpoint);
    text(w, "enrol_endpoint", live->enrol_endpoint);
    number(w, "bytes_in", live->bytes_in);
    number(w, "bytes_out", live->bytes_out);
    number(w, "messages_in", live->messages_in);
    number(w, "connections", live->connections);
    number(w, "denied", live->denied);
    number(w, "dropped", live->dropped);
    number(w, "cut", live->cut);
}

static void put_refusals(writer *w, const tb_status *s)
{
    writer inner = begin(w->err);
    for (int code = 1; code < TB_REFUSE_END; code++) {
        if (s->n_refused[code] > 0) {
            number(&inner, tb_refusal_name((tb_refusal)code),
                   s->n_refused[code]);
        }
    }
    tb_json *object = NULL;
    tb_rc rc = end(&inner, &object);
    if (rc == TB_OK && w->rc == TB_OK) {
        w->rc = tb_json_put(w->object, "refused", &object, w->err);
    }
    tb_json_free(&object);
}

tb_rc tb_report_status(tb_json **out, const tb_state *state,
                       const tb_report_live *live, tb_err *err)
{
    tb_status s;
    tb_coordinator_status(state->machine, &s);
    writer w = begin(err);
    flag(&w, "running", live->running);
    if (live->stalled) {
        text(&w, "waits_for",
             "the disk is full: free some space and it goes on");
    } else if (s.n_runs == 0) {
        text(&w, "waits_for", "a job: tributaryd start JOB");
    }
    number(&w, "enrolled", s.n_enrolled);
    number(&w, "connected", s.n_connected);
    number(&w, "ready", s.n_ready);
    put_runs(&w, state, live);
    if (s.n_runs == 0) {
        put_last(&w, &state->history);
    }
    if (live->running) {
        put_live(&w, live);
        put_refusals(&w, &s);
    }
    number(&w, "journal_rows", tb_store_head(state->store, NULL));
    return end(&w, out);
}

/* --- jobs ----------------------------------------------------------------- */

static tb_rc put_ended(tb_json *array, const tb_run_history *run, tb_err *err)
{
    writer w = begin(err);
    text(&w, "job", run->name.text);
    run_id(&w, &run->run);
    text(&w, "state", tb_outcome_name(run->outcome));
    number(&w, "rounds", run->rounds);
    text(&w, "why", run->why);
    return append(array, &w, err);
}

tb_rc tb_report_jobs(tb_json **out, const tb_state *state, bool running,
                     tb_err *err)
{
    static tb_run_status s; /* large; only the owner's thread comes here */
    tb_json *array = tb_json_array();
    const tb_history *h = &state->history;
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < h->n; i++) {
        rc = h->runs[i].ended ? put_ended(array, &h->runs[i], err) : TB_OK;
    }
    for (size_t i = 0;
         rc == TB_OK && tb_coordinator_run_status(state->machine, i, &s); i++) {
        writer w = begin(err);
        text(&w, "job", s.name.text);
        run_id(&w, &s.run);
        text(&w, "state", state_of(&s));
        number(&w, "round", s.round);
        number(&w, "rounds", s.rounds);
        text(&w, "why", waits_of(&s, running));
        rc = append(array, &w, err);
    }
    if (rc != TB_OK) {
        tb_json_free(&array);
    }
    *out = array;
    return rc;
}

/* --- lists ---------------------------------------------------------------- */

tb_rc tb_report_clients(tb_json **out, const tb_state *state, tb_err *err)
{
    tb_member m;
    tb_json *array = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t i = 0;
         rc == TB_OK && tb_coordinator_member(state->machine, i, &m); i++) {
        writer w = begin(err);
        text(&w, "client", m.client.text);
        text(&w, "state",
             m.revoked ? "revoked" : (m.connected ? "connected" : "away"));
        flag(&w, "ready", m.ready);
        text(&w, "labels", m.labels.text);
        text(&w, "reported", m.reported.text);
        number(&w, "accepted", m.n_accepted);
        number(&w, "expelled", m.n_expelled);
        rc = append(array, &w, err);
    }
    if (rc != TB_OK) {
        tb_json_free(&array);
    }
    *out = array;
    return rc;
}

static tb_rc put_artefacts(writer *w, const tb_manifest *m, tb_err *err)
{
    tb_json *array = tb_json_array();
    tb_rc rc = TB_OK;
    for (uint32_t i = 0; i < m->n_artefacts && rc == TB_OK; i++) {
        const tb_artefact *a = &m->artefacts[i];
        writer inner = begin(err);
        text(&inner, "stage", tb_artefact_role_name(a->role));
        number(&inner, "stored_bytes", a->stored_bytes);
        number(&inner, "onnx_bytes", a->raw_bytes);
        if (m->metrics.n_samples > 0) {
            real(&inner, "accuracy", (double)a->accuracy);
        }
        real(&inner, "sparsity", (double)a->sparsity);
        hash(&inner, "hash", &a->raw);
        rc = append(array, &inner, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(w->object, "artefacts", &array, err);
    }
    tb_json_free(&array);
    return rc;
}

static tb_rc put_version(tb_json *array, tb_state *state,
                         const tb_rec_version *version, tb_err *err)
{
    tb_manifest m = {0};
    tb_buf bytes;
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    tb_rc rc = tb_state_blob_find(state, &version->manifest, &bytes, err);
    if (rc == TB_OK) {
        rc = tb_manifest_decode(&m, bytes.data, bytes.len, err);
    }
    if (rc == TB_OK) {
        writer w = begin(err);
        text(&w, "model", m.name.text);
        number(&w, "sequence", m.sequence);
        flag(&w, "current",
             tb_registry_find(&state->registry, &m.name, 0) == version);
        number(&w, "created", m.created_s);
        text(&w, "standard", tb_artefact_role_name(m.standard));
        flag(&w, "served", m.served);
        number(&w, "samples", m.metrics.n_samples);
        real(&w, "loss", (double)m.metrics.loss);
        run_id(&w, &m.run);
        if (w.rc == TB_OK) {
            w.rc = put_artefacts(&w, &m, err);
        }
        rc = append(array, &w, err);
    }
    tb_manifest_release(&m);
    tb_buf_release(&bytes);
    return rc;
}

tb_rc tb_report_models(tb_json **out, tb_state *state, tb_err *err)
{
    tb_json *array = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < state->registry.n && rc == TB_OK; i++) {
        rc = put_version(array, state, &state->registry.at[i], err);
    }
    if (rc != TB_OK) {
        tb_json_free(&array);
    }
    *out = array;
    return rc;
}

/* --- rounds --------------------------------------------------------------- */

tb_rc tb_report_round(tb_json **out, const tb_run_history *run, size_t i,
                      tb_err *err)
{
    const tb_round_line *line = &run->at[i];
    writer w = begin(err);
    text(&w, "event", "round");
    text(&w, "job", run->name.text);
    run_id(&w, &run->run);
    number(&w, "round", line->round);
    number(&w, "rounds", run->rounds);
    real(&w, "accuracy", line->metrics.accuracy);
    real(&w, "loss", line->metrics.loss);
    real(&w, "train_loss", line->metrics.train_loss);
    number(&w, "in", line->n_in);
    number(&w, "asked", line->n_asked);
    if (line->seen) {
        number(&w, "bytes_up", line->bytes_up);
        number(&w, "bytes_down", line->bytes_down);
        real(&w, "seconds", line->seconds);
    }
    hash(&w, "model", &line->model);
    return end(&w, out);
}

tb_rc tb_report_end(tb_json **out, const tb_run_history *run, tb_err *err)
{
    writer w = begin(err);
    text(&w, "event", "end");
    text(&w, "job", run->name.text);
    run_id(&w, &run->run);
    text(&w, "outcome", tb_outcome_name(run->outcome));
    text(&w, "why", run->why);
    return end(&w, out);
}
