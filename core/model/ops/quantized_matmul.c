/* core/model/ops/quantized_matmul.c - MatMulInteger and QLinearMatMul: matrices
 * of bytes with exact int32 sums, batched and broadcast as MatMul is. A zero
 * point comes off behind the product:
 * sum (a - za)(b - zb) = sum ab - za sum b - zb sum a + k za zb. */
#include <math.h>
#include <string.h>

#include "model/ops/op_priv.h"
#include "tensor/gemm_int8.h"

#define TYPES_8    (TB_TYPE_BIT(TB_U8) | TB_TYPE_BIT(TB_I8))
#define EXTENT_MAX ((size_t)INT32_MAX)
#define ALIGN      ((size_t)64)

/* Inputs of both operators by what they are; NONE: there is none. */
typedef struct ends {
    uint8_t a, a_zero, b, b_zero;
    uint8_t a_scale, b_scale, y_scale, y_zero;
} ends;

#define NONE UINT8_MAX

static const ends integer_ends = {0, 2, 1, 3, NONE, NONE, NONE, NONE};
static const ends linear_ends = {0, 2, 3, 5, 1, 4, 6, 7};

typedef struct matmul_state {
    size_t m;
    size_t n;
    size_t k;
    size_t n_batch;               /* matrices of y */
    tb_shape batch;               /* their shape */
    size_t a_stride[TB_RANK_MAX]; /* in matrices */
    size_t b_stride[TB_RANK_MAX];
    /* Places in work, in bytes. */
    size_t copy;    /* of a, 128 added to each; or nothing */
    size_t columns; /* int32 [n] */
    size_t sums;    /* int32 [m, n]; QLinearMatMul only */
} matmul_state;

/* --- shapes --------------------------------------------------------------- */

/* A vector stands for a row (a) or a column (b) of a matrix. */
static tb_shape as_matrix(const tb_shape *s, bool column)
{
    if (s->rank != 1) {
        return *s;
    }
    return column ? TB_SHAPE(s->dim[0], 1) : TB_SHAPE(1, s->dim[0]);
}

static tb_shape batch_of(const tb_shape *s)
{
    tb_shape batch = {.rank = s->rank - 2};
    memcpy(batch.dim, s->dim, batch.rank * sizeof batch.dim[0]);
    return batch;
}

static tb_shape shape_of_y(const matmul_state *s, const tb_call *call,
                           const ends *e)
{
    tb_shape y = s->batch;
    if (call->in[e->a].shape.rank > 1) {
        y.dim[y.rank++] = s->m;
    }
    if (call->in[e->b].shape.rank > 1) {
        y.dim[y.rank++] = s->n;
    }
    return y;
}

static tb_rc plan_shapes(tb_call *call, const ends *e, tb_err *err)
{
    matmul_state *s = TB_OP_STATE(matmul_state, call);
    const tb_shape *x = &call->in[e->a].shape;
    const tb_shape *z = &call->in[e->b].shape;
    if (x->rank == 0 || z->rank == 0) {
        return tb_fail(err, TB_E_MISMATCH, "a scalar is no matrix");
    }
    tb_shape a = as_matrix(x, false);
    tb_shape b = as_matrix(z, true);
    *s = (matmul_state){
        .m = a.dim[a.rank - 2], .n = b.dim[b.rank - 1], .k = a.dim[a.rank - 1]};
    if (b.dim[b.rank - 2] != s->k) {
        char t[TB_SHAPE_TEXT_BYTES];
        char u[TB_SHAPE_TEXT_BYTES];
        return tb_fail(err, TB_E_MISMATCH, "inner extents of %s and %s differ",
                       tb_shape_text(x, t), tb_shape_text(z, u));
    }
    if (s->m > EXTENT_MAX || s->n > EXTENT_MAX || s->k > EXTENT_MAX) {
        return tb_fail(err, TB_E_LIMIT, "matrix of %zu x %zu x %zu", s->m, s->n,
                       s->k);
    }
    tb_shape a_batch = batch_of(&a);
    tb_shape b_batch = batch_of(&b);
    tb_rc rc = tb_shape_broadcast(&s->batch, &a_batch, &b_batch, err);
    if (rc == TB_OK) {
        rc = tb_shape_count(&s->n_batch, &s->batch, err);
    }
    if (rc == TB_OK) {
        tb_shape_strides(s->a_stride, &a_batch, &s->batch);
        tb_shape_strides(s->b_stride, &b_batch, &s->batch);
    }
    return rc;
}

