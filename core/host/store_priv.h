/* core/host/store_priv.h - the inside of an open journal, for store.c and
 * store_check.c. */
#ifndef TB_HOST_STORE_PRIV_H
#define TB_HOST_STORE_PRIV_H

#include <sqlite3.h>

#include "host/head.h"
#include "host/store.h"

#define TB_STORE_APPLICATION_ID 1413633619 /* "TBJS" */
#define TB_STORE_USER_VERSION   1

/* What stands behind "CREATE TABLE [IF NOT EXISTS] ". */
#define TB_STORE_JOURNAL_SQL                                                   \
    "journal("                                                                 \
    " seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL,"                         \
    " body BLOB NOT NULL, chain BLOB NOT NULL)"
#define TB_STORE_ACCEPTANCE_SQL                                                \
    "acceptance("                                                              \
    " config BLOB NOT NULL, client TEXT NOT NULL, update_hash BLOB NOT NULL,"  \
    " PRIMARY KEY(config, client)) WITHOUT ROWID"

/* The statements that stay prepared. */
enum { BEGIN, COMMIT, ROLLBACK, INSERT, ACCEPT, LOOKUP, CHAIN, ROWS, N_SQL };

struct tb_store {
    char *path;
    char *head_path;
    sqlite3 *db;
    sqlite3_stmt *stmt[N_SQL];
    tb_head head; /* of what is durable */
    bool writer;
    bool broken; /* a sync failed: what the disk holds is not known */
};

/* What SQLite says went wrong last. */
tb_rc tb_store_fail(const tb_store *store, tb_err *err) TB_NONNULL(1);

#endif
