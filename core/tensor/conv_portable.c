/* core/tensor/conv_portable.c - convolution in vectors of four, which the
 * compiler maps to whatever there is. */
#include <stddef.h>
#include <string.h>

typedef float vec __attribute__((vector_size(16)));

#define CONV_SET     tb_conv_portable
#define CONV_LOOPS   tb_k_portable
#define WIDTH        ((size_t)4)
#define TILE_ROWS    4
#define SPREAD(x)    spread(x)
#define FMA(x, y, z) ((x) * (y) + (z))
#define LOAD(at)     load(at)
#define STORE(at, x) store(at, x)
#define TURN         ((size_t)4)

static inline vec spread(float x)
{
    return (vec){x, x, x, x};
}

static inline vec load(const float *at)
{
    vec x;
    memcpy(&x, at, sizeof x);
    return x;
}

static inline void store(float *at, vec x)
{
    memcpy(at, &x, sizeof x);
}

/* Element (j, i) of out is (i, j) of x. */
static inline void turn_block(float *out, size_t out_step, const float *x,
                              size_t x_step)
{
    for (size_t i = 0; i < TURN; i++) {
        for (size_t j = 0; j < TURN; j++) {
            out[j * out_step + i] = x[i * x_step + j];
        }
    }
}

#include "tensor/conv_loops.h"
