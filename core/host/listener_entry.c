/* Who comes in: how many, how many strangers of one address (sources.h; the
 * kernel turns some away before we see them: sieve.h), and with which keys. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/spare.h"
#include "host/listener_priv.h"

#define ACCEPTS  64   /* before others have a turn */
#define REST_MS  20   /* of accepting, without descriptors or memory */
#define CLEAR_MS 1000 /* one connection of a key in it is for free */

bool tb_listener_watch(tb_listener *l, int fd, uint32_t events, void *what)
{
    struct epoll_event e = {.events = events, .data.ptr = what};
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

/* With a reset, that nothing of it stays with us. */
static void turn_away(tb_listener *l, int fd)
{
    struct linger reset = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)close(fd);
    l->n_turned_away++;
}

/* --- the kernel's part --------------------------------------------------- */

/* Without a program all goes on, at a higher price. */
void tb_listener_sieve_door(tb_listener *l, const tb_door *door)
{
    tb_err err;
    if (tb_sieve_attach(&l->sieve, door->fd, &err) != TB_OK) {
        tb_sieve_detach(door->fd);
        if (!l->told_unsieved) {
            tb_log(TB_LOG_WARN, "event=no_sieve reason=\"%s\"", err.text);
        }
        l->told_unsieved = true;
    }
}

void tb_listener_sieve(tb_listener *l)
{
    bool is_new = tb_sieve_make(&l->sieve, &l->sources, l->now_ms);
    for (size_t i = 0; i < TB_DOORS && is_new; i++) {
        if (l->doors[i].open) {
            tb_listener_sieve_door(l, &l->doors[i]);
        }
    }
}

/* --- at the door --------------------------------------------------------- */

/* Ends the oldest connection that has proven nothing, or said nothing. */
static bool evict(tb_listener *l)
{
    tb_link *oldest =
        l->strangers.first != NULL ? l->strangers.first : l->silent.first;
    if (oldest == NULL) {
        return false;
    }
    tb_listener_end(l, oldest, "others wanted to come in");
    l->n_turned_away++;
    return true;
}

static bool admit(tb_listener *l, tb_door *door, int fd, uint64_t net)
{
    if (!tb_sources_admit(&l->sources, net, l->n_expected, l->now_ms) ||
        (l->all.n >= l->max_connections && !evict(l))) {
        return false;
    }
    tb_link *link = tb_link_new(fd, (tb_door_at)(door - l->doors), door);
    if (link == NULL ||
        !tb_listener_watch(l, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                           link)) {
        tb_link_free(&link);
        return false;
    }
    link->net = net;
    link->since_ms = l->now_ms;
    tb_chain_add(&l->all, TB_CHAIN_ALL, link);
    tb_chain_add(&l->strangers, TB_CHAIN_STANDING, link);
    return true;
}

static void watch_doors(tb_listener *l, uint32_t events)
{
    for (size_t i = 0; i < TB_DOORS; i++) {
        struct epoll_event e = {.events = events, .data.ptr = &l->doors[i]};
        if (l->doors[i].open) {
            (void)epoll_ctl(l->epoll, EPOLL_CTL_MOD, l->doors[i].fd, &e);
        }
    }
}

/* A door that cannot be served would wake the loop without end. */
static void rest(tb_listener *l)
{
    l->resting_ms = l->now_ms + REST_MS;
    watch_doors(l, 0);
}

void tb_listener_rest_over(tb_listener *l)
{
    l->resting_ms = 0;
    watch_doors(l, EPOLLIN);
}

/* Where no descriptor is left a peer is turned away with one of those that are
 * kept back. */
static bool turn_one_away(tb_listener *l, const tb_door *door)
{
    int fd = tb_spare_accept(door->fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        turn_away(l, fd);
    }
    return fd >= 0;
}

