/* What goes out: answers of the handshake at once, messages as the sockets take
 * them. Shared payloads are sealed into one buffer of the thread, for one
 * connection after the other. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "host/listener_priv.h"

#define FLUSH_BYTES    ((size_t)512 << 10) /* of one client in its turn */
#define TURN_BYTES     ((size_t)4 << 20) /* of all, before others have theirs */
#define REST_BYTES_MAX ((size_t)4 << 20) /* kept sealed, of all together */

size_t tb_listener_sealed_bytes(void)
{
    return TB_ENVELOPE_BYTES_MAX + TB_PAYLOAD_BYTES_MAX +
           (size_t)TB_OUTGOING_FRAMES * TB_ZMTP_SEALED_BYTES_MAX;
}

/* Sends without waiting. 0: there is no room now; -1: it is over. */
static ssize_t send_some(int fd, const uint8_t *bytes, size_t n)
{
    ssize_t sent = -1;
    do {
        sent = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 && errno == EAGAIN ? 0 : sent;
}

bool tb_listener_answer(tb_listener *l, tb_link *link, const uint8_t *bytes,
                        size_t n)
{
    /* The socket of a peer that reads its answers is empty now. */
    bool whole = send_some(link->fd, bytes, n) == (ssize_t)n;
    if (!whole) {
        tb_listener_end(l, link, "the connection ended");
    }
    return whole;
}

/* --- one message --------------------------------------------------------- */

static size_t seal_frame(const tb_link *link, size_t i, uint8_t *out)
{
    const tb_sending *s = &link->out;
    size_t n = 0;
    size_t n_next = 0;
    const uint8_t *data = tb_outgoing_frame(s->message, i, &n);
    bool more = i + 1 < TB_OUTGOING_FRAMES &&
                tb_outgoing_frame(s->message, i + 1, &n_next) != NULL;
    return data != NULL
               ? tb_zmtp_seal(&link->zmtp, s->nonce[i], more, data, n, out)
               : 0;
}

/* Seals it into the thread's buffer, whatever of it is still to be sent. */
static void seal(tb_listener *l, tb_link *link)
{
    tb_sending *s = &link->out;
    if (s->sent == 0 || s->sent < s->first_bytes) {
        s->first_bytes = seal_frame(link, 0, l->sealed);
    }
    s->bytes = s->first_bytes + seal_frame(link, 1, l->sealed + s->first_bytes);
}

static void start(tb_listener *l, tb_link *link, tb_outgoing *message)
{
    size_t n = 0;
    link->out = (tb_sending){.message = message};
    for (size_t i = 0; i < TB_OUTGOING_FRAMES; i++) {
        if (tb_outgoing_frame(message, i, &n) != NULL) {
            link->out.nonce[i] = tb_zmtp_next_nonce(&link->zmtp);
        }
    }
    l->n_sending++;
}

static void drop_rest(tb_listener *l, tb_sending *s)
{
    if (s->rest != NULL) {
        l->rest_bytes -= s->bytes - s->rest_from;
        tb_mem_free(s->rest);
        s->rest = NULL;
    }
}

void tb_listener_unsend(tb_listener *l, tb_link *link)
{
    if (link->out.message != NULL) {
        drop_rest(l, &link->out);
        tb_outgoing_free(&link->out.message);
        l->n_sending--;
    }
}

/* The socket is full. Where there is room the rest is kept; else it is sealed
 * again, to the same bytes. */
static void keep_rest(tb_listener *l, tb_sending *s, const uint8_t *from)
{
    size_t n = s->bytes - s->sent;
    if (s->rest != NULL || n > REST_BYTES_MAX - l->rest_bytes) {
        return;
    }
    s->rest = tb_mem_resize(NULL, n, 1);
    if (s->rest != NULL) {
        memcpy(s->rest, from, n);
        s->rest_from = s->sent;
        l->rest_bytes += n;
    }
}

/* Goes on with the message under way, until it is gone or the socket full.
 * Returns bytes sent. */
static size_t push(tb_listener *l, tb_link *link)
{
    tb_sending *s = &link->out;
    size_t before = s->sent;
    if (s->rest == NULL) {
        seal(l, link);
    }
    while (s->sent < s->bytes) {
        const uint8_t *from = s->rest != NULL
                                  ? s->rest + (s->sent - s->rest_from)
                                  : l->sealed + s->sent;
        ssize_t n = send_some(link->fd, from, s->bytes - s->sent);
        if (n <= 0) {
            link->writable = false;
            if (n < 0) {
                tb_listener_end(l, link, "the connection ended");
                return 0;
            }
            keep_rest(l, s, from);
            return s->sent - before;
        }
        s->sent += (size_t)n;
    }
    size_t pushed = s->sent - before;
    tb_listener_unsend(l, link);
    return pushed;
}

/* --- one connection ------------------------------------------------------ */

/* Takes the next message of its client, and counts it. */
static bool start_next(tb_listener *l, tb_link *link)
{
    tb_peer *peer = link->peer;
    size_t n[TB_OUTGOING_FRAMES] = {0};
    (void)pthread_mutex_lock(&l->lock);
    tb_outgoing *message =
        peer != NULL && peer->own == link ? tb_outbox_take(&peer->out) : NULL;
    if (message != NULL) {
        for (size_t i = 0; i < TB_OUTGOING_FRAMES; i++) {
            (void)tb_outgoing_frame(message, i, &n[i]);
        }
        peer->stats.messages_out++;
        peer->stats.bytes_out += n[0] + n[1];
        l->totals.messages_out++;
        l->totals.bytes_out += n[0] + n[1];
    }
    (void)pthread_mutex_unlock(&l->lock);
    if (message != NULL) {
        start(l, link, message);
    }
    return message != NULL;
}

/* Sends what waits, as far as there is room and it is its turn; returns the
 * bytes. *more: it needs another turn. */
static size_t flush(tb_listener *l, tb_link *link, bool *more)
{
    size_t sent = 0;
    *more = false;
    while (link->fd >= 0 && link->writable) {
        if (link->out.message == NULL && !start_next(l, link)) {
            break;
        }
        if (sent >= FLUSH_BYTES) {
            *more = true;
            break;
        }
        sent += push(l, link);
    }
    return sent;
}

static void wait_for_turn(tb_listener *l, tb_peer *peer)
{
    (void)pthread_mutex_lock(&l->lock);
    tb_peers_wait(&l->peers, peer);
    (void)pthread_mutex_unlock(&l->lock);
}

void tb_listener_writable(tb_listener *l, tb_link *link)
{
    if (link->writable) {
        return; /* epoll says it with everything else */
    }
    link->writable = true;
    if (link->peer != NULL) {
        wait_for_turn(l, link->peer);
    } else { /* a stranger has one small message */
        bool more = false;
        (void)flush(l, link, &more);
    }
}

/* --- all ----------------------------------------------------------------- */

static tb_link *find_stranger(const tb_listener *l, uint64_t serial)
{
    tb_link *link = l->strangers.first;
    while (link != NULL && link->serial != serial) {
        link = link->in[TB_CHAIN_STANDING].after;
    }
    return link;
}

/* Answers at the enrolment door. One that waits for its own last answer keeps
 * its place here. */
static void send_replies(tb_listener *l)
{
    for (size_t i = 0; i < TB_LISTENER_REPLIES; i++) {
        tb_enrol_reply *reply = &l->replies[i];
        tb_outgoing *message = NULL;
        (void)pthread_mutex_lock(&l->lock);
        tb_link *link =
            reply->connection != 0 ? find_stranger(l, reply->connection) : NULL;
        if (reply->connection != 0 &&
            (link == NULL || link->out.message == NULL)) {
            message = tb_outbox_take(&reply->out);
            reply->connection = 0;
            l->n_replies--;
        }
        (void)pthread_mutex_unlock(&l->lock);
        if (link != NULL && message != NULL) {
            bool more = false;
            start(l, link, message);
            (void)flush(l, link, &more);
        } else {
            tb_outgoing_free(&message);
        }
    }
}

/* One client that waits: what it asked for is sent, or it is ended. */
static size_t serve(tb_listener *l, tb_peer *peer, bool cut)
{
    bool more = false;
    size_t sent = 0;
    if (cut) {
        tb_listener_cut_peer(l, peer);
    } else if (peer->own != NULL) {
        sent = flush(l, peer->own, &more);
    }
    if (more) {
        wait_for_turn(l, peer);
        l->send_again = true;
    }
    return sent;
}

/* They have their turn before those that have come since. The lock is held. */
static void wait_on(tb_listener *l, tb_peer *first)
{
    tb_peer *last = first;
    while (last->next_waiting != NULL) {
        last = last->next_waiting;
    }
    last->next_waiting = l->peers.waiting;
    l->peers.waiting = first;
    l->send_again = true;
}

void tb_listener_send(tb_listener *l)
{
    size_t sent = 0;
    (void)pthread_mutex_lock(&l->lock);
    tb_peer *peer = l->peers.waiting;
    bool replies = l->n_replies > 0;
    l->peers.waiting = NULL;
    l->woken = false;
    l->send_again = false;
    while (peer != NULL && sent < TURN_BYTES) {
        tb_peer *next = peer->next_waiting;
        bool cut = peer->cut;
        peer->waiting = false;
        (void)pthread_mutex_unlock(&l->lock);
        sent += serve(l, peer, cut);
        peer = next;
        (void)pthread_mutex_lock(&l->lock);
    }
    if (peer != NULL) {
        wait_on(l, peer);
    }
    l->n_expected = l->peers.n - l->n_connected;
    l->totals.connections = l->all.n;
    l->totals.cut = l->n_cut + l->n_turned_away;
    (void)pthread_mutex_unlock(&l->lock);
    if (replies) {
        send_replies(l);
    }
}
