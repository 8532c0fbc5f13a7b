/* Uploads: credit from one pool, blocks in order, one order out for each.
 *
 *   BEGIN -> live -> BLOCK ... (held -> ADD_BLOCK -> done) -> END ->
 *   END_UPLOAD -> accepted (journal, RECEIPT)
 * A bad update expels its client from the round; whatever of an upload is in
 * the sum is subtracted (DROP_UPLOAD) before the round is summed up. */
#include <string.h>

#include "crypto/seal.h"
#include "fed/coordinator_priv.h"
#include "fed/update.h"

#define RESTART_MS 1 /* begin the exchange anew, at once */

/* The pool counts the blocks [done, until) of each upload. */
void tb_co_ungrant(tb_coordinator *co, tb_upload *upload)
{
    co->pool_blocks -= upload->until - upload->received;
    upload->until = upload->received;
}

static bool order_is(const tb_upload *upload, tb_order_kind kind)
{
    return upload->order != 0 && upload->order_kind == kind;
}

/* Blocks from `keep` on are neither held nor granted any more. The payload of
 * one that is being added belongs to its order. */
static void trim(tb_coordinator *co, tb_upload *upload, uint32_t keep)
{
    uint32_t first = upload->done + order_is(upload, TB_ORDER_ADD_BLOCK);
    for (uint32_t b = first; b < upload->received; b++) {
        tb_co_discard(co, upload->held[b % TB_WINDOW_MAX].payload);
    }
    co->pool_blocks -= upload->until - keep;
    upload->received = keep;
    upload->until = keep;
    upload->has_end = upload->has_end && keep == upload->ref.n_blocks;
}

static void forget(tb_upload *upload)
{
    *upload = (tb_upload){0};
}

void tb_co_drop(tb_coordinator *co, tb_seat *seat)
{
    tb_upload *upload = &seat->upload;
    if (!upload->live || upload->dropping) {
        return;
    }
    trim(co, upload, upload->done + order_is(upload, TB_ORDER_ADD_BLOCK));
    upload->dropping = true;
    upload->retry_ms = 0;
    if (upload->order == 0 && upload->done == 0) {
        forget(upload);
    }
}

static void refuse_round(tb_coordinator *co, const tb_seat *seat,
                         tb_msg_kind about, tb_refusal code, const char *why)
{
    tb_co_refuse(co, &seat->row->name, about, code, 0, why)->config =
        seat->run->round.hash;
}

/* The client's update was bad: it is out of this round. Not while its update
 * is about to be accepted: then only this message is refused. */
static void expel(tb_coordinator *co, tb_seat *seat, tb_msg_kind about,
                  tb_refusal code, const char *why)
{
    if (order_is(&seat->upload, TB_ORDER_END_UPLOAD)) {
        refuse_round(co, seat, about, code, why);
        return;
    }
    tb_record record = {.kind = TB_REC_EXPELLED,
                        .u.expelled = {.config = seat->run->round.hash,
                                       .client = seat->row->name,
                                       .code = code}};
    (void)tb_co_journal(co, &record);
    refuse_round(co, seat, about, code, why);
    tb_co_drop(co, seat);
}

static void restart(tb_coordinator *co, const tb_row *row, tb_msg_kind about,
                    const char *why)
{
    (void)tb_co_refuse(co, &row->name, about, TB_REFUSE_STATE, RESTART_MS, why);
}

static void credit(tb_coordinator *co, const tb_row *row,
                   const tb_upload *upload)
{
    tb_msg_credit *msg =
        &tb_co_send(co, &row->name, TB_MSG_CREDIT, 0)->u.credit;
    msg->upload = upload->ref.upload;
    msg->next = upload->received;
    msg->until = upload->until;
}

static void receipt(tb_coordinator *co, const tb_row *row)
{
    tb_msg_receipt *msg =
        &tb_co_send(co, &row->name, TB_MSG_RECEIPT, row->last_seq)->u.receipt;
    msg->config = row->last.config;
    msg->update = row->last.update;
    msg->sequence = row->last_seq;
}