/* A zero point or scale: one number, or one a row of a (a column of b). */
static tb_rc check_side(const tb_call *call, uint8_t i, size_t extent,
                        uint32_t types, tb_err *err)
{
    if (i == NONE || !tb_op_has(call, i)) {
        return TB_OK;
    }
    const tb_tensor *t = &call->in[i];
    size_t n = tb_tensor_count(t);
    if (!tb_dtype_in(t->dtype, types)) {
        return tb_fail(err, TB_E_UNSUPPORTED, "input %u is %s", (unsigned)i,
                       tb_dtype_name(t->dtype));
    }
    return n == 1 || n == extent
               ? TB_OK
               : tb_fail(err, TB_E_MISMATCH,
                         "input %u has %zu numbers, 1 or %zu expected",
                         (unsigned)i, n, extent);
}

static uint32_t type_of(const tb_call *call, uint8_t i)
{
    return TB_TYPE_BIT(call->in[i].dtype);
}

static tb_rc check_sides(const tb_call *call, const ends *e, tb_err *err)
{
    const matmul_state *s = TB_OP_CONST_STATE(matmul_state, call);
    tb_rc rc = check_side(call, e->a_zero, s->m, type_of(call, e->a), err);
    if (rc == TB_OK && !tb_dtype_in(call->in[e->b].dtype, TYPES_8)) {
        rc = tb_fail(err, TB_E_UNSUPPORTED, "B of %s, u8 or i8 expected",
                     tb_dtype_name(call->in[e->b].dtype));
    }
    if (rc == TB_OK) {
        rc = check_side(call, e->b_zero, s->n, type_of(call, e->b), err);
    }
    if (rc == TB_OK) {
        rc = check_side(call, e->a_scale, s->m, TB_TYPES_FLOAT, err);
    }
    if (rc == TB_OK) {
        rc = check_side(call, e->b_scale, s->n, TB_TYPES_FLOAT, err);
    }
    if (rc == TB_OK) {
        rc = check_side(call, e->y_scale, 1, TB_TYPES_FLOAT, err);
    }
    return rc == TB_OK ? check_side(call, e->y_zero, 1, TYPES_8, err) : rc;
}

static size_t place(size_t *end, size_t bytes)
{
    size_t at = *end;
    *end += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return at;
}

