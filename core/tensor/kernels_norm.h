/* core/tensor/kernels_norm.h - mean, variance and what normalisations need
 * forward and backward, included by kernels_loops.h. Sums run in LANES floats
 * over blocks of BLOCK numbers and go on in double from block to block.
 * The includer defines LANES and fold_sum. */

#define BLOCK     1024
#define TILE_COLS 64

/* The pieces of a span that make one block: n_pieces of n numbers at x. */
typedef struct block {
    size_t at; /* of the first number */
    size_t n_pieces;
    size_t n;
} block;

/* To the next block of a span; start with all zeros. false: none is left. */
static bool next_block(block *b, const tb_k_span *span, size_t *piece,
                       size_t *from)
{
    size_t at_once = span->n >= BLOCK ? 1 : BLOCK / (span->n + 1) + 1;
    if (*piece >= span->n_pieces || span->n == 0) {
        return false;
    }
    size_t left = span->n_pieces - *piece;
    b->at = *piece * span->stride + *from;
    b->n_pieces = left < at_once ? left : at_once;
    b->n = span->n - *from < BLOCK ? span->n - *from : BLOCK;
    *from += b->n;
    if (*from == span->n) {
        *from = 0;
        *piece += b->n_pieces;
    }
    return true;
}

static float block_sum(const float *x, const block *b, size_t stride)
{
    float lane[LANES] = {0};
    for (size_t k = 0; k < b->n_pieces; k++) {
        const float *at = x + b->at + k * stride;
        size_t i = 0;
        for (; i + LANES <= b->n; i += LANES) {
            for (size_t j = 0; j < LANES; j++) {
                lane[j] = lane[j] + at[i + j];
            }
        }
        for (size_t j = 0; i + j < b->n; j++) {
            lane[j] = lane[j] + at[i + j];
        }
    }
    return fold_sum(lane);
}

/* out: sum of x - shift, sum of its square */
static void block_deviations(float out[2], const float *x, const block *b,
                             size_t stride, float shift)
{
    float lane[LANES] = {0}, square[LANES] = {0};
    for (size_t k = 0; k < b->n_pieces; k++) {
        const float *at = x + b->at + k * stride;
        size_t i = 0;
        for (; i + LANES <= b->n; i += LANES) {
            for (size_t j = 0; j < LANES; j++) {
                float d = at[i + j] - shift;
                lane[j] = lane[j] + d;
                square[j] = square[j] + d * d;
            }
        }
        for (size_t j = 0; i + j < b->n; j++) {
            float d = at[i + j] - shift;
            lane[j] = lane[j] + d;
            square[j] = square[j] + d * d;
        }
    }
    out[0] = fold_sum(lane);
    out[1] = fold_sum(square);
}

/* Two passes over each block while it is near, the second correcting the mean
 * of the first; blocks are merged by the formula of Chan, Golub and LeVeque
 * (1979). */
static void moments(double out[2], const float *x, const tb_k_span *span)
{
    double count = 0, mean = 0, squares = 0;
    size_t piece = 0, from = 0;
    block b = {0};
    while (next_block(&b, span, &piece, &from)) {
        double n = (double)(b.n_pieces * b.n);
        float shift = block_sum(x, &b, span->stride) / (float)n;
        float dev[2];
        block_deviations(dev, x, &b, span->stride, shift);
        double rest = (double)dev[0] / n;
        double delta = ((double)shift + rest) - mean;
        squares = squares + ((double)dev[1] - rest * (double)dev[0]) +
                  delta * delta * (count * n / (count + n));
        mean = mean + delta * (n / (count + n));
        count = count + n;
    }
    out[0] = mean;
    out[1] = count > 0 ? squares / count : 0;
}

