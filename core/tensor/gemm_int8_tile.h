/* core/tensor/gemm_int8_tile.h - what is the same for every instruction set of
 * gemm_int8.h, included by one .c file each. A tile of sums stays in registers
 * over all of k, goes to the stack, and is finished there by loops that the
 * compiler turns into vectors.
 * The includer defines NAME, NAME_TEXT, USABLE, TILE_ROWS, WIDE_ROWS,
 * finish_bytes(), depth_tile() and tile(): sums [rows][vecs * 16] of rows of a
 * against vecs panels, of which cols columns are wanted; up to WIDE_ROWS rows
 * it takes 4 panels at once, else up to 2. It may define OWN_QUANTIZE and
 * quantize_quickly(). */
#include <string.h>

#include "tensor/gemm_int8_priv.h"

#define PANEL        TB_INT8_PANEL
#define PANELS_MAX   4
#define A_BLOCK      ((size_t)1 << 18) /* bytes of a that stay in L2 */
#define DEPTH_ROWS   ((size_t)8)
#define QUANTIZE_RUN ((size_t)128)
#define NEAR_HALF    0.4998f     /* a quotient below 512 errs by less */
#define HALF_EVEN    12582912.0f /* 1.5 * 2^23: adding it rounds */

static size_t panel_bytes(const tb_int8_shape *s)
{
    return s->n_segments * ((s->k + 3) / 4) * PANEL * 4;
}

static void tile(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                 int32_t *sums, size_t rows, size_t vecs, size_t cols);

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

/* Bias and scale of one panel, padded, so that loops over it have a length that
 * the compiler knows. */
typedef struct panel_finish {
    _Alignas(64) int32_t bias[PANEL];
    _Alignas(64) float scale[PANEL];
    tb_int8_to to;
    float low;
    float high;
    int32_t zero;
    size_t bytes; /* of an element of c */
    size_t n;     /* columns that are there */
} panel_finish;

/* Of the panel from column j of n on. */
static panel_finish panel_finish_of(const tb_int8_finish *f, size_t j, size_t n)
{
    n = n - j < PANEL ? n - j : PANEL;
    panel_finish p = {.n = n,
                      .to = f->to,
                      .low = f->low,
                      .high = f->high,
                      .zero = f->zero,
                      .bytes = f->to == TB_INT8_TO_BYTES ? 1 : 4};
    if (f->bias != NULL) {
        memcpy(p.bias, f->bias + j, n * sizeof p.bias[0]);
    }
    if (f->to != TB_INT8_TO_SUMS) {
        memcpy(p.scale, f->scale + j, n * sizeof p.scale[0]);
    }
    return p;
}

static inline int32_t biased(int32_t sum, int32_t bias)
{
    return (int32_t)((uint32_t)sum + (uint32_t)bias);
}

/* Each of these finishes n_rows rows of one panel; sums lie step apart, rows of
 * c c_step elements. finish_bytes is the includer's. */
static void finish_bytes(uint8_t *c, size_t c_step, const int32_t *sum,
                         size_t step, const panel_finish *p, size_t n_rows);

/* Never inlined: only so does the compiler believe that nothing overlaps. */
#define NEVER_INLINE static __attribute__((noinline))

/* Unrolled too early a loop never becomes one vector. */
#ifdef __clang__
#define ROLLED
#else
#define ROLLED _Pragma("GCC unroll 1")
#endif

NEVER_INLINE void finish_sums(int32_t *restrict c, size_t c_step,
                              const int32_t *restrict sum, size_t step,
                              const panel_finish *restrict p, size_t n_rows)
{
    for (size_t r = 0; r < n_rows; r++, c += c_step, sum += step) {
        ROLLED
        for (size_t j = 0; j < PANEL; j++) {
            c[j] = biased(sum[j], p->bias[j]);
        }
    }
}

NEVER_INLINE void finish_floats(float *restrict c, size_t c_step,
                                const int32_t *restrict sum, size_t step,
                                const panel_finish *restrict p, size_t n_rows)
{
    float low = p->low;
    float high = p->high;
    for (size_t r = 0; r < n_rows; r++, c += c_step, sum += step) {
        ROLLED
        for (size_t j = 0; j < PANEL; j++) {
            float x = (float)biased(sum[j], p->bias[j]) * p->scale[j];
            c[j] = bound(x, low, high);
        }
    }
}

static void finish_rows(const panel_finish *p, void *c, size_t c_step,
                        const int32_t *sums, size_t step, size_t n_rows)
{
    switch (p->to) {
    case TB_INT8_TO_SUMS:
        finish_sums(c, c_step, sums, step, p, n_rows);
        break;
    case TB_INT8_TO_BYTES:
        finish_bytes(c, c_step, sums, step, p, n_rows);
        break;
    case TB_INT8_TO_FLOATS:
        finish_floats(c, c_step, sums, step, p, n_rows);
        break;
    }
}

/* Rows of one panel from sums [rows][step] to the element of c at `at`. */
static void finish_panel(const panel_finish *p, void *c, size_t at,
                         size_t c_step, const int32_t *sums, size_t step,
                         size_t rows)
{
    uint8_t *to = (uint8_t *)c + at * p->bytes;
    if (p->n == PANEL) {
        finish_rows(p, to, c_step, sums, step, rows);
        return;
    }
    for (size_t r = 0; r < rows; r++, to += c_step * p->bytes) {
        _Alignas(64) uint8_t some[PANEL * 4];
        finish_rows(p, some, PANEL, sums + r * step, step, 1);
        memcpy(to, some, p->n * p->bytes);
    }
}

/* --- tiles ---------------------------------------------------------------- */

