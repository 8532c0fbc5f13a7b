#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "host/control.h"
#include "host/control_socket.h"
#include "support/check.h"
#include "support/folder.h"

#define LIMIT_MS 120000

/* --- the two ends --- */

static tb_control *open_control(const char *path)
{
    tb_err err;
    tb_control *c = NULL;
    CHECK_OK(tb_control_open(&c, path, &err), err);
    return c;
}

/* The next whole request, waiting for it. */
static tb_control_request next_request(tb_control *c)
{
    tb_control_request r;
    struct pollfd p = {.fd = tb_control_fd(c), .events = POLLIN};
    int64_t until = tb_clock_ms() + LIMIT_MS;
    while (!tb_control_next(c, &r)) {
        CHECK(tb_clock_ms() < until);
        (void)poll(&p, 1, 100);
    }
    return r;
}

/* A command line in a thread of its own. */
typedef struct asker {
    const char *path;
    tb_control_request request;
    pthread_t thread;
    tb_rc rc;
    tb_err err;
    char heard[1024]; /* "code:json more;" of each reply */
} asker;

static tb_rc hear(void *arg, tb_rc rc, const char *json, bool more, tb_err *err)
{
    asker *a = arg;
    size_t used = strlen(a->heard);
    (void)err;
    (void)snprintf(a->heard + used, sizeof a->heard - used, "%s:%s%s;",
                   tb_rc_name(rc), json, more ? " more" : "");
    return TB_OK;
}

static void *ask(void *arg)
{
    asker *a = arg;
    a->rc = tb_control_call(a->path, &a->request, LIMIT_MS, hear, a, &a->err);
    return NULL;
}

static void start_asker(asker *a, const char *path, const char *verb)
{
    *a = (asker){.path = path};
    CHECK_OK(tb_control_request_init(&a->request, verb, &a->err), a->err);
}

static void run_asker(asker *a)
{
    CHECK(pthread_create(&a->thread, NULL, ask, a) == 0);
}

static void stop_asker(asker *a)
{
    CHECK(pthread_join(a->thread, NULL) == 0);
    tb_control_request_release(&a->request);
}

static const char *path_in(void **state)
{
    return tb_test_folder_path(*state, "control");
}

/* --- tests --- */

static void a_request_with_attachments_gets_its_reply(void **state)
{
    tb_err err;
    asker a;
    char path[512];
    static uint8_t model[3000000];
    (void)snprintf(path, sizeof path, "%s", path_in(state));
    tb_control *c = open_control(path);
    struct stat st;
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    model[sizeof model - 1] = 9;
    start_asker(&a, path, "start");
    CHECK_OK(tb_control_arg_add(&a.request, "rounds", "30", &err), err);
    CHECK_OK(tb_control_arg_add(&a.request, "note", "gr\xc3\xbcn \"x\"", &err),
             err);
    a.request.n_attachments = 2;
    CHECK_OK(tb_buf_put(&a.request.attachments[0], "name: j", 7, &err), err);
    CHECK_OK(tb_buf_put(&a.request.attachments[1], model, sizeof model, &err),
             err);
    run_asker(&a);
    tb_control_request r = next_request(c);
    assert_string_equal(r.verb.text, "start");
    CHECK(r.n_args == 2 && r.n_attachments == 2);
    assert_string_equal(tb_control_arg_get(&r, "rounds"), "30");
    assert_string_equal(tb_control_arg_get(&r, "note"), "gr\xc3\xbcn \"x\"");
    CHECK(tb_control_arg_get(&r, "other") == NULL);
    CHECK(memcmp(r.attachments[0].data, "name: j", 7) == 0);
    CHECK(r.attachments[1].len == sizeof model &&
          r.attachments[1].data[sizeof model - 1] == 9);
    CHECK_OK(tb_control_reply(c, r.id, TB_OK, "{\"run\":1}", false, &err), err);
    CHECK_ERR(tb_control_reply(c, r.id, TB_OK, "", false, &err), TB_E_NOT_FOUND,
              err, "gone");
    tb_control_request_release(&r);
    stop_asker(&a);
    CHECK_OK(a.rc, a.err);
    assert_string_equal(a.heard, "ok:{\"run\":1};");
    tb_control_close(&c);
    CHECK(!tb_file_exists(path));
}

