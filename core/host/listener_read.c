/* What comes in. Each connection that has something to read has its turn, of
 * one buffer, or of what has come of the rest of a large frame. Messages are
 * read only while the inbox has room.
 *
 * A message under way is counted with its whole size; all of them together are
 * bounded. Those for which there is no room are held back at its beginning, in
 * their order, and TCP holds their peers back; who has room and does not go on
 * while others wait is ended. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "host/listener_priv.h"

#define GREETINGS      16 /* in a turn of the loop: each may cost 100 us */
#define READS          64 /* the same, of messages, */
#define BYTES          ((size_t)1 << 20) /* which end with so many */
#define STALL_MS       2000
#define PROGRESS_BYTES 16384 /* so many in it are progress */

/* --- messages under way -------------------------------------------------- */

static void recount(tb_listener *l, tb_link *link, size_t bytes, bool waits)
{
    l->half_bytes -= link->counted;
    l->held_bytes -= link->waits ? link->counted : 0;
    link->counted = bytes;
    link->waits = waits;
    l->half_bytes += bytes;
    l->held_bytes += waits ? bytes : 0;
}

void tb_listener_uncount(tb_listener *l, tb_link *link)
{
    recount(l, link, 0, false);
}

static void progress(tb_listener *l, tb_link *link)
{
    link->since_progress = 0;
    link->progress_ms = l->now_ms;
    tb_chain_add(&l->half, TB_CHAIN_HALF, link);
}

/* Bytes of the message under way that are here; *whole: with the rest of its
 * frame, where it is a large one. */
static size_t under_way(const tb_link *link, size_t *whole)
{
    size_t here = link->first.n + tb_zmtp_held(&link->zmtp);
    *whole = here + tb_zmtp_rest(&link->zmtp);
    return here;
}

/* Room is what those that go on leave: those held back, however many they are,
 * never keep each other from going on. */
static bool has_room_for(const tb_listener *l, const tb_link *link,
                         size_t whole)
{
    size_t others =
        l->half_bytes - l->held_bytes - (link->waits ? 0 : link->counted);
    return whole <= link->counted || others + whole <= l->half_bytes_max;
}

/* Counts its message under way. false: there is no room for all of it. */
static bool count(tb_listener *l, tb_link *link, bool may_wait)
{
    size_t whole = 0;
    size_t here = under_way(link, &whole);
    bool room = whole == here ||
                (has_room_for(l, link, whole) &&
                 (!may_wait || whole <= link->counted || l->held_back.n == 0));
    recount(l, link, room ? whole : here, !room);
    if (!room || whole == 0) {
        tb_chain_remove(TB_CHAIN_HALF, link);
    } else if (link->in[TB_CHAIN_HALF].chain == NULL ||
               link->since_progress >= PROGRESS_BYTES) {
        progress(l, link);
    }
    return room;
}

/* In the chain that it waits in: for its turn, or for room. */
static void wait_for_turn(tb_listener *l, tb_link *link, bool room)
{
    tb_chain *chain = !tb_zmtp_is_ready(&link->zmtp) ? &l->greeting
                      : room                         ? &l->readable
                                                     : &l->held_back;
    if (link->readable || !room) {
        tb_chain_add(chain, TB_CHAIN_READING, link);
    } else {
        tb_chain_remove(TB_CHAIN_READING, link);
    }
}

static void let_held_back_go_on(tb_listener *l)
{
    tb_link *link = l->held_back.first;
    while (link != NULL && count(l, link, false)) {
        link->readable = true;
        wait_for_turn(l, link, true);
        link = l->held_back.first;
    }
}

/* What is here of messages that wait has no other bound. */
static void end_some(tb_listener *l)
{
    while (l->half_bytes > 2 * l->half_bytes_max) {
        tb_link *link =
            l->half.first != NULL ? l->half.first : l->held_back.first;
        if (link == NULL) {
            return;
        }
        tb_listener_cut(l, link, "too many messages are under way");
    }
}

