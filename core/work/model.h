/* core/work/model.h - between a job and a model: the graph that a run starts
 * from, any of its models read back with the job's rule of what trains, and
 * data sets read as the job says. Pure but for files of data; any thread. */
#ifndef TB_WORK_MODEL_H
#define TB_WORK_MODEL_H

#include "data/dataset.h"
#include "host/job.h"
#include "model/graph.h"

/* Appends the ONNX bytes that a run of this job starts from: the job's model
 * file (file, n bytes) or its `new`, parameters kept or drawn anew, the scaling
 * of data in front, class names inside. Errors: as tb_onnx_read, tb_build_new,
 * tb_preprocess_*; MISMATCH (class names against outputs). */
tb_rc tb_work_prepare(tb_buf *onnx, const tb_job *job, const uint8_t *file,
                      size_t n, tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads a model of a run, with what the job freezes and trains. Errors: as
 * tb_onnx_read, tb_params_assign. */
tb_rc tb_work_read(tb_graph **out, const tb_job *job, const tb_buf *onnx,
                   tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Reads samples at path with the job's reader, columns and classes. Errors: as
 * tb_dataset_read. */
tb_rc tb_work_dataset(tb_dataset **out, const tb_job *job, const char *path,
                      tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

#endif