static void a_stream_of_replies_ends_with_the_last(void **state)
{
    tb_err err;
    asker a;
    char path[512];
    (void)snprintf(path, sizeof path, "%s", path_in(state));
    tb_control *c = open_control(path);
    start_asker(&a, path, "watch");
    run_asker(&a);
    tb_control_request r = next_request(c);
    CHECK_OK(tb_control_reply(c, r.id, TB_OK, "1", true, &err), err);
    CHECK(tb_control_waits(c, r.id) && !tb_control_waits(c, r.id + 1));
    CHECK_OK(tb_control_reply(c, r.id, TB_OK, "2", true, &err), err);
    CHECK_OK(tb_control_reply(c, r.id, TB_E_CANCELLED, "", false, &err), err);
    tb_control_request_release(&r);
    stop_asker(&a);
    CHECK_OK(a.rc, a.err);
    assert_string_equal(a.heard, "ok:1 more;ok:2 more;cancelled:;");
    CHECK(!tb_control_waits(c, r.id) && !tb_control_waits(c, 0));
    tb_control_close(&c);
}

static void a_missing_or_dead_daemon_is_said(void **state)
{
    asker a;
    char path[512];
    (void)snprintf(path, sizeof path, "%s", path_in(state));
    start_asker(&a, path, "status");
    (void)ask(&a);
    CHECK_ERR(a.rc, TB_E_NOT_FOUND, a.err, "no daemon runs there");
    tb_control_request_release(&a.request);

    /* A daemon that was killed leaves its socket; the next one takes over. */
    int fd = -1;
    tb_err err;
    CHECK_OK(tb_control_socket(&fd, path, true, &err), err);
    (void)close(fd);
    start_asker(&a, path, "status");
    (void)ask(&a);
    CHECK_ERR(a.rc, TB_E_NOT_FOUND, a.err, "no daemon runs there");
    tb_control_request_release(&a.request);
    tb_control *c = open_control(path);
    tb_control_close(&c);
}

static void a_path_longer_than_an_address_works(void **state)
{
    tb_err err;
    asker a;
    char dir[700];
    char path[900];
    (void)snprintf(dir, sizeof dir,
                   "%s/a-folder-with-a-rather-long-name-such-as-people-make/"
                   "and-another-one-inside-of-it-for-the-fleet-of-the-coast",
                   (const char *)*state);
    (void)snprintf(path, sizeof path, "%s/control", dir);
    CHECK(strlen(path) > 108);
    CHECK_OK(tb_file_make_dir(dir, 0700, &err), err);
    tb_control *c = open_control(path);
    start_asker(&a, path, "status");
    run_asker(&a);
    tb_control_request r = next_request(c);
    CHECK_OK(tb_control_reply(c, r.id, TB_OK, "{}", false, &err), err);
    tb_control_request_release(&r);
    stop_asker(&a);
    CHECK_OK(a.rc, a.err);
    tb_control_close(&c);
}

static int dial(const char *path)
{
    tb_err err;
    int fd = -1;
    CHECK_OK(tb_control_socket(&fd, path, false, &err), err);
    return fd;
}

/* Lets the server work until the peer's end has something to read. */
static void serve_until_readable(tb_control *c, int fd)
{
    tb_control_request r;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int64_t until = tb_clock_ms() + LIMIT_MS;
    do {
        CHECK(!tb_control_next(c, &r));
        CHECK(tb_clock_ms() < until);
    } while (poll(&p, 1, 5) == 0);
}

