/* core/host/store.h - the journal: rows in order, each chained to the one
 * before by a hash, in SQLite (WAL, synchronous FULL), and the head of the
 * chain in a second synced file. What a row says is core/fed's matter. One
 * owner at a time; any number of readers in other processes. Formats:
 * docs/formats.md.
 *
 *   chain(0) = 32 zero bytes
 *   chain(n) = BLAKE2b-256(chain(n-1) | n u64le | kind u32le | body) */
#ifndef TB_HOST_STORE_H
#define TB_HOST_STORE_H

#include <stdbool.h>

#include "base/hash.h"
#include "host/folder.h"
#include "wire/name.h"

#define TB_STORE_BODY_BYTES_MAX (1u << 20)

typedef struct tb_store tb_store;

/* The key of an acceptance (round configuration and client) and its value. */
typedef struct tb_acceptance {
    tb_hash config;
    tb_name client;
    tb_hash update;
} tb_acceptance;

typedef enum tb_accepted {
    TB_ACCEPTED_NEW,  /* nothing accepted there yet */
    TB_ACCEPTED_SAME, /* this very update was */
    TB_ACCEPTED_OTHER /* another update was */
} tb_accepted;

typedef struct tb_row {
    uint64_t seq;  /* 1, 2, 3, ... without a gap */
    uint32_t kind; /* of the record */
    const uint8_t *body;
    size_t body_bytes;
    /* Append only: NULL, or the acceptance that this row records. */
    const tb_acceptance *acceptance;
} tb_row;

/* Opens the journal of a coordinator's folder, for writing if the folder is
 * locked by us, else for reading. For writing, every row and the head are
 * verified first. Errors: NOT_FOUND, MALFORMED (a row was changed: names it),
 * MISMATCH (rows that were acknowledged are gone: says which), IO, NOMEM. */
tb_rc tb_store_open(tb_store **out, const tb_folder *folder, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Closes it and nulls *store. NULL is fine. */
void tb_store_close(tb_store **store) TB_NONNULL(1);

/* Last durable row and the chain after it; seq 0 in an empty journal. */
uint64_t tb_store_head(const tb_store *store, tb_hash *chain) TB_NONNULL(1);

/* Appends n rows in one transaction; rows[0].seq must be head + 1. On TB_OK
 * they are durable (SQLite's WAL and the head file are both synced); otherwise
 * none is there. Errors: EXISTS (an acceptance that is not NEW), LIMIT (body),
 * BUG (seq), FULL, IO; after IO it is not known whether they are there, and the
 * store refuses to append: close it. */
tb_rc tb_store_append(tb_store *store, const tb_row *rows, size_t n,
                      tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether an update was accepted there. Errors: IO. */
tb_rc tb_store_accepted(tb_store *store, const tb_acceptance *what,
                        tb_accepted *out, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The chain after row seq. Errors: NOT_FOUND, IO. */
tb_rc tb_store_chain(tb_store *store, uint64_t seq, tb_hash *out, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Called for each row in order; row and body are valid during the call. A code
 * other than TB_OK ends the reading and is returned. */
typedef tb_rc tb_row_fn(void *arg, const tb_row *row, tb_err *err);

/* Reads one consistent state of the journal, verifies the chain from the first
 * row and the head, and calls fn for rows from first_seq on. When the daemon
 * appends at the same time, its new rows may or may not be seen. Errors: as
 * tb_store_open, and fn's own. */
tb_rc tb_store_read(tb_store *store, uint64_t first_seq, tb_row_fn *fn,
                    void *arg, tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

/* What tb_store_read does not look at: SQLite's own structure, the format's
 * numbers, the tables and how many acceptances there are. Errors: MALFORMED
 * (says what is wrong), MISMATCH (n_acceptances), IO, NOMEM. */
tb_rc tb_store_examine(tb_store *store, uint64_t n_acceptances, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* From here to tb_store_let_go every call sees the state of the first one. A
 * daemon may append; what it appends does not become a checkpoint. Errors: IO.
 */
tb_rc tb_store_hold(tb_store *store, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
void tb_store_let_go(tb_store *store) TB_NONNULL(1);

/* Reads the journal as tb_store_read from row 1, and writes what it read as a
 * new journal with its head into another folder; synced. A daemon may append
 * meanwhile. Errors: as tb_store_read, EXISTS, FULL. */
tb_rc tb_store_copy(tb_store *store, const tb_folder *to, tb_row_fn *fn,
                    void *arg, tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Looks at the file of the chain's head: both slots, and what lies between
 * them. Errors: MALFORMED (says which; a damaged older slot costs nothing),
 * NOT_FOUND, IO. */
tb_rc tb_store_check_head(const tb_folder *folder, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
