/* What an order comes to, on a thread of the pool: it sees its task alone, and
 * what the driver gave it counted (orders.c). */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "orders_priv.h"
#include "work/finish.h"
#include "work/round.h"

void tb_order_tell(tb_verdict *v, tb_rc rc, const tb_err *err)
{
    v->rc = rc;
    if (rc != TB_OK) {
        (void)snprintf(v->why, sizeof v->why, "%.*s", (int)sizeof v->why - 1,
                       err->text);
    }
}

static tb_rc load_model(tb_order_task *t, const tb_model_ref *model,
                        tb_buf *out, tb_err *err)
{
    tb_blob_ref ref = tb_state_ref(model);
    tb_buf_init(out, (size_t)model->raw_bytes);
    return tb_blobs_load(t->daemon->state.blobs, &ref, out, err);
}

/* It is pinned until a row names it, or none will. */
static void note_put(tb_order_task *t, const tb_blob_ref *ref)
{
    t->put.raw[t->put.n++] = ref->raw;
}

/* Stores what a round came to, and names it in the verdict. */
static tb_rc put_result(tb_order_task *t, const tb_buf *bytes, tb_err *err)
{
    tb_blob_ref ref;
    tb_rc rc = tb_blobs_put(t->daemon->state.blobs, bytes->data, bytes->len,
                            TB_BLOB_LEVEL_FAST, &ref, err);
    if (rc == TB_OK) {
        note_put(t, &ref);
        t->verdict.result = tb_state_model(&ref);
    }
    return rc;
}

/* The round's new model, from the old one's file: no model is in memory. After
 * a restart it is found out first where values lie. */
static tb_rc move_model(tb_order_task *t, const tb_work_round *round,
                        tb_err *err)
{
    tb_blob_ref ref = tb_state_ref(&t->order->model);
    tb_blobs *blobs = t->daemon->state.blobs;
    tb_live *live = t->live;
    tb_blob_edit *edit = NULL;
    tb_rc rc = tb_blobs_edit(&edit, blobs, &ref, err);
    int fd = rc == TB_OK ? tb_blob_edit_fd(edit) : -1;
    if (rc == TB_OK && live->patch == NULL) {
        rc = tb_patch_new(&live->patch, &live->job, fd, err);
    }
    if (rc == TB_OK) {
        rc = tb_patch_apply(live->patch, fd, round, &t->verdict.metrics, err);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_put_edit(blobs, edit, TB_BLOB_LEVEL_FAST, &ref, err);
    }
    if (rc == TB_OK) {
        note_put(t, &ref);
        t->verdict.result = tb_state_model(&ref);
    }
    tb_blob_edit_free(&edit);
    return rc;
}

/* The same in memory, for jobs that do more than move values. */
static tb_rc make_model(tb_order_task *t, const tb_work_round *round,
                        tb_buf *result, tb_err *err)
{
    tb_buf model = {0};
    tb_rc rc = load_model(t, &t->order->model, &model, err);
    if (rc == TB_OK) {
        rc = tb_work_aggregate(result, &t->verdict.metrics, round, &model, err);
    }
    tb_buf_release(&model);
    return rc;
}

static void aggregate(tb_order_task *t)
{
    tb_err err = {0};
    tb_verdict *v = &t->verdict;
    tb_buf result;
    tb_buf_init(&result, TB_BLOB_BYTES_MAX);
    tb_work_round round = {.job = &t->live->job,
                           .params = &t->live->params,
                           .config = tb_intake_config(t->round->intake),
                           .sum = tb_intake_sum(t->round->intake)};
    tb_rc rc = TB_OK;
    v->metrics = tb_metrics_none();
    switch (t->order->task) {
    case TB_TASK_TRAIN:
        rc = tb_patch_fits(&t->live->job, &t->live->params)
                 ? move_model(t, &round, &err)
                 : make_model(t, &round, &result, &err);
        break;
    case TB_TASK_EVALUATE:
        tb_work_summed_metrics(&v->metrics, &round);
        break;
    case TB_TASK_CALIBRATE:
        rc = tb_work_ranges(&result, &round, &err);
        break;
    case TB_TASK_COUNT:
    default:
        rc = tb_fail(&err, TB_E_BUG, "unknown task");
    }
    if (rc == TB_OK && result.len > 0) {
        rc = put_result(t, &result, &err);
    }
    tb_buf_release(&result);
    tb_order_tell(v, rc, &err);
}

/* After a restart the data of the run is not read yet. A file that has gone is
 * for the operator to bring back: the run waits, and says so. */
static tb_rc need_data(tb_order_task *t, tb_err *err)
{
    tb_err why = {0};
    return tb_live_data(t->live, &why) == TB_OK
               ? TB_OK
               : tb_fail(err, TB_E_IO, "%s", why.text);
}

/* The model in a file of no name, of any size. */
static tb_rc open_model(const tb_order_task *t, tb_blob_edit **out, tb_err *err)
{
    tb_blob_ref ref = tb_state_ref(&t->order->model);
    return tb_blobs_edit(out, t->daemon->state.blobs, &ref, err);
}