/* Grants what window and pool allow; true when something was granted. */
static bool grant(tb_coordinator *co, tb_seat *seat)
{
    tb_upload *upload = &seat->upload;
    uint32_t window = upload->done + co->params.window_blocks;
    uint32_t want =
        window < upload->ref.n_blocks ? window : upload->ref.n_blocks;
    if (!seat->row->connected || !upload->live || upload->dropping ||
        want <= upload->until) {
        return false;
    }
    uint32_t free_blocks = co->pool_max - co->pool_blocks;
    uint32_t more = want - upload->until;
    if (more > free_blocks) {
        more = free_blocks;
        co->starving = true;
    }
    upload->until += more;
    co->pool_blocks += more;
    return more > 0;
}

static bool same_id(const tb_upload_id *a, const tb_upload_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static bool is_past(const tb_coordinator *co, const tb_hash *config)
{
    uint32_t n = co->n_past < TB_PAST_ROUNDS ? co->n_past : TB_PAST_ROUNDS;
    for (uint32_t i = 0; i < n; i++) {
        if (tb_hash_equal(&co->past[i], config)) {
            return true;
        }
    }
    return false;
}

/* Why a BEGIN opens no upload, or 0. */
static tb_refusal begin_code(const tb_coordinator *co, const tb_row *row,
                             const tb_msg_upload_begin *msg, const char **why)
{
    const tb_seat *seat = row->seat;
    if (row->last.n_blocks > 0 &&
        tb_hash_equal(&row->last.config, &msg->config)) {
        *why = "another update of yours counts in this round";
        return TB_REFUSE_DUPLICATE;
    }
    const tb_run *run = tb_co_find_round(co, &msg->config);
    if (run == NULL) {
        bool late = is_past(co, &msg->config);
        *why = late ? "this round is over"
               : co->epoch_row > 0
                   ? "this round is not open: the coordinator was restored "
                     "from a backup and knows none from the time after it"
                   : "this is not the configuration of an open round";
        return late ? TB_REFUSE_LATE : TB_REFUSE_WRONG_ROUND;
    }
    if (seat == NULL || seat->run != run ||
        (seat->state == TB_SEAT_OUT && seat->code == 0)) {
        *why = "you have no part in this round";
        return TB_REFUSE_NOT_SELECTED;
    }
    if (seat->state == TB_SEAT_OUT) {
        *why = "your update of this round was refused";
        return seat->code;
    }
    *why = "the round has closed";
    return run->phase != TB_PHASE_TRAINING ? TB_REFUSE_LATE : 0;
}

/* Answers a BEGIN that opens no upload; true when it did. */
static bool begin_refused(tb_coordinator *co, tb_row *row,
                          const tb_msg_upload_begin *msg)
{
    const tb_rec_accepted *last = &row->last;
    if (last->n_blocks > 0 && tb_hash_equal(&last->config, &msg->config) &&
        same_id(&last->upload, &msg->upload)) {
        receipt(co, row);
        return true;
    }
    const char *why = NULL;
    tb_refusal code = begin_code(co, row, msg, &why);
    if (code != 0) {
        tb_co_refuse(co, &row->name, TB_MSG_UPLOAD_BEGIN, code, 0, why)
            ->config = msg->config;
        return true;
    }
    if (msg->n_blocks != tb_round_config_blocks(row->seat->run->round.config)) {
        expel(co, row->seat, TB_MSG_UPLOAD_BEGIN, TB_REFUSE_SIZE,
              "the number of blocks is wrong");
        return true;
    }
    return false;
}

void tb_co_upload_begin(tb_coordinator *co, tb_row *row,
                        const tb_msg_upload_begin *msg)
{
    if (begin_refused(co, row, msg)) {
        return;
    }
    tb_seat *seat = row->seat;
    tb_upload *upload = &seat->upload;
    seat->state = TB_SEAT_TAKEN;
    bool other = upload->live && (!same_id(&upload->ref.upload, &msg->upload) ||
                                  memcmp(upload->ref.header, msg->header,
                                         sizeof msg->header) != 0);
    if (other) {
        tb_co_drop(co, seat);
    }
    if (upload->live && upload->dropping) {
        tb_co_refuse(co, &row->name, TB_MSG_UPLOAD_BEGIN, TB_REFUSE_FULL,
                     co->params.retry_ms, "an older upload is being dropped")
            ->config = msg->config;
        return;
    }
    if (!upload->live) {
        *upload = (tb_upload){.live = true,
                              .ref = {.key = ++co->next_key,
                                      .config = msg->config,
                                      .client = row->name,
                                      .upload = msg->upload,
                                      .n_blocks = msg->n_blocks}};
        memcpy(upload->ref.header, msg->header, sizeof msg->header);
    }
    tb_co_ungrant(co, upload);
    upload->has_end = false;
    upload->moved_ms = co->now;
    (void)grant(co, seat);
    credit(co, row, upload);
}

/* The upload that a message means, or NULL after refusing it. */
static tb_upload *find(tb_coordinator *co, tb_row *row, tb_msg_kind about,
                       const tb_upload_id *id)
{
    tb_seat *seat = row->seat;
    if (seat != NULL && seat->upload.live && !seat->upload.dropping &&
        same_id(&seat->upload.ref.upload, id)) {
        return &seat->upload;
    }
    if (seat != NULL && seat->state == TB_SEAT_OUT && seat->code != 0) {
        refuse_round(co, seat, about, seat->code,
                     "your update of this round was refused");
    } else {
        restart(co, row, about, "there is no such upload: begin it again");
    }
    return NULL;
}

bool tb_co_block(tb_coordinator *co, tb_row *row, const tb_msg_block *msg,
                 uint64_t payload, size_t payload_bytes)
{
    tb_upload *upload = find(co, row, TB_MSG_BLOCK, &msg->upload);
    if (upload == NULL || msg->index < upload->received) {
        return false; /* a copy of one that is held is no fault */
    }
    if (msg->index > upload->received || msg->index >= upload->until) {
        restart(co, row, TB_MSG_BLOCK, "not the next block, or not granted");
        return false;
    }
    size_t want =
        tb_update_block_bytes(row->seat->run->round.config, msg->index);
    if (payload == 0 || payload_bytes != want + TB_SEAL_TAG_BYTES) {
        expel(co, row->seat, TB_MSG_BLOCK, TB_REFUSE_SIZE,
              "a block has the wrong length");
        return false;
    }
    upload->held[msg->index % TB_WINDOW_MAX] =
        (tb_held){payload, payload_bytes};
    upload->received++;
    upload->moved_ms = co->now;
    co->bytes_in += payload_bytes;
    return true;
}

void tb_co_upload_end(tb_coordinator *co, tb_row *row,
                      const tb_msg_upload_end *msg)
{
    const tb_rec_accepted *last = &row->last;
    if (last->n_blocks > 0 && same_id(&last->upload, &msg->upload)) {
        if (tb_hash_equal(&last->update, &msg->update)) {
            receipt(co, row);
        } else {
            tb_co_refuse(co, &row->name, TB_MSG_UPLOAD_END, TB_REFUSE_DUPLICATE,
                         0, "another update of yours counts in this round")
                ->config = last->config;
        }
        return;
    }
    tb_upload *upload = find(co, row, TB_MSG_UPLOAD_END, &msg->upload);
    if (upload == NULL) {
        return;
    }
    if (upload->received < upload->ref.n_blocks) {
        restart(co, row, TB_MSG_UPLOAD_END, "blocks are missing");
        return;
    }
    if (!upload->has_end) {
        upload->has_end = true;
        upload->update = msg->update;
        memcpy(upload->signature, msg->signature, sizeof upload->signature);
    }
}

/* The order of this id is the seat's. */
static void given(tb_coordinator *co, tb_seat *seat, uint64_t id)
{
    seat->upload.order = id;
    co->by_order[id % TB_ORDERS_KNOWN] = seat;
}

static void order(tb_coordinator *co, tb_seat *seat, tb_order_kind kind)
{
    tb_upload *upload = &seat->upload;
    /* What a purge takes away is gone: its row must be there first. */
    uint64_t after = kind == TB_ORDER_DROP_STORED ? co->seq : 0;
    tb_order *o = tb_co_order(co, seat->run, kind, after);
    o->upload = upload->ref;
    o->weight = upload->weight;
    o->full = upload->counted ? upload->full : upload->weight;
    if (kind == TB_ORDER_ADD_BLOCK) {
        const tb_held *held = &upload->held[upload->done % TB_WINDOW_MAX];
        o->index = upload->done;
        o->payload = held->payload;
        o->payload_bytes = held->bytes;
    } else if (kind == TB_ORDER_END_UPLOAD) {
        o->update = upload->update;
        memcpy(o->signature, upload->signature, sizeof o->signature);
    } else {
        o->index = upload->done;
    }
    upload->order_kind = kind;
    given(co, seat, o->id);
}

static void order_stored(tb_coordinator *co, tb_seat *seat)
{
    const tb_rec_accepted *last = &seat->row->last;
    seat->upload = (tb_upload){.live = true,
                               .weight = last->weight,
                               .full = last->full,
                               .order_kind = TB_ORDER_ADD_STORED,
                               .ref = {.key = ++co->next_key,
                                       .config = last->config,
                                       .client = seat->row->name,
                                       .upload = last->upload,
                                       .n_blocks = last->n_blocks}};
    tb_order *o = tb_co_order(co, seat->run, TB_ORDER_ADD_STORED, 0);
    o->upload = seat->upload.ref;
    o->into = last->config;
    o->weight = last->weight;
    o->full = last->full;
    o->update = last->update;
    given(co, seat, o->id);
}

/* Of an update that is in the sum as a whole. */
static void drop_counted(tb_upload *upload)
{
    upload->dropping = true;
    upload->counted = true;
    upload->done = upload->ref.n_blocks;
    upload->retry_ms = 0;
}

void tb_co_purge(tb_coordinator *co, const tb_name *client)
{
    const tb_row *row = tb_co_find(co, client);
    tb_seat *seat = row != NULL ? row->seat : NULL;
    if (seat == NULL || seat->state != TB_SEAT_DONE) {
        co->rc =
            tb_fail(co->err, TB_E_NOT_FOUND,
                    "no update of client %s is in an open round", client->text);
        return;
    }
    const tb_run *run = seat->run;
    if (run->phase != TB_PHASE_TRAINING || run->round.doomed) {
        co->rc = tb_fail(co->err, TB_E_REFUSED,
                         "round %u of %s is %s: what is in its sum stays; "
                         "revoke without --purge, or cancel the run",
                         run->number, run->params->name.text,
                         tb_phase_name(run->phase));
        return;
    }
    bool summed = !seat->stored;
    tb_record record = {.kind = TB_REC_PURGED, .u.purged = row->last};
    const tb_rec_accepted *p = &record.u.purged;
    (void)tb_co_journal(co, &record);
    if (summed) { /* else it is left out, or dropped when it has been added */
        seat->upload = (tb_upload){.live = true,
                                   .weight = p->weight,
                                   .full = p->full,
                                   .ref = {.key = ++co->next_key,
                                           .config = p->config,
                                           .client = *client,
                                           .upload = p->upload,
                                           .n_blocks = p->n_blocks}};
        drop_counted(&seat->upload);
    }
}

/* The next order of one seat, if any. */
static void pump_seat(tb_coordinator *co, tb_seat *seat)
{
    tb_upload *upload = &seat->upload;
    bool training = seat->run->phase == TB_PHASE_TRAINING;
    if (upload->order != 0 || co->now < upload->retry_ms) {
        return;
    }
    if (seat->state == TB_SEAT_DONE) {
        if (seat->stored) {
            order_stored(co, seat);
        }
    } else if (!upload->live) {
        return;
    } else if (upload->dropping) {
        order(co, seat,
              upload->counted ? TB_ORDER_DROP_STORED : TB_ORDER_DROP_UPLOAD);
    } else if (training && upload->done < upload->received) {
        order(co, seat, TB_ORDER_ADD_BLOCK);
    } else if (training && upload->has_end) {
        order(co, seat, TB_ORDER_END_UPLOAD);
    }
}

/* What an event touched; all uploads, when more than that may have changed. */
static void pump_run(tb_coordinator *co, tb_run *run)
{
    tb_round *round = &run->round;
    if (!round->open || !round->sum_open || round->doomed) {
        return;
    }
    if (co->touched != NULL && co->touched->run == run) {
        pump_seat(co, co->touched);
    }
    for (uint32_t i = 0; round->look_all && i < round->n_seats; i++) {
        pump_seat(co, &round->seats[i]);
    }
    round->look_all = false;
}

/* Gives what the pool has to those who wait, each in turn; true when one was
 * granted more. */
static bool grant_run(tb_coordinator *co, tb_run *run)
{
    tb_round *round = &run->round;
    bool granted = false;
    if (!round->open || !round->sum_open || round->doomed) {
        return false;
    }
    uint32_t first = round->n_seats > 0 ? run->grant_from % round->n_seats : 0;
    for (uint32_t i = 0; i < round->n_seats && co->pool_blocks < co->pool_max;
         i++) {
        uint32_t s = (first + i) % round->n_seats;
        tb_seat *seat = &round->seats[s];
        if (grant(co, seat)) {
            credit(co, seat->row, &seat->upload);
            run->grant_from = s + 1;
            granted = true;
        }
    }
    return granted;
}

void tb_co_pump(tb_coordinator *co)
{
    bool grants = co->starving && co->pool_blocks < co->pool_max;
    size_t first = co->n_runs > 0 ? co->grant_from % co->n_runs : 0;
    co->starving = co->starving && !grants;
    for (size_t i = 0; i < co->n_runs; i++) {
        size_t r = (first + i) % co->n_runs;
        pump_run(co, co->runs[r]);
        if (grants && grant_run(co, co->runs[r])) {
            co->grant_from = r + 1;
        }
    }
    co->starving = co->starving || (grants && co->pool_blocks == co->pool_max);
}

/* Whether this seat keeps its round from being closed. */
static bool is_quiet(const tb_round *round, const tb_seat *seat)
{
    bool missing = seat->state == TB_SEAT_DONE && seat->stored;
    return seat->upload.order == 0 &&
           (round->doomed || (!missing && !seat->upload.live));
}

bool tb_co_quiet(tb_run *run)
{
    tb_round *round = &run->round;
    for (uint32_t i = 0; i < round->n_seats; i++) {
        uint32_t s = (round->hopeful_at + i) % round->n_seats;
        if (!is_quiet(round, &round->seats[s])) {
            round->hopeful_at = s; /* asked again, it answers at once */
            return false;
        }
    }
    return true;
}

static void block_added(tb_coordinator *co, tb_seat *seat,
                        const tb_verdict *verdict)
{
    tb_upload *upload = &seat->upload;
    if (upload->done == 0) {
        upload->weight = tb_run_weights(seat->run->params, seat->run->task,
                                        verdict->weight, 0)
                             .weight;
    }
    upload->done++;
    upload->moved_ms = co->now;
    co->pool_blocks--;
    if (grant(co, seat)) {
        credit(co, seat->row, upload);
    }
}

static void accept(tb_coordinator *co, tb_seat *seat)
{
    const tb_upload *upload = &seat->upload;
    tb_record record = {.kind = TB_REC_ACCEPTED,
                        .u.accepted = {.config = upload->ref.config,
                                       .client = seat->row->name,
                                       .upload = upload->ref.upload,
                                       .update = upload->update,
                                       .n_blocks = upload->ref.n_blocks,
                                       .weight = upload->weight,
                                       .full = upload->weight}};
    (void)tb_co_journal(co, &record);
    seat->stored = false; /* it is in the sum already */
    forget(&seat->upload);
    receipt(co, seat->row);
}

/* The host could not do it now: a block's client begins again after a pause,
 * the other orders are given again. */
static void host_lacks(tb_coordinator *co, tb_seat *seat, tb_order_kind kind,
                       const tb_verdict *verdict)
{
    seat->upload.retry_ms = tb_co_lack(co, seat->run, verdict);
    if (kind == TB_ORDER_ADD_BLOCK && !seat->upload.dropping) {
        tb_co_refuse(co, &seat->row->name, TB_MSG_BLOCK, TB_REFUSE_FULL,
                     co->params.retry_ms, "the coordinator has no room now")
            ->config = seat->upload.ref.config;
    }
}

static void upload_failed(tb_coordinator *co, tb_seat *seat,
                          const tb_verdict *verdict)
{
    tb_upload *upload = &seat->upload;
    tb_order_kind kind = upload->order_kind;
    if (kind == TB_ORDER_ADD_BLOCK) {
        trim(co, upload, upload->done); /* with the order's own block */
    }
    upload->order = 0;
    bool of_client = kind == TB_ORDER_ADD_BLOCK || kind == TB_ORDER_END_UPLOAD;
    if (of_client && verdict->refusal != 0) {
        expel(co, seat,
              kind == TB_ORDER_ADD_BLOCK ? TB_MSG_BLOCK : TB_MSG_UPLOAD_END,
              verdict->refusal, verdict->why);
    } else if (kind == TB_ORDER_ADD_STORED && seat->state != TB_SEAT_DONE &&
               verdict->rc != TB_E_BUG) {
        forget(upload); /* purged in the meantime, and nothing was added */
    } else if (tb_rc_fault(verdict->rc) == TB_FAULT_HOST) {
        host_lacks(co, seat, kind, verdict);
    } else {
        tb_co_doom(seat->run, verdict->why);
    }
}

static void upload_served(tb_coordinator *co, tb_seat *seat,
                          const tb_verdict *verdict)
{
    tb_upload *upload = &seat->upload;
    tb_order_kind kind = upload->order_kind;
    upload->order = 0;
    if (kind == TB_ORDER_ADD_BLOCK) {
        block_added(co, seat, verdict);
    } else if (kind == TB_ORDER_END_UPLOAD) {
        accept(co, seat);
    } else if (kind == TB_ORDER_ADD_STORED && seat->state != TB_SEAT_DONE) {
        drop_counted(upload); /* purged in the meantime */
    } else {                  /* ADD_STORED, DROP_UPLOAD, DROP_STORED */
        seat->stored = false;
        forget(upload);
    }
}

/* The seat whose order this is, or NULL. */
static tb_seat *seat_of(const tb_coordinator *co, uint64_t order)
{
    tb_seat *last = co->by_order[order % TB_ORDERS_KNOWN];
    if (order != 0 && last != NULL && last->upload.order == order) {
        return last;
    }
    for (size_t r = 0; order != 0 && r < co->n_runs; r++) {
        const tb_round *round = &co->runs[r]->round;
        for (uint32_t i = 0; i < round->n_seats; i++) {
            if (round->seats[i].upload.order == order) {
                return &round->seats[i];
            }
        }
    }
    return NULL;
}

bool tb_co_upload_verdict(tb_coordinator *co, const tb_verdict *verdict)
{
    tb_seat *seat = seat_of(co, verdict->order);
    if (seat == NULL) {
        return false;
    }
    co->touched = seat;
    if (verdict->rc == TB_OK) {
        upload_served(co, seat, verdict);
    } else {
        upload_failed(co, seat, verdict);
    }
    tb_upload *upload = &seat->upload;
    if (upload->live && upload->dropping && upload->order == 0 &&
        upload->done == 0) {
        forget(upload);
    }
    return true;
}
