/* core/tensor/kernels_softmax.h - Softmax and LogSoftmax with their gradients,
 * along rows and along columns, included by kernels_loops.h.
 * The includer defines the functions of kernels_math.h, larger, largest, sum
 * and dot. */

#define TILE 64 /* columns at once */

static size_t tile_of(size_t left)
{
    return left < TILE ? left : TILE;
}

/* --- rows ----------------------------------------------------------------- */

static void softmax(float *y, const float *x, size_t n_rows, size_t n_cols)
{
    for (size_t r = 0; r < n_rows; r++, x += n_cols, y += n_cols) {
        float max = largest(x, n_cols);
        for (size_t c = 0; c < n_cols; c++) {
            y[c] = exp_of(x[c] - max);
        }
        float scale = 1.0f / sum(y, n_cols);
        for (size_t c = 0; c < n_cols; c++) {
            y[c] = y[c] * scale;
        }
    }
}

static void log_softmax(float *y, const float *x, size_t n_rows, size_t n_cols)
{
    float part[TILE];
    for (size_t r = 0; r < n_rows; r++, x += n_cols, y += n_cols) {
        float max = largest(x, n_cols);
        float total = 0.0f;
        for (size_t from = 0; from < n_cols; from += TILE) {
            size_t n = tile_of(n_cols - from);
            for (size_t c = 0; c < n; c++) {
                part[c] = exp_of(x[from + c] - max);
            }
            total = total + sum(part, n);
        }
        float log_total = log_of(total);
        for (size_t c = 0; c < n_cols; c++) {
            y[c] = (x[c] - max) - log_total;
        }
    }
}

/* dx = y (dy - sum(dy y)) */
static void softmax_grad(float *dx, const float *dy, const float *y,
                         size_t n_rows, size_t n_cols)
{
    for (size_t r = 0; r < n_rows; r++) {
        float total = dot(dy, y, n_cols);
        for (size_t c = 0; c < n_cols; c++) {
            dx[c] = y[c] * (dy[c] - total);
        }
        dx += n_cols;
        dy += n_cols;
        y += n_cols;
    }
}

/* dx = dy - exp(y) sum(dy) */
static void log_softmax_grad(float *dx, const float *dy, const float *y,
                             size_t n_rows, size_t n_cols)
{
    for (size_t r = 0; r < n_rows; r++) {
        float total = sum(dy, n_cols);
        for (size_t c = 0; c < n_cols; c++) {
            dx[c] = dy[c] - exp_of(y[c]) * total;
        }
        dx += n_cols;
        dy += n_cols;
        y += n_cols;
    }
}

/* --- columns: the same down each of n_cols columns of n_rows numbers ------ */

/* The largest of each column of a tile. */
static void tile_max(float *max, const float *x, size_t n_rows, size_t n_cols,
                     size_t n)
{
    for (size_t c = 0; c < n; c++) {
        max[c] = x[c];
    }
    for (size_t r = 1; r < n_rows; r++) {
        for (size_t c = 0; c < n; c++) {
            max[c] = larger(max[c], x[r * n_cols + c]);
        }
    }
}

static void softmax_cols(float *y, const float *x, size_t n_rows, size_t n_cols)
{
    float max[TILE], total[TILE];
    for (size_t from = 0; from < n_cols; from += TILE, x += TILE, y += TILE) {
        size_t n = tile_of(n_cols - from);
        tile_max(max, x, n_rows, n_cols, n);
        memset(total, 0, sizeof total);
        for (size_t r = 0; r < n_rows; r++) {
            for (size_t c = 0; c < n; c++) {
                float e = exp_of(x[r * n_cols + c] - max[c]);
                y[r * n_cols + c] = e;
                total[c] = total[c] + e;
            }
        }
        for (size_t c = 0; c < n; c++) {
            total[c] = 1.0f / total[c];
        }
        for (size_t r = 0; r < n_rows; r++) {
            for (size_t c = 0; c < n; c++) {
                y[r * n_cols + c] = y[r * n_cols + c] * total[c];
            }
        }
    }
}

static void log_softmax_cols(float *y, const float *x, size_t n_rows,
                             size_t n_cols)
{
    float max[TILE], total[TILE];
    for (size_t from = 0; from < n_cols; from += TILE, x += TILE, y += TILE) {
        size_t n = tile_of(n_cols - from);
        tile_max(max, x, n_rows, n_cols, n);
        memset(total, 0, sizeof total);
        for (size_t r = 0; r < n_rows; r++) {
            for (size_t c = 0; c < n; c++) {
                total[c] = total[c] + exp_of(x[r * n_cols + c] - max[c]);
            }
        }
        for (size_t c = 0; c < n; c++) {
            total[c] = log_of(total[c]);
        }
        for (size_t r = 0; r < n_rows; r++) {
            for (size_t c = 0; c < n; c++) {
                y[r * n_cols + c] = (x[r * n_cols + c] - max[c]) - total[c];
            }
        }
    }
}

static void softmax_grad_cols(float *dx, const float *dy, const float *y,
                              size_t n_rows, size_t n_cols)
{
    float total[TILE];
    for (size_t from = 0; from < n_cols; from += TILE) {
        size_t n = tile_of(n_cols - from);
        memset(total, 0, sizeof total);
        for (size_t r = 0; r < n_rows; r++) {
            size_t at = r * n_cols + from;
            for (size_t c = 0; c < n; c++) {
                total[c] = total[c] + dy[at + c] * y[at + c];
            }
        }
        for (size_t r = 0; r < n_rows; r++) {
            size_t at = r * n_cols + from;
            for (size_t c = 0; c < n; c++) {
                dx[at + c] = y[at + c] * (dy[at + c] - total[c]);
            }
        }
    }
}

static void log_softmax_grad_cols(float *dx, const float *dy, const float *y,
                                  size_t n_rows, size_t n_cols)
{
    float total[TILE];
    for (size_t from = 0; from < n_cols; from += TILE) {
        size_t n = tile_of(n_cols - from);
        memset(total, 0, sizeof total);
        for (size_t r = 0; r < n_rows; r++) {
            for (size_t c = 0; c < n; c++) {
                total[c] = total[c] + dy[r * n_cols + from + c];
            }
        }
        for (size_t r = 0; r < n_rows; r++) {
            size_t at = r * n_cols + from;
            for (size_t c = 0; c < n; c++) {
                dx[at + c] = dy[at + c] - exp_of(y[at + c]) * total[c];
            }
        }
    }
}
