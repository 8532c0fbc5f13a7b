/* Messages of one client: who it is, whether it waits, what it may fetch. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/stream.h"
#include "fed/coordinator_priv.h"

#define HELLO_MS    1000 /* a client's sessions, at the steady pace */
#define HELLO_BURST 16

/* Milliseconds over which all members do once what each does: so many a second,
 * whatever the size of the fleet. */
static uint64_t spread(const tb_coordinator *co)
{
    uint32_t rate = co->params.per_second > 0 ? co->params.per_second : 1;
    return (uint64_t)co->n_rows * 1000 / rate;
}

/* Check-ins of a small fleet lie between 0.75 and 1.25 of wait_ms; a large one
 * is spread wider, around a wait that grows with it. */
static void pace_bounds(const tb_coordinator *co, uint64_t *least,
                        uint64_t *width)
{
    uint64_t half = co->params.wait_ms / 2;
    uint64_t all = spread(co);
    *width = all > half ? all : half;
    uint64_t middle = *width > co->params.wait_ms ? *width : co->params.wait_ms;
    *least = middle - *width / 2;
}

uint64_t tb_co_pace_max(const tb_coordinator *co)
{
    uint64_t least = 0;
    uint64_t width = 0;
    pace_bounds(co, &least, &width);
    return least + width;
}

/* By client and round: a fleet that was told to wait does not come back all at
 * once. */
static uint64_t pace(const tb_coordinator *co, const tb_row *row)
{
    const tb_run *run = co->n_runs > 0 ? co->runs[0] : NULL;
    uint64_t least = 0;
    uint64_t width = 0;
    tb_stream stream;
    tb_stream_init(&stream, run == NULL ? 0 : run->params->seed,
                   run == NULL ? 0 : run->number, "pace", row->name.text);
    pace_bounds(co, &least, &width);
    return least + (uint64_t)((double)width * tb_stream_uniform(&stream));
}

void tb_co_greet(tb_coordinator *co)
{
    tb_row *row = co->greeted;
    co->greeted = NULL;
    if (row == NULL || !row->ready) {
        return; /* it got an offer */
    }
    const char *why =
        co->n_runs == 0
            ? "no job runs now"
            : "the running job needs a data set or labels that you do not have";
    for (size_t i = 0; i < co->n_runs; i++) {
        if (tb_co_eligible(co->runs[i], row)) {
            why = "you will be asked when a cohort is chosen";
        }
    }
    tb_msg_wait *wait = &tb_co_send(co, &row->name, TB_MSG_WAIT, 0)->u.wait;
    if (co->now >= row->again_ms) {
        row->again_ms = tb_co_later(co->now, pace(co, row));
    }
    wait->retry_ms = (uint64_t)(row->again_ms - co->now);
    tb_co_text(wait->why, why);
}

void tb_co_offer(tb_coordinator *co, tb_row *row)
{
    const tb_round *round = &row->seat->run->round;
    row->ready = false;
    (void)tb_co_send(co, &row->name, TB_MSG_OFFER, round->seq);
    if (co->rc == TB_OK) {
        co->out->at[co->out->n - 1].config = round->hash;
    }
}

void tb_co_gone(tb_coordinator *co, tb_row *row)
{
    tb_mem_free(row->data_sets);
    row->data_sets = NULL;
    row->n_data_sets = 0;
    row->reported = (tb_labels){""};
    row->connected = false;
    row->ready = false;
    row->away_ms = co->now;
    tb_co_one_less(co);
    if (row->seat != NULL && row->seat->upload.live) {
        tb_co_ungrant(co, row->seat);
    }
}

/* A HELLO makes all runs count their clients anew: one a second, and so many at
 * once. */
static bool too_many_hellos(tb_coordinator *co, tb_row *row)
{
    int64_t due = row->hello_ms > co->now ? row->hello_ms : co->now;
    int64_t early = due - co->now - HELLO_BURST * HELLO_MS;
    if (early >= 0) {
        (void)tb_co_refuse(co, &row->name, TB_MSG_HELLO, TB_REFUSE_RATE,
                           (uint64_t)early + 1,
                           "you have begun too many sessions: wait");
        return true;
    }
    row->hello_ms = due + HELLO_MS;
    return false;
}

static void hello(tb_coordinator *co, tb_row *row, const tb_msg_hello *msg)
{
    if (too_many_hellos(co, row)) {
        return;
    }
    if (!tb_name_equal(&msg->client, &row->name)) {
        (void)tb_co_refuse(co, &row->name, TB_MSG_HELLO, TB_REFUSE_IDENTITY, 0,
                           "your key belongs to another name");
        return;
    }
    uint32_t newest = msg->protocol_max < TB_PROTOCOL_MAX ? msg->protocol_max
                                                          : TB_PROTOCOL_MAX;
    if (newest < TB_PROTOCOL_MIN || newest < msg->protocol_min) {
        char why[TB_TEXT_BYTES];
        (void)snprintf(why, sizeof why,
                       "you speak protocol %u to %u, the coordinator %u to %u",
                       msg->protocol_min, msg->protocol_max, TB_PROTOCOL_MIN,
                       TB_PROTOCOL_MAX);
        (void)tb_co_refuse(co, &row->name, TB_MSG_HELLO, TB_REFUSE_PROTOCOL, 0,
                           why);
        return;
    }
    tb_name *sets = tb_mem_array(msg->n_data_sets, sizeof *sets);
    if (sets == NULL) {
        tb_co_fail(co, TB_E_NOMEM, "data sets of a client");
        return;
    }
    tb_co_gone(co, row); /* of an older connection; the newest wins */
    memcpy(sets, msg->data_sets, msg->n_data_sets * sizeof *sets);
    row->data_sets = sets;
    row->n_data_sets = msg->n_data_sets;
    row->reported = msg->labels;
    row->connected = true;
    row->active_ms = co->now;
    tb_msg_welcome *welcome =
        &tb_co_send(co, &row->name, TB_MSG_WELCOME, 0)->u.welcome;
    welcome->protocol = newest;
    welcome->spread_ms = spread(co);
}

