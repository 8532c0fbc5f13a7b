/* core/tensor/gemm_tile.h - the product of gemm.h in vectors, included by one
 * .c file an instruction set. One operand is the panel: [k, PANEL] floats, read
 * as vectors. The other gives rows: single floats, each spread over a vector.
 * A tile of TILE_ROWS x PANEL sums stays in registers over a whole chunk of k.
 * Nothing that is copied is larger than one panel: in a forward pass the batch
 * becomes the panel and the weights are read where they are.
 * The includer defines NAME, vec, mask, WIDTH, TILE_ROWS and the operations; it
 * may define NARROW and NARROW_NAME, who takes panels of some widths, and
 * DOT_COLS, which lets gemm_dot.h take the products that it is for. */
#include <string.h>

#include "tensor/gemm_priv.h"

#ifndef VECS
#define VECS 2 /* vectors of a panel's row */
#endif
#define PANEL  (VECS * WIDTH)
#define INLINE static inline __attribute__((always_inline))

/* Sums must never see memory: loops over a tile are unrolled, whatever it
 * costs. */
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 12")
#endif

/* One product seen by the tiles: c[i][j] = sum_p row(i, p) * panel(p, j). */
typedef struct job {
    const float *row; /* element (i, p) at i * row_i + p * row_p */
    size_t row_i;
    size_t row_p;
    size_t n_rows;
    const float *panel; /* element (p, j) at p * panel_p + j * panel_j; one of
                         * the two is 1 */
    size_t panel_p;
    size_t panel_j;
    size_t n_panel;
    float *c; /* element (i, j) at i * c_i + j * c_j; one of the two is 1 */
    size_t c_i;
    size_t c_j;
    float alpha;
    float beta;
    const float *from; /* old value of (i, j) at i * from_i + j * from_j */
    size_t from_i;
    size_t from_j;
    bool relu;         /* after the last chunk */
    const float *gate; /* laid out like c, or NULL; after the last chunk */
} job;

/* The end of a sum's way: Relu, or the gate of Relu's gradient. */
INLINE vec finish(const job *q, vec x, vec gate)
{
    x = q->relu ? RELU(x) : x;
    return q->gate != NULL ? GATE(gate, x, MUL(x, SPREAD(0.0f))) : x;
}

static inline float finish_one(const job *q, float x, size_t at)
{
    if (q->relu) {
        x = x <= 0.0f ? 0.0f : x;
    }
    if (q->gate != NULL) {
        x = q->gate[at] > 0.0f ? x : 0.0f * x;
    }
    return x;
}

/* The old values under WIDTH columns, the first of them at `from`. */
INLINE vec old_values(const job *q, const float *from, mask last, bool part)
{
    if (q->from_j == 0) {
        return SPREAD(*from);
    }
    return part ? LOAD_SOME(from, last) : LOAD(from);
}

INLINE void put(float *at, vec x, mask last, bool part)
{
    if (part) {
        STORE_SOME(at, last, x);
    } else {
        STORE(at, x);
    }
}

/* Sums of rows from i0 and columns from j0 on to a c whose rows lie dense, when
 * neither relu nor gate follows. */
INLINE void store_plain(const job *q, size_t i0, size_t j0, vec acc[][VECS],
                        size_t rows, size_t vecs, mask last, const bool some)
{
    vec alpha = SPREAD(q->alpha);
    vec beta = SPREAD(q->beta);
    float *c = q->c + i0 * q->c_i + j0;
    const float *from = q->from + i0 * q->from_i + j0 * q->from_j;
    size_t from_i = q->from_i;
    size_t from_v = q->from_j * WIDTH;
    size_t c_i = q->c_i;
    if (q->beta == 0.0f) {
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            UNROLL
            for (size_t v = 0; v < vecs; v++) {
                put(c + i * c_i + v * WIDTH, MUL(alpha, acc[i][v]), last,
                    some && v + 1 == vecs);
            }
        }
        return;
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t v = 0; v < vecs; v++) {
            bool part = some && v + 1 == vecs;
            vec old = old_values(q, from + i * from_i + v * from_v, last, part);
            put(c + i * c_i + v * WIDTH, FMA(alpha, acc[i][v], MUL(beta, old)),
                last, part);
        }
    }
}

