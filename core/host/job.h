/* core/host/job.h - what a job file says, checked and with every default filled
 * in. The keys, their ranges and their help stand in one settings table
 * (job.c); this struct is what the programs read. Which part of it clients get
 * to see is said per key: no path and nothing about compression leaves the
 * coordinator. */
#ifndef TB_HOST_JOB_H
#define TB_HOST_JOB_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/hash.h"
#include "host/settings.h"
#include "wire/name.h"

#define TB_JOB_PATH_BYTES    1024
#define TB_JOB_WORD_BYTES    32
#define TB_JOB_VERSION_BYTES (TB_NAME_BYTES + 24) /* NAME@SEQUENCE */
#define TB_JOB_CLASSES_MAX   1024
#define TB_JOB_COLUMNS_MAX   4096
#define TB_JOB_FEATURES_MAX  65536 /* means and stds */

typedef enum tb_job_where {
    TB_JOB_NOWHERE,
    TB_JOB_FILE,
    TB_JOB_CLIENTS
} tb_job_where;
typedef enum tb_job_schedule {
    TB_JOB_CONSTANT,
    TB_JOB_STEP,
    TB_JOB_COSINE
} tb_job_schedule;
typedef enum tb_job_mode { TB_JOB_SYNC, TB_JOB_ASYNC } tb_job_mode;
typedef enum tb_job_weights { TB_JOB_SAMPLES, TB_JOB_UNIFORM } tb_job_weights;
typedef enum tb_job_publish { TB_JOB_BEST, TB_JOB_LAST } tb_job_publish;
typedef enum tb_job_prune {
    TB_JOB_PRUNE_NONE,
    TB_JOB_PRUNE_UNSTRUCTURED,
    TB_JOB_PRUNE_STRUCTURED
} tb_job_prune;
typedef enum tb_job_quantise {
    TB_JOB_QUANTISE_NONE,
    TB_JOB_QUANTISE_INT8,
    TB_JOB_QUANTISE_POW2
} tb_job_quantise;

typedef tb_text_list tb_job_texts;
typedef tb_float_list tb_job_floats;

