/* Every failure of the host while the network is started: the n-th allocation,
 * the n-th system call. The error says which; nothing is left, nobody waits.
 *
 * The test's linker puts eventfd and pthread_create of our own code behind the
 * functions here; socket, bind and listen are replaced for libzmq, too. Left
 * out is what libzmq 4.3.4 answers with abort(): a failure of its own threads,
 * of epoll, of an option of a socket. */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "support/net.h"

/* --- calls that fail ------------------------------------------------------ */

typedef enum call { EVENTFD, THREAD, SOCKET, BIND, LISTEN, NOTHING } call;

static const char *const names[] = {"eventfd", "pthread_create", "socket",
                                    "bind", "listen"};

/* libzmq's threads come by here, too. */
static atomic_int armed = NOTHING;
static atomic_int left;
static atomic_bool fired;
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
    if (atomic_load(&armed) != (int)which || atomic_fetch_sub(&left, 1) != 0) {
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
    /* itself, inbox, actor, the event that tells its end, the gate */
    CHECK(tb_check_each_allocation(listen_once, NULL) == 5);
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
        cmocka_unit_test(a_client_survives_each_failure),
        cmocka_unit_test(a_client_without_a_socket_tries_again),
    };
    tb_log_set_level(TB_LOG_OFF);
    server_keys = new_keys();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
