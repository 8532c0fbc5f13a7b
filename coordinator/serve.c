#include "serve.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "model_blobs.h"
#include "wire/manifest.h"
#include "work/predict.h"

#define READY_MAX   4   /* models kept planned */
#define BUCKETS_MAX 256 /* clients whose rate is remembered */
#define BURST       2   /* seconds' worth that may come at once */

/* A model ready to answer; the worker's own. */
typedef struct ready {
    tb_hash manifest;
    tb_hash model;
    uint64_t sequence;
    uint64_t last_use;
    bool served;
    tb_predictor *predictor; /* NULL: free slot */
} ready;

/* Token bucket of one client; the driver's own. */
typedef struct bucket {
    tb_name client;
    double tokens;
    int64_t at_ms;
} bucket;

struct tb_serve {
    tb_state *state;
    tb_serve_limits limits;
    tb_pool *pool; /* of one thread */
    tb_mailbox *mailbox;
    uint32_t n_queued; /* the driver's count */
    bucket buckets[BUCKETS_MAX];
    ready models[READY_MAX];
    uint64_t n_uses;
};

typedef struct task {
    tb_serve *serve;
    tb_msg_predict request;
    tb_rec_version version;
    tb_inbound *in;    /* owned */
    tb_answer *answer; /* owned until posted */
} task;

/* --- the worker ----------------------------------------------------------- */

/* A model in one file, in memory. */
static tb_rc plan_whole(tb_predictor **out, tb_serve *serve,
                        const tb_artefact *a, tb_err *err)
{
    tb_buf onnx;
    tb_buf_init(&onnx, TB_BLOB_BYTES_MAX);
    tb_rc rc = tb_state_blob_find(serve->state, &a->raw, &onnx, err);
    if (rc == TB_OK) {
        rc = tb_predictor_new(out, onnx.data, onnx.len, err);
    }
    tb_buf_release(&onnx);
    return rc;
}

/* One with files beside it: its values stay in files of no name. */
static tb_rc plan_beside(tb_predictor **out, tb_serve *serve,
                         const tb_manifest *manifest, tb_err *err)
{
    tb_model_blobs model;
    tb_graph *graph = NULL;
    tb_rc rc = tb_model_blobs_of(&model, manifest, err);
    if (rc == TB_OK) {
        rc = tb_model_blobs_graph(&graph, &model, serve->state->blobs, err);
    }
    if (rc == TB_OK) {
        rc = tb_predictor_of(out, &graph, err);
    }
    tb_graph_free(&graph);
    return rc;
}

static tb_rc load(tb_serve *serve, ready *slot, const tb_rec_version *version,
                  tb_err *err)
{
    tb_manifest manifest = {0};
    tb_buf bytes;
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    tb_rc rc =
        tb_state_blob_find(serve->state, &version->manifest, &bytes, err);
    if (rc == TB_OK) {
        rc = tb_manifest_decode(&manifest, bytes.data, bytes.len, err);
    }
    const tb_artefact *a =
        rc == TB_OK ? tb_manifest_artefact(&manifest, manifest.standard) : NULL;
    if (rc == TB_OK && a == NULL) {
        rc = tb_fail(err, TB_E_MALFORMED, "the manifest names no artefact");
    }
    if (rc == TB_OK) {
        tb_predictor_free(&slot->predictor);
        rc = tb_manifest_n_files(&manifest, a) > 0
                 ? plan_beside(&slot->predictor, serve, &manifest, err)
                 : plan_whole(&slot->predictor, serve, a, err);
    }
    if (rc == TB_OK) {
        slot->manifest = version->manifest;
        slot->model = a->raw;
        slot->sequence = manifest.sequence;
        slot->served = manifest.served;
    }
    tb_manifest_release(&manifest);
    tb_buf_release(&bytes);
    return rc;
}

/* The model of a version, from the slots or instead of the one unused for
 * longest. */
