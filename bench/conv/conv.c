/* Speed of a convolution's passes by every way that fits, one thread: the best
 * of some rounds, as milliseconds and as GFLOP/s of the plain algorithm (a way
 * that saves multiplications may pass the CPU's peak). */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "tensor/conv_priv.h"

#define ROUNDS 15

typedef struct layer {
    const char *name;
    size_t in_channels, out_channels, groups, size, kernel, stride;
} layer;

static const layer layers[] = {
    {"mcmahan 1", 1, 32, 1, 28, 5, 1},
    {"mcmahan 2", 32, 64, 1, 14, 5, 1},
    {"lenet 2", 6, 16, 1, 14, 5, 1},
    {"resnet 1", 16, 16, 1, 32, 3, 1},
    {"resnet 2", 32, 32, 1, 16, 3, 1},
    {"resnet 3", 64, 64, 1, 8, 3, 1},
    {"resnet down", 32, 64, 1, 16, 3, 2},
    {"1 x 1", 32, 192, 1, 16, 1, 1},
    {"depthwise", 96, 96, 96, 32, 3, 1},
    {"depthwise down", 96, 96, 96, 32, 3, 2},
    {"wide", 256, 256, 1, 14, 3, 1},
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static tb_conv conv_of(const layer *l, size_t batch)
{
    size_t out = (l->size - 1) / l->stride + 1; /* padded to keep the size */
    return (tb_conv){.batch = batch,
                     .groups = l->groups,
                     .in_channels = l->in_channels,
                     .out_channels = l->out_channels,
                     .in = {1, l->size, l->size},
                     .out = {1, out, out},
                     .kernel = {1, l->kernel, l->kernel},
                     .stride = {1, l->stride, l->stride},
                     .dilation = {1, 1, 1},
                     .pad = {0, l->kernel / 2, l->kernel / 2}};
}

static float *floats(size_t n)
{
    float *x = tb_mem_aligned(n, sizeof *x);
    if (x == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(i % 17) * 0.0625f - 0.5f;
    }
    return x;
}

static void bench(const layer *l, size_t batch)
{
    tb_conv c = conv_of(l, batch);
    size_t in = batch * c.in_channels * tb_conv_volume(c.in);
    size_t out = batch * c.out_channels * tb_conv_volume(c.out);
    size_t n_w =
        c.out_channels * (c.in_channels / c.groups) * tb_conv_volume(c.kernel);
    double gflop = 2e-9 * (double)out * (double)(n_w / c.out_channels);
    float *x = floats(in), *w = floats(n_w), *y = floats(out);
    float *dx = floats(in), *dw = floats(n_w);
    size_t n_ways = 0;
    const tb_conv_way *const *ways = tb_conv_ways(&n_ways);
    for (size_t k = 0; k < n_ways; k++) {
        double best[4] = {1e9, 1e9, 1e9, 1e9};
        if (!ways[k]->fits(&c)) {
            continue;
        }
        void *work = tb_mem_aligned(
            ways[k]->plan(&c, TB_CONV_Y) + ways[k]->plan(&c, TB_CONV_DX), 1);
        for (int r = 0; r < ROUNDS && work != NULL; r++) {
            const tb_conv_set *set = tb_conv_chosen();
            tb_conv_grads g[3] = {{.w = w, .dy = y, .dx = dx},
                                  {.x = x, .dy = y, .dw = dw},
                                  {x, w, y, dx, dw, NULL}};
            double t[5] = {now_ms()};
            ways[k]->forward(set, &c, x, w, NULL, y, work);
            t[1] = now_ms();
            for (size_t i = 0; i < 3; i++) {
                ways[k]->backward(set, &c, &g[i], work);
                t[i + 2] = now_ms();
            }
            for (size_t i = 0; i < 4; i++) {
                double ms = t[i + 1] - t[i];
                best[i] = ms < best[i] ? ms : best[i];
            }
        }
        printf("%-15s %3zu %-9s", l->name, batch, ways[k]->name);
        for (size_t i = 0; i < 4; i++) {
            printf(" %8.3f ms %6.1f", best[i],
                   (i == 3 ? 2 : 1) * gflop / best[i] * 1e3);
        }
        printf("\n");
        tb_mem_free(work);
    }
    float *all[] = {x, w, y, dx, dw};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        tb_mem_free(all[i]);
    }
}

/* Arguments: batch sizes (1 and 32 without any). */
int main(int argc, char **argv)
{
    printf("%-15s %3s %-9s %18s %18s %18s %18s\n", "layer", "n", "way",
           "forward", "dx", "dw", "dx and dw");
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        for (int a = 1; a < argc; a++) {
            bench(&layers[i], strtoul(argv[a], NULL, 10));
        }
        for (size_t b = 1; argc < 2 && b <= 32; b += 31) {
            bench(&layers[i], b);
        }
    }
    return 0;
}
