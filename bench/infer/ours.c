/* bench/infer/ours.c - times our inference: bench-infer SECONDS MODEL.onnx
 * BATCH [MODEL.onnx BATCH ...] prints a line a pair: "file batch microseconds"
 * of the fastest run, then the peaks of this core. The script run beside it
 * does the same with ONNX Runtime. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/stream.h"
#include "exec/exec.h"
#include "model/onnx.h"
#include "peak_int8.h"
#include "tensor/gemm_int8.h"
#include "train/peak.h"

#define MAX_BYTES ((size_t)1 << 28)

static void check(tb_rc rc, const tb_err *err)
{
    if (rc != TB_OK) {
        fprintf(stderr, "bench-infer: %s\n", err->text);
        exit(1);
    }
}

static tb_graph *load(const char *path)
{
    tb_err err;
    tb_buf bytes;
    tb_graph *g = NULL;
    tb_buf_init(&bytes, MAX_BYTES);
    check(tb_file_read(&bytes, path, &err), &err);
    check(tb_onnx_read(&g, bytes.data, bytes.len, NULL, &err), &err);
    tb_buf_release(&bytes);
    return g;
}

/* Nanoseconds of the fastest run within `seconds`: what others do on the
 * machine only ever adds to it. */
static double time_runs(tb_exec *e, double seconds)
{
    double best = 0.0;
    int64_t now = tb_clock_ns();
    int64_t end = now + (int64_t)(seconds * 1e9);
    for (size_t i = 0; i < 10 || now < end; i++) {
        int64_t start = tb_clock_ns();
        tb_exec_run(e);
        now = tb_clock_ns();
        double ns = (double)(now - start);
        best = i == 0 || ns < best ? ns : best;
    }
    return best;
}

static void run(const char *path, size_t batch, double seconds)
{
    tb_err err;
    tb_stream s;
    tb_exec *e = NULL;
    tb_graph *g = load(path);
    const char *name = strrchr(path, '/');
    check(tb_exec_new(&e, g, batch, &err), &err);
    const tb_tensor *x = tb_exec_input(e, 0);
    tb_stream_init(&s, 1, 0, "bench", "");
    for (size_t i = 0; i < tb_tensor_count(x); i++) {
        ((float *)x->data)[i] = (float)tb_stream_uniform(&s);
    }
    printf("%s %zu %.3f\n", name != NULL ? name + 1 : path, batch,
           time_runs(e, seconds) / 1e3);
    tb_exec_free(&e);
    tb_graph_free(&g);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.0;
    if (argc < 4 || argc % 2 != 0) {
        fprintf(stderr, "usage: bench-infer SECONDS MODEL.onnx BATCH ...\n");
        return 2;
    }
    for (int i = 2; i + 1 < argc; i += 2) {
        run(argv[i], (size_t)strtoul(argv[i + 1], NULL, 10), seconds);
    }
    printf("peak f32 %.1f\n", tb_bench_peak_gflops());
    printf("peak int8 %.1f\n", tb_bench_peak_int8_gops());
    printf("isa int8 %s\n", tb_int8_isa());
    return 0;
}
