/* The exact sum, against hand figures and a naive twin in 128-bit integers. */
#include "fed/sum.h"

#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/stream.h"
#include "fed/sum_priv.h"
#include "round_config.h"

__extension__ typedef __int128 i128;

#define N 1000

static tb_sum *new_sum(const tb_round_config *config, uint32_t max_updates)
{
    tb_sum *sum = NULL;
    tb_err err = {0};
    CHECK_OK(tb_sum_new(&sum, config, max_updates, &err), err);
    return sum;
}

static void fraction_bits_are_those_of_the_formula(void **state)
{
    static const struct {
        uint32_t updates, weight;
        float max_abs;
        uint32_t f;
    } rows[] = {
        {1, 1, 1.0F, 62},          /* 62 - 0 */
        {1, 1, 0.25F, 62},         /* 64, but 62 is the most */
        {1, 1, 2.0F, 61},          /* 62 - 1 */
        {1, 1, 1.5F, 61},          /* ceil(log2 1.5) = 1 */
        {3, 1, 1.0F, 60},          /* ceil(log2 3) = 2 */
        {4, 1, 1.0F, 60},          /* exactly 2 */
        {5, 1, 1.0F, 59},          /* 3 */
        {10, 131072, 64.0F, 35},   /* log2 = 3.32 + 17 + 6 */
        {1000, 60000, 100.0F, 29}, /* log2 6e9 = 32.48 */
        {100000, 65536, 0.5F, 30}, /* log2 = 16.61 + 16 - 1 = 31.6 */
    };
    uint32_t f = 0;
    tb_err err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_OK(tb_sum_fraction_bits(&f, rows[i].updates, rows[i].weight,
                                      rows[i].max_abs, &err),
                 err);
        assert_int_equal(f, rows[i].f);
    }
    CHECK_ERR(tb_sum_fraction_bits(&f, 100000, 1u << 31, 1024.0F, &err),
              TB_E_LIMIT, err, "max_weight");
    CHECK_ERR(tb_sum_fraction_bits(&f, 0, 1, 1.0F, &err), TB_E_USAGE, err,
              "cohort 0");
    CHECK_ERR(tb_sum_fraction_bits(&f, 1, 1, NAN, &err), TB_E_USAGE, err,
              "max_abs");
    CHECK_ERR(tb_sum_fraction_bits(&f, 1, 1, 0.0F, &err), TB_E_USAGE, err,
              "max_abs");
}

static void a_bound_that_could_overflow_is_refused(void **state)
{
    tb_round_config config = round_config(10, 0, "f32");
    tb_sum *sum = NULL;
    tb_err err = {0};
    (void)state;
    config.fraction_bits = 45; /* 62 - ceil(log2(16 * 1000 * 8)) = 45 */
    CHECK_OK(tb_sum_new(&sum, &config, 16, &err), err);
    tb_sum_free(&sum);
    config.fraction_bits = 46;
    CHECK_ERR(tb_sum_new(&sum, &config, 16, &err), TB_E_LIMIT, err, "46");
    CHECK(sum == NULL);
}

/* Values of client c: spread over all magnitudes up to max_abs. */
static void fill(float *x, size_t n, uint64_t c)
{
    tb_stream s;
    tb_stream_init(&s, c, 0, "test", "");
    for (size_t i = 0; i < n; i++) {
        double u = 2.0 * tb_stream_uniform(&s) - 1.0;
        x[i] = (float)(8.0 * u * exp2(-(double)tb_stream_below(&s, 40)));
    }
    x[0] = 8.0F;
    x[1] = -8.0F;
    x[2] = -0.0F;
    x[3] = 0x1p-31F;  /* half a step of f = 30: to even, 0 */
    x[4] = 0x3p-31F;  /* one and a half: to even, 2 steps */
    x[5] = -0x1p-31F; /* to even, 0 */
    x[6] = 0x1p-149F; /* the smallest */
}

