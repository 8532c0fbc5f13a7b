/* core/tensor/conv_transform.h - the transforms of Winograd's convolution, one
 * tile at a time, WIDTH channels side by side; included by conv_winograd.h.
 * The includer defines vec, WIDTH and the operations.
 *
 * With d a tile of x, g a kernel and y a tile of the output (Lavin and Gray,
 * arXiv 1509.09308): y = A' [(G g G') . (B' d B)] A, where ' transposes. The
 * rows of A and G are powers of the points 0, a, -a, b, -b and infinity; we
 * take a = 5/8, b = 3/2: for tiles of six the rounding error is a third of that
 * of the usual 1 and 2. Tiles of four have 0, 1, -1 and infinity, and round no
 * worse than plain sums. Gradients follow by transposing each step. */
#include "tensor/conv_priv.h"

#define INLINE static inline __attribute__((always_inline))

#define N      TB_CONV_TILE
#define PA     0.625f
#define PB     1.5f
#define PA2    (PA * PA)
#define PB2    (PB * PB)

/* 1 / product of the differences between a point and the others. */
static const float scale_6[N] = {
    1.0f / (PA2 * PB2),         0.5f / (PA2 * (PA2 - PB2)),
    0.5f / (PA2 * (PA2 - PB2)), 0.5f / (PB2 * (PB2 - PA2)),
    0.5f / (PB2 * (PB2 - PA2)), 1.0f};
static const float scale_4[4] = {-1.0f, 0.5f, 0.5f, 1.0f};

INLINE vec scale_at(size_t i, size_t j, const size_t n)
{
    return n == 4 ? SPREAD(scale_4[i] * scale_4[j])
                  : SPREAD(scale_6[i] * scale_6[j]);
}

/* --- transforms of one line ----------------------------------------------- */

/* v = B' d */
INLINE void line_in(vec v[N], const vec d[N], const size_t n)
{
    if (n == 4) {
        v[0] = d[2] - d[0];
        v[1] = d[2] + d[1];
        v[2] = d[2] - d[1];
        v[3] = d[3] - d[1];
        return;
    }
    const vec ea = FMA(SPREAD(-PA2), d[2], d[4]);
    const vec eb = FMA(SPREAD(-PB2), d[2], d[4]);
    const vec oa = FMA(SPREAD(-PA2), d[1], d[3]);
    const vec ob = FMA(SPREAD(-PB2), d[1], d[3]);
    v[0] = FMA(SPREAD(PA2 * PB2), d[0], FMA(SPREAD(-PA2 - PB2), d[2], d[4]));
    v[1] = FMA(SPREAD(PA), ob, eb);
    v[2] = FMA(SPREAD(-PA), ob, eb);
    v[3] = FMA(SPREAD(PB), oa, ea);
    v[4] = FMA(SPREAD(-PB), oa, ea);
    v[5] = FMA(SPREAD(PA2 * PB2), d[1], FMA(SPREAD(-PA2 - PB2), d[3], d[5]));
}

/* d = B v */
INLINE void line_in_turned(vec d[N], const vec v[N], const size_t n)
{
    const vec sa = v[1] + v[2];
    const vec da = v[1] - v[2];
    if (n == 4) {
        d[0] = SPREAD(-1.0f) * v[0];
        d[1] = da - v[3];
        d[2] = v[0] + sa;
        d[3] = v[3];
        return;
    }
    const vec sb = v[3] + v[4];
    const vec db = v[3] - v[4];
    d[0] = SPREAD(PA2 * PB2) * v[0];
    d[1] = FMA(SPREAD(-PA * PB2), da,
               FMA(SPREAD(-PB * PA2), db, SPREAD(PA2 * PB2) * v[5]));
    d[2] =
        FMA(SPREAD(-PB2), sa, FMA(SPREAD(-PA2), sb, SPREAD(-PA2 - PB2) * v[0]));
    d[3] = FMA(SPREAD(PA), da, FMA(SPREAD(PB), db, SPREAD(-PA2 - PB2) * v[5]));
    d[4] = v[0] + (sa + sb);
    d[5] = v[5];
}

