/* core/work/intake_priv.h - the inside of an intake, for its own files:
 * intake.c (doors, updates as they come) and intake_stored.c (updates that lie
 * in the spool). */
#ifndef TB_WORK_INTAKE_PRIV_H
#define TB_WORK_INTAKE_PRIV_H

#include <pthread.h>

#include "crypto/seal.h"
#include "fed/update.h"
#include "work/intake.h"

#define TB_UPLOAD_LISTS 256 /* a cohort may have begun at one time */

/* An upload that has begun and not ended. */
typedef struct tb_in_upload {
    struct tb_in_upload *next;
    uint64_t key; /* of tb_upload_ref */
    tb_upload_id id;
    bool deferred;         /* adds to no sum yet */
    bool counted;          /* is being taken out of the sum again */
    uint32_t weight, full; /* as its values were added */
    uint32_t n_added;      /* blocks, the head among them */
    tb_opener *opener;
    uint32_t n_undone; /* value blocks, from the first, taken back already */
    tb_update_hasher hasher;
} tb_in_upload;

/* Memory that one order works in. */
typedef struct tb_in_scratch {
    struct tb_in_scratch *next;
    float values[TB_BLOCK_VALUES];
    uint8_t plain[TB_BLOCK_BYTES_MAX];
    tb_buf sealed; /* a block read back from the spool */
} tb_in_scratch;

struct tb_intake {
    tb_round_config config;
    tb_hash hash;
    tb_box_key *key; /* borrowed */
    pthread_mutex_t list_lock;
    tb_in_upload *uploads[TB_UPLOAD_LISTS]; /* by key */
    tb_in_scratch *idle; /* as many as ever worked at one time */
    pthread_mutex_t spool_lock;
    pthread_cond_t flushed; /* a flush of the spool has ended */
    bool flushing;
    tb_spool *spool;
    pthread_mutex_t sum_lock;
    tb_sum *sum;
    tb_counted *counted; /* [n_counted], owned: what is in the sum */
    size_t n_counted, cap_counted;
    size_t n_restored; /* of them, the first: they came with a checkpoint */
    uint32_t *slots; /* owned [n_slots], of those by update: place + 1, or 0 */
    size_t n_slots;  /* a power of two, at least twice n_restored */
};

/* One order being carried out, and what went wrong with it. */
typedef struct tb_in_turn {
    tb_intake *in;
    tb_intake *into; /* whose sum; NULL: deferred */
    tb_in_upload *u;
    tb_in_scratch *s;
    uint32_t weight, full; /* in the sum */
    uint32_t samples;      /* that the head told */
    tb_refusal refusal;    /* 0: not the client's fault */
    tb_err err;
} tb_in_turn;

/* Memory to work in; NULL: there is none. It is given back. */
tb_in_scratch *tb_in_take_scratch(tb_intake *in) TB_NONNULL(1);
void tb_in_give_scratch(tb_intake *in, tb_in_scratch *s) TB_NONNULL(1, 2);

/* The upload that has begun under this key, or NULL. */
tb_in_upload *tb_in_find_upload(tb_intake *in, uint64_t key) TB_NONNULL(1);
void tb_in_forget_upload(tb_intake *in, uint64_t key) TB_NONNULL(1);
/* A fresh upload of this key, in place of one that had begun. Errors: of
 * tb_opener_new. */
tb_rc tb_in_begin_upload(tb_intake *in, const tb_upload_ref *ref,
                         const uint8_t *header, tb_in_upload **out, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Whether what the spool has under an id is the client's very upload. */
bool tb_in_is_same(const tb_spool_upload *head, const tb_upload_ref *ref)
    TB_NONNULL(1, 2);

/* Begins to carry an order out: into its own sum, or deferred. It ends in each
 * case, with what came of it. Errors: NOMEM. */
tb_rc tb_in_begin_turn(tb_in_turn *t, tb_intake *in, const tb_order *order)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
void tb_in_end_turn(tb_in_turn *t, tb_rc rc, tb_verdict *verdict)
    TB_NONNULL(1, 3);

/* The upload that a block goes to; index 0 begins it. Errors: with a refusal
 * those of the client. */
tb_rc tb_in_take_upload(tb_in_turn *t, const tb_order *order)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Where the values of an update go. */
tb_update_sink tb_in_sink_of(const tb_in_turn *t) TB_NONNULL(1);
/* Opens a sealed block and adds what is in it; index 0 tells the samples.
 * Errors: with a refusal those of the client. */
tb_rc tb_in_open_and_add(tb_in_turn *t, uint32_t index,
                         const tb_spool_block *block)
    TB_NONNULL(1, 3) TB_MUST_CHECK;
/* Whether header and blocks make this hash; it can be asked again. Errors:
 * MISMATCH. */
tb_rc tb_in_check_hash(tb_in_turn *t, const tb_hash *update)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Room for n names in the list of what is in the sum. Errors: NOMEM. */
tb_rc tb_in_grow_counted(tb_intake *in, size_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
/* Counts the order's update in the sum, if it has one. Errors: LIMIT, NOMEM. */
tb_rc tb_in_count(tb_in_turn *t, const tb_order *order)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
