#include "chronicle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

#define RUN_HEX_BYTES (2 * TB_RUN_ID_BYTES + 1)

static void hex_of(const tb_run_id *run, char out[static RUN_HEX_BYTES])
{
    for (size_t i = 0; i < TB_RUN_ID_BYTES; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", run->bytes[i]);
    }
}

static const char *task_name(tb_task task)
{
    static const char *const names[TB_TASK_COUNT] = {
        [TB_TASK_TRAIN] = "train",
        [TB_TASK_EVALUATE] = "evaluate",
        [TB_TASK_CALIBRATE] = "calibrate"};
    return (size_t)task < TB_TASK_COUNT && names[task] != NULL ? names[task]
                                                               : "?";
}

static tb_chronicle_round *find(const tb_chronicle *c, const tb_hash *config)
{
    size_t n = c->n < TB_CHRONICLE_ROUNDS ? c->n : TB_CHRONICLE_ROUNDS;
    for (size_t i = 0; i < n; i++) { /* the newest first */
        size_t at = (c->n - 1 - i) % TB_CHRONICLE_ROUNDS;
        if (tb_hash_equal(&c->rounds[at].config, config)) {
            return &c->rounds[at];
        }
    }
    return NULL;
}

const tb_chronicle_round *tb_chronicle_find(const tb_chronicle *c,
                                            const tb_hash *config)
{
    return find(c, config);
}

tb_rc tb_chronicle_add(tb_chronicle *c, const tb_record *record, tb_err *err)
{
    if (record->kind != TB_REC_ROUND_OPENED) {
        return TB_OK;
    }
    if (c->rounds == NULL) {
        c->rounds = tb_mem_array(TB_CHRONICLE_ROUNDS, sizeof *c->rounds);
    }
    if (c->rounds == NULL) {
        return tb_fail(err, TB_E_NOMEM, "names of rounds");
    }
    const tb_rec_round_opened *r = &record->u.round_opened;
    c->rounds[c->n++ % TB_CHRONICLE_ROUNDS] = (tb_chronicle_round){
        .config = tb_hash_of(r->config.data, r->config.len),
        .run = r->run,
        .round = r->round,
        .attempt = r->attempt};
    return TB_OK;
}

void tb_chronicle_release(tb_chronicle *c)
{
    tb_mem_free(c->rounds);
    *c = (tb_chronicle){0};
}

/* --- rows ----------------------------------------------------------------- */

/* A row of a round: the round's names, zeros where they are not known. */
typedef struct place {
    char run[RUN_HEX_BYTES];
    uint32_t round;
    double seconds; /* since it opened; 0: not known */
} place;

static place place_of(const tb_chronicle *c, const tb_hash *config,
                      int64_t now_ms)
{
    place p = {.run = ""};
    const tb_chronicle_round *r = find(c, config);
    if (r != NULL) {
        hex_of(&r->run, p.run);
        p.round = r->round;
        p.seconds =
            r->opened_ms > 0 ? (double)(now_ms - r->opened_ms) / 1e3 : 0.0;
    }
    return p;
}

typedef void tell_fn(tb_chronicle *c, const tb_record *record, int64_t now_ms);

static void tell_opened(tb_chronicle *c, const tb_record *record,
                        int64_t now_ms)
{
    const tb_rec_round_opened *r = &record->u.round_opened;
    char run[RUN_HEX_BYTES];
    hex_of(&r->run, run);
    c->rounds[(c->n - 1) % TB_CHRONICLE_ROUNDS].opened_ms = now_ms;
    tb_log(TB_LOG_INFO,
           "event=round_opened run=%s round=%u attempt=%u task=%s clients=%u",
           run, r->round, r->attempt, task_name(r->task), r->n_clients);
}

static void tell_accepted(tb_chronicle *c, const tb_record *record,
                          int64_t now_ms)
{
    const tb_rec_accepted *a = &record->u.accepted;
    place p = place_of(c, &a->config, now_ms);
    c->n_accepted++;
    tb_log(TB_LOG_INFO,
           "event=update_accepted run=%s round=%u client=%s weight=%u "
           "staleness=%u",
           p.run, p.round, a->client.text, a->weight, a->staleness);
}