/* The same with relu or gate, from sums in memory. */
static __attribute__((noinline)) void store_finished(const job *q, size_t i0,
                                                     size_t j0,
                                                     float sums[][PANEL],
                                                     size_t rows, size_t cols)
{
    vec alpha = SPREAD(q->alpha);
    vec beta = SPREAD(q->beta);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j += WIDTH) {
            bool part = cols - j < WIDTH;
            mask last = ALL;
            if (part) {
                last = FIRST(cols - j);
            }
            size_t at = (i0 + i) * q->c_i + j0 + j;
            const float *from =
                q->from + (i0 + i) * q->from_i + (j0 + j) * q->from_j;
            vec sum = LOAD(&sums[i][j]);
            vec x = MUL(alpha, sum);
            if (q->beta != 0.0f) {
                vec old = MUL(beta, old_values(q, from, last, part));
                x = FMA(alpha, sum, old);
            }
            vec gate = NONE;
            if (q->gate != NULL) {
                const float *g = q->gate + at;
                gate = part ? LOAD_SOME(g, last) : LOAD(g);
            }
            put(q->c + at, finish(q, x, gate), last, part);
        }
    }
}

/* The same bits for one element. */
static inline void store_one(const job *q, size_t i, size_t j, float sum)
{
    size_t at = i * q->c_i + j * q->c_j;
    float x = q->alpha * sum;
    if (q->beta != 0.0f) {
        float old = q->from[i * q->from_i + j * q->from_j];
        x = __builtin_fmaf(q->alpha, sum, q->beta * old);
    }
    q->c[at] = finish_one(q, x, at);
}

/* The same for c seen the other way round. */
static __attribute__((noinline)) void store_turned(const job *q, size_t i0,
                                                   size_t j0,
                                                   float sums[][PANEL],
                                                   size_t rows, size_t cols)
{
    for (size_t j = 0; j < cols; j++) {
        for (size_t i = 0; i < rows; i++) {
            store_one(q, i0 + i, j0 + j, sums[i][j]);
        }
    }
}

INLINE void store(const job *q, size_t i0, size_t j0, vec acc[][VECS],
                  size_t rows, size_t vecs, size_t cols, mask last,
                  const bool some)
{
    bool plain = q->c_j == 1;
    if (plain && !q->relu && q->gate == NULL) {
        store_plain(q, i0, j0, acc, rows, vecs, last, some);
        return;
    }
    float sums[TILE_ROWS][PANEL];
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t v = 0; v < vecs; v++) {
            STORE(&sums[i][v * WIDTH], acc[i][v]);
        }
    }
    if (plain) {
        store_finished(q, i0, j0, sums, rows, cols);
    } else {
        store_turned(q, i0, j0, sums, rows, cols);
    }
}

/* rows x cols of c from k terms. rows, vecs and some are constants at each
 * call; some: the last vector of a panel's row may not be read whole. */