static void expect_code(tb_control *c, int fd, tb_rc want)
{
    uint8_t bytes[TB_CONTROL_REPLY_BYTES];
    tb_control_reply_head head;
    tb_err err;
    serve_until_readable(c, fd);
    CHECK(recv(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    CHECK_OK(tb_control_reply_decode(&head, bytes, &err), err);
    CHECK(head.rc == want && !head.more);
    CHECK(recv(fd, bytes, 1, 0) <= 0);
    (void)close(fd);
}

static void bad_requests_are_answered_and_closed(void **state)
{
    char path[512];
    uint8_t head[TB_CONTROL_HEAD_BYTES] = "TBQ1";
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n"
                               "Accept: everything there is\r\n\r\n";
    (void)snprintf(path, sizeof path, "%s", path_in(state));
    tb_control *c = open_control(path);

    int fd = dial(path);
    CHECK(send(fd, http, sizeof http, 0) == (ssize_t)sizeof http);
    expect_code(c, fd, TB_E_MALFORMED);

    fd = dial(path);
    tb_le32_put(head + 4, TB_CONTROL_JSON_BYTES_MAX + 1);
    CHECK(send(fd, head, sizeof head, 0) == (ssize_t)sizeof head);
    expect_code(c, fd, TB_E_LIMIT);

    fd = dial(path);
    tb_le32_put(head + 4, 2);
    tb_le32_put(head + 8, 1);
    tb_le64_put(head + 12, UINT64_MAX);
    CHECK(send(fd, head, sizeof head, 0) == (ssize_t)sizeof head);
    expect_code(c, fd, TB_E_LIMIT);

    fd = dial(path);
    tb_le32_put(head + 8, 0);
    tb_le64_put(head + 12, 0);
    CHECK(send(fd, head, sizeof head, 0) == (ssize_t)sizeof head);
    CHECK(send(fd, "{}", 2, 0) == 2);
    expect_code(c, fd, TB_E_MALFORMED);
    tb_control_close(&c);
}

static void each_json_that_is_no_request_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"verb\":\"status\"}",
        "{\"args\":{}}",
        "{\"verb\":\"status\",\"args\":[]}",
        "{\"verb\":7,\"args\":{}}",
        "{\"verb\":\"../x\",\"args\":{}}",
        "{\"verb\":\"\",\"args\":{}}",
        "{\"verb\":\"status\",\"args\":{},\"more\":1}",
        "{\"verb\":\"status\",\"verb\":\"start\",\"args\":{}}",
        "{\"verb\":\"status\",\"args\":{\"a\":1}}",
        "{\"verb\":\"status\",\"args\":{\"a\":\"x\",\"a\":\"y\"}}",
        "{\"verb\":\"status\",\"args\":{\"/a\":\"x\"}}",
        "{\"verb\":\"status\",\"args\":{\"a\":\"\\u0000\"}}",
        "{\"verb\":\"status\",\"args\":{\"a\":\"\xff\"}}",
        "{\"verb\":\"status\",\"args\":{}} x",
    };
    tb_err err;
    tb_control_request r;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tb_rc rc = tb_control_json_decode(&r, (const uint8_t *)bad[i],
                                          strlen(bad[i]), &err);
        if (rc != TB_E_MALFORMED) {
            print_message("%s: %s\n", bad[i], tb_rc_name(rc));
        }
        CHECK(rc == TB_E_MALFORMED && r.n_args == 0);
    }
    static const char good[] = "{\"args\":{\"a\":\"x\"},\"verb\":\"status\"}";
    for (size_t len = 0; len < sizeof good - 1; len++) {
        CHECK(tb_control_json_decode(&r, (const uint8_t *)good, len, NULL) ==
              TB_E_MALFORMED);
    }
    CHECK_OK(tb_control_json_decode(&r, (const uint8_t *)good, sizeof good - 1,
                                    &err),
             err);
    assert_string_equal(tb_control_arg_get(&r, "a"), "x");
    tb_control_request_release(&r);
}