static void tell_expelled(tb_chronicle *c, const tb_record *record,
                          int64_t now_ms)
{
    const tb_rec_expelled *e = &record->u.expelled;
    place p = place_of(c, &e->config, now_ms);
    c->n_expelled++;
    tb_log(TB_LOG_WARN,
           "event=update_refused run=%s round=%u client=%s reason=%s", p.run,
           p.round, e->client.text, tb_refusal_name(e->code));
}

static void tell_closed(tb_chronicle *c, const tb_record *record,
                        int64_t now_ms)
{
    const tb_rec_closed *r = &record->u.closed;
    place p = place_of(c, &r->config, now_ms);
    tb_log(TB_LOG_INFO,
           "event=round_closed run=%s round=%u updates=%u why=\"%s\"", p.run,
           p.round, r->n_accepted, r->why);
}

static void tell_committed(tb_chronicle *c, const tb_record *record,
                           int64_t now_ms)
{
    const tb_rec_committed *r = &record->u.committed;
    place p = place_of(c, &r->config, now_ms);
    c->n_committed++;
    tb_log(TB_LOG_INFO,
           "event=round_committed run=%s round=%u task=%s clients=%u "
           "weight=%" PRIu64 " accuracy=%.4f loss=%.4f seconds=%.3f",
           p.run, p.round, task_name(r->task), r->n_clients, r->weight,
           r->metrics.accuracy, r->metrics.loss, p.seconds);
}

static void tell_abandoned(tb_chronicle *c, const tb_record *record,
                           int64_t now_ms)
{
    place p = place_of(c, &record->u.abandoned.config, now_ms);
    c->n_abandoned++;
    tb_log(TB_LOG_WARN, "event=round_abandoned run=%s round=%u why=\"%s\"",
           p.run, p.round, record->u.abandoned.why);
}

static void tell_started(tb_chronicle *c, const tb_record *record,
                         int64_t now_ms)
{
    const tb_run_params *p = record->u.run_started;
    char run[RUN_HEX_BYTES];
    (void)c;
    (void)now_ms;
    hex_of(&p->run, run);
    tb_log(TB_LOG_INFO, "event=run_started run=%s job=%s rounds=%u", run,
           p->name.text, p->rounds);
}

static void tell_ended(tb_chronicle *c, const tb_record *record, int64_t now_ms)
{
    const tb_rec_run_ended *e = &record->u.run_ended;
    char run[RUN_HEX_BYTES];
    (void)c;
    (void)now_ms;
    hex_of(&e->run, run);
    tb_log(TB_LOG_INFO, "event=run_ended run=%s outcome=%s why=\"%s\"", run,
           tb_outcome_name(e->outcome), e->why);
}

static void tell_invited(tb_chronicle *c, const tb_record *record,
                         int64_t now_ms)
{
    (void)c;
    (void)now_ms;
    tb_log(TB_LOG_INFO, "event=invited client=%s",
           record->u.invited.client.text);
}

static void tell_enrolled(tb_chronicle *c, const tb_record *record,
                          int64_t now_ms)
{
    (void)now_ms;
    c->n_enrolled++;
    tb_log(TB_LOG_INFO, "event=enrolled client=%s",
           record->u.enrolled.client.text);
}

static void tell_revoked(tb_chronicle *c, const tb_record *record,
                         int64_t now_ms)
{
    (void)c;
    (void)now_ms;
    tb_log(TB_LOG_WARN, "event=revoked client=%s why=\"%s\"",
           record->u.revoked.client.text, record->u.revoked.why);
}

static void tell_version(tb_chronicle *c, const tb_record *record,
                         int64_t now_ms)
{
    (void)c;
    (void)now_ms;
    tb_log(TB_LOG_INFO, "event=version model=%s sequence=%" PRIu64,
           record->u.version.model.text, record->u.version.sequence);
}

static void tell_paused(tb_chronicle *c, const tb_record *record,
                        int64_t now_ms)
{
    char run[RUN_HEX_BYTES];
    (void)c;
    (void)now_ms;
    hex_of(&record->u.run_paused.run, run);
    tb_log(TB_LOG_INFO, "event=run_paused run=%s why=\"%s\"", run,
           record->u.run_paused.why);
}