INLINE void tile(const job *q, size_t i0, size_t j0, const float *row,
                 const float *panel, size_t panel_p, size_t k, size_t cols,
                 const size_t rows, const size_t vecs, const bool some)
{
    vec acc[TILE_ROWS][VECS];
    const float *at[TILE_ROWS / 3 + 1]; /* every third row; x86 can add once
                                         * and twice row_i to an address */
    size_t row_i = q->row_i;
    size_t row_p = q->row_p;
    mask last = ALL;
    if (some) {
        last = FIRST(cols - (vecs - 1) * WIDTH);
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t v = 0; v < vecs; v++) {
            acc[i][v] = SPREAD(0.0f);
        }
        if (i % 3 == 0) {
            at[i / 3] = row + i * row_i;
        }
    }
    if (k >= 48 && q->beta != 0.0f && q->c_j == 1) { /* old values come in
                                                      * meanwhile */
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            __builtin_prefetch(q->c + (i0 + i) * q->c_i + j0, 1);
            __builtin_prefetch(q->c + (i0 + i) * q->c_i + j0 + cols - 1, 1);
        }
    }
    for (size_t p = 0; p < k; p++) {
        vec b[VECS];
        UNROLL
        for (size_t v = 0; v < vecs; v++) {
            b[v] = some && v + 1 == vecs ? LOAD_SOME(panel + v * WIDTH, last)
                                         : LOAD(panel + v * WIDTH);
        }
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            vec a = SPREAD(at[i / 3][i % 3 * row_i]);
            UNROLL
            for (size_t v = 0; v < vecs; v++) {
                acc[i][v] = FMA(a, b[v], acc[i][v]);
            }
        }
        UNROLL
        for (size_t i = 0; i < rows; i += 3) {
            at[i / 3] += row_p;
        }
        panel += panel_p;
    }
    store(q, i0, j0, acc, rows, vecs, cols, last, some);
}

/* All rows against one panel of cols columns; vecs and some as in tile. */
INLINE void sweep(const job *q, size_t p0, const float *panel, size_t panel_p,
                  size_t k, size_t j0, size_t cols, const size_t vecs,
                  const bool some)
{
    const float *row = q->row + p0 * q->row_p;
    size_t i = 0;
    for (; i + TILE_ROWS <= q->n_rows; i += TILE_ROWS) {
        tile(q, i, j0, row, panel, panel_p, k, cols, TILE_ROWS, vecs, some);
        row += TILE_ROWS * q->row_i;
    }
/* What is left goes in few sizes: each is code of its own. */
#define ROWS(n)                                                                \
    for (; i + (n) <= q->n_rows; i += (n)) {                                   \
        tile(q, i, j0, row, panel, panel_p, k, cols, n, vecs, some);           \
        row += (n)*q->row_i;                                                   \
    }
#if TILE_ROWS > 8
    ROWS(10)
    ROWS(8)
#endif
#if TILE_ROWS > 6
    ROWS(6)
#endif
    ROWS(4)
    ROWS(3)
    ROWS(2)
    ROWS(1)
#undef ROWS
}

static __attribute__((noinline)) void sweep_whole(const job *q, size_t p0,
                                                  const float *panel,
                                                  size_t panel_p, size_t k,
                                                  size_t j0)
{
    sweep(q, p0, panel, panel_p, k, j0, PANEL, VECS, false);
}

static __attribute__((noinline)) void sweep_wide(const job *q, size_t p0,
                                                 const float *panel,
                                                 size_t panel_p, size_t k,
                                                 size_t j0, size_t cols)
{
    sweep(q, p0, panel, panel_p, k, j0, cols, VECS, true);
}

static __attribute__((noinline)) void sweep_narrow(const job *q, size_t p0,
                                                   const float *panel,
                                                   size_t panel_p, size_t k,
                                                   size_t j0, size_t cols)
{
    sweep(q, p0, panel, panel_p, k, j0, cols, 1, true);
}

