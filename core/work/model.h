/* core/work/model.h - between a job and a model: the graph that a run starts
 * from, any of its models read back with the job's rule of what trains, and
 * data sets read as the job says. Pure but for files of data; any thread. */
#ifndef TB_WORK_MODEL_H
#define TB_WORK_MODEL_H

#include "data/dataset.h"
#include "fed/run.h"
#include "host/job.h"
#include "model/onnx.h"
#include "train/evaluate.h"
#include "train/trainer.h"

/* Makes the model that a run of this job starts from: *graph is the job's model
 * file or registered version as it was read, or NULL for its `new`. Parameters
 * are kept or drawn anew, the scaling of data comes in front (a version has it
 * already), class names go inside. The caller frees *graph, also on failure.
 * Errors: as tb_build_new, tb_preprocess_*, tb_params_assign; MISMATCH (class
 * names against outputs, a version that takes other data). */
tb_rc tb_work_prepare(tb_graph **graph, const tb_job *job, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The name of the file that tensor data go into when a model of a run is
 * published, or NULL: it is one file. A model that came with such files keeps
 * it as an entry of its metadata; one that no single file may hold gets one. */
#define TB_WORK_DATA_KEY "tributary.data"
const char *tb_work_data_name(const tb_graph *graph) TB_NONNULL(1);

/* Notes that a job's model, before it is prepared, came with tensor data in a
 * file of this name; NULL: in no file, whatever its metadata say. Errors:
 * NOMEM. */
tb_rc tb_work_note_data(tb_graph *graph, const char *name, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Reads a model of a run, with what the job freezes and trains. Errors: as
 * tb_onnx_read, tb_params_assign. */
tb_rc tb_work_read(tb_graph **out, const tb_job *job, const tb_buf *onnx,
                   tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The same of a file, with its values or without (model/onnx.h): of any size.
 * Errors: as tb_onnx_read_files, tb_params_assign. */
tb_rc tb_work_read_fd(tb_graph **out, const tb_job *job, int fd,
                      tb_onnx_values values, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads samples at path with the job's reader, columns and classes. Errors: as
 * tb_dataset_read. */
tb_rc tb_work_dataset(tb_dataset **out, const tb_job *job, const char *path,
                      tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Fills in what a run must know of the model that it starts from: n_params,
 * n_statistics, and n_observed where the clients calibrate. Errors: UNSUPPORTED
 * (there is nothing to train), and as tb_ranges_init. */
tb_rc tb_work_count(tb_run_params *params, const tb_job *job,
                    const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* How the job trains in a round (1, 2, ...): loss, optimiser at the round's
 * rate, clipping and batches, for data of that kind. Borrows from job. Errors:
 * USAGE (a number, or a key of another optimiser), UNSUPPORTED. */
tb_rc tb_work_training(tb_trainer_options *out, const tb_job *job,
                       const tb_sample_spec *spec, uint32_t round, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* What the job's loss measures on such data. Borrows from job. Errors:
 * UNSUPPORTED (a loss that is not known here). */
tb_rc tb_work_objective(tb_evaluator_options *out, const tb_job *job,
                        const tb_sample_spec *spec, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Loss and right answers of graph over all rows of data. Errors: as
 * tb_work_objective, tb_evaluator_new, tb_evaluate. */
tb_rc tb_work_score(tb_score *score, const tb_job *job, const tb_graph *graph,
                    const tb_dataset *data, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* The share of right answers; 0 where there is nothing to be right about. */
double tb_work_accuracy(const tb_score *score) TB_NONNULL(1);

#endif
