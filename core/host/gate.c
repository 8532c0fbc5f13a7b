/* Entries of connections lie by descriptor, in pages that are made when a
 * descriptor needs them and stay, since any thread may look one up. All of an
 * entry but its counts and flags that recv reads changes under the lock; recv
 * takes none: while libzmq reads from a descriptor nobody closes it. */
#undef _FORTIFY_SOURCE /* it makes recv an inline function of the headers */
#include "host/gate.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spare.h"
#include "host/sieve.h"
#include "host/sources.h"
#include "host/zsock.h"

/* What a peer that keeps to the rules may have in libzmq: the whole messages of
 * its high-water mark, one that is being handed over, one that is on its way;
 * and the handshake. */
#define MESSAGE_BYTES                                                          \
    ((uint64_t)TB_ENVELOPE_BYTES_MAX + TB_PAYLOAD_BYTES_MAX + 256)
#define CREDIT_BYTES                                                           \
    ((TB_ZSOCK_RECEIVE_HWM + 2) * MESSAGE_BYTES + ((uint64_t)64 << 10))
#define HEARTBEAT_BYTES_A_SECOND 16 /* PING and PONG are never delivered */

/* Around a frame: command name, nonce, tag, flags (CurveZMQ, RFC 26), then the
 * frame header (ZMTP, RFC 23): 2 bytes, or 9 when over 255. */
#define CURVE_BYTES       33
#define SHORT_FRAME_BYTES 255

/* libzmq keeps a receive buffer for each connection and fills as much of it as
 * there is to read. With short reads it touches one page instead of three; the
 * body of a large frame does not pass through it. */
#define RECEIVE_BUFFER_BYTES 8192
#define SHORT_READ_BYTES     2048

#define PAGE_ENTRIES         1024u
#define PAGES                (1u << 14) /* more descriptors than there are */
#define DOORS                16
#define REFUSED_AT_ONCE      64 /* before libzmq gets a turn */
#define CLOSING_MAX          32 /* evicted, and not closed by libzmq yet */
#define CUTS_TOLD            32
#define NAP_MS               1

typedef struct entry {
    _Atomic(tb_gate *) gate;         /* NULL: no connection of a gate */
    atomic_uint_least64_t taken;     /* bytes that libzmq has read */
    atomic_uint_least64_t delivered; /* those of them that came out */
    atomic_bool over;                /* it is at its end: nothing is read */
    uint64_t cookie;
    uint64_t net; /* its account in sources */
    int64_t since_ms;
    bool stranger, evicted;
    int older, newer; /* strangers of the gate; -1: none */
} entry;

struct tb_gate {
    size_t n_max, n_open, n_closing, n_strangers, n_expected;
    int oldest, newest; /* strangers; -1: none */
    tb_sources sources;
    tb_sieve sieve;
    bool told_unsieved;    /* that the kernel takes no program */
    tb_gate_counts counts; /* what there was so far */
    tb_gate_cut cuts[CUTS_TOLD];
    size_t n_cuts;
};

typedef struct door {
    atomic_int fd; /* and 1; 0: free */
    tb_gate *gate;
} door;

typedef int accept_fn(int, struct sockaddr *, socklen_t *, int);
typedef int close_fn(int);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(entry *) pages[PAGES];
static door doors[DOORS];
static accept_fn *next_accept;
static close_fn *next_close;
static _Thread_local bool passing; /* an accept of our own, on a door */

/* --- the functions behind ours --- */

__attribute__((constructor)) static void find_next(void)
{
    void *accept_at = dlsym(RTLD_NEXT, "accept4");
    void *close_at = dlsym(RTLD_NEXT, "close");
    memcpy(&next_accept, &accept_at, sizeof next_accept);
    memcpy(&next_close, &close_at, sizeof next_close);
}

static int accept_from(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    return next_accept != NULL
               ? next_accept(fd, from, len, flags)
               : (int)syscall(SYS_accept4, fd, from, len, flags);
}

/* Some libraries close before our constructor has run. */
static int close_fd(int fd)
{
    return next_close != NULL ? next_close(fd) : (int)syscall(SYS_close, fd);
}

/* --- entries --- */

static entry *entry_of(int fd)
{
    if (fd < 0 || (unsigned)fd >= PAGES * PAGE_ENTRIES) {
        return NULL;
    }
    entry *page = atomic_load(&pages[(unsigned)fd / PAGE_ENTRIES]);
    return page != NULL ? &page[(unsigned)fd % PAGE_ENTRIES] : NULL;
}