/* v = A d, or G d without its scale: the polynomial with k coefficients d at
 * all points. */
INLINE void line_at(vec v[N], const vec *d, const size_t k, const size_t n)
{
    if (n == 4) {
        const vec e = k > 2 ? d[0] + d[2] : d[0] + SPREAD(0.0f);
        v[0] = d[0];
        v[1] = e + d[1];
        v[2] = e - d[1];
        v[3] = d[k - 1];
        return;
    }
    vec ea = FMA(SPREAD(PA2), k > 2 ? d[2] : SPREAD(0.0f), d[0]);
    vec eb = FMA(SPREAD(PB2), k > 2 ? d[2] : SPREAD(0.0f), d[0]);
    vec oa = SPREAD(PA) * d[1];
    vec ob = SPREAD(PB) * d[1];
    if (k > 3) {
        oa = FMA(SPREAD(PA * PA2), d[3], oa);
        ob = FMA(SPREAD(PB * PB2), d[3], ob);
    }
    if (k > 4) {
        ea = FMA(SPREAD(PA2 * PA2), d[4], ea);
        eb = FMA(SPREAD(PB2 * PB2), d[4], eb);
    }
    v[0] = d[0];
    v[1] = ea + oa;
    v[2] = ea - oa;
    v[3] = eb + ob;
    v[4] = eb - ob;
    v[5] = d[k - 1];
}

/* d = A' v */
INLINE void line_at_turned(vec *d, const vec v[N], const size_t k,
                           const size_t n)
{
    const vec sa = v[1] + v[2];
    const vec da = v[1] - v[2];
    if (n == 4) {
        d[0] = v[0] + sa;
        d[1] = da;
        if (k > 2) {
            d[2] = sa;
        }
        d[k - 1] = d[k - 1] + v[3];
        return;
    }
    const vec sb = v[3] + v[4];
    const vec db = v[3] - v[4];
    d[0] = v[0] + (sa + sb);
    d[1] = FMA(SPREAD(PA), da, SPREAD(PB) * db);
    if (k > 2) {
        d[2] = FMA(SPREAD(PA2), sa, SPREAD(PB2) * sb);
    }
    if (k > 3) {
        d[3] = FMA(SPREAD(PA * PA2), da, SPREAD(PB * PB2) * db);
    }
    if (k > 4) {
        d[4] = FMA(SPREAD(PA2 * PA2), sa, SPREAD(PB2 * PB2) * sb);
    }
    d[k - 1] = d[k - 1] + v[5];
}

/* --- transforms of a tile ------------------------------------------------- */

/* A tile whose element (i, j) is WIDTH floats at at + i * row + j * step. */
typedef struct grid {
    float *at;
    size_t row;
    size_t step;
} grid;

INLINE float *cell(const grid *g, size_t i, size_t j)
{
    return g->at + i * g->row + j * g->step;
}

