/* core/work/round.h - what the coordinator computes in a round: the sum becomes
 * a new model, and a model is measured. The daemon, the replay and the
 * simulator call the same functions, so they come to the same bits. Any
 * thread. */
#ifndef TB_WORK_ROUND_H
#define TB_WORK_ROUND_H

#include "data/dataset.h"
#include "fed/run.h"
#include "fed/sum.h"
#include "host/job.h"
#include "model/graph.h"

typedef struct tb_work_round {
    const tb_job *job;
    const tb_run_params *params;
    const tb_round_config *config;
    const tb_sum *sum;
} tb_work_round;

/* TRAIN: appends the ONNX bytes of the new model: the strategy's step from
 * `model`; zeros kept where the round is masked; then the job's gradual
 * pruning for this round; running statistics become the clients' mean where
 * the round has that section. metrics gets train_loss. Errors: MISMATCH, NOMEM,
 * and those of tb_work_read. */
tb_rc tb_work_aggregate(tb_buf *onnx, tb_metrics *metrics,
                        const tb_work_round *round, const tb_buf *model,
                        tb_err *err) TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Whether a value is a running variance. */
bool tb_work_is_variance(const tb_graph *graph, tb_value_id value)
    TB_NONNULL(1);

/* EVALUATE: loss, accuracy and samples from the clients' sum. */
void tb_work_summed_metrics(tb_metrics *metrics, const tb_work_round *round)
    TB_NONNULL(1, 2);

/* CALIBRATE: appends the mean ranges as float32le: low [n], then high [n].
 * Errors: MISMATCH, NOMEM. */
tb_rc tb_work_ranges(tb_buf *out, const tb_work_round *round, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Loss and accuracy of a model over all rows of data. Errors: as tb_evaluate.*/
tb_rc tb_work_evaluate(tb_metrics *metrics, const tb_job *job,
                       const tb_buf *model, const tb_dataset *data, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* The same of a model in a file, of any size. */
tb_rc tb_work_evaluate_fd(tb_metrics *metrics, const tb_job *job, int fd,
                          const tb_dataset *data, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

#endif