void tb_listener_end_stalled(tb_listener *l)
{
    tb_link *link = l->half.first;
    if (!tb_inbox_has_room(l->inbox)) {
        l->no_room_ms = l->now_ms; /* it is not their fault */
    }
    while (l->held_back.n > 0 && link != NULL &&
           l->now_ms - link->progress_ms > STALL_MS &&
           l->now_ms - l->no_room_ms > STALL_MS) {
        tb_link *next = link->in[TB_CHAIN_HALF].after;
        if (!link->readable) {
            tb_listener_cut(l, link, "it keeps others waiting");
        }
        link = next;
    }
}

/* --- messages ------------------------------------------------------------ */

/* Makes this connection its client's own, or says that a newer one is. *old:
 * the one before, which must end. The lock is held. */
static bool adopt(tb_listener *l, tb_link *link, tb_link **old)
{
    tb_peer *peer = link->peer;
    if (peer->own == link) {
        return true;
    }
    if (peer->own != NULL && peer->own->serial > link->serial) {
        return false;
    }
    *old = peer->own;
    if (*old != NULL) {
        tb_listener_gone(l, peer, "the client has connected again");
    }
    peer->own = link;
    tb_peers_remove_silent(peer, link);
    peer->connection = link->serial;
    peer->stats.connected = true;
    l->n_connected++;
    tb_chain_remove(TB_CHAIN_STANDING, link);
    return true;
}

/* Whether its message counts: not that of a client that is shut out, or has a
 * newer connection. */
static bool claim(tb_listener *l, tb_link *link, size_t bytes)
{
    tb_link *old = NULL;
    tb_peer *peer = link->peer;
    (void)pthread_mutex_lock(&l->lock);
    bool ok = peer == NULL ||
              (peer->allowed && !peer->cut &&
               tb_peers_has_key(peer, link->key) && adopt(l, link, &old));
    if (ok) {
        l->totals.messages_in++;
        l->totals.bytes_in += bytes;
    } else {
        l->totals.dropped++;
    }
    if (ok && peer != NULL) {
        peer->stats.messages_in++;
        peer->stats.bytes_in += bytes;
    }
    (void)pthread_mutex_unlock(&l->lock);
    if (old != NULL) {
        tb_listener_end(l, old, "");
    }
    return ok;
}

static void deliver(tb_listener *l, tb_link *link, tb_frame *envelope,
                    tb_frame *payload)
{
    tb_inbound *event = NULL;
    bool again = link->peer == NULL && link->spoken;
    link->spoken = true;
    if (again && !tb_listener_may_enrol(l)) {
        l->n_turned_away++;
    } else if (claim(l, link, envelope->n + payload->n)) {
        event = tb_inbox_event(l->inbox, link->peer != NULL ? TB_IN_MESSAGE
                                                            : TB_IN_ENROL);
    }
    if (event == NULL) { /* the peer will try again */
        tb_mem_free(envelope->memory);
        tb_mem_free(payload->memory);
        *envelope = *payload = (tb_frame){NULL, NULL, 0};
        tb_listener_end(l, link, "a message could not be taken");
        return;
    }
    if (link->peer != NULL) {
        event->client = link->peer->name;
    }
    event->connection = link->serial;
    memcpy(event->curve_key, link->key, sizeof event->curve_key);
    tb_inbox_fill_frames(event, envelope, payload);
    tb_inbox_put(l->inbox, &event);
}

static void take_frame(tb_listener *l, tb_link *link, const tb_zmtp_event *e)
{
    tb_frame none = {NULL, NULL, 0};
    tb_frame frame = {e->memory, e->data, e->n_data};
    link->since_progress = PROGRESS_BYTES;
    if (e->more) {
        link->first = frame;
    } else if (link->first.memory != NULL) {
        tb_frame first = link->first;
        link->first = none;
        deliver(l, link, &first, &frame);
    } else {
        deliver(l, link, &frame, &none);
    }
}

static void take_event(tb_listener *l, tb_link *link, const tb_zmtp_event *e)
{
    switch (e->kind) {
    case TB_ZMTP_ANSWER:
        link->answered = true;
        (void)tb_listener_answer(l, link, e->answer, e->n_answer);
        break;
    case TB_ZMTP_KEY:
        tb_listener_judge(l, link, e->key);
        break;
    case TB_ZMTP_FRAME:
        take_frame(l, link, e);
        break;
    case TB_ZMTP_NOTHING:
        break;
    }
}

