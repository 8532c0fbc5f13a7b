/* Clients that train for an asynchronous run. A client in flight keeps its seat
 * from its offer to the end of its upload, whatever buffers close meanwhile. It
 * is not journalled who flies: after a restart a client that comes with an
 * update of a known configuration gets a seat then. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator_priv.h"

/* A seat that is not in use, or NULL. */
static tb_seat *spare(tb_coordinator *co, tb_async *a)
{
    if (a->n_flights == a->cap_flights) {
        size_t cap = a->cap_flights == 0 ? 16 : 2 * a->cap_flights;
        tb_seat **flights = tb_mem_resize(a->flights, cap, sizeof *flights);
        if (flights == NULL) {
            tb_co_fail(co, TB_E_NOMEM, "a seat");
            return NULL;
        }
        a->flights = flights;
        a->cap_flights = cap;
    }
    if (a->n_flights == a->n_made) {
        a->flights[a->n_made] = tb_mem_array(1, sizeof(tb_seat));
        if (a->flights[a->n_made] == NULL) {
            tb_co_fail(co, TB_E_NOMEM, "a seat");
            return NULL;
        }
        a->n_made++;
    }
    return a->flights[a->n_flights];
}

/* Two seats change their places in the list. */
static void swap(tb_async *a, size_t i, size_t k)
{
    tb_seat *seat = a->flights[i];
    a->flights[i] = a->flights[k];
    a->flights[k] = seat;
    a->flights[i]->place = i;
    a->flights[k]->place = k;
}

tb_seat *tb_co_fly(tb_coordinator *co, tb_run *run, tb_row *row,
                   const tb_hash *config)
{
    tb_async *a = run->async;
    tb_seat *seat = row->seat;
    if (seat != NULL) {
        bool mine =
            seat->flight && seat->run == run && !seat->leaving &&
            (!seat->upload.live || tb_hash_equal(&seat->config, config));
        if (mine) {
            seat->config = *config;
        }
        return mine ? seat : NULL;
    }
    seat = spare(co, a);
    if (seat == NULL) {
        return NULL;
    }
    a->n_flights++;
    *seat =
        (tb_seat){.row = row, .run = run, .config = *config, .flight = true};
    swap(a, a->n_flights - 1, a->n_flights - 1 - a->n_leaving);
    row->seat = seat;
    return seat;
}

void tb_co_land(tb_coordinator *co, tb_seat *seat)
{
    tb_async *a = seat->run->async;
    if (!seat->leaving) {
        seat->leaving = true;
        a->n_leaving++;
        swap(a, seat->place, a->n_flights - a->n_leaving);
    }
    tb_co_drop(co, seat);
}

/* Its place goes to the end of the list; what remembers it by an order's id
 * finds an empty seat there. */
static void clear(tb_coordinator *co, tb_async *a, tb_seat *seat)
{
    seat->row->seat = NULL;
    seat->row->active_ms = co->now;
    swap(a, seat->place, a->n_flights - 1);
    *seat = (tb_seat){0};
    a->n_flights--;
    a->n_leaving--;
    a->census += a->census == co->census; /* of no use to this run */
    co->census++;
}

void tb_co_clear_flights(tb_coordinator *co, tb_run *run)
{
    tb_async *a = run->async;
    size_t first = a->n_flights - a->n_leaving;
    for (size_t i = a->n_flights; i > first; i--) {
        tb_seat *seat = a->flights[i - 1];
        if (!seat->upload.live && seat->upload.order == 0) {
            clear(co, a, seat);
        }
    }
}

bool tb_co_ground(tb_coordinator *co, tb_run *run)
{
    if (run->async == NULL) {
        return true;
    }
    /* From the end: who leaves changes places with one that was looked at. */
    for (size_t i = run->async->n_flights; i > 0; i--) {
        tb_seat *seat = run->async->flights[i - 1];
        if (!seat->leaving) {
            if (seat->upload.live) {
                tb_co_refuse_seat(co, seat, TB_MSG_UPLOAD_BEGIN, TB_REFUSE_LATE,
                                  "the training of this run is over");
            }
            tb_co_land(co, seat);
        }
    }
    tb_co_clear_flights(co, run);
    return run->async->n_flights == 0;
}

static bool lost(const tb_coordinator *co, const tb_run *run, const tb_row *row)
{
    uint64_t lost_ms = run->params->lost_ms;
    return !row->connected && lost_ms > 0 &&
           co->now >= tb_co_later(row->away_ms, lost_ms);
}

void tb_co_land_lost(tb_coordinator *co, tb_run *run)
{
    for (size_t i = run->async != NULL ? run->async->n_flights : 0; i > 0;
         i--) {
        tb_seat *seat = run->async->flights[i - 1];
        const tb_upload *upload = &seat->upload;
        bool old = tb_co_find_known(co, &seat->config) != run;
        if (seat->leaving || tb_co_order_is(upload, TB_ORDER_END_UPLOAD)) {
            continue; /* tb_co_count judges it */
        }
        if (old && upload->live) {
            tb_co_refuse_seat(co, seat, TB_MSG_UPLOAD_BEGIN, TB_REFUSE_LATE,
                              "its model is more than max_staleness rounds "
                              "old: check in for a new one");
        }
        if (old || (lost(co, run, seat->row) && !upload->has_end)) {
            tb_co_land(co, seat);
        }
    }
}

