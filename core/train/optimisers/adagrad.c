/* core/train/optimisers/adagrad.c - Adagrad (Duchi et al. 2011) as
 * torch.optim.Adagrad has it: g = g + decay w; v = v + g^2;
 * w = w - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps). */
#include <math.h>

#include "train/optimiser_priv.h"

static size_t n_states(const tb_opt_config *c)
{
    (void)c;
    return 1;
}

static void update(const tb_opt_config *c, uint64_t step, float *w, float *g,
                   float *const *state, size_t n)
{
    float *restrict v = state[0];
    float *restrict x = w;
    double past = (double)(step - 1);
    float rate = (float)(c->lr / (1.0 + past * c->lr_decay));
    float decay = (float)c->weight_decay;
    float eps = (float)c->eps;
    for (size_t i = 0; i < n; i++) {
        float d = g[i] + decay * x[i];
        v[i] += d * d;
        x[i] -= rate * (d / (sqrtf(v[i]) + eps));
    }
}

static tb_rc check(const tb_opt_config *c, tb_err *err)
{
    return tb_opt_check("adagrad", TB_OPT_LR_DECAY | TB_OPT_EPS, c, err);
}

const tb_optimiser tb_optimiser_adagrad = {
    .name = "adagrad",
    .defaults = {.lr = 0.01, .eps = 1e-10},
    .n_states = n_states,
    .linear = tb_opt_not_linear,
    .update = update,
    .check = check,
};
