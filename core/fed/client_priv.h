/* core/fed/client_priv.h - the inside of the client machine, for client.c
 * (doors and connection), client_round.c (a round) and client_state.c (what
 * survives a restart). */
#ifndef TB_FED_CLIENT_PRIV_H
#define TB_FED_CLIENT_PRIV_H

#include "fed/client.h"

struct tb_client {
    tb_client_params params;
    tb_cphase phase;
    bool connected, welcomed;
    int64_t due_ms;      /* when to act without being told */
    uint32_t tries;      /* to connect, since the last WELCOME */
    uint64_t spread_ms;  /* of the fleet, as the last WELCOME said */
    uint32_t unanswered; /* times that something was said again */
    uint32_t restarts;   /* sessions begun anew since something went well */

    bool has_round;          /* an offer was accepted */
    tb_round_config *config; /* owned; of that round */
    tb_hash hash;            /* of it */
    tb_fetch fetch;
    bool finding;      /* FIND was not answered */
    bool working;      /* WORK was not answered */
    bool unwanted;     /* ... and its result goes to waste */
    tb_hash work;      /* round that WORK is about */
    uint32_t failures; /* of WORK, in this round */

    bool has_sealed;
    tb_hash sealed_for; /* its round */
    tb_sealed sealed;
    uint32_t sent, until;   /* blocks sent, blocks granted */
    tb_msg_receipt receipt; /* the last one; sequence 0: none */

    uint32_t epoch; /* newest that an offer was of */
    uint8_t epoch_id[TB_EPOCH_ID_BYTES];
    char epoch_note[TB_TEXT_BYTES]; /* what a restore meant for this client */

    uint64_t n_receipts, n_refused, blocks_sent;
    tb_refusal last_refusal;
    char last_why[TB_TEXT_BYTES];

    /* of the step that runs; the first failure sticks */
    tb_cactions *out;
    tb_err *err;
    tb_rc rc;
    int64_t now;
    tb_caction no_action; /* what a failed step writes to */
    tb_msg no_msg;
};

/* client.c: what goes out; never NULL. */
tb_caction *tb_cl_action(tb_client *cl, tb_caction_kind kind) TB_NONNULL(1);
tb_msg *tb_cl_send(tb_client *cl, tb_msg_kind kind) TB_NONNULL(1);
/* Counts a refusal, by the coordinator or by this machine. */
void tb_cl_count(tb_client *cl, tb_refusal code, const char *why)
    TB_NONNULL(1, 3);
/* Acts again after ms. */
void tb_cl_wait(tb_client *cl, tb_cphase phase, uint64_t ms) TB_NONNULL(1);
/* What to do next in a session that stands. */
void tb_cl_next(tb_client *cl) TB_NONNULL(1);
/* Begins the session anew, with HELLO, after a pause. */
void tb_cl_restart(tb_client *cl, uint64_t ms) TB_NONNULL(1);

/* client_round.c */
void tb_cl_offer(tb_client *cl, const tb_msg_offer *offer, bool genuine)
    TB_NONNULL(1, 2);
void tb_cl_found(tb_client *cl, const tb_cevent *event) TB_NONNULL(1, 2);
void tb_cl_chunk(tb_client *cl, const tb_msg_chunk *chunk, size_t bytes)
    TB_NONNULL(1, 2);
void tb_cl_worked(tb_client *cl, const tb_cevent *event) TB_NONNULL(1, 2);
void tb_cl_begin(tb_client *cl) TB_NONNULL(1);
void tb_cl_credit(tb_client *cl, const tb_msg_credit *credit) TB_NONNULL(1, 2);
void tb_cl_receipt(tb_client *cl, const tb_msg_receipt *receipt, bool genuine)
    TB_NONNULL(1, 2);
/* The sealed update is of no use any more. */
void tb_cl_settle(tb_client *cl, bool accepted) TB_NONNULL(1);
/* Gives the round up, and says why to the coordinator. */
void tb_cl_decline(tb_client *cl, const char *why) TB_NONNULL(1, 2);
/* Leaves the round without a word; a WORK that runs goes to waste. */
void tb_cl_leave(tb_client *cl) TB_NONNULL(1);
/* The model is asked for again, or the work is begun again. */
void tb_cl_fetch_again(tb_client *cl) TB_NONNULL(1);

/* client_state.c. "TBCS" | version u32le = 1 | flags u32le (1: a sealed
 * update, 2: a receipt) | round's config hash 32 | upload id 16 | header 64 |
 * n_blocks u32le | update hash 32 | signature 64 | receipt: config 32, update
 * 32, sequence u64le, head 32, signature 64 | epoch u32le | epoch id 16 |
 * BLAKE2b-256 of all before it. */
size_t tb_cl_state_encode(const tb_client *cl,
                          uint8_t out[static TB_CLIENT_STATE_BYTES_MAX])
    TB_NONNULL(1, 2);
tb_rc tb_cl_state_decode(tb_client *cl, const uint8_t *bytes, size_t len,
                         tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
