/* Selection: who could take part, who is ready, and the seeded choice that
 * opens a round. */
#include <stdio.h>

#include "base/mem.h"
#include "fed/coordinator_priv.h"
#include "fed/select.h"

#define RECOUNT_MS 1000
#define MISSED_MAX 3 /* rounds in a row */

/* How the clients of a run stand, as it sees them. */
typedef struct count {
    uint32_t here;     /* connected, eligible, free, and not claimed */
    uint32_t expected; /* of them: those that are waited for */
    uint32_t ready;    /* of them: checked in; for a buffer that is not asked */
    uint32_t held;     /* eligible, but in a round of another run, or claimed */
    uint32_t hope;     /* of all eligible: checked in, or likely to, soon */
} count;

/* Whether a run that has its turn before this one waits for the client: it may
 * gather clients one by one while others take them in smaller lots. */
bool tb_co_claimed(const tb_coordinator *co, const tb_run *run,
                   const tb_row *row)
{
    for (size_t i = 0; i < co->n_runs && co->turns[i] != run; i++) {
        if (co->turns[i]->claims && tb_co_eligible(co->turns[i], row)) {
            return true;
        }
    }
    return false;
}

static bool is_ready(const tb_coordinator *co, const tb_run *run,
                     const tb_row *row)
{
    return row->ready && row->seat == NULL && tb_co_eligible(run, row) &&
           !tb_co_claimed(co, run, row);
}

/* A client that is through with a round checks in again a little later. */
static bool is_likely(const tb_coordinator *co, const tb_row *row)
{
    return row->ready || row->seat != NULL ||
           co->now < tb_co_later(row->active_ms, 2 * tb_co_pace_max(co));
}

/* Whether a round waits for it, while its target is here already. Not for one
 * that only stays connected, nor for one that never gives anything: it would
 * cost each round the run's patience. When it is ready it may take part. */
static bool is_expected(const tb_coordinator *co, const tb_run *run,
                        const tb_row *row)
{
    return row->ready || tb_co_buffered(run) ||
           (row->n_missed < MISSED_MAX && is_likely(co, row));
}

static count count_clients(const tb_coordinator *co, const tb_run *run)
{
    count n = {0};
    for (size_t i = 0; i < co->n_rows; i++) {
        const tb_row *row = co->rows[i];
        if (!tb_co_eligible(run, row)) {
            continue;
        }
        bool flies = row->seat != NULL && row->seat->flight &&
                     row->seat->run == run && tb_co_buffered(run);
        bool held =
            !flies && (row->seat != NULL || tb_co_claimed(co, run, row));
        n.held += held;
        n.here += !held;
        n.expected += !held && is_expected(co, run, row);
        n.ready += !held && (row->ready || tb_co_buffered(run));
        n.hope += is_likely(co, row);
    }
    return n;
}

/* Opens the round with these clients; they may be none. */
static void open_with(tb_coordinator *co, const tb_round_config *config,
                      tb_name *names, uint32_t n)
{
    tb_buf bytes;
    tb_buf_init(&bytes, TB_CONFIG_BYTES_MAX);
    co->rc = tb_round_config_encode(config, &bytes, co->err);
    if (co->rc == TB_OK) {
        tb_record record = {
            .kind = TB_REC_ROUND_OPENED,
            .u.round_opened = {.run = config->run,
                               .round = config->round,
                               .attempt = config->attempt,
                               .task = config->task,
                               .config = {bytes.data, bytes.len},
                               .n_clients = n,
                               .clients = names}};
        (void)tb_co_journal(co, &record);
    }
    tb_buf_release(&bytes);
}

static void ask(tb_coordinator *co, const tb_run *run,
                const tb_row *const *ready, uint32_t n, uint32_t n_ready)
{
    uint32_t *index = tb_mem_array(n_ready, sizeof *index);
    tb_name *names = tb_mem_array(n, sizeof *names);
    tb_round_config *config = tb_mem_array(1, sizeof *config);
    if (index == NULL || names == NULL || config == NULL) {
        tb_co_fail(co, TB_E_NOMEM, "a cohort");
        goto done;
    }
    co->rc = tb_co_configure(co, run, config, co->err);
    if (co->rc != TB_OK) {
        goto done;
    }
    tb_select(index, n, n_ready, config->seed, config->round, config->attempt);
    for (uint32_t i = 0; i < n; i++) {
        names[i] = ready[index[i]]->name;
    }
    open_with(co, config, names, n);
done:
    tb_mem_free(config);
    tb_mem_free(names);
    tb_mem_free(index);
}

