/* One round of a client: offer, model, work, upload, receipt. */
#include <stdio.h>
#include <string.h>

#include "fed/client_priv.h"
#include "fed/codec.h"

#define FAILURES_MAX 3

static bool same_hash(const tb_hash *a, const tb_hash *b)
{
    return tb_hash_equal(a, b);
}

void tb_cl_leave(tb_client *cl)
{
    cl->has_round = false;
    cl->finding = false;
    if (cl->working && !cl->unwanted) {
        cl->unwanted = true;
        tb_cl_action(cl, TB_CACT_WORK_STOP)->config = cl->work;
    }
}

/* What this machine could not do, as the last thing that went wrong; no
 * refusal's code belongs to it. */
static void note(tb_client *cl, const char *what, const char *why)
{
    cl->last_refusal = 0;
    (void)snprintf(cl->last_why, sizeof cl->last_why, "%s: %.200s", what, why);
}

void tb_cl_decline(tb_client *cl, const char *why)
{
    tb_msg_answer *answer = &tb_cl_send(cl, TB_MSG_DECLINE)->u.answer;
    answer->config = cl->hash;
    (void)snprintf(answer->why, sizeof answer->why, "%s", why);
    note(cl, "declined", why);
    tb_cl_leave(cl);
    tb_cl_wait(cl, TB_CPHASE_WAITING, cl->params.answer_ms);
}

/* Why this client cannot take the round, or NULL. */
static const char *objection(const tb_client *cl, const tb_round_config *c)
{
    if (!tb_hash_equal(&c->federation, &cl->params.federation)) {
        return "the round is of another federation";
    }
    if (tb_codec_find(c->codec.text) == NULL) {
        return "the codec of the round is not known here";
    }
    for (uint32_t i = 0; i < cl->params.n_data_sets; i++) {
        if (tb_name_equal(&cl->params.data_sets[i], &c->data_set)) {
            return NULL;
        }
    }
    return "the data set of the round is not offered here";
}

static void save(tb_client *cl);

/* A coordinator that was restored from a backup knows nothing of the time after
 * it: what it acknowledged then is gone, and this client goes on with it. One
 * of an older epoch is a copy that was left running: no round of it counts.
 * False: declined. */
static bool same_epoch(tb_client *cl, const tb_round_config *c)
{
    char why[TB_TEXT_BYTES];
    if (c->epoch < cl->epoch) {
        (void)snprintf(why, sizeof why,
                       "this coordinator is of epoch %u, another one of epoch "
                       "%u was restored since: stop the old copy, or restore "
                       "it with --epoch %u",
                       c->epoch, cl->epoch, cl->epoch + 1);
        tb_cl_decline(cl, why);
        return false;
    }
    if (c->epoch == cl->epoch &&
        memcmp(c->epoch_id, cl->epoch_id, sizeof cl->epoch_id) == 0) {
        return true;
    }
    bool lost = cl->receipt.sequence >= c->epoch_row;
    (void)snprintf(cl->epoch_note, sizeof cl->epoch_note,
                   "restored from a backup (epoch %u, from row %llu on)%s",
                   c->epoch, (unsigned long long)c->epoch_row,
                   lost ? ": it has lost the update that it acknowledged to "
                          "this client last"
                        : "");
    cl->epoch = c->epoch;
    memcpy(cl->epoch_id, c->epoch_id, sizeof cl->epoch_id);
    if (lost) {
        cl->receipt = (tb_msg_receipt){0}; /* nobody will honour it */
    }
    save(cl);
    return true;
}

static void find_model(tb_client *cl)
{
    cl->finding = true;
    tb_caction *action = tb_cl_action(cl, TB_CACT_FIND);
    action->config = cl->hash;
    action->blob = cl->config->model_stored;
    tb_cl_wait(cl, TB_CPHASE_FETCHING, cl->params.answer_ms);
}

static void accept(tb_client *cl)
{
    tb_cl_send(cl, TB_MSG_ACCEPT)->u.answer.config = cl->hash;
}

