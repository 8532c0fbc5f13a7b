#include "fed/client.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/stream.h"
#include "fed/client_priv.h"

#define UNANSWERED_MAX 4        /* then the connection is made anew */
#define DOUBLINGS_MAX  10       /* of a pause */
#define WAIT_MS_MAX    3600000u /* whatever the coordinator says */

static const char *const phase_names[TB_CPHASE_COUNT] = {
    "offline", "hello",     "checking",  "waiting", "fetching",
    "working", "beginning", "uploading", "ending",  "stopped"};

const char *tb_cphase_name(tb_cphase phase)
{
    return phase < TB_CPHASE_COUNT ? phase_names[phase] : "unknown";
}

tb_client_params tb_client_defaults(void)
{
    return (tb_client_params){.software = "tributary " TB_VERSION,
                              .answer_ms = 10000,
                              .backoff_ms = 200,
                              .backoff_max_ms = 30000,
                              .window_bytes = 8 * TB_FETCH_BYTES_MAX};
}

tb_rc tb_client_new(tb_client **out, const tb_client_params *params,
                    const uint8_t *state, size_t n_state, tb_err *err)
{
    *out = NULL;
    if (!tb_name_valid(params->name.text) || params->answer_ms == 0 ||
        params->backoff_ms == 0 || params->n_data_sets > TB_DATA_SETS_MAX) {
        return tb_fail(err, TB_E_USAGE,
                       "client: name \"%s\", %u data sets, or a time of 0",
                       params->name.text, params->n_data_sets);
    }
    tb_client *cl = tb_mem_array(1, sizeof *cl);
    tb_round_config *config = tb_mem_array(1, sizeof *config);
    tb_rc rc = TB_OK;
    if (cl == NULL || config == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "client");
    } else if (n_state > 0) {
        rc = tb_cl_state_decode(cl, state, n_state, err);
    }
    if (rc != TB_OK) {
        tb_mem_free(cl);
        tb_mem_free(config);
        return rc;
    }
    cl->params = *params;
    cl->config = config;
    *out = cl;
    return TB_OK;
}

void tb_client_free(tb_client **client)
{
    if (*client != NULL) {
        tb_mem_free((*client)->config);
        tb_mem_free(*client);
        *client = NULL;
    }
}

/* what goes out */

void tb_cactions_release(tb_cactions *actions)
{
    for (size_t i = 0; i < actions->n; i++) {
        tb_mem_free(actions->at[i].msg);
    }
    tb_mem_free(actions->at);
    *actions = (tb_cactions){0};
}

tb_caction *tb_cl_action(tb_client *cl, tb_caction_kind kind)
{
    tb_cactions *list = cl->out;
    if (cl->rc == TB_OK && list->n == list->cap) {
        size_t cap = list->cap == 0 ? 8 : 2 * list->cap;
        tb_caction *at = tb_mem_resize(list->at, cap, sizeof *at);
        if (at == NULL) {
            cl->rc = tb_fail(cl->err, TB_E_NOMEM, "client: an action");
        } else {
            list->at = at;
            list->cap = cap;
        }
    }
    if (cl->rc != TB_OK) {
        return &cl->no_action;
    }
    tb_caction *action = &list->at[list->n++];
    memset(action, 0, sizeof *action);
    action->kind = kind;
    return action;
}

tb_msg *tb_cl_send(tb_client *cl, tb_msg_kind kind)
{
    tb_msg *msg = cl->rc == TB_OK ? tb_mem_array(1, sizeof *msg) : NULL;
    if (msg == NULL && cl->rc == TB_OK) {
        cl->rc = tb_fail(cl->err, TB_E_NOMEM, "client: a message");
    }
    tb_caction *action = tb_cl_action(cl, TB_CACT_SEND);
    if (cl->rc != TB_OK) {
        tb_mem_free(msg);
        return &cl->no_msg;
    }
    msg->kind = kind;
    action->msg = msg;
    return msg;
}

void tb_cl_count(tb_client *cl, tb_refusal code, const char *why)
{
    cl->n_refused++;
    cl->last_refusal = code;
    (void)snprintf(cl->last_why, sizeof cl->last_why, "%.*s",
                   (int)sizeof cl->last_why - 1, why);
}

