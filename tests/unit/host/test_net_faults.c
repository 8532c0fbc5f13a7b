/* Every failure of the host while the network is started, and while it serves:
 * the n-th allocation, the n-th system call. At the start the error says which;
 * nothing is left, nobody waits. Later it costs at most the connection that it
 * struck, whose peer comes back; others notice nothing.
 *
 * The test's linker puts calls of our own code behind the functions here;
 * socket, bind and listen are replaced for libzmq, too. Left out is what libzmq
 * 4.3.4 answers with abort() at the client: a failure of its own threads, of
 * epoll, of an option of a socket. */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "support/net.h"

/* --- calls that fail ------------------------------------------------------ */

typedef enum call {
    EVENTFD,
    THREAD,
    SOCKET,
    BIND,
    LISTEN,
    OPTION,
    EPOLL_NEW,
    EPOLL_CTL,
    ACCEPT,
    RECV,
    SEND,
    NOTHING
} call;

static const char *const names[] = {
    "eventfd", "pthread_create", "socket",        "bind",
    "listen",  "setsockopt",     "epoll_create1", "epoll_ctl",
    "accept4", "recv",           "send"};

/* libzmq's threads come by here, too. */
static atomic_int armed = NOTHING;
static atomic_int left;
static atomic_bool fired;
static atomic_bool for_ever; /* and all behind it */
static atomic_int number;

static void arm(call which, int n, int code)
{
    atomic_store(&armed, NOTHING);
    atomic_store(&left, n);
    atomic_store(&number, code);
    atomic_store(&fired, false);
    atomic_store(&armed, which);
}

static bool disarm(void)
{
    atomic_store(&armed, NOTHING);
    return atomic_load(&fired);
}

/* Whether this call is the one. */
static bool fails(call which)
{
    if (atomic_load(&armed) != (int)which ||
        (atomic_fetch_sub(&left, 1) != 0 && !atomic_load(&for_ever))) {
        return false;
    }
    atomic_store(&fired, true);
    errno = atomic_load(&number);
    return true;
}

int __real_eventfd(unsigned first, int flags);
int __wrap_eventfd(unsigned first, int flags);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*fn)(void *), void *arg);

int __wrap_eventfd(unsigned first, int flags)
{
    return fails(EVENTFD) ? -1 : __real_eventfd(first, flags);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*fn)(void *), void *arg)
{
    return fails(THREAD) ? atomic_load(&number)
                         : __real_pthread_create(thread, attr, fn, arg);
}

int socket(int domain, int type, int protocol)
{
    return fails(SOCKET) ? -1
                         : (int)syscall(SYS_socket, domain, type, protocol);
}

int bind(int fd, __CONST_SOCKADDR_ARG at, socklen_t len)
{
    return fails(BIND) ? -1 : (int)syscall(SYS_bind, fd, at.__sockaddr__, len);
}

int listen(int fd, int backlog)
{
    return fails(LISTEN) ? -1 : (int)syscall(SYS_listen, fd, backlog);
}

/* Those of our own code alone. */
int __real_setsockopt(int fd, int level, int name, const void *v, socklen_t n);
int __wrap_setsockopt(int fd, int level, int name, const void *v, socklen_t n);
int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __real_epoll_ctl(int epoll, int op, int fd, struct epoll_event *e);
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *e);
int __real_accept4(int fd, __SOCKADDR_ARG from, socklen_t *len, int flags);
int __wrap_accept4(int fd, __SOCKADDR_ARG from, socklen_t *len, int flags);
ssize_t __real_recv(int fd, void *to, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t n, int flags);
ssize_t __real_send(int fd, const void *from, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t n, int flags);

int __wrap_setsockopt(int fd, int level, int name, const void *v, socklen_t n)
{
    return fails(OPTION) ? -1 : __real_setsockopt(fd, level, name, v, n);
}

int __wrap_epoll_create1(int flags)
{
    return fails(EPOLL_NEW) ? -1 : __real_epoll_create1(flags);
}

int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *e)
{
    return fails(EPOLL_CTL) ? -1 : __real_epoll_ctl(epoll, op, fd, e);
}

static atomic_int n_accepts;

