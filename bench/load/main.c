/* bench-load: many clients in one process.
 *   bench-load members DIR N          makes them members; no daemon runs
 *   bench-load tributary DIR FIRST N [known]
 *                                     clients of the daemon of DIR; known: they
 *                                     take the model as fetched before
 *   bench-load echo ENDPOINT KEY FIRST N
 *                                     clients of bench-router
 * Reads words from standard input: connect, probe, push BYTES, round BYTES,
 * quit. When all clients have done it, it prints NAME N FROM UNTIL (nanoseconds
 * of the machine's clock). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "load.h"

#define WINDOW     128
#define EVENTS_MAX 256
#define TICK_MS    20

static void die(const char *why)
{
    (void)fprintf(stderr, "bench-load: %s\n", why);
    exit(1);
}

void load_count(load_wave *wave)
{
    wave->n++;
    wave->until_ns = tb_clock_ns();
    if (wave->n == wave->wanted) {
        (void)printf("%s %u %" PRId64 " %" PRId64 "\n", wave->name, wave->n,
                     wave->from_ns, wave->until_ns);
        (void)fflush(stdout);
        wave->n = 0;
        wave->from_ns = wave->until_ns;
    }
}

static void begin(load_wave *wave, uint32_t wanted)
{
    wave->n = 0;
    wave->wanted = wanted;
    wave->from_ns = tb_clock_ns();
}

/* --- words ---------------------------------------------------------------- */

static tb_rc start_some(load *l, tb_err *err)
{
    tb_rc rc = TB_OK;
    while (rc == TB_OK && l->connect.wanted > 0 && l->n_started < l->n &&
           l->n_started - l->connect.n < l->window) {
        load_client *c = &l->clients[l->n_started];
        c->number = l->first + l->n_started;
        l->n_started++;
        rc = l->protocol->start(l, c, err);
        if (rc == TB_OK) {
            rc = load_drain(l, c, err);
        }
    }
    return rc;
}

/* True: go on. */
static bool obey(load *l, const char *word, tb_err *err)
{
    uint64_t bytes = 0;
    tb_rc (*each)(load *, load_client *, uint64_t, tb_err *) = NULL;
    tb_rc rc = TB_OK;
    if (strcmp(word, "connect") == 0) {
        begin(&l->connect, l->n);
    } else if (strcmp(word, "probe") == 0) {
        begin(&l->probe, l->n);
    } else if (sscanf(word, "push %" SCNu64, &bytes) == 1 ||
               sscanf(word, "round %" SCNu64, &bytes) == 1) {
        begin(&l->update, l->n);
        each = word[0] == 'r' ? l->protocol->round : l->protocol->push;
    } else {
        return false;
    }
    for (uint32_t i = 0; i < l->n_started && rc == TB_OK; i++) {
        load_client *c = &l->clients[i];
        if (bytes > 0 && each != NULL) {
            rc = each(l, c, bytes, err);
        } else if (word[0] == 'p' && bytes == 0) {
            rc = l->protocol->probe(l, c, err);
        }
        if (rc == TB_OK) {
            rc = load_drain(l, c, err);
        }
    }
    if (rc != TB_OK) {
        die(err->text);
    }
    return true;
}

static bool read_word(load *l, tb_err *err)
{
    char word[64] = {0};
    ssize_t n = read(STDIN_FILENO, word, sizeof word - 1);
    if (n <= 0) {
        return false;
    }
    word[strcspn(word, "\n")] = '\0';
    return obey(l, word, err);
}

/* --- the loop ------------------------------------------------------------- */

static tb_rc tick_all(load *l, tb_err *err)
{
    int64_t now = tb_clock_ms();
    tb_rc rc = TB_OK;
    for (uint32_t i = 0; i < l->n_started && rc == TB_OK; i++) {
        rc = l->protocol->tick(l, &l->clients[i], now, err);
        if (rc == TB_OK) {
            rc = load_drain(l, &l->clients[i], err);
        }
    }
    return rc;
}

