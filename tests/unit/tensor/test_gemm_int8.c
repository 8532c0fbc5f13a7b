/* The product of bytes against plain loops and against numbers by hand, in
 * every set of instructions that this CPU has: equal to the last bit. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/stream.h"
#include "support/check.h"
#include "tensor/gemm_int8_priv.h"

enum { SEGMENTS_MAX = 5 };

/* m, n, k, segments: edges of tiles (3, 6, 14 rows), panels (16, 32, 64
 * columns) and quads, and the layers of a small network. */
static const size_t cases[][4] = {
    {1, 1, 1, 1},      {1, 1, 4, 1},    {2, 3, 5, 1},     {14, 32, 8, 1},
    {15, 33, 9, 1},    {13, 31, 7, 1},  {7, 64, 12, 1},   {6, 64, 10, 1},
    {5, 65, 3, 1},     {3, 80, 6, 2},   {28, 16, 5, 5},   {14, 17, 11, 3},
    {29, 48, 20, 5},   {1, 200, 98, 1}, {64, 10, 200, 1}, {4, 63, 1, 2},
    {300, 7, 1000, 1},
};

enum { N_CASES = sizeof cases / sizeof cases[0] };

static uint8_t *random_bytes(size_t n, uint64_t seed)
{
    tb_stream s;
    tb_stream_init(&s, seed, 0, "test", "");
    uint8_t *x = tb_mem_array(n, 1);
    CHECK(x != NULL);
    for (size_t i = 0; i < n; i++) {
        x[i] = (uint8_t)tb_stream_below(&s, 256);
    }
    return x;
}

/* One product with all that it reads and writes; each buffer is exactly as
 * large as it must be. */
typedef struct product {
    tb_int8_shape shape;
    size_t segment[SEGMENTS_MAX];
    uint8_t *a;
    uint8_t *b; /* [n][segments * k], read as int8 */
    int8_t *packed;
    int32_t *bias;
    float *scale;
    size_t n_c;
} product;

/* Columns that lie one behind the other. */
static tb_int8_layout rows_of(size_t terms, size_t k)
{
    return (tb_int8_layout){
        .column_step = terms, .segment_step = k, .n_inner = k, .inner_step = 1};
}

static void product_init(product *p, const size_t c[4], size_t gap)
{
    size_t terms = c[2] * c[3];
    size_t row = (c[3] - 1) * (c[2] + gap) + c[2];
    memset(p, 0, sizeof *p);
    for (size_t g = 0; g < c[3]; g++) {
        p->segment[g] = g * (c[2] + gap);
    }
    p->shape = (tb_int8_shape){.m = c[0],
                               .n = c[1],
                               .k = c[2],
                               .n_segments = c[3],
                               .segment = p->segment,
                               .a_step = row + gap,
                               .c_step = c[1] + gap};
    p->n_c = (c[0] - 1) * p->shape.c_step + c[1];
    p->a = random_bytes((c[0] - 1) * p->shape.a_step + row, 1);
    p->b = random_bytes(c[1] * terms, 2);
    p->packed = tb_mem_array(tb_int8_packed_bytes(c[1], c[3], c[2]), 1);
    p->bias = tb_mem_array(c[1], sizeof *p->bias);
    p->scale = tb_mem_array(c[1], sizeof *p->scale);
    CHECK(p->packed != NULL && p->bias != NULL && p->scale != NULL);
    tb_int8_layout rows = rows_of(terms, c[2]);
    tb_int8_pack(p->packed, p->b, &p->shape, &rows);
    for (size_t j = 0; j < c[1]; j++) {
        p->bias[j] = (int32_t)(j * 37 % 1001) - 500;
        p->scale[j] = 0.0007f + 0.0001f * (float)(j % 13);
    }
}

static void product_release(product *p)
{
    tb_mem_free(p->a);
    tb_mem_free(p->b);
    tb_mem_free(p->packed);
    tb_mem_free(p->bias);
    tb_mem_free(p->scale);
}

static void check_finish(const product *p, const tb_int8_set *set,
                         const tb_int8_finish *f)
{
    size_t size = f->to == TB_INT8_TO_BYTES ? 1 : 4;
    uint8_t *c = random_bytes(p->n_c * size, 3);
    uint8_t *want = random_bytes(p->n_c * size, 3);
    set->gemm(&p->shape, p->a, p->packed, f, c);
    tb_int8_gemm_naive(&p->shape, p->a, p->packed, f, want);
    CHECK(memcmp(c, want, p->n_c * size) == 0);
    tb_mem_free(c);
    tb_mem_free(want);
}

