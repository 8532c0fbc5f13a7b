/* core/compress/calibrate.h - between which bounds the activations of a model
 * move over some data: what int8 needs to choose its scales. The values that
 * are watched follow from the graph alone, so that many parties can measure
 * and their ranges be put together by index. */
#ifndef TB_COMPRESS_CALIBRATE_H
#define TB_COMPRESS_CALIBRATE_H

#include "data/dataset.h"
#include "model/graph.h"

#define TB_CALIBRATE_BATCH 64
#define TB_CALIBRATE_BINS  2048

/* Of each watched value, its smallest and largest. */
typedef struct tb_ranges {
    tb_value_id *value; /* owned [n]: inputs of linear layers, running order */
    float *low;         /* owned [n] */
    float *high;        /* owned [n] */
    size_t n;
} tb_ranges;

/* What is to be watched in graph, with ranges of zero: for a party that has the
 * numbers from elsewhere. On failure *out is empty. Errors: UNSUPPORTED (no
 * linear layer), NOMEM. */
tb_rc tb_ranges_init(tb_ranges *out, const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_ranges_release(tb_ranges *ranges) TB_NONNULL(1);

/* Runs graph over all rows of data and fills ranges, which were made from it.
 * percentile: 100 takes smallest and largest; p in (50, 100) lets (100 - p) / 2
 * percent lie outside at either end, to the width of one of
 * TB_CALIBRATE_BINS. Errors: USAGE (percentile, no rows), MISMATCH (the data do
 * not fit the model's input), NOMEM, and those of tb_exec_new. */
tb_rc tb_calibrate(tb_ranges *ranges, const tb_graph *graph,
                   const tb_dataset *data, double percentile, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

#endif