/* out [8][PANEL rows] from 8 rows of x, 8 floats each: a transposition. */
INLINE void turn_8x8(float *out, const float *x, size_t x_step)
{
    __m256 r[8];
    __m256 s[8];
    for (size_t i = 0; i < 8; i++) {
        r[i] = _mm256_loadu_ps(x + i * x_step);
    }
    for (size_t i = 0; i < 8; i += 2) {
        s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (size_t i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xee);
    }
    for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * PANEL,
                         _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * PANEL,
                         _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

/* out [k, PANEL] from cols rows of x, k floats each; columns behind cols hold
 * anything. */
static void turn_panel(float *out, const float *x, size_t x_step, size_t k,
                       size_t cols)
{
    size_t j = 0;
    for (; j + 8 <= cols; j += 8) {
        size_t p = 0;
        for (; p + 8 <= k; p += 8) {
            turn_8x8(out + p * PANEL + j, x + j * x_step + p, x_step);
        }
        for (; p < k; p++) {
            for (size_t i = j; i < j + 8; i++) {
                out[p * PANEL + i] = x[i * x_step + p];
            }
        }
    }
    for (; j < cols; j++) {
        for (size_t p = 0; p < k; p++) {
            out[p * PANEL + j] = x[j * x_step + p];
        }
    }
}

static void copy_panel(float *out, const float *x, size_t x_step, size_t k,
                       size_t cols)
{
    for (size_t p = 0; p < k; p++) {
        memcpy(out + p * PANEL, x + p * x_step, cols * sizeof *x);
    }
}

/* Columns of the panel from j on: all vectors of a row, or one. */
static size_t panel_cols(const job *q, size_t j)
{
    size_t left = q->n_panel - j;
    size_t most = left > (VECS - 1) * WIDTH ? PANEL : WIDTH;
    return left < most ? left : most;
}

static void sweep_panel(const job *q, size_t p0, const float *panel,
                        size_t panel_p, size_t k, size_t j)
{
    size_t cols = panel_cols(q, j);
    if (cols == PANEL) {
        sweep_whole(q, p0, panel, panel_p, k, j);
    } else if (cols > (VECS - 1) * WIDTH) {
        sweep_wide(q, p0, panel, panel_p, k, j, cols);
    } else {
        sweep_narrow(q, p0, panel, panel_p, k, j, cols);
    }
}

/* Whether the rows of a tile lie so that a first-level cache cannot hold them:
 * each term in another page, or all rows at the same offset of their pages. */
static bool rows_collide(const job *q, size_t k)
{
    size_t page = 4096 / sizeof(float);
    bool columns = q->row_i == 1 && q->row_p >= page / 4;
    bool aliases = q->row_p == 1 && q->row_i % page == 0;
    return (columns || aliases) && k >= 64 && q->panel_j == 1 &&
           q->n_panel >= 4 * PANEL && q->n_rows >= TILE_ROWS;
}

/* One chunk of k terms from p0 on, row by row of tiles, each copied first. */
static void run_rows(const job *q, size_t p0, size_t k)
{
    float copy[TB_GEMM_CHUNK * TILE_ROWS];
    for (size_t i = 0; i < q->n_rows; i += TILE_ROWS) {
        size_t left = q->n_rows - i;
        size_t rows = left < TILE_ROWS ? left : TILE_ROWS;
        const float *row = q->row + p0 * q->row_p + i * q->row_i;
        if (q->row_i == 1 && rows == TILE_ROWS) {
            for (size_t p = 0; p < k; p++) {
                memcpy(copy + p * TILE_ROWS, row + p * q->row_p,
                       TILE_ROWS * sizeof *copy);
            }
        } else {
            for (size_t r = 0; r < rows; r++) {
                for (size_t p = 0; p < k; p++) {
                    copy[p * TILE_ROWS + r] = row[r * q->row_i + p * q->row_p];
                }
            }
        }
        job part = *q;
        part.row = copy;
        part.row_i = 1;
        part.row_p = TILE_ROWS;
        part.n_rows = rows;
        part.c = q->c + i * q->c_i;
        part.from = q->from + i * q->from_i;
        part.gate = q->gate == NULL ? NULL : q->gate + i * q->c_i;
        for (size_t j = 0; j < q->n_panel; j += panel_cols(q, j)) {
            sweep_panel(&part, 0, q->panel + p0 * q->panel_p + j, q->panel_p, k,
                        j);
        }
    }
}

/* One chunk of k terms from p0 on, panel by panel. */
static void run_chunk(const job *q, size_t p0, size_t k)
{
    float copy[TB_GEMM_CHUNK * PANEL];
    bool turn = q->panel_j != 1;
    bool far = q->n_rows > 4 * TILE_ROWS && q->panel_p > PANEL;
    for (size_t j = 0; j < q->n_panel; j += panel_cols(q, j)) {
        size_t cols = panel_cols(q, j);
        const float *panel = q->panel + p0 * q->panel_p + j * q->panel_j;
        size_t panel_p = turn || far ? PANEL : q->panel_p;
        if (turn) {
            turn_panel(copy, panel, q->panel_j, k, cols);
            panel = copy;
        } else if (far) {
            copy_panel(copy, panel, q->panel_p, k, cols);
            panel = copy;
        }
        sweep_panel(q, p0, panel, panel_p, k, j);
    }
}

/* Rough count of cycles when the operand of `panel` columns is the panel: the
 * sums, turning it unless it lies right, and storing c turned or not. */
static double cost(size_t rows, size_t panel, size_t k, bool turn, bool turned)
{
    size_t padded = (panel + WIDTH - 1) / WIDTH * WIDTH;
    double sums = (double)rows * (double)padded * (double)k / (2 * WIDTH);
    double turning = turn ? (double)panel * (double)k : 0.0;
    double storing =
        (turned ? 1.5 : 2.0 / WIDTH) * (double)rows * (double)panel;
    return sums + turning + storing;
}

#ifdef DOT_COLS
#include "tensor/gemm_dot.h"
#endif

void NAME(const tb_gemm_shape *s, float alpha, const float *a, const float *b,
          float beta, float *c, const tb_gemm_tail *tail)
{
#ifdef DOT_COLS
    if (!s->trans_a && s->trans_b && s->k >= TB_GEMM_DOT) {
        multiply_dots(s, alpha, a, b, beta, c, tail);
        return;
    }
#endif
    size_t a_m = s->trans_a ? 1 : s->a_step;
    size_t a_k = s->trans_a ? s->a_step : 1;
    size_t b_k = s->trans_b ? 1 : s->b_step;
    size_t b_n = s->trans_b ? s->b_step : 1;
    bool turned = cost(s->n, s->m, s->k, !s->trans_a, true) <
                  cost(s->m, s->n, s->k, s->trans_b, false);
    job q = {.row = a,
             .row_i = a_m,
             .row_p = a_k,
             .n_rows = s->m,
             .panel = b,
             .panel_p = b_k,
             .panel_j = b_n,
             .n_panel = s->n,
             .c = c,
             .c_i = s->c_step,
             .c_j = 1,
             .alpha = alpha,
             .beta = beta,
             .from = tail->from,
             .from_i = tail->from_row,
             .from_j = tail->from_col};
    if (turned) {
        q = (job){.row = b,
                  .row_i = b_n,
                  .row_p = b_k,
                  .n_rows = s->n,
                  .panel = a,
                  .panel_p = a_k,
                  .panel_j = a_m,
                  .n_panel = s->m,
                  .c = c,
                  .c_i = 1,
                  .c_j = s->c_step,
                  .alpha = alpha,
                  .beta = beta,
                  .from = tail->from,
                  .from_i = tail->from_col,
                  .from_j = tail->from_row};
    }
#ifdef NARROW
    if (NARROW(q.n_panel)) {
        NARROW_NAME(s, alpha, a, b, beta, c, tail);
        return;
    }
#endif
    size_t p0 = 0;
    do {
        size_t left = s->k - p0;
        size_t k = left < TB_GEMM_CHUNK ? left : TB_GEMM_CHUNK;
        if (k == left) {
            q.relu = tail->relu;
            q.gate = tail->gate;
        }
        if (rows_collide(&q, k)) {
            run_rows(&q, p0, k);
        } else {
            run_chunk(&q, p0, k);
        }
        q.beta = 1.0f; /* the next chunk adds to this one */
        q.from = c;
        q.from_i = q.c_i;
        q.from_j = q.c_j;
        p0 += k;
    } while (p0 < s->k);
}
