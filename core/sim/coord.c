/* The coordinator's driver: its actions on the virtual journal and network. An
 * action that waits for a row is held until the row is durable, and dies with
 * the process. */
#include <string.h>

#include "base/mem.h"
#include "sim/sim_priv.h"

static tb_rc find_device(const tb_sim *sim, const tb_name *name, size_t *out,
                         tb_err *err)
{
    for (size_t i = 0; i < sim->n_devices; i++) {
        if (tb_name_equal(&sim->devices[i].name, name)) {
            *out = i;
            return TB_OK;
        }
    }
    return tb_fail(err, TB_E_BUG, "simulator: no client %s", name->text);
}

/* The size of a blob: only models that were offered are asked for; 0: it is
 * none of them. */
static uint64_t blob_bytes(const tb_sim *sim, const tb_hash *blob)
{
    for (size_t i = sim->n_blobs; i > 0; i--) {
        if (tb_hash_equal(&sim->blobs[i - 1].stored, blob)) {
            return sim->blobs[i - 1].bytes;
        }
    }
    return 0;
}

static tb_rc note_blob(tb_sim *sim, const tb_round_config *config, tb_err *err)
{
    if (blob_bytes(sim, &config->model_stored) > 0) {
        return TB_OK;
    }
    if (sim->n_blobs == sim->cap_blobs) {
        size_t cap = sim->cap_blobs == 0 ? 16 : 2 * sim->cap_blobs;
        tb_sim_blob *blobs = tb_mem_resize(sim->blobs, cap, sizeof *blobs);
        if (blobs == NULL) {
            return tb_fail(err, TB_E_NOMEM, "simulator: blobs");
        }
        sim->blobs = blobs;
        sim->cap_blobs = cap;
    }
    sim->blobs[sim->n_blobs++] =
        (tb_sim_blob){config->model_stored, config->model_stored_bytes};
    return TB_OK;
}

