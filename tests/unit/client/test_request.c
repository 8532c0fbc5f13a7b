/* Pulls and remote predictions as a machine: messages in, messages out. */
#include <poll.h>
#include <unistd.h>

#include "base/mem.h"
#include "client/registry.h"
#include "client/request.h"
#include "member_home.h"

enum { N_SENT_MAX = 64, ROW_BYTES = 4 };

typedef struct wire {
    member_home m;
    request r;
    request_context c;
    tb_msg sent[N_SENT_MAX];
    size_t n_payload[N_SENT_MAX];
    size_t n_sent;
    tb_rc rc; /* of the next sends */
} wire;

static tb_rc send(void *arg, const tb_msg *msg, const uint8_t *payload,
                  size_t n_payload, tb_err *err)
{
    wire *w = arg;
    (void)payload;
    if (w->rc != TB_OK) {
        return tb_fail(err, w->rc, "the wire is cut");
    }
    CHECK(w->n_sent < N_SENT_MAX);
    w->n_payload[w->n_sent] = n_payload;
    w->sent[w->n_sent++] = *msg;
    return TB_OK;
}

static void open_wire(wire *w, const char *dir, request_kind kind)
{
    tb_name name;
    memset(w, 0, sizeof *w);
    member_home_open(&w->m, dir);
    CHECK(tb_name_set(&name, "small"));
    request_init(&w->r, kind, &name);
    w->c = (request_context){
        .home = &w->m.home, .send = send, .arg = w, .now_ms = 1000};
}

static void close_wire(wire *w)
{
    request_release(&w->r);
    member_home_close(&w->m);
}

static bool hear(wire *w, const tb_msg *msg, const void *payload, size_t n)
{
    return request_take(&w->r, &w->c, msg, payload, n);
}

static void hear_manifest(wire *w)
{
    tb_msg msg = {.kind = TB_MSG_MANIFEST};
    member_home_sign(&w->m, "small", 1);
    msg.u.manifest = w->m.msg;
    CHECK(hear(w, &msg, NULL, 0));
}

/* Answers every FETCH that was sent with the stored bytes. */
static void serve_chunks(wire *w)
{
    for (size_t i = 0; i < w->n_sent; i++) {
        const tb_msg_fetch *f = &w->sent[i].u.fetch;
        if (w->sent[i].kind == TB_MSG_FETCH) {
            tb_msg msg = {.kind = TB_MSG_CHUNK,
                          .u.chunk = {.blob = f->blob,
                                      .offset = f->offset,
                                      .total = w->m.artefact.stored_bytes}};
            CHECK(hear(w, &msg, tb_shared_data(w->m.stored) + f->offset,
                       f->length));
        }
    }
}

static void a_pull_asks_for_manifest_then_blob_and_keeps_it(void **state)
{
    tb_err err;
    wire w;
    tb_json *result = NULL;
    open_wire(&w, *state, REQUEST_PULL);
    request_begin(&w.r, &w.c);
    CHECK(w.n_sent == 1 && w.sent[0].kind == TB_MSG_MODEL_GET);
    CHECK(w.sent[0].u.model_get.known_sequence == 0);
    hear_manifest(&w);
    CHECK(w.r.phase == REQUEST_FETCH);
    serve_chunks(&w);
    CHECK(w.r.phase == REQUEST_DONE);
    CHECK_OK(w.r.rc, w.r.err);
    CHECK_OK(request_result(&w.r, &w.m.home, &result, &err), err);
    assert_string_equal(tb_json_text(result, "form", ""), "fp32");
    CHECK(tb_json_int(result, "version", 0) == 1);
    tb_json_free(&result);

    /* Again: nothing is fetched twice. */
    request again;
    request_init(&again, REQUEST_PULL, &w.r.model);
    request_release(&w.r);
    w.r = again;
    w.n_sent = 0;
    request_begin(&w.r, &w.c);
    CHECK(w.sent[0].u.model_get.known_sequence == 1);
    hear_manifest(&w);
    CHECK(w.r.phase == REQUEST_DONE && w.r.rc == TB_OK && w.n_sent == 1);
    close_wire(&w);
}