void tb_cl_offer(tb_client *cl, const tb_msg_offer *offer, bool genuine)
{
    tb_hash hash = tb_hash_of(offer->config.data, offer->config.len);
    if (!genuine) {
        tb_cl_count(cl, TB_REFUSE_IDENTITY,
                    "an offer was not signed by the coordinator");
        return;
    }
    bool known = (cl->has_round && same_hash(&hash, &cl->hash)) ||
                 (cl->has_sealed && same_hash(&hash, &cl->sealed_for));
    if (known && !cl->has_sealed) {
        accept(cl); /* it was lost, or the offer came twice */
        return;
    }
    if (cl->has_sealed || cl->working) {
        tb_cl_leave(cl); /* asked again when this is settled */
        return;
    }
    tb_err err = {0};
    tb_rc rc = tb_round_config_decode(cl->config, offer->config.data,
                                      offer->config.len, &err);
    tb_cl_leave(cl);
    if (rc == TB_E_NOMEM) {
        cl->rc = tb_fail(cl->err, rc, "client: an offer");
        return;
    }
    if (rc != TB_OK) {
        tb_cl_count(cl, TB_REFUSE_MALFORMED, err.text);
        return;
    }
    cl->hash = hash;
    cl->restarts = 0;
    cl->failures = 0;
    const char *why = objection(cl, cl->config);
    if (why != NULL) {
        tb_cl_decline(cl, why);
        return;
    }
    if (!same_epoch(cl, cl->config)) {
        return;
    }
    cl->has_round = true;
    accept(cl);
    find_model(cl);
}

static void work(tb_client *cl)
{
    cl->working = true;
    cl->unwanted = false;
    cl->work = cl->hash;
    tb_caction *action = tb_cl_action(cl, TB_CACT_WORK);
    action->config = cl->hash;
    action->round = cl->config;
    cl->phase = TB_CPHASE_WORKING;
    cl->due_ms = INT64_MAX;
}

/* Asks for as much as the window takes. */
static void ask(tb_client *cl)
{
    tb_msg msg;
    while (tb_fetch_next(&cl->fetch, &msg)) {
        tb_cl_send(cl, TB_MSG_FETCH)->u.fetch = msg.u.fetch;
    }
    tb_cl_wait(cl, TB_CPHASE_FETCHING, cl->params.answer_ms);
}

void tb_cl_found(tb_client *cl, const tb_cevent *event)
{
    bool mine = cl->finding && same_hash(&event->config, &cl->hash);
    if (!mine) {
        return;
    }
    cl->finding = false;
    uint64_t total = cl->config->model_stored_bytes;
    uint64_t have = event->have <= total ? event->have : 0;
    tb_fetch_init(&cl->fetch, &cl->config->model_stored, total, have,
                  cl->params.window_bytes);
    if (tb_fetch_done(&cl->fetch)) {
        work(cl);
    } else if (cl->welcomed) {
        ask(cl);
    }
}

void tb_cl_chunk(tb_client *cl, const tb_msg_chunk *chunk, size_t bytes)
{
    bool fetching =
        cl->phase == TB_CPHASE_FETCHING && cl->has_round && !cl->finding;
    if (!fetching || !tb_fetch_take(&cl->fetch, chunk, bytes)) {
        return;
    }
    tb_caction *action = tb_cl_action(cl, TB_CACT_STORE);
    action->blob = chunk->blob;
    action->offset = chunk->offset;
    if (tb_fetch_done(&cl->fetch)) {
        work(cl);
    } else {
        ask(cl);
    }
}

void tb_cl_fetch_again(tb_client *cl)
{
    if (cl->finding) {
        find_model(cl);
    } else if (tb_fetch_done(&cl->fetch)) {
        work(cl);
    } else {
        tb_fetch_again(&cl->fetch);
        ask(cl);
    }
}

static void save(tb_client *cl)
{
    tb_caction *action = tb_cl_action(cl, TB_CACT_SAVE);
    action->n_bytes = tb_cl_state_encode(cl, action->bytes);
}

void tb_cl_settle(tb_client *cl, bool accepted)
{
    tb_caction *action = tb_cl_action(cl, TB_CACT_SETTLE);
    action->config = cl->sealed_for;
    action->accepted = accepted;
    cl->has_sealed = false;
    save(cl);
}

