/* core/train/trainer.h - trains a model on batches: forward, loss, backward and
 * optimiser as one list of calls with all memory given at birth; a step
 * allocates nothing. Knows nothing of strategies, but offers what they need.
 * One owner at a time; the same start and the same batches give the same bits
 * on whatever thread. */
#ifndef TB_TRAIN_TRAINER_H
#define TB_TRAIN_TRAINER_H

#include "model/graph.h"
#include "model/params.h"
#include "train/clip.h"
#include "train/loss.h"
#include "train/optimiser.h"

typedef struct tb_trainer tb_trainer;

typedef struct tb_trainer_options {
    const tb_loss *loss;
    tb_loss_options loss_options; /* all zero: the loss's defaults */
    size_t n_labels;              /* labels a row of data; 0: 1 */
    const tb_optimiser *optimiser;
    tb_opt_config config;
    tb_clip clip;         /* of gradients; all zero: none */
    size_t batch;         /* most rows of a step */
    size_t micro_batch;   /* most rows of a run: a step takes several, whose
                           * gradients add up to that of the batch; 0: batch */
    uint64_t chance_seed; /* of Dropout masks */
} tb_trainer_options;

/* The graph is copied; its parameter values are the start. Errors: USAGE (a
 * number of loss or optimiser), MISMATCH (no parameter, more than one input, an
 * output that the loss cannot use), UNSUPPORTED (an operator without a
 * gradient), as tb_bind_new, LIMIT, NOMEM. */
tb_rc tb_trainer_new(tb_trainer **out, const tb_graph *graph,
                     const tb_trainer_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* What a trainer and its steps would cost. */
typedef struct tb_trainer_cost {
    size_t activation_bytes; /* planned memory of a run, gradients that pass
                              * through it among them */
    size_t gradient_bytes;   /* of parameters, where they are kept */
    size_t parameter_bytes;
    size_t constant_bytes; /* of what is not trained: frozen, running */
    size_t state_bytes;    /* of the optimiser */
    size_t batch_bytes;    /* of a batch that runs in pieces */
    size_t bytes;          /* all of it */
    double flops;          /* of a step (op.h), without loss and optimiser */
} tb_trainer_cost;

/* Plans as tb_trainer_new does, and takes no memory for it. Errors: as there,
 * but no LIMIT on memory. */
tb_rc tb_trainer_measure(tb_trainer_cost *out, const tb_graph *graph,
                         const tb_trainer_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Frees it and nulls *t. NULL is fine. */
void tb_trainer_free(tb_trainer **t) TB_NONNULL(1);

/* The parameter vector, dense, in initialiser order; n_params floats. Read it
 * and write it between steps. */
float *tb_trainer_params(tb_trainer *t) TB_NONNULL(1);
size_t tb_trainer_n_params(const tb_trainer *t) TB_NONNULL(1);

/* Running statistics (role BUFFER) as steps have left them, a vector in
 * initialiser order [tb_buffers_count of the model]: read them with
 * tb_buffers_get from this graph, which the trainer owns; set puts others
 * there. Errors of set: MISMATCH. */
const tb_graph *tb_trainer_graph(const tb_trainer *t) TB_NONNULL(1);
tb_rc tb_trainer_set_buffers(tb_trainer *t, const float *from, size_t n,
                             tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Puts the trainer's parameters and statistics into the model it was made from,
 * or one like it. Errors: MISMATCH (not as many of either), NOMEM; the model is
 * as it was then. */
tb_rc tb_trainer_store(const tb_trainer *t, tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Name, shape and offset of each parameter in the vector. */
const tb_slots *tb_trainer_slots(const tb_trainer *t) TB_NONNULL(1);

/* dtype and shape [batch, ...] of what a step eats, and how the outputs lie:
 * for checking a dataset against the model. */
const tb_tensor *tb_trainer_input(const tb_trainer *t) TB_NONNULL(1);
const tb_loss_layout *tb_trainer_layout(const tb_trainer *t) TB_NONNULL(1);
const tb_loss *tb_trainer_loss(const tb_trainer *t) TB_NONNULL(1);

/* One step on n_rows (1 to batch) rows: x [n_rows, ...] in the input's dtype, y
 * int32 [n_rows, n_labels] or float32 [n_rows, n_cols] by the loss. The
 * gradient is that of the mean loss. *score (may be NULL) is added to, with the
 * loss before the step. A smaller batch is padded with zero rows that weigh
 * nothing; where rows are coupled (BatchNormalization) it gets a plan of its
 * own instead, made when its size changes. Errors: MISMATCH (rows, a label or
 * an index out of range), NOMEM; no parameter moved then. */
tb_rc tb_trainer_step(tb_trainer *t, const void *x, const void *y,
                      size_t n_rows, tb_score *score, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Where a caller may gather x and y himself, so that nothing is copied: pass
 * these very pointers to tb_trainer_step. */
void *tb_trainer_x(tb_trainer *t) TB_NONNULL(1);
void *tb_trainer_y(tb_trainer *t) TB_NONNULL(1);

/* Gradient of the mean loss over n_rows at the present parameters, into grad
 * [n_params]; no step: running statistics stay too. Errors: as tb_trainer_step,
 * NOMEM (the first call makes a plan of its own). */
tb_rc tb_trainer_gradient(tb_trainer *t, const void *x, const void *y,
                          size_t n_rows, float *grad, tb_err *err)
    TB_NONNULL(1, 2, 3, 5) TB_MUST_CHECK;

/* Forgets momentum and counts steps from 1 again: a new round. */
void tb_trainer_reset(tb_trainer *t, uint64_t chance_seed) TB_NONNULL(1);

/* Goes on as if that many steps were done and their states, parameters and
 * buffers are those that the caller has put back. */
void tb_trainer_resume(tb_trainer *t, uint64_t steps, uint64_t chance_seed)
    TB_NONNULL(1);

/* Learning rate from the next step on; > 0. */
void tb_trainer_set_lr(tb_trainer *t, double lr) TB_NONNULL(1);

/* State vectors of the optimiser, for checkpoints; *n is how many, each
 * n_params long. */
float *const *tb_trainer_states(tb_trainer *t, size_t *n) TB_NONNULL(1, 2);

/* Hooks; each borrows a vector [n_params] until it is replaced, NULL is none.
 * mask: parameters with 0 are held at zero (pruned). prox: adds
 * mu / 2 * |w - anchor|^2 to the loss (FedProx, Li et al. 2020). offset: added
 * to every gradient (SCAFFOLD's c - c_i, Karimireddy et al. 2020). */
void tb_trainer_set_mask(tb_trainer *t, const uint8_t *keep) TB_NONNULL(1);
void tb_trainer_set_prox(tb_trainer *t, float mu, const float *anchor)
    TB_NONNULL(1);
void tb_trainer_set_offset(tb_trainer *t, const float *offset) TB_NONNULL(1);

/* Bytes of all memory planned for activations and gradients. */
size_t tb_trainer_bytes(const tb_trainer *t) TB_NONNULL(1);

#endif
