/* core/tensor/gemm_int8.c - packs weights, chooses the instruction set once,
 * and holds the plain loops that the sets are compared with. */
#include "tensor/gemm_int8.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "tensor/gemm_int8_priv.h"

#define QUAD 4 /* terms of a column that lie together */

static const tb_int8_set *const sets[] = {
#ifdef TB_K_X86
    &tb_int8_vnni,
    &tb_int8_avx2,
#endif
    &tb_int8_portable,
};

const tb_int8_set *const *tb_int8_sets(size_t *n)
{
    *n = sizeof sets / sizeof sets[0];
    return sets;
}

/* Two threads may both look; they find the same. */
static const tb_int8_set *chosen(void)
{
    static const tb_int8_set *_Atomic found;
    const tb_int8_set *set = atomic_load_explicit(&found, memory_order_relaxed);
    if (set != NULL) {
        return set;
    }
    size_t i = 0;
    while (!sets[i]->usable()) {
        i++; /* the last one always is */
    }
    atomic_store_explicit(&found, sets[i], memory_order_relaxed);
    return sets[i];
}

const char *tb_int8_isa(void)
{
    return chosen()->name;
}

/* --- packing -------------------------------------------------------------- */

static size_t padded_terms(size_t n_segments, size_t k)
{
    return n_segments * ((k + QUAD - 1) / QUAD * QUAD);
}

size_t tb_int8_packed_bytes(size_t n, size_t n_segments, size_t k)
{
    size_t panels = (n + TB_INT8_PANEL - 1) / TB_INT8_PANEL;
    return panels * TB_INT8_PANEL * padded_terms(n_segments, k);
}

/* Where term p of segment g of column j lies. */
static size_t packed_at(const tb_int8_shape *s, size_t j, size_t g, size_t p)
{
    size_t terms = padded_terms(s->n_segments, s->k);
    size_t term = g * padded_terms(1, s->k) + p;
    size_t panel = j / TB_INT8_PANEL * TB_INT8_PANEL * terms;
    return panel + (term / QUAD * TB_INT8_PANEL + j % TB_INT8_PANEL) * QUAD +
           term % QUAD;
}

/* Segment g of up to 16 columns from column j on, term by term: where each is
 * stored, follows without a division. */
static void pack_segment(int8_t *to, const uint8_t *from,
                         const tb_int8_shape *s, const tb_int8_layout *l,
                         size_t n_columns)
{
    uint8_t mask = l->flip ? 0x80 : 0;
    size_t inner = 0;
    size_t at = 0;
    for (size_t p = 0; p < s->k; p++) {
        int8_t *quad = to + p / QUAD * TB_INT8_PANEL * QUAD + p % QUAD;
        for (size_t c = 0; c < n_columns; c++) {
            quad[c * QUAD] = (int8_t)(from[c * l->column_step + at] ^ mask);
        }
        at += l->inner_step;
        if (++inner == l->n_inner) {
            at += l->outer_step - l->n_inner * l->inner_step;
            inner = 0;
        }
    }
}

void tb_int8_pack(int8_t *packed, const void *b, const tb_int8_shape *s,
                  const tb_int8_layout *l)
{
    const uint8_t *from = b;
    memset(packed, 0, tb_int8_packed_bytes(s->n, s->n_segments, s->k));
    for (size_t j = 0; j < s->n; j += TB_INT8_PANEL) {
        size_t left = s->n - j;
        size_t n_columns = left < TB_INT8_PANEL ? left : TB_INT8_PANEL;
        for (size_t g = 0; g < s->n_segments; g++) {
            pack_segment(packed + packed_at(s, j, g, 0),
                         from + j * l->column_step + g * l->segment_step, s, l,
                         n_columns);
        }
    }
}

void tb_int8_column_sums(int32_t *sums, const int8_t *packed,
                         const tb_int8_shape *s)
{
    size_t n_quads = padded_terms(s->n_segments, s->k) / QUAD;
    for (size_t j = 0; j < s->n; j += TB_INT8_PANEL) {
        uint32_t sum[TB_INT8_PANEL] = {0};
        size_t left = s->n - j;
        for (size_t q = 0; q < n_quads; q++) {
            for (size_t c = 0; c < TB_INT8_PANEL; c++, packed += QUAD) {
                sum[c] +=
                    (uint32_t)(packed[0] + packed[1] + packed[2] + packed[3]);
            }
        }
        for (size_t c = 0; c < TB_INT8_PANEL && c < left; c++) {
            sums[j + c] = (int32_t)sum[c];
        }
    }
}

/* --- products ------------------------------------------------------------- */

void tb_int8_gemm(const tb_int8_shape *s, const uint8_t *a,
                  const int8_t *packed, const tb_int8_finish *finish, void *c)
{
    if (s->m > 0 && s->n > 0) {
        chosen()->gemm(s, a, packed, finish, c);
    }
}

void tb_int8_depthwise(const tb_int8_shape *s, const uint8_t *a,
                       const int16_t *packed, const tb_int8_finish *finish,
                       void *c)
{
    if (s->m > 0 && s->n > 0) {
        chosen()->depthwise(s, a, packed, finish, c);
    }
}

void tb_int8_quantize(uint8_t *y, const float *x, size_t n, float scale,
                      float low, float high, int32_t zero)
{
    chosen()->quantize(y, x, n, scale, low, high, zero);
}

static void finish_naive(const tb_int8_finish *f, void *c, size_t at, size_t j,
                         int32_t sum)
{
    if (f->to == TB_INT8_TO_SUMS) {
        ((int32_t *)c)[at] = sum;
        return;
    }
    float y = fminf(fmaxf((float)sum * f->scale[j], f->low), f->high);
    if (f->to == TB_INT8_TO_FLOATS) {
        ((float *)c)[at] = y;
    } else {
        ((uint8_t *)c)[at] = (uint8_t)((int32_t)nearbyintf(y) + f->zero);
    }
}

void tb_int8_gemm_naive(const tb_int8_shape *s, const uint8_t *a,
                        const int8_t *packed, const tb_int8_finish *f, void *c)
{
    for (size_t i = 0; i < s->m; i++) {
        for (size_t j = 0; j < s->n; j++) {
            int64_t sum = f->bias != NULL ? f->bias[j] : 0;
            for (size_t g = 0; g < s->n_segments; g++) {
                const uint8_t *x = a + i * s->a_step + s->segment[g];
                for (size_t p = 0; p < s->k; p++) {
                    sum += (int64_t)x[p] * packed[packed_at(s, j, g, p)];
                }
            }
            finish_naive(f, c, i * s->c_step + j, j, (int32_t)(uint32_t)sum);
        }
    }
}
