/* core/tensor/gemm_dot.h - products whose operands both lie along k: a [m, k],
 * b [n, k], k not small. Each sum runs in 16 lanes, term p in lane p % 16,
 * which are added in halves at the end of a chunk: no operand is copied or
 * turned, and one row of a goes as fast as memory gives b.
 * The includer defines what gemm_tile.h defines, and DOT_COLS, the columns of a
 * tile: 8 or less. */

#define LANES     ((size_t)16)
#define LANE_VECS (LANES / WIDTH)
#define DOT_ROWS  ((size_t)3)
#define FOLD      ((size_t)8) /* columns of a block */

/* Keeps the compiler from reading y again in each product. */
#define ONE_LOAD(y) __asm__("" : IN_REGISTER(y))

/* The lanes of rows x cols sums, the upper half of them added to the lower;
 * rows and cols are constants at each call. */
INLINE void dot_tile(__m256 half[][FOLD], const float *a, size_t a_i,
                     const float *first, size_t b_j, size_t k, size_t col,
                     const size_t rows, const size_t cols)
{
    vec acc[DOT_ROWS][DOT_COLS][LANE_VECS];
    const float *b[DOT_COLS / 3 + 1]; /* every third column, as in tile */
    UNROLL
    for (size_t t = 0; 3 * t < cols; t++) {
        b[t] = first + 3 * t * b_j;
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t j = 0; j < cols; j++) {
            UNROLL
            for (size_t v = 0; v < LANE_VECS; v++) {
                acc[i][j][v] = SPREAD(0.0f);
            }
        }
    }
    size_t whole = k / LANES * LANES;
    for (size_t p = 0; p < whole; p += LANES) {
        UNROLL
        for (size_t v = 0; v < LANE_VECS; v++) {
            vec x[DOT_ROWS];
            UNROLL
            for (size_t i = 0; i < rows; i++) {
                x[i] = LOAD(a + i * a_i + p + v * WIDTH);
            }
            UNROLL
            for (size_t j = 0; j < cols; j++) {
                vec y = LOAD(b[j / 3] + j % 3 * b_j + p + v * WIDTH);
                ONE_LOAD(y);
                UNROLL
                for (size_t i = 0; i < rows; i++) {
                    acc[i][j][v] = FMA(x[i], y, acc[i][j][v]);
                }
            }
        }
    }
    UNROLL
    for (size_t v = 0; v < LANE_VECS; v++) {
        size_t from = whole + v * WIDTH;
        if (from >= k) {
            continue;
        }
        mask some = FIRST(k - from < WIDTH ? k - from : WIDTH);
        UNROLL
        for (size_t j = 0; j < cols; j++) {
            vec y = LOAD_SOME(b[j / 3] + j % 3 * b_j + from, some);
            UNROLL
            for (size_t i = 0; i < rows; i++) {
                vec x = LOAD_SOME(a + i * a_i + from, some);
                acc[i][j][v] = FMA(x, y, acc[i][j][v]);
            }
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t j = 0; j < cols; j++) {
            half[i][col + j] = HALVES(acc[i][j]);
        }
    }
}

/* Eight sums of eight lanes each, in order: lane l + lane l + 4, then l + 2,
 * then l + 1. */
INLINE __m256 fold_lanes(const __m256 x[FOLD])
{
    __m256 four[4];
    UNROLL
    for (size_t i = 0; i < 4;
         i++) { /* the lower four lanes: sums i and i + 4 */
        four[i] = _mm256_add_ps(_mm256_permute2f128_ps(x[i], x[i + 4], 0x20),
                                _mm256_permute2f128_ps(x[i], x[i + 4], 0x31));
    }
    __m256 two[2];
    UNROLL
    for (size_t i = 0; i < 2; i++) {
        __m256d p = _mm256_castps_pd(four[2 * i]);
        __m256d q = _mm256_castps_pd(four[2 * i + 1]);
        two[i] = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(p, q)),
                               _mm256_castpd_ps(_mm256_unpackhi_pd(p, q)));
    }
    return _mm256_add_ps(_mm256_shuffle_ps(two[0], two[1], 0x88),
                         _mm256_shuffle_ps(two[0], two[1], 0xdd));
}

