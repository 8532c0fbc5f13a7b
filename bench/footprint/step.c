/* bench/footprint/step.c - reads a model, takes one training step, and says
 * what memory that took: bench-step MODEL.onnx BATCH prints the peak resident
 * set (VmHWM) in bytes and the bytes of the parameters. run times it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/onnx.h"
#include "train/trainer.h"

static void check(tb_rc rc, const tb_err *err)
{
    if (rc != TB_OK) {
        fprintf(stderr, "bench-step: %s\n", err->text);
        exit(1);
    }
}

/* Of this process, as the kernel counts it. */
static unsigned long peak_bytes(void)
{
    char line[256];
    unsigned long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "VmHWM: %lu", &kb) == 1) {
            break;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return kb * 1024;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: bench-step MODEL.onnx BATCH\n");
        return 2;
    }
    tb_err err;
    tb_graph *graph = NULL;
    tb_trainer *t = NULL;
    const tb_trainer_options options = {
        .loss = tb_loss_find("softmax_cross_entropy"),
        .optimiser = tb_optimiser_find("sgd"),
        .config = {.lr = 0.1},
        .batch = strtoul(argv[2], NULL, 10)};
    check(tb_onnx_read_file(&graph, argv[1], NULL, NULL, &err), &err);
    check(tb_trainer_new(&t, graph, &options, &err), &err);
    tb_graph_free(&graph);
    float *x = tb_trainer_x(t);
    int32_t *y = tb_trainer_y(t);
    for (size_t i = 0; i < tb_tensor_count(tb_trainer_input(t)); i++) {
        x[i] = (float)(i % 255) / 255.0f;
    }
    memset(y, 0, options.batch * sizeof *y);
    check(tb_trainer_step(t, x, y, options.batch, NULL, &err), &err);
    printf("%lu %zu\n", peak_bytes(), tb_trainer_n_params(t) * sizeof(float));
    tb_trainer_free(&t);
    return 0;
}
