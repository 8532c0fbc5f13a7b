#include "request.h"

#include <string.h>

#include "base/mem.h"

enum {
    PATIENCE_MS = 20000,
    WINDOW_BYTES = 32 * TB_FETCH_BYTES_MAX,
    ROWS_BYTES_MAX = 1 << 30
};

void request_init(request *r, request_kind kind, const tb_name *model)
{
    *r = (request){.kind = kind, .model = *model};
    tb_buf_init(&r->rows, ROWS_BYTES_MAX);
    tb_buf_init(&r->answers, ROWS_BYTES_MAX);
}

void request_release(request *r)
{
    tb_buf_release(&r->rows);
    registry_item_release(&r->item);
    tb_buf_release(&r->answers);
    tb_manifest_release(&r->manifest);
}

tb_rc request_set_role(request *r, const char *role, tb_err *err)
{
    for (int i = 1; i < TB_ARTEFACT_ROLE_END; i++) {
        if (strcmp(tb_artefact_role_name((tb_artefact_role)i), role) == 0) {
            r->role = (tb_artefact_role)i;
            return TB_OK;
        }
    }
    return tb_fail(err, TB_E_USAGE,
                   "no form \"%s\": fp32, pruned, int8 or pow2", role);
}

/* Names of the files beside the ONNX. */
static tb_rc put_files(const tb_manifest *m, tb_json *o, tb_err *err)
{
    tb_json *files = tb_json_array();
    tb_rc rc = TB_OK;
    for (uint32_t i = 0; i < m->n_files && rc == TB_OK; i++) {
        tb_json *file = tb_json_object();
        rc = tb_json_put_text(file, "name", m->files[i].name.text, err);
        if (rc == TB_OK) {
            rc = tb_json_put_int(file, "bytes", (int64_t)m->files[i].raw_bytes,
                                 err);
        }
        if (rc == TB_OK) {
            rc = tb_json_append(files, &file, err);
        }
        tb_json_free(&file);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(o, "files", &files, err);
    }
    tb_json_free(&files);
    return rc;
}