static i128 naive_round(double v)
{
    double down = floor(v);
    double part = v - down;
    i128 q = (i128)down;
    if (part > 0.5 || (part == 0.5 && q % 2 != 0)) {
        q++;
    }
    return q;
}

static void check_against_naive(uint32_t f)
{
    tb_round_config config = round_config(N - 100, 100, "f32");
    config.fraction_bits = f;
    config.max_weight = f > 40 ? 1 : 1000;
    tb_sum *sum = new_sum(&config, f > 40 ? 1 : 8);
    i128 *twin = tb_mem_array(N, sizeof *twin);
    float x[N];
    float mean[N];
    tb_err err = {0};
    uint64_t weights = 0;
    CHECK(twin != NULL);
    for (uint32_t c = 0; twin != NULL && c < (f > 40 ? 1u : 8u); c++) {
        uint32_t w = f > 40 ? 1 : 1 + 111 * c;
        fill(x, N, c);
        CHECK_OK(tb_sum_add(sum, 0, x, 500, w, &err), err);
        CHECK_OK(tb_sum_add(sum, 500, x + 500, N - 500, w, &err), err);
        CHECK_OK(tb_sum_count(sum, w, &err), err);
        weights += w;
        for (size_t i = 0; i < N; i++) {
            i128 q = naive_round((double)x[i] * exp2(f));
            twin[i] += q * (i128)(i < N - 100 ? w : 1);
        }
    }
    CHECK_OK(tb_sum_mean(sum, 0, mean, N, &err), err);
    for (size_t i = 0; twin != NULL && i < N; i++) {
        double count = i < N - 100 ? (double)weights : tb_sum_updates(sum);
        float want = (float)((double)(int64_t)twin[i] / count / exp2(f));
        CHECK(mean[i] == want);
    }
    CHECK(tb_sum_weight(sum) == weights);
    tb_mem_free(twin);
    tb_sum_free(&sum);
}

static void it_equals_a_naive_sum_in_128_bits(void **state)
{
    (void)state;
    check_against_naive(30);
    check_against_naive(46); /* |x| 2^f below 2^51: the fast road */
    check_against_naive(58); /* above: the other one */
}

static void one_kernel(const tb_sum_kernel *kernel)
{
    float x[N];
    int64_t got[N] = {0};
    int64_t want[N] = {0};
    fill(x, N, 77);
    for (size_t n = 0; n < 70; n++) { /* all lengths of a vector's tail */
        kernel->axpy(got, x, n, 0x1p30, -999);
        tb_sum_axpy_far(want, x, n, 0x1p30, -999);
        assert_memory_equal(got, want, sizeof got);
    }
    for (size_t i = 0; i < 70; i++) {
        float keep = x[i];
        CHECK(kernel->fits(x, 70, 8.0F));
        x[i] = NAN;
        CHECK(!kernel->fits(x, 70, 8.0F));
        x[i] = -8.5F;
        CHECK(!kernel->fits(x, 70, 8.0F));
        x[i] = keep;
    }
}

static void each_instruction_set_gives_the_same_integers(void **state)
{
    (void)state;
    for (size_t i = 0; tb_sum_kernel_at(i) != NULL; i++) {
        if (tb_sum_kernel_at(i)->usable()) {
            print_message("%s\n", tb_sum_kernel_at(i)->name);
            one_kernel(tb_sum_kernel_at(i));
        }
    }
}

static void order_and_grouping_change_nothing(void **state)
{
    tb_round_config config = round_config(N, 0, "f32");
    tb_sum *one = new_sum(&config, 9);
    tb_sum *left = new_sum(&config, 9);
    tb_sum *right = new_sum(&config, 9);
    float x[N];
    tb_err err = {0};
    (void)state;
    for (uint32_t c = 0; c < 9; c++) {
        fill(x, N, c);
        CHECK_OK(tb_sum_add(one, 0, x, N, c + 1, &err), err);
        CHECK_OK(tb_sum_count(one, c + 1, &err), err);
        fill(x, N, 8 - c); /* backwards, in two sums */
        tb_sum *half = c % 3 == 0 ? left : right;
        CHECK_OK(tb_sum_add(half, 0, x, N, 9 - c, &err), err);
        CHECK_OK(tb_sum_count(half, 9 - c, &err), err);
    }
    CHECK_OK(tb_sum_merge(left, right, &err), err);
    tb_hash a = tb_sum_hash(one);
    tb_hash b = tb_sum_hash(left);
    CHECK(tb_hash_equal(&a, &b));
    CHECK_ERR(tb_sum_merge(left, right, &err), TB_E_LIMIT, err, "9");
    tb_sum_free(&one);
    tb_sum_free(&left);
    tb_sum_free(&right);
}

