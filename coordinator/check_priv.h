/* coordinator/check_priv.h - what the parts of a check share: check.c
 * (journal), check_files.c (keys, runs, blobs), check_spool.c, check_sums.c
 * (checkpoints), check_receipts.c (what clients hold). */
#ifndef TB_COORDINATOR_CHECK_PRIV_H
#define TB_COORDINATOR_CHECK_PRIV_H

#include "check.h"
#include "crypto/cert.h"
#include "crypto/keys.h"
#include "host/store.h"
#include "marks.h"

/* An update that the journal says was accepted. */
typedef struct tb_kept_update {
    tb_name client;
    tb_upload_id upload;
    tb_hash update;
    uint32_t n_blocks;
} tb_kept_update;

/* A round whose updates are, or were, in the spool. */
typedef struct tb_kept_round {
    tb_run_id run;
    tb_hash config;
    uint32_t round;
    tb_task task;
    bool open, closed;   /* closed: what counts in it is fixed */
    uint32_t n_accepted; /* also when the list was let go */
    /* Accepted, and not in a committed sum yet: they count in a round that
     * closes later, or in one that has closed. In an asynchronous run this
     * round itself may be over long since. */
    uint32_t n_waiting, n_closed;
    tb_kept_update *updates; /* owned */
    size_t n, cap;
} tb_kept_round;

/* The journal was restored here. */
typedef struct tb_check_epoch {
    uint32_t epoch;
    uint8_t id[TB_EPOCH_ID_BYTES];
    uint64_t row;
} tb_check_epoch;

typedef struct tb_checker {
    tb_check *out;
    tb_folder *folder;
    tb_store *store; /* NULL: it did not open */
    tb_blobs *blobs;
    tb_master_key *master; /* NULL: not there */
    bool in_use;           /* a daemon works in the folder */
    bool whole;            /* the journal was read to its end */
    tb_marks marks;
    tb_kept_round *rounds; /* owned; in the order of the journal */
    size_t n_rounds, cap_rounds;
    size_t n_settled; /* so many of the first rounds have nothing to sum */
    uint64_t n_acceptances;
    tb_check_epoch *epochs; /* owned; in the order of the journal */
    size_t n_epochs, cap_epochs;
    tb_certificate moved; /* of the last change of keys; zeros: none */
} tb_checker;

/* Adds a finding whose text is that of an error. Errors: NOMEM. */
tb_rc tb_check_add(tb_checker *c, tb_finding_kind kind, const tb_err *what,
                   const char *means, const char *mend, tb_err *err)
    TB_NONNULL(1, 3, 4, 5) TB_MUST_CHECK;

/* The parts. What is wrong is a finding. Errors: NOMEM. */
tb_rc tb_check_keys(tb_checker *c, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_check_runs(tb_checker *c, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_check_blobs(tb_checker *c, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_check_spool(tb_checker *c, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_check_sums(tb_checker *c, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Compares what clients hold with the journal (tb_check_options). Errors: also
 * NOT_FOUND: no client's state is there. */
tb_rc tb_check_receipts(tb_checker *c, const char *at, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Takes the next row into what receipts are held against: epochs, and the key
 * that signs. Errors: NOMEM. */
tb_rc tb_check_note_signer(tb_checker *c, const tb_record *record, uint64_t row,
                           tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Takes the next row into the list of rounds. Errors: NOMEM. */
tb_rc tb_check_note_round(tb_checker *c, const tb_record *record, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_check_free_rounds(tb_checker *c) TB_NONNULL(1);

/* Gives the code back when a look cannot go on after it (NOMEM), else TB_OK. */
tb_rc tb_check_fatal(tb_rc rc);

#endif
