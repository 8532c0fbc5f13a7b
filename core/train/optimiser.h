/* core/train/optimiser.h - the table of optimisers: how a gradient moves the
 * parameters. The formulas are PyTorch's. The state is plain float vectors
 * beside the parameters; the caller owns them, zeroed before the first step.
 * Any thread. */
#ifndef TB_TRAIN_OPTIMISER_H
#define TB_TRAIN_OPTIMISER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TB_OPT_STATES_MAX 2

/* The numbers of all optimisers; each reads those it is said to. Start from its
 * defaults. */
typedef struct tb_opt_config {
    double lr;           /* learning rate, > 0 */
    double weight_decay; /* L2, >= 0; of adamw: decoupled from the gradient */
    double momentum;     /* sgd, rmsprop: in [0, 1); 0: none */
    double dampening;    /* sgd: 1 - the share of the gradient in v */
    bool nesterov;       /* sgd: needs momentum, no dampening */
    double beta1, beta2; /* adam, adamw: in [0, 1) */
    double alpha;        /* rmsprop: in [0, 1) */
    double lr_decay;     /* adagrad: >= 0 */
    double eps;          /* adam, adamw, rmsprop, adagrad: > 0 */
} tb_opt_config;

typedef struct tb_optimiser {
    const char *name;
    tb_opt_config defaults; /* PyTorch's; of sgd lr 0.1 */

    /* How many state vectors, each as long as the parameters, this setting
     * needs; at most TB_OPT_STATES_MAX. */
    size_t (*n_states)(const tb_opt_config *c);

    /* True when a step is w = keep * w - rate * g for two numbers: then the
     * product that makes g may be added to w at once, and no g is kept. */
    bool (*linear)(const tb_opt_config *c, float *keep, float *rate);

    /* One step over w [n], gradient g [n] and state[j] [n]; step counts from
     * 1. g may be destroyed. */
    void (*update)(const tb_opt_config *c, uint64_t step, float *w, float *g,
                   float *const *state, size_t n);

    /* Whether the numbers make sense, and none is set that this optimiser
     * does not read. USAGE names the key. */
    tb_rc (*check)(const tb_opt_config *c, tb_err *err);
} tb_optimiser;

/* All optimisers, NULL-terminated: "sgd", "adam", "adamw", "rmsprop",
 * "adagrad". */
extern const tb_optimiser *const tb_optimiser_list[];

/* By name, or NULL. */
const tb_optimiser *tb_optimiser_find(const char *name) TB_NONNULL(1);

/* "sgd, adam, ... or ...": for help and errors. */
const char *tb_optimiser_names(void);

#endif