/* The same, made where there is none; NULL: no memory. Under the lock. */
static entry *entry_for(int fd)
{
    if (fd < 0 || (unsigned)fd >= PAGES * PAGE_ENTRIES) {
        return NULL;
    }
    _Atomic(entry *) *at = &pages[(unsigned)fd / PAGE_ENTRIES];
    if (atomic_load(at) == NULL) {
        void *page =
            mmap(NULL, PAGE_ENTRIES * sizeof(entry), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        atomic_store(at, page != MAP_FAILED ? page : NULL);
    }
    return entry_of(fd);
}

/* The list of strangers, oldest first. */
static void add_stranger(tb_gate *gate, int fd)
{
    entry *e = entry_of(fd);
    e->stranger = true;
    e->older = gate->newest;
    e->newer = -1;
    if (gate->newest >= 0) {
        entry_of(gate->newest)->newer = fd;
    } else {
        gate->oldest = fd;
    }
    gate->newest = fd;
    gate->n_strangers++;
}

static void remove_stranger(tb_gate *gate, entry *e)
{
    if (!e->stranger) {
        return;
    }
    if (e->older >= 0) {
        entry_of(e->older)->newer = e->newer;
    } else {
        gate->oldest = e->newer;
    }
    if (e->newer >= 0) {
        entry_of(e->newer)->older = e->older;
    } else {
        gate->newest = e->older;
    }
    e->stranger = false;
    gate->n_strangers--;
}

/* --- who comes in --- */

static door *door_of(int fd)
{
    for (size_t i = 0; i < DOORS; i++) {
        if (atomic_load(&doors[i].fd) == fd + 1) {
            return &doors[i];
        }
    }
    return NULL;
}

/* Without a program all goes on, at a higher price. */
static void sieve_door(tb_gate *gate, int fd)
{
    tb_err err;
    if (tb_sieve_attach(&gate->sieve, fd, &err) != TB_OK) {
        tb_sieve_detach(fd);
        if (!gate->told_unsieved) {
            tb_log(TB_LOG_WARN, "event=no_sieve reason=\"%s\"", err.text);
        }
        gate->told_unsieved = true;
    }
}

/* Tells the kernel who is held off now. Under the lock. */
static void sieve_doors(tb_gate *gate)
{
    bool is_new = tb_sieve_make(&gate->sieve, &gate->sources, tb_clock_ms());
    for (size_t i = 0; i < DOORS && is_new; i++) {
        int fd = atomic_load(&doors[i].fd) - 1;
        if (fd >= 0 && doors[i].gate == gate) {
            sieve_door(gate, fd);
        }
    }
}

/* Ends the oldest stranger's connection; libzmq closes it when it sees that. */
static bool evict(tb_gate *gate)
{
    if (gate->oldest < 0 || gate->n_closing >= CLOSING_MAX) {
        return false;
    }
    int fd = gate->oldest;
    entry *e = entry_of(fd);
    remove_stranger(gate, e);
    e->evicted = true;
    atomic_store(&e->over, true);
    (void)shutdown(fd, SHUT_RDWR);
    gate->n_open--;
    gate->n_closing++;
    gate->counts.evicted++;
    return true;
}

static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 ? cookie
                                                                     : 0;
}

/* Whether libzmq may have this connection. Under the lock. */
static bool admit(tb_gate *gate, int fd, uint64_t net)
{
    int64_t now = tb_clock_ms();
    entry *e = entry_for(fd);
    if (e == NULL ||
        !tb_sources_admit(&gate->sources, net, gate->n_expected, now) ||
        (gate->n_open >= gate->n_max && !evict(gate))) {
        gate->counts.refused++;
        return false;
    }
    e->cookie = cookie_of(fd);
    e->net = net;
    e->since_ms = now;
    e->evicted = false;
    atomic_store(&e->taken, 0);
    atomic_store(&e->delivered, 0);
    atomic_store(&e->over, false);
    add_stranger(gate, fd);
    gate->n_open++;
    gate->counts.let_in++;
    atomic_store(&e->gate, gate);
    return true;
}

/* With a reset, that nothing of it stays with us. */
static void turn_away(int fd)
{
    struct linger reset = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)close_fd(fd);
}

/* One connection of a door; where no descriptor is left it is turned away with
 * one of those that are kept back. -1: none could be taken. */
static int take(int fd, struct sockaddr_storage *from, socklen_t *len,
                int flags, bool *full)
{
    *len = sizeof *from;
    int peer = accept_from(fd, (struct sockaddr *)from, len, flags);
    *full = peer < 0 && errno == EMFILE;
    if (*full) {
        passing = true;
        peer = tb_spare_accept(fd, flags);
        passing = false;
    }
    return peer;
}

