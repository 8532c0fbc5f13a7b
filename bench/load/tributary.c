/* The clients of a coordinator: each is the machine of core/fed, driven as
 * `tributary` drives it, but for disk and training. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "load.h"
#include "wire/receipt.h"

static tb_rc step(load *l, load_client *c, const tb_cevent *event, tb_err *err);

/* What is signed for all is the same for all: proven once, then compared. */
typedef struct proven {
    uint8_t bytes[TB_CONFIG_BYTES_MAX];
    size_t len;
    tb_round_config config;
    tb_hash hash;
} proven;

static proven offer; /* of the newest round */

static bool welcome_genuine(const load *l, const tb_span *certificate)
{
    static bool valid;
    tb_err err;
    valid = valid ||
            tb_certificate_verify(&l->fed.certificate, l->fed.root,
                                  (uint64_t)tb_clock_unix_s(), &err) == TB_OK;
    return valid && certificate->len == sizeof l->fed.certificate_bytes &&
           memcmp(certificate->data, l->fed.certificate_bytes,
                  certificate->len) == 0;
}

static bool offer_genuine(const load *l, const tb_msg_offer *msg)
{
    tb_err err;
    if (msg->config.len == offer.len &&
        memcmp(msg->config.data, offer.bytes, offer.len) == 0) {
        return true;
    }
    if (tb_verify(msg->signature, l->fed.certificate.sign_key, TB_SIGN_ROUND,
                  msg->config.data, msg->config.len, &err) != TB_OK ||
        tb_round_config_decode(&offer.config, msg->config.data, msg->config.len,
                               &err) != TB_OK) {
        return false;
    }
    offer.len = msg->config.len;
    memcpy(offer.bytes, msg->config.data, offer.len);
    offer.hash = tb_hash_of(offer.bytes, offer.len);
    return true;
}

static bool genuine(const load *l, const tb_msg *msg)
{
    tb_err err;
    if (msg->kind == TB_MSG_WELCOME) {
        return welcome_genuine(l, &msg->u.welcome.certificate);
    }
    if (msg->kind == TB_MSG_OFFER) {
        return offer_genuine(l, &msg->u.offer);
    }
    return msg->kind != TB_MSG_RECEIPT ||
           tb_receipt_verify(&msg->u.receipt, l->fed.certificate.sign_key,
                             &err) == TB_OK;
}

/* --- actions -------------------------------------------------------------- */

static tb_rc send_message(load_client *c, const tb_msg *msg,
                          const tb_span *payload, tb_err *err)
{
    tb_buf envelope;
    tb_buf_init(&envelope, TB_ENVELOPE_BYTES_MAX);
    tb_rc rc = tb_msg_encode(msg, &envelope, err);
    if (rc == TB_OK) {
        load_send(c, &(tb_span){envelope.data, envelope.len}, payload);
    }
    tb_buf_release(&envelope);
    return rc;
}

static tb_rc work(load *l, load_client *c, const tb_caction *action,
                  tb_err *err)
{
    tb_cevent done = {.kind = TB_CEV_WORKED, .config = action->config};
    tb_rc rc = load_update_make(&c->update, action->round, &action->config,
                                c->number, err);
    if (rc == TB_OK) {
        done.sealed = c->update.sealed;
        rc = step(l, c, &done, err);
    }
    return rc;
}

static tb_rc send_block(load_client *c, const tb_caction *action, tb_err *err)
{
    const load_update *u = &c->update;
    uint32_t i = action->index;
    tb_msg msg = {.kind = TB_MSG_BLOCK,
                  .u.block = {.upload = action->upload, .index = i}};
    tb_span payload = {u->bytes + u->at[i], u->at[i + 1] - u->at[i]};
    return send_message(c, &msg, &payload, err);
}

