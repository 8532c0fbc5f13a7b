/* core/tensor/kernels_norm.h - mean, variance and what normalisations need
 * forward and backward, included by kernels_loops.h. Sums run in LANES floats
 * over blocks of BLOCK numbers and go on in double from block to block.
 * The includer defines LANES, which is 16. */

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

/* Vectors of LANES floats wherever the compiler finds room for them; two or
 * four of them run side by side to hide the time that an addition takes. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef float lanes_at
    __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

#define AT(p) (*(const lanes_at *)(const void *)(p))

typedef float half_lanes
    __attribute__((vector_size(LANES / 2 * sizeof(float))));
typedef float quarter_lanes
    __attribute__((vector_size(LANES / 4 * sizeof(float))));

/* The sum of all lanes and of what did not fill a vector, in the order of
 * fold_sum. */
static float folded(const lanes *v, const float rest[static LANES])
{
    half_lanes h[2];
    quarter_lanes q[2];
    lanes all = *v + AT(rest);
    memcpy(h, &all, sizeof h);
    h[0] = h[0] + h[1];
    memcpy(q, &h[0], sizeof q);
    q[0] = q[0] + q[1];
    return (q[0][0] + q[0][2]) + (q[0][1] + q[0][3]);
}

static float block_sum(const float *x, const block *b, size_t stride)
{
    lanes v0 = {0}, v1 = {0}, v2 = {0}, v3 = {0};
    float rest[LANES] = {0};
    for (size_t k = 0; k < b->n_pieces; k++) {
        const float *at = x + b->at + k * stride;
        size_t i = 0;
        for (; i + 4 * LANES <= b->n; i += 4 * LANES) {
            v0 = v0 + AT(at + i);
            v1 = v1 + AT(at + i + LANES);
            v2 = v2 + AT(at + i + 2 * LANES);
            v3 = v3 + AT(at + i + 3 * LANES);
        }
        for (; i + LANES <= b->n; i += LANES) {
            v0 = v0 + AT(at + i);
        }
        for (size_t j = 0; i + j < b->n; j++) {
            rest[j] = rest[j] + at[i + j];
        }
    }
    v0 = (v0 + v1) + (v2 + v3);
    return folded(&v0, rest);
}

/* out: sum of x - shift, sum of its square */
static void block_deviations(float out[2], const float *x, const block *b,
                             size_t stride, float shift)
{
    lanes s0 = {0}, s1 = {0}, q0 = {0}, q1 = {0};
    float sum_rest[LANES] = {0}, square_rest[LANES] = {0};
    for (size_t k = 0; k < b->n_pieces; k++) {
        const float *at = x + b->at + k * stride;
        size_t i = 0;
        for (; i + 2 * LANES <= b->n; i += 2 * LANES) {
            lanes d0 = AT(at + i) - shift;
            lanes d1 = AT(at + i + LANES) - shift;
            s0 = s0 + d0;
            s1 = s1 + d1;
            q0 = q0 + d0 * d0;
            q1 = q1 + d1 * d1;
        }
        for (; i + LANES <= b->n; i += LANES) {
            lanes d0 = AT(at + i) - shift;
            s0 = s0 + d0;
            q0 = q0 + d0 * d0;
        }
        for (size_t j = 0; i + j < b->n; j++) {
            float d = at[i + j] - shift;
            sum_rest[j] = sum_rest[j] + d;
            square_rest[j] = square_rest[j] + d * d;
        }
    }
    s0 = s0 + s1;
    q0 = q0 + q1;
    out[0] = folded(&s0, sum_rest);
    out[1] = folded(&q0, square_rest);
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
        double inside = (double)dev[1] - rest * (double)dev[0];
        if (count > 0) {
            squares =
                squares + inside + delta * delta * (count * n / (count + n));
            mean = mean + delta * (n / (count + n));
        } else { /* the first, mostly the only one */
            squares = inside;
            mean = delta;
        }
        count = count + n;
    }
    out[0] = mean;
    out[1] = count > 0 ? squares / count : 0;
}

/* out += sum of dy, sum of dy (x - mean) of one block */
static void block_grad_sums(double out[2], const float *dy, const float *x,
                            const block *b, size_t stride, float mean)
{
    lanes s0 = {0}, s1 = {0}, p0 = {0}, p1 = {0};
    float sum_rest[LANES] = {0}, product_rest[LANES] = {0};
    for (size_t k = 0; k < b->n_pieces; k++) {
        const float *d = dy + b->at + k * stride;
        const float *at = x + b->at + k * stride;
        size_t i = 0;
        for (; i + 2 * LANES <= b->n; i += 2 * LANES) {
            s0 = s0 + AT(d + i);
            s1 = s1 + AT(d + i + LANES);
            p0 = p0 + AT(d + i) * (AT(at + i) - mean);
            p1 = p1 + AT(d + i + LANES) * (AT(at + i + LANES) - mean);
        }
        for (; i + LANES <= b->n; i += LANES) {
            s0 = s0 + AT(d + i);
            p0 = p0 + AT(d + i) * (AT(at + i) - mean);
        }
        for (size_t j = 0; i + j < b->n; j++) {
            sum_rest[j] = sum_rest[j] + d[i + j];
            product_rest[j] = product_rest[j] + d[i + j] * (at[i + j] - mean);
        }
    }
    s0 = s0 + s1;
    p0 = p0 + p1;
    out[0] = out[0] + (double)folded(&s0, sum_rest);
    out[1] = out[1] + (double)folded(&p0, product_rest);
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
        block_grad_sums(out, dy, x, &b, span->stride, mean);
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

/* The same of one piece of dy scale. */
static void piece_row_sums(double out[2], const float *dy, const float *x,
                           const float *scale, size_t n, float mean)
{
    lanes s0 = {0}, s1 = {0}, p0 = {0}, p1 = {0};
    float sum_rest[LANES] = {0}, product_rest[LANES] = {0};
    size_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        lanes d0 = AT(dy + i) * AT(scale + i);
        lanes d1 = AT(dy + i + LANES) * AT(scale + i + LANES);
        s0 = s0 + d0;
        s1 = s1 + d1;
        p0 = p0 + d0 * (AT(x + i) - mean);
        p1 = p1 + d1 * (AT(x + i + LANES) - mean);
    }
    for (; i + LANES <= n; i += LANES) {
        lanes d0 = AT(dy + i) * AT(scale + i);
        s0 = s0 + d0;
        p0 = p0 + d0 * (AT(x + i) - mean);
    }
    for (size_t j = 0; i + j < n; j++) {
        float d = dy[i + j] * scale[i + j];
        sum_rest[j] = sum_rest[j] + d;
        product_rest[j] = product_rest[j] + d * (x[i + j] - mean);
    }
    s0 = s0 + s1;
    p0 = p0 + p1;
    out[0] = out[0] + (double)folded(&s0, sum_rest);
    out[1] = out[1] + (double)folded(&p0, product_rest);
}

/* out: sum of dy scale, sum of dy scale (x - mean) */
static void row_grad_sums(double out[2], const float *dy, const float *x,
                          const float *scale, size_t n, float mean)
{
    out[0] = 0;
    out[1] = 0;
    for (size_t from = 0; from < n; from += BLOCK) {
        size_t left = n - from;
        piece_row_sums(out, dy + from, x + from, scale + from,
                       left < BLOCK ? left : BLOCK, mean);
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
