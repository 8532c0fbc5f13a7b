/* core/work/finish.h - what becomes of the last model of a run: pruned and
 * quantised as the job says, measured, guarded, and described by a manifest.
 * Any thread. */
#ifndef TB_WORK_FINISH_H
#define TB_WORK_FINISH_H

#include "base/file.h"
#include "data/dataset.h"
#include "fed/run.h"
#include "host/job.h"
#include "wire/manifest.h"
#include "work/predict.h"

/* Stores the bytes of an artefact, or a file of tensor data that is given in
 * parts, and tells its hashes and sizes. */
typedef tb_rc tb_work_put_fn(void *arg, const tb_buf *onnx, tb_model_ref *out,
                             tb_err *err);
typedef tb_rc tb_work_put_data_fn(void *arg, const tb_file_part *parts,
                                  size_t n_parts, tb_model_ref *out,
                                  tb_err *err);

typedef struct tb_work_finish {
    const tb_job *job;
    const tb_run_params *params;
    const tb_buf *model;         /* ONNX of the model to publish; NULL: it is */
    int model_fd;                /* this file, of any size */
    const tb_buf *ranges;        /* of tb_work_ranges; NULL: use calibrate */
    const tb_metrics *metrics;   /* of the model, as the run measured it */
    const tb_dataset *evaluate;  /* measured for the manifest; may be NULL */
    const tb_dataset *calibrate; /* activations' ranges; may be NULL */
    const tb_dataset *guard;     /* NULL: as calibrate */
    uint32_t epoch;
    uint64_t sequence;
    tb_work_put_fn *put;
    tb_work_put_data_fn *put_data;
    void *arg;
} tb_work_finish;

/* Appends the canonical manifest of the version, after storing every artefact:
 * the fp32 model, the pruned one and the quantised one, as the job says. The
 * fp32 model may have its tensor data in a file beside it (tb_work_data_name).
 * The guard's data are never those whose figures are printed. Errors: REFUSED
 * (a stage loses more accuracy than the job allows: says which and how much;
 * none of it is registered), UNSUPPORTED, MISMATCH, NOMEM, and put's. */
tb_rc tb_work_finish_run(tb_buf *manifest, const tb_work_finish *finish,
                         tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether a run that starts from this prepared model, which is taken and need
 * not have its values, could publish what comes of it, so that it is said
 * before the first round. Errors: MISMATCH, MALFORMED, LIMIT, UNSUPPORTED (its
 * input, output or class names do not fit a manifest; what the job prunes or
 * quantises would not fit one file), NOMEM. */
tb_rc tb_work_check_publish(const tb_job *job, const tb_run_params *params,
                            tb_graph **graph_take, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* What a model takes and gives, for its manifest, which then owns class names
 * (tb_manifest_release). Errors: UNSUPPORTED (what it takes cannot be
 * published), LIMIT, NOMEM. */
tb_rc tb_work_put_spec(tb_manifest *manifest, const tb_predictor *predictor,
                       tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
