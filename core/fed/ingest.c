/* Uploads: credit from one pool, blocks in order, one order out for each.
 *
 * | an upload | its blocks               | waits for           | then         |
 * | --------- | ------------------------ | ------------------- | ------------ |
 * | (none)    |                          | BEGIN               | asks, when   |
 * |           |                          |                     | the spool may|
 * |           |                          |                     | hold some of |
 * |           |                          |                     | it; else live|
 * | asks      | none is known            | FIND_BLOCKS: n      | live: CREDIT |
 * |           |                          |                     | from block n |
 * | live      | [0, done) are in the sum,| ADD_BLOCK for each; | has its END: |
 * |           | [done, found) in the     | BLOCK for the rest, | END_UPLOAD   |
 * |           | spool, [.., received)    | within CREDIT; END  |              |
 * |           | held, [.., until) granted|                     |              |
 * | END_UPLOAD| all are in the sum       | its verdict         | accepted: row|
 * |           |                          |                     | and RECEIPT  |
 * | dropping  | [1, done) in the sum     | DROP_UPLOAD         | (none)       |
 *
 * A bad update expels its client from the round; whatever of an upload is in
 * the sum is subtracted (DROP_UPLOAD) before the round is summed up.
 *
 * No row speaks of an upload before it is accepted. What a restart has left of
 * one is a fact of the disk: its client begins it again, the spool is asked for
 * the blocks that lie there whole, and they go through the same orders as those
 * that come (hash, seal, values, sum), read from the spool instead of memory.
 * So a kill at any point of the table leads to a smaller n and the same bits:
 * a block that was torn is not found, one that was bad is refused again, and
 * when all are found only the END is missing. The pool counts none of them. */
#include <string.h>

#include "crypto/seal.h"
#include "fed/coordinator_priv.h"
#include "fed/update.h"

#define RESTART_MS 1 /* begin the exchange anew, at once */

static void end_trial(tb_coordinator *co, tb_upload *upload)
{
    co->n_trials -= upload->trial;
    upload->trial = false;
}

/* The pool counts the blocks [done, until) of each upload that were not found
 * in the spool. */
void tb_co_ungrant(tb_coordinator *co, tb_seat *seat)
{
    tb_upload *upload = &seat->upload;
    end_trial(co, upload);
    co->pool_blocks -= upload->until - upload->received;
    upload->until = upload->received;
}

/* Blocks from `keep` on are neither held nor granted any more. The payload of
 * one that is being added belongs to its order. */
void tb_co_trim(tb_coordinator *co, tb_upload *upload, uint32_t keep)
{
    uint32_t first = upload->done + tb_co_order_is(upload, TB_ORDER_ADD_BLOCK);
    first = first > upload->found ? first : upload->found;
    for (uint32_t b = first; b < upload->received; b++) {
        tb_co_discard(co, upload->held[b % TB_WINDOW_MAX].payload);
    }
    end_trial(co, upload);
    co->pool_blocks -=
        upload->until - (keep > upload->found ? keep : upload->found);
    upload->found = keep < upload->found ? keep : upload->found;
    upload->received = keep;
    upload->until = keep;
    upload->has_end = upload->has_end && keep == upload->ref.n_blocks;
}

void tb_co_forget_upload(tb_upload *upload)
{
    *upload = (tb_upload){0};
}

void tb_co_drop(tb_coordinator *co, tb_seat *seat)
{
    tb_upload *upload = &seat->upload;
    if (!upload->live || upload->dropping) {
        return;
    }
    tb_co_trim(co, upload,
               upload->done + tb_co_order_is(upload, TB_ORDER_ADD_BLOCK));
    upload->dropping = true;
    upload->retry_ms = 0;
    if (upload->order == 0 && upload->done == 0) {
        tb_co_forget_upload(upload);
    }
}