static void every_set_agrees_with_plain_loops_to_the_bit(void **state)
{
    (void)state;
    size_t n_sets = 0;
    const tb_int8_set *const *sets = tb_int8_sets(&n_sets);
    for (size_t i = 0; i < N_CASES * n_sets * 2; i++) {
        const tb_int8_set *set = sets[i / N_CASES % n_sets];
        product p;
        if (!set->usable()) {
            continue;
        }
        product_init(&p, cases[i % N_CASES], i / N_CASES / n_sets * 3);
        tb_int8_finish f = {.to = TB_INT8_TO_SUMS};
        check_finish(&p, set, &f);
        f.bias = p.bias;
        check_finish(&p, set, &f);
        f = (tb_int8_finish){.to = TB_INT8_TO_FLOATS,
                             .bias = p.bias,
                             .scale = p.scale,
                             .low = 0.0f,
                             .high = INFINITY};
        check_finish(&p, set, &f);
        f = (tb_int8_finish){.to = TB_INT8_TO_BYTES,
                             .scale = p.scale,
                             .low = -100.0f,
                             .high = 127.0f,
                             .zero = 128};
        check_finish(&p, set, &f);
        product_release(&p);
    }
}

/* The packed layout takes no part: b is read as it was given. */
static void sums_are_what_the_unpacked_matrices_give(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        product p;
        product_init(&p, cases[i], 1);
        const tb_int8_shape *s = &p.shape;
        const tb_int8_finish f = {.to = TB_INT8_TO_SUMS};
        int32_t *c = tb_mem_array(p.n_c, sizeof *c);
        int32_t *columns = tb_mem_array(s->n, sizeof *columns);
        CHECK(c != NULL && columns != NULL);
        tb_int8_gemm(s, p.a, p.packed, &f, c);
        tb_int8_column_sums(columns, p.packed, s);
        for (size_t j = 0; j < s->n; j++) {
            const int8_t *b = (const int8_t *)p.b + j * s->n_segments * s->k;
            int32_t column = 0;
            for (size_t t = 0; t < s->n_segments * s->k; t++) {
                column += b[t];
            }
            CHECK(columns[j] == column);
            for (size_t r = 0; r < s->m; r++) {
                int32_t sum = 0;
                for (size_t t = 0; t < s->n_segments * s->k; t++) {
                    size_t at = p.segment[t / s->k] + t % s->k;
                    sum += p.a[r * s->a_step + at] * b[t];
                }
                CHECK(c[r * s->c_step + j] == sum);
            }
        }
        tb_mem_free(c);
        tb_mem_free(columns);
        product_release(&p);
    }
}

/* The largest products that there are: vpmaddubsw would saturate here. */
static void extreme_bytes_do_not_saturate(void **state)
{
    (void)state;
    static const size_t zero = 0;
    const tb_int8_shape s = {1, 2, 8, 1, &zero, 8, 2};
    const uint8_t a[8] = {255, 255, 255, 255, 255, 255, 255, 255};
    const int8_t b[16] = {-128, -128, -128, -128, -128, -128, -128, -128,
                          127,  127,  127,  127,  127,  127,  127,  127};
    const tb_int8_finish f = {.to = TB_INT8_TO_SUMS};
    int8_t packed[128];
    size_t n_sets = 0;
    const tb_int8_set *const *sets = tb_int8_sets(&n_sets);
    CHECK(tb_int8_packed_bytes(2, 1, 8) == sizeof packed);
    const tb_int8_layout rows = rows_of(8, 8);
    tb_int8_pack(packed, b, &s, &rows);
    for (size_t i = 0; i < n_sets; i++) {
        int32_t c[2] = {0, 0};
        if (sets[i]->usable()) {
            sets[i]->gemm(&s, a, packed, &f, c);
            CHECK(c[0] == -261120 && c[1] == 259080);
        }
    }
}

static void packing_reads_strides_and_flips_unsigned_weights(void **state)
{
    (void)state;
    static const size_t zero = 0;
    const tb_int8_shape s = {1, 2, 3, 1, &zero, 3, 2};
    const uint8_t b[6] = {0, 128, 255, 1, 127, 129}; /* [k, n] */
    const uint8_t a[3] = {1, 2, 3};
    const tb_int8_finish f = {.to = TB_INT8_TO_SUMS};
    int8_t packed[64];
    int32_t c[2];
    const tb_int8_layout turned = {
        .column_step = 1, .n_inner = 3, .inner_step = 2, .flip = true};
    tb_int8_pack(packed, b, &s, &turned);
    tb_int8_gemm(&s, a, packed, &f, c);
    CHECK(c[0] == -128 + 2 * 127 + 3 * -1 && c[1] == 0 + 2 * -127 + 3 * 1);
}