static tb_rc find_ready(tb_serve *serve, const tb_rec_version *version,
                        ready **out, tb_err *err)
{
    ready *oldest = &serve->models[0];
    *out = NULL;
    for (size_t i = 0; i < READY_MAX; i++) {
        ready *r = &serve->models[i];
        if (r->predictor != NULL &&
            tb_hash_equal(&r->manifest, &version->manifest)) {
            *out = r;
        }
        oldest = r->last_use < oldest->last_use ? r : oldest;
    }
    tb_rc rc = TB_OK;
    if (*out == NULL) {
        rc = load(serve, oldest, version, err);
        *out = oldest;
    }
    (*out)->last_use = rc == TB_OK ? ++serve->n_uses : 0;
    return rc;
}

static void refuse(tb_answer *answer, tb_refusal code, const char *why)
{
    answer->msg = (tb_msg){.kind = TB_MSG_REFUSE};
    answer->msg.u.refuse.code = code;
    answer->msg.u.refuse.about = TB_MSG_PREDICT;
    (void)snprintf(answer->msg.u.refuse.why, sizeof answer->msg.u.refuse.why,
                   "%.*s", (int)sizeof answer->msg.u.refuse.why - 1, why);
}

static tb_rc run_model(task *t, ready *model, tb_err *err)
{
    size_t n_rows = t->request.n_rows;
    size_t n_out = tb_predictor_n_outputs(model->predictor);
    size_t bytes = n_rows * n_out * sizeof(float);
    tb_buf values;
    tb_buf_init(&values, TB_PAYLOAD_BYTES_MAX);
    tb_rc rc = tb_buf_reserve(&values, bytes, err);
    if (rc == TB_OK) {
        float *y = (float *)(void *)values.data;
        rc = tb_predictor_run(model->predictor, t->in->payload, n_rows, y, err);
        values.len = bytes;
    }
    if (rc == TB_OK) {
        rc = tb_shared_new(&t->answer->values, &values, err);
    }
    if (rc == TB_OK) {
        t->answer->msg = (tb_msg){.kind = TB_MSG_PREDICTION};
        t->answer->msg.u.prediction =
            (tb_msg_prediction){.request = t->request.request,
                                .sequence = model->sequence,
                                .model = model->model,
                                .n_rows = (uint32_t)n_rows,
                                .n_outputs = (uint32_t)n_out};
    }
    tb_buf_release(&values);
    return rc;
}

static void answer(task *t)
{
    tb_err err;
    ready *model = NULL;
    tb_rc rc = find_ready(t->serve, &t->version, &model, &err);
    if (rc != TB_OK) {
        refuse(t->answer, TB_REFUSE_NOT_FOUND, err.text);
        return;
    }
    if (!model->served) {
        refuse(t->answer, TB_REFUSE_NOT_SERVED,
               "its job does not serve this model: predict without --remote");
        return;
    }
    size_t row = tb_predictor_row_bytes(model->predictor);
    if (t->in->payload_bytes != row * t->request.n_rows) {
        char why[TB_TEXT_BYTES];
        (void)snprintf(why, sizeof why,
                       "%zu bytes came for %u rows of %zu bytes",
                       t->in->payload_bytes, t->request.n_rows, row);
        refuse(t->answer, TB_REFUSE_SIZE, why);
        return;
    }
    if (run_model(t, model, &err) != TB_OK) {
        refuse(t->answer, TB_REFUSE_FULL, err.text);
    }
}

static void run_task(void *arg)
{
    task *t = arg;
    answer(t);
    tb_inbound_free(&t->in);
    tb_mailbox_post(t->serve->mailbox, &t->answer->letter);
    tb_mem_free(t);
}

/* --- the driver's side ---------------------------------------------------- */

tb_rc tb_serve_start(tb_serve **out, tb_state *state,
                     const tb_serve_limits *limits, tb_err *err)
{
    *out = NULL;
    tb_serve *serve = tb_mem_array(1, sizeof *serve);
    if (serve == NULL) {
        return tb_fail(err, TB_E_NOMEM, "prediction worker");
    }
    serve->state = state;
    serve->limits = *limits;
    tb_rc rc = tb_mailbox_new(&serve->mailbox, err);
    if (rc == TB_OK) {
        rc = tb_pool_new(&serve->pool, 1, err);
    }
    if (rc != TB_OK) {
        tb_serve_stop(&serve);
        return rc;
    }
    *out = serve;
    return TB_OK;
}