/* Fills in what the machine leaves to its driver. */
static tb_rc send(tb_sim *sim, tb_action *action, tb_err *err)
{
    static const uint8_t certificate[TB_CERTIFICATE_BYTES];
    tb_msg *msg = action->u.msg;
    size_t i = 0;
    tb_rc rc = find_device(sim, &action->client, &i, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (msg->kind == TB_MSG_OFFER) {
        tb_open open;
        if (!tb_coordinator_round(sim->co, &action->config, &open)) {
            return TB_OK; /* that round is over */
        }
        msg->u.offer.config = open.bytes;
        rc = note_blob(sim, open.config, err);
    } else if (msg->kind == TB_MSG_RECEIPT && sim->jobs.receipt != NULL) {
        sim->jobs.receipt(sim->jobs.arg, i, &msg->u.receipt);
    } else if (msg->kind == TB_MSG_WELCOME) {
        msg->u.welcome.certificate = (tb_span){certificate, sizeof certificate};
    }
    return rc == TB_OK ? tb_sim_send(sim, i, false, msg, (tb_span){0}, err)
                       : rc;
}

static tb_rc chunk(tb_sim *sim, const tb_action *action, tb_err *err)
{
    static const uint8_t zeros[TB_FETCH_BYTES_MAX];
    size_t i = 0;
    tb_rc rc = find_device(sim, &action->client, &i, err);
    if (rc != TB_OK) {
        return rc;
    }
    uint64_t offset = action->u.chunk.offset;
    uint64_t total = blob_bytes(sim, &action->u.chunk.blob);
    if (offset >= total) {
        tb_msg no = {
            .kind = TB_MSG_REFUSE,
            .u.refuse = {.code = TB_REFUSE_NOT_FOUND, .about = TB_MSG_FETCH}};
        return tb_sim_send(sim, i, false, &no, (tb_span){0}, err);
    }
    uint64_t left = total - offset;
    size_t n =
        left < action->u.chunk.length ? (size_t)left : action->u.chunk.length;
    tb_msg msg = {.kind = TB_MSG_CHUNK,
                  .u.chunk = {.blob = action->u.chunk.blob,
                              .offset = offset,
                              .total = total}};
    return tb_sim_send(sim, i, false, &msg, (tb_span){zeros, n}, err);
}

static tb_rc append_row(tb_sim *sim, tb_action *action, tb_err *err)
{
    if (action->u.journal.seq != sim->n_rows + 1) {
        return tb_fail(err, TB_E_BUG, "simulator: row %llu after row %zu",
                       (unsigned long long)action->u.journal.seq, sim->n_rows);
    }
    if (sim->n_rows == sim->cap_rows) {
        size_t cap = sim->cap_rows == 0 ? 64 : 2 * sim->cap_rows;
        tb_sim_row *rows = tb_mem_resize(sim->rows, cap, sizeof *rows);
        if (rows == NULL) {
            return tb_fail(err, TB_E_NOMEM, "simulator: journal");
        }
        sim->rows = rows;
        sim->cap_rows = cap;
    }
    sim->rows[sim->n_rows++] = (tb_sim_row){.kind = action->u.journal.kind,
                                            .body = action->u.journal.body};
    memset(action, 0, sizeof *action); /* the row owns the body */
    tb_sim_item item = {
        .kind = TB_SIM_DURABLE, .life = sim->life, .seq = sim->n_rows};
    return tb_sim_push(sim, &item, sim->world.sync_ms, err);
}

static tb_rc carry_out(tb_sim *sim, tb_action *action, tb_err *err)
{
    size_t i = 0;
    switch (action->kind) {
    case TB_ACT_JOURNAL:
        return append_row(sim, action, err);
    case TB_ACT_SEND:
        return send(sim, action, err);
    case TB_ACT_CHUNK:
        return chunk(sim, action, err);
    case TB_ACT_ORDER: {
        tb_sim_item item = {.kind = TB_SIM_ORDERED,
                            .life = sim->life,
                            .order = action->u.order};
        action->u.order = NULL;
        return tb_sim_push(sim, &item, sim->world.order_ms, err);
    }
    case TB_ACT_DISCARD:
        tb_sim_discard(sim, action->u.payload);
        return TB_OK;
    case TB_ACT_SUMMED:
        tb_sim_summed(sim, &action->config);
        return TB_OK;
    case TB_ACT_FORGET:
        tb_sim_sum_drop(sim, &action->config);
        tb_sim_spool_drop(sim, &action->config);
        return TB_OK;
    case TB_ACT_CUT:
        return find_device(sim, &action->client, &i, err) == TB_OK
                   ? tb_sim_break(sim, i, true, err)
                   : TB_OK;
    case TB_ACT_RUN_ENDED:
    case TB_ACT_KIND_END:
        break;
    }
    return TB_OK;
}

static tb_rc hold(tb_sim *sim, tb_action *action, tb_err *err)
{
    tb_actions *held = &sim->held;
    if (held->n == held->cap) {
        size_t cap = held->cap == 0 ? 64 : 2 * held->cap;
        tb_action *at = tb_mem_resize(held->at, cap, sizeof *at);
        if (at == NULL) {
            return tb_fail(err, TB_E_NOMEM, "simulator: actions");
        }
        held->at = at;
        held->cap = cap;
    }
    tb_action_take(&held->at[held->n++], action);
    return TB_OK;
}

/* Whether an earlier action to the same client still waits. */
static bool behind(const tb_sim *sim, const tb_action *action)
{
    for (size_t i = 0; i < sim->held.n; i++) {
        if (action->client.text[0] != '\0' &&
            tb_name_equal(&sim->held.at[i].client, &action->client)) {
            return true;
        }
    }
    return false;
}

static tb_rc wake_later(tb_sim *sim, tb_err *err)
{
    int64_t next = tb_coordinator_next_ms(sim->co);
    if (next >= sim->co_wake_ms) {
        return TB_OK; /* an earlier one steps, and asks again */
    }
    sim->co_wake_ms = next;
    tb_sim_item wake = {.kind = TB_SIM_WAKE_COORDINATOR, .life = sim->life};
    uint64_t in_ms = next > sim->now ? (uint64_t)(next - sim->now) : 0;
    return tb_sim_push(sim, &wake, in_ms, err);
}

static tb_rc take_actions(tb_sim *sim, tb_actions *out, tb_err *err)
{
    tb_rc rc = TB_OK;
    uint64_t life = sim->life;
    for (size_t i = 0; rc == TB_OK && i < out->n && sim->life == life; i++) {
        tb_action *action = &out->at[i];
        bool waits = action->after_seq > sim->durable || behind(sim, action);
        rc = waits ? hold(sim, action, err) : carry_out(sim, action, err);
        if (rc == TB_OK && sim->kill_row != 0 && !sim->kill_durable &&
            sim->n_rows >= sim->kill_row && sim->life == life) {
            sim->kill_row = 0;
            rc = tb_sim_kill_coordinator(sim, 1, err);
        }
    }
    return rc;
}

tb_rc tb_sim_coordinator_step(tb_sim *sim, const tb_event *event, tb_err *err)
{
    if (sim->co == NULL) {
        return TB_OK;
    }
    tb_actions out = {0};
    tb_rc rc = tb_coordinator_step(sim->co, event, sim->now, &out, err);
    if (rc == TB_OK) {
        rc = take_actions(sim, &out, err);
    }
    tb_actions_release(&out);
    if (rc == TB_OK && sim->co != NULL) {
        rc = wake_later(sim, err);
    }
    return rc;
}

/* Lets out what waited for rows up to the durable one, in order. */
static tb_rc let_out(tb_sim *sim, tb_err *err)
{
    tb_actions waiting = sim->held;
    uint64_t life = sim->life;
    tb_rc rc = TB_OK;
    sim->held = (tb_actions){0};
    for (size_t i = 0; rc == TB_OK && i < waiting.n && sim->life == life; i++) {
        tb_action *action = &waiting.at[i];
        bool waits = action->after_seq > sim->durable || behind(sim, action);
        rc = waits ? hold(sim, action, err) : carry_out(sim, action, err);
    }
    tb_actions_release(&waiting);
    return rc;
}

tb_rc tb_sim_show_rows(tb_sim *sim, tb_err *err)
{
    tb_rc rc = TB_OK;
    while (rc == TB_OK && sim->shown < sim->durable) {
        const tb_sim_row *row = &sim->rows[sim->shown++];
        tb_record record;
        rc = tb_record_decode(&record, row->kind, row->body.data, row->body.len,
                              err);
        if (rc != TB_OK) {
            break;
        }
        if (sim->jobs.row != NULL) {
            sim->jobs.row(sim->jobs.arg, &record, sim->shown, sim->now);
        }
        if (record.kind == TB_REC_RUN_STARTED) {
            sim->n_live++;
        } else if (record.kind == TB_REC_RUN_ENDED) {
            sim->n_live--;
            sim->ended = record.u.run_ended;
        }
        tb_record_release(&record);
    }
    if (sim->co != NULL && sim->ended.outcome != 0) {
        sim->over = sim->n_live == 0 && tb_coordinator_runs(sim->co) == 0;
    }
    return rc;
}

tb_rc tb_sim_durable(tb_sim *sim, uint64_t seq, tb_err *err)
{
    if (seq <= sim->durable) {
        return TB_OK;
    }
    sim->durable = seq;
    tb_rc rc = tb_sim_show_rows(sim, err);
    if (rc == TB_OK && sim->kill_row != 0 && sim->kill_durable &&
        seq >= sim->kill_row) {
        sim->kill_row = 0;
        return tb_sim_kill_coordinator(sim, 1, err);
    }
    return rc == TB_OK ? let_out(sim, err) : rc;
}

tb_rc tb_sim_heard(tb_sim *sim, size_t client, const tb_msg *msg,
                   uint8_t *payload, size_t len, tb_err *err)
{
    tb_event event = {.kind = TB_EV_MESSAGE,
                      .client = sim->devices[client].name,
                      .msg = msg,
                      .payload_bytes = len};
    if (payload != NULL) {
        tb_sim_payload *p = tb_mem_array(1, sizeof *p);
        if (p == NULL) {
            tb_mem_free(payload);
            return tb_fail(err, TB_E_NOMEM, "simulator: a payload");
        }
        *p = (tb_sim_payload){
            .next = sim->payloads, .bytes = payload, .len = len};
        if (p->next != NULL) {
            p->next->previous = p;
        }
        sim->payloads = p;
        event.payload = (uint64_t)(uintptr_t)p;
    }
    if (sim->co == NULL) {
        tb_sim_discard(sim, event.payload);
        return TB_OK;
    }
    return tb_sim_coordinator_step(sim, &event, err);
}

void tb_sim_coordinator_drop(tb_sim *sim)
{
    tb_coordinator_free(&sim->co);
    tb_actions_release(&sim->held);
    while (sim->payloads != NULL) {
        tb_sim_discard(sim, (uint64_t)(uintptr_t)sim->payloads);
    }
    tb_sim_sum_drop(sim, NULL);
    sim->life++;
}

tb_rc tb_sim_coordinator_up(tb_sim *sim, tb_err *err)
{
    tb_actions out = {0};
    sim->co_wake_ms = INT64_MAX;
    tb_rc rc = tb_coordinator_new(&sim->co, &sim->coordinator_params, err);
    for (size_t i = 0; rc == TB_OK && i < sim->n_rows; i++) {
        tb_record record;
        rc =
            tb_record_decode(&record, sim->rows[i].kind, sim->rows[i].body.data,
                             sim->rows[i].body.len, err);
        if (rc == TB_OK) {
            rc = tb_coordinator_replay(sim->co, &record, i + 1, err);
            tb_record_release(&record);
        }
    }
    if (rc == TB_OK) {
        rc = tb_sim_show_rows(sim, err);
    }
    if (rc == TB_OK) {
        rc = tb_coordinator_resume(sim->co, sim->now, &out, err);
    }
    if (rc == TB_OK) {
        rc = take_actions(sim, &out, err);
    }
    tb_actions_release(&out);
    return rc == TB_OK && sim->co != NULL ? wake_later(sim, err) : rc;
}
