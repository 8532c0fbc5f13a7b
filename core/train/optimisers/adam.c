/* core/train/optimisers/adam.c - Adam (Kingma and Ba 2015, algorithm 1) and
 * AdamW (Loshchilov and Hutter 2019, algorithm 2) as torch.optim has them:
 * adam: g = g + decay w; adamw: w = w - lr decay w; then both
 * m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
 * w = w - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps). */
#include <math.h>

#include "train/optimiser_priv.h"

/* One step's numbers, the same for every parameter. */
typedef struct rates {
    float decay;  /* into the gradient */
    float keep;   /* of w */
    float b1, b2; /* and 1 - b1, 1 - b2 */
    float c1, c2;
    float rate;  /* lr / (1 - b1^t) */
    float scale; /* 1 / sqrt(1 - b2^t) */
    float eps;
} rates;

static size_t n_states(const tb_opt_config *c)
{
    (void)c;
    return 2;
}

static rates rates_of(const tb_opt_config *c, uint64_t step)
{
    double bias1 = 1.0 - pow(c->beta1, (double)step);
    double bias2 = 1.0 - pow(c->beta2, (double)step);
    return (rates){.keep = 1.0f,
                   .b1 = (float)c->beta1,
                   .b2 = (float)c->beta2,
                   .c1 = (float)(1.0 - c->beta1),
                   .c2 = (float)(1.0 - c->beta2),
                   .rate = (float)(c->lr / bias1),
                   .scale = (float)(1.0 / sqrt(bias2)),
                   .eps = (float)c->eps};
}

static void move(const rates *k, float *restrict w, const float *restrict g,
                 float *restrict m, float *restrict v, size_t n)
{
    rates r = *k;
    for (size_t i = 0; i < n; i++) {
        float x = w[i] * r.keep;
        float d = g[i] + r.decay * w[i];
        m[i] = r.b1 * m[i] + r.c1 * d;
        v[i] = r.b2 * v[i] + r.c2 * (d * d);
        w[i] = x - r.rate * (m[i] / (sqrtf(v[i]) * r.scale + r.eps));
    }
}

static void update_adam(const tb_opt_config *c, uint64_t step, float *w,
                        float *g, float *const *state, size_t n)
{
    rates r = rates_of(c, step);
    r.decay = (float)c->weight_decay;
    move(&r, w, g, state[0], state[1], n);
}

static void update_adamw(const tb_opt_config *c, uint64_t step, float *w,
                         float *g, float *const *state, size_t n)
{
    rates r = rates_of(c, step);
    r.keep = (float)(1.0 - c->lr * c->weight_decay);
    move(&r, w, g, state[0], state[1], n);
}

static tb_rc check_adam(const tb_opt_config *c, tb_err *err)
{
    return tb_opt_check("adam", TB_OPT_BETAS | TB_OPT_EPS, c, err);
}

static tb_rc check_adamw(const tb_opt_config *c, tb_err *err)
{
    return tb_opt_check("adamw", TB_OPT_BETAS | TB_OPT_EPS, c, err);
}

const tb_optimiser tb_optimiser_adam = {
    .name = "adam",
    .defaults = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
    .n_states = n_states,
    .linear = tb_opt_not_linear,
    .update = update_adam,
    .check = check_adam,
};

const tb_optimiser tb_optimiser_adamw = {
    .name = "adamw",
    .defaults = {.lr = 1e-3,
                 .weight_decay = 0.01,
                 .beta1 = 0.9,
                 .beta2 = 0.999,
                 .eps = 1e-8},
    .n_states = n_states,
    .linear = tb_opt_not_linear,
    .update = update_adamw,
    .check = check_adamw,
};
