/* core/compress/passes/pow2.c - fixed point: x_int = round(x * 2^p) in int8,
 * read back through DequantizeLinear with scale 2^-p. p per tensor, as large
 * as max|x| and the bits allow, so that a device without floats can shift. */
#include <math.h>

#include "base/mem.h"
#include "compress/pass_priv.h"

#define BITS_DEFAULT 8U
#define BITS_MIN     2U
#define P_MAX        126 /* 2^-p stays a normal float */

/* The largest p with max|x| * 2^p <= most; 0 when all are zero. */
static int choose_p(const float *x, size_t n, float most)
{
    float largest = 0.0F;
    for (size_t i = 0; i < n; i++) {
        largest = fmaxf(largest, fabsf(x[i]));
    }
    if (!(largest > 0.0F)) {
        return 0;
    }
    int p = (int)floor(log2((double)most / (double)largest));
    if (ldexp((double)largest, p + 1) <= (double)most) { /* log2 rounds */
        p++;
    }
    return p < -P_MAX ? -P_MAX : (p > P_MAX ? P_MAX : p);
}

static tb_rc fix(tb_graph *graph, tb_value_id id, float most, tb_err *err)
{
    const tb_value *v = tb_graph_value(graph, id);
    const tb_shape scalar = {0};
    const float *x = v->data.data;
    size_t n = tb_tensor_count(&v->data);
    int p = choose_p(x, n, most);
    float scale = ldexpf(1.0F, -p);
    tb_value_id float_again = TB_ID_NONE;
    int8_t *q = tb_mem_array(n, sizeof *q);
    if (q == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu fixed-point numbers", n);
    }
    for (size_t i = 0; i < n; i++) {
        float r = nearbyintf(ldexpf(x[i], p));
        q[i] = (int8_t)fmaxf(fminf(r, most), -most);
    }
    const tb_packed packed = {.name = v->name,
                              .data = tb_tensor_view(TB_I8, &v->data.shape, q),
                              .scale = tb_tensor_view(TB_F32, &scalar, &scale)};
    tb_rc rc = tb_pass_unpack(graph, &float_again, &packed, err);
    if (rc == TB_OK) {
        tb_graph_replace_uses(graph, id, float_again, TB_ID_NONE);
    }
    tb_mem_free(q);
    return rc;
}

static tb_rc run(tb_graph **out, const tb_graph *graph,
                 const tb_pass_options *options, tb_err *err)
{
    unsigned bits = options->bits != 0 ? options->bits : BITS_DEFAULT;
    size_t n_values = graph->n_values; /* new ones come behind */
    size_t n_fixed = 0;
    tb_graph *small = NULL;
    if (bits < BITS_MIN || bits > BITS_DEFAULT) {
        return tb_fail(err, TB_E_USAGE, "%u bits, give 2 to 8", bits);
    }
    float most = (float)((1U << (bits - 1)) - 1U);
    tb_rc rc = tb_graph_clone(&small, graph, err);
    for (size_t i = 0; rc == TB_OK && i < n_values; i++) {
        const tb_value *v = small->values[i];
        if (v != NULL && v->role == TB_ROLE_PARAM) {
            rc = fix(small, (tb_value_id)i, most, err);
            n_fixed++;
        }
    }
    if (rc == TB_OK && n_fixed == 0) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "the model has no float weights to quantise");
    }
    if (rc == TB_OK) {
        rc = tb_graph_sweep(small, err);
    }
    if (rc == TB_OK) {
        *out = small;
        small = NULL;
    }
    tb_graph_free(&small);
    return rc;
}

const tb_pass tb_pass_pow2 = {
    .name = "pow2",
    .help = "weights and biases int8 by powers of two (fixed point)",
    .run = run,
};