typedef struct tb_job {
    tb_name name; /* key "name": the model is registered under it */
    struct {
        char file[TB_JOB_PATH_BYTES];       /* model.file; "" unless from it */
        char version[TB_JOB_VERSION_BYTES]; /* model.version: NAME[@SEQUENCE] */
        char make[TB_JOB_WORD_BYTES * 4]; /* model.new: "mlp:784-200-200-10" */
        bool fresh;                       /* model.init: fresh (else keep) */
        tb_job_texts freeze;              /* model.freeze, model.train: names */
        tb_job_texts train;
    } model;
    struct {
        tb_name set;                    /* data.set: its name at the clients */
        char reader[TB_JOB_WORD_BYTES]; /* data.reader: idx, csv, npy, npz */
        tb_job_texts columns;           /* data.columns; empty: all */
        char label[TB_NAME_BYTES * 2];  /* data.label; "": the last column */
        bool bytes;  /* data.dtype: u8 (else f32); default: u8 for idx */
        bool values; /* data.target: value (else class) */
        tb_job_texts classes;    /* data.classes, in index order */
        float scale;             /* data.scale: x * scale; 1: none */
        tb_job_floats mean, std; /* data.mean, data.std */
    } data;
    char loss[TB_JOB_WORD_BYTES]; /* softmax_cross_entropy, mse, ... */
    struct {
        double delta;                   /* huber_delta; 0: 1 */
        double smoothing;               /* label_smoothing */
        char ignore[TB_JOB_WORD_BYTES]; /* ignore_index: a number; "": none */
        tb_job_floats class_weight;     /* class_weights; empty: all 1 */
        tb_job_floats pos_weight;       /* pos_weight; empty: 1 */
    } loss_options;
    struct {
        char kind[TB_JOB_WORD_BYTES]; /* optimiser.kind: sgd, adam, ... */
        double lr, momentum, dampening, weight_decay;
        double beta1, beta2, alpha, lr_decay, eps;
        bool nesterov;
    } optimiser;
    struct { /* schedule.*, counted in rounds */
        tb_job_schedule kind;
        uint32_t warmup, every;
        double gamma, floor;
    } schedule;
    struct {
        double norm, value; /* clip.*; 0: none */
    } clip;
    uint32_t batch, local_epochs, rounds;
    uint32_t micro_batch;  /* 0: the batch */
    bool bn_local;         /* bn: local (else average) */
    tb_job_texts eligible; /* conditions on clients' labels: wire/labels.h */
    struct {
        uint32_t target, minimum;
        double over_selection;
    } cohort;
    tb_job_mode mode;       /* mode */
    uint32_t buffer;        /* buffer: updates a round, of mode: async */
    uint32_t max_staleness; /* max_staleness: of mode: async */
    tb_job_weights weights; /* weights; default: samples, async: uniform */
    uint64_t deadline_ms;   /* deadline: of a round */
    uint64_t select_ms;     /* cohort.patience: then the clients at hand do */
    uint32_t attempts;      /* attempts: of one round before the run fails */
    uint64_t seed;
    struct {
        char codec[TB_JOB_WORD_BYTES]; /* update.codec: f32, q8 */
        double max_abs;                /* update.max_abs */
        uint32_t max_weight;           /* update.max_weight */
    } update;
    struct {
        char kind[TB_JOB_WORD_BYTES]; /* strategy.kind: fedavg */
        double server_lr;
    } strategy;
    struct { /* evaluate, calibrate, after.guard.data: PATH, clients, none */
        tb_job_where where;
        char path[TB_JOB_PATH_BYTES];
    } evaluate, calibrate, guard_data; /* none: as calibrate */
    tb_job_publish publish;
    struct {
        uint32_t patience; /* early_stop.patience: 0 never */
        double min_delta;
    } early_stop;
    struct { /* after.prune */
        tb_job_prune kind;
        char norm[TB_JOB_WORD_BYTES]; /* l1, l2 */
        bool global;                  /* scope: global (else layer) */
        double amount;                /* 0 to < 1 */
        uint32_t last_rounds;         /* gradual over these; 0: one-shot */
    } prune;
    struct { /* after.quantise */
        tb_job_quantise kind;
        double percentile; /* of calibrated ranges; 100: min-max */
        uint32_t bits;     /* pow2 */
    } quantise;
    double max_drop; /* after.guard.max_drop: by how much accuracy may fall */
    bool serve;      /* after.serve */
    bool softmax;    /* after.softmax: the published model ends in one */
} tb_job;

/* The table that fills a tb_job: for a verb that takes its keys as flags too.
 * After the last source tb_job_finish fills in what was not given, and checks
 * what one row cannot: a model from one place, minimum <= target, Nesterov with
 * momentum and so on. s is over tb_job_table. Errors: USAGE (names keys). */
extern const tb_setting_table tb_job_table;
tb_rc tb_job_finish(tb_settings *s, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Reads a job file's text. file: its name for errors, which say
 * FILE:LINE:COLUMN. Relative paths are taken from the folder of `file`. On
 * TB_OK the caller releases *out; otherwise it is empty. Errors: USAGE
 * (unknown key, bad value, missing key), LIMIT, NOMEM. */
tb_rc tb_job_read(tb_job *out, const char *text, size_t len, const char *file,
                  tb_err *err) TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* Frees what it owns; safe twice and on a zeroed job. */
void tb_job_release(tb_job *job) TB_NONNULL(1);

typedef enum tb_job_part {
    TB_JOB_ALL,        /* every key: what the job hash is of */
    TB_JOB_FOR_CLIENTS /* what a client needs to train and evaluate */
} tb_job_part;

/* Appends the canonical text: every key with its resolved value, in the order
 * of the table, as YAML that tb_job_read accepts. The same settings give the
 * same bytes. Errors: LIMIT, NOMEM. */
tb_rc tb_job_encode(const tb_job *job, tb_job_part part, tb_buf *out,
                    tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Reads canonical text of either part, from a peer or a disk: keys that the
 * part leaves out keep their defaults. Errors: as tb_job_read. */
tb_rc tb_job_decode(tb_job *out, const char *text, size_t len, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* BLAKE2b-256 of the canonical text of all keys. Errors: NOMEM. */
tb_rc tb_job_hash(const tb_job *job, tb_hash *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
