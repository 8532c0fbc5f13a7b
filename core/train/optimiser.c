#include "train/optimiser.h"

#include <math.h>
#include <string.h>

#include "train/optimiser_priv.h"

const tb_optimiser *const tb_optimiser_list[] = {
    &tb_optimiser_sgd,     &tb_optimiser_adam,    &tb_optimiser_adamw,
    &tb_optimiser_rmsprop, &tb_optimiser_adagrad, NULL,
};

const tb_optimiser *tb_optimiser_find(const char *name)
{
    for (size_t i = 0; tb_optimiser_list[i] != NULL; i++) {
        if (strcmp(tb_optimiser_list[i]->name, name) == 0) {
            return tb_optimiser_list[i];
        }
    }
    return NULL;
}

const char *tb_optimiser_names(void)
{
    return "sgd, adam, adamw, rmsprop or adagrad";
}

bool tb_opt_not_linear(const tb_opt_config *c, float *keep, float *rate)
{
    (void)c;
    (void)keep;
    (void)rate;
    return false;
}

/* A key, and what it may be. */
typedef struct key {
    const char *name;
    double value;
    unsigned reads; /* 0: every optimiser reads it */
    enum { OVER_ZERO, ZERO_OR_MORE, SHARE } range;
} key;

static tb_rc check_key(const char *name, const key *k, tb_err *err)
{
    static const char *const ranges[] = {"must be over 0", "must be 0 or more",
                                         "must be in [0, 1)"};
    bool ok = isfinite(k->value);
    switch (k->range) {
    case OVER_ZERO:
        ok = ok && k->value > 0.0;
        break;
    case ZERO_OR_MORE:
        ok = ok && k->value >= 0.0;
        break;
    case SHARE:
        ok = ok && k->value >= 0.0 && k->value < 1.0;
        break;
    }
    return ok ? TB_OK
              : tb_fail(err, TB_E_USAGE, "%s: %s %g: %s", name, k->name,
                        k->value, ranges[k->range]);
}

tb_rc tb_opt_check(const char *name, unsigned reads, const tb_opt_config *c,
                   tb_err *err)
{
    const key keys[] = {
        {"lr", c->lr, 0, OVER_ZERO},
        {"weight_decay", c->weight_decay, 0, ZERO_OR_MORE},
        {"momentum", c->momentum, TB_OPT_MOMENTUM, SHARE},
        {"dampening", c->dampening, TB_OPT_NESTEROV, SHARE},
        {"nesterov", c->nesterov ? 0.5 : 0.0, TB_OPT_NESTEROV, SHARE},
        {"beta1", c->beta1, TB_OPT_BETAS, SHARE},
        {"beta2", c->beta2, TB_OPT_BETAS, SHARE},
        {"alpha", c->alpha, TB_OPT_ALPHA, SHARE},
        {"lr_decay", c->lr_decay, TB_OPT_LR_DECAY, ZERO_OR_MORE},
        {"eps", c->eps, TB_OPT_EPS, OVER_ZERO},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const key *k = &keys[i];
        if (k->reads != 0 && (reads & k->reads) == 0) {
            if (k->value != 0.0) {
                return tb_fail(err, TB_E_USAGE, "%s: has no %s", name, k->name);
            }
            continue;
        }
        tb_rc rc = check_key(name, k, err);
        if (rc != TB_OK) {
            return rc;
        }
    }
    if (c->nesterov && !(c->momentum > 0.0)) {
        return tb_fail(err, TB_E_USAGE, "%s: nesterov needs a momentum", name);
    }
    if (c->nesterov && c->dampening > 0.0) {
        return tb_fail(err, TB_E_USAGE, "%s: nesterov bears no dampening",
                       name);
    }
    if (c->dampening > 0.0 && !(c->momentum > 0.0)) {
        return tb_fail(err, TB_E_USAGE, "%s: dampening needs a momentum", name);
    }
    return TB_OK;
}