static void a_subtracted_update_leaves_no_trace(void **state)
{
    tb_round_config config = round_config(N - 1, 1, "f32");
    tb_sum *sum = new_sum(&config, 3);
    float x[N];
    tb_err err = {0};
    (void)state;
    fill(x, N, 1);
    CHECK_OK(tb_sum_add(sum, 0, x, N, 5, &err), err);
    CHECK_OK(tb_sum_count(sum, 5, &err), err);
    tb_hash before = tb_sum_hash(sum);
    fill(x, N, 2);
    CHECK_OK(tb_sum_add(sum, 0, x, N, 1000, &err), err);
    CHECK_OK(tb_sum_count(sum, 1000, &err), err);
    tb_hash between = tb_sum_hash(sum);
    CHECK(!tb_hash_equal(&before, &between));
    CHECK_OK(tb_sum_subtract(sum, 0, x, N, 1000, &err), err);
    CHECK_OK(tb_sum_uncount(sum, 1000, &err), err);
    tb_hash after = tb_sum_hash(sum);
    CHECK(tb_hash_equal(&before, &after));
    CHECK_OK(tb_sum_uncount(sum, 5, &err), err);
    CHECK_ERR(tb_sum_uncount(sum, 5, &err), TB_E_LIMIT, err, "no update");
    tb_sum_free(&sum);
}

/* By hand: (100 * 4 + 300 * 2) / (400 + 300), of 700 full weights. */
static void the_mean_divides_by_full_weights(void **state)
{
    tb_round_config config = round_config(1, 1, "f32");
    tb_sum *sum = new_sum(&config, 2);
    const float stale[2] = {4.0F, 4.0F};
    const float fresh[2] = {2.0F, 3.0F};
    float mean[2];
    tb_err err = {0};
    (void)state;
    CHECK_OK(tb_sum_add(sum, 0, fresh, 2, 300, &err), err);
    CHECK_OK(tb_sum_count(sum, 300, &err), err);
    tb_hash before = tb_sum_hash(sum);
    CHECK_OK(tb_sum_add(sum, 0, stale, 2, 100, &err), err);
    CHECK_OK(tb_sum_count_damped(sum, 100, 400, &err), err);
    CHECK(tb_sum_weight(sum) == 400 && tb_sum_full(sum) == 700);
    CHECK_OK(tb_sum_mean(sum, 0, mean, 2, &err), err);
    CHECK(mean[0] == (float)(1000.0 / 700.0));
    CHECK(mean[1] == 3.5F); /* not weighted: one each */
    CHECK_OK(tb_sum_subtract(sum, 0, stale, 2, 100, &err), err);
    CHECK_OK(tb_sum_uncount_damped(sum, 100, 400, &err), err);
    tb_hash after = tb_sum_hash(sum);
    CHECK(tb_hash_equal(&before, &after));
    CHECK_ERR(tb_sum_count_damped(sum, 5, 4, &err), TB_E_LIMIT, err,
              "weight 5 of at most 4");
    CHECK_ERR(tb_sum_count_damped(sum, 5, 1001, &err), TB_E_LIMIT, err, "1001");
    tb_sum_free(&sum);
}