static void halves_are_rounded_to_even_and_bounds_hold(void **state)
{
    (void)state;
    static const size_t zero = 0;
    const tb_int8_shape s = {8, 1, 1, 1, &zero, 1, 1};
    const uint8_t a[8] = {0, 1, 2, 3, 5, 7, 200, 255};
    const int8_t b[1] = {1};
    const float half = 0.5f;
    const int32_t minus_one = -1;
    const tb_int8_finish f = {.to = TB_INT8_TO_BYTES,
                              .bias = &minus_one,
                              .scale = &half,
                              .low = 0.0f,
                              .high = 100.0f,
                              .zero = 10};
    int8_t packed[64];
    size_t n_sets = 0;
    const tb_int8_set *const *sets = tb_int8_sets(&n_sets);
    const tb_int8_layout rows = rows_of(1, 1);
    tb_int8_pack(packed, b, &s, &rows);
    for (size_t i = 0; i < n_sets; i++) {
        /* -0.5 (cut), 0, 0.5, 1, 2, 3, 99.5, 127 (cut) */
        const uint8_t want[8] = {10, 10, 10, 11, 12, 13, 110, 110};
        uint8_t c[8] = {0};
        if (sets[i]->usable()) {
            sets[i]->gemm(&s, a, packed, &f, c);
            CHECK(memcmp(c, want, sizeof c) == 0);
        }
    }
}

/* 37 channels by themselves, 9 taps, 11 pixels two apart. */
static void channels_by_themselves_are_sums_over_taps(void **state)
{
    (void)state;
    enum { N = 37, TAPS = 9, M = 11, PANELS = 3, STEP = 2 * N };
    size_t tap[TAPS];
    int16_t w[PANELS * TAPS * TB_INT8_PANEL] = {0};
    int32_t want[M * N];
    uint8_t *x = random_bytes(M * STEP + TAPS * 100 + 16, 1);
    uint8_t *bytes = random_bytes((size_t)N * TAPS, 2);
    for (size_t t = 0; t < TAPS; t++) {
        tap[t] = t * 101 % 800;
    }
    for (size_t i = 0; i < (size_t)N * TAPS; i++) {
        size_t c = i / TAPS;
        w[((c / TB_INT8_PANEL) * TAPS + i % TAPS) * TB_INT8_PANEL +
          c % TB_INT8_PANEL] = (int8_t)bytes[i];
    }
    for (size_t i = 0; i < (size_t)M * N; i++) {
        want[i] = 0;
        for (size_t t = 0; t < TAPS; t++) {
            want[i] += x[i / N * STEP + tap[t] + i % N] *
                       (int8_t)bytes[i % N * TAPS + t];
        }
    }
    const tb_int8_shape s = {M, N, 1, TAPS, tap, STEP, N};
    const tb_int8_finish f = {.to = TB_INT8_TO_SUMS};
    size_t n_sets = 0;
    const tb_int8_set *const *sets = tb_int8_sets(&n_sets);
    for (size_t k = 0; k < n_sets; k++) {
        int32_t c[M * N];
        if (sets[k]->usable()) {
            sets[k]->depthwise(&s, x, w, &f, c);
            CHECK(memcmp(c, want, sizeof c) == 0);
        }
    }
    tb_mem_free(x);
    tb_mem_free(bytes);
}

/* By the standard's formula: saturate(round(x / scale) + zero). */
static void quantizing_is_rounding_of_the_quotient(void **state)
{
    (void)state;
    float x[100];
    size_t n_sets = 0;
    const tb_int8_set *const *sets = tb_int8_sets(&n_sets);
    for (size_t i = 0; i < 100; i++) {
        x[i] = 0.05f * (float)i - 2.0f;
    }
    x[3] = NAN;
    x[4] = INFINITY;
    x[5] = -INFINITY;
    x[6] = 3e38f;
    for (size_t k = 0; k < n_sets; k++) {
        uint8_t y[100];
        if (!sets[k]->usable()) {
            continue;
        }
        sets[k]->quantize(y, x, 100, 0.1f, -7.0f, 248.0f, 7);
        for (size_t i = 0; i < 100; i++) {
            double q = isnan(x[i]) ? 0.0 : nearbyint((double)(x[i] / 0.1f));
            q = fmin(fmax(q + 7.0, 0.0), 255.0);
            CHECK(y[i] == (uint8_t)q);
        }
        CHECK(y[3] == 7 && y[4] == 255 && y[5] == 0 && y[6] == 255);
    }
}

static void a_product_of_nothing_does_nothing(void **state)
{
    (void)state;
    static const size_t zero = 0;
    const tb_int8_shape s = {0, 2, 1, 1, &zero, 1, 2};
    const tb_int8_finish f = {.to = TB_INT8_TO_SUMS};
    const int8_t packed[64] = {0};
    int32_t c[2] = {5, 6};
    tb_int8_gemm(&s, (const uint8_t *)c, packed, &f, c);
    CHECK(c[0] == 5 && c[1] == 6);
    CHECK(tb_int8_isa() != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_set_agrees_with_plain_loops_to_the_bit),
        cmocka_unit_test(sums_are_what_the_unpacked_matrices_give),
        cmocka_unit_test(extreme_bytes_do_not_saturate),
        cmocka_unit_test(packing_reads_strides_and_flips_unsigned_weights),
        cmocka_unit_test(halves_are_rounded_to_even_and_bounds_hold),
        cmocka_unit_test(channels_by_themselves_are_sums_over_taps),
        cmocka_unit_test(quantizing_is_rounding_of_the_quotient),
        cmocka_unit_test(a_product_of_nothing_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
