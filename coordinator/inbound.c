/* What members say: requests for models and predictions are answered here, all
 * else steps the machine. A member that breaks the rules of talking is cut. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon.h"
#include "wire/manifest.h"

static bool keep_payload(tb_daemon *d, tb_inbound *in, uint64_t *handle)
{
    for (uint64_t i = 0; i < TB_PAYLOADS_MAX; i++) {
        uint64_t h = ++d->next_payload;
        tb_payload *slot = &d->payloads[h % TB_PAYLOADS_MAX];
        if (slot->handle == 0) {
            *slot = (tb_payload){h, in};
            *handle = h;
            return true;
        }
    }
    return false;
}

static void send_manifest(tb_daemon *d, const tb_name *client,
                          const tb_msg_model_get *get)
{
    tb_err err;
    tb_buf bytes;
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    const tb_rec_version *v =
        tb_registry_find(&d->state.registry, &get->model, 0);
    tb_rc rc = v != NULL
                   ? tb_state_blob_find(&d->state, &v->manifest, &bytes, &err)
                   : TB_E_NOT_FOUND;
    if (rc == TB_OK) {
        tb_msg msg = {.kind = TB_MSG_MANIFEST};
        msg.u.manifest.manifest = (tb_span){bytes.data, bytes.len};
        tb_sign(msg.u.manifest.signature, d->keys.sign, TB_SIGN_MANIFEST,
                bytes.data, bytes.len);
        tb_daemon_send(d, client, &msg, NULL);
    } else {
        tb_daemon_refuse(d, client, TB_MSG_MODEL_GET, TB_REFUSE_NOT_FOUND,
                         "no such model: `tributaryd models` lists them");
    }
    tb_buf_release(&bytes);
}

static void predict(tb_daemon *d, tb_inbound **in_take, const tb_msg *msg)
{
    tb_err err;
    tb_name client = (*in_take)->client;
    const tb_msg_predict *p = &msg->u.predict;
    const tb_rec_version *v =
        tb_registry_find(&d->state.registry, &p->model, p->sequence);
    if (v == NULL) {
        tb_daemon_refuse(d, &client, TB_MSG_PREDICT, TB_REFUSE_NOT_FOUND,
                         "no such model or version: `tributaryd models` lists "
                         "them");
        return;
    }
    tb_rc rc = tb_serve_ask(d->serve, p, v, tb_clock_ms(), in_take, &err);
    if (rc != TB_OK) {
        tb_daemon_refuse(d, &client, TB_MSG_PREDICT,
                         rc == TB_E_USAGE   ? TB_REFUSE_SIZE
                         : rc == TB_E_LIMIT ? TB_REFUSE_RATE
                                            : TB_REFUSE_FULL,
                         err.text);
    }
}

static tb_rc step_message(tb_daemon *d, tb_inbound **in_take, const tb_msg *msg,
                          tb_err *err)
{
    tb_event event = {.kind = TB_EV_MESSAGE,
                      .client = (*in_take)->client,
                      .msg = msg,
                      .payload_bytes = (*in_take)->payload_bytes};
    if (event.payload_bytes > 0) {
        if (!keep_payload(d, *in_take, &event.payload)) {
            tb_daemon_refuse(d, &event.client, msg->kind, TB_REFUSE_FULL,
                             "too many blocks wait here: try again");
            return TB_OK;
        }
        *in_take = NULL; /* the table owns it */
    }
    return tb_daemon_event(d, &event, err);
}

static tb_rc take_message(tb_daemon *d, tb_inbound **in_take, tb_err *err)
{
    tb_msg msg;
    tb_err why;
    const tb_inbound *in = *in_take;
    tb_rc rc = tb_msg_decode(&msg, in->envelope, in->envelope_bytes,
                             in->payload_bytes, &why);
    if (rc == TB_E_UNSUPPORTED) { /* of a newer protocol: no mischief */
        tb_daemon_refuse(d, &in->client, TB_MSG_BYE, TB_REFUSE_PROTOCOL,
                         why.text);
        return TB_OK;
    }
    if (rc != TB_OK) {
        tb_daemon_cut(d, &in->client, why.text);
        return TB_OK;
    }
    if (msg.kind == TB_MSG_MODEL_GET) {
        send_manifest(d, &in->client, &msg.u.model_get);
    } else if (msg.kind == TB_MSG_PREDICT) {
        predict(d, in_take, &msg);
    } else if (msg.kind == TB_MSG_ROTATE) {
        rc = tb_daemon_rotate(d, &in->client, &msg.u.rotate, err);
    } else {
        rc = msg.kind == TB_MSG_HELLO ? tb_daemon_seen_key(d, in, err) : TB_OK;
        rc = rc == TB_OK ? step_message(d, in_take, &msg, err) : rc;
    }
    tb_msg_release(&msg);
    return rc;
}

tb_rc tb_daemon_inbound(tb_daemon *d, tb_inbound **in_take, tb_err *err)
{
    const tb_inbound *in = *in_take;
    tb_event gone = {.kind = TB_EV_GONE, .client = in->client};
    switch (in->kind) {
    case TB_IN_MESSAGE:
        return take_message(d, in_take, err);
    case TB_IN_ENROL:
        return tb_daemon_enrol(d, in, err);
    case TB_IN_GONE:
        return tb_daemon_event(d, &gone, err);
    case TB_IN_FAILED:
        return tb_fail(err, TB_E_IO, "the network has failed: %s", in->why);
    case TB_IN_CONNECTED:
    case TB_IN_LOST:
    default:
        return TB_OK;
    }
}
