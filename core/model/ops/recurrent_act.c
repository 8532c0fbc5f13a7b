/* core/model/ops/recurrent_act.c - the activation functions that LSTM, GRU and
 * RNN may name, with the slope of each as a function of its value. */
#include <math.h>
#include <strings.h>

#include "model/ops/recurrent_priv.h"
#include "tensor/kernels.h"

enum {
    RELU,
    TANH,
    SIGMOID,
    AFFINE,
    LEAKY_RELU,
    THRESHOLDED_RELU,
    SCALED_TANH,
    HARD_SIGMOID,
    ELU,
    SOFTSIGN,
    SOFTPLUS,
    N_KINDS
};

/* The numbers that a function takes, and what they are by default. */
static const struct {
    const char *name;
    bool takes_alpha;
    bool takes_beta;
    float alpha;
    float beta;
} kinds[N_KINDS] = {
    [RELU] = {.name = "Relu"},
    [TANH] = {.name = "Tanh"},
    [SIGMOID] = {.name = "Sigmoid"},
    [AFFINE] = {"Affine", true, true, 1.0f, 0.0f},
    [LEAKY_RELU] = {"LeakyRelu", true, false, 0.01f, 0.0f},
    [THRESHOLDED_RELU] = {"ThresholdedRelu", true, false, 1.0f, 0.0f},
    [SCALED_TANH] = {"ScaledTanh", true, true, 1.0f, 1.0f},
    [HARD_SIGMOID] = {"HardSigmoid", true, true, 0.2f, 0.5f},
    [ELU] = {"Elu", true, false, 1.0f, 0.0f},
    [SOFTSIGN] = {.name = "Softsign"},
    [SOFTPLUS] = {.name = "Softplus"},
};

/* --- values and slopes ---------------------------------------------------- */

static float value_of(const tb_rnn_act *a, float x)
{
    switch (a->kind) {
    case AFFINE:
        return a->alpha * x + a->beta;
    case LEAKY_RELU:
        return x < 0.0f ? a->alpha * x : x;
    case THRESHOLDED_RELU:
        return x > a->alpha ? x : 0.0f;
    case SCALED_TANH:
        return a->alpha * tanhf(a->beta * x);
    case HARD_SIGMOID:
        return fminf(fmaxf(a->alpha * x + a->beta, 0.0f), 1.0f);
    case ELU:
        return x < 0.0f ? a->alpha * expm1f(x) : x;
    case SOFTSIGN:
        return x / (1.0f + fabsf(x));
    default: /* SOFTPLUS */
        return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
    }
}

static float slope_of(const tb_rnn_act *a, float y)
{
    switch (a->kind) {
    case AFFINE:
        return a->alpha;
    case LEAKY_RELU:
        return y < 0.0f ? a->alpha : 1.0f; /* for alpha > 0 */
    case THRESHOLDED_RELU:
        return y != 0.0f ? 1.0f : 0.0f;
    case SCALED_TANH:
        return a->alpha * a->beta * (1.0f - (y / a->alpha) * (y / a->alpha));
    case HARD_SIGMOID:
        return y > 0.0f && y < 1.0f ? a->alpha : 0.0f;
    case ELU:
        return y < 0.0f ? y + a->alpha : 1.0f;
    case SOFTSIGN:
        return (1.0f - fabsf(y)) * (1.0f - fabsf(y));
    default: /* SOFTPLUS: 1 / (1 + exp(-x)) */
        return -expm1f(-y);
    }
}

void tb_rnn_apply(const tb_rnn_act *act, float *y, size_t n)
{
    for (size_t i = 0; act->clip > 0.0f && i < n; i++) {
        y[i] = y[i] > act->clip ? act->clip : y[i];
        y[i] = y[i] < -act->clip ? -act->clip : y[i];
    }
    if (act->kind == SIGMOID) {
        tb_k_sigmoid(y, y, n);
    } else if (act->kind == TANH) {
        tb_k_tanh(y, y, n);
    } else if (act->kind == RELU) {
        tb_k_relu(y, y, n, 0.0f);
    } else {
        for (size_t i = 0; i < n; i++) {
            y[i] = value_of(act, y[i]);
        }
    }
}

void tb_rnn_slope(const tb_rnn_act *act, float *d, const float *y, size_t n)
{
    if (act->kind == SIGMOID) {
        tb_k_sigmoid_grad(d, y, d, n);
    } else if (act->kind == TANH) {
        tb_k_tanh_grad(d, y, d, n);
    } else if (act->kind == RELU) {
        tb_k_relu_grad(d, y, d, n, 0.0f);
    } else {
        for (size_t i = 0; i < n; i++) {
            d[i] = d[i] * slope_of(act, y[i]);
        }
    }
    for (size_t i = 0; act->clip > 0.0f && i < n; i++) {
        d[i] = y[i] <= act->low || y[i] >= act->high ? 0.0f : d[i];
    }
}

/* --- attributes ----------------------------------------------------------- */

static tb_rc find_kind(uint8_t *kind, const char *name, tb_err *err)
{
    for (uint8_t k = 0; k < N_KINDS; k++) {
        if (strcasecmp(kinds[k].name, name) == 0) {
            *kind = k;
            return TB_OK;
        }
    }
    return tb_fail(err, TB_E_UNSUPPORTED, "activation \"%s\"", name);
}

/* The next number of a list, if it has one left. */
static float next_of(const tb_attr *list, size_t *at, float otherwise)
{
    if (list == NULL || list->kind != TB_ATTR_FLOATS || *at >= list->n) {
        return otherwise;
    }
    return list->floats[(*at)++];
}

static void set_bounds(tb_rnn_act *act, float clip)
{
    float at[2] = {-clip, clip};
    act->clip = clip;
    tb_rnn_act open = *act;
    open.clip = 0.0f;
    tb_rnn_apply(&open, at, 2);
    act->low = fminf(at[0], at[1]);
    act->high = fmaxf(at[0], at[1]);
}

tb_rc tb_rnn_acts(tb_rnn *s, const tb_node *node, const tb_rnn_cell *cell,
                  tb_err *err)
{
    const tb_attr *names = tb_node_attr(node, "activations");
    const tb_attr *alphas = tb_node_attr(node, "activation_alpha");
    const tb_attr *betas = tb_node_attr(node, "activation_beta");
    size_t n = s->n_dirs * cell->n_acts;
    size_t at_alpha = 0;
    size_t at_beta = 0;
    bool named = names != NULL && names->kind == TB_ATTR_STRINGS;
    if (named && names->n != n) {
        return tb_fail(err, TB_E_MALFORMED, "%zu activations, %zu expected",
                       names->n, n);
    }
    for (size_t i = 0; i < n; i++) {
        tb_rnn_act *act = &s->act[i / cell->n_acts][i % cell->n_acts];
        tb_rc rc = find_kind(
            &act->kind,
            named ? names->strings[i] : cell->defaults[i % cell->n_acts], err);
        if (rc != TB_OK) {
            return rc;
        }
        act->alpha = kinds[act->kind].alpha;
        act->beta = kinds[act->kind].beta;
        if (kinds[act->kind].takes_alpha) {
            act->alpha = next_of(alphas, &at_alpha, act->alpha);
        }
        if (kinds[act->kind].takes_beta) {
            act->beta = next_of(betas, &at_beta, act->beta);
        }
        set_bounds(act, tb_node_float(node, "clip", 0.0f));
    }
    return TB_OK;
}
