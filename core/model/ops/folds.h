/* core/model/ops/folds.h - how a reduction walks: dimensions that are kept and
 * dimensions that are summed (or the like), neighbours of one kind merged. For
 * the files of this folder. */
#ifndef TB_MODEL_OPS_FOLDS_H
#define TB_MODEL_OPS_FOLDS_H

#include "model/op.h"

typedef enum tb_fold_kind {
    TB_FOLD_SUM,
    TB_FOLD_MEAN,
    TB_FOLD_MAX,
    TB_FOLD_MIN,
    TB_FOLD_PROD,
    TB_FOLD_L1,
    TB_FOLD_L2,
    TB_FOLD_SUM_SQUARE,
    TB_FOLD_LOG_SUM,
    TB_FOLD_LOG_SUM_EXP
} tb_fold_kind;

/* x is walked in blocks. The last merged dimension being a reduced one, a
 * block of x is [n_kept, n_reduced]; else it is [n_reduced, n_kept]. */
typedef struct tb_fold_walk {
    size_t rank; /* of the loops outside the block */
    size_t dim[TB_RANK_MAX];
    size_t to[TB_RANK_MAX]; /* strides; 0 in y where reduced */
    size_t from[TB_RANK_MAX];
    bool rows; /* the block is [n_kept, n_reduced] */
    size_t n_kept;
    size_t n_reduced;
} tb_fold_walk;

typedef struct tb_fold_state {
    tb_fold_walk walk;
    tb_fold_kind kind;
    size_t n; /* elements of x behind one of y */
} tb_fold_state;

/* What is read about a Reduce node: the kind by its name, the axes by attribute
 * or input `axes_in`. Fills the state and gives the shape of y; *same tells
 * that y has the very elements of x. */
tb_rc tb_fold_plan(tb_shape *y, bool *same, tb_call *call, const tb_shape *x,
                   size_t axes_in, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Calls visit for every block: where it begins in y and in x, in elements. */
typedef void tb_fold_visit(void *context, size_t y, size_t x);
void tb_fold_blocks(const tb_fold_walk *walk, tb_fold_visit *visit,
                    void *context) TB_NONNULL(1, 2, 3);

#endif
