/* core/train/trainer_priv.h - what a trainer is, for the files that make it
 * (trainer.c) and let it step (trainer_step.c). */
#ifndef TB_TRAIN_TRAINER_PRIV_H
#define TB_TRAIN_TRAINER_PRIV_H

#include "exec/exec.h"
#include "train/fuse.h"
#include "train/head.h"
#include "train/trainer.h"

/* One planned step: forward calls, (the loss), backward calls. */
typedef struct tb_program {
    tb_exec *exec;
    size_t n_first;  /* calls up to the loss, and it too: what the data may
                         * have got wrong is known then, and nothing moved */
    bool *fused;     /* [n slots] its call moves the parameter itself */
    float *grads;    /* gradients of the slots that are not fused */
    size_t *grad_at; /* [n slots] where in grads */
    tb_tensor in, y; /* borrowed views */
    size_t batch;    /* rows it was made for */
} tb_program;

/* A running statistic: the graph's own data is read and written in place. */
typedef struct tb_carried {
    tb_value_id next; /* the output that is its next value */
    float *data;      /* borrowed from the graph */
} tb_carried;

struct tb_trainer {
    tb_trainer_options options;
    tb_trainer_cost *cost;  /* not NULL: it is measured and gets no memory */
    tb_graph *graph;        /* owned: forward, loss and backward nodes */
    size_t n_forward_nodes; /* node ids under this are forward */
    tb_slots slots;
    tb_value_id *grad_ids; /* [slots.n] gradient of each, or TB_ID_NONE */
    float *params;         /* [slots.n_floats] */
    float *states[TB_OPT_STATES_MAX];
    size_t n_states;
    size_t rows;     /* of a run: the batch, or of a piece of it */
    tb_tensor input; /* a batch of input; data NULL */
    void *x; /* [batch, ...] input for callers that gather; NULL: that of train,
              * where a run takes the whole batch */
    void *y; /* [batch, y_cols] targets, for them; NULL likewise */
    size_t y_cols;
    float *sum; /* [slots.n_floats] gradient of all pieces, or NULL: a run takes
                 * the whole batch */
    tb_head_rows head;   /* the loss, and the rows of this run */
    tb_carried *carried; /* [n_carried] */
    size_t n_carried;
    bool fuses;        /* steps are linear: products move parameters */
    bool couples_rows; /* rows of zeros as padding would count */
    uint64_t step;     /* steps done */
    tb_chance chance;
    tb_fuse_rates rates;
    tb_program train; /* what steps run */
    tb_program tail;  /* the same for fewer rows, where rows are coupled; made
                    * when first needed */
    tb_program full;  /* every gradient kept; made when first asked for */
    const uint8_t *keep;
    const float *anchor;
    float mu;
    const float *offset;
};

/* Plans a step of so many rows; with fuse, gradients that can move their
 * parameter at once do. Errors: as tb_trainer_new; p is for
 * tb_program_release all the same. */
tb_rc tb_program_make(tb_trainer *t, tb_program *p, size_t batch, bool fuse,
                      tb_err *err) TB_MUST_CHECK;
void tb_program_release(tb_program *p);

#endif