/* Whether the open buffer's model would be new to this client. */
static bool fresh(const tb_run *run, const tb_row *row)
{
    return !tb_hash_equal(&row->last.config, &run->round.hash) &&
           !tb_hash_equal(&row->passed, &run->round.hash);
}

static bool can_fly(const tb_coordinator *co, const tb_run *run,
                    const tb_row *row)
{
    return row->ready && row->seat == NULL && fresh(run, row) &&
           tb_co_eligible(run, row) && !tb_co_claimed(co, run, row);
}

/* Who has waited longer is first; of equals, who stands first by name. */
static int by_wait(const void *a, const void *b)
{
    const tb_waiting *x = a;
    const tb_waiting *y = b;
    return x->ready_ms != y->ready_ms
               ? (x->ready_ms > y->ready_ms) - (x->ready_ms < y->ready_ms)
               : strcmp(x->row->name.text, y->row->name.text);
}

/* Looks at all members: who could fly, in their order. */
static bool queue_up(tb_coordinator *co, tb_run *run)
{
    tb_async *a = run->async;
    a->queue_at = 0;
    a->n_queue = 0;
    a->queue_of = run->round.hash;
    if (a->cap_queue < co->n_rows) {
        size_t cap = co->n_rows + co->n_rows / 4 + 16;
        tb_waiting *queue = tb_mem_resize(a->queue, cap, sizeof *queue);
        if (queue == NULL) {
            tb_co_fail(co, TB_E_NOMEM, "clients that could fly");
            return false;
        }
        a->queue = queue;
        a->cap_queue = cap;
    }
    for (size_t i = 0; i < co->n_rows; i++) {
        tb_row *row = co->rows[i];
        if (can_fly(co, run, row)) {
            a->queue[a->n_queue++] = (tb_waiting){row, row->ready_ms};
        }
    }
    qsort(a->queue, a->n_queue, sizeof *a->queue, by_wait);
    return true;
}

/* The next of the queue that can still fly, or NULL. Whoever has come since the
 * queue was made has not waited as long as those in it. */
static tb_row *next_up(const tb_coordinator *co, tb_run *run)
{
    tb_async *a = run->async;
    while (a->queue_at < a->n_queue) {
        const tb_waiting *w = &a->queue[a->queue_at++];
        if (w->row->ready_ms == w->ready_ms && can_fly(co, run, w->row)) {
            return w->row;
        }
    }
    return NULL;
}

static bool launch(tb_coordinator *co, tb_run *run, tb_row *row)
{
    if (tb_co_fly(co, run, row, &run->round.hash) == NULL) {
        return false;
    }
    tb_co_offer(co, row);
    return co->rc == TB_OK;
}

/* As many as there is room for of those who could fly, in their order: a look
 * at all members serves as many landings as it found clients. True: some may be
 * left. */
static bool launch_many(tb_coordinator *co, tb_run *run, size_t room)
{
    tb_async *a = run->async;
    bool looked = false;
    if (!tb_hash_equal(&a->queue_of, &run->round.hash)) {
        a->queue_at = a->n_queue; /* its model is new to everybody */
    }
    while (room > 0) {
        tb_row *row = next_up(co, run);
        if (row == NULL && looked) {
            return false;
        }
        if (row == NULL) {
            looked = true;
            if (!queue_up(co, run)) {
                return true;
            }
        } else if (!launch(co, run, row)) {
            return true;
        } else {
            room--;
        }
    }
    return true;
}

void tb_co_launch(tb_coordinator *co, tb_run *run)
{
    tb_async *a = run->async;
    uint64_t changed = co->census - a->census;
    size_t n = a->n_flights - a->n_leaving;
    size_t room = run->params->target > n ? run->params->target - n : 0;
    if (room == 0) {
        a->left = a->left || changed > 0;
    } else if (!a->left && changed == 1 && co->greeted != NULL) {
        /* Nothing else has changed, and nobody was left. */
        bool can = can_fly(co, run, co->greeted);
        a->left = can && (!launch(co, run, co->greeted) || room == 1);
    } else if (a->left || changed > 0) {
        a->left = launch_many(co, run, room);
    }
    a->census = co->census;
}

void tb_co_one_less(tb_coordinator *co)
{
    tb_async *a = co->n_runs == 1 ? co->runs[0]->async : NULL;
    if (a != NULL) {
        a->census += a->census == co->census;
    }
    co->census++;
}

/* Whether an update may still come of this client while this buffer is open. */
static bool is_airborne(const tb_coordinator *co, const tb_run *run,
                        const tb_row *row)
{
    const tb_seat *seat = row->seat;
    if (seat != NULL && seat->flight && seat->run == run && !seat->leaving) {
        return true;
    }
    bool here = row->connected ? tb_co_eligible(run, row)
                               : !row->revoked && !lost(co, run, row);
    return here && fresh(run, row);
}

uint32_t tb_co_airborne(const tb_coordinator *co, const tb_run *run)
{
    uint32_t n = 0;
    for (size_t i = 0; i < co->n_rows; i++) {
        n += is_airborne(co, run, co->rows[i]);
    }
    return n;
}

bool tb_co_any_airborne(const tb_coordinator *co, tb_run *run)
{
    for (size_t i = 0; i < co->n_rows; i++) {
        size_t r = (run->async->airborne_at + i) % co->n_rows;
        if (is_airborne(co, run, co->rows[r])) {
            run->async->airborne_at = r;
            return true;
        }
    }
    return false;
}