/* Rows [from, to) against vecs panels from panel j on. */
static void sweep(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                  const tb_int8_finish *f, void *c, size_t from, size_t to,
                  size_t j, size_t vecs)
{
    _Alignas(64) int32_t sums[TILE_ROWS * 2 * PANEL];
    _Static_assert(WIDE_ROWS * PANELS_MAX <= TILE_ROWS * 2, "sums too small");
    panel_finish finish[PANELS_MAX];
    for (size_t v = 0; v < vecs; v++) {
        finish[v] = panel_finish_of(f, (j + v) * PANEL, s->n);
    }
    size_t n_tiles = (to - from + TILE_ROWS - 1) / TILE_ROWS;
    size_t i = from;
    for (size_t t = n_tiles; t > 0; t--) { /* of equal height, nearly */
        size_t rows = (to - i + t - 1) / t;
        tile(s, a + i * s->a_step, b + j * panel_bytes(s), sums, rows, vecs,
             s->n - j * PANEL);
        for (size_t v = 0; v < vecs; v++) {
            finish_panel(&finish[v], c, i * s->c_step + (j + v) * PANEL,
                         s->c_step, sums + v * PANEL, vecs * PANEL, rows);
        }
        i += rows;
    }
}

/* Rows [from, to) against all panels. */
static void block_of_rows(const tb_int8_shape *s, const uint8_t *a,
                          const int8_t *b, const tb_int8_finish *f, void *c,
                          size_t from, size_t to)
{
    size_t n_panels = (s->n + PANEL - 1) / PANEL;
    size_t vecs = 0;
    for (size_t j = 0; j < n_panels; j += vecs) {
        vecs = to - from <= WIDE_ROWS ? PANELS_MAX : 2;
        while (vecs > n_panels - j) {
            vecs /= 2;
        }
        sweep(s, a, b, f, c, from, to, j, vecs);
    }
}

static void gemm(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                 const tb_int8_finish *f, void *c)
{
    size_t k = s->k * s->n_segments;
    size_t block = A_BLOCK / (k + 1) / TILE_ROWS * TILE_ROWS + TILE_ROWS;
    for (size_t i = 0; i < s->m; i += block) {
        block_of_rows(s, a, b, f, c, i, s->m - i < block ? s->m : i + block);
    }
}

/* --- channels by themselves ----------------------------------------------- */

/* sums [rows][16] of 16 channels; the includer's. */
static void depth_tile(const tb_int8_shape *s, const uint8_t *a,
                       const int16_t *w, int32_t *sums, size_t rows);

static void depthwise(const tb_int8_shape *s, const uint8_t *a,
                      const int16_t *w, const tb_int8_finish *f, void *c)
{
    _Alignas(64) int32_t sums[DEPTH_ROWS * PANEL];
    for (size_t j = 0; j < s->n; j += PANEL, w += s->n_segments * PANEL) {
        panel_finish finish = panel_finish_of(f, j, s->n);
        for (size_t i = 0; i < s->m; i += DEPTH_ROWS) {
            size_t rows = s->m - i < DEPTH_ROWS ? s->m - i : DEPTH_ROWS;
            depth_tile(s, a + i * s->a_step + j, w, sums, rows);
            finish_panel(&finish, c, i * s->c_step + j, s->c_step, sums, PANEL,
                         rows);
        }
    }
}

/* --- floats to bytes ------------------------------------------------------ */

/* Some elements by division, as the standard has it. */
static void quantize_exactly(uint8_t *restrict y, const float *restrict x,
                             size_t n, float scale, const tb_int8_finish *f)
{
    for (size_t i = 0; i < n; i++) {
        float q = x[i] / scale;
        y[i] = to_byte(bound(q == q ? q : 0.0f, f->low, f->high), f->zero);
    }
}

/* The same by multiplication, which is a few times faster; false: some quotient
 * comes so near to a half that its rounding may differ, or is none. */
static bool quantize_quickly(uint8_t *restrict y, const float *restrict x,
                             size_t n, float inverse, const tb_int8_finish *f);

#ifndef OWN_QUANTIZE
/* |x| as a number that orders as it does. */
static inline uint32_t magnitude(float x)
{
    uint32_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7fffffffU;
}

static bool quantize_quickly(uint8_t *restrict y, const float *restrict x,
                             size_t n, float inverse, const tb_int8_finish *f)
{
    float low = f->low;
    float high = f->high;
    int32_t zero = f->zero;
    uint32_t worst = 0;
    for (size_t i = 0; i < n; i++) {
        float q = x[i] * inverse;
        q = bound(q == q ? q : 0.0f, low, high);
        float whole = (q + HALF_EVEN) - HALF_EVEN;
        uint32_t off = magnitude(q - whole);
        worst = off > worst ? off : worst;
        y[i] = (uint8_t)((int32_t)whole + zero);
    }
    return worst < magnitude(NEAR_HALF);
}
#endif

static void quantize(uint8_t *restrict y, const float *restrict x, size_t n,
                     float scale, float low, float high, int32_t zero)
{
    const tb_int8_finish f = {.low = low, .high = high, .zero = zero};
    float inverse = 1.0f / scale;
    bool normal = scale > 1e-30f && scale < 1e30f;
    for (size_t i = 0; i < n; i += QUANTIZE_RUN) {
        size_t m = n - i < QUANTIZE_RUN ? n - i : QUANTIZE_RUN;
        if (!normal || !quantize_quickly(y + i, x + i, m, inverse, &f)) {
            quantize_exactly(y + i, x + i, m, scale, &f);
        }
    }
}

static bool usable(void)
{
    return USABLE;
}

const tb_int8_set NAME = {.name = NAME_TEXT,
                          .usable = usable,
                          .gemm = gemm,
                          .depthwise = depthwise,
                          .quantize = quantize};