/* Chooses n of those who are ready and opens the round with them. */
static void choose(tb_coordinator *co, const tb_run *run, uint32_t n_ready,
                   uint32_t n)
{
    const tb_row **ready = tb_mem_array(n_ready, sizeof *ready);
    if (ready == NULL) {
        tb_co_fail(co, TB_E_NOMEM, "a cohort");
        return;
    }
    uint32_t k = 0;
    for (size_t i = 0; i < co->n_rows && k < n_ready; i++) {
        if (is_ready(co, run, co->rows[i])) {
            ready[k++] = co->rows[i];
        }
    }
    ask(co, run, ready, n, k);
    tb_mem_free(ready);
}

/* While others hold the clients that it lacks, a run's own patience does not
 * run out: it would open a small round as soon as the first of them is back. */
static void gather(const tb_coordinator *co, tb_run *run, const count *n)
{
    bool blocked = n->ready < run->params->minimum && n->held > 0;
    if (blocked || run->blocked) {
        run->gather_ms = co->now;
    }
    run->blocked = blocked;
}

static bool is_late(const tb_coordinator *co, const tb_run *run)
{
    return co->now >= tb_co_later(run->gather_ms, run->params->select_ms);
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* How many clients must change, after this count of the only run, before a
 * round can open or its claim can change: counting a large fleet at each
 * check-in would cost its square. */
static uint32_t unchanged(const tb_run *run, const count *n)
{
    const tb_run_params *p = run->params;
    uint32_t claim =
        n->hope < p->minimum ? p->minimum - n->hope : n->hope - p->minimum + 1;
    uint32_t target = run->late ? p->minimum : tb_run_wanted(p);
    if (n->ready < target) {
        return least(claim, target - n->ready);
    }
    uint32_t wanted = tb_select_wanted(tb_run_wanted(p), p->over_selection);
    return least(claim, least(n->expected - n->ready, wanted - n->ready));
}

bool tb_co_select(tb_coordinator *co, tb_run *run)
{
    const tb_run_params *p = run->params;
    bool again = run->claims && co->now >= run->count_ms;
    if (co->census < run->census && !again &&
        (run->late || !is_late(co, run))) {
        return false;
    }
    count n = count_clients(co, run);
    bool buffered = tb_co_buffered(run);
    uint32_t target = tb_run_wanted(p);
    uint32_t wanted =
        buffered ? target : tb_select_wanted(target, p->over_selection);
    bool all = n.ready == n.expected && n.ready >= target;
    run->census = co->census + 1;
    run->count_ms = tb_co_later(co->now, RECOUNT_MS);
    gather(co, run, &n);
    run->late = is_late(co, run);
    if (n.ready >= wanted || all || (run->late && n.ready >= p->minimum)) {
        uint32_t asked = n.ready < wanted ? n.ready : wanted;
        if (buffered) { /* it opens for nobody in particular */
            ask(co, run, NULL, 0, 0);
        } else {
            choose(co, run, n.ready, asked);
        }
        return true;
    }
    bool claims = n.hope >= p->minimum && !buffered;
    if (claims != run->claims) {
        run->claims = claims;
        co->census++; /* the runs behind it count anew */
        run->census = co->census + 1;
    }
    if (co->n_runs == 1) {
        run->census = co->census + unchanged(run, &n);
    }
    return false;
}

void tb_co_waits_clients(const tb_coordinator *co, const tb_run *run,
                         char out[static TB_TEXT_BYTES])
{
    const tb_run_params *p = run->params;
    const char *labels = p->eligible.n > 0 ? p->eligible.text : "any";
    count n = count_clients(co, run);
    uint32_t n_connected = 0;
    for (size_t i = 0; i < co->n_rows; i++) {
        n_connected += co->rows[i]->connected && !co->rows[i]->revoked;
    }
    char held[64] = "";
    if (n.held > 0) {
        (void)snprintf(held, sizeof held, ", %u held by other jobs", n.held);
    }
    (void)snprintf(out, TB_TEXT_BYTES,
                   "%u of %u connected clients are eligible (data.set: %.40s; "
                   "eligible: %.60s), %u of them ready%s; cohort.minimum: %u",
                   n.here + n.held, n_connected, p->data_set.text, labels,
                   n.ready, held, p->minimum);
}