void tb_cl_wait(tb_client *cl, tb_cphase phase, uint64_t ms)
{
    cl->phase = phase;
    cl->due_ms = cl->now + (int64_t)(ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX);
}

/* connection and session */

/* Half to all of a pause that doubles, and any part of what the coordinator
 * spreads its fleet over, by client and try: it does not come back all at
 * once. */
static uint64_t backoff(const tb_client *cl)
{
    uint32_t n = cl->tries < DOUBLINGS_MAX ? cl->tries : DOUBLINGS_MAX;
    uint64_t ms = cl->params.backoff_ms << n;
    if (ms > cl->params.backoff_max_ms) {
        ms = cl->params.backoff_max_ms;
    }
    tb_stream stream;
    tb_stream_init(&stream, 0, cl->tries, "backoff", cl->params.name.text);
    double pause = (double)ms * (0.5 + 0.5 * tb_stream_uniform(&stream));
    /* At first any part of it; later one whole on average, so that those who
     * try again and again are no more a second than those who come back. */
    double part = tb_stream_uniform(&stream) + (cl->tries > 0 ? 0.5 : 0.0);
    return (uint64_t)(pause + (double)cl->spread_ms * part);
}

static void offline(tb_client *cl, uint64_t ms)
{
    cl->connected = false;
    cl->welcomed = false;
    cl->unanswered = 0;
    if (!cl->has_sealed && !cl->working) {
        tb_cl_leave(cl);
    }
    cl->tries++;
    tb_cl_wait(cl, TB_CPHASE_OFFLINE, ms);
}

static void hang_up(tb_client *cl, uint64_t ms)
{
    (void)tb_cl_action(cl, TB_CACT_CLOSE);
    offline(cl, ms);
}

static void hello(tb_client *cl)
{
    tb_msg_hello *msg = &tb_cl_send(cl, TB_MSG_HELLO)->u.hello;
    msg->protocol_min = TB_PROTOCOL_MIN;
    msg->protocol_max = TB_PROTOCOL_MAX;
    msg->client = cl->params.name;
    memcpy(msg->software, cl->params.software, sizeof msg->software);
    msg->n_data_sets = cl->params.n_data_sets;
    memcpy(msg->data_sets, cl->params.data_sets, sizeof msg->data_sets);
    msg->labels = cl->params.labels;
    cl->welcomed = false;
    tb_cl_wait(cl, TB_CPHASE_HELLO, cl->params.answer_ms);
}

void tb_cl_restart(tb_client *cl, uint64_t ms)
{
    uint32_t n = cl->restarts < DOUBLINGS_MAX ? cl->restarts : DOUBLINGS_MAX;
    cl->restarts++;
    cl->welcomed = false;
    if (!cl->has_sealed && !cl->working) {
        tb_cl_leave(cl);
    }
    ms = ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX;
    tb_cl_wait(cl, TB_CPHASE_HELLO, (ms > 0 ? ms : 1) << n);
}

void tb_cl_next(tb_client *cl)
{
    if (cl->has_sealed) {
        tb_cl_begin(cl);
    } else if (cl->working) {
        cl->phase = TB_CPHASE_WORKING;
        cl->due_ms = INT64_MAX;
    } else {
        tb_cl_leave(cl);
        (void)tb_cl_send(cl, TB_MSG_CHECK_IN);
        tb_cl_wait(cl, TB_CPHASE_CHECKING, cl->params.answer_ms);
    }
}

static void welcome(tb_client *cl, const tb_msg_welcome *msg, bool genuine)
{
    if (cl->phase != TB_CPHASE_HELLO) {
        return;
    }
    if (!genuine) {
        tb_cl_count(cl, TB_REFUSE_IDENTITY,
                    "the coordinator could not prove that it belongs to this "
                    "federation");
        hang_up(cl, cl->params.backoff_max_ms);
        return;
    }
    if (msg->protocol < TB_PROTOCOL_MIN || msg->protocol > TB_PROTOCOL_MAX) {
        tb_cl_count(cl, TB_REFUSE_PROTOCOL,
                    "the coordinator chose a protocol "
                    "that is not spoken here");
        hang_up(cl, cl->params.backoff_max_ms);
        return;
    }
    cl->welcomed = true;
    cl->tries = 0;
    cl->spread_ms = msg->spread_ms < WAIT_MS_MAX ? msg->spread_ms : WAIT_MS_MAX;
    tb_cl_next(cl);
}

