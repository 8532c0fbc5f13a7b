/* tests/unit/work/patched.h - the model that a file was moved to is the one
 * that was made in memory, to the last byte. */
#ifndef TB_TESTS_UNIT_WORK_PATCHED_H
#define TB_TESTS_UNIT_WORK_PATCHED_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "support/check.h"
#include "work/patch.h"

static void check_patched(const tb_work_round *round, const tb_buf *model,
                          const tb_buf *next)
{
    tb_err err;
    tb_patch *patch = NULL;
    tb_metrics metrics;
    FILE *file = tmpfile();
    CHECK(file != NULL);
    CHECK_OK(tb_file_write_fd(fileno(file), model->data, model->len, &err),
             err);
    CHECK_OK(tb_patch_new(&patch, round->job, fileno(file), &err), err);
    CHECK_OK(tb_patch_apply(patch, fileno(file), round, &metrics, &err), err);
    rewind(file);
    for (size_t i = 0; i < next->len; i++) {
        CHECK(fgetc(file) == next->data[i]);
    }
    CHECK(fgetc(file) == EOF);
    CHECK(metrics.train_loss > 0.0);

    /* A file of another size is not one of the run's models. */
    CHECK(ftruncate(fileno(file), 7) == 0);
    CHECK_ERR(tb_patch_apply(patch, fileno(file), round, &metrics, &err),
              TB_E_MISMATCH, err, "7 bytes");
    tb_patch_free(&patch);
    CHECK(fclose(file) == 0);
}

#endif
