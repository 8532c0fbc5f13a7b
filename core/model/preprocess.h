/* core/model/preprocess.h - what surrounds the trained part of a model, as
 * nodes and metadata of the model itself, so that whoever holds the file can
 * feed it raw data: scaling in front, Softmax behind, class names. */
#ifndef TB_MODEL_PREPROCESS_H
#define TB_MODEL_PREPROCESS_H

#include "model/graph.h"

#define TB_META_CLASSES "classes" /* class names joined by newlines */

/* y = (x * scale - mean) / std, per feature when n > 1. */
typedef struct tb_scaling {
    tb_dtype raw;      /* what the model shall take: U8, F32, ... */
    float scale;       /* 1: none; 1/255 for images in bytes */
    const float *mean; /* [n] or NULL: 0 */
    const float *std;  /* [n] or NULL: 1; each > 0 */
    size_t n;          /* 1, or the extent of the input's last dimension */
} tb_scaling;

/* Puts Cast, Mul, Sub, Div (those that do something) between the model's one
 * input and whatever read it; the input keeps name and shape and takes raw.
 * Errors: MISMATCH (more than one input, n against the shape), USAGE (a scale
 * or std that is not finite and positive), NOMEM. */
tb_rc tb_preprocess_scale(tb_graph *graph, const tb_scaling *scaling,
                          tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Lets the first dimension of the model's one input be any number of rows:
 * exporters like to fix it at 1. A model that does not go along, as it reshapes
 * to a fixed number of rows, is left as it is. Errors: NOMEM. */
tb_rc tb_preprocess_open_batch(tb_graph *graph, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Adds a Softmax over the last axis behind the first output; the output is
 * then called "probabilities". A model that ends in one is left as it is. */
tb_rc tb_preprocess_softmax(tb_graph *graph, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Takes such a Softmax away again: what is trained ends in scores. A model that
 * ends in none is left as it is; a Softmax that is read elsewhere stays, behind
 * the output. */
void tb_preprocess_scores(tb_graph *graph) TB_NONNULL(1);

/* Writes, and reads, the class names. A name must not be empty or hold a
 * newline: USAGE. tb_preprocess_class gives class i, or NULL, in *n_bytes of
 * borrowed text without a closing NUL. */
tb_rc tb_preprocess_set_classes(tb_graph *graph, const char *const *names,
                                size_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
size_t tb_preprocess_n_classes(const tb_graph *graph) TB_NONNULL(1);
const char *tb_preprocess_class(const tb_graph *graph, size_t i,
                                size_t *n_bytes) TB_NONNULL(1, 3);

#endif
