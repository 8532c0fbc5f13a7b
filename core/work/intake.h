/* core/work/intake.h - where the updates of one round come together at the
 * coordinator: sealed blocks go to the spool, are opened in memory and added to
 * the exact sum at once. The upload orders of core/fed (event.h) are carried
 * out here; the daemon, the replay and the tests all call this.
 * Thread rule: any thread, several at a time, but one order of an upload at a
 * time; nobody may use the sum while orders run. */
#ifndef TB_WORK_INTAKE_H
#define TB_WORK_INTAKE_H

#include "crypto/keys.h"
#include "fed/event.h"
#include "fed/sum.h"
#include "host/spool.h"

typedef struct tb_intake tb_intake;

typedef struct tb_intake_options {
    const tb_round_config *config; /* copied */
    tb_hash hash;                  /* of its canonical bytes */
    uint32_t max_updates;          /* that the sum must have room for */
    tb_box_key *key;               /* of the run; borrowed, outlives it */
    tb_spool *spool;               /* taken: closed with the intake */
} tb_intake_options;

/* An empty sum beside a spool. *options->spool is taken only on TB_OK. Errors:
 * LIMIT, NOMEM. */
tb_rc tb_intake_new(tb_intake **out, const tb_intake_options *options,
                    tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Closes the spool, frees all and nulls *intake. NULL is fine. */
void tb_intake_free(tb_intake **intake) TB_NONNULL(1);

/* TB_ORDER_ADD_BLOCK: verdict->rc, refusal and weight are filled; sealed is
 * borrowed. Errors that are the client's come with a refusal. */
void tb_intake_add(tb_intake *intake, const tb_order *order,
                   const uint8_t *sealed, size_t len, tb_verdict *verdict)
    TB_NONNULL(1, 2, 3, 5);

/* TB_ORDER_END_UPLOAD. sign_key: of the order's client. */
void tb_intake_end(tb_intake *intake, const tb_order *order,
                   const uint8_t sign_key[static TB_SIGN_PUBLIC_BYTES],
                   tb_verdict *verdict) TB_NONNULL(1, 2, 3, 4);

/* TB_ORDER_DROP_UPLOAD. */
void tb_intake_drop(tb_intake *intake, const tb_order *order,
                    tb_verdict *verdict) TB_NONNULL(1, 2, 3);

/* TB_ORDER_ADD_STORED. */
void tb_intake_add_stored(tb_intake *intake, const tb_order *order,
                          tb_verdict *verdict) TB_NONNULL(1, 2, 3);

/* Borrowed. */
const tb_sum *tb_intake_sum(const tb_intake *intake) TB_NONNULL(1);
const tb_round_config *tb_intake_config(const tb_intake *intake) TB_NONNULL(1);

#endif