int __wrap_accept4(int fd, __SOCKADDR_ARG from, socklen_t *len, int flags)
{
    (void)atomic_fetch_add(&n_accepts, 1);
    return fails(ACCEPT) ? -1 : __real_accept4(fd, from, len, flags);
}

ssize_t __wrap_recv(int fd, void *to, size_t n, int flags)
{
    return fails(RECV) ? -1 : __real_recv(fd, to, n, flags);
}

ssize_t __wrap_send(int fd, const void *from, size_t n, int flags)
{
    return fails(SEND) ? -1 : __real_send(fd, from, n, flags);
}

/* --- what is started ------------------------------------------------------ */

static size_t open_files(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (dir != NULL && readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n;
}

static tb_rc listen_once(void *arg, tb_err *err)
{
    tb_transport *t = NULL;
    tb_transport_options o = {.endpoint = "tcp://127.0.0.1:0",
                              .enrol_endpoint = "tcp://127.0.0.1:0",
                              .curve_public = server_keys.public,
                              .curve_secret = server_keys.secret};
    (void)arg;
    tb_rc rc = tb_transport_start(&t, &o, err);
    CHECK((rc == TB_OK) == (t != NULL));
    return rc == TB_OK ? tb_transport_stop(&t, LIMIT_MS, err) : rc;
}

/* Dials a door that is there, behind which nobody speaks. */
static tb_rc dial_once(void *arg, tb_err *err)
{
    tb_dial *d = NULL;
    tb_dial_options o = {.endpoint = arg,
                         .server_key = server_keys.public,
                         .curve_public = server_keys.public,
                         .curve_secret = server_keys.secret};
    tb_rc rc = tb_dial_start(&d, &o, err);
    CHECK((rc == TB_OK) == (d != NULL));
    return rc == TB_OK ? tb_dial_stop(&d, LIMIT_MS, err) : rc;
}

static int open_silent_door(char endpoint[static TB_ENDPOINT_BYTES])
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0);
    CHECK(listen(fd, 128) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    (void)snprintf(endpoint, TB_ENDPOINT_BYTES, "tcp://127.0.0.1:%d",
                   ntohs(at.sin_port));
    return fd;
}

/* Each of these calls fails once. Returns how often one did. */
static size_t each_call(tb_attempt_fn *start, void *arg, call which, int code)
{
    size_t live = tb_mem_live();
    size_t files = open_files();
    size_t tries = 0;
    for (bool failed = true; failed; tries += failed) {
        tb_err err = {0};
        arm(which, (int)tries, code);
        tb_rc rc = start(arg, &err);
        failed = disarm();
        CHECK((rc != TB_OK) == failed);
        if (failed && strstr(err.text, strerror(code)) == NULL) {
            fail_msg("%s %zu: %s", names[which], tries, err.text);
        }
        CHECK(tb_mem_live() == live);
        CHECK(open_files() == files);
    }
    print_message("%zu times %s: %s\n", tries, names[which], strerror(code));
    return tries;
}

static void a_listener_survives_each_allocation_failing(void **state)
{
    (void)state;
    /* itself, inbox, actor, the event that tells its end, two buffers, and for
     * each of two doors itself */
    CHECK(tb_check_each_allocation(listen_once, NULL) == 8);
}

static void a_listener_survives_each_call_failing(void **state)
{
    (void)state;
    /* two of the inbox, one of the actor */
    CHECK(each_call(listen_once, NULL, EVENTFD, EMFILE) == 3);
    CHECK(each_call(listen_once, NULL, THREAD, EAGAIN) == 1);
    /* two doors */
    CHECK(each_call(listen_once, NULL, SOCKET, EMFILE) == 2);
    CHECK(each_call(listen_once, NULL, SOCKET, ENOBUFS) == 2);
    CHECK(each_call(listen_once, NULL, BIND, EADDRINUSE) == 2);
    CHECK(each_call(listen_once, NULL, BIND, EACCES) == 2);
    CHECK(each_call(listen_once, NULL, LISTEN, EADDRINUSE) == 2);
    CHECK(each_call(listen_once, NULL, OPTION, ENOMEM) == 2 * 7);
    CHECK(each_call(listen_once, NULL, EPOLL_NEW, EMFILE) == 1);
    /* the actor's, the inbox's, two doors */
    CHECK(each_call(listen_once, NULL, EPOLL_CTL, ENOSPC) == 4);
}

