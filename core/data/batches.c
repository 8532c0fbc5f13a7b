#include "data/batches.h"

#include "base/mem.h"

struct tb_batches {
    tb_stream stream;
    size_t n_rows;
    size_t batch_rows;
    size_t at;       /* rows of this epoch already given */
    uint32_t *order; /* [n_rows] */
};

tb_rc tb_batches_new(tb_batches **out, size_t n_rows, size_t batch_rows,
                     uint64_t seed, uint32_t round, const char *client,
                     tb_err *err)
{
    *out = NULL;
    if (n_rows == 0 || n_rows > UINT32_MAX || batch_rows == 0) {
        return tb_fail(err, TB_E_USAGE,
                       "batches of %zu over %zu rows: both must be at least 1",
                       batch_rows, n_rows);
    }
    tb_rc rc = TB_OK;
    tb_batches *b = tb_mem_array(1, sizeof *b);
    if (b == NULL ||
        (b->order = tb_mem_array(n_rows, sizeof *b->order)) == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "batches of %zu rows", n_rows);
        goto done;
    }
    for (size_t i = 0; i < n_rows; i++) {
        b->order[i] = (uint32_t)i;
    }
    b->n_rows = n_rows;
    b->batch_rows = batch_rows;
    tb_stream_init(&b->stream, seed, round, "batches", client);
    *out = b;
    b = NULL;
done:
    tb_batches_free(&b);
    return rc;
}

void tb_batches_free(tb_batches **b)
{
    if (*b != NULL) {
        tb_mem_free((*b)->order);
        tb_mem_free(*b);
        *b = NULL;
    }
}

const uint32_t *tb_batches_next(tb_batches *b, size_t *n)
{
    if (b->at == b->n_rows) {
        b->at = 0;
        *n = 0;
        return NULL;
    }
    if (b->at == 0) {
        tb_stream_shuffle(&b->stream, b->order, b->n_rows);
    }
    size_t left = b->n_rows - b->at;
    *n = left < b->batch_rows ? left : b->batch_rows;
    const uint32_t *rows = b->order + b->at;
    b->at += *n;
    return rows;
}

size_t tb_batches_per_epoch(const tb_batches *b)
{
    return (b->n_rows - 1) / b->batch_rows + 1;
}
