/* Clients that train for an asynchronous run. A client in flight keeps its seat
 * from its offer to the end of its upload, whatever buffers close meanwhile. It
 * is not journalled who flies: after a restart a client that comes with an
 * update of a known configuration gets a seat then. */
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
    row->seat = seat;
    return seat;
}

void tb_co_land(tb_coordinator *co, tb_seat *seat)
{
    seat->run->async->n_leaving += !seat->leaving;
    seat->leaving = true;
    tb_co_drop(co, seat);
    seat->run->async->look_all = true;
}

/* Its place goes to the end of the list; what remembers it by an order's id
 * finds an empty seat there. */
static void clear(tb_coordinator *co, tb_async *a, size_t i)
{
    tb_seat *seat = a->flights[i];
    seat->row->seat = NULL;
    seat->row->active_ms = co->now;
    *seat = (tb_seat){0};
    a->flights[i] = a->flights[--a->n_flights];
    a->flights[a->n_flights] = seat;
    a->n_leaving--;
    a->census += a->census == co->census; /* of no use to this run */
    co->census++;
}

void tb_co_clear_flights(tb_coordinator *co, tb_run *run)
{
    tb_async *a = run->async;
    for (size_t i = a->n_leaving > 0 ? a->n_flights : 0; i > 0; i--) {
        const tb_seat *seat = a->flights[i - 1];
        if (seat->leaving && !seat->upload.live && seat->upload.order == 0) {
            clear(co, a, i - 1);
        }
    }
}

bool tb_co_ground(tb_coordinator *co, tb_run *run)
{
    if (run->async == NULL) {
        return true;
    }
    for (size_t i = 0; i < run->async->n_flights; i++) {
        tb_seat *seat = run->async->flights[i];
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

static bool proving(const tb_upload *upload)
{
    return upload->order != 0 && upload->order_kind == TB_ORDER_END_UPLOAD;
}

void tb_co_land_lost(tb_coordinator *co, tb_run *run)
{
    for (size_t i = 0; run->async != NULL && i < run->async->n_flights; i++) {
        tb_seat *seat = run->async->flights[i];
        const tb_upload *upload = &seat->upload;
        bool old = tb_co_find_known(co, &seat->config) != run;
        if (seat->leaving || proving(upload)) {
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

/* The one who has waited longest of those who could fly, or NULL. */
static tb_row *next_up(const tb_coordinator *co, const tb_run *run)
{
    tb_row *best = NULL;
    for (size_t i = 0; i < co->n_rows; i++) {
        tb_row *row = co->rows[i];
        if (can_fly(co, run, row) &&
            (best == NULL || row->ready_ms < best->ready_ms)) {
            best = row;
        }
    }
    return best;
}

/* Whom to look at: the client that has just checked in, when nothing else has
 * changed and nobody was left; else all. */
static tb_row *candidate(const tb_coordinator *co, const tb_run *run,
                         uint64_t changed)
{
    tb_row *row = co->greeted;
    if (run->async->left || changed > 1 || row == NULL) {
        return next_up(co, run);
    }
    return can_fly(co, run, row) ? row : NULL;
}

void tb_co_launch(tb_coordinator *co, tb_run *run)
{
    tb_async *a = run->async;
    uint64_t changed = co->census - a->census;
    size_t n = a->n_flights - a->n_leaving;
    if (n >= run->params->target) {
        a->left = a->left || changed > 0;
        a->census = co->census;
        return;
    }
    if (changed == 0 && !a->left) {
        return;
    }
    tb_row *row = NULL;
    while (n < run->params->target && co->rc == TB_OK &&
           (row = candidate(co, run, changed)) != NULL) {
        if (tb_co_fly(co, run, row, &run->round.hash) == NULL) {
            return;
        }
        tb_co_offer(co, row);
        n++;
    }
    a->left = row != NULL;
    a->census = co->census;
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
