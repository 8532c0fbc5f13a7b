/* The prediction worker: right answers, and what it refuses. */
#include <poll.h>
#include <string.h>

#include "base/mem.h"
#include "home.h"
#include "host/inbox.h"
#include "model/build.h"
#include "model/onnx.h"
#include "serve.h"
#include "support/check.h"
#include "wire/manifest.h"
#include "work/predict.h"

enum { N_IN = 6, N_OUT = 3, N_ROWS = 5, PER_SECOND = 4 };

typedef struct bench {
    tb_state state;
    tb_serve *serve;
    tb_inbox *inbox;
    tb_buf onnx;
    tb_rec_version version; /* of a model that is served */
} bench;

/* Stores a model and a manifest of it. */
static tb_rec_version put_version(bench *b, bool served)
{
    tb_err err;
    tb_blob_ref ref;
    tb_buf bytes;
    tb_manifest m = {.sequence = 3, .created_s = 1, .served = served};
    tb_rec_version v = {.sequence = 3};
    CHECK_OK(
        tb_blobs_put(b->state.blobs, b->onnx.data, b->onnx.len, 1, &ref, &err),
        err);
    CHECK(tb_name_set(&m.name, "small"));
    memcpy(m.software, "tributary", 10);
    m.input.dtype = TB_INPUT_F32;
    m.input.rank = 1;
    m.input.dims[0] = N_IN;
    m.output.n_values = N_OUT;
    m.standard = TB_ARTEFACT_FP32;
    m.n_artefacts = 1;
    m.artefacts[0] = (tb_artefact){.role = TB_ARTEFACT_FP32,
                                   .raw = ref.raw,
                                   .raw_bytes = ref.raw_bytes,
                                   .stored = ref.stored,
                                   .stored_bytes = ref.stored_bytes};
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    CHECK_OK(tb_manifest_encode(&m, &bytes, &err), err);
    CHECK_OK(tb_blobs_put(b->state.blobs, bytes.data, bytes.len, 1, &ref, &err),
             err);
    tb_buf_release(&bytes);
    v.model = m.name;
    v.manifest = ref.raw;
    return v;
}

static void setup(bench *b, const char *dir)
{
    tb_err err;
    tb_graph *graph = NULL;
    home h = make_home(dir);
    tb_serve_limits limits = {.max_rows = 8, .per_second = PER_SECOND};
    memset(b, 0, sizeof *b);
    CHECK_OK(tb_state_open(&b->state, h.dir, TB_FOLDER_LOCK, &err), err);
    CHECK_OK(tb_serve_start(&b->serve, &b->state, &limits, &err), err);
    CHECK_OK(tb_inbox_new(&b->inbox, 1 << 20, &err), err);
    tb_buf_init(&b->onnx, 1 << 20);
    CHECK_OK(tb_build_new(&graph, "mlp:6-5-3", 7, NULL, &err), err);
    CHECK_OK(tb_onnx_write(&b->onnx, graph, &err), err);
    tb_graph_free(&graph);
    b->version = put_version(b, true);
}

static void teardown(bench *b)
{
    tb_serve_stop(&b->serve);
    tb_serve_stop(&b->serve);
    tb_buf_release(&b->onnx);
    tb_state_close(&b->state);
    CHECK(tb_inbox_held(b->inbox) == 0); /* every request was freed */
    tb_inbox_free(&b->inbox);
}

static void fill(float x[N_ROWS * N_IN])
{
    for (size_t i = 0; i < N_ROWS * N_IN; i++) {
        x[i] = (float)(i % 7) / 7.0F - 0.3F;
    }
}

/* A request as it comes from the network: n_bytes of rows. */
static tb_inbound *request(bench *b, const char *client, size_t n_bytes)
{
    float x[N_ROWS * N_IN];
    zmq_msg_t envelope, payload;
    tb_inbound *in = tb_inbox_event(b->inbox, TB_IN_MESSAGE);
    CHECK(in != NULL && n_bytes <= sizeof x);
    fill(x);
    CHECK(zmq_msg_init(&envelope) == 0);
    CHECK(zmq_msg_init_size(&payload, n_bytes) == 0);
    memcpy(zmq_msg_data(&payload), x, n_bytes);
    tb_inbox_fill(in, &envelope, &payload);
    CHECK(tb_name_set(&in->client, client));
    return in;
}

static tb_rc ask(bench *b, const char *client, const tb_rec_version *version,
                 uint32_t n_rows, int64_t now_ms, tb_err *err)
{
    tb_msg_predict p = {.request = 77, .n_rows = n_rows};
    tb_inbound *in = request(b, client, N_ROWS * N_IN * sizeof(float));
    tb_rc rc = tb_serve_ask(b->serve, &p, version, now_ms, &in, err);
    CHECK((rc == TB_OK) == (in == NULL));
    tb_inbound_free(&in);
    return rc;
}

static tb_answer *next_answer(bench *b)
{
    struct pollfd p = {.fd = tb_serve_fd(b->serve), .events = POLLIN};
    CHECK(poll(&p, 1, 60000) == 1);
    return tb_serve_take(b->serve);
}