void tb_co_refuse_seat(tb_coordinator *co, const tb_seat *seat,
                       tb_msg_kind about, tb_refusal code, const char *why)
{
    tb_co_refuse(co, &seat->row->name, about, code, 0, why)->config =
        seat->config;
}

/* The client's update was bad: it is out of this round. Not while its update
 * is about to be accepted: then only this message is refused. */
void tb_co_expel(tb_coordinator *co, tb_seat *seat, tb_msg_kind about,
                 tb_refusal code, const char *why)
{
    if (tb_co_order_is(&seat->upload, TB_ORDER_END_UPLOAD) ||
        seat->upload.ended) {
        tb_co_refuse_seat(co, seat, about, code, why);
        return;
    }
    if (seat->flight && tb_co_find_known(co, &seat->config) != seat->run) {
        tb_co_land(co, seat); /* it has become too old in the meantime */
        return;
    }
    tb_record record = {.kind = TB_REC_EXPELLED,
                        .u.expelled = {.config = seat->config,
                                       .client = seat->row->name,
                                       .code = code}};
    (void)tb_co_journal(co, &record);
    tb_co_refuse_seat(co, seat, about, code, why);
    if (seat->flight) {
        tb_co_land(co, seat);
    } else {
        tb_co_drop(co, seat);
    }
}

static void restart(tb_coordinator *co, const tb_row *row, tb_msg_kind about,
                    const char *why)
{
    (void)tb_co_refuse(co, &row->name, about, TB_REFUSE_STATE, RESTART_MS, why);
}

static void credit(tb_coordinator *co, const tb_row *row,
                   const tb_upload *upload)
{
    tb_msg_credit *msg =
        &tb_co_send(co, &row->name, TB_MSG_CREDIT, 0)->u.credit;
    msg->upload = upload->ref.upload;
    msg->next = upload->received;
    msg->until = upload->until;
}

void tb_co_receipt(tb_coordinator *co, const tb_rec_accepted *of, uint64_t seq)
{
    tb_msg_receipt *msg =
        &tb_co_send(co, &of->client, TB_MSG_RECEIPT, seq)->u.receipt;
    msg->config = of->config;
    msg->update = of->update;
    msg->sequence = seq;
}

/* How many blocks the pool has for this seat. The idle share half of it, one
 * block each; and while half is granted, an upload that has not sent anything
 * begins with one: who sits on what it was granted keeps nobody else away. */
static uint32_t room(const tb_coordinator *co, const tb_seat *seat)
{
    uint32_t half = (co->pool_max + 1) / 2;
    uint32_t free_blocks = co->pool_max - co->pool_blocks;
    bool fresh = seat->upload.received == seat->upload.found;
    bool one = seat->idle || (fresh && co->pool_blocks >= half);
    if (seat->idle && co->n_trials >= half) {
        return 0;
    }
    return one && free_blocks > 1 ? 1 : free_blocks;
}

/* Grants what window and pool allow; true when something was granted. */
static bool grant(tb_coordinator *co, tb_seat *seat)
{
    tb_upload *upload = &seat->upload;
    uint32_t window = upload->done + co->params.window_blocks;
    uint32_t want =
        window < upload->ref.n_blocks ? window : upload->ref.n_blocks;
    if (!seat->row->connected || !upload->live || upload->asks ||
        upload->dropping || want <= upload->until || upload->trial) {
        return false;
    }
    uint32_t more = want - upload->until;
    uint32_t most = room(co, seat);
    bool less = more > most;
    more = less ? most : more;
    if (more > 0 && seat->idle) {
        upload->trial = true;
        co->n_trials++;
        seat->moved_ms = co->now; /* so long it has anew */
    }
    upload->until += more;
    co->pool_blocks += more;
    co->starving = co->starving || (less && co->pool_blocks == co->pool_max);
    return more > 0;
}

bool tb_co_grant(tb_coordinator *co, tb_seat *seat)
{
    bool granted = grant(co, seat);
    if (granted) {
        credit(co, seat->row, &seat->upload);
    }
    return granted;
}