/* false: no more for now. */
static bool accept_one(tb_listener *l, tb_door *door)
{
    struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof from;
    int fd = accept4(door->fd, (struct sockaddr *)&from, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        if (admit(l, door, fd, tb_source_of((struct sockaddr *)&from))) {
            tb_sieve_detach(fd);
        } else {
            turn_away(l, fd);
            tb_listener_sieve(l);
        }
        return true;
    }
    if (errno == EAGAIN || (errno == EMFILE && turn_one_away(l, door))) {
        return errno != EAGAIN;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
        errno == ENOMEM || errno == EBADF || errno == EINVAL) {
        rest(l);
        return false;
    }
    return true; /* that peer has gone already */
}

void tb_listener_accept(tb_listener *l, tb_door *door)
{
    for (int i = 0; i < ACCEPTS && door->open && l->resting_ms == 0; i++) {
        if (!accept_one(l, door)) {
            break;
        }
    }
}

/* --- keys ---------------------------------------------------------------- */

typedef enum verdict { ALLOW, LATER, DENY } verdict;

bool tb_listener_may_enrol(tb_listener *l)
{
    double full = l->enrols_per_minute;
    l->enrol_tokens +=
        (double)(l->now_ms - l->enrol_filled_ms) * full / 60000.0;
    l->enrol_filled_ms = l->now_ms;
    if (l->enrol_tokens > full) {
        l->enrol_tokens = full;
    }
    if (l->enrol_tokens < 1.0) {
        return false;
    }
    l->enrol_tokens -= 1.0;
    return true;
}

/* A key that comes again at once is let in, but not for free. The lock is
 * held. */
static verdict judge_client(tb_listener *l, tb_peer *peer, uint64_t net)
{
    if (peer == NULL) {
        l->totals.denied++;
        return DENY;
    }
    if (l->now_ms < peer->held_until_ms) {
        return LATER;
    }
    if (peer->cleared_ms == 0 || l->now_ms - peer->cleared_ms > CLEAR_MS) {
        peer->cleared_ms = l->now_ms;
        tb_sources_clear(&l->sources, net, l->now_ms);
    }
    return ALLOW;
}

static void let_in(tb_listener *l, tb_link *link, tb_peer *peer,
                   const uint8_t *key)
{
    uint8_t answer[TB_ZMTP_ANSWER_BYTES_MAX];
    link->peer = peer;
    link->serial = ++l->serial;
    memcpy(link->key, key, sizeof link->key);
    if (peer != NULL) {
        tb_link *one_too_many = tb_peers_add_silent(peer, link);
        if (one_too_many != NULL) {
            l->n_turned_away++;
            tb_listener_end(l, one_too_many, "");
        }
        tb_chain_add(&l->silent, TB_CHAIN_STANDING, link);
    }
    size_t n = tb_zmtp_accept(&link->zmtp, answer);
    (void)tb_listener_answer(l, link, answer, n);
}

void tb_listener_judge(tb_listener *l, tb_link *link,
                       const uint8_t key[static TB_CURVE_KEY_BYTES])
{
    uint8_t answer[TB_ZMTP_ANSWER_BYTES_MAX];
    tb_peer *peer = NULL;
    verdict v = LATER;
    if (l->doors[link->at].enrols) {
        v = tb_listener_may_enrol(l) ? ALLOW : LATER;
    } else {
        (void)pthread_mutex_lock(&l->lock);
        peer = tb_peers_by_key(&l->peers, key);
        v = judge_client(l, peer, link->net);
        bool cut = peer != NULL && peer->cut;
        (void)pthread_mutex_unlock(&l->lock);
        if (cut) { /* that was meant for those before this one */
            tb_listener_cut_peer(l, peer);
        }
    }
    if (v == ALLOW) {
        let_in(l, link, peer, key);
        return;
    }
    /* Who may come later is told nothing, and so will try again. */
    size_t n = tb_zmtp_refuse(&link->zmtp, v == DENY ? "400" : "300", answer);
    tb_sources_charge(&l->sources, link->net, l->now_ms);
    if (n == 0 || tb_listener_answer(l, link, answer, n)) {
        tb_listener_end(l, link, "its key is not known");
    }
}

void tb_listener_bad_handshake(tb_listener *l, tb_link *link)
{
    if (link->answered) {
        tb_sources_charge(&l->sources, link->net, l->now_ms);
    }
    tb_listener_end(l, link, "its handshake was not one");
}
