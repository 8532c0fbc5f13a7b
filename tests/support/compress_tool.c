/* tests/support/compress_tool.c - real models and what compression makes of
 * them, for outside judges and for figures:
 *   compress_tool MODEL EPOCHS DIR  trains MODEL ("mlp:784-64-10", or a file
 *     that takes [N, 1, 28, 28] of float32) on Fashion-MNIST and writes
 *     fp32.onnx and, after each pass or pair of passes, NAME.onnx; prints a
 *     line a model: name, bytes, bytes packed by zstd -19, accuracy on the
 *     test images, share of zero weights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "base/file.h"
#include "base/mem.h"
#include "compress/after.h"
#include "model/onnx.h"
#include "support/trained.h"

static const struct {
    const char *name;
    const char *prune;
    double amount;
    tb_prune_scope scope;
    const char *quantise;
    double percentile;
} rows[] = {
    {"fp32", NULL, 0, TB_PRUNE_LAYER, NULL, 100},
    {"int8", NULL, 0, TB_PRUNE_LAYER, "int8", 100},
    {"int8-p", NULL, 0, TB_PRUNE_LAYER, "int8", 99.99},
    {"pow2", NULL, 0, TB_PRUNE_LAYER, "pow2", 100},
    {"unstructured", "unstructured", 0.5, TB_PRUNE_GLOBAL, NULL, 100},
    {"unstructured-int8", "unstructured", 0.5, TB_PRUNE_GLOBAL, "int8", 100},
    {"layer-int8", "unstructured", 0.5, TB_PRUNE_LAYER, "int8", 100},
    {"sparse-int8", "unstructured", 0.7, TB_PRUNE_GLOBAL, "int8", 100},
    {"structured", "structured", 0.3, TB_PRUNE_LAYER, NULL, 100},
    {"structured-int8", "structured", 0.3, TB_PRUNE_GLOBAL, "int8", 100},
};

static tb_rc report(const tb_stage *s, const char *name, const char *dir,
                    tb_dataset *test, tb_err *err)
{
    char file[64];
    double accuracy = 0.0;
    tb_buf onnx;
    void *packed = NULL;
    (void)snprintf(file, sizeof file, "%s.onnx", name);
    char *path = tb_file_join(dir, file);
    tb_buf_init(&onnx, (size_t)1 << 31);
    tb_rc rc = path != NULL ? tb_onnx_write(&onnx, s->graph, err) : TB_E_NOMEM;
    size_t room = ZSTD_compressBound(onnx.len);
    if (rc == TB_OK) {
        rc = tb_file_write(path, onnx.data, onnx.len, 0644, err);
    }
    if (rc == TB_OK) {
        rc = tb_test_accuracy(test, s->graph, &accuracy, err);
    }
    if (rc == TB_OK && (packed = tb_mem_array(room, 1)) != NULL) {
        size_t n = ZSTD_compress(packed, room, onnx.data, onnx.len, 19);
        (void)printf("%-18s %8zu %8zu %.4f %.3f\n", name, onnx.len, n, accuracy,
                     s->sparsity);
    }
    tb_mem_free(packed);
    tb_buf_release(&onnx);
    tb_mem_free(path);
    return rc;
}

int main(int argc, char **argv)
{
    tb_err err = {0};
    tb_graph *graph = NULL;
    tb_test_fashion f = {0};
    if (argc != 4) {
        (void)fprintf(stderr, "usage: compress_tool MODEL EPOCHS DIR\n");
        return 2;
    }
    tb_rc rc = tb_test_fashion_read(&f, &err);
    if (rc == TB_OK) {
        rc = strncmp(argv[1], "mlp:", 4) == 0
                 ? tb_test_mlp(&graph, argv[1], &err)
                 : tb_test_model(&graph, argv[1], &err);
    }
    if (rc == TB_OK) {
        rc = tb_test_train(graph, f.train, strtoul(argv[2], NULL, 10), &err);
    }
    for (size_t i = 0; rc == TB_OK && i < sizeof rows / sizeof *rows; i++) {
        const tb_after_options o = {.prune = rows[i].prune,
                                    .scope = rows[i].scope,
                                    .norm = TB_NORM_L2,
                                    .amount = rows[i].amount,
                                    .quantise = rows[i].quantise,
                                    .calibrate = f.held,
                                    .percentile = rows[i].percentile};
        tb_after after = {.n = 0};
        tb_graph *copy = NULL;
        rc = tb_graph_clone(&copy, graph, &err);
        if (rc == TB_OK) {
            rc = tb_after_run(&after, &copy, &o, &err);
        }
        if (rc == TB_OK) {
            rc = report(&after.stage[after.n - 1], rows[i].name, argv[3],
                        f.test, &err);
        }
        tb_after_release(&after);
    }
    if (rc != TB_OK) {
        (void)fprintf(stderr, "compress_tool: %s\n", err.text);
    }
    tb_graph_free(&graph);
    tb_test_fashion_release(&f);
    return rc == TB_OK ? 0 : 1;
}
