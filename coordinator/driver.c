/* The driver's pass: events step the machine, rows become durable in one
 * transaction, then actions go out in their order. While the disk is full no
 * row can become durable: nothing that waits for one goes out, and no message
 * is read (daemon.c), so that the fleet waits with us. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon.h"
#include "wire/receipt.h"

#define RETRY_APPEND_MS 1000

tb_rc tb_daemon_event(tb_daemon *d, const tb_event *event, tb_err *err)
{
    tb_rc rc = tb_coordinator_step(d->state.machine, event, tb_clock_ms(),
                                   &d->actions, err);
    d->broken = d->broken || (rc != TB_OK && rc != TB_E_BUSY &&
                              tb_rc_fault(rc) != TB_FAULT_PEER);
    return rc;
}

/* --- payloads ------------------------------------------------------------- */

tb_inbound *tb_daemon_take_payload(tb_daemon *d, uint64_t handle)
{
    tb_payload *slot = &d->payloads[handle % TB_PAYLOADS_MAX];
    if (handle == 0 || slot->handle != handle) {
        return NULL;
    }
    tb_inbound *in = slot->in;
    *slot = (tb_payload){0};
    return in;
}

static void discard(tb_daemon *d, uint64_t handle)
{
    tb_inbound *in = tb_daemon_take_payload(d, handle);
    tb_inbound_free(&in);
}

/* --- sending -------------------------------------------------------------- */

void tb_daemon_cut(tb_daemon *d, const tb_name *client, const char *why)
{
    if (tb_transport_cut(d->net, client)) {
        tb_log(TB_LOG_WARN, "event=cut client=%s error=\"%s\"", client->text,
               why);
    }
}

/* What became of a message. */
static void sent(tb_daemon *d, const tb_name *client, tb_msg_kind kind,
                 tb_rc rc, const tb_err *err)
{
    if (rc == TB_E_FULL) {
        tb_daemon_cut(d, client, err->text);
    } else if (rc != TB_OK && rc != TB_E_NOT_FOUND) {
        tb_log(TB_LOG_WARN, "event=send client=%s message=%s error=\"%s\"",
               client->text, tb_msg_kind_name(kind), err->text);
    }
}

void tb_daemon_send(tb_daemon *d, const tb_name *client, const tb_msg *msg,
                    const tb_part *payload)
{
    tb_err err;
    tb_buf envelope;
    tb_buf_init(&envelope, TB_ENVELOPE_BYTES_MAX);
    tb_rc rc = tb_msg_encode(msg, &envelope, &err);
    if (rc == TB_OK) {
        tb_outbound out = {.envelope = envelope.data,
                           .envelope_bytes = envelope.len};
        if (payload != NULL) {
            out.payload = payload->bytes;
            out.payload_offset = payload->offset;
            out.payload_bytes = payload->len;
        }
        rc = tb_transport_send(d->net, client, &out, &err);
    }
    sent(d, client, msg->kind, rc, &err);
    tb_buf_release(&envelope);
}

/* Signs and encodes the offer of an open round, once for its whole cohort. */
static tb_rc make_offer(tb_daemon *d, tb_msg *msg, const tb_hash *config,
                        const tb_span *bytes, tb_err *err)
{
    tb_buf envelope;
    tb_buf_init(&envelope, TB_ENVELOPE_BYTES_MAX);
    msg->u.offer.config = *bytes;
    tb_sign(msg->u.offer.signature, d->keys.sign, TB_SIGN_ROUND, bytes->data,
            bytes->len);
    tb_shared_free(&d->offer);
    tb_rc rc = tb_msg_encode(msg, &envelope, err);
    if (rc == TB_OK) {
        rc = tb_shared_new(&d->offer, &envelope, err);
    }
    d->offer_of = *config;
    tb_buf_release(&envelope);
    return rc;
}

/* An offer whose round is over has lapsed. */
static void send_offer(tb_daemon *d, const tb_action *action)
{
    tb_open open;
    tb_err err;
    tb_rc rc = TB_OK;
    if (!tb_coordinator_round(d->state.machine, &action->config, &open)) {
        return;
    }
    if (d->offer == NULL || !tb_hash_equal(&d->offer_of, &action->config)) {
        rc = make_offer(d, action->u.msg, &action->config, &open.bytes, &err);
    }
    if (rc == TB_OK) {
        tb_outbound out = {.to_many = d->offer,
                           .envelope_bytes = tb_shared_bytes(d->offer)};
        rc = tb_transport_send(d->net, &action->client, &out, &err);
    }
    sent(d, &action->client, TB_MSG_OFFER, rc, &err);
}

