#include "world.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/onnx_external.h"
#include "model/params.h"
#include "work/finish.h"
#include "work/local.h"
#include "work/model.h"
#include "work/plan.h"
#include "work/round.h"

enum { MODEL_BYTES_MAX = 1 << 30 };

/* --- blobs ---------------------------------------------------------------- */

/* Keeps the bytes (taken) and names them; unpacked, so that stored is raw. */
static tb_rc put_blob(world *w, tb_buf *take, tb_model_ref *out, tb_err *err)
{
    blob *b = tb_mem_array(1, sizeof *b);
    if (b == NULL) {
        return tb_fail(err, TB_E_NOMEM, "model: no memory");
    }
    b->bytes = *take;
    tb_buf_init(take, take->max);
    b->raw = tb_hash_of(b->bytes.data, b->bytes.len);
    *out = (tb_model_ref){.raw = b->raw,
                          .raw_bytes = b->bytes.len,
                          .stored = b->raw,
                          .stored_bytes = b->bytes.len};
    b->next = atomic_load(&w->blobs);
    atomic_store(&w->blobs, b);
    return TB_OK;
}

tb_rc world_find(world *w, const tb_hash *raw, const tb_buf **out, tb_err *err)
{
    const blob *b = atomic_load(&w->blobs);
    while (b != NULL && !tb_hash_equal(&b->raw, raw)) {
        b = b->next;
    }
    if (b == NULL) {
        return tb_fail(err, TB_E_BUG, "a model that was never made");
    }
    *out = &b->bytes;
    return TB_OK;
}

/* --- what the machines ask for -------------------------------------------- */

/* What the round left at the client, until it is settled. */
static tb_rc keep_own(world *w, const tb_sim_work *work, tb_buf *take,
                      tb_err *err)
{
    tb_hash round;
    tb_buf bytes;
    tb_buf_init(&bytes, TB_SETTINGS_FILE_BYTES_MAX);
    tb_rc rc = tb_round_config_encode(work->config, &bytes, err);
    if (rc == TB_OK) {
        round = tb_hash_of(bytes.data, bytes.len);
        own_put(&w->own, work->client, &round, take);
    }
    tb_buf_release(&bytes);
    return rc;
}

static void settled(void *arg, size_t client, const tb_hash *round,
                    bool accepted)
{
    world *w = arg;
    own_settle(&w->own, client, round, accepted);
}

/* What fails by the job's or the data's fault would fail again: declined. */
static tb_rc do_work(void *arg, tb_sim_work *work, tb_err *err)
{
    world *w = arg;
    tb_buf mine, next;
    tb_buf_init(&mine, MODEL_BYTES_MAX);
    tb_buf_init(&next, MODEL_BYTES_MAX);
    tb_local_work local = {.config = work->config,
                           .client = w->fleet.names[work->client].text,
                           .own = &mine,
                           .own_next = &next};
    tb_rc rc = world_find(w, &work->config->model, &local.model, err);
    if (rc == TB_OK) {
        rc = own_get(&w->own, work->client, &mine, err);
    }
    if (rc == TB_OK) {
        rc = fleet_data(&w->fleet, work->client, w->job, &local.data, err);
    }
    if (rc == TB_OK) {
        rc = tb_local_run(&local, work->values, &work->weight, err);
    }
    if (rc == TB_OK && next.len > 0) {
        rc = keep_own(w, work, &next, err);
    }
    tb_buf_release(&mine);
    tb_buf_release(&next);
    return tb_rc_fault(rc) == TB_FAULT_PEER ? TB_E_REFUSED : rc;
}

static void tell(tb_verdict *v, tb_rc rc, const tb_err *err)
{
    if (rc != TB_OK) {
        (void)snprintf(v->why, sizeof v->why, "%.*s", (int)sizeof v->why - 1,
                       err->text);
    }
}

static tb_rc do_aggregate(void *arg, const tb_order *order,
                          const tb_round_config *config, const tb_sum *sum,
                          tb_verdict *out, tb_err *err)
{
    world *w = arg;
    const tb_work_round round = {
        .job = w->job, .params = &w->params, .config = config, .sum = sum};
    const tb_buf *model = NULL;
    tb_buf result;
    tb_buf_init(&result, MODEL_BYTES_MAX);
    tb_rc rc = world_find(w, &order->model.raw, &model, err);
    out->metrics = tb_metrics_none();
    if (rc == TB_OK && order->task == TB_TASK_TRAIN) {
        rc = tb_work_aggregate(&result, &out->metrics, &round, model, err);
    } else if (rc == TB_OK && order->task == TB_TASK_EVALUATE) {
        tb_work_summed_metrics(&out->metrics, &round);
    } else if (rc == TB_OK) {
        rc = tb_work_ranges(&result, &round, err);
    }
    if (rc == TB_OK && result.len > 0) {
        rc = put_blob(w, &result, &out->result, err);
    }
    tb_buf_release(&result);
    tell(out, rc, err);
    return rc;
}

