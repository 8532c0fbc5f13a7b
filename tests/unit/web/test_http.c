/* A scraper of our own talks to the page over loopback. */
#include "web/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/check.h"

static tb_rc page(void *arg, tb_buf *out, tb_err *err)
{
    int *calls = arg;
    ++*calls;
    return *calls < 100 ? tb_buf_printf(out, err, "call %d\n", *calls)
                        : tb_fail(err, TB_E_NOMEM, "a page");
}

static int dial(const tb_http *h)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    const char *port = strrchr(tb_http_address(h), ':') + 1;
    at.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
    return fd;
}

/* Sends a request and serves until its connection ends. */
static const char *ask(tb_http *h, const char *request)
{
    static char text[8192];
    size_t n = 0;
    ssize_t got = 1;
    int fd = dial(h);
    CHECK(send(fd, request, strlen(request), 0) == (ssize_t)strlen(request));
    while (got != 0) {
        struct pollfd fds[] = {{.fd = tb_http_fd(h), .events = POLLIN},
                               {.fd = fd, .events = POLLIN}};
        int64_t wait = tb_http_wait_ms(h);
        (void)poll(fds, 2, wait < 10000 ? (int)wait : 10000);
        tb_http_serve(h);
        got = recv(fd, text + n, sizeof text - 1 - n, MSG_DONTWAIT);
        n += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    text[n] = '\0';
    return text;
}

#define CLOSE "Host: x\r\nConnection: close\r\n\r\n"

static void a_scraper_gets_the_page_anew_each_time(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_http *h = NULL;
    int calls = 0;
    CHECK_OK(tb_http_open(&h, "127.0.0.1:0", "text/plain; version=0.0.4", page,
                          &calls, &err),
             err);
    CHECK(strncmp(tb_http_address(h), "127.0.0.1:", 10) == 0);
    const char *text = ask(h, "GET /metrics HTTP/1.1\r\n" CLOSE);
    CHECK(strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0);
    CHECK(strstr(text, "Content-Type: text/plain; version=0.0.4\r\n"));
    CHECK(strstr(text, "\r\n\r\ncall 1\n"));
    CHECK(strstr(ask(h, "GET /metrics HTTP/1.1\r\n" CLOSE), "call 2\n"));
    CHECK(strstr(ask(h, "HEAD /metrics HTTP/1.1\r\n" CLOSE), " 200 OK\r\n"));
    tb_http_close(&h);
}

static void all_else_is_refused(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_http *h = NULL;
    int calls = 0;
    CHECK_OK(tb_http_open(&h, ":0", "text/plain", page, &calls, &err), err);
    CHECK(strstr(ask(h, "GET / HTTP/1.1\r\n" CLOSE), " 404 "));
    CHECK(strstr(ask(h, "GET /metrics/../x HTTP/1.1\r\n" CLOSE), " 404 "));
    const char *text = ask(h, "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n"
                              "Host: x\r\nConnection: close\r\n\r\nabc");
    CHECK(strstr(text, " 405 ") && strstr(text, "Allow: GET, HEAD\r\n"));
    (void)ask(h, "nonsense\r\n\r\n");
    CHECK(calls == 0);
    calls = 99;
    CHECK(strstr(ask(h, "GET /metrics HTTP/1.1\r\n" CLOSE), " 500 "));
    tb_http_close(&h);
}

static void more_connections_than_allowed_do_not_stop_it(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_http *h = NULL;
    int calls = 0;
    int idle[TB_HTTP_CONNECTIONS_MAX - 1];
    CHECK_OK(tb_http_open(&h, ":0", "text/plain", page, &calls, &err), err);
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        idle[i] = dial(h);
        tb_http_serve(h);
    }
    CHECK(strstr(ask(h, "GET /metrics HTTP/1.1\r\n" CLOSE), "call 1\n"));
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        CHECK(close(idle[i]) == 0);
    }
    tb_http_close(&h);
}

static void an_address_that_cannot_be_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",           "here",           "127.0.0.1",
        "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:9x"};
    (void)state;
    tb_http *h = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        tb_err err = {0};
        CHECK_ERR(tb_http_open(&h, wrong[i], "text/plain", page, NULL, &err),
                  TB_E_USAGE, err, "HOST:PORT");
        CHECK(h == NULL);
    }
}

static void an_address_in_use_is_busy(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_http *first = NULL;
    tb_http *second = NULL;
    CHECK_OK(tb_http_open(&first, ":0", "text/plain", page, NULL, &err), err);
    CHECK_ERR(tb_http_open(&second, tb_http_address(first), "text/plain", page,
                           NULL, &err),
              TB_E_BUSY, err, tb_http_address(first));
    tb_http_close(&first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scraper_gets_the_page_anew_each_time),
        cmocka_unit_test(all_else_is_refused),
        cmocka_unit_test(more_connections_than_allowed_do_not_stop_it),
        cmocka_unit_test(an_address_that_cannot_be_is_refused),
        cmocka_unit_test(an_address_in_use_is_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