static void tell_resumed(tb_chronicle *c, const tb_record *record,
                         int64_t now_ms)
{
    char run[RUN_HEX_BYTES];
    (void)c;
    (void)now_ms;
    hex_of(&record->u.run_resumed.run, run);
    tb_log(TB_LOG_INFO, "event=run_resumed run=%s", run);
}

static void tell_cancelled(tb_chronicle *c, const tb_record *record,
                           int64_t now_ms)
{
    char run[RUN_HEX_BYTES];
    (void)c;
    (void)now_ms;
    hex_of(&record->u.run_cancelled.run, run);
    tb_log(TB_LOG_INFO, "event=run_cancelled run=%s why=\"%s\"", run,
           record->u.run_cancelled.why);
}

static void tell_left_over(tb_chronicle *c, const tb_record *record,
                           int64_t now_ms)
{
    const tb_rec_left_over *l = &record->u.left_over;
    char run[RUN_HEX_BYTES];
    (void)c;
    (void)now_ms;
    hex_of(&l->run, run);
    tb_log(TB_LOG_WARN, "event=left_over run=%s updates=%u why=\"%s\"", run,
           l->n_updates, l->why);
}

static void tell_purged(tb_chronicle *c, const tb_record *record,
                        int64_t now_ms)
{
    place p = place_of(c, &record->u.purged.config, now_ms);
    tb_log(TB_LOG_WARN, "event=update_purged run=%s round=%u client=%s", p.run,
           p.round, record->u.purged.client.text);
}

static void tell_rotated(tb_chronicle *c, const tb_record *record,
                         int64_t now_ms)
{
    const tb_rec_rotated *r = &record->u.rotated;
    (void)c;
    (void)now_ms;
    tb_log(TB_LOG_INFO, "event=rotated client=%s step=%s", r->client.text,
           r->step == TB_ROTATION_PROVEN ? "proven" : "in_use");
}

static void tell_labelled(tb_chronicle *c, const tb_record *record,
                          int64_t now_ms)
{
    (void)c;
    (void)now_ms;
    tb_log(TB_LOG_INFO, "event=labelled client=%s labels=\"%s\"",
           record->u.labelled.client.text, record->u.labelled.labels.text);
}

/* Each ten seconds of a round, and says nothing new. */
static void tell_nothing(tb_chronicle *c, const tb_record *record,
                         int64_t now_ms)
{
    (void)c;
    (void)record;
    (void)now_ms;
}

static tell_fn *const tellers[TB_REC_KIND_END] = {
    [TB_REC_INVITED] = tell_invited,
    [TB_REC_ENROLLED] = tell_enrolled,
    [TB_REC_REVOKED] = tell_revoked,
    [TB_REC_RUN_STARTED] = tell_started,
    [TB_REC_ROUND_OPENED] = tell_opened,
    [TB_REC_CLOCK] = tell_nothing,
    [TB_REC_ACCEPTED] = tell_accepted,
    [TB_REC_EXPELLED] = tell_expelled,
    [TB_REC_CLOSED] = tell_closed,
    [TB_REC_COMMITTED] = tell_committed,
    [TB_REC_ABANDONED] = tell_abandoned,
    [TB_REC_VERSION] = tell_version,
    [TB_REC_RUN_ENDED] = tell_ended,
    [TB_REC_RUN_PAUSED] = tell_paused,
    [TB_REC_RUN_RESUMED] = tell_resumed,
    [TB_REC_RUN_CANCELLED] = tell_cancelled,
    [TB_REC_LEFT_OVER] = tell_left_over,
    [TB_REC_PURGED] = tell_purged,
    [TB_REC_ROTATED] = tell_rotated,
    [TB_REC_LABELLED] = tell_labelled};

void tb_chronicle_tell(tb_chronicle *c, const tb_record *record, uint64_t seq,
                       int64_t now_ms)
{
    tell_fn *tell = tellers[record->kind];
    if (tell != NULL) {
        tell(c, record, now_ms);
    } else {
        tb_log(TB_LOG_INFO, "event=%s row=%" PRIu64,
               tb_record_kind_name(record->kind), seq);
    }
}
