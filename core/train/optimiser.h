/* core/train/optimiser.h - the table of optimisers: how a gradient moves the
 * parameters. The state is plain float vectors beside the parameters; the
 * caller owns them, zeroed before the first step. Any thread. */
#ifndef TB_TRAIN_OPTIMISER_H
#define TB_TRAIN_OPTIMISER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TB_OPT_STATES_MAX 2

typedef struct tb_opt_config {
    double lr;           /* learning rate, > 0 */
    double momentum;     /* in [0, 1); 0: none */
    double weight_decay; /* L2, >= 0; 0: none */
    bool nesterov;       /* needs momentum */
} tb_opt_config;

typedef struct tb_optimiser {
    const char *name;

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

    /* Whether the numbers make sense. USAGE names the key. */
    tb_rc (*check)(const tb_opt_config *c, tb_err *err);
} tb_optimiser;

/* All optimisers, NULL-terminated: "sgd" (PyTorch's: decay into the gradient,
 * v = momentum * v + g, Nesterov's g + momentum * v). */
extern const tb_optimiser *const tb_optimiser_list[];

/* By name, or NULL. */
const tb_optimiser *tb_optimiser_find(const char *name) TB_NONNULL(1);

#endif