void tb_serve_stop(tb_serve **serve)
{
    tb_serve *s = *serve;
    if (s == NULL) {
        return;
    }
    tb_pool_free(&s->pool);
    if (s->mailbox != NULL) {
        for (tb_answer *a = tb_serve_take(s); a != NULL; a = tb_serve_take(s)) {
            tb_answer_free(&a);
        }
    }
    tb_mailbox_free(&s->mailbox);
    for (size_t i = 0; i < READY_MAX; i++) {
        tb_predictor_free(&s->models[i].predictor);
    }
    tb_mem_free(s);
    *serve = NULL;
}

void tb_serve_limit(tb_serve *serve, const tb_serve_limits *limits)
{
    serve->limits = *limits; /* only the driver reads them */
}

/* The client's bucket, or a full one in place of that unused for longest. */
static bucket *find_bucket(tb_serve *serve, const tb_name *client)
{
    bucket *oldest = &serve->buckets[0];
    for (size_t i = 0; i < BUCKETS_MAX; i++) {
        bucket *b = &serve->buckets[i];
        if (tb_name_equal(&b->client, client)) {
            return b;
        }
        oldest = b->at_ms < oldest->at_ms ? b : oldest;
    }
    *oldest = (bucket){.client = *client,
                       .tokens = (double)serve->limits.per_second * BURST};
    return oldest;
}

static bool take_token(tb_serve *serve, const tb_name *client, int64_t now_ms)
{
    bucket *b = find_bucket(serve, client);
    double rate = serve->limits.per_second;
    double gained =
        b->at_ms > 0 ? (double)(now_ms - b->at_ms) / 1000.0 * rate : 0.0;
    double most = rate * BURST;
    b->tokens = b->tokens + gained < most ? b->tokens + gained : most;
    b->at_ms = now_ms;
    if (b->tokens < 1.0) {
        return false;
    }
    b->tokens -= 1.0;
    return true;
}

tb_rc tb_serve_ask(tb_serve *serve, const tb_msg_predict *request,
                   const tb_rec_version *version, int64_t now_ms,
                   tb_inbound **in_take, tb_err *err)
{
    if (request->n_rows == 0 || request->n_rows > serve->limits.max_rows) {
        return tb_fail(err, TB_E_USAGE, "%u rows: 1 to %u in one request",
                       request->n_rows, serve->limits.max_rows);
    }
    if (!take_token(serve, &(*in_take)->client, now_ms)) {
        return tb_fail(err, TB_E_LIMIT,
                       "more than %u predictions a second: try again later",
                       serve->limits.per_second);
    }
    if (serve->n_queued >= TB_SERVE_QUEUE_MAX) {
        return tb_fail(err, TB_E_FULL, "%u predictions wait already",
                       serve->n_queued);
    }
    task *t = tb_mem_array(1, sizeof *t);
    tb_answer *a = tb_mem_array(1, sizeof *a);
    tb_rc rc = t != NULL && a != NULL
                   ? TB_OK
                   : tb_fail(err, TB_E_NOMEM, "a prediction");
    if (rc == TB_OK) {
        a->client = (*in_take)->client;
        *t = (task){.serve = serve,
                    .request = *request,
                    .version = *version,
                    .in = *in_take,
                    .answer = a};
        rc = tb_pool_submit(serve->pool, run_task, t, err);
    }
    if (rc != TB_OK) {
        tb_mem_free(t);
        tb_mem_free(a);
        return rc;
    }
    *in_take = NULL;
    serve->n_queued++;
    return TB_OK;
}

tb_answer *tb_serve_take(tb_serve *serve)
{
    tb_letter *letter = tb_mailbox_take(serve->mailbox);
    if (letter != NULL) {
        serve->n_queued--;
    }
    return (tb_answer *)(void *)letter; /* letter is its first member */
}

void tb_answer_free(tb_answer **answer)
{
    if (*answer != NULL) {
        tb_shared_free(&(*answer)->values);
        tb_mem_free(*answer);
        *answer = NULL;
    }
}

int tb_serve_fd(const tb_serve *serve)
{
    return tb_mailbox_fd(serve->mailbox);
}