void tb_daemon_refuse(tb_daemon *d, const tb_name *client, tb_msg_kind about,
                      tb_refusal code, const char *why)
{
    tb_msg msg = {.kind = TB_MSG_REFUSE};
    msg.u.refuse.code = code;
    msg.u.refuse.about = about;
    (void)snprintf(msg.u.refuse.why, sizeof msg.u.refuse.why, "%s", why);
    tb_daemon_send(d, client, &msg, NULL);
}

/* Fills in what the machine left to us; false: it cannot be said. */
static bool complete(tb_daemon *d, const tb_action *action)
{
    tb_msg *msg = action->u.msg;
    if (msg->kind == TB_MSG_WELCOME) {
        msg->u.welcome.certificate =
            (tb_span){d->keys.certificate_bytes, TB_CERTIFICATE_BYTES};
    } else if (msg->kind == TB_MSG_RECEIPT) {
        tb_err err;
        if (tb_store_chain(d->state.store, msg->u.receipt.sequence,
                           &msg->u.receipt.head, &err) != TB_OK) {
            tb_log(TB_LOG_ERROR, "event=receipt error=\"%s\"", err.text);
            return false;
        }
        tb_receipt_sign(&msg->u.receipt, d->keys.sign);
    }
    return true;
}

/* An old round's model is gone with reason; what is damaged concerns the
 * operator. */
static void refuse_chunk(tb_daemon *d, const tb_name *client, tb_rc rc,
                         const tb_err *err)
{
    bool gone = rc == TB_E_NOT_FOUND;
    if (!gone) {
        tb_log(TB_LOG_ERROR, "event=fetch client=%s error=\"%s\"", client->text,
               err->text);
    }
    tb_daemon_refuse(d, client, TB_MSG_FETCH, TB_REFUSE_NOT_FOUND,
                     gone ? "no such blob here: of a round, check in again; of "
                            "a version, `tributaryd check` says what is lost"
                          : "the blob cannot be read here: `tributaryd check` "
                            "says what is lost");
}

static void send_chunk(tb_daemon *d, const tb_action *action)
{
    tb_err err;
    tb_shared *bytes = NULL;
    const tb_hash *blob = &action->u.chunk.blob;
    tb_blob_range range = {.offset = action->u.chunk.offset,
                           .len = action->u.chunk.length};
    tb_rc rc = tb_blobs_part(d->state.blobs, blob, &range, &bytes, &err);
    if (rc != TB_OK) {
        refuse_chunk(d, &action->client, rc, &err);
        return;
    }
    tb_part part = {bytes, 0, range.len};
    tb_msg msg = {.kind = TB_MSG_CHUNK};
    msg.u.chunk = (tb_msg_chunk){*blob, range.offset, range.total};
    tb_daemon_send(d, &action->client, &msg, &part);
    tb_shared_free(&bytes);
}

/* --- rows ----------------------------------------------------------------- */

/* What went over the network while a round was open: of all runs together. */
static void note_traffic(tb_daemon *d, const tb_record *record)
{
    tb_transport_totals totals;
    bool opened = record->kind == TB_REC_ROUND_OPENED;
    bool committed = record->kind == TB_REC_COMMITTED &&
                     record->u.committed.task == TB_TASK_TRAIN;
    tb_run_history *run =
        opened ? tb_history_find(&d->state.history, &record->u.round_opened.run)
        : committed
            ? tb_history_round(&d->state.history, &record->u.committed.config)
            : NULL;
    if (run == NULL || (committed && (run->n == 0 || run->opened_ms == 0))) {
        return;
    }
    tb_transport_totals_get(d->net, &totals);
    if (opened) {
        run->bytes_in = totals.bytes_in;
        run->bytes_out = totals.bytes_out;
        run->opened_ms = tb_clock_ms();
        return;
    }
    tb_round_line *line = &run->at[run->n - 1];
    line->seen = true;
    line->bytes_up = totals.bytes_in - run->bytes_in;
    line->bytes_down = totals.bytes_out - run->bytes_out;
    line->seconds = (double)(tb_clock_ms() - run->opened_ms) / 1000.0;
}

/* Whether who a row lets in is a member still: not when a row behind it, of the
 * same roster, has revoked it. */
static bool is_member(const tb_daemon *d, const tb_name *client)
{
    tb_member m;
    return tb_coordinator_find(d->state.machine, client, &m) && !m.revoked;
}