static void check_in(tb_coordinator *co, tb_row *row)
{
    tb_seat *seat = row->seat;
    bool asked = seat != NULL &&
                 (seat->state == TB_SEAT_ASKED || seat->state == TB_SEAT_TAKEN);
    bool open = asked && seat->run->phase == TB_PHASE_TRAINING;
    if (seat != NULL && seat->flight) {
        open = open && !seat->leaving && !seat->upload.live &&
               tb_hash_equal(&seat->config, &seat->run->round.hash);
        if (!open) {
            tb_co_land(co, seat); /* it has nothing in hand */
        }
    }
    if (open) {
        tb_co_offer(co, row);
        return;
    }
    co->greeted = row;
    if (row->ready && co->now < row->again_ms) {
        return; /* nothing has changed, and nobody counts again */
    }
    row->ready_ms = row->ready ? row->ready_ms : co->now;
    row->ready = true;
    row->active_ms = co->now;
    row->again_ms = 0;
    co->census++;
}

static void answer(tb_coordinator *co, tb_row *row, const tb_msg *msg)
{
    tb_seat *seat = row->seat;
    if (seat == NULL || !tb_hash_equal(&msg->u.answer.config, &seat->config)) {
        tb_co_refuse(co, &row->name, msg->kind, TB_REFUSE_WRONG_ROUND, 0,
                     "this round is not open")
            ->config = msg->u.answer.config;
        return;
    }
    if (seat->state == TB_SEAT_ASKED && msg->kind == TB_MSG_ACCEPT) {
        seat->state = TB_SEAT_TAKEN;
    } else if (msg->kind == TB_MSG_DECLINE && !seat->upload.live &&
               seat->state != TB_SEAT_DONE) {
        seat->state = TB_SEAT_OUT;
        if (seat->flight) {
            row->passed = seat->config;
            tb_co_land(co, seat);
        }
    }
}

static void fetch(tb_coordinator *co, tb_row *row, const tb_msg_fetch *msg)
{
    tb_action *action = tb_co_action(co, TB_ACT_CHUNK, 0);
    action->client = row->name;
    action->u.chunk.blob = msg->blob;
    action->u.chunk.offset = msg->offset;
    action->u.chunk.length = msg->length;
    co->bytes_out += msg->length;
}

/* True when the payload is held. */
static bool talk(tb_coordinator *co, tb_row *row, const tb_event *event)
{
    const tb_msg *msg = event->msg;
    bool held = false;
    co->touched = row->seat;
    if (msg->kind == TB_MSG_CHECK_IN) {
        check_in(co, row);
    } else if (msg->kind == TB_MSG_ACCEPT || msg->kind == TB_MSG_DECLINE) {
        answer(co, row, msg);
    } else if (msg->kind == TB_MSG_FETCH) {
        fetch(co, row, &msg->u.fetch);
    } else if (msg->kind == TB_MSG_UPLOAD_BEGIN) {
        tb_co_upload_begin(co, row, &msg->u.upload_begin);
    } else if (msg->kind == TB_MSG_BLOCK) {
        held = tb_co_block(co, row, &msg->u.block, event->payload,
                           event->payload_bytes);
    } else if (msg->kind == TB_MSG_UPLOAD_END) {
        tb_co_upload_end(co, row, &msg->u.upload_end);
    } else {
        (void)tb_co_refuse(co, &row->name, msg->kind, TB_REFUSE_STATE, 0,
                           "clients do not send this");
    }
    return held;
}

void tb_co_message(tb_coordinator *co, const tb_event *event)
{
    tb_row *row = tb_co_find(co, &event->client);
    bool held = false;
    if (row == NULL || row->revoked) {
        (void)tb_co_refuse(co, &event->client, event->msg->kind,
                           TB_REFUSE_IDENTITY, 0,
                           "you are not a member of this federation");
        tb_co_action(co, TB_ACT_CUT, 0)->client = event->client;
    } else if (event->msg->kind == TB_MSG_HELLO) {
        hello(co, row, &event->msg->u.hello);
    } else if (event->msg->kind == TB_MSG_BYE) {
        tb_co_gone(co, row);
    } else if (!row->connected) {
        (void)tb_co_refuse(co, &row->name, event->msg->kind, TB_REFUSE_STATE, 1,
                           "say HELLO first");
    } else {
        held = talk(co, row, event);
    }
    if (!held) {
        tb_co_discard(co, event->payload);
    }
}
