/* core/train/schedule.h - how the learning rate changes with the steps (or the
 * rounds) done: a factor of the rate that was set. Pure; any thread. */
#ifndef TB_TRAIN_SCHEDULE_H
#define TB_TRAIN_SCHEDULE_H

#include <stdint.h>

#include "base/err.h"

typedef enum tb_schedule_kind {
    TB_SCHEDULE_CONSTANT,
    TB_SCHEDULE_STEP,  /* gamma^floor(t / every) */
    TB_SCHEDULE_COSINE /* floor + (1 - floor) (1 + cos(pi t / T)) / 2 */
} tb_schedule_kind;

/* t counts from the end of the warm-up; all zero: always 1. */
typedef struct tb_schedule {
    tb_schedule_kind kind;
    uint64_t warmup; /* steps that rise evenly: (i + 1) / warmup at step i */
    uint64_t every;  /* STEP: > 0 */
    double gamma;    /* STEP: in (0, 1] */
    uint64_t total;  /* COSINE: all steps, warm-up too; T = total - warmup; the
                      * floor from there on */
    double floor;    /* COSINE: in [0, 1) */
} tb_schedule;

/* Whether the numbers make sense. Errors: USAGE. */
tb_rc tb_schedule_check(const tb_schedule *schedule, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* The factor of step (counts from 0), in [0, 1]. */
double tb_schedule_factor(const tb_schedule *schedule, uint64_t step)
    TB_NONNULL(1);

#endif
