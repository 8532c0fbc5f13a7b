/* core/wire/config.h - the configuration of one round: what the coordinator
 * signs and every block of an update is bound to. Its canonical bytes are the
 * protobuf message RoundConfig with fields in order; its hash names the round
 * everywhere (federation, job, run, round and model are all inside).
 *
 * A round has a task. Train: clients send the difference of their parameters.
 * Evaluate: they send metrics of the model. Calibrate: they send the ranges of
 * its activations. All three are updates of sections and summed alike. */
#ifndef TB_WIRE_CONFIG_H
#define TB_WIRE_CONFIG_H

#include "base/buf.h"
#include "base/hash.h"
#include "wire/name.h"

typedef enum tb_task {
    TB_TASK_TRAIN,
    TB_TASK_EVALUATE,
    TB_TASK_CALIBRATE,
    TB_TASK_COUNT
} tb_task;

/* One vector of an update; a scalar is a vector of one value. */
typedef struct tb_section {
    tb_name name;      /* "parameters", "loss_sum", "correct", ... */
    uint64_t n_values; /* 1 to TB_SECTION_VALUES */
    bool weighted;     /* multiplied by the client's weight before summing */
} tb_section;

typedef struct tb_round_config {
    uint32_t protocol;  /* version that both ends then speak */
    tb_hash federation; /* hash of the root public key */
    tb_hash job;        /* hash of the whole job */
    tb_run_id run;
    uint32_t round;   /* 1, 2, ... */
    uint32_t attempt; /* 1; rises when a round is abandoned */
    tb_task task;
    tb_hash model;        /* hash of the raw ONNX to start from */
    uint64_t model_bytes; /* its raw size */
    tb_hash model_stored; /* hash of its stored (zstd) bytes */
    uint64_t model_stored_bytes;
    uint8_t aggregation_key[32]; /* X25519 public key of the run */
    tb_name codec;               /* "f32", ... */
    uint32_t fraction_bits;      /* f of the exact sum, 20 to 62 */
    float max_abs;               /* a larger |value| is refused */
    uint32_t max_weight;         /* a larger weight is capped by the client and
                              * refused by the coordinator */
    uint32_t sum_weight;         /* largest weight of an update in the sum,
                              * when that is not max_weight; else 0 */
    uint64_t seed;               /* of the job */
    uint64_t deadline_ms; /* from the offer, on the coordinator's clock */
    tb_name data_set;     /* which of the client's data sets */
    bool masked;          /* parameters that are 0 stay 0 */
    uint32_t epoch;       /* how often the coordinator was restored from a
                           * backup: nothing of one epoch counts in another */
    uint8_t epoch_id[TB_EPOCH_ID_BYTES]; /* random, of that restore */
    uint64_t epoch_row;                  /* journal row that began it */
    uint32_t n_sections;
    tb_section sections[TB_SECTIONS_MAX];
    size_t n_job;                        /* bytes used of job_text */
    char job_text[TB_JOB_BYTES_MAX + 1]; /* what the client needs of the job, in
                                          * its canonical text with a closing
                                          * NUL; no path, no key */
} tb_round_config;

/* Appends the canonical bytes; tb_hash_of(bytes) names the round. Errors:
 * MALFORMED, LIMIT, UNSUPPORTED (a value that decode would refuse), NOMEM. */
tb_rc tb_round_config_encode(const tb_round_config *config, tb_buf *out,
                             tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads canonical bytes into *out (caller's memory) and checks every limit and
 * range; on failure *out is zeroed. Errors: MALFORMED, LIMIT, UNSUPPORTED
 * (task, protocol), NOMEM. */
tb_rc tb_round_config_decode(tb_round_config *out, const uint8_t *bytes,
                             size_t len, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Values of all sections together. */
uint64_t tb_round_config_values(const tb_round_config *config) TB_NONNULL(1);

/* Blocks of an update: block 0 is the head (weight), then one for each
 * TB_BLOCK_VALUES values of the concatenated sections. */
uint32_t tb_round_config_blocks(const tb_round_config *config) TB_NONNULL(1);

#endif
