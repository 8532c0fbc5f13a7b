/* Selection: who could take part, who is ready, and the seeded choice that
 * opens a round. */
#include "fed/select.h"

#include "base/mem.h"
#include "fed/coordinator_priv.h"

static bool is_ready(const tb_run *run, const tb_row *row)
{
    return row->ready && tb_co_eligible(run, row);
}

static void ask(tb_coordinator *co, const tb_run *run,
                const tb_row *const *ready, uint32_t n, uint32_t n_ready);

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
        if (is_ready(run, co->rows[i])) {
            ready[k++] = co->rows[i];
        }
    }
    ask(co, run, ready, n, k);
    tb_mem_free(ready);
}

static void ask(tb_coordinator *co, const tb_run *run,
                const tb_row *const *ready, uint32_t n, uint32_t n_ready)
{
    tb_record record = {.kind = TB_REC_ROUND_OPENED};
    tb_rec_round_opened *opened = &record.u.round_opened;
    uint32_t *index = tb_mem_array(n_ready, sizeof *index);
    tb_name *names = tb_mem_array(n, sizeof *names);
    tb_round_config *config = tb_mem_array(1, sizeof *config);
    tb_buf bytes;
    tb_buf_init(&bytes, TB_CONFIG_BYTES_MAX);
    if (index == NULL || names == NULL || config == NULL) {
        tb_co_fail(co, TB_E_NOMEM, "a cohort");
        goto done;
    }
    co->rc = tb_co_configure(co, run, config, co->err);
    if (co->rc == TB_OK) {
        co->rc = tb_round_config_encode(config, &bytes, co->err);
    }
    if (co->rc != TB_OK) {
        goto done;
    }
    tb_select(index, n, n_ready, config->seed, config->round, config->attempt);
    for (uint32_t i = 0; i < n; i++) {
        names[i] = ready[index[i]]->name;
    }
    opened->run = config->run;
    opened->round = config->round;
    opened->attempt = config->attempt;
    opened->task = config->task;
    opened->config = (tb_span){bytes.data, bytes.len};
    opened->n_clients = n;
    opened->clients = names;
    (void)tb_co_journal(co, &record);
done:
    tb_buf_release(&bytes);
    tb_mem_free(config);
    tb_mem_free(names);
    tb_mem_free(index);
}

bool tb_co_select(tb_coordinator *co, tb_run *run)
{
    const tb_run_params *p = run->params;
    bool over = co->now >= tb_co_later(run->since_ms, p->select_ms);
    if (run->census == co->census && !over) {
        return false;
    }
    run->census = co->census;
    uint32_t n_ready = 0;
    uint32_t n_here = 0;
    for (size_t i = 0; i < co->n_rows; i++) {
        n_here += tb_co_eligible(run, co->rows[i]);
        n_ready += is_ready(run, co->rows[i]);
    }
    uint32_t wanted = tb_select_wanted(p->target, p->over_selection);
    bool all = n_ready == n_here && n_ready >= p->target;
    if (n_ready < wanted && !all && !(over && n_ready >= p->minimum)) {
        return false;
    }
    choose(co, run, n_ready, n_ready < wanted ? n_ready : wanted);
    return true;
}