/* What a durable row changes outside the machine. */
static tb_rc note_row(tb_daemon *d, const tb_record *record, tb_err *err)
{
    tb_rc rc = tb_state_note(&d->state, record, err);
    tb_err ignored;
    tb_daemon_note_blobs(d, record);
    if (rc == TB_OK && record->kind == TB_REC_ENROLLED &&
        is_member(d, &record->u.enrolled.client)) {
        rc = tb_transport_allow(d->net, &record->u.enrolled.client,
                                record->u.enrolled.curve_key, err);
    } else if (rc == TB_OK && record->kind == TB_REC_ROTATED &&
               is_member(d, &record->u.rotated.client)) {
        rc = tb_daemon_note_rotated(d, &record->u.rotated, err);
    } else if (rc == TB_OK && record->kind == TB_REC_COORDINATOR_KEY) {
        rc = tb_daemon_note_move(d, &record->u.coordinator_key, err);
    } else if (record->kind == TB_REC_REVOKED) {
        (void)!tb_transport_revoke(d->net, &record->u.revoked.client, &ignored);
    }
    if (rc == TB_OK) {
        note_traffic(d, record);
    }
    return rc;
}

/* One row of the journal, decoded again: what the store and others must know of
 * it. The records live as long as the rows. */
typedef struct rows {
    tb_row *row;
    tb_record *record;
    tb_acceptance *acceptance;
    size_t n;
} rows;

static void release_rows(rows *r)
{
    for (size_t i = 0; r->record != NULL && i < r->n; i++) {
        tb_record_release(&r->record[i]);
    }
    tb_mem_free(r->row);
    tb_mem_free(r->record);
    tb_mem_free(r->acceptance);
}

static tb_rc add_row(rows *r, const tb_action *action, tb_err *err)
{
    const tb_buf *body = &action->u.journal.body;
    tb_record *record = &r->record[r->n];
    tb_rc rc = tb_record_decode(record, action->u.journal.kind, body->data,
                                body->len, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_row *row = &r->row[r->n];
    *row = (tb_row){.seq = action->u.journal.seq,
                    .kind = action->u.journal.kind,
                    .body = body->data,
                    .body_bytes = body->len};
    if (record->kind == TB_REC_ACCEPTED) {
        const tb_rec_accepted *a = &record->u.accepted;
        r->acceptance[r->n] = (tb_acceptance){
            .config = a->config, .client = a->client, .update = a->update};
        row->acceptance = &r->acceptance[r->n];
    }
    r->n++;
    return TB_OK;
}

/* All journal actions that wait, as rows. */
static tb_rc collect_rows(rows *r, const tb_actions *actions, tb_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < actions->n; i++) {
        n += actions->at[i].kind == TB_ACT_JOURNAL;
    }
    *r = (rows){.row = tb_mem_array(n, sizeof *r->row),
                .record = tb_mem_array(n, sizeof *r->record),
                .acceptance = tb_mem_array(n, sizeof *r->acceptance)};
    if (r->row == NULL || r->record == NULL || r->acceptance == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu journal rows", n);
    }
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < actions->n && rc == TB_OK; i++) {
        if (actions->at[i].kind == TB_ACT_JOURNAL) {
            rc = add_row(r, &actions->at[i], err);
        }
    }
    return rc;
}

/* The rows are on disk: their actions are done. */
static tb_rc rows_durable(tb_daemon *d, const rows *r, tb_err *err)
{
    tb_rc rc = TB_OK;
    d->durable_seq = r->row[r->n - 1].seq;
    for (size_t i = 0; i < d->actions.n; i++) {
        if (d->actions.at[i].kind == TB_ACT_JOURNAL) {
            tb_action_release(&d->actions.at[i]);
        }
    }
    for (size_t i = 0; i < r->n && rc == TB_OK; i++) {
        rc = note_row(d, &r->record[i], err);
        if (rc == TB_OK) {
            tb_chronicle_tell(&d->state.chronicle, &r->record[i], r->row[i].seq,
                              tb_clock_ms());
        }
    }
    return rc;
}