static tb_rc run(load *l, tb_err *err)
{
    struct epoll_event events[EVENTS_MAX];
    struct epoll_event words = {.events = EPOLLIN};
    int64_t ticked_ms = 0;
    bool on = epoll_ctl(l->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &words) == 0;
    tb_rc rc = TB_OK;
    while (on && rc == TB_OK) {
        int n = epoll_wait(l->epoll, events, EVENTS_MAX, TICK_MS);
        for (int i = 0; i < n && rc == TB_OK && on; i++) {
            load_client *c = events[i].data.ptr;
            if (c == NULL) {
                on = read_word(l, err);
            } else {
                rc = load_drain(l, c, err);
            }
        }
        if (rc == TB_OK) {
            rc = start_some(l, err);
        }
        if (rc == TB_OK && tb_clock_ms() - ticked_ms >= TICK_MS) {
            rc = tick_all(l, err);
            ticked_ms = tb_clock_ms();
        }
    }
    return rc;
}

/* --- opening and closing -------------------------------------------------- */

static void open_load(load *l)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    l->context = zmq_ctx_new();
    l->clients = tb_mem_array(l->n, sizeof *l->clients);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->context == NULL || l->clients == NULL || l->epoll < 0 ||
        zmq_ctx_set(l->context, ZMQ_MAX_SOCKETS, (int)l->n + 8) != 0) {
        die("cannot start");
    }
    l->window = WINDOW;
    l->connect.name = "connect";
    l->probe.name = "probe";
    l->update.name = "update";
    begin(&l->update, l->n);
}

static void close_load(load *l)
{
    (void)fprintf(stderr, "refused %" PRIu64 " lost %" PRIu64 "\n",
                  l->n_refused, l->n_lost);
    for (uint32_t i = 0; i < l->n_started; i++) {
        load_close(l, &l->clients[i]);
        l->protocol->end(&l->clients[i]);
    }
    (void)zmq_ctx_term(l->context);
    (void)close(l->epoll);
    tb_mem_free(l->clients);
}

static uint32_t number(const char *text)
{
    char *end = NULL;
    unsigned long n = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || n > 1000000) {
        die("not a number");
    }
    return (uint32_t)n;
}

static void work(load *l)
{
    tb_err err = {0};
    open_load(l);
    tb_rc rc = run(l, &err);
    if (rc != TB_OK) {
        (void)fprintf(stderr, "bench-load: %s\n", err.text);
    }
    close_load(l);
    if (rc != TB_OK) {
        exit(1);
    }
}

int main(int argc, char **argv)
{
    tb_err err = {0};
    load l = {.fetches = true};
    tb_rc rc = tb_crypto_init(&err);
    if (rc == TB_OK && argc == 4 && strcmp(argv[1], "members") == 0) {
        rc = load_enrol(argv[2], number(argv[3]), &err);
    } else if (rc == TB_OK && argc >= 5 && strcmp(argv[1], "tributary") == 0) {
        rc = load_federation_read(&l.fed, argv[2], &err);
        l.protocol = &load_tributary;
        l.first = number(argv[3]);
        l.n = number(argv[4]);
        l.fetches = argc < 6 || strcmp(argv[5], "known") != 0;
    } else if (rc == TB_OK && argc == 6 && strcmp(argv[1], "echo") == 0) {
        l.protocol = &load_echo;
        (void)snprintf(l.fed.endpoint, sizeof l.fed.endpoint, "%s", argv[2]);
        if (zmq_z85_decode(l.fed.certificate.curve_key, argv[3]) == NULL) {
            die("not a key");
        }
        l.first = number(argv[4]);
        l.n = number(argv[5]);
    } else {
        die("see the head of bench/load/main.c");
    }
    if (rc != TB_OK) {
        die(err.text);
    }
    if (l.protocol != NULL) {
        work(&l);
    }
    return 0;
}
