/* What uploads have computed: one order out for each at a time, and what comes
 * of it. ingest.c takes the messages. */
#include <string.h>

#include "fed/coordinator_priv.h"

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
    o->into = seat->config;
    o->deferred = seat->flight;
    o->weight = upload->weight;
    o->full = upload->counted ? upload->full : upload->weight;
    if (kind == TB_ORDER_ADD_BLOCK) {
        o->index = upload->done;
        if (upload->done >= upload->found) {
            const tb_held *held = &upload->held[upload->done % TB_WINDOW_MAX];
            o->payload = held->payload;
            o->payload_bytes = held->bytes;
        }
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

/* What was proven shall not count: of a cohort it is in the sum by now. */
static void drop_proven(tb_coordinator *co, tb_seat *seat)
{
    if (seat->flight) {
        tb_co_forget_upload(&seat->upload);
        tb_co_land(co, seat);
        return;
    }
    seat->upload.full = seat->upload.weight;
    drop_counted(&seat->upload);
}

void tb_co_purge(tb_coordinator *co, const tb_name *client)
{
    const tb_row *row = tb_co_find(co, client);
    tb_seat *seat = row != NULL ? row->seat : NULL;
    bool found =
        seat != NULL && tb_co_order_is(&seat->upload, TB_ORDER_END_UPLOAD);
    if (found) { /* no row tells of it: after a kill nobody acknowledges it */
        seat->unwanted = true;
    }
    for (size_t i = 0; i < co->n_runs; i++) {
        found = tb_co_buffer_purge(co, co->runs[i], client) || found;
    }
    if (found) {
        return; /* it is in no cohort then, or only measures */
    }
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
    bool training = seat->flight || seat->run->phase == TB_PHASE_TRAINING;
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
    } else if (training && upload->asks) {
        order(co, seat, TB_ORDER_FIND_BLOCKS);
    } else if (training && upload->done < upload->received) {
        order(co, seat, TB_ORDER_ADD_BLOCK);
    } else if (upload->ended) {
        tb_co_count(co, seat);
    } else if (training && upload->has_end) {
        order(co, seat, TB_ORDER_END_UPLOAD);
    }
}

static tb_seat *touched(const tb_coordinator *co, const tb_run *run,
                        bool flight)
{
    tb_seat *seat = co->touched;
    return seat != NULL && seat->run == run && seat->flight == flight ? seat
                                                                      : NULL;
}

/* Those in flight, whatever round is open. */
static void pump_flights(tb_coordinator *co, tb_run *run)
{
    tb_async *a = run->async;
    tb_co_clear_flights(co, run);
    tb_seat *seat = touched(co, run, true);
    if (seat != NULL) {
        pump_seat(co, seat);
    }
    for (size_t i = a->look_all ? 0 : a->n_flights - a->n_leaving;
         i < a->n_flights; i++) {
        pump_seat(co, a->flights[i]);
    }
    a->look_all = false;
    tb_co_pump_buffer(co, run);
}

/* What an event touched; all uploads, when more than that may have changed. */
static void pump_run(tb_coordinator *co, tb_run *run)
{
    tb_round *round = &run->round;
    if (run->async != NULL) {
        pump_flights(co, run);
    }
    if (!round->open || !round->sum_open || round->doomed) {
        return;
    }
    tb_seat *seat = touched(co, run, false);
    if (seat != NULL) {
        pump_seat(co, seat);
    }
    for (uint32_t i = 0; round->look_all && i < round->n_seats; i++) {
        pump_seat(co, &round->seats[i]);
    }
    round->look_all = false;
}

static bool grant_flights(tb_coordinator *co, tb_async *a)
{
    bool granted = false;
    size_t first = a->n_flights > 0 ? a->grant_from % a->n_flights : 0;
    for (size_t i = 0; i < a->n_flights && co->pool_blocks < co->pool_max;
         i++) {
        size_t s = (first + i) % a->n_flights;
        if (tb_co_grant(co, a->flights[s])) {
            a->grant_from = s + 1;
            granted = true;
        }
    }
    return granted;
}

/* Gives what the pool has to those who wait, each in turn; true when one was
 * granted more. */
