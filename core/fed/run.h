/* core/fed/run.h - what a run is asked to do: plain parameters that the program
 * makes from a job file, and the words for what came out. */
#ifndef TB_FED_RUN_H
#define TB_FED_RUN_H

#include "fed/stale.h"
#include "wire/config.h"
#include "wire/labels.h"

#define TB_ROUNDS_MAX      1000000u
#define TB_ATTEMPTS_MAX    100u
#define TB_DEADLINE_MS_MAX (30ull * 24 * 3600 * 1000)
#define TB_STALE_WAIT_MAX  (1u << 20) /* buffer * (max_staleness + 2) */
#define TB_STALE_SAMPLES   65535u     /* max_weight of an asynchronous run */

typedef enum tb_mode {
    TB_MODE_SYNC,
    TB_MODE_ASYNC, /* a round is a buffer that fills up */
    TB_MODE_COUNT
} tb_mode;

/* What an update of a training round counts. */
typedef enum tb_weighting {
    TB_WEIGHTS_SAMPLES, /* its number of samples */
    TB_WEIGHTS_UNIFORM, /* all the same */
    TB_WEIGHTS_COUNT
} tb_weighting;

typedef enum tb_where {
    TB_WHERE_NOWHERE,
    TB_WHERE_COORDINATOR, /* on a file at the coordinator: a job */
    TB_WHERE_CLIENTS,     /* in a round of its own */
    TB_WHERE_COUNT
} tb_where;

typedef enum tb_publish {
    TB_PUBLISH_LAST,
    TB_PUBLISH_BEST_ACCURACY, /* needs evaluate != NOWHERE */
    TB_PUBLISH_BEST_LOSS,
    TB_PUBLISH_COUNT
} tb_publish;

/* A model as it lies in the blob store. */
typedef struct tb_model_ref {
    tb_hash raw; /* of the ONNX bytes */
    uint64_t raw_bytes;
    tb_hash stored; /* of the compressed bytes */
    uint64_t stored_bytes;
} tb_model_ref;

/* NaN where not known. */
typedef struct tb_metrics {
    double train_loss; /* weighted mean over the round's clients */
    double loss;       /* of the evaluation */
    double accuracy;   /* 0 to 1 */
    uint64_t samples;  /* total weight of the evaluation */
} tb_metrics;

/* What nobody knows yet: NaN and 0. */
tb_metrics tb_metrics_none(void);

typedef struct tb_run_params {
    tb_run_id run;               /* random, by the driver */
    tb_hash federation;          /* hash of the root public key */
    tb_hash job;                 /* hash of the whole job */
    tb_name name;                /* of the model to register */
    tb_name data_set;            /* which clients must offer it */
    tb_eligible eligible;        /* what their labels must say */
    tb_name codec;               /* "f32", ... */
    tb_name strategy;            /* "fedavg", ... */
    uint8_t aggregation_key[32]; /* public key of the run */
    tb_model_ref model;          /* to start from */
    uint64_t n_params;           /* values of its parameter slab */
    uint64_t n_statistics;       /* running statistics that are averaged */
    uint64_t n_observed;         /* values whose ranges calibration asks for */
    uint64_t seed;
    uint32_t rounds; /* of training */
    uint32_t target, minimum;
    double over_selection; /* 1.0: ask exactly `target` */
    double server_lr;
    float max_abs;
    float calibrate_max_abs; /* bound of ranges, in calibration rounds */
    uint32_t max_weight;
    uint64_t deadline_ms;  /* of a round, from its offers */
    uint64_t select_ms;    /* then the clients at hand do, if >= minimum */
    uint64_t lost_ms;      /* a client away so long counts as lost; 0: never */
    uint32_t max_attempts; /* of one round, before the run fails */
    tb_where evaluate, calibrate;
    tb_publish publish;
    uint32_t patience;    /* rounds without gain before stopping; 0: never */
    double min_delta;     /* what counts as a gain */
    uint32_t masked_from; /* first round that keeps zeros; 0: none */
    tb_mode mode;         /* ASYNC: `target` clients train at a time */
    tb_weighting weights;
    uint32_t buffer;        /* ASYNC: updates that make a round */
    uint32_t max_staleness; /* ASYNC: buffers that a model may be old */
    size_t n_job;           /* bytes used of job_text */
    char job_text[TB_JOB_BYTES_MAX]; /* what clients need of the job */
} tb_run_params;

typedef enum tb_outcome {
    TB_OUTCOME_DONE = 1,  /* all rounds, and the model is registered */
    TB_OUTCOME_REFUSED,   /* all rounds, but a guard said no */
    TB_OUTCOME_FAILED,    /* too many attempts, or a job failed */
    TB_OUTCOME_CANCELLED, /* by the operator */
    TB_OUTCOME_END
} tb_outcome;

/* Updates that make a round: the target, or the buffer. */
uint32_t tb_run_wanted(const tb_run_params *params) TB_NONNULL(1);

/* An update's weight in the sum, and what the mean divides by for it. */
typedef struct tb_weights {
    uint32_t weight, full; /* 1 <= weight <= full */
} tb_weights;

/* Weights of an update of this many samples (1 to max_weight) in a round with
 * this task of a run that was checked: the samples, or 1. In a buffer both are
 * Q16 and `weight` is damped by staleness: the mean divides by `full`, so that
 * stale updates make a smaller step, as dividing by K does in FedBuff's
 * algorithm 1. */
tb_weights tb_run_weights(const tb_run_params *params, tb_task task,
                          uint32_t samples, uint32_t staleness) TB_NONNULL(1);

/* The largest weight in a round with this task, and how many updates it sums at
 * most: f of the exact sum follows from both. */
uint32_t tb_run_weight_max(const tb_run_params *params, tb_task task)
    TB_NONNULL(1);
uint32_t tb_run_updates_max(const tb_run_params *params, tb_task task)
    TB_NONNULL(1);

/* Ranges of every field, and that f of the exact sum can be chosen. Errors:
 * USAGE, LIMIT (name the field and its range). */
tb_rc tb_run_params_check(const tb_run_params *params, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* "done", "refused", "failed", "cancelled". */
const char *tb_outcome_name(tb_outcome outcome);

#endif