static void evaluate(tb_order_task *t)
{
    tb_err err = {0};
    tb_verdict *v = &t->verdict;
    tb_blob_edit *model = NULL;
    v->metrics = tb_metrics_none();
    tb_rc rc = need_data(t, &err);
    if (rc == TB_OK) {
        rc = open_model(t, &model, &err);
    }
    if (rc == TB_OK && t->live->evaluate == NULL) {
        rc = tb_fail(&err, TB_E_BUG, "the job evaluates elsewhere");
    }
    if (rc == TB_OK) {
        rc = tb_work_evaluate_fd(&v->metrics, &t->live->job,
                                 tb_blob_edit_fd(model), t->live->evaluate,
                                 &err);
    }
    tb_blob_edit_free(&model);
    tb_order_tell(v, rc, &err);
}

/* Stores one artefact of a finished model. */
static tb_rc put_artefact(void *arg, const tb_buf *onnx, tb_model_ref *out,
                          tb_err *err)
{
    tb_order_task *t = arg;
    tb_blob_ref ref;
    tb_rc rc = tb_blobs_put(t->daemon->state.blobs, onnx->data, onnx->len,
                            TB_BLOB_LEVEL_SMALL, &ref, err);
    if (rc == TB_OK) {
        note_put(t, &ref);
        *out = tb_state_model(&ref);
    }
    return rc;
}

/* Stores the tensor data of one. */
static tb_rc put_data(void *arg, const tb_file_part *parts, size_t n_parts,
                      tb_model_ref *out, tb_err *err)
{
    tb_order_task *t = arg;
    tb_blob_ref ref;
    tb_blob_edit *edit = NULL;
    tb_blobs *blobs = t->daemon->state.blobs;
    tb_rc rc = tb_blobs_edit_new(&edit, blobs, err);
    for (size_t i = 0; i < n_parts && rc == TB_OK; i++) {
        rc = tb_file_write_part(tb_blob_edit_fd(edit), &parts[i], err);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_put_edit(blobs, edit, TB_BLOB_LEVEL_FAST, &ref, err);
    }
    if (rc == TB_OK) {
        note_put(t, &ref);
        *out = tb_state_model(&ref);
    }
    tb_blob_edit_free(&edit);
    return rc;
}

static void finish(tb_order_task *t)
{
    tb_err err = {0};
    tb_verdict *v = &t->verdict;
    tb_blob_edit *model = NULL;
    tb_buf ranges = {0};
    tb_buf manifest;
    tb_blob_ref ref;
    tb_buf_init(&manifest, TB_MANIFEST_BYTES_MAX);
    tb_rc rc = need_data(t, &err);
    if (rc == TB_OK) {
        rc = open_model(t, &model, &err);
    }
    if (rc == TB_OK && t->order->ranges.raw_bytes > 0) {
        rc = load_model(t, &t->order->ranges, &ranges, &err);
    }
    tb_work_finish finish = {.job = &t->live->job,
                             .params = &t->live->params,
                             .model_fd =
                                 model != NULL ? tb_blob_edit_fd(model) : -1,
                             .ranges = ranges.len > 0 ? &ranges : NULL,
                             .metrics = &t->order->metrics,
                             .evaluate = t->live->evaluate,
                             .calibrate = t->live->calibrate,
                             .guard = t->live->guard,
                             .epoch = t->order->epoch,
                             .sequence = t->order->sequence,
                             .put = put_artefact,
                             .put_data = put_data,
                             .arg = t};
    if (rc == TB_OK) {
        rc = tb_work_finish_run(&manifest, &finish, &err);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_put(t->daemon->state.blobs, manifest.data, manifest.len,
                          TB_BLOB_LEVEL_FAST, &ref, &err);
    }
    if (rc == TB_OK) {
        note_put(t, &ref);
        v->manifest = ref.raw;
    }
    tb_blob_edit_free(&model);
    tb_buf_release(&ranges);
    tb_buf_release(&manifest);
    tb_order_tell(v, rc, &err);
}

void tb_order_run(void *arg)
{
    tb_order_task *t = arg;
    tb_verdict *v = &t->verdict;
    const tb_order *order = t->order;
    tb_intake *intake = t->round != NULL ? t->round->intake : NULL;
    int64_t from = tb_clock_ns();
    switch (order->kind) {
    case TB_ORDER_FIND_BLOCKS:
        tb_intake_find(intake, order, v);
        break;
    case TB_ORDER_ADD_BLOCK:
        if (t->payload != NULL) {
            tb_intake_add(intake, order, t->payload->payload,
                          t->payload->payload_bytes, v);
        } else {
            tb_intake_add_found(intake, order, v);
        }
        break;
    case TB_ORDER_END_UPLOAD:
        tb_intake_end(intake, order, t->sign_key, v);
        break;
    case TB_ORDER_DROP_UPLOAD:
        tb_intake_drop(intake, order, v);
        break;
    case TB_ORDER_DROP_STORED:
        tb_intake_drop_stored(intake, t->into->intake, order, v);
        break;
    case TB_ORDER_ADD_STORED:
        tb_intake_add_stored(intake, t->into->intake, order, v);
        break;
    case TB_ORDER_AGGREGATE:
        aggregate(t);
        break;
    case TB_ORDER_EVALUATE:
        evaluate(t);
        break;
    case TB_ORDER_FINISH:
        finish(t);
        break;
    case TB_ORDER_OPEN_ROUND:
    case TB_ORDER_KIND_END:
    default:
        break; /* done by the driver */
    }
    tb_inbound_free(&t->payload); /* its bytes go back to the ingest pool */
    t->took_ns = tb_clock_ns() - from;
    tb_mailbox_post(t->daemon->mailbox, &t->errand.letter);
}