static bool same_id(const tb_upload_id *a, const tb_upload_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* Why a round that is not known any more takes no update, or NULL: it never
 * was. */
static const char *past(const tb_coordinator *co, const tb_hash *config)
{
    uint32_t n = co->n_past < TB_PAST_ROUNDS ? co->n_past : TB_PAST_ROUNDS;
    for (uint32_t i = 0; i < n; i++) {
        if (tb_hash_equal(&co->past[i], config)) {
            return co->aged[i] ? "its model is more than max_staleness rounds "
                                 "old: check in for a new one"
                               : "this round is over";
        }
    }
    return NULL;
}

/* The same for a configuration of an asynchronous run. */
static tb_refusal flight_code(const tb_run *run, const tb_row *row,
                              const tb_hash *config, const char **why)
{
    uint32_t round = 0;
    const tb_taken *c = tb_co_taken(run, config, &row->name);
    if (c != NULL && c->state == TB_TAKEN_REFUSED) {
        *why = "your update of this round was refused";
        return c->code;
    }
    if (c != NULL) {
        *why = "another update of yours counts from this round";
        return TB_REFUSE_DUPLICATE;
    }
    if (tb_co_gate(run, &round) == TB_GATE_OVER) {
        *why = "the training of this run is over";
        return TB_REFUSE_LATE;
    }
    *why = "you have no part in this run";
    return tb_co_eligible(run, row) ? 0 : TB_REFUSE_NOT_SELECTED;
}

/* Why a BEGIN opens no upload, or 0. */
static tb_refusal begin_code(const tb_coordinator *co, const tb_row *row,
                             const tb_msg_upload_begin *msg, const char **why)
{
    const tb_seat *seat = row->seat;
    const tb_run *run = tb_co_find_known(co, &msg->config);
    if (run != NULL) {
        return flight_code(run, row, &msg->config, why);
    }
    if (row->last.n_blocks > 0 &&
        tb_hash_equal(&row->last.config, &msg->config)) {
        *why = "another update of yours counts in this round";
        return TB_REFUSE_DUPLICATE;
    }
    run = tb_co_find_round(co, &msg->config);
    if (run == NULL) {
        const char *late = past(co, &msg->config);
        *why = late != NULL ? late
               : co->epoch_row > 0
                   ? "this round is not open: the coordinator was restored "
                     "from a backup and knows none from the time after it"
                   : "this is not the configuration of an open round";
        return late != NULL ? TB_REFUSE_LATE : TB_REFUSE_WRONG_ROUND;
    }
    if (seat == NULL || seat->run != run ||
        (seat->state == TB_SEAT_OUT && seat->code == 0)) {
        *why = "you have no part in this round";
        return TB_REFUSE_NOT_SELECTED;
    }
    if (seat->state == TB_SEAT_OUT) {
        *why = "your update of this round was refused";
        return seat->code;
    }
    *why = "the round has closed";
    return run->phase != TB_PHASE_TRAINING ? TB_REFUSE_LATE : 0;
}

/* Sends the receipt of an upload that was accepted before. */
static bool known_already(tb_coordinator *co, const tb_row *row,
                          const tb_msg_upload_begin *msg)
{
    const tb_rec_accepted *of = &row->last;
    uint64_t seq = row->last_seq;
    const tb_run *run = tb_co_find_known(co, &msg->config);
    const tb_taken *c =
        run == NULL ? NULL : tb_co_taken(run, &msg->config, &row->name);
    if (c != NULL) {
        of = &c->record;
        seq = c->seq;
    }
    bool same = of->n_blocks > 0 && tb_hash_equal(&of->config, &msg->config) &&
                same_id(&of->upload, &msg->upload);
    if (same) {
        tb_co_receipt(co, of, seq);
    }
    return same;
}

/* The configuration that gives the sizes of a seat's update. */
static const tb_round_config *config_of(const tb_seat *seat)
{
    return seat->flight ? seat->run->async->config : seat->run->round.config;
}

static void refuse_full(tb_coordinator *co, const tb_row *row,
                        const tb_hash *config, const char *why)
{
    tb_co_refuse(co, &row->name, TB_MSG_UPLOAD_BEGIN, TB_REFUSE_FULL,
                 co->params.retry_ms, why)
        ->config = *config;
}

/* Gives a client that has an update of a known configuration its seat. False:
 * refused for now. */
static bool take_seat(tb_coordinator *co, tb_row *row, const tb_hash *config)
{
    tb_run *run = tb_co_find_known(co, config);
    if (run == NULL || tb_co_fly(co, run, row, config) != NULL) {
        return true;
    }
    if (row->seat != NULL && row->seat->flight) {
        tb_co_land(co, row->seat); /* with an older upload */
    }
    refuse_full(co, row, config, "an older upload is being dropped");
    return false;
}

/* Answers a BEGIN that opens no upload; true when it did. */
static bool begin_refused(tb_coordinator *co, tb_row *row,
                          const tb_msg_upload_begin *msg)
{
    if (known_already(co, row, msg)) {
        return true;
    }
    const char *why = NULL;
    tb_refusal code = begin_code(co, row, msg, &why);
    if (code != 0) {
        tb_co_refuse(co, &row->name, TB_MSG_UPLOAD_BEGIN, code, 0, why)
            ->config = msg->config;
        return true;
    }
    if (!take_seat(co, row, &msg->config)) {
        return true;
    }
    if (msg->n_blocks != tb_round_config_blocks(config_of(row->seat))) {
        tb_co_expel(co, row->seat, TB_MSG_UPLOAD_BEGIN, TB_REFUSE_SIZE,
                    "the number of blocks is wrong");
        return true;
    }
    return false;
}

/* Whether the spool may hold blocks of an upload that this life knows nothing
 * of: the round is older than this process, or the client was taken for lost
 * on its flight. To have them added again costs more than the message that asks
 * for it: only after some block has come is it done once more. */
static bool may_hold(const tb_coordinator *co, const tb_seat *seat)
{
    bool older = seat->flight || seat->run->round.seq <= co->replayed;
    return older && !seat->row->resumed;
}

static void open_upload(tb_coordinator *co, tb_seat *seat,
                        const tb_msg_upload_begin *msg)
{
    tb_upload *upload = &seat->upload;
    *upload = (tb_upload){.live = true,
                          .asks = may_hold(co, seat),
                          .ref = {.key = ++co->next_key,
                                  .config = msg->config,
                                  .client = seat->row->name,
                                  .upload = msg->upload,
                                  .n_blocks = msg->n_blocks}};
    memcpy(upload->ref.header, msg->header, sizeof msg->header);
    co->touched = seat;
}

void tb_co_upload_found(tb_coordinator *co, tb_seat *seat, uint32_t n_blocks)
{
    tb_upload *upload = &seat->upload;
    upload->asks = false;
    if (upload->dropping) {
        return;
    }
    uint32_t all = upload->ref.n_blocks;
    upload->found = n_blocks < all ? n_blocks : all;
    upload->received = upload->found;
    upload->until = upload->found;
    seat->row->resumed = upload->found > 0;
    if (seat->row->connected) {
        (void)grant(co, seat);
        credit(co, seat->row, upload);
    }
}

void tb_co_upload_begin(tb_coordinator *co, tb_row *row,
                        const tb_msg_upload_begin *msg)
{
    if (begin_refused(co, row, msg)) {
        return;
    }
    tb_seat *seat = row->seat;
    tb_upload *upload = &seat->upload;
    seat->state = TB_SEAT_TAKEN;
    bool other = upload->live && (!same_id(&upload->ref.upload, &msg->upload) ||
                                  memcmp(upload->ref.header, msg->header,
                                         sizeof msg->header) != 0);
    if (other) {
        tb_co_drop(co, seat);
    }
    if (upload->live && upload->dropping) {
        refuse_full(co, row, &msg->config, "an older upload is being dropped");
        return;
    }
    if (upload->live && upload->asks) {
        refuse_full(co, row, &msg->config,
                    "what is here of your update is being looked up");
        return;
    }
    if (!upload->live) {
        open_upload(co, seat, msg);
    }
    upload->has_end = upload->ended;
    if (!seat->began) {
        seat->began = true;
        seat->moved_ms = co->now;
    }
    if (upload->asks) {
        return; /* tb_co_upload_found answers */
    }
    if (!upload->trial) {
        tb_co_ungrant(co, seat);
        seat->idle = seat->idle || tb_co_stalled(co, seat);
    }
    (void)grant(co, seat);
    credit(co, row, upload);
}

/* The upload that a message means, or NULL after refusing it. */
static tb_upload *find(tb_coordinator *co, tb_row *row, tb_msg_kind about,
                       const tb_upload_id *id)
{
    tb_seat *seat = row->seat;
    if (seat != NULL && seat->upload.live && !seat->upload.dropping &&
        same_id(&seat->upload.ref.upload, id)) {
        return &seat->upload;
    }
    if (seat != NULL && seat->state == TB_SEAT_OUT && seat->code != 0) {
        tb_co_refuse_seat(co, seat, about, seat->code,
                          "your update of this round was refused");
    } else {
        restart(co, row, about, "there is no such upload: begin it again");
    }
    return NULL;
}

bool tb_co_block(tb_coordinator *co, tb_row *row, const tb_msg_block *msg,
                 uint64_t payload, size_t payload_bytes)
{
    tb_upload *upload = find(co, row, TB_MSG_BLOCK, &msg->upload);
    if (upload == NULL || msg->index < upload->received) {
        return false; /* a copy of one that is held is no fault */
    }
    if (msg->index > upload->received || msg->index >= upload->until) {
        restart(co, row, TB_MSG_BLOCK, "not the next block, or not granted");
        return false;
    }
    size_t want = tb_update_block_bytes(config_of(row->seat), msg->index);
    if (payload == 0 || payload_bytes != want + TB_SEAL_TAG_BYTES) {
        tb_co_expel(co, row->seat, TB_MSG_BLOCK, TB_REFUSE_SIZE,
                    "a block has the wrong length");
        return false;
    }
    upload->held[msg->index % TB_WINDOW_MAX] =
        (tb_held){payload, payload_bytes};
    upload->received++;
    end_trial(co, upload);
    row->seat->idle = false;
    row->seat->moved_ms = co->now;
    row->resumed = false;
    co->bytes_in += payload_bytes;
    return true;
}

void tb_co_upload_end(tb_coordinator *co, tb_row *row,
                      const tb_msg_upload_end *msg)
{
    const tb_rec_accepted *last = &row->last;
    if (last->n_blocks > 0 && same_id(&last->upload, &msg->upload)) {
        if (tb_hash_equal(&last->update, &msg->update)) {
            tb_co_receipt(co, &row->last, row->last_seq);
        } else {
            tb_co_refuse(co, &row->name, TB_MSG_UPLOAD_END, TB_REFUSE_DUPLICATE,
                         0, "another update of yours counts in this round")
                ->config = last->config;
        }
        return;
    }
    tb_upload *upload = find(co, row, TB_MSG_UPLOAD_END, &msg->upload);
    if (upload == NULL) {
        return;
    }
    if (upload->received < upload->ref.n_blocks) {
        restart(co, row, TB_MSG_UPLOAD_END, "blocks are missing");
        return;
    }
    if (!upload->has_end) {
        upload->has_end = true;
        upload->update = msg->update;
        memcpy(upload->signature, msg->signature, sizeof upload->signature);
    }
}