static tb_rc pull_result(const request *r, const home *h, tb_json *o,
                         tb_err *err)
{
    const tb_artefact *artefact = tb_manifest_artefact(&r->manifest, r->role);
    char hex[TB_HASH_HEX_BYTES];
    char *path = NULL;
    if (artefact == NULL) {
        return tb_fail(err, TB_E_BUG, "pulled what the manifest has not");
    }
    tb_hash_hex(&artefact->raw, hex);
    tb_rc rc = registry_path(&path, h, &r->manifest, artefact, err);
    if (rc == TB_OK) {
        rc = tb_json_put_text(o, "form", tb_artefact_role_name(r->role), err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_int(o, "bytes", (int64_t)artefact->raw_bytes, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_text(o, "hash", hex, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_text(o, "path", path, err);
    }
    if (rc == TB_OK && tb_manifest_n_files(&r->manifest, artefact) > 0) {
        rc = put_files(&r->manifest, o, err);
    }
    tb_mem_free(path);
    return rc;
}

static tb_rc predict_result(const request *r, tb_json *o, tb_err *err)
{
    const uint8_t *at = r->answers.data;
    tb_json *rows = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < r->n_rows; i++) {
        tb_json *row = tb_json_array();
        for (size_t j = 0; rc == TB_OK && j < r->n_outputs; j++) {
            float y;
            memcpy(&y, at, sizeof y);
            at += sizeof y;
            rc = tb_json_append_float(row, (double)y, err);
        }
        if (rc == TB_OK) {
            rc = tb_json_append(rows, &row, err);
        }
        tb_json_free(&row);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(o, "outputs", &rows, err);
    }
    tb_json_free(&rows);
    return rc;
}

tb_rc request_result(const request *r, const home *h, tb_json **out,
                     tb_err *err)
{
    tb_json *o = tb_json_object();
    tb_rc rc = tb_json_put_text(o, "model", r->model.text, err);
    if (rc == TB_OK) {
        rc = tb_json_put_int(o, "version", (int64_t)r->manifest.sequence, err);
    }
    if (rc == TB_OK) {
        rc = r->kind == REQUEST_PULL ? pull_result(r, h, o, err)
                                     : predict_result(r, o, err);
    }
    if (rc != TB_OK) {
        tb_json_free(&o);
        return rc;
    }
    *out = o;
    return TB_OK;
}

static void finish(request *r, tb_rc rc)
{
    r->phase = REQUEST_DONE;
    r->rc = rc;
}

static void say(request *r, const request_context *c, const tb_msg *msg)
{
    tb_rc rc = c->send(c->arg, msg, NULL, 0, &r->err);
    r->deadline_ms = c->now_ms + PATIENCE_MS;
    if (rc != TB_OK && rc != TB_E_BUSY) { /* BUSY: begins again when back */
        finish(r, rc);
    }
}

void request_begin(request *r, const request_context *c)
{
    tb_msg msg = {.kind = TB_MSG_MODEL_GET, .u.model_get = {.model = r->model}};
    if (r->phase == REQUEST_DONE || r->phase == REQUEST_CHORE) {
        return; /* a chore goes on with the manifest that is here */
    }
    msg.u.model_get.known_sequence = registry_sequence(c->home, &r->model);
    r->phase = REQUEST_MANIFEST;
    r->n_done = 0;
    r->answers.len = 0;
    say(r, c, &msg);
}

static void fetch_more(request *r, const request_context *c)
{
    tb_msg msg = {0};
    while (r->phase == REQUEST_FETCH && tb_fetch_next(&r->fetch, &msg)) {
        say(r, c, &msg);
    }
}

/* The artefact that was asked for, or the standard one. */
static const tb_artefact *chosen(request *r)
{
    if (r->role == 0) {
        r->role = r->manifest.standard;
    }
    return tb_manifest_artefact(&r->manifest, r->role);
}

static void do_chore(void *arg)
{
    request *r = arg;
    chores *where = r->chore.where;
    r->chore.rc = r->chore.unpacks
                      ? registry_part_finish(&r->item, &r->chore.err)
                      : registry_item_check(&r->item, &r->manifest, NULL);
    atomic_store(&r->chore.done, true);
    if (where != NULL) {
        chores_tell(where);
    }
}

/* Reads, or unpacks, the whole item. */
static void begin_chore(request *r, const request_context *c, bool unpacks)
{
    r->phase = REQUEST_CHORE;
    r->chore.unpacks = unpacks;
    r->chore.where = c->chores;
    atomic_store(&r->chore.done, false);
    if (c->chores == NULL) {
        do_chore(r);
        request_go_on(r, c);
        return;
    }
    tb_rc rc = chores_do(c->chores, do_chore, r, &r->err);
    if (rc != TB_OK) {
        finish(r, rc);
    }
}

/* On to the next file of the form, or it is done. */
static void next_item(request *r, const request_context *c)
{
    registry_item_release(&r->item);
    if (r->n_items > tb_manifest_n_files(&r->manifest, chosen(r))) {
        finish(r, TB_OK);
        return;
    }
    tb_rc rc = registry_item_at(&r->item, c->home, &r->manifest, chosen(r),
                                r->n_items, &r->err);
    if (rc != TB_OK) {
        finish(r, rc);
        return;
    }
    begin_chore(r, c, false);
}

/* Fetches what is not here, from where it stopped. */
static void fetch_item(request *r, const request_context *c)
{
    uint64_t have = registry_part_bytes(&r->item);
    tb_fetch_init(&r->fetch, &r->item.ref.stored, r->item.ref.stored_bytes,
                  have, WINDOW_BYTES);
    if (tb_fetch_done(&r->fetch)) { /* killed before it was unpacked */
        begin_chore(r, c, true);
        return;
    }
    r->phase = REQUEST_FETCH;
    fetch_more(r, c);
}

void request_go_on(request *r, const request_context *c)
{
    if (r->phase != REQUEST_CHORE || !atomic_load(&r->chore.done)) {
        return;
    }
    bool unpacked = r->chore.unpacks;
    r->deadline_ms = c->now_ms + PATIENCE_MS;
    if (!unpacked && r->chore.rc != TB_OK) {
        fetch_item(r, c);
    } else if (r->chore.rc != TB_OK) {
        r->err = r->chore.err;
        finish(r, r->chore.rc);
    } else {
        r->n_items++;
        next_item(r, c);
    }
}

static void begin_fetch(request *r, const request_context *c)
{
    if (chosen(r) == NULL) {
        finish(r, tb_fail(&r->err, TB_E_NOT_FOUND,
                          "version %llu of %s has no %s form",
                          (unsigned long long)r->manifest.sequence,
                          r->model.text, tb_artefact_role_name(r->role)));
        return;
    }
    registry_drop_parts(c->home, &r->manifest);
    r->n_items = 0;
    next_item(r, c);
}

static size_t row_bytes(const tb_manifest *m)
{
    size_t n = tb_input_dtype_bytes(m->input.dtype);
    for (uint32_t i = 0; i < m->input.rank && n <= TB_PAYLOAD_BYTES_MAX; i++) {
        n *= m->input.dims[i];
    }
    return n; /* right, or over the limit */
}

/* Sends as many of the rows that are left as one payload holds. */
static void ask_more(request *r, const request_context *c)
{
    size_t bytes = r->rows.len / r->n_rows;
    size_t at_once = TB_PAYLOAD_BYTES_MAX / bytes;
    size_t left = r->n_rows - r->n_done;
    r->n_pending = left < at_once ? left : at_once;
    tb_msg msg = {.kind = TB_MSG_PREDICT,
                  .u.predict = {.request = ++r->id,
                                .model = r->model,
                                .sequence = r->manifest.sequence,
                                .n_rows = (uint32_t)r->n_pending}};
    r->deadline_ms = c->now_ms + PATIENCE_MS;
    tb_rc rc = c->send(c->arg, &msg, r->rows.data + r->n_done * bytes,
                       r->n_pending * bytes, &r->err);
    if (rc != TB_OK && rc != TB_E_BUSY) {
        finish(r, rc);
    }
}

static void begin_answers(request *r, const request_context *c)
{
    size_t want = row_bytes(&r->manifest);
    size_t have = r->n_rows > 0 ? r->rows.len / r->n_rows : 0;
    if (want != have || want > TB_PAYLOAD_BYTES_MAX) {
        finish(r, tb_fail(&r->err, TB_E_MISMATCH,
                          "%s takes %zu bytes a row, the input has %zu: is "
                          "this the data that it was made for?",
                          r->model.text, want, have));
        return;
    }
    r->phase = REQUEST_ANSWERS;
    r->n_outputs = r->manifest.output.n_values;
    ask_more(r, c);
}

static void take_manifest(request *r, const request_context *c,
                          const tb_msg_manifest *msg)
{
    tb_manifest_release(&r->manifest);
    tb_rc rc = registry_take(c->home, msg, &r->model, &r->manifest, &r->err);
    if (rc != TB_OK) {
        finish(r, rc);
    } else if (r->kind == REQUEST_PULL) {
        begin_fetch(r, c);
    } else {
        begin_answers(r, c);
    }
}

static void take_chunk(request *r, const request_context *c,
                       const tb_msg_chunk *chunk, const uint8_t *payload,
                       size_t n)
{
    if (!tb_fetch_take(&r->fetch, chunk, n)) {
        return;
    }
    tb_rc rc =
        registry_part_write(&r->item, chunk->offset, payload, n, &r->err);
    r->deadline_ms = c->now_ms + PATIENCE_MS; /* a sign of life */
    if (rc != TB_OK) {
        finish(r, rc);
    } else if (tb_fetch_done(&r->fetch)) {
        begin_chore(r, c, true);
    } else {
        fetch_more(r, c);
    }
}

static void take_answers(request *r, const request_context *c,
                         const tb_msg_prediction *p, const uint8_t *payload,
                         size_t n)
{
    const tb_artefact *used =
        tb_manifest_artefact(&r->manifest, r->manifest.standard);
    if (p->n_rows != r->n_pending || p->n_outputs != r->n_outputs ||
        n != r->n_pending * r->n_outputs * sizeof(float) || used == NULL ||
        !tb_hash_equal(&p->model, &used->raw)) {
        finish(r, tb_fail(&r->err, TB_E_MALFORMED,
                          "the coordinator's answer does not fit the manifest "
                          "of %s",
                          r->model.text));
        return;
    }
    tb_rc rc = tb_buf_put(&r->answers, payload, n, &r->err);
    r->n_done += r->n_pending;
    if (rc != TB_OK || r->n_done == r->n_rows) {
        finish(r, rc);
    } else {
        ask_more(r, c);
    }
}

static bool take_refusal(request *r, const tb_msg_refuse *refuse)
{
    bool ours =
        (refuse->about == TB_MSG_MODEL_GET && r->phase == REQUEST_MANIFEST) ||
        (refuse->about == TB_MSG_FETCH && r->phase == REQUEST_FETCH) ||
        (refuse->about == TB_MSG_PREDICT && r->phase == REQUEST_ANSWERS);
    if (ours && refuse->code == TB_REFUSE_STATE) {
        return true; /* sent into a new connection: it begins again there */
    }
    if (ours) {
        finish(r, tb_fail(&r->err,
                          refuse->code == TB_REFUSE_NOT_FOUND ? TB_E_NOT_FOUND
                                                              : TB_E_REFUSED,
                          "the coordinator refused (%s): %s",
                          tb_refusal_name(refuse->code), refuse->why));
    }
    return ours;
}

bool request_take(request *r, const request_context *c, const tb_msg *msg,
                  const uint8_t *payload, size_t n_payload)
{
    if (msg->kind == TB_MSG_MANIFEST && r->phase == REQUEST_MANIFEST) {
        take_manifest(r, c, &msg->u.manifest);
        return true;
    }
    if (msg->kind == TB_MSG_CHUNK && r->phase == REQUEST_FETCH &&
        tb_hash_equal(&msg->u.chunk.blob, &r->fetch.blob)) {
        take_chunk(r, c, &msg->u.chunk, payload, n_payload);
        return true;
    }
    if (msg->kind == TB_MSG_PREDICTION && r->phase == REQUEST_ANSWERS &&
        msg->u.prediction.request == r->id) {
        take_answers(r, c, &msg->u.prediction, payload, n_payload);
        return true;
    }
    return msg->kind == TB_MSG_REFUSE && take_refusal(r, &msg->u.refuse);
}

void request_tick(request *r, int64_t now_ms)
{
    if (r->deadline_ms == 0) {
        r->deadline_ms = now_ms + PATIENCE_MS;
    }
    if (r->phase != REQUEST_DONE && r->phase != REQUEST_CHORE &&
        now_ms >= r->deadline_ms) {
        finish(r, tb_fail(&r->err, TB_E_TIMEOUT,
                          "the coordinator has not answered for %d s: is it "
                          "running, and does it know this client?",
                          PATIENCE_MS / 1000));
    }
}
