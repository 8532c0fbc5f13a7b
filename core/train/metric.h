/* core/train/metric.h - the table of metrics: numbers told of a tally. Their
 * definitions are scikit-learn's, means over classes being the plain ones
 * ("macro") over those that occur. Pure; any thread. */
#ifndef TB_TRAIN_METRIC_H
#define TB_TRAIN_METRIC_H

#include "train/tally.h"

typedef struct tb_metric {
    const char *name;
    unsigned on; /* kinds of targets that have it: tb_tally_kind, or-ed */
    bool scores; /* needs a tally that keeps them */
    bool preset; /* told when nobody says which */
    /* One number for all; NaN where it has no meaning. NULL: a matrix. k: of
     * top_k. Errors: NOMEM. */
    tb_rc (*value)(double *out, const tb_tally *t, size_t k, tb_err *err);
    /* One number of class or column c; NULL: it has none. */
    double (*each)(const tb_tally *t, size_t c);
} tb_metric;

/* All metrics, NULL-terminated: accuracy, top_k, precision, recall, f1, auc
 * (one class against the rest), perplexity, confusion, mse, mae, r2. */
extern const tb_metric *const tb_metric_list[];

/* By name, or NULL. */
const tb_metric *tb_metric_find(const char *name) TB_NONNULL(1);

#endif
