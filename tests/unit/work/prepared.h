/* tests/unit/work/prepared.h - the model that a run starts from, as a file. */
#ifndef TB_TESTS_UNIT_WORK_PREPARED_H
#define TB_TESTS_UNIT_WORK_PREPARED_H

#include "model/onnx.h"
#include "support/check.h"
#include "work/model.h"

/* file: of the job's model; NULL: the job makes it. */
static void prepare(tb_buf *onnx, const tb_job *job, const tb_buf *file)
{
    tb_err err;
    tb_graph *graph = NULL;
    if (file != NULL) {
        CHECK_OK(tb_onnx_read(&graph, file->data, file->len, NULL, &err), err);
    }
    CHECK_OK(tb_work_prepare(&graph, job, &err), err);
    CHECK_OK(tb_onnx_write(onnx, graph, &err), err);
    tb_graph_free(&graph);
}

#endif
