/* Strided copies against a naive twin that looks every element up by its index,
 * over drawn loops of every element size. */
#include "support/check.h"

#include <stdio.h>
#include <string.h>

#include "tensor/strided.h"

#define RANK   4
#define N_MAX  (1 << 16)
#define ROUNDS 4000

static unsigned draw(unsigned *seed, unsigned n)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 12) % n;
}

/* Loops over a permuted dense `from`, some of them standing still there, and a
 * `to` that is dense or has gaps. */
typedef struct loops {
    size_t dim[RANK];
    ptrdiff_t to[RANK];
    ptrdiff_t from[RANK];
} loops;

static loops draw_loops(unsigned *seed)
{
    loops l = {0};
    size_t order[RANK];
    ptrdiff_t step = 1;
    for (size_t d = 0; d < RANK; d++) {
        l.dim[d] = draw(seed, 4) == 0 ? 1 + draw(seed, 37) : 1 + draw(seed, 5);
        order[d] = d;
    }
    for (size_t d = RANK; d-- > 0;) { /* a permutation, half of the time */
        size_t other = draw(seed, 2) == 0 ? d : draw(seed, (unsigned)d + 1);
        size_t kept = order[d];
        order[d] = order[other];
        order[other] = kept;
    }
    for (size_t d = RANK; d-- > 0;) {
        bool stands = draw(seed, 6) == 0;
        l.from[order[d]] = stands ? 0 : step;
        step *= stands ? 1 : (ptrdiff_t)l.dim[order[d]];
    }
    step = draw(seed, 4) == 0 ? 2 : 1;
    for (size_t d = RANK; d-- > 0;) {
        l.to[d] = step;
        step *= (ptrdiff_t)l.dim[d];
    }
    return l;
}

/* Calls for each index: places in both. */
static void twin(const loops *l, uint8_t *to, const uint8_t *from, size_t bytes)
{
    size_t n = l->dim[0] * l->dim[1] * l->dim[2] * l->dim[3];
    for (size_t i = 0; i < n; i++) {
        size_t left = i;
        ptrdiff_t t = 0;
        ptrdiff_t f = 0;
        for (size_t d = RANK; d-- > 0;) {
            t += (ptrdiff_t)(left % l->dim[d]) * l->to[d];
            f += (ptrdiff_t)(left % l->dim[d]) * l->from[d];
            left /= l->dim[d];
        }
        memcpy(to + (size_t)t * bytes, from + (size_t)f * bytes, bytes);
    }
}

static tb_strided plan_of(const loops *l)
{
    tb_strided plan = {0};
    for (size_t d = 0; d < RANK; d++) {
        tb_strided_push(&plan, l->dim[d], l->to[d], l->from[d]);
    }
    return plan;
}

static size_t extent(const loops *l, const ptrdiff_t *stride)
{
    size_t n = 1;
    for (size_t d = 0; d < RANK; d++) {
        n += (l->dim[d] - 1) * (size_t)stride[d];
    }
    return n;
}

static _Alignas(64) uint8_t from[N_MAX * 8];
static _Alignas(64) uint8_t got[N_MAX * 8];
static _Alignas(64) uint8_t want[N_MAX * 8];

static void copies_are_what_the_naive_twin_makes(void **state)
{
    unsigned seed = 7;
    size_t n_done = 0;
    (void)state;
    for (size_t i = 0; i < sizeof from; i++) {
        from[i] = (uint8_t)draw(&seed, 256);
    }
    for (size_t r = 0; r < ROUNDS; r++) {
        loops l = draw_loops(&seed);
        size_t bytes = (size_t)1 << draw(&seed, 4);
        if (extent(&l, l.to) > N_MAX || extent(&l, l.from) > N_MAX) {
            continue;
        }
        tb_strided plan = plan_of(&l);
        size_t n = extent(&l, l.to) * bytes;
        memset(got, 0xa5, n + 64);
        memset(want, 0xa5, n + 64);
        tb_strided_copy(&plan, bytes, got, from);
        twin(&l, want, from, bytes);
        if (memcmp(got, want, n + 64) != 0) {
            fail_msg("round %zu: other bytes", r);
        }
        n_done++;
    }
    CHECK(n_done > ROUNDS / 2);
}

/* By hand: [[1, 2, 3], [4, 5, 6]] turned, reversed, stretched, summed. */
static void small_ones_by_hand(void **state)
{
    const float x[6] = {1, 2, 3, 4, 5, 6};
    const float turned[6] = {1, 4, 2, 5, 3, 6};
    const float back[3] = {6, 5, 4};
    const float wide[4] = {2, 2, 2, 2};
    float y[6] = {0};
    tb_strided plan = {0};
    (void)state;
    tb_strided_push(&plan, 3, 2, 1);
    tb_strided_push(&plan, 2, 1, 3);
    tb_strided_copy(&plan, sizeof y[0], y, x);
    CHECK(memcmp(y, turned, sizeof turned) == 0);
    plan = (tb_strided){0};
    tb_strided_push(&plan, 3, 1, -1);
    tb_strided_copy(&plan, sizeof y[0], y, x + 5);
    CHECK(memcmp(y, back, sizeof back) == 0);
    tb_strided_fill(y, sizeof y[0], 4, x + 1);
    CHECK(memcmp(y, wide, sizeof wide) == 0);
    plan = (tb_strided){0}; /* y[0] += x00 + x01 + x02, y[1] += ... */
    tb_strided_push(&plan, 2, 1, 3);
    tb_strided_push(&plan, 3, 0, 1);
    tb_strided_add(&plan, y, x);
    CHECK(y[0] == 2 + 6 && y[1] == 2 + 15 && y[2] == 2);
    plan = (tb_strided){0}; /* columns */
    tb_strided_push(&plan, 2, 0, 3);
    tb_strided_push(&plan, 3, 1, 1);
    tb_strided_add(&plan, y, x);
    CHECK(y[0] == 8 + 5 && y[1] == 17 + 7 && y[2] == 2 + 9);
}

static void loops_that_go_on_evenly_are_one(void **state)
{
    tb_strided plan = {0};
    (void)state;
    tb_strided_push(&plan, 2, 12, 12);
    tb_strided_push(&plan, 1, 99, 77);
    tb_strided_push(&plan, 3, 4, 4);
    tb_strided_push(&plan, 4, 1, 1);
    CHECK(plan.rank == 1 && plan.dim[0] == 24);
    tb_strided_push(&plan, 0, 1, 1);
    tb_strided_copy(&plan, 4, NULL, NULL); /* nothing is touched */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_are_what_the_naive_twin_makes),
        cmocka_unit_test(small_ones_by_hand),
        cmocka_unit_test(loops_that_go_on_evenly_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
