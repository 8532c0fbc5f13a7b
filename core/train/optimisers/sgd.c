/* core/train/optimisers/sgd.c - stochastic gradient descent as PyTorch's
 * torch.optim.SGD defines it:
 * g = g + decay w; v = momentum v + (1 - dampening) g, in the first step g;
 * g = nesterov ? g + momentum v : v; w = w - lr g. */
#include "tensor/kernels.h"
#include "train/optimiser_priv.h"

/* Three vectors of this many floats stay in a first-level cache. */
#define TILE ((size_t)2048)

static size_t n_states(const tb_opt_config *c)
{
    return c->momentum > 0.0 ? 1 : 0;
}

static bool linear(const tb_opt_config *c, float *keep, float *rate)
{
    *keep = (float)(1.0 - c->lr * c->weight_decay);
    *rate = (float)c->lr;
    return !(c->momentum > 0.0);
}

static void update_tile(const tb_opt_config *c, float fresh, float *w, float *g,
                        float *v, size_t n)
{
    if (c->weight_decay > 0.0) {
        tb_k_axpy(g, w, n, (float)c->weight_decay);
    }
    if (v != NULL) {
        float momentum = (float)c->momentum;
        tb_k_axpby(v, g, n, fresh, momentum);
        if (c->nesterov) {
            tb_k_axpy(g, v, n, momentum);
        }
    }
    bool use_v = v != NULL && !c->nesterov;
    tb_k_axpy(w, use_v ? v : g, n, (float)-c->lr);
}

static void update(const tb_opt_config *c, uint64_t step, float *w, float *g,
                   float *const *state, size_t n)
{
    float fresh = step > 1 ? (float)(1.0 - c->dampening) : 1.0f;
    for (size_t from = 0; from < n; from += TILE) {
        size_t left = n - from;
        float *v = n_states(c) > 0 ? state[0] + from : NULL;
        update_tile(c, fresh, w + from, g + from, v, left < TILE ? left : TILE);
    }
}

static tb_rc check(const tb_opt_config *c, tb_err *err)
{
    return tb_opt_check("sgd", TB_OPT_MOMENTUM | TB_OPT_NESTEROV, c, err);
}

const tb_optimiser tb_optimiser_sgd = {
    .name = "sgd",
    .defaults = {.lr = 0.1},
    .n_states = n_states,
    .linear = linear,
    .update = update,
    .check = check,
};
