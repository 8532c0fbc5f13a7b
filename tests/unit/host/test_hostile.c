/* What peers may do to the coordinator's ports, and what it costs them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "support/net.h"

static void three_frames_or_a_huge_one_end_the_connection(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    tb_name name = name_of("rogue");
    tb_transport_totals totals;
    tb_transport *t = start_server(0);
    CHECK_OK(tb_transport_allow(t, &name, k.public, &err), err);
    rogue r = start_rogue(tb_transport_endpoint(t), &k);
    send_frames(&r, 3, 10, true);
    totals_reach(t, &totals.dropped, &totals, 1);
    send_frames(&r, 5, 10, true);
    totals_reach(t, &totals.dropped, &totals, 2);
    send_frames(&r, 1, TB_ENVELOPE_BYTES_MAX + 1, true);
    totals_reach(t, &totals.dropped, &totals, 3);
    send_frames(&r, 2, 5, true);
    tb_inbound *in = server_event(t); /* it has come back, and behaves */
    CHECK(in->kind == TB_IN_MESSAGE && in->payload_bytes == 5);
    tb_inbound_free(&in);
    send_frames(&r, 2, TB_PAYLOAD_BYTES_MAX + 100, true);
    in = server_event(t);
    CHECK(in->kind == TB_IN_GONE);
    tb_inbound_free(&in);
    stop_rogue(&r);
    stop_server(&t);
}

/* Sends messages of 100 MB until it is killed. Its keys come as Z85. */
static _Noreturn void flood(char **args)
{
    static uint8_t frame[60000];
    keys k;
    CHECK(zmq_z85_decode(server_keys.public, args[1]) != NULL);
    CHECK(zmq_z85_decode(k.public, args[2]) != NULL);
    CHECK(zmq_z85_decode(k.secret, args[3]) != NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    rogue r = start_rogue(args[0], &k);
    for (;;) { /* the socket comes back by itself */
        for (int i = 0; i < 1700; i++) {
            (void)zmq_send(r.socket, frame, sizeof frame, ZMQ_SNDMORE);
        }
        (void)zmq_send(r.socket, frame, 1, 0);
        (void)poll(NULL, 0, 500); /* or its queue would grow without end */
    }
}

/* The rogue is a process of its own, so that the memory measured is the
 * server's alone. */
static pid_t start_flood(const char *endpoint, const keys *k)
{
    char texts[3][41];
    (void)fflush(NULL);
    (void)zmq_z85_encode(texts[0], server_keys.public, 32);
    (void)zmq_z85_encode(texts[1], k->public, 32);
    (void)zmq_z85_encode(texts[2], k->secret, 32);
    pid_t child = fork();
    if (child == 0) {
        (void)execl("/proc/self/exe", "flood", endpoint, texts[0], texts[1],
                    texts[2], (char *)NULL);
        _exit(1);
    }
    return child;
}

static void an_endless_message_is_cut_and_memory_stays_bounded(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    keys honest = new_keys();
    tb_name name = name_of("rogue");
    tb_transport_totals totals;
    tb_transport *t = start_server(0);
    tb_dial *d = welcome(t, "creek", &honest);
    CHECK_OK(tb_transport_allow(t, &name, k.public, &err), err);
    size_t before = resident_bytes();
    size_t peak = before;
    pid_t child = start_flood(tb_transport_endpoint(t), &k);
    int64_t until = tb_clock_ms() + LIMIT_MS;
    do { /* an honest client is served all the while */
        say(d, "still here");
        tb_inbound *in = server_event(t);
        CHECK(in->kind == TB_IN_MESSAGE && is_text(in, "still here"));
        tb_inbound_free(&in);
        size_t now = resident_bytes();
        peak = now > peak ? now : peak;
        tb_transport_totals_get(t, &totals);
    } while (totals.cut < 2 && tb_clock_ms() < until);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, NULL, 0) == child);
    print_message("cut %u times, grown by %zu KB\n", (unsigned)totals.cut,
                  (peak - before) >> 10);
    CHECK(totals.cut >= 2);
    CHECK(peak - before < (size_t)64 << 20);
    stop_client(&d);
    stop_server(&t);
}