static void a_blob_that_is_not_the_signed_one_is_refused(void **state)
{
    wire w;
    open_wire(&w, *state, REQUEST_PULL);
    request_begin(&w.r, &w.c);
    hear_manifest(&w);
    const tb_msg_fetch *f = &w.sent[1].u.fetch;
    tb_msg msg = {
        .kind = TB_MSG_CHUNK,
        .u.chunk = {.blob = f->blob, .total = w.m.artefact.stored_bytes}};
    uint8_t noise[256] = {0};
    CHECK(f->length <= sizeof noise);
    CHECK(hear(&w, &msg, noise, f->length));
    CHECK(w.r.phase == REQUEST_DONE && w.r.rc != TB_OK);
    close_wire(&w);
}

static void a_form_that_the_version_has_not_is_said(void **state)
{
    tb_err err;
    wire w;
    open_wire(&w, *state, REQUEST_PULL);
    CHECK_ERR(request_set_role(&w.r, "int9", &err), TB_E_USAGE, err, "int8");
    CHECK_OK(request_set_role(&w.r, "int8", &err), err);
    request_begin(&w.r, &w.c);
    hear_manifest(&w);
    CHECK_ERR(w.r.rc, TB_E_NOT_FOUND, w.r.err, "int8");
    close_wire(&w);
}

static void ask_for_rows(wire *w, size_t n_rows, size_t row_bytes)
{
    tb_err err;
    w->r.n_rows = n_rows;
    for (size_t i = 0; i < n_rows * row_bytes; i++) {
        CHECK_OK(tb_buf_put_u8(&w->r.rows, (uint8_t)i, &err), err);
    }
    request_begin(&w->r, &w->c);
    hear_manifest(w);
}

static void answer(wire *w, uint32_t n_rows, const tb_hash *model)
{
    static float y[2 * TB_PAYLOAD_BYTES_MAX];
    const tb_msg *asked = &w->sent[w->n_sent - 1];
    tb_msg msg = {.kind = TB_MSG_PREDICTION,
                  .u.prediction = {.request = asked->u.predict.request,
                                   .sequence = 1,
                                   .model = *model,
                                   .n_rows = n_rows,
                                   .n_outputs = 2}};
    y[0] = 0.25F;
    CHECK(hear(w, &msg, y, n_rows * 2 * sizeof *y));
}

static void rows_go_out_in_pieces_and_answers_come_back_in_order(void **state)
{
    tb_err err;
    wire w;
    tb_json *result = NULL;
    const uint32_t at_once = TB_PAYLOAD_BYTES_MAX / ROW_BYTES;
    open_wire(&w, *state, REQUEST_PREDICT);
    ask_for_rows(&w, at_once + 3, ROW_BYTES);
    CHECK(w.sent[1].kind == TB_MSG_PREDICT);
    CHECK(w.sent[1].u.predict.n_rows == at_once);
    CHECK(w.n_payload[1] == at_once * ROW_BYTES);
    answer(&w, at_once, &w.m.artefact.raw);
    CHECK(w.r.phase == REQUEST_ANSWERS);
    CHECK(w.sent[2].u.predict.n_rows == 3);
    answer(&w, 3, &w.m.artefact.raw);
    CHECK_OK(w.r.rc, w.r.err);
    CHECK(w.r.phase == REQUEST_DONE);
    CHECK_OK(request_result(&w.r, &w.m.home, &result, &err), err);
    const tb_json *rows = tb_json_get(result, "outputs");
    CHECK(tb_json_count(rows) == at_once + 3);
    CHECK(tb_json_number(tb_json_at(tb_json_at(rows, 0), 0), 0) == 0.25);
    tb_json_free(&result);
    close_wire(&w);
}

static void rows_of_another_size_never_leave(void **state)
{
    wire w;
    open_wire(&w, *state, REQUEST_PREDICT);
    ask_for_rows(&w, 3, ROW_BYTES + 1);
    CHECK_ERR(w.r.rc, TB_E_MISMATCH, w.r.err, "bytes a row");
    CHECK(w.n_sent == 1);
    close_wire(&w);
}

static void an_answer_of_another_model_or_size_is_refused(void **state)
{
    wire w;
    tb_hash other = tb_hash_of("other", 5);
    open_wire(&w, *state, REQUEST_PREDICT);
    ask_for_rows(&w, 3, ROW_BYTES);
    answer(&w, 3, &other);
    CHECK_ERR(w.r.rc, TB_E_MALFORMED, w.r.err, "manifest");
    close_wire(&w);
    open_wire(&w, tb_test_folder_path(*state, "second"), REQUEST_PREDICT);
    ask_for_rows(&w, 3, ROW_BYTES);
    answer(&w, 2, &w.m.artefact.raw);
    CHECK_ERR(w.r.rc, TB_E_MALFORMED, w.r.err, "manifest");
    close_wire(&w);
}

