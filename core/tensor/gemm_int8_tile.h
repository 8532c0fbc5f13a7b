/* core/tensor/gemm_int8_tile.h - what is the same for every instruction set of
 * gemm_int8.h, included by one .c file each. A tile of sums stays in registers
 * over all of k, goes to the stack, and is finished there by loops that the
 * compiler turns into vectors.
 * The includer defines NAME, NAME_TEXT, USABLE, TILE_ROWS, WIDE_ROWS and
 * tile(): sums [rows][vecs * 16] of rows of a against vecs panels; up to
 * WIDE_ROWS rows it takes 4 panels at once, else up to 2. */
#include <string.h>

#include "tensor/gemm_int8_priv.h"

#define PANEL      TB_INT8_PANEL
#define PANELS_MAX 4
#define A_BLOCK    ((size_t)1 << 18) /* bytes of a that stay in the L2 cache */
#define HALF_EVEN  12582912.0f       /* 1.5 * 2^23: adding it rounds */

static size_t panel_bytes(const tb_int8_shape *s)
{
    return s->n_segments * ((s->k + 3) / 4) * PANEL * 4;
}

static void tile(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                 int32_t *sums, size_t rows, size_t vecs);

/* --- behind the sum ------------------------------------------------------- */

static inline float bound(float x, float low, float high)
{
    float y = x > low ? x : low;
    return y < high ? y : high;
}

static inline uint8_t to_byte(float x, int32_t zero)
{
    float whole = (x + HALF_EVEN) - HALF_EVEN;
    return (uint8_t)((int32_t)whole + zero);
}

static void finish_bytes(uint8_t *restrict c, const int32_t *restrict sum,
                         const float *restrict scale, size_t n,
                         const tb_int8_finish *f)
{
    float low = f->low;
    float high = f->high;
    int32_t zero = f->zero;
    for (size_t j = 0; j < n; j++) {
        c[j] = to_byte(bound((float)sum[j] * scale[j], low, high), zero);
    }
}

static void finish_floats(float *restrict c, const int32_t *restrict sum,
                          const float *restrict scale, size_t n,
                          const tb_int8_finish *f)
{
    float low = f->low;
    float high = f->high;
    for (size_t j = 0; j < n; j++) {
        c[j] = bound((float)sum[j] * scale[j], low, high);
    }
}

static void add_bias(int32_t *restrict sum, const int32_t *restrict bias,
                     size_t n)
{
    for (size_t j = 0; j < n; j++) {
        sum[j] = (int32_t)((uint32_t)sum[j] + (uint32_t)bias[j]);
    }
}

/* Rows i.. of columns j.. from sums [rows][width], of which n are wanted. */
static void finish_tile(const tb_int8_shape *s, const tb_int8_finish *f,
                        void *c, int32_t *sums, size_t i, size_t rows, size_t j,
                        size_t width)
{
    size_t n = s->n - j < width ? s->n - j : width;
    for (size_t r = 0; r < rows; r++, sums += width) {
        size_t at = (i + r) * s->c_step + j;
        if (f->bias != NULL) {
            add_bias(sums, f->bias + j, n);
        }
        switch (f->to) {
        case TB_INT8_TO_SUMS:
            memcpy((int32_t *)c + at, sums, n * sizeof *sums);
            break;
        case TB_INT8_TO_BYTES:
            finish_bytes((uint8_t *)c + at, sums, f->scale + j, n, f);
            break;
        case TB_INT8_TO_FLOATS:
            finish_floats((float *)c + at, sums, f->scale + j, n, f);
            break;
        }
    }
}

/* --- tiles ---------------------------------------------------------------- */

/* Rows [from, to) against all panels. */
static void sweep(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                  const tb_int8_finish *f, void *c, size_t from, size_t to)
{
    _Alignas(64) int32_t sums[TILE_ROWS * 2 * PANEL];
    _Static_assert(WIDE_ROWS * PANELS_MAX <= TILE_ROWS * 2, "sums too small");
    size_t n_panels = (s->n + PANEL - 1) / PANEL;
    size_t n_tiles = (to - from + TILE_ROWS - 1) / TILE_ROWS;
    size_t vecs = 0;
    for (size_t j = 0; j < n_panels; j += vecs) {
        size_t left = n_panels - j;
        vecs = to - from <= WIDE_ROWS ? PANELS_MAX : 2;
        while (vecs > left) {
            vecs /= 2;
        }
        const int8_t *panels = b + j * panel_bytes(s);
        size_t i = from;
        for (size_t t = n_tiles; t > 0; t--) { /* of equal height, nearly */
            size_t rows = (to - i + t - 1) / t;
            tile(s, a + i * s->a_step, panels, sums, rows, vecs);
            finish_tile(s, f, c, sums, i, rows, j * PANEL, vecs * PANEL);
            i += rows;
        }
    }
}

static void gemm(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                 const tb_int8_finish *f, void *c)
{
    size_t k = s->k * s->n_segments;
    size_t block = A_BLOCK / (k + 1) / TILE_ROWS * TILE_ROWS + TILE_ROWS;
    for (size_t i = 0; i < s->m; i += block) {
        sweep(s, a, b, f, c, i, s->m - i < block ? s->m : i + block);
    }
}

static void quantize(uint8_t *restrict y, const float *restrict x, size_t n,
                     float scale, float low, float high, int32_t zero)
{
    for (size_t i = 0; i < n; i++) {
        float q = x[i] / scale;
        y[i] = to_byte(bound(q == q ? q : 0.0f, low, high), zero);
    }
}

static bool usable(void)
{
    return USABLE;
}

const tb_int8_set NAME = {
    .name = NAME_TEXT, .usable = usable, .gemm = gemm, .quantize = quantize};