/* out: sum of dy, sum of dy (x - mean) */
static void grad_sums(double out[2], const float *dy, const float *x,
                      const tb_k_span *span, float mean)
{
    size_t piece = 0, from = 0;
    block b = {0};
    out[0] = 0;
    out[1] = 0;
    while (next_block(&b, span, &piece, &from)) {
        float lane[LANES] = {0}, product[LANES] = {0};
        for (size_t k = 0; k < b.n_pieces; k++) {
            const float *d = dy + b.at + k * span->stride;
            const float *at = x + b.at + k * span->stride;
            size_t i = 0;
            for (; i + LANES <= b.n; i += LANES) {
                for (size_t j = 0; j < LANES; j++) {
                    lane[j] = lane[j] + d[i + j];
                    product[j] = product[j] + d[i + j] * (at[i + j] - mean);
                }
            }
            for (size_t j = 0; i + j < b.n; j++) {
                lane[j] = lane[j] + d[i + j];
                product[j] = product[j] + d[i + j] * (at[i + j] - mean);
            }
        }
        out[0] = out[0] + (double)fold_sum(lane);
        out[1] = out[1] + (double)fold_sum(product);
    }
}

/* y = (x - mean) a + b */
static void line_of(float *y, const float *x, const tb_k_span *span,
                    const tb_k_line *l)
{
    const float mean = l->mean, a = l->a, b = l->b;
    for (size_t k = 0; k < span->n_pieces; k++) {
        float *to = y + k * span->stride;
        const float *at = x + k * span->stride;
        for (size_t i = 0; i < span->n; i++) {
            to[i] = (at[i] - mean) * a + b;
        }
    }
}

/* dx = p dy + q (x - mean) + r */
static void plane_of(float *dx, const float *dy, const float *x,
                     const tb_k_span *span, const tb_k_plane *c)
{
    const float mean = c->mean, p = c->p, q = c->q, r = c->r;
    for (size_t k = 0; k < span->n_pieces; k++) {
        float *to = dx + k * span->stride;
        const float *d = dy + k * span->stride;
        const float *at = x + k * span->stride;
        for (size_t i = 0; i < span->n; i++) {
            to[i] = (p * d[i] + q * (at[i] - mean)) + r;
        }
    }
}

/* --- rows with a factor an element (LayerNormalization) ------------------- */

/* y = (x - mean) a scale + bias; bias may be NULL */
static void row_line(float *y, const float *x, const float *scale,
                     const float *bias, size_t n, const tb_k_line *l)
{
    const float mean = l->mean, a = l->a;
    for (size_t i = 0; bias != NULL && i < n; i++) {
        y[i] = ((x[i] - mean) * a) * scale[i] + bias[i];
    }
    for (size_t i = 0; bias == NULL && i < n; i++) {
        y[i] = ((x[i] - mean) * a) * scale[i];
    }
}

/* out: sum of dy scale, sum of dy scale (x - mean) */
static void row_grad_sums(double out[2], const float *dy, const float *x,
                          const float *scale, size_t n, float mean)
{
    out[0] = 0;
    out[1] = 0;
    for (size_t from = 0; from < n; from += BLOCK) {
        float lane[LANES] = {0}, product[LANES] = {0};
        size_t to = n - from < BLOCK ? n : from + BLOCK;
        size_t i = from;
        for (; i + LANES <= to; i += LANES) {
            for (size_t j = 0; j < LANES; j++) {
                float d = dy[i + j] * scale[i + j];
                lane[j] = lane[j] + d;
                product[j] = product[j] + d * (x[i + j] - mean);
            }
        }
        for (size_t j = 0; i + j < to; j++) {
            float d = dy[i + j] * scale[i + j];
            lane[j] = lane[j] + d;
            product[j] = product[j] + d * (x[i + j] - mean);
        }
        out[0] = out[0] + (double)fold_sum(lane);
        out[1] = out[1] + (double)fold_sum(product);
    }
}

/* dx = p dy scale + q (x - mean) + r */
static void row_plane(float *dx, const float *dy, const float *x,
                      const float *scale, size_t n, const tb_k_plane *c)
{
    const float mean = c->mean, p = c->p, q = c->q, r = c->r;
    for (size_t i = 0; i < n; i++) {
        dx[i] = (p * (dy[i] * scale[i]) + q * (x[i] - mean)) + r;
    }
}