static void half_requests_do_not_keep_others_out(void **state)
{
    tb_err err;
    asker a;
    int fds[TB_CONTROL_CONNECTIONS_MAX - 1];
    char path[512];
    tb_control_request r;
    (void)snprintf(path, sizeof path, "%s", path_in(state));
    tb_control *c = open_control(path);
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        fds[i] = dial(path);
        CHECK(send(fds[i], "TBQ1 and then nothing", 21, 0) == 21);
        CHECK(!tb_control_next(c, &r));
    }
    start_asker(&a, path, "status");
    run_asker(&a);
    r = next_request(c);
    CHECK_OK(tb_control_reply(c, r.id, TB_OK, "{}", false, &err), err);
    tb_control_request_release(&r);
    stop_asker(&a);
    CHECK_OK(a.rc, a.err);
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        (void)close(fds[i]);
    }
    CHECK(!tb_control_next(c, &r));
    tb_control_close(&c);
}

static void an_asker_that_leaves_or_does_not_read_is_dropped(void **state)
{
    tb_err err;
    static char big[TB_CONTROL_REPLY_BYTES_MAX];
    tb_buf bytes;
    tb_control_request request;
    char path[512];
    (void)snprintf(path, sizeof path, "%s", path_in(state));
    memset(big, '1', sizeof big - 1);
    tb_control *c = open_control(path);
    tb_buf_init(&bytes, 1000);
    CHECK_OK(tb_control_request_init(&request, "watch", &err), err);
    CHECK_OK(tb_control_request_encode(&request, &bytes, &err), err);
    for (int leave = 0; leave < 2; leave++) {
        int fd = dial(path);
        CHECK(send(fd, bytes.data, bytes.len, 0) == (ssize_t)bytes.len);
        tb_control_request r = next_request(c);
        tb_rc rc = TB_OK;
        if (leave) {
            (void)close(fd);
        }
        for (int i = 0; i < 100 && rc == TB_OK; i++) {
            rc = tb_control_reply(c, r.id, TB_OK, big, true, &err);
        }
        CHECK(leave ? rc == TB_E_NOT_FOUND : rc == TB_E_FULL);
        tb_control_request_release(&r);
        if (!leave) {
            (void)close(fd);
        }
    }
    tb_buf_release(&bytes);
    tb_control_close(&c);
}

static tb_rc round_trip(void *arg, tb_err *err)
{
    tb_buf bytes;
    tb_control_request r;
    tb_control_head head;
    (void)arg;
    tb_buf_init(&bytes, 1000);
    tb_rc rc = tb_control_request_init(&r, "start", err);
    if (rc == TB_OK) {
        rc = tb_control_arg_add(&r, "key", "value", err);
    }
    if (rc == TB_OK) {
        rc = tb_control_request_encode(&r, &bytes, err);
    }
    tb_control_request_release(&r);
    if (rc == TB_OK) {
        rc = tb_control_head_decode(&head, bytes.data, err);
    }
    if (rc == TB_OK) {
        rc = tb_control_json_decode(&r, bytes.data + TB_CONTROL_HEAD_BYTES,
                                    head.json_bytes, err);
    }
    tb_control_request_release(&r);
    tb_buf_release(&bytes);
    return rc;
}

static void requests_survive_each_allocation_failing(void **state)
{
    (void)state;
    CHECK(tb_check_each_allocation(round_trip, NULL) >= 3);
}

#define IN_FOLDER(f)                                                           \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_request_with_attachments_gets_its_reply),
        IN_FOLDER(a_stream_of_replies_ends_with_the_last),
        IN_FOLDER(a_missing_or_dead_daemon_is_said),
        IN_FOLDER(a_path_longer_than_an_address_works),
        IN_FOLDER(bad_requests_are_answered_and_closed),
        cmocka_unit_test(each_json_that_is_no_request_is_refused),
        IN_FOLDER(half_requests_do_not_keep_others_out),
        IN_FOLDER(an_asker_that_leaves_or_does_not_read_is_dropped),
        cmocka_unit_test(requests_survive_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