static tb_rc act(load *l, load_client *c, const tb_caction *action, tb_err *err)
{
    tb_cevent found = {.kind = TB_CEV_FOUND, .config = action->config};
    tb_cevent connected = {.kind = TB_CEV_CONNECTED};
    switch (action->kind) {
    case TB_CACT_CONNECT: {
        tb_rc rc = c->socket == NULL ? load_connect(l, c, err) : TB_OK;
        return rc == TB_OK ? step(l, c, &connected, err) : rc;
    }
    case TB_CACT_CLOSE:
        l->n_lost++;
        load_close(l, c);
        return TB_OK;
    case TB_CACT_SEND:
        return send_message(c, action->msg, NULL, err);
    case TB_CACT_FIND:
        found.have = l->fetches ? 0 : offer.config.model_stored_bytes;
        return step(l, c, &found, err);
    case TB_CACT_WORK:
        return work(l, c, action, err);
    case TB_CACT_BLOCK:
        return send_block(c, action, err);
    case TB_CACT_SETTLE:
        load_update_release(&c->update);
        if (action->accepted) {
            load_count(&l->update);
        }
        return TB_OK;
    case TB_CACT_STORE:
    case TB_CACT_WORK_STOP:
    case TB_CACT_SAVE:
    case TB_CACT_KIND_END:
    default:
        return TB_OK;
    }
}

static tb_rc step(load *l, load_client *c, const tb_cevent *event, tb_err *err)
{
    tb_rc rc =
        tb_client_step(c->machine, event, tb_clock_ms(), &c->actions, err);
    while (rc == TB_OK && c->at < c->actions.n) {
        tb_caction action = c->actions.at[c->at]; /* the list may move */
        c->actions.at[c->at].msg = NULL;
        c->at++;
        rc = act(l, c, &action, err);
        tb_mem_free(action.msg);
    }
    if (c->at == c->actions.n) {
        tb_cactions_release(&c->actions);
        c->at = 0;
    }
    c->due_ms = tb_client_next_ms(c->machine);
    return rc;
}

/* --- the protocol --------------------------------------------------------- */

static tb_rc start(load *l, load_client *c, tb_err *err)
{
    tb_client_params params = tb_client_defaults();
    load_name(&params.name, c->number);
    params.federation = l->fed.id;
    params.n_data_sets = 1;
    (void)tb_name_set(&params.data_sets[0], "load");
    tb_rc rc = tb_client_new(&c->machine, &params, NULL, 0, err);
    tb_cevent tick = {.kind = TB_CEV_TICK};
    return rc == TB_OK ? step(l, c, &tick, err) : rc;
}

static tb_rc hear(load *l, load_client *c, zmq_msg_t *frames, int n,
                  tb_err *err)
{
    tb_msg msg;
    size_t payload = n > 1 ? zmq_msg_size(&frames[1]) : 0;
    tb_rc rc = tb_msg_decode(&msg, zmq_msg_data(&frames[0]),
                             zmq_msg_size(&frames[0]), payload, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (msg.kind == TB_MSG_WAIT && !c->greeted) {
        c->greeted = true; /* known, and checked in */
        load_count(&l->connect);
    } else if (msg.kind == TB_MSG_WAIT && c->asked) {
        c->asked = false;
        load_count(&l->probe);
    } else if (msg.kind == TB_MSG_REFUSE) {
        l->n_refused++;
    }
    tb_cevent event = {.kind = TB_CEV_MESSAGE,
                       .msg = &msg,
                       .genuine = genuine(l, &msg),
                       .payload_bytes = payload};
    rc = step(l, c, &event, err);
    tb_msg_release(&msg);
    return rc;
}

static tb_rc probe(load *l, load_client *c, tb_err *err)
{
    (void)l;
    tb_msg msg = {.kind = TB_MSG_CHECK_IN};
    c->asked = true;
    return send_message(c, &msg, NULL, err);
}

static tb_rc tick(load *l, load_client *c, int64_t now_ms, tb_err *err)
{
    tb_cevent event = {.kind = TB_CEV_TICK};
    return now_ms >= c->due_ms ? step(l, c, &event, err) : TB_OK;
}

static void end(load_client *c)
{
    tb_cactions_release(&c->actions);
    load_update_release(&c->update);
    tb_client_free(&c->machine);
}

const load_protocol load_tributary = {.name = "tributary",
                                      .start = start,
                                      .hear = hear,
                                      .probe = probe,
                                      .tick = tick,
                                      .end = end};