/* libzmq aborts on what it does not expect, and tries again at once while no
 * descriptor or memory is there: others shall have a turn. */
static int refuse(int why)
{
    if (why == EMFILE || why == ENFILE || why == ENOBUFS || why == ENOMEM) {
        (void)poll(NULL, 0, NAP_MS);
        errno = why;
    } else {
        errno = why == EAGAIN || why == EINTR ? why : ECONNABORTED;
    }
    return -1;
}

/* In place of the C library's, whose header has this type for the address. */
int accept4(int fd, __SOCKADDR_ARG to, socklen_t *restrict len, int flags)
{
    struct sockaddr *address = to.__sockaddr__;
    struct sockaddr_storage from;
    socklen_t n = 0;
    bool full = false;
    if (passing) {
        return accept_from(fd, address, len, flags);
    }
    (void)pthread_mutex_lock(&lock);
    const door *at = door_of(fd);
    tb_gate *gate = at != NULL ? at->gate : NULL;
    (void)pthread_mutex_unlock(&lock);
    if (gate == NULL) {
        return accept_from(fd, address, len, flags);
    }
    for (int i = 0; i < REFUSED_AT_ONCE; i++) {
        int peer = take(fd, &from, &n, flags, &full);
        if (peer < 0) {
            return refuse(errno);
        }
        (void)pthread_mutex_lock(&lock);
        gate->counts.refused += full;
        bool in =
            !full && admit(gate, peer, tb_source_of((struct sockaddr *)&from));
        if (!in) {
            sieve_doors(gate);
        }
        (void)pthread_mutex_unlock(&lock);
        if (in) {
            tb_sieve_detach(peer);
            if (address != NULL && len != NULL) {
                memcpy(address, &from, *len < n ? *len : n);
                *len = n;
            }
            return peer;
        }
        turn_away(peer);
    }
    return refuse(EAGAIN);
}

/* --- what they send --- */

/* How many bytes libzmq may read of it; 0: its end has come. */
static uint64_t left_of(entry *e)
{
    uint64_t taken = atomic_load(&e->taken);
    uint64_t delivered = atomic_load(&e->delivered);
    uint64_t held = taken > delivered ? taken - delivered : 0;
    if (atomic_load(&e->over)) {
        return 0;
    }
    if (held < CREDIT_BYTES) {
        return CREDIT_BYTES - held;
    }
    uint64_t age_s = (uint64_t)(tb_clock_ms() - e->since_ms) / 1000;
    uint64_t most = CREDIT_BYTES + age_s * HEARTBEAT_BYTES_A_SECOND;
    return held < most ? most - held : 0;
}

static void address_of(int fd, char out[static TB_GATE_ADDRESS_BYTES])
{
    struct sockaddr_storage peer;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    socklen_t len = sizeof peer;
    out[0] = '\0';
    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0) {
        return;
    }
    memcpy(&v4, &peer, sizeof v4);
    memcpy(&v6, &peer, sizeof v6);
    const void *address = peer.ss_family == AF_INET
                              ? (const void *)&v4.sin_addr
                              : (const void *)&v6.sin6_addr;
    if (inet_ntop(peer.ss_family, address, out, TB_GATE_ADDRESS_BYTES) ==
        NULL) {
        out[0] = '\0';
    }
}

/* Its address pays for it: its key may not be known, since no message of it
 * came out. */
static void cut(tb_gate *gate, entry *e, int fd)
{
    (void)pthread_mutex_lock(&lock);
    if (!atomic_exchange(&e->over, true)) {
        gate->counts.cut++;
        tb_sources_charge(&gate->sources, e->net, tb_clock_ms());
        if (gate->n_cuts < CUTS_TOLD) {
            tb_gate_cut *told = &gate->cuts[gate->n_cuts++];
            *told = (tb_gate_cut){.fd = fd,
                                  .cookie = e->cookie,
                                  .taken = atomic_load(&e->taken),
                                  .delivered = atomic_load(&e->delivered)};
            address_of(fd, told->address);
        }
    }
    (void)pthread_mutex_unlock(&lock);
}