static void bad_values_are_refused_and_change_nothing(void **state)
{
    tb_round_config config = round_config(N, 0, "f32");
    tb_sum *sum = new_sum(&config, 2);
    float x[N];
    tb_err err = {0};
    (void)state;
    tb_hash empty = tb_sum_hash(sum);
    fill(x, N, 1);
    x[N - 1] = NAN;
    CHECK_ERR(tb_sum_add(sum, 0, x, N, 1, &err), TB_E_MALFORMED, err, "999");
    x[N - 1] = -INFINITY;
    CHECK_ERR(tb_sum_add(sum, 0, x, N, 1, &err), TB_E_MALFORMED, err, "999");
    x[N - 1] = nextafterf(8.0F, 9.0F);
    CHECK_ERR(tb_sum_add(sum, 0, x, N, 1, &err), TB_E_LIMIT, err, "max_abs");
    x[N - 1] = 0.0F;
    CHECK_ERR(tb_sum_add(sum, 0, x, N, 0, &err), TB_E_LIMIT, err, "weight 0");
    CHECK_ERR(tb_sum_add(sum, 0, x, N, 1001, &err), TB_E_LIMIT, err, "1001");
    CHECK_ERR(tb_sum_add(sum, 1, x, N, 1, &err), TB_E_MISMATCH, err, "1 + ");
    CHECK_ERR(tb_sum_add(sum, SIZE_MAX, x, N, 1, &err), TB_E_MISMATCH, err,
              "of 1000");
    CHECK_ERR(tb_sum_mean(sum, 0, x, N, &err), TB_E_MISMATCH, err, "empty");
    tb_hash after = tb_sum_hash(sum);
    CHECK(tb_hash_equal(&empty, &after));
    tb_sum_free(&sum);
}

static tb_sum *counted_sum(const tb_round_config *config)
{
    float x[9] = {8.0F, -8.0F, 0.5F, 0.25F, 1.0F, 0.0F, 3.0F, -1.0F, 7.5F};
    tb_sum *sum = new_sum(config, 4);
    tb_err err = {0};
    for (uint32_t w = 1; w <= 3; w++) {
        CHECK_OK(tb_sum_add(sum, 0, x, 9, w * 300, &err), err);
        CHECK_OK(tb_sum_count(sum, w * 300, &err), err);
    }
    return sum;
}

static void bytes_give_the_same_sum_back(void **state)
{
    tb_round_config config = round_config(8, 1, "f32");
    tb_sum *sum = counted_sum(&config);
    tb_sum *back = NULL;
    tb_buf bytes;
    tb_err err = {0};
    (void)state;
    tb_buf_init(&bytes, 4096);
    CHECK_OK(tb_sum_encode(sum, &bytes, &err), err);
    CHECK_OK(tb_sum_decode(&back, &config, 4, bytes.data, bytes.len, &err),
             err);
    tb_hash a = tb_sum_hash(sum);
    tb_hash b = tb_sum_hash(back);
    CHECK(tb_hash_equal(&a, &b));
    tb_sum_free(&back);
    tb_round_config other = round_config(7, 2, "f32");
    CHECK_ERR(tb_sum_decode(&back, &other, 4, bytes.data, bytes.len, &err),
              TB_E_MISMATCH, err, "sections");
    CHECK_ERR(tb_sum_decode(&back, &config, 5, bytes.data, bytes.len, &err),
              TB_E_MISMATCH, err, "bounds");
    tb_buf_release(&bytes);
    tb_sum_free(&sum);
}

static void bytes_packed_by_another_hand_are_read(void **state)
{
    tb_round_config config = round_config(8, 1, "f32");
    tb_sum *sum = NULL;
    tb_buf bytes;
    tb_err err = {0};
    float mean[9];
    (void)state; /* tests/corpus/make_fed.py made them: -4 to 4, weight 500 */
    tb_buf_init(&bytes, 4096);
    CHECK_OK(tb_file_read(&bytes, TB_SOURCE_DIR "/tests/corpus/sum/two-updates",
                          &err),
             err);
    CHECK_OK(tb_sum_decode(&sum, &config, 4, bytes.data, bytes.len, &err), err);
    CHECK_OK(tb_sum_mean(sum, 0, mean, 9, &err), err);
    CHECK(mean[0] == (float)(-4.0 / 500.0 * 0x1p-30));
    CHECK(mean[8] == (float)(4.0 / 2.0 * 0x1p-30));
    tb_sum_free(&sum);
    tb_buf_release(&bytes);
}

