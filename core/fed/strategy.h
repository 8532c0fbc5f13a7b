/* core/fed/strategy.h - plug-in table of strategies: which sections the
 * updates of a training round have, and how their means become new parameters.
 * A strategy keeps what it needs between rounds in one float32 state vector,
 * part of the round's checkpoint. Pure functions: no I/O, no chance. */
#ifndef TB_FED_STRATEGY_H
#define TB_FED_STRATEGY_H

#include "fed/sum.h"

/* Names of sections that every training round has. */
#define TB_SECTION_PARAMETERS "parameters" /* difference to the round's model */
#define TB_SECTION_LOSS       "loss"       /* mean over the client's samples */
/* ... and of models with running statistics that are averaged: the difference
 * divided by a power of two, since variances are larger than parameters and
 * share their bound, and their step where a codec has one. */
#define TB_SECTION_STATISTICS "statistics"
#define TB_STATISTICS_SCALE   64.0F
/* ... and of evaluation and calibration. Weighted means over samples. */
#define TB_SECTION_ACCURACY "accuracy" /* share of right answers */
#define TB_SECTION_LOW      "low"      /* per observed value: smallest */
#define TB_SECTION_HIGH     "high"     /* per observed value: largest */

/* How many values the sections of a round have. */
typedef struct tb_strategy_sizes {
    size_t n_params;
    size_t n_statistics; /* 0: no such section */
    size_t n_observed;   /* of calibration */
} tb_strategy_sizes;

typedef struct tb_strategy_settings {
    double server_lr; /* step along the mean difference; fedavg: 1 */
    size_t at; /* of a part of the parameters: its first value, without state */
} tb_strategy_settings;

typedef struct tb_strategy {
    const char *name;

    /* Fills the sections of a training round; the first is
     * TB_SECTION_PARAMETERS. Returns how many (< TB_SECTIONS_MAX). */
    uint32_t (*sections)(tb_section *out, size_t n_params);

    /* Length of the state vector (0: none); it starts as zeros. */
    size_t (*n_state)(size_t n_params);

    /* params [n_params] and state [n_state] become those after the round. The
     * sum may have more sections behind the strategy's own. Errors: MISMATCH
     * (sum of another shape, or empty). */
    tb_rc (*aggregate)(const tb_strategy_settings *settings, const tb_sum *sum,
                       float *params, size_t n_params, float *state,
                       tb_err *err);
} tb_strategy;

/* All strategies, in a fixed order; NULL at index n and beyond. */
const tb_strategy *tb_strategy_at(size_t i);

/* The strategy of this name, or NULL. */
const tb_strategy *tb_strategy_find(const char *name) TB_NONNULL(1);

/* Sections of a round with any task: the strategy's and then the statistics
 * (TRAIN), loss and accuracy (EVALUATE), low and high of n_observed values
 * (CALIBRATE). Returns how many. */
uint32_t tb_strategy_sections(const tb_strategy *strategy, tb_task task,
                              tb_section *out, const tb_strategy_sizes *sizes)
    TB_NONNULL(1, 3, 4);

/* Where a section's values begin in a sum of the round; SIZE_MAX: it has no
 * such section. */
size_t tb_strategy_offset(const tb_round_config *config, const char *section)
    TB_NONNULL(1, 2);

/* The mean of the first value of a named section: a round's "loss". NaN when
 * there is no such section or nothing was counted. */
double tb_strategy_metric(const tb_round_config *config, const tb_sum *sum,
                          const char *section) TB_NONNULL(1, 2, 3);

#endif