static void a_refusal_ends_only_the_request_that_it_is_about(void **state)
{
    wire w;
    tb_msg msg = {.kind = TB_MSG_REFUSE,
                  .u.refuse = {.code = TB_REFUSE_NOT_SERVED,
                               .about = TB_MSG_BLOCK,
                               .why = "because"}};
    open_wire(&w, *state, REQUEST_PREDICT);
    ask_for_rows(&w, 3, ROW_BYTES);
    CHECK(!hear(&w, &msg, NULL, 0));
    msg.u.refuse.about = TB_MSG_PREDICT;
    CHECK(hear(&w, &msg, NULL, 0));
    CHECK_ERR(w.r.rc, TB_E_REFUSED, w.r.err, "because");
    close_wire(&w);
}

static void silence_ends_it_and_a_new_connection_begins_again(void **state)
{
    wire w;
    open_wire(&w, *state, REQUEST_PULL);
    w.rc = TB_E_BUSY; /* not connected: no failure */
    request_begin(&w.r, &w.c);
    CHECK(w.r.phase == REQUEST_MANIFEST);
    w.rc = TB_OK;
    request_begin(&w.r, &w.c);
    CHECK(w.n_sent == 1);
    request_tick(&w.r, 2000);
    CHECK(w.r.phase == REQUEST_MANIFEST);
    request_tick(&w.r, 1000000);
    CHECK_ERR(w.r.rc, TB_E_TIMEOUT, w.r.err, "running");
    close_wire(&w);
}

static void wait_for_chore(wire *w)
{
    struct pollfd fd = {.fd = chores_fd(w->c.chores), .events = POLLIN};
    CHECK(poll(&fd, 1, -1) == 1);
    chores_clear(w->c.chores);
    request_go_on(&w->r, &w->c);
}

/* Holds the thread of the chores until it is let go. */
static void hold(void *arg)
{
    uint8_t byte;
    CHECK(read(*(int *)arg, &byte, 1) == 1);
}

static void a_file_is_looked_at_and_unpacked_beside_the_loop(void **state)
{
    tb_err err;
    wire w;
    int held[2];
    open_wire(&w, *state, REQUEST_PULL);
    CHECK(pipe(held) == 0);
    CHECK_OK(chores_new(&w.c.chores, &err), err);
    CHECK_OK(chores_do(w.c.chores, hold, &held[0], &err), err);
    request_begin(&w.r, &w.c);
    hear_manifest(&w);

    /* The thread is busy: the loop is not, and however long it takes, neither
     * time nor a new connection ends the request. */
    request_go_on(&w.r, &w.c);
    request_tick(&w.r, 1000000);
    request_begin(&w.r, &w.c);
    CHECK(w.r.phase == REQUEST_CHORE && w.n_sent == 1);
    CHECK(write(held[1], "x", 1) == 1);
    wait_for_chore(&w);
    CHECK(w.r.phase == REQUEST_FETCH);
    CHECK_OK(chores_do(w.c.chores, hold, &held[0], &err), err);
    serve_chunks(&w);
    CHECK(w.r.phase == REQUEST_CHORE);
    CHECK(write(held[1], "x", 1) == 1);
    wait_for_chore(&w);
    CHECK_OK(w.r.rc, w.r.err);
    CHECK(w.r.phase == REQUEST_DONE);
    chores_free(&w.c.chores);
    CHECK(close(held[0]) == 0 && close(held[1]) == 0);
    close_wire(&w);
}

#define TEST(f)                                                                \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pull_asks_for_manifest_then_blob_and_keeps_it),
        TEST(a_blob_that_is_not_the_signed_one_is_refused),
        TEST(a_form_that_the_version_has_not_is_said),
        TEST(rows_go_out_in_pieces_and_answers_come_back_in_order),
        TEST(rows_of_another_size_never_leave),
        TEST(an_answer_of_another_model_or_size_is_refused),
        TEST(a_refusal_ends_only_the_request_that_it_is_about),
        TEST(silence_ends_it_and_a_new_connection_begins_again),
        TEST(a_file_is_looked_at_and_unpacked_beside_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