/* Eight finished sums of row i to columns [j, j + cols) of c. */
INLINE void store_dots(const job *q, size_t i, size_t j, __m256 sum,
                       size_t cols)
{
    float *at = q->c + i * q->c_i + j * q->c_j;
    bool plain = q->c_j == 1 && cols == FOLD && q->from_j <= 1;
    if (!plain || q->gate != NULL) {
        float one[FOLD];
        _mm256_storeu_ps(one, sum);
        for (size_t v = 0; v < cols; v++) {
            store_one(q, i, j + v, one[v]);
        }
        return;
    }
    __m256 alpha = _mm256_set1_ps(q->alpha);
    __m256 x = _mm256_mul_ps(alpha, sum);
    if (q->beta != 0.0f) {
        const float *from = q->from + i * q->from_i + j * q->from_j;
        __m256 old =
            q->from_j == 0 ? _mm256_set1_ps(*from) : _mm256_loadu_ps(from);
        old = _mm256_mul_ps(_mm256_set1_ps(q->beta), old);
        x = _mm256_fmadd_ps(alpha, sum, old);
    }
    if (q->relu) {
        __m256 over = _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NLE_UQ);
        x = _mm256_and_ps(x, over);
    }
    _mm256_storeu_ps(at, x);
}

/* rows x cols elements of c from k terms; rows is a constant at each call. */
INLINE void dot_block(const job *q, size_t i0, size_t j0, size_t p0, size_t k,
                      size_t cols, const size_t rows)
{
    __m256 half[DOT_ROWS][FOLD];
    const float *a = q->row + i0 * q->row_i + p0;
    const float *b = q->panel + j0 * q->panel_j + p0;
    size_t j = 0;
    for (; j + DOT_COLS <= cols; j += DOT_COLS) {
        dot_tile(half, a, q->row_i, b + j * q->panel_j, q->panel_j, k, j, rows,
                 DOT_COLS);
    }
#if DOT_COLS > 2
    for (; j + 2 <= cols; j += 2) {
        dot_tile(half, a, q->row_i, b + j * q->panel_j, q->panel_j, k, j, rows,
                 2);
    }
#endif
    for (; j < cols; j++) {
        dot_tile(half, a, q->row_i, b + j * q->panel_j, q->panel_j, k, j, rows,
                 1);
    }
    for (; j < FOLD; j++) {
        for (size_t i = 0; i < rows; i++) {
            half[i][j] = _mm256_setzero_ps();
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        store_dots(q, i0 + i, j0, fold_lanes(half[i]), cols);
    }
}

/* All rows against columns [j, j + cols). */
static void dot_columns(const job *q, size_t j, size_t cols, size_t p0,
                        size_t k)
{
    size_t left = q->n_rows;
    for (size_t i = 0; left > 0;) { /* 4 rows go as 2 and 2 */
        size_t rows = left == 4 ? 2 : left < DOT_ROWS ? left : DOT_ROWS;
        if (rows == 3) {
            dot_block(q, i, j, p0, k, cols, 3);
        } else if (rows == 2) {
            dot_block(q, i, j, p0, k, cols, 2);
        } else {
            dot_block(q, i, j, p0, k, cols, 1);
        }
        i += rows;
        left -= rows;
    }
}

static size_t whole_blocks(size_t n)
{
    return (n + FOLD - 1) / FOLD * FOLD;
}

static void multiply_dots(const tb_gemm_shape *s, float alpha, const float *a,
                          const float *b, float beta, float *c,
                          const tb_gemm_tail *tail)
{
    job q = {.row = a,
             .row_i = s->a_step,
             .n_rows = s->m,
             .panel = b,
             .panel_j = s->b_step,
             .n_panel = s->n,
             .c = c,
             .c_i = s->c_step,
             .c_j = 1,
             .alpha = alpha,
             .beta = beta,
             .from = tail->from,
             .from_i = tail->from_row,
             .from_j = tail->from_col};
    if (whole_blocks(s->m) * s->n < whole_blocks(s->n) * s->m) {
        q.row = b;
        q.row_i = s->b_step;
        q.n_rows = s->n;
        q.panel = a;
        q.panel_j = s->a_step;
        q.n_panel = s->m;
        q.c_i = 1;
        q.c_j = s->c_step;
        q.from_i = tail->from_col;
        q.from_j = tail->from_row;
    }
    for (size_t p0 = 0; p0 < s->k; p0 += 2 * TB_GEMM_CHUNK) {
        size_t left = s->k - p0;
        size_t k = left < 2 * TB_GEMM_CHUNK ? left : 2 * TB_GEMM_CHUNK;
        if (k == left) {
            q.relu = tail->relu;
            q.gate = tail->gate;
        }
        for (size_t j = 0; j < q.n_panel; j += FOLD) {
            size_t more = q.n_panel - j;
            dot_columns(&q, j, more < FOLD ? more : FOLD, p0, k);
        }
        q.beta = 1.0f; /* the next chunk adds to this one */
        q.from = c;
        q.from_i = q.c_i;
        q.from_j = q.c_j;
    }
}