static tb_rc do_evaluate(void *arg, const tb_order *order, tb_verdict *out,
                         tb_err *err)
{
    world *w = arg;
    const tb_buf *model = NULL;
    out->metrics = tb_metrics_none();
    tb_rc rc = world_find(w, &order->model.raw, &model, err);
    if (rc == TB_OK) {
        rc = tb_work_evaluate(&out->metrics, w->job, model, w->evaluate, err);
    }
    tell(out, rc, err);
    return rc;
}

static tb_rc put_artefact(void *arg, const tb_buf *onnx, tb_model_ref *out,
                          tb_err *err)
{
    tb_buf copy;
    tb_buf_init(&copy, onnx->len);
    tb_rc rc = tb_buf_put(&copy, onnx->data, onnx->len, err);
    if (rc == TB_OK) {
        rc = put_blob(arg, &copy, out, err);
    }
    tb_buf_release(&copy);
    return rc;
}

static tb_rc put_data(void *arg, const tb_file_part *parts, size_t n_parts,
                      tb_model_ref *out, tb_err *err)
{
    static const uint8_t zeros[TB_ONNX_EXTERNAL_ALIGN];
    tb_buf bytes;
    tb_rc rc = TB_OK;
    tb_buf_init(&bytes, MODEL_BYTES_MAX);
    for (size_t i = 0; i < n_parts && rc == TB_OK; i++) {
        const void *from = parts[i].bytes != NULL ? parts[i].bytes : zeros;
        rc = tb_buf_put(&bytes, from, parts[i].len, err);
    }
    if (rc == TB_OK) {
        rc = put_blob(arg, &bytes, out, err);
    }
    tb_buf_release(&bytes);
    return rc;
}

static tb_rc do_finish(void *arg, const tb_order *order, tb_verdict *out,
                       tb_err *err)
{
    world *w = arg;
    tb_work_finish finish = {.job = w->job,
                             .params = &w->params,
                             .metrics = &order->metrics,
                             .evaluate = w->evaluate,
                             .calibrate = w->calibrate,
                             .guard = w->guard,
                             .sequence = order->sequence,
                             .put = put_artefact,
                             .put_data = put_data,
                             .arg = w};
    w->manifest.len = 0;
    tb_rc rc = world_find(w, &order->model.raw, &finish.model, err);
    if (rc == TB_OK && order->ranges.raw_bytes > 0) {
        rc = world_find(w, &order->ranges.raw, &finish.ranges, err);
    }
    if (rc == TB_OK) {
        rc = tb_work_finish_run(&w->manifest, &finish, err);
    }
    if (rc == TB_OK) {
        out->manifest = tb_hash_of(w->manifest.data, w->manifest.len);
    }
    tell(out, rc, err);
    return rc;
}

/* --- lines ---------------------------------------------------------------- */

