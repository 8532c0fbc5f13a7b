/* include/tributary.h - reads, runs, trains and writes ONNX models.
 *
 * Three things: a model is an ONNX graph in memory; a session runs it at one
 * batch size; a trainer teaches it. Memory is taken when they are made: a run
 * and a step allocate nothing. Each has one owner at a time; different ones may
 * be used on different threads.
 *
 * Every function that can fail returns TRIBUTARY_OK (0) or the reason, and
 * leaves a sentence in *error, which may be NULL. A failed call changes
 * nothing. Text is UTF-8; arrays are dense, row by row. */
#ifndef TRIBUTARY_H
#define TRIBUTARY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TRIBUTARY_RANK_MAX 8
#define TRIBUTARY_ANY      (-1) /* a dimension that follows the batch */

/* --- errors --------------------------------------------------------------- */

typedef enum tributary_status {
    TRIBUTARY_OK = 0,
    TRIBUTARY_INVALID = 1,     /* a file or data that are not what they say */
    TRIBUTARY_LIMIT = 2,       /* larger than a stated limit */
    TRIBUTARY_MISMATCH = 3,    /* right alone, but does not fit the model */
    TRIBUTARY_UNSUPPORTED = 4, /* nothing here can do it: names the operator */
    TRIBUTARY_NOT_FOUND = 5,   /* no such file or name */
    TRIBUTARY_USAGE = 6,       /* a wrong argument or option */
    TRIBUTARY_NO_MEMORY = 7,
    TRIBUTARY_IO = 8,      /* the system said no */
    TRIBUTARY_INTERNAL = 9 /* a bug of ours */
} tributary_status;

typedef struct tributary_error {
    tributary_status status;
    char text[512]; /* one line: what, where, how to mend it */
} tributary_error;

/* The version of the library, such as "0.1.0". */
const char *tributary_version(void);

/* --- models --------------------------------------------------------------- */

typedef struct tributary_model tributary_model;

/* Opens an ONNX file, with the files beside it that hold its data. */
tributary_status tributary_model_open(tributary_model **out, const char *path,
                                      tributary_error *error);

/* Reads a model from memory; the bytes are not needed afterwards. */
tributary_status tributary_model_read(tributary_model **out, const void *bytes,
                                      size_t n_bytes, tributary_error *error);

/* Makes one with fresh weights: "mlp:784-200-10", Relu between the layers. */
tributary_status tributary_model_make(tributary_model **out, const char *spec,
                                      uint64_t seed, tributary_error *error);

/* Writes an ONNX file, atomically. Weights go into a second file, "PATH.data",
 * when one file cannot hold them (2 GB), or when apart is not 0. */
tributary_status tributary_model_save(const tributary_model *model,
                                      const char *path, int apart,
                                      tributary_error *error);

/* The same into memory, for tributary_free. */
tributary_status tributary_model_write(const tributary_model *model,
                                       void **bytes, size_t *n_bytes,
                                       tributary_error *error);
void tributary_free(void *bytes);

/* Frees a model and nulls *model; its sessions must be gone. NULL is fine. */
void tributary_model_free(tributary_model **model);

/* --- what is in a model --------------------------------------------------- */

typedef enum tributary_kind {
    TRIBUTARY_INPUT = 0,
    TRIBUTARY_OUTPUT = 1,
    TRIBUTARY_PARAMETER = 2, /* trained */
    TRIBUTARY_STATISTIC = 3  /* moved by training without a gradient */
} tributary_kind;

/* Element types, by ONNX's numbers. */
typedef enum tributary_type {
    TRIBUTARY_FLOAT = 1,
    TRIBUTARY_UINT8 = 2,
    TRIBUTARY_INT8 = 3,
    TRIBUTARY_UINT16 = 4,
    TRIBUTARY_INT16 = 5,
    TRIBUTARY_INT32 = 6,
    TRIBUTARY_INT64 = 7,
    TRIBUTARY_BOOL = 9,
    TRIBUTARY_FLOAT16 = 10,
    TRIBUTARY_DOUBLE = 11,
    TRIBUTARY_UINT32 = 12,
    TRIBUTARY_UINT64 = 13,
    TRIBUTARY_BFLOAT16 = 16
} tributary_type;

typedef struct tributary_value {
    const char *name; /* lives as long as the model */
    tributary_type type;
    size_t rank;
    int64_t dim[TRIBUTARY_RANK_MAX]; /* or TRIBUTARY_ANY */
    size_t offset; /* of a parameter or statistic: where it begins in the vector
                    * of its kind, and how many floats it has */
    size_t n;
} tributary_value;