static void the_answer_has_the_bits_of_a_local_prediction(void **state)
{
    tb_err err;
    bench b;
    float x[N_ROWS * N_IN];
    float y[N_ROWS * N_OUT];
    tb_predictor *p = NULL;
    setup(&b, *state);
    CHECK_OK(ask(&b, "anna", &b.version, N_ROWS, 1000, &err), err);
    tb_answer *a = next_answer(&b);
    CHECK(a != NULL && a->msg.kind == TB_MSG_PREDICTION);
    CHECK(a->msg.u.prediction.request == 77);
    CHECK(a->msg.u.prediction.sequence == 3);
    CHECK(a->msg.u.prediction.n_rows == N_ROWS);
    CHECK(a->msg.u.prediction.n_outputs == N_OUT);
    tb_hash hash = tb_hash_of(b.onnx.data, b.onnx.len);
    CHECK(tb_hash_equal(&a->msg.u.prediction.model, &hash));
    CHECK(strcmp(a->client.text, "anna") == 0);
    fill(x);
    CHECK_OK(tb_predictor_new(&p, b.onnx.data, b.onnx.len, &err), err);
    CHECK_OK(tb_predictor_run(p, x, N_ROWS, y, &err), err);
    CHECK(tb_shared_bytes(a->values) == sizeof y);
    CHECK(memcmp(tb_shared_data(a->values), y, sizeof y) == 0);
    tb_predictor_free(&p);
    tb_answer_free(&a);
    teardown(&b);
}

static void check_refused(bench *b, tb_refusal code)
{
    tb_answer *a = next_answer(b);
    CHECK(a != NULL && a->values == NULL);
    CHECK(a->msg.kind == TB_MSG_REFUSE && a->msg.u.refuse.code == code);
    CHECK(a->msg.u.refuse.about == TB_MSG_PREDICT);
    CHECK(a->msg.u.refuse.why[0] != '\0');
    tb_answer_free(&a);
}

static void what_cannot_be_answered_is_refused_with_its_reason(void **state)
{
    tb_err err;
    bench b;
    setup(&b, *state);
    tb_rec_version hidden = put_version(&b, false);
    tb_rec_version gone = b.version;
    gone.manifest.bytes[0] ^= 1;
    CHECK_OK(ask(&b, "anna", &hidden, N_ROWS, 1000, &err), err);
    check_refused(&b, TB_REFUSE_NOT_SERVED);
    CHECK_OK(ask(&b, "anna", &gone, N_ROWS, 1000, &err), err);
    check_refused(&b, TB_REFUSE_NOT_FOUND);
    CHECK_OK(ask(&b, "anna", &b.version, N_ROWS - 1, 1000, &err), err);
    check_refused(&b, TB_REFUSE_SIZE);
    CHECK_ERR(ask(&b, "anna", &b.version, 0, 1000, &err), TB_E_USAGE, err,
              "1 to 8");
    CHECK_ERR(ask(&b, "anna", &b.version, 9, 1000, &err), TB_E_USAGE, err,
              "9 rows");
    teardown(&b);
}

static void a_client_gets_its_rate_and_no_others_share(void **state)
{
    tb_err err;
    bench b;
    setup(&b, *state);
    for (int i = 0; i < 2 * PER_SECOND; i++) { /* two seconds' worth at once */
        CHECK_OK(ask(&b, "anna", &b.version, N_ROWS, 1000, &err), err);
    }
    CHECK_ERR(ask(&b, "anna", &b.version, N_ROWS, 1000, &err), TB_E_LIMIT, err,
              "4 predictions a second");
    CHECK_OK(ask(&b, "bert", &b.version, N_ROWS, 1000, &err), err);
    CHECK_OK(ask(&b, "anna", &b.version, N_ROWS, 1250, &err), err);
    CHECK(ask(&b, "anna", &b.version, N_ROWS, 1250, &err) == TB_E_LIMIT);
    teardown(&b);
}

static void more_than_the_queue_holds_is_refused(void **state)
{
    tb_err err;
    bench b;
    char client[16];
    setup(&b, *state);
    for (int i = 0; i < TB_SERVE_QUEUE_MAX; i++) {
        (void)snprintf(client, sizeof client, "c%d", i);
        CHECK_OK(ask(&b, client, &b.version, N_ROWS, 1000, &err), err);
    }
    CHECK_ERR(ask(&b, "late", &b.version, N_ROWS, 1000, &err), TB_E_FULL, err,
              "64");
    tb_answer *a = next_answer(&b);
    tb_answer_free(&a);
    CHECK_OK(ask(&b, "late", &b.version, N_ROWS, 1000, &err), err);
    teardown(&b); /* with answers that nobody took */
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_answer_has_the_bits_of_a_local_prediction),
        TEST(what_cannot_be_answered_is_refused_with_its_reason),
        TEST(a_client_gets_its_rate_and_no_others_share),
        TEST(more_than_the_queue_holds_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