/* A sum's bytes with a hash that fits them. */
static void rehash(tb_buf *bytes)
{
    tb_hash hash = tb_hash_of(bytes->data, bytes->len - TB_HASH_BYTES);
    memcpy(bytes->data + bytes->len - TB_HASH_BYTES, hash.bytes, TB_HASH_BYTES);
}

static void cut_or_altered_bytes_are_refused(void **state)
{
    tb_round_config config = round_config(8, 1, "f32");
    tb_sum *sum = counted_sum(&config);
    tb_sum *back = NULL;
    tb_buf bytes;
    tb_err err = {0};
    (void)state;
    tb_buf_init(&bytes, 4096);
    CHECK_OK(tb_sum_encode(sum, &bytes, &err), err);
    for (size_t n = 0; n < bytes.len; n++) {
        CHECK(tb_sum_decode(&back, &config, 4, bytes.data, n, NULL) != TB_OK);
        bytes.data[n] ^= 0x80;
        CHECK(tb_sum_decode(&back, &config, 4, bytes.data, bytes.len, NULL) !=
              TB_OK);
        CHECK(back == NULL);
        bytes.data[n] ^= 0x80;
    }
    size_t counts = 28 + 2 * 9;
    tb_le32_put(bytes.data + counts + 16, 5); /* of at most 4 updates */
    rehash(&bytes);
    CHECK_ERR(tb_sum_decode(&back, &config, 4, bytes.data, bytes.len, &err),
              TB_E_MALFORMED, err, "5 updates");
    tb_le32_put(bytes.data + counts + 16, 3);
    tb_le64_put(bytes.data + counts + 20, UINT64_C(1) << 61);
    rehash(&bytes);
    CHECK_ERR(tb_sum_decode(&back, &config, 4, bytes.data, bytes.len, &err),
              TB_E_MALFORMED, err, "cannot be");
    tb_buf_release(&bytes);
    tb_sum_free(&sum);
}

static tb_rc make_and_decode(void *arg, tb_err *err)
{
    const tb_buf *bytes = arg;
    tb_round_config config = round_config(8, 1, "f32");
    tb_sum *sum = NULL;
    tb_rc rc = tb_sum_decode(&sum, &config, 4, bytes->data, bytes->len, err);
    tb_sum_free(&sum);
    return rc;
}

static void it_survives_each_allocation_failing(void **state)
{
    tb_round_config config = round_config(8, 1, "f32");
    tb_sum *sum = counted_sum(&config);
    tb_buf bytes;
    tb_err err = {0};
    (void)state;
    tb_buf_init(&bytes, 4096);
    CHECK_OK(tb_sum_encode(sum, &bytes, &err), err);
    tb_sum_free(&sum);
    CHECK(tb_check_each_allocation(make_and_decode, &bytes) == 2);
    tb_buf_release(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fraction_bits_are_those_of_the_formula),
        cmocka_unit_test(a_bound_that_could_overflow_is_refused),
        cmocka_unit_test(it_equals_a_naive_sum_in_128_bits),
        cmocka_unit_test(each_instruction_set_gives_the_same_integers),
        cmocka_unit_test(order_and_grouping_change_nothing),
        cmocka_unit_test(a_subtracted_update_leaves_no_trace),
        cmocka_unit_test(the_mean_divides_by_full_weights),
        cmocka_unit_test(bad_values_are_refused_and_change_nothing),
        cmocka_unit_test(bytes_give_the_same_sum_back),
        cmocka_unit_test(bytes_packed_by_another_hand_are_read),
        cmocka_unit_test(cut_or_altered_bytes_are_refused),
        cmocka_unit_test(it_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