static bool grant_run(tb_coordinator *co, tb_run *run)
{
    tb_round *round = &run->round;
    bool granted = run->async != NULL && grant_flights(co, run->async);
    if (!round->open || !round->sum_open || round->doomed) {
        return granted;
    }
    uint32_t first = round->n_seats > 0 ? run->grant_from % round->n_seats : 0;
    for (uint32_t i = 0; i < round->n_seats && co->pool_blocks < co->pool_max;
         i++) {
        uint32_t s = (first + i) % round->n_seats;
        if (tb_co_grant(co, &round->seats[s])) {
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
    if (tb_co_buffered(run)) {
        return tb_co_buffer_quiet(run);
    }
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
        upload->samples = verdict->weight;
        upload->weight = tb_run_weights(seat->run->params, seat->run->task,
                                        verdict->weight, 0)
                             .weight;
    }
    co->pool_blocks -= upload->done >= upload->found;
    upload->done++;
    seat->moved_ms = co->now;
    (void)tb_co_grant(co, seat);
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
    tb_co_forget_upload(&seat->upload);
    tb_co_receipt(co, &seat->row->last, seat->row->last_seq);
}

/* The host could not do it now: the client whose block is gone begins again
 * after a pause, the other orders are given again. */
static void host_lacks(tb_coordinator *co, tb_seat *seat, bool gone,
                       const tb_verdict *verdict)
{
    seat->upload.retry_ms = tb_co_lack(co, seat->run, verdict);
    if (gone && !seat->upload.dropping) {
        tb_co_refuse(co, &seat->row->name, TB_MSG_BLOCK, TB_REFUSE_FULL,
                     co->params.retry_ms, "the coordinator has no room now")
            ->config = seat->upload.ref.config;
    }
}

/* What a client in flight sent could not be kept, and will not be: it trains
 * again. */
static void flight_failed(tb_coordinator *co, tb_seat *seat, tb_order_kind kind,
                          const tb_verdict *verdict)
{
    if (kind == TB_ORDER_DROP_UPLOAD) {
        tb_co_forget_upload(&seat->upload);
    } else if (!seat->leaving) {
        tb_co_refuse_seat(co, seat, TB_MSG_UPLOAD_BEGIN, TB_REFUSE_HASH,
                          verdict->why);
        tb_co_land(co, seat);
    }
}

static void upload_failed(tb_coordinator *co, tb_seat *seat,
                          const tb_verdict *verdict)
{
    tb_upload *upload = &seat->upload;
    tb_order_kind kind = upload->order_kind;
    bool gone = kind == TB_ORDER_ADD_BLOCK && upload->done >= upload->found;
    if (gone) {
        tb_co_trim(co, upload, upload->done); /* with the order's own block */
    }
    upload->order = 0;
    bool of_client = kind == TB_ORDER_ADD_BLOCK || kind == TB_ORDER_END_UPLOAD;
    if (of_client && verdict->refusal != 0) {
        tb_co_expel(co, seat,
                    kind == TB_ORDER_ADD_BLOCK ? TB_MSG_BLOCK
                                               : TB_MSG_UPLOAD_END,
                    verdict->refusal, verdict->why);
    } else if (kind == TB_ORDER_ADD_STORED && seat->state != TB_SEAT_DONE &&
               verdict->rc != TB_E_BUG) {
        tb_co_forget_upload(upload); /* purged, and nothing was added */
    } else if (tb_rc_fault(verdict->rc) == TB_FAULT_HOST &&
               !(seat->flight && verdict->rc == TB_E_CANCELLED)) {
        host_lacks(co, seat, gone, verdict);
    } else if (seat->flight) {
        flight_failed(co, seat, kind, verdict);
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
    if (kind == TB_ORDER_END_UPLOAD) {
        seat->row->resumed = false;
    }
    if (kind == TB_ORDER_FIND_BLOCKS) {
        tb_co_upload_found(co, seat, verdict->n_blocks);
    } else if (kind == TB_ORDER_ADD_BLOCK) {
        block_added(co, seat, verdict);
    } else if (kind == TB_ORDER_END_UPLOAD && seat->unwanted) {
        drop_proven(co, seat);
    } else if (kind == TB_ORDER_END_UPLOAD && seat->flight) {
        upload->ended = true;
        tb_co_count(co, seat);
    } else if (kind == TB_ORDER_END_UPLOAD) {
        accept(co, seat);
    } else if (kind == TB_ORDER_ADD_STORED && seat->state != TB_SEAT_DONE) {
        drop_counted(upload); /* purged in the meantime */
    } else {                  /* ADD_STORED, DROP_UPLOAD, DROP_STORED */
        seat->stored = false;
        tb_co_forget_upload(upload);
    }
}

/* The seat whose order this is, if it was one of the newest. */
static tb_seat *recent(const tb_coordinator *co, uint64_t order)
{
    tb_seat *last = co->by_order[order % TB_ORDERS_KNOWN];
    return order != 0 && last != NULL && last->upload.order == order ? last
                                                                     : NULL;
}

/* The seat whose order this is, or NULL. */
static tb_seat *seat_of(const tb_coordinator *co, uint64_t order)
{
    for (size_t r = 0; order != 0 && r < co->n_runs; r++) {
        const tb_round *round = &co->runs[r]->round;
        const tb_async *a = co->runs[r]->async;
        for (uint32_t i = 0; i < round->n_seats; i++) {
            if (round->seats[i].upload.order == order) {
                return &round->seats[i];
            }
        }
        for (size_t i = 0; a != NULL && i < a->n_flights; i++) {
            if (a->flights[i]->upload.order == order) {
                return a->flights[i];
            }
        }
    }
    return NULL;
}

bool tb_co_upload_verdict(tb_coordinator *co, const tb_verdict *verdict)
{
    tb_seat *seat = recent(co, verdict->order);
    if (seat == NULL && tb_co_buffer_verdict(co, verdict)) {
        return true;
    }
    seat = seat != NULL ? seat : seat_of(co, verdict->order);
    if (seat == NULL) {
        return false;
    }
    co->touched = seat;
    if (verdict->rc == TB_OK) {
        seat->run->host_why[0] = '\0';
        upload_served(co, seat, verdict);
    } else {
        upload_failed(co, seat, verdict);
    }
    tb_upload *upload = &seat->upload;
    if (upload->live && upload->dropping && upload->order == 0 &&
        upload->done == 0) {
        tb_co_forget_upload(upload);
    }
    return true;
}
