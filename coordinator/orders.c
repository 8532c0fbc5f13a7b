/* Orders: what the machine wants computed. Each becomes a task with all that it
 * needs; a thread of the pool runs it and posts the verdict. The driver counts
 * who works with a round or a run, so that neither goes while it is used. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon.h"
#include "work/finish.h"
#include "work/round.h"

typedef struct order_task {
    tb_errand errand; /* first: the driver knows it as this */
    tb_verdict verdict;
    tb_daemon *daemon;
    tb_order *order;      /* owned */
    tb_inbound *payload;  /* owned; NULL: none */
    tb_open_round *round; /* counted; NULL: not of a round */
    tb_open_round *into;  /* counted; of the two STORED ones */
    tb_live *live;        /* counted; NULL: no run */
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES]; /* of the order's client */
    tb_unnamed put;                         /* what it put into the blobs */
    int64_t took_ns;                        /* at work */
} order_task;

_Static_assert(offsetof(order_task, errand) == 0, "an errand is its task");
_Static_assert(offsetof(tb_errand, letter) == 0, "a letter is its errand");

/* --- what a task does, on a thread of the pool ---------------------------- */

static void tell(tb_verdict *v, tb_rc rc, const tb_err *err)
{
    v->rc = rc;
    if (rc != TB_OK) {
        (void)snprintf(v->why, sizeof v->why, "%.*s", (int)sizeof v->why - 1,
                       err->text);
    }
}

static tb_rc load_model(order_task *t, const tb_model_ref *model, tb_buf *out,
                        tb_err *err)
{
    tb_blob_ref ref = tb_state_ref(model);
    tb_buf_init(out, (size_t)model->raw_bytes);
    return tb_blobs_load(t->daemon->state.blobs, &ref, out, err);
}

/* It is pinned until a row names it, or none will. */
static void note_put(order_task *t, const tb_blob_ref *ref)
{
    t->put.raw[t->put.n++] = ref->raw;
}

/* Stores what a round came to, and names it in the verdict. */
static tb_rc put_result(order_task *t, const tb_buf *bytes, tb_err *err)
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
static tb_rc move_model(order_task *t, const tb_work_round *round, tb_err *err)
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
static tb_rc make_model(order_task *t, const tb_work_round *round,
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

static void aggregate(order_task *t)
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
    tell(v, rc, &err);
}

/* After a restart the data of the run is not read yet. A file that has gone is
 * for the operator to bring back: the run waits, and says so. */
static tb_rc need_data(order_task *t, tb_err *err)
{
    tb_err why = {0};
    return tb_live_data(t->live, &why) == TB_OK
               ? TB_OK
               : tb_fail(err, TB_E_IO, "%s", why.text);
}

/* The model in a file of no name, of any size. */
static tb_rc open_model(const order_task *t, tb_blob_edit **out, tb_err *err)
{
    tb_blob_ref ref = tb_state_ref(&t->order->model);
    return tb_blobs_edit(out, t->daemon->state.blobs, &ref, err);
}

static void evaluate(order_task *t)
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
    tell(v, rc, &err);
}

/* Stores one artefact of a finished model. */
static tb_rc put_artefact(void *arg, const tb_buf *onnx, tb_model_ref *out,
                          tb_err *err)
{
    order_task *t = arg;
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
    order_task *t = arg;
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

static void finish(order_task *t)
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
    tell(v, rc, &err);
}

