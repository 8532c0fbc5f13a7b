/* tests/support/train_tool.c - 20 steps of plain SGD for outside judges:
 *   train_tool MODEL.onnx FEED ROWS RATE OUT.raw
 * FEED holds x and then int32 labels. OUT gets, little-endian: 21 losses f64,
 * and for all parameters the gradient at the start, then for all parameters and
 * running statistics what they are in the end, f32. Prints a line each, in that
 * order: "param NAME ELEMENTS" or "buffer NAME ELEMENTS". */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "support/sgd_run.h"

static tb_rc put_results(const sgd_run *run, const char *path, tb_err *err)
{
    tb_buf out;
    size_t n = tb_trainer_n_params(run->trainer);
    tb_buf_init(&out, SGD_MAX_BYTES);
    tb_rc rc = tb_buf_put(&out, run->losses, sizeof run->losses, err);
    if (rc == TB_OK) {
        rc = tb_buf_put(&out, run->first, n * sizeof(float), err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(&out, run->last, n * sizeof(float), err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(&out, run->statistics,
                        run->buffers.n_floats * sizeof(float), err);
    }
    if (rc == TB_OK) {
        rc = tb_file_write(path, out.data, out.len, 0644, err);
    }
    tb_buf_release(&out);
    return rc;
}

static void print_slots(const tb_slots *slots, const char *kind)
{
    for (size_t i = 0; i < slots->n; i++) {
        (void)printf("%s %s %zu\n", kind, slots->slot[i].name,
                     slots->slot[i].n);
    }
}

static tb_rc train(sgd_run *run, char **argv, tb_err *err)
{
    tb_buf feed;
    uint64_t n_rows = 0;
    double rate = 0;
    tb_buf_init(&feed, SGD_MAX_BYTES);
    tb_rc rc = tb_text_u64(argv[3], &n_rows, err);
    rc = rc == TB_OK ? tb_text_f64(argv[4], &rate, err) : rc;
    rc = rc == TB_OK ? tb_file_read(&feed, argv[2], err) : rc;
    rc = rc == TB_OK ? sgd_run_init(run, argv[1], n_rows, rate, err) : rc;
    if (rc == TB_OK) {
        size_t n_x = tb_tensor_bytes(tb_trainer_input(run->trainer));
        if (feed.len != n_x + n_rows * sizeof(int32_t)) {
            rc = tb_fail(err, TB_E_MISMATCH, "%zu bytes for %zu rows", feed.len,
                         (size_t)n_rows);
        } else {
            rc = sgd_run_go(run, feed.data, (const void *)(feed.data + n_x),
                            n_rows, err);
        }
    }
    tb_buf_release(&feed);
    return rc;
}

int main(int argc, char **argv)
{
    sgd_run run = {0};
    tb_err err = {0};
    if (argc != 6) {
        (void)fprintf(stderr, "train_tool MODEL.onnx FEED ROWS RATE OUT.raw\n");
        return 2;
    }
    tb_rc rc = train(&run, argv, &err);
    if (rc == TB_OK) {
        print_slots(tb_trainer_slots(run.trainer), "param");
        print_slots(&run.buffers, "buffer");
        rc = put_results(&run, argv[5], &err);
    }
    if (rc != TB_OK) {
        (void)fprintf(stderr, "train_tool: %s\n", err.text);
    }
    sgd_run_release(&run);
    return rc == TB_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