static bool about_upload(tb_msg_kind kind)
{
    return kind == TB_MSG_UPLOAD_BEGIN || kind == TB_MSG_BLOCK ||
           kind == TB_MSG_UPLOAD_END;
}

/* A refusal of this client's own upload. */
static void upload_refused(tb_client *cl, const tb_msg_refuse *msg)
{
    bool mine = cl->has_sealed && tb_hash_equal(&msg->config, &cl->sealed_for);
    if (!mine) {
        return;
    }
    if (msg->retry_ms > 0) {
        if (cl->welcomed) {
            tb_cl_wait(cl, TB_CPHASE_BEGINNING, msg->retry_ms);
        }
        return;
    }
    tb_cl_settle(cl, false);
    if (cl->welcomed) {
        tb_cl_next(cl);
    }
}

static void round_refused(tb_client *cl, const tb_msg_refuse *msg)
{
    if (!cl->has_round || !cl->welcomed) {
        return;
    }
    if (msg->about == TB_MSG_FETCH) {
        tb_cl_decline(cl, "the coordinator does not have its model");
    } else if (tb_hash_equal(&msg->config, &cl->hash)) {
        tb_cl_leave(cl);
        tb_cl_wait(cl, TB_CPHASE_WAITING, cl->params.answer_ms);
    }
}

static void refused(tb_client *cl, const tb_msg_refuse *msg)
{
    tb_cl_count(cl, msg->code, msg->why);
    if (msg->about == TB_MSG_HELLO) {
        hang_up(cl,
                msg->retry_ms > 0 ? msg->retry_ms : cl->params.backoff_max_ms);
    } else if (msg->code == TB_REFUSE_STATE) {
        if (cl->welcomed) {
            tb_cl_restart(cl, msg->retry_ms);
        }
    } else if (msg->code == TB_REFUSE_IDENTITY && !about_upload(msg->about)) {
        hang_up(cl, cl->params.backoff_max_ms);
    } else if (about_upload(msg->about)) {
        upload_refused(cl, msg);
    } else if (msg->about == TB_MSG_FETCH && msg->retry_ms > 0) {
        tb_cl_wait(cl, cl->phase, msg->retry_ms);
    } else {
        round_refused(cl, msg);
    }
}

static void message(tb_client *cl, const tb_cevent *event)
{
    const tb_msg *msg = event->msg;
    cl->unanswered = 0;
    if (msg->kind == TB_MSG_WELCOME) {
        welcome(cl, &msg->u.welcome, event->genuine);
    } else if (msg->kind == TB_MSG_REFUSE) {
        refused(cl, &msg->u.refuse);
    } else if (msg->kind == TB_MSG_BYE) {
        hang_up(cl, backoff(cl));
    } else if (msg->kind == TB_MSG_RECEIPT) {
        tb_cl_receipt(cl, &msg->u.receipt, event->genuine);
    } else if (!cl->welcomed) {
        return; /* of an older session */
    } else if (msg->kind == TB_MSG_WAIT) {
        if (cl->phase == TB_CPHASE_CHECKING || cl->phase == TB_CPHASE_WAITING) {
            tb_cl_wait(cl, TB_CPHASE_WAITING, msg->u.wait.retry_ms);
        }
    } else if (msg->kind == TB_MSG_OFFER) {
        tb_cl_offer(cl, &msg->u.offer, event->genuine);
    } else if (msg->kind == TB_MSG_CHUNK) {
        tb_cl_chunk(cl, &msg->u.chunk, event->payload_bytes);
    } else if (msg->kind == TB_MSG_CREDIT) {
        tb_cl_credit(cl, &msg->u.credit);
    } else {
        tb_cl_count(cl, TB_REFUSE_STATE, "coordinators do not send this");
    }
}