/* The connection must end; who broke a rule waits before it is let in again. */
static void take_error(tb_listener *l, tb_link *link, const tb_err *err)
{
    tb_peer *peer = link->peer;
    if (err->rc == TB_E_NOMEM) {
        tb_listener_end(l, link, err->text); /* it will try again */
        return;
    }
    if (link->serial == 0) {
        tb_listener_bad_handshake(l, link);
        return;
    }
    (void)pthread_mutex_lock(&l->lock);
    l->totals.dropped++;
    if (peer != NULL) {
        peer->held_until_ms = l->now_ms + TB_LISTENER_HOLD_MS;
    }
    (void)pthread_mutex_unlock(&l->lock);
    tb_sources_charge(&l->sources, link->net, l->now_ms);
    tb_listener_cut(l, link, err->text);
}

static void take_bytes(tb_listener *l, tb_link *link, size_t n)
{
    tb_zmtp_event e;
    tb_err err = {0};
    size_t used = 0;
    for (size_t at = 0; at < n && link->fd >= 0; at += used) {
        tb_rc rc = tb_zmtp_read(&link->zmtp, l->received + at, n - at, &used,
                                &e, &err);
        if (rc == TB_OK) {
            take_event(l, link, &e);
        } else {
            take_error(l, link, &err);
        }
    }
}

static void take_rest(tb_listener *l, tb_link *link, size_t n)
{
    tb_zmtp_event e;
    tb_err err = {0};
    if (tb_zmtp_filled(&link->zmtp, n, &e, &err) == TB_OK) {
        take_event(l, link, &e);
    } else {
        take_error(l, link, &err);
    }
}

/* --- turns --------------------------------------------------------------- */

/* 0: nothing is there now, or its end. */
static size_t receive(tb_listener *l, tb_link *link, uint8_t *to, size_t room)
{
    ssize_t n = recv(link->fd, to, room, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) {
        return 0; /* in its next turn */
    }
    if (n < 0 && errno == EAGAIN) {
        link->readable = false;
        return 0;
    }
    if (n <= 0) {
        if (link->serial == 0) {
            tb_listener_bad_handshake(l, link); /* it may have cost us work */
        } else {
            tb_listener_end(l, link, "the connection ended");
        }
        return 0;
    }
    if ((size_t)n < room && !link->over) {
        link->readable = false; /* epoll will say when there is more */
    }
    return (size_t)n;
}

static size_t read_link(tb_listener *l, tb_link *link)
{
    uint8_t *rest = NULL;
    size_t gap = tb_zmtp_gap(&link->zmtp, &rest);
    size_t n = gap > 0 ? receive(l, link, rest, gap)
                       : receive(l, link, l->received, TB_LISTENER_READ_BYTES);
    link->since_progress += n;
    if (n > 0 && gap > 0) {
        take_rest(l, link, n);
    } else if (n > 0) {
        take_bytes(l, link, n);
    }
    if (link->fd >= 0) {
        wait_for_turn(l, link, count(l, link, true));
        end_some(l);
    }
    return n;
}

void tb_listener_readable(tb_listener *l, tb_link *link)
{
    link->readable = true;
    if (link->in[TB_CHAIN_READING].chain == NULL) {
        wait_for_turn(l, link, true);
    }
}

bool tb_listener_read(tb_listener *l)
{
    size_t bytes = 0;
    for (int i = 0; i < GREETINGS && l->greeting.first != NULL; i++) {
        (void)read_link(l, l->greeting.first);
    }
    let_held_back_go_on(l);
    for (int i = 0; i < READS && bytes < BYTES && l->readable.first != NULL &&
                    tb_inbox_has_room(l->inbox);
         i++) {
        bytes += read_link(l, l->readable.first);
    }
    return l->greeting.first != NULL ||
           (l->readable.first != NULL && tb_inbox_has_room(l->inbox));
}