static void work_failed(tb_client *cl, const tb_cevent *event)
{
    const char *why = event->why != NULL ? event->why : tb_rc_name(event->rc);
    if (!cl->welcomed) {
        tb_cl_leave(cl); /* the round is offered again, or over */
        return;
    }
    bool host = tb_rc_fault(event->rc) == TB_FAULT_HOST;
    bool model = event->rc == TB_E_NOT_FOUND || event->rc == TB_E_MISMATCH ||
                 event->rc == TB_E_MALFORMED;
    cl->failures++;
    if ((!host && !model) || cl->failures >= FAILURES_MAX) {
        tb_cl_decline(cl, why);
        return;
    }
    note(cl, "failed, and is tried again", why);
    if (model) {
        find_model(cl);
    } else {
        tb_cl_wait(cl, TB_CPHASE_FETCHING, cl->params.answer_ms);
    }
}

void tb_cl_worked(tb_client *cl, const tb_cevent *event)
{
    bool wanted = cl->working && !cl->unwanted && cl->has_round &&
                  same_hash(&event->config, &cl->hash);
    cl->working = false;
    if (wanted && event->rc == TB_OK) {
        cl->has_round = false;
        cl->has_sealed = true;
        cl->sealed_for = event->config;
        cl->sealed = event->sealed;
        save(cl);
    } else if (wanted) {
        work_failed(cl, event);
        return;
    } else if (event->rc == TB_OK) {
        tb_caction *action = tb_cl_action(cl, TB_CACT_SETTLE);
        action->config = event->config;
        action->accepted = false;
    }
    if (cl->welcomed) {
        tb_cl_next(cl);
    }
}

void tb_cl_begin(tb_client *cl)
{
    tb_msg_upload_begin *begin =
        &tb_cl_send(cl, TB_MSG_UPLOAD_BEGIN)->u.upload_begin;
    begin->config = cl->sealed_for;
    begin->upload = cl->sealed.upload;
    begin->n_blocks = cl->sealed.n_blocks;
    memcpy(begin->header, cl->sealed.header, sizeof begin->header);
    tb_cl_wait(cl, TB_CPHASE_BEGINNING, cl->params.answer_ms);
}

/* Sends what is granted, and the end behind the last block. */
static void send_blocks(tb_client *cl)
{
    for (; cl->sent < cl->until; cl->sent++) {
        tb_caction *action = tb_cl_action(cl, TB_CACT_BLOCK);
        action->config = cl->sealed_for;
        action->upload = cl->sealed.upload;
        action->index = cl->sent;
        cl->blocks_sent++;
    }
    tb_cl_wait(cl, TB_CPHASE_UPLOADING, cl->params.answer_ms);
    if (cl->sent == cl->sealed.n_blocks) {
        tb_msg_upload_end *end =
            &tb_cl_send(cl, TB_MSG_UPLOAD_END)->u.upload_end;
        end->upload = cl->sealed.upload;
        end->update = cl->sealed.update;
        memcpy(end->signature, cl->sealed.signature, sizeof end->signature);
        cl->phase = TB_CPHASE_ENDING;
    }
}

void tb_cl_credit(tb_client *cl, const tb_msg_credit *credit)
{
    if (!cl->has_sealed ||
        memcmp(credit->upload.bytes, cl->sealed.upload.bytes,
               TB_UPLOAD_ID_BYTES) != 0 ||
        credit->until > cl->sealed.n_blocks || credit->next > credit->until) {
        return;
    }
    if (cl->phase == TB_CPHASE_BEGINNING) {
        cl->sent = credit->next;
        cl->until = credit->until;
        send_blocks(cl);
    } else if (cl->phase == TB_CPHASE_UPLOADING) {
        cl->until = credit->until > cl->until ? credit->until : cl->until;
        send_blocks(cl);
    } else if (cl->phase == TB_CPHASE_ENDING) {
        tb_cl_wait(cl, TB_CPHASE_ENDING, cl->params.answer_ms);
    }
}

void tb_cl_receipt(tb_client *cl, const tb_msg_receipt *receipt, bool genuine)
{
    if (!genuine) {
        tb_cl_count(cl, TB_REFUSE_IDENTITY,
                    "a receipt was not signed by the coordinator");
        return;
    }
    if (!cl->has_sealed || !same_hash(&receipt->config, &cl->sealed_for) ||
        !same_hash(&receipt->update, &cl->sealed.update)) {
        return; /* of an older round */
    }
    cl->receipt = *receipt;
    cl->n_receipts++;
    cl->restarts = 0;
    tb_cl_settle(cl, true);
    if (cl->welcomed) {
        tb_cl_next(cl);
    }
}