static int dial_raw(const char *endpoint)
{
    unsigned port = 0;
    CHECK(sscanf(endpoint, "tcp://127.0.0.1:%u", &port) == 1);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* Reads until the other side closes. */
static void expect_closed(int fd)
{
    uint8_t bytes[512];
    ssize_t n;
    struct timeval limit = {.tv_sec = LIMIT_MS / 1000};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    while ((n = read(fd, bytes, sizeof bytes)) > 0) {
    }
    CHECK(n == 0 || errno == ECONNRESET);
    (void)close(fd);
}

static void garbage_at_the_port_is_closed(void **state)
{
    (void)state;
    static const char http[] = "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
                               "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    uint8_t greeting[64] = {0xff, 0,    0, 0, 0,   0,   0,   0,
                            1,    0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    tb_transport *t = start_server(0);
    int fd = dial_raw(tb_transport_endpoint(t));
    CHECK(write(fd, http, sizeof http) == (ssize_t)sizeof http);
    expect_closed(fd);
    fd = dial_raw(tb_transport_endpoint(t)); /* a peer without CURVE */
    CHECK(write(fd, greeting, sizeof greeting) == (ssize_t)sizeof greeting);
    expect_closed(fd);
    keys k = new_keys();
    tb_dial *d = welcome(t, "creek", &k);
    stop_client(&d);
    stop_server(&t);
}

static void a_client_that_does_not_read_fills_only_its_own_queue(void **state)
{
    (void)state;
    tb_err err;
    keys k = new_keys();
    keys honest = new_keys();
    tb_name name = name_of("rogue");
    tb_transport *t = start_server(0);
    tb_dial *d = welcome(t, "creek", &honest);
    CHECK_OK(tb_transport_allow(t, &name, k.public, &err), err);
    rogue r = start_rogue(tb_transport_endpoint(t), &k);
    send_frames(&r, 1, 3, true);
    tb_inbound *in = server_event(t);
    tb_inbound_free(&in);
    tb_shared *bytes = shared_of(TB_BLOCK_BYTES_MAX, 1);
    tb_outbound m = text_message("chunk");
    m.payload = bytes;
    m.payload_bytes = TB_BLOCK_BYTES_MAX;
    tb_rc rc = TB_OK;
    int64_t until = tb_clock_ms() + LIMIT_MS;
    for (int n = 0; rc != TB_E_FULL && tb_clock_ms() < until; n++) {
        rc = tb_transport_send(t, &name, &m, &err); /* it never reads */
        if (rc == TB_E_FULL && n < 2000) {
            (void)poll(NULL, 0, 1); /* libzmq and the kernel take some more */
            rc = TB_OK;
        }
    }
    CHECK(rc == TB_E_FULL);
    tb_name creek = name_of("creek");
    m = text_message("for you");
    CHECK_OK(tb_transport_send(t, &creek, &m, &err), err);
    in = client_event(d);
    CHECK(is_text(in, "for you"));
    tb_inbound_free(&in);
    tb_shared_free(&bytes);
    stop_rogue(&r);
    stop_client(&d);
    stop_server(&t);
}

static void enrolments_are_few_a_minute(void **state)
{
    (void)state;
    keys k = new_keys();
    tb_transport *t = start_server(2);
    rogue r[3];
    for (int i = 0; i < 2; i++) {
        r[i] = start_rogue(tb_transport_enrol_endpoint(t), &k);
        send_frames(&r[i], 1, 9, true);
        tb_inbound *in = server_event(t);
        CHECK(in->kind == TB_IN_ENROL);
        tb_inbound_free(&in);
    }
    enrolment e = {
        .endpoint = tb_transport_enrol_endpoint(t), .k = &k, .timeout_ms = 700};
    (void)enrol(&e);
    CHECK_ERR(e.rc, TB_E_TIMEOUT, e.err, "no answer");
    tb_buf_release(&e.reply);
    for (int i = 0; i < 2; i++) {
        stop_rogue(&r[i]);
    }
    stop_server(&t);
}

static void the_enrolment_door_takes_one_small_frame(void **state)
{
    (void)state;
    keys k = new_keys();
    tb_transport_totals totals;
    tb_transport *t = start_server(0);
    rogue r = start_rogue(tb_transport_enrol_endpoint(t), &k);
    send_frames(&r, 2, 10, true);
    totals_reach(t, &totals.dropped, &totals, 1);
    send_frames(&r, 1, TB_ENROL_FRAME_BYTES + 100, true);
    stop_rogue(&r);
    r = start_rogue(tb_transport_enrol_endpoint(t), &k);
    send_frames(&r, 1, 10, true);
    tb_inbound *in = server_event(t);
    CHECK(in->kind == TB_IN_ENROL && in->envelope_bytes == 10);
    tb_inbound_free(&in);
    stop_rogue(&r);
    stop_server(&t);
}

static void two_hundred_clients_are_served(void **state)
{
    (void)state;
    enum { N = 200 };
    static keys k[N];
    static rogue r[N];
    static bool seen[N];
    tb_err err;
    char text[TB_NAME_BYTES];
    tb_transport *t = start_server(0);
    void *context = zmq_ctx_new();
    for (int i = 0; i < N; i++) {
        (void)snprintf(text, sizeof text, "c%d", i);
        tb_name name = name_of(text);
        k[i] = new_keys();
        CHECK_OK(tb_transport_allow(t, &name, k[i].public, &err), err);
        r[i].socket = rogue_socket(context, tb_transport_endpoint(t), &k[i]);
        send_frames(&r[i], 1, 8, true);
    }
    for (int n = 0; n < N; n++) {
        tb_inbound *in = server_event(t);
        int i = -1;
        CHECK(in->kind == TB_IN_MESSAGE);
        CHECK(sscanf(in->client.text, "c%d", &i) == 1 && i >= 0 && i < N);
        CHECK(!seen[i] &&
              memcmp(in->curve_key, k[i].public, sizeof k[i].public) == 0);
        seen[i] = true;
        tb_outbound m = text_message(in->client.text);
        CHECK_OK(tb_transport_send(t, &in->client, &m, &err), err);
        tb_inbound_free(&in);
    }
    for (int i = 0; i < N; i++) {
        zmq_pollitem_t item = {.socket = r[i].socket, .events = ZMQ_POLLIN};
        CHECK(zmq_poll(&item, 1, LIMIT_MS) == 1);
        char want[TB_NAME_BYTES];
        int n = zmq_recv(r[i].socket, text, sizeof text, 0);
        CHECK(snprintf(want, sizeof want, "c%d", i) == n);
        CHECK(memcmp(text, want, (size_t)n) == 0);
        CHECK(zmq_close(r[i].socket) == 0);
    }
    CHECK(zmq_ctx_term(context) == 0);
    stop_server(&t);
}

int main(int argc, char **argv)
{
    if (argc == 5) {
        flood(argv + 1);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_frames_or_a_huge_one_end_the_connection),
        cmocka_unit_test(an_endless_message_is_cut_and_memory_stays_bounded),
        cmocka_unit_test(garbage_at_the_port_is_closed),
        cmocka_unit_test(a_client_that_does_not_read_fills_only_its_own_queue),
        cmocka_unit_test(enrolments_are_few_a_minute),
        cmocka_unit_test(the_enrolment_door_takes_one_small_frame),
        cmocka_unit_test(two_hundred_clients_are_served),
    };
    tb_log_set_level(TB_LOG_OFF);
    server_keys = new_keys();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