static void run_task(void *arg)
{
    order_task *t = arg;
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

/* --- the driver's side ---------------------------------------------------- */

tb_open_round *tb_daemon_round(tb_daemon *d, const tb_hash *config)
{
    tb_open_round *r = d->rounds;
    while (r != NULL && !tb_hash_equal(&r->config, config)) {
        r = r->next;
    }
    return r;
}

static void free_round(tb_open_round *r)
{
    tb_intake_free(&r->intake);
    tb_mem_free(r);
}

void tb_daemon_forget(tb_daemon *d, const tb_hash *config)
{
    tb_open_round **at = &d->rounds;
    while (*at != NULL && !tb_hash_equal(&(*at)->config, config)) {
        at = &(*at)->next;
    }
    tb_open_round *r = *at;
    if (r == NULL) {
        return;
    }
    *at = r->next;
    r->forgotten = true;
    if (r->users == 0) {
        free_round(r);
    }
}

void tb_daemon_summed(tb_daemon *d, const tb_hash *config)
{
    tb_open_round *r = tb_daemon_round(d, config);
    if (r != NULL) {
        tb_intake_close_sum(r->intake);
    }
}

static tb_live **place_of(tb_daemon *d, const tb_run_id *run)
{
    tb_live **at = &d->lives;
    while (*at != NULL && memcmp((*at)->params.run.bytes, run->bytes,
                                 sizeof run->bytes) != 0) {
        at = &(*at)->next;
    }
    return at;
}

tb_live *tb_daemon_live(const tb_daemon *d, const tb_run_id *run)
{
    tb_live *live = d->lives;
    while (live != NULL &&
           memcmp(live->params.run.bytes, run->bytes, sizeof run->bytes) != 0) {
        live = live->next;
    }
    return live;
}

void tb_daemon_add_live(tb_daemon *d, tb_live **live_take)
{
    tb_live **at = &d->lives;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = *live_take;
    *live_take = NULL;
}

void tb_daemon_end_run(tb_daemon *d, const tb_run_id *run)
{
    tb_live **at = place_of(d, run);
    tb_live *live = *at;
    if (live != NULL) {
        *at = live->next;
        tb_daemon_let_go(d, live);
        live->ended = true;
        if (live->users == 0) {
            tb_live_free(&live);
        }
    }
}

/* A spool segment, without a sum yet, for a round that updates may come for. */
static tb_rc know_round(tb_daemon *d, const tb_order *order,
                        const tb_hash *config, tb_open_round **out, tb_err *err)
{
    tb_open open;
    tb_spool *spool = NULL;
    const tb_live *live = tb_daemon_live(d, &order->run);
    *out = tb_daemon_round(d, config);
    if (*out != NULL) {
        return TB_OK;
    }
    if (live == NULL ||
        !tb_coordinator_known(d->state.machine, config, &open)) {
        return tb_fail(err, TB_E_CANCELLED, "the round is over");
    }
    tb_open_round *r = tb_mem_array(1, sizeof *r);
    if (r == NULL) {
        return tb_fail(err, TB_E_NOMEM, "a round");
    }
    tb_rc rc =
        tb_spool_open(&spool, tb_folder_path(d->state.folder, TB_ITEM_SPOOL),
                      &order->run, &open.hash, err);
    if (rc == TB_OK) {
        tb_intake_options options = {.config = open.config,
                                     .hash = open.hash,
                                     .key = live->key,
                                     .spool = spool};
        rc = tb_intake_new(&r->intake, &options, err);
    }
    if (rc != TB_OK) {
        tb_spool_close(&spool);
        tb_mem_free(r);
        return rc;
    }
    r->config = open.hash;
    r->next = d->rounds;
    d->rounds = r;
    *out = r;
    return TB_OK;
}

/* The same with an empty sum, for the open round. */
static tb_rc open_round(tb_daemon *d, const tb_order *order, tb_err *err)
{
    tb_open open;
    tb_open_round *r = NULL;
    if (!tb_coordinator_round(d->state.machine, &order->upload.config, &open)) {
        return tb_fail(err, TB_E_BUG, "the round is not open");
    }
    tb_rc rc = know_round(d, order, &order->upload.config, &r, err);
    if (rc == TB_OK) {
        rc = tb_intake_open_sum(
            r->intake, tb_run_updates_max(open.run, open.config->task), err);
    }
    if (rc == TB_OK) {
        tb_daemon_unseal(d, r);
    }
    return rc;
}

/* Gives the task what it works with. Errors: why it cannot have it. */
static tb_rc equip(tb_daemon *d, order_task *t, tb_err *err)
{
    const tb_order *order = t->order;
    tb_member member;
    bool upload = order->kind >= TB_ORDER_FIND_BLOCKS &&
                  order->kind <= TB_ORDER_DROP_STORED;
    bool of_round = upload || order->kind == TB_ORDER_AGGREGATE;
    tb_open_round *round = NULL;
    if (order->kind == TB_ORDER_ADD_BLOCK && order->payload != 0) {
        t->payload = tb_daemon_take_payload(d, order->payload);
        if (t->payload == NULL) {
            return tb_fail(err, TB_E_BUG, "a block's bytes are not here");
        }
    }
    if (order->kind == TB_ORDER_END_UPLOAD) {
        if (!tb_coordinator_find(d->state.machine, &order->upload.client,
                                 &member)) {
            return tb_fail(err, TB_E_BUG, "an unknown client's update");
        }
        memcpy(t->sign_key, tb_daemon_signer(&member, order),
               sizeof t->sign_key);
    }
    if (of_round) {
        tb_rc rc = know_round(d, order, &order->upload.config, &round, err);
        if (rc != TB_OK) {
            return rc;
        }
    }
    if (order->kind == TB_ORDER_ADD_STORED ||
        order->kind == TB_ORDER_DROP_STORED) {
        t->into = tb_daemon_round(d, &order->into);
        if (t->into == NULL) {
            return tb_fail(err, TB_E_BUG, "no sum of this round");
        }
        t->into->users++;
    }
    tb_live *live = tb_daemon_live(d, &order->run);
    if (live == NULL) {
        return tb_fail(err, TB_E_CANCELLED, "the run is over");
    }
    t->live = live;
    t->live->users++;
    if (round != NULL) {
        t->round = round;
        t->round->users++;
    }
    return TB_OK;
}

static void drop_user(tb_open_round *round)
{
    if (round != NULL && --round->users == 0 && round->forgotten) {
        free_round(round);
    }
}

/* What the task held: the last user of a round or run that is over frees it. */
static void release_task(order_task *t)
{
    drop_user(t->round);
    drop_user(t->into);
    if (t->live != NULL && --t->live->users == 0 && t->live->ended) {
        tb_live_free(&t->live);
    }
    tb_inbound_free(&t->payload);
    tb_mem_free(t->order);
    tb_mem_free(t);
}

static void drop_task(tb_errand *errand)
{
    release_task((order_task *)(void *)errand);
}

static tb_errand *take_errand(tb_daemon *d)
{
    return (tb_errand *)(void *)tb_mailbox_take(d->mailbox);
}

void tb_daemon_drop_verdicts(tb_daemon *d)
{
    for (tb_errand *e = take_errand(d); e != NULL; e = take_errand(d)) {
        e->drop(e);
    }
}

static uint32_t round_of(const order_task *t)
{
    const tb_chronicle_round *round = tb_chronicle_find(
        &t->daemon->state.chronicle, &t->order->upload.config);
    return round != NULL ? round->round : t->order->round;
}

/* A client need not send again what the spool has of its update. */
static void log_found(const order_task *t)
{
    const tb_order *order = t->order;
    char run[TB_RUN_HEX_BYTES];
    tb_run_hex(&order->run, run);
    tb_log(TB_LOG_INFO,
           "event=upload_resumed run=%s round=%u client=%s from_block=%u "
           "blocks=%u",
           run, round_of(t), order->upload.client.text, t->verdict.n_blocks,
           order->upload.n_blocks);
}

static void log_failed(const order_task *t)
{
    const tb_order *order = t->order;
    const tb_verdict *v = &t->verdict;
    char run[TB_RUN_HEX_BYTES];
    tb_run_hex(&order->run, run);
    tb_log(tb_rc_fault(v->rc) == TB_FAULT_PEER ? TB_LOG_INFO : TB_LOG_WARN,
           "event=order kind=%s run=%s round=%u client=%s result=%s why=\"%s\"",
           tb_order_kind_name(order->kind), run, round_of(t),
           order->upload.client.text, tb_rc_name(v->rc), v->why);
}

/* What it put is the run's now, in place of what no row has named; nothing of
 * an order that failed will be named. */
static void hand_over_put(order_task *t)
{
    tb_live *live = t->live;
    if (t->put.n > 0) {
        tb_daemon_let_go(t->daemon, live);
        live->unnamed = t->put;
        if (t->verdict.rc != TB_OK || live->ended) {
            tb_daemon_let_go(t->daemon, live);
        }
    }
}

static tb_rc take_verdict(tb_daemon *d, tb_errand *errand, tb_err *err)
{
    order_task *t = (order_task *)(void *)errand;
    const tb_verdict *v = &t->verdict;
    d->meters.orders_out--;
    if (t->took_ns > 0) {
        tb_prom_observe(&d->meters.orders[t->order->kind],
                        (double)t->took_ns / 1e9);
    }
    if (v->rc != TB_OK) {
        log_failed(t);
    } else if (v->n_blocks > 0) {
        log_found(t);
    } else if (t->order->kind == TB_ORDER_AGGREGATE) {
        tb_intake_close_sum(t->round->intake); /* an evaluation has its room */
    }
    hand_over_put(t);
    tb_event event = {.kind = TB_EV_VERDICT, .verdict = v};
    tb_rc rc = tb_daemon_event(d, &event, err);
    release_task(t);
    return rc;
}

tb_rc tb_daemon_verdict(tb_daemon *d, bool *took, tb_err *err)
{
    tb_errand *errand = take_errand(d);
    *took = errand != NULL;
    return errand != NULL ? errand->back(d, errand, err) : TB_OK;
}

tb_rc tb_daemon_order(tb_daemon *d, tb_order **order_take, tb_err *err)
{
    tb_err why = {0};
    if (d->stopping) {
        return TB_OK; /* the next start orders it again */
    }
    order_task *t = tb_mem_array(1, sizeof *t);
    if (t == NULL) {
        return tb_fail(err, TB_E_NOMEM, "an order");
    }
    t->errand.back = take_verdict;
    t->errand.drop = drop_task;
    t->daemon = d;
    t->order = *order_take;
    *order_take = NULL;
    t->verdict.order = t->order->id;
    d->meters.orders_out++;
    tb_rc rc = t->order->kind == TB_ORDER_OPEN_ROUND
                   ? open_round(d, t->order, &why)
                   : equip(d, t, &why);
    if (rc == TB_OK && t->order->kind != TB_ORDER_OPEN_ROUND) {
        rc = tb_pool_submit(d->pool, run_task, t, &why);
        if (rc == TB_OK) {
            return TB_OK;
        }
    }
    tell(&t->verdict, rc, &why);
    tb_mailbox_post(d->mailbox, &t->errand.letter);
    return TB_OK;
}