/* to [n, n] = B' from [n, n] B */
INLINE void tile_in(const grid *to, const grid *from, const size_t n)
{
    vec half[N][N];
    for (size_t j = 0; j < n; j++) {
        vec d[N], v[N];
        for (size_t i = 0; i < n; i++) {
            d[i] = LOAD(cell(from, i, j));
        }
        line_in(v, d, n);
        for (size_t i = 0; i < n; i++) {
            half[i][j] = v[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        vec v[N];
        line_in(v, half[i], n);
        for (size_t j = 0; j < n; j++) {
            STORE(cell(to, i, j), v[j]);
        }
    }
}

/* to [n, n] += B from [n, n] B' */
INLINE void tile_in_turned(const grid *to, const grid *from, const size_t n)
{
    vec half[N][N];
    for (size_t j = 0; j < n; j++) {
        vec d[N], v[N];
        for (size_t i = 0; i < n; i++) {
            v[i] = LOAD(cell(from, i, j));
        }
        line_in_turned(d, v, n);
        for (size_t i = 0; i < n; i++) {
            half[i][j] = d[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        vec d[N];
        line_in_turned(d, half[i], n);
        for (size_t j = 0; j < n; j++) {
            STORE(cell(to, i, j), LOAD(cell(to, i, j)) + d[j]);
        }
    }
}

/* to [n, n] = A from [k, k] A'; scaled: G instead of A. */
INLINE void tile_at(const grid *to, const grid *from, const size_t k,
                    const size_t n, const bool scaled)
{
    vec half[N][N];
    for (size_t j = 0; j < k; j++) {
        vec d[N], v[N];
        for (size_t i = 0; i < k; i++) {
            d[i] = LOAD(cell(from, i, j));
        }
        line_at(v, d, k, n);
        for (size_t i = 0; i < n; i++) {
            half[i][j] = v[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        vec v[N];
        line_at(v, half[i], k, n);
        for (size_t j = 0; j < n; j++) {
            if (scaled) {
                v[j] = v[j] * scale_at(i, j, n);
            }
            STORE(cell(to, i, j), v[j]);
        }
    }
}

/* to [k, k] = A' from [n, n] A; scaled: G instead of A. */
INLINE void tile_at_turned(const grid *to, const grid *from, const size_t k,
                           const size_t n, const bool scaled)
{
    vec half[N][N];
    for (size_t j = 0; j < n; j++) {
        vec d[N], v[N];
        for (size_t i = 0; i < n; i++) {
            v[i] = LOAD(cell(from, i, j));
            if (scaled) {
                v[i] = v[i] * scale_at(i, j, n);
            }
        }
        line_at_turned(d, v, k, n);
        for (size_t i = 0; i < k; i++) {
            half[i][j] = d[i];
        }
    }
    for (size_t i = 0; i < k; i++) {
        vec d[N];
        line_at_turned(d, half[i], k, n);
        for (size_t j = 0; j < k; j++) {
            STORE(cell(to, i, j), d[j]);
        }
    }
}

/* The four for each size in use, as functions of their own. */

static void inputs(const grid *to, const grid *from, size_t n)
{
    if (n == 4) {
        tile_in(to, from, 4);
    } else {
        tile_in(to, from, 6);
    }
}

static void inputs_turned(const grid *to, const grid *from, size_t n)
{
    if (n == 4) {
        tile_in_turned(to, from, 4);
    } else {
        tile_in_turned(to, from, 6);
    }
}

static void weights_at(const grid *to, const grid *from, size_t r, size_t n)
{
    if (n == 4) {
        tile_at(to, from, 3, 4, true);
    } else if (r == 3) {
        tile_at(to, from, 3, 6, true);
    } else {
        tile_at(to, from, 5, 6, true);
    }
}

static void weights_at_turned(const grid *to, const grid *from, size_t r,
                              size_t n)
{
    if (n == 4) {
        tile_at_turned(to, from, 3, 4, true);
    } else if (r == 3) {
        tile_at_turned(to, from, 3, 6, true);
    } else {
        tile_at_turned(to, from, 5, 6, true);
    }
}

static void outputs_at(const grid *to, const grid *from, size_t m, size_t n)
{
    if (n == 4) {
        tile_at(to, from, 2, 4, false);
    } else if (m == 4) {
        tile_at(to, from, 4, 6, false);
    } else {
        tile_at(to, from, 2, 6, false);
    }
}

static void outputs_at_turned(const grid *to, const grid *from, size_t m,
                              size_t n)
{
    if (n == 4) {
        tile_at_turned(to, from, 2, 4, false);
    } else if (m == 4) {
        tile_at_turned(to, from, 4, 6, false);
    } else {
        tile_at_turned(to, from, 2, 6, false);
    }
}
