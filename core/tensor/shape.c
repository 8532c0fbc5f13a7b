#include "tensor/shape.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

tb_rc tb_shape_from(tb_shape *out, const int64_t *dims, size_t rank,
                    tb_err *err)
{
    tb_shape shape = {.rank = rank};
    if (rank > TB_RANK_MAX) {
        return tb_fail(err, TB_E_LIMIT, "shape: %zu dimensions, at most %d",
                       rank, TB_RANK_MAX);
    }
    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 0) {
            return tb_fail(err, TB_E_MALFORMED,
                           "shape: dimension %zu is %lld, below 0", i,
                           (long long)dims[i]);
        }
        shape.dim[i] = (size_t)dims[i];
    }
    *out = shape;
    return TB_OK;
}

tb_rc tb_shape_count(size_t *out, const tb_shape *shape, tb_err *err)
{
    /* The product without the zeros must fit too: partial products count. */
    size_t n = 1;
    bool empty = false;
    for (size_t i = 0; i < shape->rank; i++) {
        if (shape->dim[i] == 0) {
            empty = true;
        } else if (tb_mem_mul(&n, n, shape->dim[i]) != 0) {
            char text[TB_SHAPE_TEXT_BYTES];
            return tb_fail(err, TB_E_LIMIT, "shape %s: too many elements",
                           tb_shape_text(shape, text));
        }
    }
    *out = empty ? 0 : n;
    return TB_OK;
}

size_t tb_shape_product(const tb_shape *shape, size_t from, size_t to)
{
    size_t n = 1;
    for (size_t i = from; i < to; i++) {
        n *= shape->dim[i];
    }
    return n;
}

bool tb_shape_equal(const tb_shape *a, const tb_shape *b)
{
    return a->rank == b->rank &&
           memcmp(a->dim, b->dim, a->rank * sizeof a->dim[0]) == 0;
}

/* Extent of dimension i counted from the last; 1 beyond the first. */
static size_t from_last(const tb_shape *shape, size_t i)
{
    return i < shape->rank ? shape->dim[shape->rank - 1 - i] : 1;
}

tb_rc tb_shape_broadcast(tb_shape *out, const tb_shape *a, const tb_shape *b,
                         tb_err *err)
{
    tb_shape shape = {.rank = a->rank > b->rank ? a->rank : b->rank};
    for (size_t i = 0; i < shape.rank; i++) {
        size_t da = from_last(a, i);
        size_t db = from_last(b, i);
        if (da != db && da != 1 && db != 1) {
            char ta[TB_SHAPE_TEXT_BYTES];
            char tb[TB_SHAPE_TEXT_BYTES];
            return tb_fail(err, TB_E_MISMATCH,
                           "shapes %s and %s do not broadcast",
                           tb_shape_text(a, ta), tb_shape_text(b, tb));
        }
        shape.dim[shape.rank - 1 - i] = da == 1 ? db : da;
    }
    *out = shape;
    return TB_OK;
}

void tb_shape_strides(size_t stride[TB_RANK_MAX], const tb_shape *shape,
                      const tb_shape *to)
{
    size_t step = 1;
    memset(stride, 0, TB_RANK_MAX * sizeof stride[0]);
    for (size_t i = 0; i < to->rank; i++) {
        size_t d = from_last(shape, i);
        stride[to->rank - 1 - i] = d == 1 ? 0 : step;
        step *= d;
    }
}

const char *tb_shape_text(const tb_shape *shape, char out[TB_SHAPE_TEXT_BYTES])
{
    size_t used = 1;
    out[0] = '[';
    for (size_t i = 0; i < shape->rank; i++) {
        int n = snprintf(out + used, TB_SHAPE_TEXT_BYTES - used, "%s%zu",
                         i > 0 ? ", " : "", shape->dim[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    out[used] = ']';
    out[used + 1] = '\0';
    return out;
}
