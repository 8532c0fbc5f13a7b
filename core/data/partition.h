/* core/data/partition.h - who gets which rows: seeded splits of a dataset over
 * clients, and the rows held out before. The same options give the same rows
 * on every machine. Knows nothing of files. */
#ifndef TB_DATA_PARTITION_H
#define TB_DATA_PARTITION_H

#include "data/dataset.h"

#define TB_PARTITION_MAX_CLIENTS ((size_t)1 << 20)
#define TB_PARTITION_NAME_BYTES  32

typedef enum tb_partition_kind {
    TB_PARTITION_IID,       /* shuffle, then near-equal parts */
    TB_PARTITION_DIRICHLET, /* per class, shares ~ Dirichlet(alpha) */
    TB_PARTITION_SHARDS     /* sorted by label, k shards a client */
} tb_partition_kind;

typedef struct tb_partition_options {
    tb_partition_kind kind;
    size_t n_clients;
    double alpha;    /* DIRICHLET: > 0; small is skewed */
    size_t n_shards; /* SHARDS: shards a client, >= 1 */
    size_t min_rows; /* DIRICHLET: no client has fewer; 0 allows none */
    uint64_t seed;
} tb_partition_options;

/* Lists of rows, all behind each other. Read only. */
typedef struct tb_partition {
    size_t n_clients;
    size_t n_rows;
    size_t *first; /* [n_clients + 1]; client c: rows[first[c] .. first[c+1]) */
    uint32_t *rows; /* [n_rows], ascending within a client */
} tb_partition;

/* Splits all rows of ds: each row goes to exactly one client.
 * IID: a seeded shuffle cut into parts that differ by one row at most.
 * DIRICHLET: the rows of each class, shuffled, are cut by shares drawn from
 *   Dirichlet(alpha, ..., alpha) over the clients (Yurochkin et al. 2019,
 *   after Hsu et al. 2019; the usual "by label" split); a client left with
 *   fewer than min_rows is filled up from the largest ones, which never sink
 *   below the mean for it.
 * SHARDS: rows sorted by label, cut into n_clients * n_shards equal shards,
 *   dealt at random (McMahan et al. 2017, section 3).
 * Errors: USAGE (an option out of range, fewer rows than clients need, no
 * class labels), NOMEM. */
tb_rc tb_partition_new(tb_partition **out, const tb_dataset *ds,
                       const tb_partition_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Takes n_held of ds's rows out, spread over the classes in proportion (exact
 * to one row; plain random when there are no classes), chosen by the seed. The
 * result has two "clients": 0 the rest, 1 the held-out rows. Errors: USAGE
 * (n_held over the rows there are), NOMEM. */
tb_rc tb_partition_hold_out(tb_partition **out, const tb_dataset *ds,
                            size_t n_held, uint64_t seed, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Nulls *p; NULL is fine. */
void tb_partition_free(tb_partition **p) TB_NONNULL(1);

/* Rows of one client, borrowed; *n gets their number. */
const uint32_t *tb_partition_rows(const tb_partition *p, size_t client,
                                  size_t *n) TB_NONNULL(1, 3);

/* The name that seeds a client's streams: "client-00", "client-01", ... with
 * as many digits as the last one needs, two at least. */
void tb_partition_name(size_t n_clients, size_t client,
                       char out[static TB_PARTITION_NAME_BYTES]);

/* "iid", "dirichlet", "shards" and back; -1 for another text. */
const char *tb_partition_kind_name(tb_partition_kind kind);
int tb_partition_kind_of(const char *name) TB_NONNULL(1);

#endif
