/* What a job is told before its first round: whether its model could be
 * published after the last. */
#include <stdio.h>

#include "base/mem.h"
#include "support/check.h"
#include "work/finish.h"
#include "work/model.h"

static tb_rc check(const char *classes, tb_err *err)
{
    char text[512];
    tb_job job = {0};
    tb_graph *graph = NULL;
    tb_run_params *params = tb_mem_array(1, sizeof *params);
    int n = snprintf(text, sizeof text,
                     "name: small\nmodel: {new: mlp:6-5-3}\n"
                     "data: {set: rows, reader: npy, classes: [%s]}\n"
                     "loss: softmax_cross_entropy\n"
                     "rounds: 1\ncohort: {target: 2, minimum: 1}\n",
                     classes);
    CHECK(params != NULL && tb_name_set(&params->name, "small"));
    CHECK_OK(tb_job_read(&job, text, (size_t)n, "job", err), *err);
    CHECK_OK(tb_work_prepare_graph(&graph, &job, err), *err);
    tb_rc rc = tb_work_check_publish(params, &graph, err);
    tb_graph_free(&graph);
    tb_job_release(&job);
    tb_mem_free(params);
    return rc;
}

static void as_many_classes_as_outputs_can_be_published(void **state)
{
    (void)state;
    tb_err err;
    CHECK_OK(check("a, b, c", &err), err);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_classes_as_outputs_can_be_published),
        cmocka_unit_test(class_names_that_do_not_fit_are_said_before_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
