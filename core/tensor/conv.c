/* core/tensor/conv.c - chooses the algorithm by geometry and the instruction
 * set by CPU; what all algorithms share. */
#include "tensor/conv.h"

#include <stdint.h>

#include "base/mem.h"
#include "tensor/conv_priv.h"
#include "tensor/kernels.h"

#define EXTENT_MAX ((size_t)INT32_MAX)

static const tb_conv_way *const ways[] = {
    &tb_conv_by_planes, &tb_conv_by_winograd, &tb_conv_columns};

#define N_WAYS (sizeof ways / sizeof ways[0])

static const tb_conv_set *const sets[] = {
#ifdef TB_K_X86
    &tb_conv_avx512,
    &tb_conv_avx2,
#endif
    &tb_conv_portable,
};

#define N_SETS (sizeof sets / sizeof sets[0])

const tb_conv_way *const *tb_conv_ways(size_t *n)
{
    *n = N_WAYS;
    return ways;
}

const tb_conv_set *const *tb_conv_sets(size_t *n)
{
    *n = N_SETS;
    return sets;
}

const tb_conv_set *tb_conv_chosen(void)
{
    const tb_k_set *loops = tb_k_chosen();
    size_t i = 0;
    while (i + 1 < N_SETS && sets[i]->loops != loops) {
        i++;
    }
    return sets[i];
}

static const tb_conv_way *choose(const tb_conv *c)
{
    size_t i = 0;
    while (i + 1 < N_WAYS && !ways[i]->fits(c)) {
        i++;
    }
    return ways[i];
}

/* --- scratch memory ------------------------------------------------------- */

size_t tb_conv_take(tb_conv_space *space, size_t a, size_t b, size_t c,
                    size_t d)
{
    size_t at = space->floats;
    size_t n = 0;
    if (tb_mem_mul(&n, a, b) != 0 || tb_mem_mul(&n, n, c) != 0 ||
        tb_mem_mul(&n, n, d) != 0 ||
        tb_mem_add(&n, n, TB_CONV_SLACK + (0 - n) % 16) != 0 ||
        tb_mem_add(&space->floats, at, n) != 0) {
        space->over = true;
    }
    return at;
}

size_t tb_conv_taken(const tb_conv_space *space)
{
    size_t bytes = 0;
    bool ok =
        !space->over && tb_mem_mul(&bytes, space->floats, sizeof(float)) == 0;
    return ok ? bytes : SIZE_MAX;
}

/* No extent that the loops form passes 2^31. */
static bool extents_fit(const tb_conv *c)
{
    bool ok = c->in_channels <= EXTENT_MAX && c->out_channels <= EXTENT_MAX;
    for (size_t d = 0; d < TB_CONV_DIMS && ok; d++) {
        size_t steps = 0;
        size_t taps = 0;
        size_t all = 0;
        ok = tb_mem_mul(&steps, c->out[d] - 1, c->stride[d]) == 0 &&
             tb_mem_mul(&taps, c->kernel[d] - 1, c->dilation[d]) == 0 &&
             tb_mem_add(&all, steps, taps) == 0 && all < EXTENT_MAX &&
             c->pad[d] <= EXTENT_MAX && c->in[d] <= EXTENT_MAX;
    }
    return ok;
}

tb_rc tb_conv_plan(size_t *work_bytes, const tb_conv *c, unsigned parts,
                   tb_err *err)
{
    *work_bytes = 0;
    size_t n = 1;
    bool ok = extents_fit(c);
    for (size_t d = 0; d < TB_CONV_DIMS && ok; d++) {
        ok = tb_mem_mul(&n, n, c->kernel[d]) == 0;
    }
    if (!ok || tb_mem_mul(&n, n, c->in_channels) != 0 || n > EXTENT_MAX ||
        (*work_bytes = choose(c)->plan(c, parts)) == SIZE_MAX) {
        return tb_fail(err, TB_E_LIMIT,
                       "convolution: its extents are too large");
    }
    return TB_OK;
}

/* --- passes --------------------------------------------------------------- */

void tb_conv_forward(const tb_conv *c, const float *x, const float *w,
                     const float *bias, float *y, void *work)
{
    choose(c)->forward(tb_conv_chosen(), c, x, w, bias, y, work);
}

void tb_conv_finish(const tb_conv *c, float *y, size_t n_rows, size_t n,
                    const float *bias)
{
    if (tb_conv_ends(c, bias)) {
        tb_conv_chosen()->finish(c, y, 0, n_rows, n, n, bias);
    }
}

void tb_conv_bias_grad(float *db, const float *dy, size_t batch,
                       size_t channels, size_t pixels)
{
    for (size_t c = 0; c < channels; c++) {
        db[c] = 0.0f;
    }
    for (size_t n = 0; n < batch; n++) {
        for (size_t c = 0; c < channels; c++, dy += pixels) {
            db[c] += tb_k_sum(dy, pixels);
        }
    }
}

void tb_conv_backward(const tb_conv *c, const tb_conv_grads *g, void *work)
{
    if (g->dx != NULL || g->dw != NULL) {
        choose(c)->backward(tb_conv_chosen(), c, g, work);
    }
    if (g->db != NULL) {
        tb_conv_bias_grad(g->db, g->dy, c->batch, c->out_channels,
                          tb_conv_volume(c->out));
    }
}
