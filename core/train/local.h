/* core/train/local.h - what a client does in a round: some epochs over its own
 * rows in a seeded order. */
#ifndef TB_TRAIN_LOCAL_H
#define TB_TRAIN_LOCAL_H

#include "train/schedule.h"
#include "train/trainer.h"

/* After each batch: steps done and to do. false stops: CANCELLED. */
typedef bool tb_progress_fn(void *arg, size_t done, size_t total,
                            const tb_score *so_far);

typedef struct tb_local_options {
    size_t epochs; /* > 0 */
    /* The trainer goes on where it was saved, after `done` steps of these same
     * epochs: it is not reset, and those batches are passed over. */
    bool resume;
    size_t done;
    double lr;                   /* with schedule: the rate that it changes */
    const tb_schedule *schedule; /* by step; NULL: the rate stays */
    uint64_t seed; /* of the job; the order of rows, and Dropout, come
                         * from it with round and client */
    uint32_t round;
    const char *client;       /* "" is fine */
    tb_progress_fn *progress; /* may be NULL */
    void *arg;
} tb_local_options;

/* Trains t, whose batch size is used, on all rows of data. The optimiser starts
 * anew, unless resumed. *score: sums over all epochs (n_rows = epochs * rows),
 * each loss taken before its step; what a resumed training did before is not in
 * it. Errors: MISMATCH (tb_fit_check), USAGE, CANCELLED, NOMEM;
 * parameters may have moved then. */
tb_rc tb_train_local(tb_trainer *t, const tb_dataset *data,
                     const tb_local_options *options, tb_score *score,
                     tb_err *err) TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Whether rows of data can be fed to an input of that dtype and shape
 * [batch, ...] (same dtype, same number of values a row) and its targets to a
 * loss over outputs of that layout. MISMATCH says which numbers disagree. */
tb_rc tb_fit_check(const tb_sample_spec *spec, const tb_tensor *input,
                   const tb_loss_layout *layout, const tb_loss *loss,
                   tb_err *err) TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Turns n rows of gathered targets into what the loss reads, in place: labels
 * of two classes into 0.0 and 1.0 for a binary loss. */
void tb_fit_targets(const tb_sample_spec *spec, const tb_loss *loss, void *y,
                    size_t n) TB_NONNULL(1, 2, 3);

#endif