/* dscale += dy (x - mean) a, dbias += dy */
static void row_params(float *restrict dscale, float *restrict dbias,
                       const float *dy, const float *x, size_t n,
                       const tb_k_line *l)
{
    const float mean = l->mean, a = l->a;
    for (size_t i = 0; i < n; i++) {
        dscale[i] = dscale[i] + dy[i] * ((x[i] - mean) * a);
        dbias[i] = dbias[i] + dy[i];
    }
}

/* --- columns (BatchNormalization of rows) --------------------------------- */

/* mean, variance [n_cols] of each column of x [n_rows, n_cols] */
static void col_moments(float *mean, float *variance, const float *x,
                        size_t n_rows, size_t n_cols)
{
    double sum[TILE_COLS], square[TILE_COLS];
    for (size_t from = 0; from < n_cols; from += TILE_COLS) {
        size_t left = n_cols - from;
        size_t n = left < TILE_COLS ? left : TILE_COLS;
        memset(sum, 0, sizeof sum);
        memset(square, 0, sizeof square);
        for (size_t r = 0; r < n_rows; r++) {
            const float *at = x + r * n_cols + from;
            for (size_t c = 0; c < n; c++) {
                sum[c] = sum[c] + (double)at[c];
            }
        }
        for (size_t c = 0; c < n; c++) {
            sum[c] = sum[c] / (double)n_rows;
        }
        for (size_t r = 0; r < n_rows; r++) {
            const float *at = x + r * n_cols + from;
            for (size_t c = 0; c < n; c++) {
                double d = (double)at[c] - sum[c];
                square[c] = square[c] + d * d;
            }
        }
        for (size_t c = 0; c < n; c++) {
            mean[from + c] = (float)sum[c];
            variance[from + c] = (float)(square[c] / (double)n_rows);
        }
    }
}

/* sums [2, n_cols]: of dy, of dy (x - mean) */
static void col_grad_sums(float *sums, const float *dy, const float *x,
                          const float *mean, size_t n_rows, size_t n_cols)
{
    double sum[TILE_COLS], product[TILE_COLS];
    for (size_t from = 0; from < n_cols; from += TILE_COLS) {
        size_t left = n_cols - from;
        size_t n = left < TILE_COLS ? left : TILE_COLS;
        memset(sum, 0, sizeof sum);
        memset(product, 0, sizeof product);
        for (size_t r = 0; r < n_rows; r++) {
            const float *at = x + r * n_cols + from;
            const float *d = dy + r * n_cols + from;
            for (size_t c = 0; c < n; c++) {
                sum[c] = sum[c] + (double)d[c];
                product[c] =
                    product[c] + (double)(d[c] * (at[c] - mean[from + c]));
            }
        }
        for (size_t c = 0; c < n; c++) {
            sums[from + c] = (float)sum[c];
            sums[n_cols + from + c] = (float)product[c];
        }
    }
}

/* y = (x - mean) a + b, lines [3, n_cols]: mean, a, b */
static void col_line(float *y, const float *x, const float *lines,
                     size_t n_rows, size_t n_cols)
{
    const float *mean = lines, *a = lines + n_cols, *b = lines + 2 * n_cols;
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < n_cols; c++) {
            size_t i = r * n_cols + c;
            y[i] = (x[i] - mean[c]) * a[c] + b[c];
        }
    }
}

/* dx = p dy + q (x - mean) + r, planes [4, n_cols]: mean, p, q, r */
static void col_plane(float *dx, const float *dy, const float *x,
                      const float *planes, size_t n_rows, size_t n_cols)
{
    const float *mean = planes, *p = planes + n_cols, *q = planes + 2 * n_cols,
                *s = planes + 3 * n_cols;
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < n_cols; c++) {
            size_t i = r * n_cols + c;
            dx[i] = (p[c] * dy[i] + q[c] * (x[i] - mean[c])) + s[c];
        }
    }
}
