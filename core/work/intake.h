/* core/work/intake.h - where the updates of one round come together at the
 * coordinator: sealed blocks go to the spool, are opened in memory and added to
 * the exact sum at once. The upload orders of core/fed (event.h) are carried
 * out here; the daemon, the replay and the tests all call this. An intake
 * without a sum takes in what will be added to another one's, of an
 * asynchronous run.
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
    uint32_t max_updates;          /* that the sum must have room for; 0: no
                                    * sum */
    tb_box_key *key;               /* of the run; borrowed, outlives it */
    tb_spool *spool;               /* taken: closed with the intake */
} tb_intake_options;

/* An empty sum, or none, beside a spool. *options->spool is taken only on
 * TB_OK. Errors: LIMIT, NOMEM. */
tb_rc tb_intake_new(tb_intake **out, const tb_intake_options *options,
                    tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Closes the spool, frees all and nulls *intake. NULL is fine. */
void tb_intake_free(tb_intake **intake) TB_NONNULL(1);

/* Gives an intake that has no sum an empty one, and frees it again; no order
 * that uses it may run. Errors: LIMIT, NOMEM. */
tb_rc tb_intake_open_sum(tb_intake *intake, uint32_t max_updates, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
void tb_intake_close_sum(tb_intake *intake) TB_NONNULL(1);

/* TB_ORDER_FIND_BLOCKS: verdict->rc and n_blocks are filled. */
void tb_intake_find(tb_intake *intake, const tb_order *order,
                    tb_verdict *verdict) TB_NONNULL(1, 2, 3);

/* TB_ORDER_ADD_BLOCK: verdict->rc, refusal and weight are filled; sealed is
 * borrowed. Errors that are the client's come with a refusal. */
void tb_intake_add(tb_intake *intake, const tb_order *order,
                   const uint8_t *sealed, size_t len, tb_verdict *verdict)
    TB_NONNULL(1, 2, 3, 5);

/* The same of a block that lies in the spool. */
void tb_intake_add_found(tb_intake *intake, const tb_order *order,
                         tb_verdict *verdict) TB_NONNULL(1, 2, 3);

/* TB_ORDER_END_UPLOAD. sign_key: of the order's client. */
void tb_intake_end(tb_intake *intake, const tb_order *order,
                   const uint8_t sign_key[static TB_SIGN_PUBLIC_BYTES],
                   tb_verdict *verdict) TB_NONNULL(1, 2, 3, 4);

/* TB_ORDER_DROP_UPLOAD. */
void tb_intake_drop(tb_intake *intake, const tb_order *order,
                    tb_verdict *verdict) TB_NONNULL(1, 2, 3);

/* TB_ORDER_ADD_STORED: from the spool of one intake to the sum of another, or
 * of the same; both are rounds of one run. */
void tb_intake_add_stored(tb_intake *intake, tb_intake *into,
                          const tb_order *order, tb_verdict *verdict)
    TB_NONNULL(1, 2, 3, 4);

/* TB_ORDER_DROP_STORED: the reverse. One that failed for want of something goes
 * on where it stopped, under the same key. */
void tb_intake_drop_stored(tb_intake *intake, tb_intake *into,
                           const tb_order *order, tb_verdict *verdict)
    TB_NONNULL(1, 2, 3, 4);

/* An update that the sum has in it. */
typedef struct tb_counted {
    tb_name client;
    tb_upload_id upload;
    tb_hash update;
    uint32_t weight, full;
} tb_counted;

/* Those of this sum, *n of them, borrowed until the next order. */
const tb_counted *tb_intake_counted(const tb_intake *intake, size_t *n)
    TB_NONNULL(1, 2);

/* Takes back what uploads that have not ended added, and forgets them: the sum
 * is then that of the counted ones. No order may run. Errors: BUSY (a drop of a
 * counted one waits to go on), as TB_ORDER_DROP_UPLOAD; then it can be tried
 * again. */
tb_rc tb_intake_settle(tb_intake *intake, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Says that the sum, whose values the caller has put in, has these updates in
 * it; TB_ORDER_ADD_STORED of one of them adds nothing then. No order may run,
 * and nothing may be counted. Errors: LIMIT, NOMEM; the sum is empty then. */
tb_rc tb_intake_restore(tb_intake *intake, const tb_counted *counted, size_t n,
                        tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Borrowed; the sum is NULL when there is none. */
tb_sum *tb_intake_sum_edit(tb_intake *intake) TB_NONNULL(1);
const tb_sum *tb_intake_sum(const tb_intake *intake) TB_NONNULL(1);
const tb_round_config *tb_intake_config(const tb_intake *intake) TB_NONNULL(1);

#endif
