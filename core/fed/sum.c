#include "fed/sum.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "fed/codec_priv.h"
#include "fed/sum_priv.h"

#define SUM_BITS     62 /* of the 63 of an int64; one bit is spare */
#define SUM_VERSION  2u
#define FIXED_BYTES  (4 + 4 + 4 + 4 + 4 + 4 + 4)
#define SECTION_SIZE 9
#define COUNTS_SIZE  20

__extension__ typedef unsigned __int128 u128;

static const char magic[4] = {'T', 'B', 'S', 'M'};

struct tb_sum {
    uint32_t fraction_bits, max_weight, max_updates;
    float max_abs;
    double scale; /* 2^fraction_bits */
    uint32_t n_sections;
    tb_section sections[TB_SECTIONS_MAX]; /* names are not used */
    size_t n_values;
    uint64_t weight;    /* of the counted updates */
    uint64_t full;      /* what it would be if none were damped */
    uint32_t n_updates; /* counted */
    int64_t *acc;       /* [n_values], owned */
    const tb_sum_kernel *kernel;
};

/* Smallest k with v <= 2^k. */
static int ceil_log2(u128 v)
{
    int k = 0;
    while (k < 127 && ((u128)1 << k) < v) {
        k++;
    }
    return k;
}

tb_rc tb_sum_fraction_bits(uint32_t *out, uint32_t max_updates,
                           uint32_t max_weight, float max_abs, tb_err *err)
{
    if (max_updates == 0 || max_weight == 0 || !isfinite(max_abs) ||
        max_abs <= 0.0F) {
        return tb_fail(err, TB_E_USAGE,
                       "exact sum: cohort %u, max_weight %u and max_abs %g "
                       "must be over 0 and finite",
                       max_updates, max_weight, (double)max_abs);
    }
    int exponent = 0;
    double mantissa = frexp((double)max_abs, &exponent);
    u128 product = (u128)max_updates * max_weight *
                   (uint32_t)ldexp(mantissa, FLT_MANT_DIG);
    int f = SUM_BITS - (ceil_log2(product) + exponent - FLT_MANT_DIG);
    if (f < (int)TB_FRACTION_BITS_MIN) {
        return tb_fail(err, TB_E_LIMIT,
                       "exact sum: cohort %u * max_weight %u * max_abs %g "
                       "leaves %d bits behind the point, %u are needed: lower "
                       "one of them",
                       max_updates, max_weight, (double)max_abs, f,
                       TB_FRACTION_BITS_MIN);
    }
    *out = f < SUM_BITS ? (uint32_t)f : TB_FRACTION_BITS_MAX;
    return TB_OK;
}

static tb_rc count_values(size_t *out, const tb_round_config *config,
                          tb_err *err)
{
    size_t n = 0;
    const uint64_t max = (uint64_t)TB_BLOCKS_MAX * TB_BLOCK_VALUES;
    for (uint32_t i = 0; i < config->n_sections; i++) {
        uint64_t more = config->sections[i].n_values;
        if (more == 0 || more > max - n) {
            return tb_fail(err, TB_E_LIMIT,
                           "exact sum: section %u has %llu values, the sum is "
                           "bounded to %llu",
                           i, (unsigned long long)more,
                           (unsigned long long)max);
        }
        n += (size_t)more;
    }
    *out = n;
    return TB_OK;
}