/* Nothing came in time: say it again; after some times, connect anew. */
static void say_again(tb_client *cl)
{
    if (cl->connected && cl->phase != TB_CPHASE_WAITING &&
        ++cl->unanswered > UNANSWERED_MAX) {
        hang_up(cl, backoff(cl));
        return;
    }
    switch (cl->phase) {
    case TB_CPHASE_OFFLINE:
        (void)tb_cl_action(cl, TB_CACT_CONNECT);
        tb_cl_wait(cl, TB_CPHASE_OFFLINE, cl->params.backoff_max_ms);
        break;
    case TB_CPHASE_HELLO:
        hello(cl);
        break;
    case TB_CPHASE_CHECKING:
    case TB_CPHASE_WAITING:
    case TB_CPHASE_BEGINNING:
    case TB_CPHASE_UPLOADING:
    case TB_CPHASE_ENDING:
        tb_cl_next(cl);
        break;
    case TB_CPHASE_FETCHING:
        tb_cl_fetch_again(cl);
        break;
    case TB_CPHASE_WORKING:
    case TB_CPHASE_STOPPED:
    case TB_CPHASE_COUNT:
        cl->due_ms = INT64_MAX;
        break;
    }
}

static void stop(tb_client *cl)
{
    if (cl->welcomed) {
        (void)tb_cl_send(cl, TB_MSG_BYE);
    }
    tb_cl_leave(cl);
    (void)tb_cl_action(cl, TB_CACT_CLOSE);
    cl->connected = false;
    cl->welcomed = false;
    cl->phase = TB_CPHASE_STOPPED;
    cl->due_ms = INT64_MAX;
}

static void lost(tb_client *cl)
{
    if (cl->has_sealed) {
        tb_cl_settle(cl, false);
        if (cl->welcomed) {
            tb_cl_next(cl); /* the round is offered and done again */
        }
    }
}

static void take(tb_client *cl, const tb_cevent *event)
{
    switch (event->kind) {
    case TB_CEV_TICK:
        if (cl->now >= cl->due_ms) {
            say_again(cl);
        }
        break;
    case TB_CEV_CONNECTED:
        cl->connected = true;
        hello(cl);
        break;
    case TB_CEV_DISCONNECTED: /* it comes back when we say so */
        hang_up(cl, backoff(cl));
        break;
    case TB_CEV_MESSAGE:
        if (cl->connected) {
            message(cl, event);
        }
        break;
    case TB_CEV_FOUND:
        tb_cl_found(cl, event);
        break;
    case TB_CEV_WORKED:
        tb_cl_worked(cl, event);
        break;
    case TB_CEV_LOST:
        lost(cl);
        break;
    case TB_CEV_STOP:
        stop(cl);
        break;
    case TB_CEV_KIND_END:
        cl->rc = tb_fail(cl->err, TB_E_BUG, "client: an event without a kind");
        break;
    }
}

tb_rc tb_client_step(tb_client *client, const tb_cevent *event, int64_t now_ms,
                     tb_cactions *out, tb_err *err)
{
    client->now = now_ms;
    client->out = out;
    client->err = err;
    client->rc = TB_OK;
    if (client->phase != TB_CPHASE_STOPPED) {
        take(client, event);
    }
    client->out = NULL;
    client->err = NULL;
    return client->rc;
}

int64_t tb_client_next_ms(const tb_client *client)
{
    return client->due_ms;
}

bool tb_client_sealed(const tb_client *client, tb_hash *config)
{
    if (client->has_sealed) {
        *config = client->sealed_for;
    }
    return client->has_sealed;
}

void tb_client_status_get(const tb_client *client, tb_client_status *out)
{
    *out = (tb_client_status){.phase = client->phase,
                              .connected = client->connected,
                              .n_receipts = client->n_receipts,
                              .n_refused = client->n_refused,
                              .blocks_sent = client->blocks_sent,
                              .last_refusal = client->last_refusal};
    if (client->has_round || client->has_sealed) {
        out->round = client->config->round;
        out->run = client->config->run;
    }
    memcpy(out->last_why, client->last_why, sizeof out->last_why);
    out->epoch = client->epoch;
    memcpy(out->epoch_note, client->epoch_note, sizeof out->epoch_note);
}