/* --- while it serves ------------------------------------------------------ */

typedef struct house {
    tb_transport *t;
    tb_dial *creek;      /* there, and quiet */
    uint64_t connection; /* creek's */
    keys k;              /* of the visitor */
    tb_name visitor;
} house;

/* The next message of this client; whatever becomes of others' connections. */
static uint64_t hear(house *h, const char *client, int timeout_ms)
{
    struct pollfd p = {.fd = tb_transport_fd(h->t), .events = POLLIN};
    int64_t until = tb_clock_ms() + timeout_ms;
    uint64_t connection = 0;
    while (connection == 0 && tb_clock_ms() < until) {
        tb_inbound *in = NULL;
        (void)poll(&p, 1, 20);
        tb_transport_receive(h->t, &in);
        if (in != NULL && in->kind == TB_IN_GONE) {
            CHECK(strcmp(in->client.text, "creek") != 0);
        }
        if (in != NULL && in->kind == TB_IN_MESSAGE &&
            strcmp(in->client.text, client) == 0) {
            connection = in->connection;
        }
        tb_inbound_free(&in);
    }
    return connection;
}

/* Creek's connection is the one that it was. */
static void creek_is_still_there(house *h)
{
    say(h->creek, "still here");
    CHECK(hear(h, "creek", LIMIT_MS) == h->connection);
}

/* A client comes, sends a large message, gets one, and goes. What is lost with
 * a connection is sent again. */
static void visit(house *h)
{
    enum { SOON_MS = 400 };
    uint8_t byte;
    tb_err err;
    tb_shared *bytes = shared_of(TB_BLOCK_BYTES_MAX, 1);
    tb_outbound m = text_message("block");
    m.payload = bytes;
    m.payload_bytes = TB_BLOCK_BYTES_MAX;
    rogue r = start_rogue(tb_transport_endpoint(h->t), &h->k);
    zmq_pollitem_t item = {.socket = r.socket, .events = ZMQ_POLLIN};
    bool done = false;
    int64_t until = tb_clock_ms() + LIMIT_MS;
    while (!done && tb_clock_ms() < until) {
        send_frames(&r, 1, 4, false);
        send_frames(&r, 1, TB_BLOCK_BYTES_MAX, true);
        if (hear(h, "visitor", SOON_MS) != 0 &&
            tb_transport_send(h->t, &h->visitor, &m, &err) == TB_OK) {
            done = zmq_poll(&item, 1, SOON_MS) == 1 &&
                   zmq_recv(r.socket, &byte, 1, 0) == 5 &&
                   zmq_recv(r.socket, &byte, 1, 0) == TB_BLOCK_BYTES_MAX;
        }
    }
    CHECK(done);
    stop_rogue(&r);
    tb_shared_free(&bytes);
}

/* The n-th of these calls fails once while a visitor is there, until none is
 * left to fail, or often enough. Returns how often one did. */
static size_t each_call_of_a_visit(house *h, call which, int code)
{
    enum { OFTEN = 12 };
    size_t tries = 0;
    for (bool failed = true; failed && tries < OFTEN; tries += failed) {
        arm(which, (int)tries, code);
        visit(h);
        failed = disarm();
        creek_is_still_there(h);
    }
    print_message("%zu times %s: %s\n", tries, names[which], strerror(code));
    return tries;
}

static house open_house(const keys *creek)
{
    tb_err err;
    house h = {
        .t = start_server(0), .k = new_keys(), .visitor = name_of("visitor")};
    h.creek = welcome(h.t, "creek", creek);
    CHECK_OK(tb_transport_allow(h.t, &h.visitor, h.k.public, &err), err);
    say(h.creek, "here");
    h.connection = hear(&h, "creek", LIMIT_MS);
    return h;
}

