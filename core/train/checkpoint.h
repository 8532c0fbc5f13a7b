/* core/train/checkpoint.h - a training that was interrupted, as bytes: all that
 * it needs to end in the same bits. One NumPy archive: what ONNX can say is the
 * member "model", the bytes of an ONNX file with parameters and running
 * statistics as they are; the rest lies beside it. Pure; one owner at a time.
 *
 * model uint8 [n] | settings uint8 [n], text | progress int64 [8]: version 1,
 * steps, seed, rows of the data, then rows, targets counted and right answers
 * of this epoch so far, number of states | score float64 [2]: weight and sum of
 * this epoch's losses | optimiser_0, optimiser_1 float32 [parameters]. */
#ifndef TB_TRAIN_CHECKPOINT_H
#define TB_TRAIN_CHECKPOINT_H

#include "base/buf.h"
#include "train/trainer.h"

#define TB_CHECKPOINT_SETTINGS_BYTES ((size_t)1 << 16)

/* Where a training stands. */
typedef struct tb_progress {
    uint64_t steps;
    uint64_t seed;
    uint64_t n_rows; /* of the data */
    tb_score epoch;  /* what this epoch has scored so far */
} tb_progress;

typedef struct tb_checkpoint {
    tb_progress progress;
    tb_buf settings;                  /* text; owned */
    tb_graph *graph;                  /* the model; owned */
    float *states[TB_OPT_STATES_MAX]; /* [n_params]; owned */
    size_t n_states;
    size_t n_params; /* of the model as it was trained */
} tb_checkpoint;

/* Puts the trainer's parameters and statistics into graph, the model that it
 * was made from, and appends the archive. settings: text that a resumed
 * training compares with its own. Errors: as tb_onnx_write, LIMIT, NOMEM. */
tb_rc tb_checkpoint_encode(tb_buf *out, tb_trainer *t, tb_graph *graph,
                           const tb_progress *progress, const tb_buf *settings,
                           tb_err *err) TB_NONNULL(1, 2, 3, 4, 5) TB_MUST_CHECK;

/* Reads untrusted bytes; name: for errors. On TB_OK the caller releases *out;
 * otherwise it is empty. Errors: MALFORMED, MISMATCH, NOT_FOUND (a member),
 * UNSUPPORTED (version), as tb_onnx_read. */
tb_rc tb_checkpoint_decode(tb_checkpoint *out, const char *name,
                           const uint8_t *bytes, size_t len, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Puts the states into a trainer made from the checkpoint's model. MISMATCH:
 * another optimiser, or other parameters are frozen. */
tb_rc tb_checkpoint_restore(const tb_checkpoint *c, tb_trainer *t, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees what it owns; safe twice and on a zeroed one. */
void tb_checkpoint_release(tb_checkpoint *c) TB_NONNULL(1);

#endif