static tb_rc plan(tb_call *call, const ends *e, bool with_sums, tb_err *err)
{
    matmul_state *s = TB_OP_STATE(matmul_state, call);
    tb_rc rc = plan_shapes(call, e, err);
    if (rc == TB_OK) {
        rc = check_sides(call, e, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    (void)place(&call->work_bytes, tb_int8_packed_bytes(s->n, 1, s->k));
    bool flip = call->in[e->a].dtype == TB_I8;
    s->copy = place(&call->work_bytes, flip ? s->m * s->k : 0);
    s->columns = place(&call->work_bytes, s->n * sizeof(int32_t));
    s->sums =
        place(&call->work_bytes, with_sums ? s->m * s->n * sizeof(int32_t) : 0);
    return TB_OK;
}

/* --- the product ---------------------------------------------------------- */

static void *work_at(const tb_call *call, size_t at)
{
    return (uint8_t *)call->work + at;
}

/* A zero point after 128 was added to (or taken from) the bytes beside it. */
static int32_t zero_at(const tb_call *call, uint8_t i, size_t at, int32_t moved)
{
    if (!tb_op_has(call, i)) {
        return moved;
    }
    size_t one = tb_tensor_count(&call->in[i]) == 1 ? 0 : at;
    return (int32_t)tb_tensor_i64_at(&call->in[i], one) + moved;
}

static int32_t row_sum(const uint8_t *a, size_t k)
{
    uint64_t sum = 0;
    for (size_t p = 0; p < k; p++) {
        sum += a[p];
    }
    return (int32_t)(uint32_t)sum;
}

/* Takes the zero points off sums [m, n]; wraps as int32. */
static void take_zeros(const tb_call *call, const ends *e, const uint8_t *a,
                       int32_t *sums)
{
    const matmul_state *s = TB_OP_CONST_STATE(matmul_state, call);
    const int32_t *column = work_at(call, s->columns);
    int32_t a_moved = call->in[e->a].dtype == TB_I8 ? 128 : 0;
    int32_t b_moved = call->in[e->b].dtype == TB_U8 ? -128 : 0;
    for (size_t i = 0; i < s->m; i++, sums += s->n) {
        int64_t row = row_sum(a + i * s->k, s->k);
        int64_t za = zero_at(call, e->a_zero, i, a_moved);
        for (size_t j = 0; j < s->n; j++) {
            int64_t zb = zero_at(call, e->b_zero, j, b_moved);
            int64_t off = za * column[j] + zb * row - (int64_t)s->k * za * zb;
            sums[j] = (int32_t)(uint32_t)((uint64_t)sums[j] - (uint64_t)off);
        }
    }
}

/* sums [m, n] of one pair of matrices; fresh: b is not packed yet. */
static void product(const tb_call *call, const ends *e, const uint8_t *a,
                    const uint8_t *b, bool fresh, int32_t *sums)
{
    static const size_t at_start = 0;
    const matmul_state *s = TB_OP_CONST_STATE(matmul_state, call);
    const tb_int8_finish finish = {.to = TB_INT8_TO_SUMS};
    const tb_int8_shape shape = {s->m, s->n, s->k, 1, &at_start, s->k, s->n};
    const tb_int8_layout layout = {.column_step = 1,
                                   .n_inner = s->k,
                                   .inner_step = s->n,
                                   .flip = call->in[e->b].dtype == TB_U8};
    if (fresh) {
        tb_int8_pack(call->work, b, &shape, &layout);
        tb_int8_column_sums(work_at(call, s->columns), call->work, &shape);
    }
    if (call->in[e->a].dtype == TB_I8) {
        uint8_t *copy = work_at(call, s->copy);
        for (size_t i = 0; i < s->m * s->k; i++) {
            copy[i] = a[i] ^ 0x80;
        }
        a = copy;
    }
    tb_int8_gemm(&shape, a, call->work, &finish, sums);
    take_zeros(call, e, a, sums);
}

/* What is done with the sums of matrix i of y. */
typedef void take_fn(const tb_call *call, size_t i, const int32_t *sums);

static void run_batch(const tb_call *call, const ends *e, take_fn *take)
{
    const matmul_state *s = TB_OP_CONST_STATE(matmul_state, call);
    size_t index[TB_RANK_MAX] = {0};
    size_t packed = SIZE_MAX;
    for (size_t i = 0; i < s->n_batch; i++) {
        size_t a = 0;
        size_t b = 0;
        for (size_t d = 0; d < s->batch.rank; d++) {
            a += index[d] * s->a_stride[d];
            b += index[d] * s->b_stride[d];
        }
        int32_t *sums = take == NULL
                            ? (int32_t *)call->out[0].data + i * s->m * s->n
                            : work_at(call, s->sums);
        product(call, e, (uint8_t *)call->in[e->a].data + a * s->m * s->k,
                (uint8_t *)call->in[e->b].data + b * s->k * s->n, b != packed,
                sums);
        packed = b;
        if (take != NULL) {
            take(call, i, sums);
        }
        for (size_t d = s->batch.rank; d > 0; d--) {
            if (++index[d - 1] < s->batch.dim[d - 1]) {
                break;
            }
            index[d - 1] = 0;
        }
    }
}

/* --- MatMulInteger: y = (a - za)(b - zb) ---------------------------------- */

static tb_rc integer_infer(tb_call *call, tb_err *err)
{
    tb_rc rc = plan(call, &integer_ends, false, err);
    if (rc == TB_OK) {
        tb_shape y = shape_of_y(TB_OP_CONST_STATE(matmul_state, call), call,
                                &integer_ends);
        call->out[0] = tb_tensor_view(TB_I32, &y, NULL);
    }
    return rc;
}

static void integer_run(const tb_call *call)
{
    run_batch(call, &integer_ends, NULL);
}

/* --- QLinearMatMul: y = sat(round((a - za)(b - zb) sa sb / sy) + zy) ------ */

static tb_rc linear_infer(tb_call *call, tb_err *err)
{
    tb_rc rc = plan(call, &linear_ends, true, err);
    if (rc == TB_OK) {
        tb_shape y = shape_of_y(TB_OP_CONST_STATE(matmul_state, call), call,
                                &linear_ends);
        call->out[0] =
            tb_tensor_view(call->in[linear_ends.y_zero].dtype, &y, NULL);
    }
    return rc;
}

static float scale_at(const tb_call *call, uint8_t i, size_t at)
{
    size_t one = tb_tensor_count(&call->in[i]) == 1 ? 0 : at;
    return (float)tb_tensor_f64_at(&call->in[i], one);
}

static void requantize(const tb_call *call, size_t i, const int32_t *sums)
{
    const matmul_state *s = TB_OP_CONST_STATE(matmul_state, call);
    const ends *e = &linear_ends;
    uint8_t *y = (uint8_t *)call->out[0].data + i * s->m * s->n;
    float zero = (float)zero_at(call, e->y_zero, 0, 0);
    float low = call->out[0].dtype == TB_I8 ? -128.0f : 0.0f;
    float y_scale = scale_at(call, e->y_scale, 0);
    for (size_t r = 0; r < s->m; r++) {
        float a_scale = scale_at(call, e->a_scale, r);
        for (size_t j = 0; j < s->n; j++) {
            float scale = a_scale * scale_at(call, e->b_scale, j) / y_scale;
            float q = nearbyintf((float)*sums++ * scale) + zero;
            *y++ = (uint8_t)(int32_t)fminf(fmaxf(q, low), low + 255.0f);
        }
    }
}

static void linear_run(const tb_call *call)
{
    run_batch(call, &linear_ends, requantize);
}

static double flops(const tb_call *call)
{
    const matmul_state *s = TB_OP_CONST_STATE(matmul_state, call);
    return 2.0 * (double)s->n_batch * (double)s->m * (double)s->n *
           (double)s->k;
}

const tb_op tb_op_matmul_integer = {.domain = TB_DOMAIN_ONNX,
                                    .name = "MatMulInteger",
                                    .since = 10,
                                    .until = TB_OPSET_ANY,
                                    .in_min = 2,
                                    .in_max = 4,
                                    .out_min = 1,
                                    .out_max = 1,
                                    .types = TYPES_8,
                                    .flops = flops,
                                    .infer = integer_infer,
                                    .run = integer_run};

const tb_op tb_op_qlinear_matmul = {.domain = TB_DOMAIN_ONNX,
                                    .name = "QLinearMatMul",
                                    .since = 10,
                                    .until = TB_OPSET_ANY,
                                    .in_min = 8,
                                    .in_max = 8,
                                    .out_min = 1,
                                    .out_max = 1,
                                    .types = TYPES_8,
                                    .flops = flops,
                                    .infer = linear_infer,
                                    .run = linear_run};