tb_rc tb_sum_new(tb_sum **out, const tb_round_config *config,
                 uint32_t max_updates, tb_err *err)
{
    *out = NULL;
    uint32_t f = 0;
    size_t n = 0;
    uint32_t heaviest =
        config->sum_weight > 0 ? config->sum_weight : config->max_weight;
    tb_rc rc =
        tb_sum_fraction_bits(&f, max_updates, heaviest, config->max_abs, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (config->fraction_bits > f || config->n_sections == 0 ||
        config->n_sections > TB_SECTIONS_MAX) {
        return tb_fail(err, TB_E_LIMIT,
                       "exact sum: %u fraction bits where %u are safe, %u "
                       "sections",
                       config->fraction_bits, f, config->n_sections);
    }
    rc = count_values(&n, config, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_sum *sum = tb_mem_array(1, sizeof *sum);
    int64_t *acc = tb_mem_aligned(n, sizeof *acc);
    if (sum == NULL || acc == NULL) {
        tb_mem_free(sum);
        tb_mem_free(acc);
        return tb_fail(err, TB_E_NOMEM, "exact sum: %zu values", n);
    }
    *sum = (tb_sum){.fraction_bits = config->fraction_bits,
                    .max_weight = heaviest,
                    .max_updates = max_updates,
                    .max_abs = config->max_abs,
                    .scale = ldexp(1.0, (int)config->fraction_bits),
                    .n_sections = config->n_sections,
                    .n_values = n,
                    .acc = acc,
                    .kernel = tb_sum_kernel_best()};
    memcpy(sum->sections, config->sections,
           config->n_sections * sizeof sum->sections[0]);
    *out = sum;
    return TB_OK;
}

void tb_sum_free(tb_sum **sum)
{
    if (*sum != NULL) {
        tb_mem_free((*sum)->acc);
        tb_mem_free(*sum);
        *sum = NULL;
    }
}

size_t tb_sum_values(const tb_sum *sum)
{
    return sum->n_values;
}

/* One run of values inside one section. */
typedef struct span {
    size_t at, n; /* of the whole sum */
    bool weighted;
} span;

/* The run that starts at `at` and ends with its section or at `end`. */
static span span_at(const tb_sum *sum, size_t at, size_t end)
{
    size_t section_end = 0;
    uint32_t i = 0;
    for (; i < sum->n_sections; i++) {
        section_end += (size_t)sum->sections[i].n_values;
        if (at < section_end) {
            break;
        }
    }
    size_t stop = end < section_end ? end : section_end;
    return (span){at, stop - at, sum->sections[i].weighted};
}

static tb_rc check_place(const tb_sum *sum, size_t offset, size_t n,
                         tb_err *err)
{
    if (offset > sum->n_values || n > sum->n_values - offset) {
        return tb_fail(err, TB_E_MISMATCH, "exact sum: values %zu + %zu of %zu",
                       offset, n, sum->n_values);
    }
    return TB_OK;
}

static tb_rc check_weight(const tb_sum *sum, uint32_t weight, tb_err *err)
{
    if (weight == 0 || weight > sum->max_weight) {
        return tb_fail(err, TB_E_LIMIT, "weight %u is not in 1 to %u", weight,
                       sum->max_weight);
    }
    return TB_OK;
}

static tb_rc check_values(const tb_sum_kernel *kernel, float max_abs,
                          const float *x, size_t n, tb_err *err)
{
    if (kernel->fits(x, n, max_abs)) {
        return TB_OK;
    }
    size_t i = 0;
    while (fabsf(x[i]) <= max_abs) {
        i++;
    }
    if (!isfinite(x[i])) {
        return tb_fail(err, TB_E_MALFORMED, "value %zu is not finite", i);
    }
    return tb_fail(err, TB_E_LIMIT, "value %zu is %g, over max_abs %g", i,
                   (double)x[i], (double)max_abs);
}

tb_rc tb_sum_check_values(float max_abs, const float *x, size_t n, tb_err *err)
{
    return check_values(tb_sum_kernel_best(), max_abs, x, n, err);
}

/* A weight under 0 subtracts. */
static tb_rc add(tb_sum *sum, size_t offset, const float *x, size_t n,
                 int64_t weight, tb_err *err)
{
    tb_rc rc = check_place(sum, offset, n, err);
    if (rc == TB_OK) {
        rc = check_weight(sum, (uint32_t)(weight < 0 ? -weight : weight), err);
    }
    if (rc == TB_OK && n > 0) {
        rc = check_values(sum->kernel, sum->max_abs, x, n, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    bool near = (double)sum->max_abs * sum->scale < TB_SUM_NEAR;
    for (size_t at = offset; at < offset + n;) {
        span s = span_at(sum, at, offset + n);
        int64_t once = weight < 0 ? -1 : 1;
        (near ? sum->kernel->axpy
              : tb_sum_axpy_far)(sum->acc + s.at, x + (s.at - offset), s.n,
                                 sum->scale, s.weighted ? weight : once);
        at += s.n;
    }
    return TB_OK;
}

tb_rc tb_sum_add(tb_sum *sum, size_t offset, const float *x, size_t n,
                 uint32_t weight, tb_err *err)
{
    return add(sum, offset, x, n, (int64_t)weight, err);
}

tb_rc tb_sum_subtract(tb_sum *sum, size_t offset, const float *x, size_t n,
                      uint32_t weight, tb_err *err)
{
    return add(sum, offset, x, n, -(int64_t)weight, err);
}

static tb_rc check_damped(const tb_sum *sum, uint32_t weight, uint32_t full,
                          tb_err *err)
{
    tb_rc rc = check_weight(sum, weight, err);
    if (rc == TB_OK) {
        rc = check_weight(sum, full, err);
    }
    if (rc == TB_OK && weight > full) {
        rc = tb_fail(err, TB_E_LIMIT, "weight %u of at most %u", weight, full);
    }
    return rc;
}

tb_rc tb_sum_count_damped(tb_sum *sum, uint32_t weight, uint32_t full,
                          tb_err *err)
{
    tb_rc rc = check_damped(sum, weight, full, err);
    if (rc == TB_OK && sum->n_updates == sum->max_updates) {
        rc = tb_fail(err, TB_E_LIMIT, "exact sum: holds %u updates already",
                     sum->n_updates);
    }
    if (rc == TB_OK) {
        sum->n_updates++;
        sum->weight += weight;
        sum->full += full;
    }
    return rc;
}

tb_rc tb_sum_uncount_damped(tb_sum *sum, uint32_t weight, uint32_t full,
                            tb_err *err)
{
    tb_rc rc = check_damped(sum, weight, full, err);
    if (rc == TB_OK &&
        (sum->n_updates == 0 || weight > sum->weight || full > sum->full)) {
        rc = tb_fail(err, TB_E_LIMIT, "exact sum: no update of weight %u",
                     weight);
    }
    if (rc == TB_OK) {
        sum->n_updates--;
        sum->weight -= weight;
        sum->full -= full;
    }
    return rc;
}

tb_rc tb_sum_count(tb_sum *sum, uint32_t weight, tb_err *err)
{
    return tb_sum_count_damped(sum, weight, weight, err);
}

tb_rc tb_sum_uncount(tb_sum *sum, uint32_t weight, tb_err *err)
{
    return tb_sum_uncount_damped(sum, weight, weight, err);
}

uint64_t tb_sum_weight(const tb_sum *sum)
{
    return sum->weight;
}

uint64_t tb_sum_full(const tb_sum *sum)
{
    return sum->full;
}

uint32_t tb_sum_updates(const tb_sum *sum)
{
    return sum->n_updates;
}

static bool same_layout(const tb_sum *a, const tb_sum *b)
{
    if (a->fraction_bits != b->fraction_bits || a->max_abs != b->max_abs ||
        a->max_weight != b->max_weight || a->max_updates != b->max_updates ||
        a->n_sections != b->n_sections) {
        return false;
    }
    for (uint32_t i = 0; i < a->n_sections; i++) {
        if (a->sections[i].n_values != b->sections[i].n_values ||
            a->sections[i].weighted != b->sections[i].weighted) {
            return false;
        }
    }
    return true;
}

tb_rc tb_sum_merge(tb_sum *into, const tb_sum *from, tb_err *err)
{
    if (!same_layout(into, from)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "exact sum: other sections or "
                       "bounds cannot be merged");
    }
    if (from->n_updates > into->max_updates - into->n_updates) {
        return tb_fail(err, TB_E_LIMIT, "exact sum: %u + %u updates over %u",
                       into->n_updates, from->n_updates, into->max_updates);
    }
    for (size_t i = 0; i < into->n_values; i++) {
        into->acc[i] =
            (int64_t)((uint64_t)into->acc[i] + (uint64_t)from->acc[i]);
    }
    into->n_updates += from->n_updates;
    into->weight += from->weight;
    into->full += from->full;
    return TB_OK;
}

tb_rc tb_sum_mean(const tb_sum *sum, size_t offset, float *out, size_t n,
                  tb_err *err)
{
    tb_rc rc = check_place(sum, offset, n, err);
    if (rc == TB_OK && sum->n_updates == 0) {
        rc = tb_fail(err, TB_E_MISMATCH, "exact sum: it is empty");
    }
    if (rc != TB_OK) {
        return rc;
    }
    for (size_t at = offset; at < offset + n;) {
        span s = span_at(sum, at, offset + n);
        double count = s.weighted ? (double)sum->full : (double)sum->n_updates;
        for (size_t i = s.at; i < s.at + s.n; i++) {
            out[i - offset] = (float)((double)sum->acc[i] / count / sum->scale);
        }
        at += s.n;
    }
    return TB_OK;
}

tb_rc tb_sum_values_get(const tb_sum *sum, size_t offset, uint8_t *out,
                        size_t n, tb_err *err)
{
    tb_rc rc = check_place(sum, offset, n, err);
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        tb_le64_put(out + 8 * i, (uint64_t)sum->acc[offset + i]);
    }
    return rc;
}

tb_rc tb_sum_values_put(tb_sum *sum, size_t offset, const uint8_t *bytes,
                        size_t n, tb_err *err)
{
    tb_rc rc = check_place(sum, offset, n, err);
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        sum->acc[offset + i] = (int64_t)tb_le64_get(bytes + 8 * i);
    }
    return rc;
}

void tb_sum_clear(tb_sum *sum)
{
    memset(sum->acc, 0, sum->n_values * sizeof *sum->acc);
    sum->weight = 0;
    sum->full = 0;
    sum->n_updates = 0;
}

/* Bytes of a sum before its values. */
static size_t head_bytes(const tb_sum *sum)
{
    return FIXED_BYTES + (size_t)SECTION_SIZE * sum->n_sections + COUNTS_SIZE;
}

static void put_head(const tb_sum *sum, uint8_t *at)
{
    memcpy(at, magic, sizeof magic);
    tb_le32_put(at + 4, SUM_VERSION);
    tb_le32_put(at + 8, sum->fraction_bits);
    tb_codec_put_f32(at + 12, sum->max_abs);
    tb_le32_put(at + 16, sum->max_weight);
    tb_le32_put(at + 20, sum->max_updates);
    tb_le32_put(at + 24, sum->n_sections);
    at += FIXED_BYTES;
    for (uint32_t i = 0; i < sum->n_sections; i++, at += SECTION_SIZE) {
        tb_le64_put(at, sum->sections[i].n_values);
        at[8] = sum->sections[i].weighted;
    }
    tb_le64_put(at, sum->weight);
    tb_le64_put(at + 8, sum->full);
    tb_le32_put(at + 16, sum->n_updates);
}

#define HEAD_MAX (FIXED_BYTES + SECTION_SIZE * TB_SECTIONS_MAX + COUNTS_SIZE)

tb_hash tb_sum_hash(const tb_sum *sum)
{
    uint8_t head[HEAD_MAX];
    put_head(sum, head);
    tb_hasher hasher;
    tb_hasher_init(&hasher);
    tb_hasher_add(&hasher, head, head_bytes(sum));
    for (size_t i = 0; i < sum->n_values; i++) {
        uint8_t value[8];
        tb_le64_put(value, (uint64_t)sum->acc[i]);
        tb_hasher_add(&hasher, value, sizeof value);
    }
    return tb_hasher_end(&hasher);
}

tb_rc tb_sum_encode(const tb_sum *sum, tb_buf *out, tb_err *err)
{
    size_t head = head_bytes(sum);
    size_t total = head + 8 * sum->n_values + TB_HASH_BYTES;
    tb_rc rc = tb_buf_reserve(out, total, err);
    if (rc != TB_OK) {
        return rc;
    }
    uint8_t *at = out->data + out->len;
    put_head(sum, at);
    for (size_t i = 0; i < sum->n_values; i++) {
        tb_le64_put(at + head + 8 * i, (uint64_t)sum->acc[i]);
    }
    tb_hash hash = tb_hash_of(at, total - TB_HASH_BYTES);
    memcpy(at + total - TB_HASH_BYTES, hash.bytes, TB_HASH_BYTES);
    out->len += total;
    return TB_OK;
}

/* Reads counts and values into an empty sum whose layout bytes agreed. */
static tb_rc read_values(tb_sum *sum, const uint8_t *counts, tb_err *err)
{
    sum->weight = tb_le64_get(counts);
    sum->full = tb_le64_get(counts + 8);
    sum->n_updates = tb_le32_get(counts + 16);
    if (sum->n_updates > sum->max_updates || sum->weight < sum->n_updates ||
        sum->weight > sum->full ||
        sum->full > (uint64_t)sum->n_updates * sum->max_weight) {
        return tb_fail(err, TB_E_MALFORMED,
                       "exact sum: %u updates of weight %llu", sum->n_updates,
                       (unsigned long long)sum->weight);
    }
    int64_t largest = llrint((double)sum->max_abs * sum->scale);
    for (size_t at = 0; at < sum->n_values;) {
        span s = span_at(sum, at, sum->n_values);
        int64_t count = (int64_t)(s.weighted ? sum->weight : sum->n_updates);
        for (size_t i = s.at; i < s.at + s.n; i++) {
            int64_t v = (int64_t)tb_le64_get(counts + COUNTS_SIZE + 8 * i);
            if (v > largest * count || v < -largest * count) {
                return tb_fail(err, TB_E_MALFORMED,
                               "exact sum: value %zu cannot be", i);
            }
            sum->acc[i] = v;
        }
        at += s.n;
    }
    return TB_OK;
}

tb_rc tb_sum_decode(tb_sum **out, const tb_round_config *config,
                    uint32_t max_updates, const uint8_t *bytes, size_t len,
                    tb_err *err)
{
    *out = NULL;
    uint8_t head[HEAD_MAX];
    tb_sum *sum = NULL;
    tb_rc rc = tb_sum_new(&sum, config, max_updates, err);
    if (rc != TB_OK) {
        return rc;
    }
    size_t layout = head_bytes(sum) - COUNTS_SIZE;
    size_t body = head_bytes(sum) + 8 * sum->n_values;
    if (len < 8 || memcmp(bytes, magic, sizeof magic) != 0) {
        rc = tb_fail(err, TB_E_MALFORMED, "exact sum: these %zu bytes are none",
                     len);
        goto done;
    }
    if (tb_le32_get(bytes + 4) != SUM_VERSION) {
        rc = tb_fail(err, TB_E_UNSUPPORTED, "exact sum: version %u",
                     tb_le32_get(bytes + 4));
        goto done;
    }
    put_head(sum, head);
    if (len < layout || memcmp(bytes, head, layout) != 0) {
        rc = tb_fail(err, TB_E_MISMATCH, "exact sum: other sections or bounds");
        goto done;
    }
    if (len != body + TB_HASH_BYTES) {
        rc = tb_fail(err, TB_E_MALFORMED, "exact sum: %zu bytes, not %zu", len,
                     body + TB_HASH_BYTES);
        goto done;
    }
    tb_hash hash = tb_hash_of(bytes, body);
    if (memcmp(hash.bytes, bytes + body, TB_HASH_BYTES) != 0) {
        rc = tb_fail(err, TB_E_MALFORMED, "exact sum: its bytes were altered");
        goto done;
    }
    rc = read_values(sum, bytes + layout, err);
    if (rc == TB_OK) {
        *out = sum;
        sum = NULL;
    }
done:
    tb_sum_free(&sum);
    return rc;
}
