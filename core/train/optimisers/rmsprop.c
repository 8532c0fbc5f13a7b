/* core/train/optimisers/rmsprop.c - RMSprop as torch.optim.RMSprop has it (not
 * centred): g = g + decay w; v = alpha v + (1 - alpha) g^2;
 * g = g / (sqrt(v) + eps); with momentum b = momentum b + g, and g = b;
 * w = w - lr g. */
#include <math.h>

#include "train/optimiser_priv.h"

static size_t n_states(const tb_opt_config *c)
{
    return c->momentum > 0.0 ? 2 : 1;
}

static void move(const tb_opt_config *c, float *restrict w, float *restrict g,
                 float *restrict v, size_t n)
{
    float decay = (float)c->weight_decay;
    float alpha = (float)c->alpha;
    float fresh = (float)(1.0 - c->alpha);
    float eps = (float)c->eps;
    for (size_t i = 0; i < n; i++) {
        float d = g[i] + decay * w[i];
        v[i] = alpha * v[i] + fresh * (d * d);
        g[i] = d / (sqrtf(v[i]) + eps);
    }
}

static void update(const tb_opt_config *c, uint64_t step, float *w, float *g,
                   float *const *state, size_t n)
{
    (void)step;
    float lr = (float)c->lr;
    float momentum = (float)c->momentum;
    move(c, w, g, state[0], n);
    for (size_t i = 0; n_states(c) > 1 && i < n; i++) {
        g[i] = state[1][i] = momentum * state[1][i] + g[i];
    }
    for (size_t i = 0; i < n; i++) {
        w[i] -= lr * g[i];
    }
}

static tb_rc check(const tb_opt_config *c, tb_err *err)
{
    return tb_opt_check("rmsprop", TB_OPT_MOMENTUM | TB_OPT_ALPHA | TB_OPT_EPS,
                        c, err);
}

const tb_optimiser tb_optimiser_rmsprop = {
    .name = "rmsprop",
    .defaults = {.lr = 0.01, .alpha = 0.99, .eps = 1e-8},
    .n_states = n_states,
    .linear = tb_opt_not_linear,
    .update = update,
    .check = check,
};