static tb_rc put_line(world *w, const tb_rec_committed *c, tb_err *err)
{
    char hex[TB_HASH_HEX_BYTES];
    tb_json *line = tb_json_object();
    tb_hash_hex(&c->result.raw, hex);
    tb_rc rc = tb_json_put_int(line, "round", c->round, err);
    if (rc == TB_OK) {
        rc = tb_json_put_float(line, "train_loss", c->metrics.train_loss, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_float(line, "loss", c->metrics.loss, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_float(line, "accuracy", c->metrics.accuracy, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_int(line, "clients", c->n_clients, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_text(line, "model", hex, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_append(w->lines, &line, err);
    }
    tb_json_free(&line);
    return rc;
}

static void see_row(void *arg, const tb_record *record, uint64_t seq,
                    int64_t now_ms)
{
    world *w = arg;
    const tb_rec_committed *c = &record->u.committed;
    (void)seq;
    (void)now_ms;
    if (record->kind != TB_REC_COMMITTED || c->task != TB_TASK_TRAIN) {
        return;
    }
    if (w->lines != NULL) {
        (void)put_line(w, c, NULL);
        return;
    }
    double seconds = (double)(tb_clock_ms() - w->began_ms) / 1000.0;
    if (c->metrics.samples > 0) {
        tb_term_line(&w->term,
                     "round %u/%u  accuracy %.4f  loss %.4f  clients %u  "
                     "%.1f s",
                     c->round, w->params.rounds, c->metrics.accuracy,
                     c->metrics.loss, c->n_clients, seconds);
    } else {
        tb_term_line(&w->term,
                     "round %u/%u  train loss %.4f  clients %u  "
                     "%.1f s",
                     c->round, w->params.rounds, c->metrics.train_loss,
                     c->n_clients, seconds);
    }
}

/* --- life ----------------------------------------------------------------- */

static tb_rc read_samples(tb_dataset **out, const tb_job *job,
                          tb_job_where where, const char *path, tb_err *err)
{
    return where == TB_JOB_FILE ? tb_work_dataset(out, job, path, err) : TB_OK;
}

/* A file that the model's tensor data lie in: the first is remembered. */
static tb_rc see_file(void *arg, const char *name, tb_err *err)
{
    tb_name *first = arg;
    return first->text[0] != '\0' || tb_name_set(first, name)
               ? TB_OK
               : tb_fail(err, TB_E_UNSUPPORTED,
                         "tensor data in \"%.64s\": a file beside the model "
                         "has a name of letters, digits, . _ -",
                         name);
}

/* The job's model file, and the tensor data beside it. */
static tb_rc read_model(tb_graph **graph, const char *path, tb_err *err)
{
    tb_name beside = {{0}};
    tb_rc rc = tb_onnx_read_beside(graph, path, see_file, &beside, err);
    tb_graph_free(graph);
    if (rc == TB_OK) {
        rc = tb_onnx_read_file(graph, path, NULL, NULL, err);
    }
    if (rc == TB_OK) {
        rc = tb_work_note_data(
            *graph, beside.text[0] != '\0' ? beside.text : NULL, err);
    }
    return rc;
}

/* The model that the run starts from, and what depends on it. */
static tb_rc make_model(world *w, tb_err *err)
{
    tb_buf onnx;
    tb_graph *graph = NULL;
    tb_rc rc = TB_OK;
    tb_buf_init(&onnx, MODEL_BYTES_MAX);
    if (w->job->model.version[0] != '\0') {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "model.version: versions are kept by a coordinator; "
                     "export it there and give model.file");
    } else if (w->job->model.file[0] != '\0') {
        rc = read_model(&graph, w->job->model.file, err);
    }
    if (rc == TB_OK) {
        rc = tb_work_prepare(&graph, w->job, err);
    }
    if (rc == TB_OK) {
        rc = tb_onnx_write(&onnx, graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_work_count(&w->params, w->job, graph, err);
    }
    if (rc == TB_OK) {
        rc = put_blob(w, &onnx, &w->params.model, err);
    }
    tb_graph_free(&graph);
    tb_buf_release(&onnx);
    return rc;
}

tb_rc world_open(world *w, const tb_job *job, const char *clients, tb_err *err)
{
    w->job = job;
    w->began_ms = tb_clock_ms();
    tb_term_init(&w->term, stdout);
    tb_buf_init(&w->manifest, TB_MANIFEST_BYTES_MAX);
    tb_rc rc = fleet_open(&w->fleet, clients, err);
    if (rc == TB_OK) {
        rc = own_open(&w->own, w->fleet.n, err);
    }
    if (rc == TB_OK) {
        rc = tb_work_plan(&w->params, job, err);
    }
    if (rc == TB_OK) {
        rc = make_model(w, err);
    }
    if (rc == TB_OK) {
        rc = read_samples(&w->evaluate, job, job->evaluate.where,
                          job->evaluate.path, err);
    }
    if (rc == TB_OK) {
        rc = read_samples(&w->calibrate, job, job->calibrate.where,
                          job->calibrate.path, err);
    }
    if (rc == TB_OK) {
        rc = read_samples(&w->guard, job, job->guard_data.where,
                          job->guard_data.path, err);
    }
    return rc;
}

void world_close(world *w)
{
    for (blob *b = atomic_load(&w->blobs), *next = NULL; b != NULL; b = next) {
        next = b->next;
        tb_buf_release(&b->bytes);
        tb_mem_free(b);
    }
    tb_buf_release(&w->manifest);
    own_close(&w->own);
    tb_dataset_free(&w->evaluate);
    tb_dataset_free(&w->calibrate);
    tb_dataset_free(&w->guard);
    fleet_close(&w->fleet);
    tb_json_free(&w->lines);
}

tb_sim_jobs world_jobs(world *w)
{
    return (tb_sim_jobs){.arg = w,
                         .work = do_work,
                         .settled = settled,
                         .aggregate = do_aggregate,
                         .evaluate = do_evaluate,
                         .finish = do_finish,
                         .row = see_row};
}