/* In place of the C library's; it may always give less than is asked for. To
 * libzmq the end of a connection that is beyond its credit is as if its peer
 * had closed it. */
ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    size_t most = len == RECEIVE_BUFFER_BYTES ? SHORT_READ_BYTES : len;
    entry *e = entry_of(fd);
    tb_gate *gate = e != NULL ? atomic_load(&e->gate) : NULL;
    if (gate == NULL) {
        return recvfrom(fd, buf, most, flags, NULL, NULL);
    }
    uint64_t left = left_of(e);
    if (left == 0) {
        cut(gate, e, fd);
        return 0;
    }
    most = most < left ? most : (size_t)left;
    ssize_t n = recvfrom(fd, buf, most, flags, NULL, NULL);
    if (n > 0) {
        (void)atomic_fetch_add(&e->taken, (uint64_t)n);
    }
    return n;
}

/* --- who leaves --- */

static void forget(entry *e)
{
    (void)pthread_mutex_lock(&lock);
    tb_gate *gate = atomic_exchange(&e->gate, NULL);
    if (gate != NULL) {
        remove_stranger(gate, e);
        gate->n_open -= !e->evicted;
        gate->n_closing -= e->evicted;
    }
    (void)pthread_mutex_unlock(&lock);
}

/* In place of the C library's. */
int close(int fd)
{
    entry *e = entry_of(fd);
    door *at = door_of(fd);
    if (e != NULL && atomic_load(&e->gate) != NULL) {
        forget(e);
    }
    if (at != NULL) {
        atomic_store(&at->fd, 0);
    }
    return close_fd(fd);
}

/* --- the gate --- */

tb_rc tb_gate_new(tb_gate **out, size_t n_max, tb_err *err)
{
    tb_gate *gate = tb_mem_array(1, sizeof *gate);
    *out = gate;
    if (gate == NULL) {
        return tb_fail(err, TB_E_NOMEM, "gate");
    }
    gate->n_max = n_max;
    gate->oldest = gate->newest = -1;
    if (getrandom(&gate->sources.seed, sizeof gate->sources.seed, 0) < 0) {
        gate->sources.seed = (uint64_t)tb_clock_ns();
    }
    return TB_OK;
}

void tb_gate_free(tb_gate **gate)
{
    tb_mem_free(*gate);
    *gate = NULL;
}

void tb_gate_hold(void)
{
    (void)pthread_mutex_lock(&lock);
}

void tb_gate_open(tb_gate *gate, int fd)
{
    for (size_t i = 0; i < DOORS && fd >= 0; i++) {
        if (atomic_load(&doors[i].fd) == 0) {
            (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
            doors[i].gate = gate;
            atomic_store(&doors[i].fd, fd + 1);
            sieve_door(gate, fd);
            break;
        }
    }
    (void)pthread_mutex_unlock(&lock);
}

void tb_gate_delivered(tb_gate *gate, int fd, uint64_t cookie,
                       size_t frame_bytes, bool proven)
{
    size_t n = frame_bytes + CURVE_BYTES;
    n += n > SHORT_FRAME_BYTES ? 9 : 2;
    (void)pthread_mutex_lock(&lock);
    entry *e = entry_of(fd);
    if (e != NULL && atomic_load(&e->gate) == gate && e->cookie == cookie) {
        (void)atomic_fetch_add(&e->delivered, n);
        if (proven) {
            remove_stranger(gate, e);
        }
    }
    (void)pthread_mutex_unlock(&lock);
}

void tb_gate_known(tb_gate *gate, const char *address)
{
    (void)pthread_mutex_lock(&lock);
    tb_sources_clear(&gate->sources, tb_source_of_text(address), tb_clock_ms());
    (void)pthread_mutex_unlock(&lock);
}

void tb_gate_failed(tb_gate *gate, const char *address)
{
    (void)pthread_mutex_lock(&lock);
    tb_sources_charge(&gate->sources, tb_source_of_text(address),
                      tb_clock_ms());
    (void)pthread_mutex_unlock(&lock);
}

void tb_gate_expect(tb_gate *gate, size_t n_clients)
{
    (void)pthread_mutex_lock(&lock);
    gate->n_expected = n_clients;
    (void)pthread_mutex_unlock(&lock);
}

bool tb_gate_next_cut(tb_gate *gate, tb_gate_cut *out)
{
    (void)pthread_mutex_lock(&lock);
    bool any = gate->n_cuts > 0;
    if (any) {
        *out = gate->cuts[--gate->n_cuts];
    }
    (void)pthread_mutex_unlock(&lock);
    return any;
}

void tb_gate_counts_get(tb_gate *gate, tb_gate_counts *out)
{
    (void)pthread_mutex_lock(&lock);
    sieve_doors(gate);
    *out = gate->counts;
    out->open = gate->n_open + gate->n_closing;
    out->strangers = gate->n_strangers;
    (void)pthread_mutex_unlock(&lock);
}