static tb_rc append_rows(tb_daemon *d, tb_err *err)
{
    rows r;
    tb_rc rc = collect_rows(&r, &d->actions, err);
    if (rc == TB_OK && r.n > 0) {
        int64_t from = tb_clock_ns();
        rc = tb_store_append(d->state.store, r.row, r.n, err);
        tb_prom_observe(&d->meters.append,
                        (double)(tb_clock_ns() - from) / 1e9);
        bool full = rc == TB_E_FULL;
        if (full && !d->stalled) {
            tb_log(TB_LOG_ERROR, "event=stalled error=\"%s\"", err->text);
        } else if (rc == TB_OK && d->stalled) {
            tb_log(TB_LOG_INFO, "event=resumed");
        }
        d->stalled = full;
        d->retry_ms = tb_clock_ms() + RETRY_APPEND_MS;
        if (rc == TB_OK) {
            rc = rows_durable(d, &r, err);
        } else if (full) {
            rc = TB_OK;
        }
    }
    release_rows(&r);
    return rc;
}

/* --- actions -------------------------------------------------------------- */

/* The round's row is durable: a result that has no name now gets none. */
static void end_result(tb_daemon *d, const tb_run_id *run)
{
    tb_live *live = tb_daemon_live(d, run);
    if (live != NULL) {
        tb_daemon_let_go(d, live);
    }
}

static void forget_round(tb_daemon *d, const tb_run_id *run,
                         const tb_hash *config)
{
    tb_err err;
    end_result(d, run);
    tb_daemon_forget(d, config);
    tb_daemon_drop_checkpoint(d, config);
    if (!d->settings->keep_updates &&
        tb_spool_remove(tb_folder_path(d->state.folder, TB_ITEM_SPOOL), run,
                        config, &err) != TB_OK) {
        tb_log(TB_LOG_WARN, "event=spool error=\"%s\"", err.text);
    }
}

void tb_daemon_settle(tb_daemon *d, const tb_run_id *run)
{
    tb_err err;
    const tb_folder *folder = d->state.folder;
    tb_rc rc = TB_OK;
    if (d->settings->keep_updates) {
        rc = tb_live_keep(folder, run, &err);
    } else if (!tb_live_kept(folder, run)) {
        rc = tb_live_destroy_key(folder, run, &err);
        if (rc == TB_OK) {
            rc = tb_spool_remove_run(tb_folder_path(folder, TB_ITEM_SPOOL), run,
                                     &err);
        }
    }
    if (rc != TB_OK) {
        tb_log(TB_LOG_WARN, "event=run_ended error=\"%s\"", err.text);
    }
}

static void end_run(tb_daemon *d, const tb_run_id *run)
{
    tb_daemon_end_run(d, run);
    tb_daemon_settle(d, run);
}

static tb_rc carry_out(tb_daemon *d, tb_action *action, tb_err *err)
{
    switch (action->kind) {
    case TB_ACT_SEND:
        if (action->u.msg->kind == TB_MSG_OFFER) {
            send_offer(d, action);
        } else if (complete(d, action)) {
            tb_daemon_send(d, &action->client, action->u.msg, NULL);
            if (action->u.msg->kind == TB_MSG_WELCOME) {
                tb_daemon_tell_move(d, &action->client);
            }
        }
        break;
    case TB_ACT_CHUNK:
        send_chunk(d, action);
        break;
    case TB_ACT_ORDER:
        return tb_daemon_order(d, &action->u.order, err);
    case TB_ACT_DISCARD:
        discard(d, action->u.payload);
        break;
    case TB_ACT_SUMMED:
        end_result(d, &action->u.run);
        tb_daemon_summed(d, &action->config);
        break;
    case TB_ACT_FORGET:
        forget_round(d, &action->u.run, &action->config);
        break;
    case TB_ACT_CUT:
        tb_transport_cut(d->net, &action->client);
        break;
    case TB_ACT_RUN_ENDED:
        end_run(d, &action->u.run);
        break;
    case TB_ACT_JOURNAL:
    case TB_ACT_KIND_END:
    default:
        break;
    }
    return TB_OK;
}

tb_rc tb_daemon_flush(tb_daemon *d, tb_err *err)
{
    tb_rc rc = append_rows(d, err);
    tb_actions *all = &d->actions;
    size_t done = 0;
    while (rc == TB_OK && done < all->n &&
           all->at[done].after_seq <= d->durable_seq &&
           all->at[done].kind != TB_ACT_JOURNAL) {
        rc = carry_out(d, &all->at[done], err);
        tb_action_release(&all->at[done]);
        done++;
    }
    if (done > 0) {
        memmove(all->at, all->at + done, (all->n - done) * sizeof *all->at);
        all->n -= done;
    }
    tb_daemon_tell_watchers(d);
    return rc;
}