static void a_failure_costs_one_connection_at_most(void **state)
{
    (void)state;
    static const struct {
        call which;
        int code;
    } cases[] = {{ACCEPT, EMFILE}, {ACCEPT, ENOMEM},    {ACCEPT, ECONNABORTED},
                 {ACCEPT, EINTR},  {RECV, EINTR},       {RECV, ECONNRESET},
                 {RECV, ENOMEM},   {SEND, EINTR},       {SEND, ECONNRESET},
                 {SEND, ENOBUFS},  {EPOLL_CTL, ENOSPC}, {EPOLL_CTL, ENOMEM}};
    keys k = new_keys();
    house h = open_house(&k);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(each_call_of_a_visit(&h, cases[i].which, cases[i].code) > 0);
    }
    stop_client(&h.creek);
    stop_server(&h.t);
}

/* All from the n-th on, as when there is none left; then there is some. */
static void without_memory_a_visitor_waits_and_others_go_on(void **state)
{
    enum { OFTEN = 12 };
    (void)state;
    keys k = new_keys();
    house h = open_house(&k);
    for (long n = 0; n < OFTEN; n++) {
        tb_mem_fail_after(n);
        rogue r = start_rogue(tb_transport_endpoint(h.t), &h.k);
        send_frames(&r, 1, 4, false);
        send_frames(&r, 1, TB_BLOCK_BYTES_MAX, true);
        (void)hear(&h, "visitor", 50);
        tb_mem_fail_after(-1);
        stop_rogue(&r);
        visit(&h);
        creek_is_still_there(&h);
    }
    stop_client(&h.creek);
    stop_server(&h.t);
}

/* Ten tries, of up to three calls, with a rest after each. */
static void a_door_without_descriptors_is_not_tried_without_end(void **state)
{
    enum { TRIES = 30, REST_MS = 20 };
    (void)state;
    keys k = new_keys();
    house h = open_house(&k);
    atomic_store(&for_ever, true);
    arm(ACCEPT, 0, EMFILE);
    int before = atomic_load(&n_accepts);
    int64_t begin = tb_clock_ms();
    rogue r = start_rogue(tb_transport_endpoint(h.t), &h.k);
    send_frames(&r, 1, 4, true);
    while (atomic_load(&n_accepts) - before < TRIES) {
        (void)poll(NULL, 0, 1);
        creek_is_still_there(&h);
    }
    CHECK(tb_clock_ms() - begin >= (TRIES / 3 - 1) * REST_MS);
    CHECK(disarm());
    atomic_store(&for_ever, false);
    CHECK(hear(&h, "visitor", LIMIT_MS) != 0);
    stop_rogue(&r);
    stop_client(&h.creek);
    stop_server(&h.t);
}

static void a_client_survives_each_failure(void **state)
{
    char endpoint[TB_ENDPOINT_BYTES];
    (void)state;
    int door = open_silent_door(endpoint);
    CHECK(tb_check_each_allocation(dial_once, endpoint) == 4);
    CHECK(each_call(dial_once, endpoint, EVENTFD, EMFILE) == 3);
    CHECK(each_call(dial_once, endpoint, THREAD, EAGAIN) == 1);
    (void)close(door);
}

static void a_client_without_a_socket_tries_again(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    tb_name name = name_of("creek");
    tb_transport *t = start_server(0);
    CHECK_OK(tb_transport_allow(t, &name, k.public, &err), err);
    arm(SOCKET, 0, EMFILE);
    tb_dial *d = start_client(t, &k);
    tb_inbound *in = client_event(d);
    CHECK(disarm());
    while (in->kind == TB_IN_LOST) {
        tb_inbound_free(&in);
        in = client_event(d);
    }
    CHECK(in->kind == TB_IN_CONNECTED);
    tb_inbound_free(&in);
    stop_client(&d);
    stop_server(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listener_survives_each_allocation_failing),
        cmocka_unit_test(a_listener_survives_each_call_failing),
        cmocka_unit_test(a_failure_costs_one_connection_at_most),
        cmocka_unit_test(without_memory_a_visitor_waits_and_others_go_on),
        cmocka_unit_test(a_door_without_descriptors_is_not_tried_without_end),
        cmocka_unit_test(a_client_survives_each_failure),
        cmocka_unit_test(a_client_without_a_socket_tries_again),
    };
    tb_log_set_level(TB_LOG_OFF);
    server_keys = new_keys();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
