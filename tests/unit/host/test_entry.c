/* Who comes in by the doors: how many, how many of one address, and who goes
 * for them; what is left when there are no descriptors. */
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/spare.h"
#include "support/net.h"
#include "support/raw_member.h"

static tb_transport *start_small(uint32_t max_connections)
{
    tb_err err;
    tb_transport *t = NULL;
    tb_transport_options o = {.endpoint = "tcp://127.0.0.1:0",
                              .curve_secret = server_keys.secret,
                              .max_connections = max_connections};
    CHECK_OK(tb_transport_start(&t, &o, &err), err);
    return t;
}

static void speak(tb_transport *t, tb_dial *d, const char *text)
{
    say(d, text);
    tb_inbound *in = server_event(t);
    CHECK(in->kind == TB_IN_MESSAGE && is_text(in, text));
    tb_inbound_free(&in);
}

static void connections_are(tb_transport *t, uint64_t n)
{
    tb_transport_totals totals;
    int64_t until = tb_clock_ms() + LIMIT_MS;
    do {
        tb_transport_totals_get(t, &totals);
        (void)poll(NULL, 0, 2);
    } while (totals.connections != n && tb_clock_ms() < until);
    CHECK(totals.connections == n);
}

static bool is_quiet(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

static void a_full_house_shows_its_oldest_stranger_out(void **state)
{
    (void)state;
    keys k[3] = {new_keys(), new_keys(), new_keys()};
    tb_dial *d[3];
    int fd[3];
    tb_transport *t = start_small(3);
    const char *where = tb_transport_endpoint(t);
    d[0] = welcome(t, "creek", &k[0]);
    fd[0] = raw_dial(where, 1, 0);
    fd[1] = raw_dial(where, 1, 0);
    connections_are(t, 3);
    fd[2] = raw_dial(where, 1, 0);
    CHECK(raw_is_closed(fd[0])); /* it was the oldest */
    CHECK(is_quiet(fd[1]) && is_quiet(fd[2]));
    d[1] = welcome(t, "brook", &k[1]);
    CHECK(raw_is_closed(fd[1]));
    d[2] = welcome(t, "pond", &k[2]);
    CHECK(raw_is_closed(fd[2]));
    int last = raw_dial(where, 1, 0); /* nobody is a stranger: it goes */
    CHECK(last >= 0 && raw_is_closed(last));
    for (int i = 0; i < 3; i++) {
        speak(t, d[i], "still here");
        (void)close(fd[i]);
    }
    for (int i = 0; i < 3; i++) {
        stop_client(&d[i]);
    }
    (void)close(last);
    stop_server(&t);
}

static void allow(tb_transport *t, raw_member *m, const char *text)
{
    tb_err err;
    tb_name name = name_of(text);
    raw_member_init(m, server_keys.public);
    CHECK_OK(tb_transport_allow(t, &name, m->c.key, &err), err);
}

static void who_says_nothing_goes_before_who_speaks(void **state)
{
    (void)state;
    keys k = new_keys();
    raw_member silent[2];
    tb_transport *t = start_small(3);
    allow(t, &silent[0], "silent");
    allow(t, &silent[1], "quiet");
    tb_dial *d = welcome(t, "creek", &k);
    CHECK(raw_member_meet(&silent[0], tb_transport_endpoint(t), false));
    CHECK(raw_member_meet(&silent[1], tb_transport_endpoint(t), false));
    connections_are(t, 3);
    int fd = raw_dial(tb_transport_endpoint(t), 1, 0);
    CHECK(raw_is_closed(silent[0].fd) && is_quiet(silent[1].fd));
    speak(t, d, "still here");
    (void)close(fd);
    raw_member_leave(&silent[0]);
    raw_member_leave(&silent[1]);
    stop_client(&d);
    stop_server(&t);
}

static bool say_raw(raw_member *m, const char *text)
{
    uint8_t out[128];
    size_t n = raw_member_frame(m, 0, (const uint8_t *)text, strlen(text), out);
    return raw_member_send(m, out, n);
}

/* By keys that it has proven a member can fill no house. */
static void a_key_that_says_nothing_holds_few_places(void **state)
{
    (void)state;
    enum { MANY = 20, SILENT = 4 };
    raw_member m[MANY];
    tb_transport *t = start_small(0);
    allow(t, &m[0], "silent");
    for (int i = 0; i < MANY; i++) {
        m[i] = m[0];
        CHECK(raw_member_meet(&m[i], tb_transport_endpoint(t), false));
        CHECK(i < SILENT || raw_is_closed(m[i - SILENT].fd));
    }
    connections_are(t, SILENT);
    CHECK(say_raw(&m[MANY - 2], "it is me"));
    tb_inbound *in = server_event(t);
    CHECK(in->kind == TB_IN_MESSAGE && is_text(in, "it is me"));
    tb_inbound_free(&in);
    for (int i = 0; i < MANY; i++) {
        raw_member_leave(&m[i]);
    }
    stop_server(&t);
}

static void expect_enrol(tb_transport *t, const char *text)
{
    tb_inbound *in = server_event(t);
    CHECK(in->kind == TB_IN_ENROL && is_text(in, text));
    tb_inbound_free(&in);
}

/* Its first is paid for by the connection; each more is one more. */
static void a_stranger_s_tries_are_counted_on_one_connection_too(void **state)
{
    (void)state;
    raw_member m;
    tb_transport *t = start_server(2);
    raw_member_init(&m, server_keys.public);
    CHECK(raw_member_meet(&m, tb_transport_enrol_endpoint(t), false));
    CHECK(say_raw(&m, "first"));
    expect_enrol(t, "first");
    CHECK(say_raw(&m, "second"));
    expect_enrol(t, "second");
    CHECK(say_raw(&m, "third") && raw_is_closed(m.fd));
    tb_inbound *in = NULL;
    tb_transport_receive(t, &in);
    CHECK(in == NULL);
    raw_member_leave(&m);
    stop_server(&t);
}

/* It was proven while it was still allowed. */
static void a_key_that_was_forgotten_speaks_no_more(void **state)
{
    (void)state;
    tb_err err;
    raw_member old;
    keys k = new_keys();
    tb_name name = name_of("creek");
    tb_transport *t = start_small(0);
    allow(t, &old, "creek");
    CHECK_OK(tb_transport_rotate(t, &name, k.public, &err), err);
    CHECK(raw_member_meet(&old, tb_transport_endpoint(t), false));
    tb_transport_forget_old(t, &name);
    CHECK(say_raw(&old, "it is me") && raw_is_closed(old.fd));
    tb_inbound *in = NULL;
    tb_transport_receive(t, &in);
    CHECK(in == NULL);
    raw_member_leave(&old);
    stop_server(&t);
}

/* Without waiting for the answer: the kernel drops some, and some may be reset
 * before they know. */
static void knock(const tb_transport *t, unsigned from)
{
    int fd = raw_dial(tb_transport_endpoint(t), from, RAW_NO_WAIT);
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* Who is beyond his budget is turned away, first by us, then by the kernel. */
static void one_address_cannot_keep_another_out(void **state)
{
    (void)state;
    enum { MANY = 2000 };
    keys k = new_keys();
    tb_transport_totals totals;
    tb_transport *t = start_small(0);
    for (int i = 0; i < MANY; i++) {
        knock(t, 2);
        if (i % 100 == 99) {
            (void)poll(NULL, 0, 1);
        }
    }
    totals_reach(t, &totals.cut, &totals, 1);
    tb_dial *d = welcome(t, "creek", &k);
    connections_are(t, 1);
    tb_transport_totals_get(t, &totals);
    CHECK(totals.cut <= MANY - 256); /* its burst came in */
    stop_client(&d);
    stop_server(&t);
}

/* The kernel, which has been told, is told again when it is over. */
static void who_was_turned_away_comes_in_again(void **state)
{
    (void)state;
    raw_member m;
    tb_err err;
    tb_name name = name_of("creek");
    tb_transport_totals totals = {0};
    tb_transport *t = start_small(0);
    raw_member_init(&m, server_keys.public);
    CHECK_OK(tb_transport_allow(t, &name, m.c.key, &err), err);
    while (totals.cut == 0) {
        knock(t, 1);
        tb_transport_totals_get(t, &totals);
    }
    int64_t until = tb_clock_ms() + LIMIT_MS;
    while (!raw_member_meet(&m, tb_transport_endpoint(t), false) &&
           tb_clock_ms() < until) {
    }
    CHECK(m.fd >= 0);
    raw_member_leave(&m);
    stop_server(&t);
}

static void a_handshake_is_waited_for_five_seconds(void **state)
{
    (void)state;
    tb_transport *t = start_small(0);
    int64_t begin = tb_clock_ms();
    int mute = raw_dial(tb_transport_endpoint(t), 1, 0);
    int half = raw_dial(tb_transport_endpoint(t), 1, 0);
    CHECK(send(half, "\xff\0\0\0\0\0\0\0\1\x7f", 10, 0) == 10);
    CHECK(raw_is_closed(mute) && raw_is_closed(half));
    CHECK(tb_clock_ms() - begin >= 4900);
    connections_are(t, 0);
    (void)close(mute);
    (void)close(half);
    stop_server(&t);
}

/* A loop that waits at a door would spin for as long as the peer waits. */
static void without_a_descriptor_the_peer_is_turned_away(void **state)
{
    (void)state;
    tb_err err;
    struct rlimit files;
    keys k = new_keys();
    tb_transport *t = start_small(0);
    tb_dial *d = welcome(t, "creek", &k);
    int peer = socket(AF_INET, SOCK_STREAM, 0);
    int next = dup(0);
    CHECK(next >= 0 && close(next) == 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    CHECK_OK(tb_spare_keep((uint64_t)next + 4, 4, &err), err);
    unsigned port = 0;
    CHECK(sscanf(tb_transport_endpoint(t), "tcp://127.0.0.1:%u", &port) == 1);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    CHECK(connect(peer, (struct sockaddr *)&at, sizeof at) == 0);
    CHECK(raw_is_closed(peer));
    speak(t, d, "still here");
    CHECK_OK(tb_spare_keep(files.rlim_cur, 0, &err), err);
    (void)close(peer);
    stop_client(&d);
    stop_server(&t);
}

static void an_endpoint_is_told_as_it_is_bound(void **state)
{
    (void)state;
    static const struct {
        const char *listen, *begin;
    } cases[] = {
        {"tcp://127.0.0.1:0", "tcp://127.0.0.1:"},
        {"tcp://127.0.0.1:*", "tcp://127.0.0.1:"},
        {"tcp://*:0", "tcp://0.0.0.0:"},
        {"tcp://[::]:0", "tcp://[::]:"},
    };
    static const char *const bad[] = {"tcp://",
                                      "tcp://127.0.0.1",
                                      "tcp://127.0.0.1:",
                                      "tcp://:7700",
                                      "tcp://127.0.0.1:65536",
                                      "tcp://127.0.0.1:77a",
                                      "ipc:///tmp/x",
                                      "tcp://localhost:0",
                                      "tcp://[::1:0",
                                      "tcp://1.2.3.4.5:0",
                                      "tcp://203.0.113.9:0"};
    tb_err err;
    tb_transport *t = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tb_transport_options o = {.endpoint = cases[i].listen,
                                  .curve_secret = server_keys.secret};
        CHECK_OK(tb_transport_start(&t, &o, &err), err);
        const char *is = tb_transport_endpoint(t);
        size_t n = strlen(cases[i].begin);
        CHECK(strncmp(is, cases[i].begin, n) == 0 && strcmp(is + n, "0") != 0);
        stop_server(&t);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tb_transport_options o = {.endpoint = bad[i],
                                  .curve_secret = server_keys.secret};
        CHECK_ERR(tb_transport_start(&t, &o, &err), TB_E_USAGE, err, bad[i]);
        CHECK(t == NULL);
    }
}

/* At a start the roster comes after the doors: their ports stand in it. */
static void who_comes_before_the_roster_waits_and_is_known(void **state)
{
    (void)state;
    enum { A_WHILE_MS = 100, SIGNATURE_BYTES = 10 };
    static const uint8_t signature[SIGNATURE_BYTES] = {0xff, 0, 0, 0, 0,
                                                       0,    0, 0, 1, 0x7f};
    tb_err err;
    keys k = new_keys();
    tb_name name = name_of("creek");
    tb_transport *t = NULL;
    tb_transport_totals totals;
    tb_transport_options o = {.endpoint = "tcp://127.0.0.1:0",
                              .curve_secret = server_keys.secret,
                              .shut = true};
    CHECK_OK(tb_transport_start(&t, &o, &err), err);
    tb_dial *d = start_client(t, &k);
    int fd = raw_dial(tb_transport_endpoint(t), 2, 0);
    CHECK(fd >= 0 && send(fd, signature, sizeof signature, 0) ==
                         (ssize_t)sizeof signature);
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    CHECK(poll(&answer, 1, A_WHILE_MS) == 0);
    CHECK_OK(tb_transport_allow(t, &name, k.public, &err), err);
    CHECK_OK(tb_transport_let_in(t, &err), err);
    CHECK(poll(&answer, 1, LIMIT_MS) == 1);
    expect_client(d, TB_IN_CONNECTED, "");
    tb_transport_totals_get(t, &totals);
    CHECK(totals.denied == 0);
    (void)close(fd);
    stop_client(&d);
    stop_server(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_comes_before_the_roster_waits_and_is_known),
        cmocka_unit_test(a_full_house_shows_its_oldest_stranger_out),
        cmocka_unit_test(who_says_nothing_goes_before_who_speaks),
        cmocka_unit_test(a_key_that_says_nothing_holds_few_places),
        cmocka_unit_test(a_stranger_s_tries_are_counted_on_one_connection_too),
        cmocka_unit_test(a_key_that_was_forgotten_speaks_no_more),
        cmocka_unit_test(one_address_cannot_keep_another_out),
        cmocka_unit_test(who_was_turned_away_comes_in_again),
        cmocka_unit_test(a_handshake_is_waited_for_five_seconds),
        cmocka_unit_test(without_a_descriptor_the_peer_is_turned_away),
        cmocka_unit_test(an_endpoint_is_told_as_it_is_bound),
    };
    tb_log_set_level(TB_LOG_OFF);
    server_keys = new_keys();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