/* How many values of a kind there are, and value i of them. */
size_t tributary_model_count(const tributary_model *model, tributary_kind kind);
tributary_status tributary_model_value(const tributary_model *model,
                                       tributary_kind kind, size_t i,
                                       tributary_value *out,
                                       tributary_error *error);

/* All parameters, or all statistics, as one vector of floats in the order of
 * the file: its length, reading it, writing it. n must be the length. What is
 * written counts from the next run or the next trainer on. */
size_t tributary_model_n_floats(const tributary_model *model,
                                tributary_kind kind);
tributary_status tributary_model_get(const tributary_model *model,
                                     tributary_kind kind, float *to, size_t n,
                                     tributary_error *error);
tributary_status tributary_model_set(tributary_model *model,
                                     tributary_kind kind, const float *from,
                                     size_t n, tributary_error *error);

/* Holds the parameters of these names, or patterns of names such as
 * "features.*", still; all others train as they did when the model was opened.
 * n 0: none is held. */
tributary_status tributary_model_freeze(tributary_model *model,
                                        const char *const *names, size_t n,
                                        tributary_error *error);

/* --- running -------------------------------------------------------------- */

typedef struct tributary_session tributary_session;

/* A model at a batch size. The model must outlive it, and must not be frozen or
 * trained into meanwhile by another thread. */
tributary_status tributary_session_new(tributary_session **out,
                                       const tributary_model *model,
                                       size_t batch, tributary_error *error);

/* Memory of input i [batch, ...] to fill before a run, and its size; NULL when
 * there is no such input. What lies there stays. */
void *tributary_session_input(tributary_session *session, size_t i,
                              size_t *n_bytes);

/* Copies data to input i; n_bytes must be its size. */
tributary_status tributary_session_bind(tributary_session *session, size_t i,
                                        const void *data, size_t n_bytes,
                                        tributary_error *error);

/* Runs the model. Fails only on data that it cannot take: an index out of
 * range. */
tributary_status tributary_session_run(tributary_session *session,
                                       tributary_error *error);

/* Output i after a run, valid until the next one, and its size; NULL when there
 * is no such output. */
const void *tributary_session_output(const tributary_session *session, size_t i,
                                     size_t *n_bytes);

/* Frees a session and nulls *session. NULL is fine. */
void tributary_session_free(tributary_session **session);

/* --- training ------------------------------------------------------------- */

typedef struct tributary_trainer tributary_trainer;

/* A copy of the model to train. options is "key=value ...", NULL or "" for the
 * defaults; the formulas are PyTorch's:
 *   loss=softmax_cross_entropy   or bce_with_logits, mse, l1, huber;
 *     smoothing=0 ignore_index= (none) of the first, delta=1 of huber
 *   optimiser=sgd                or adam, adamw, rmsprop, adagrad; lr=0.1 (of
 *     sgd; others their own) decay=0 momentum=0 dampening=0 nesterov=0 beta1=
 *     beta2= alpha= lr_decay= eps=
 *   batch=32   most rows of a step
 *   piece=0    rows of a run, to save memory: a step sums its pieces; 0: batch
 *   labels=1   labels a row, for models with an output a position
 *   clip_norm=0 clip_value=0   of gradients; 0: none
 *   seed=1     of Dropout */
tributary_status tributary_trainer_new(tributary_trainer **out,
                                       const tributary_model *model,
                                       const char *options,
                                       tributary_error *error);

/* One step on n_rows (1 to batch) rows: x in the type and shape of the model's
 * one input; y int32 classes [n_rows, labels] or float values [n_rows,
 * outputs], as the loss wants. *loss (may be NULL) gets the mean before the step. */
tributary_status tributary_trainer_step(tributary_trainer *trainer,
                                        const void *x, const void *y,
                                        size_t n_rows, double *loss,
                                        tributary_error *error);

/* Another learning rate from the next step on. */
tributary_status tributary_trainer_set_lr(tributary_trainer *trainer, double lr,
                                          tributary_error *error);

/* Puts what was learnt, parameters and statistics, into the model that the
 * trainer was made from, or one like it. */
tributary_status tributary_trainer_store(const tributary_trainer *trainer,
                                         tributary_model *model,
                                         tributary_error *error);

/* Frees a trainer and nulls *trainer. NULL is fine. */
void tributary_trainer_free(tributary_trainer **trainer);

#ifdef __cplusplus
}
#endif

#endif
