/* What a job is told before its first round: whether its model could be
 * published after the last. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/build.h"
#include "support/check.h"
#include "work/finish.h"
#include "work/model.h"

static uint64_t n_params; /* that the run has */

/* beside: a file with tensor data that the model came with, or NULL. */
static tb_rc check_with(const char *classes, const char *beside,
                        const char *after, tb_err *err)
{
    char text[512];
    tb_job job = {0};
    tb_graph *graph = NULL;
    tb_run_params *params = tb_mem_array(1, sizeof *params);
    int n = snprintf(text, sizeof text,
                     "name: small\nmodel: {new: mlp:6-5-3}\n"
                     "data: {set: rows, reader: npy, classes: [%s]}\n"
                     "loss: softmax_cross_entropy\n"
                     "rounds: 1\ncohort: {target: 2, minimum: 1}\n%s",
                     classes, after);
    CHECK(params != NULL && tb_name_set(&params->name, "small"));
    params->n_params = n_params;
    CHECK_OK(tb_job_read(&job, text, (size_t)n, "job", err), *err);
    CHECK_OK(tb_work_prepare(&graph, &job, err), *err);
    CHECK_OK(tb_work_note_data(graph, beside, err), *err);
    tb_rc rc = tb_work_check_publish(&job, params, &graph, err);
    tb_graph_free(&graph);
    tb_job_release(&job);
    tb_mem_free(params);
    return rc;
}

static tb_rc check(const char *classes, tb_err *err)
{
    return check_with(classes, NULL, "", err);
}

static void as_many_classes_as_outputs_can_be_published(void **state)
{
    (void)state;
    tb_err err;
    CHECK_OK(check("a, b, c", &err), err);
}

/* PyTorch exports so unless it is told not to. */
static void a_file_of_one_row_is_opened(void **state)
{
    static const char text[] = "name: small\nmodel: {file: m.onnx}\n"
                               "data: {set: rows, reader: npy}\n"
                               "rounds: 1\ncohort: {target: 2}\n";
    tb_graph *graph = NULL;
    tb_job job = {0};
    tb_err err;
    (void)state;
    CHECK_OK(tb_build_new(&graph, "mlp:6-5-3", 1, NULL, &err), err);
    graph->values[graph->inputs[0]]->dims.dim[0] = 1;
    CHECK_OK(tb_job_read(&job, text, sizeof text - 1, "job", &err), err);
    CHECK_OK(tb_work_prepare(&graph, &job, &err), err);
    CHECK(graph->values[graph->inputs[0]]->dims.dim[0] == TB_DIM_ANY);
    tb_graph_free(&graph);
    tb_job_release(&job);
}

static void class_names_that_do_not_fit_are_said_before_the_run(void **state)
{
    (void)state;
    tb_err err;
    CHECK_ERR(check("a, b", &err), TB_E_MALFORMED, err, "be published");
    CHECK_ERR(check("a, b, "
                    "c012345678901234567890123456789012345678901234567890123"
                    "456789012",
                    &err),
              TB_E_LIMIT, err, "over 63 bytes");
}

static void what_a_model_with_files_cannot_become_is_said(void **state)
{
    (void)state;
    tb_err err;
    static const char *const after[] = {
        "after: {quantise: {kind: int8}, guard: {max_drop: 1}}\n"
        "calibrate: rows\n",
        "after: {prune: {kind: unstructured, amount: 0.5},\n"
        "        guard: {max_drop: 1}}\n",
        "after: {serve: true}\n"};
    CHECK_OK(check_with("a, b, c", "m.onnx.data", "", &err), err);
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        CHECK_OK(check_with("a, b, c", NULL, after[i], &err), err);
        CHECK_OK(check_with("a, b, c", "m.onnx.data", after[i], &err), err);
        n_params = 3ull << 30; /* int8 of it is 3.2 GB */
        CHECK_OK(check_with("a, b, c", NULL, after[i], &err), err);
        tb_rc rc = check_with("a, b, c", "m.onnx.data", after[i], &err);
        CHECK(i == 2 ? rc == TB_OK
                     : rc == TB_E_UNSUPPORTED &&
                           strstr(err.text, "of one file: leave out") != NULL);
        n_params = 1ull << 30; /* int8 of it is 1.1 GB, float32 four times */
        rc = check_with("a, b, c", "m.onnx.data", after[i], &err);
        CHECK(i == 1 ? rc == TB_E_UNSUPPORTED &&
                           strstr(err.text, "leave out after.prune") != NULL
                     : rc == TB_OK);
        n_params = 0;
    }
    CHECK_ERR(check_with("a, b, c", "no name", "", &err), TB_E_MALFORMED, err,
              "tensor data in \"no name\"");
    CHECK_ERR(check_with("a, b, c", "model.onnx", "", &err), TB_E_MALFORMED,
              err, "model.onnx");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_classes_as_outputs_can_be_published),
        cmocka_unit_test(a_file_of_one_row_is_opened),
        cmocka_unit_test(class_names_that_do_not_fit_are_said_before_the_run),
        cmocka_unit_test(what_a_model_with_files_cannot_become_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
