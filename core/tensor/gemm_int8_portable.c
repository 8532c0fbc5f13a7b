/* core/tensor/gemm_int8_portable.c - plain loops for any CPU. */
#define NAME      tb_int8_portable
#define NAME_TEXT "portable"
#define USABLE    (true)
#define TILE_ROWS 2
#define WIDE_ROWS 1

#include "tensor/gemm_int8_tile.h"

static inline int32_t wrapped(int32_t sum, int32_t term)
{
    return (int32_t)((uint32_t)sum + (uint32_t)term);
}

/* n is a constant where it is 4, so that the compiler sees the loop whole. */
static inline void quad(int32_t *restrict sums, const uint8_t *restrict x,
                        const int8_t *restrict b, size_t n)
{
    for (size_t j = 0; j < PANEL; j++) {
        int32_t sum = 0;
        for (size_t p = 0; p < n; p++) {
            sum += (int32_t)x[p] * (int32_t)b[j * 4 + p];
        }
        sums[j] = wrapped(sums[j], sum);
    }
}

/* rows x 16 sums of one panel, width apart. */
static void tile_of(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                    int32_t *sums, size_t width, size_t rows)
{
    for (size_t i = 0; i < rows; i++, sums += width, a += s->a_step) {
        const int8_t *at = b;
        for (size_t g = 0; g < s->n_segments; g++) {
            const uint8_t *x = a + s->segment[g];
            size_t p = 0;
            for (; p + 4 <= s->k; p += 4, at += PANEL * 4) {
                quad(sums, x + p, at, 4);
            }
            if (p < s->k) {
                quad(sums, x + p, at, s->k - p);
                at += PANEL * 4;
            }
        }
    }
}

static void tile(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                 int32_t *sums, size_t rows, size_t vecs, size_t cols)
{
    (void)cols;
    memset(sums, 0, rows * vecs * PANEL * sizeof *sums);
    for (size_t v = 0; v < vecs; v++, b += panel_bytes(s)) {
        tile_of(s, a, b, sums + v * PANEL, vecs * PANEL, rows);
    }
}

static void finish_bytes(uint8_t *c, size_t c_step, const int32_t *sum,
                         size_t step, const panel_finish *p, size_t n_rows)
{
    for (size_t r = 0; r < n_rows; r++, c += c_step, sum += step) {
        for (size_t j = 0; j < PANEL; j++) {
            float x = (float)biased(sum[j], p->bias[j]) * p->scale[j];
            c[j] = to_byte(bound(x, p->low, p->high), p->zero);
        }
    }
}

static void depth_tile(const tb_int8_shape *s, const uint8_t *a,
                       const int16_t *w, int32_t *sums, size_t rows)
{
    memset(sums, 0, rows * PANEL * sizeof *sums);
    for (size_t i = 0; i < rows; i++, a += s->a_step, sums += PANEL) {
        for (size_t g = 0; g < s->n_segments; g++) {
            const uint8_t *x = a + s->segment[g];
            const int16_t *y = w + g * PANEL;
            for (size_t j = 0; j < PANEL; j++) {
                sums[j] = biased(sums[j], x[j] * y[j]);
            }
        }
    }
}
