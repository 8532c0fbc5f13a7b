/* core/model/bind.h - a graph at one batch size: every value with a concrete
 * dtype and shape, every node as a call in running order, and what is constant
 * folded away. The step before a memory plan. Immutable once made; it borrows
 * the graph, which must outlive it unchanged. */
#ifndef TB_MODEL_BIND_H
#define TB_MODEL_BIND_H

#include "model/op.h"

typedef struct tb_bind_options {
    size_t batch;     /* for every first dimension of an input that is
                       * TB_DIM_ANY; 0 is an error */
    bool training;    /* Dropout drops; nothing that trains is folded */
    size_t max_bytes; /* of any one value; 0: TB_BIND_MAX_BYTES, or those of the
                       * largest initialiser: the model has as many itself */
} tb_bind_options;

#define TB_BIND_MAX_BYTES ((size_t)1 << 30)

/* What folding may take altogether, so that a small file cannot ask for much:
 * bytes of folded values, and work (arithmetic, and bytes read and written).
 * What goes beyond stays a call. */
#define TB_BIND_FOLD_BYTES ((size_t)256 << 20)
#define TB_BIND_FOLD_WORK  1e9

typedef struct tb_bound {
    const tb_graph *graph; /* as given, or expanded */
    tb_graph *expanded;    /* owned: a copy without Gradient; else NULL */
    size_t n_values;
    /* [n_values] by value id: dtype and shape of each value that an output
     * needs, and of each input; else dtype NONE. data is set for CONST values
     * (borrowed from the graph) and for folded ones that a call reads (owned),
     * and NULL for inputs, parameters, buffers and temporaries. */
    tb_tensor *values;
    /* [n_calls] in running order: those that outputs need, without the folded
     * ones. Their in and out are copies of values[]; data, work and chance are
     * for the executor to set. */
    tb_call *calls;
    size_t n_calls;
    tb_node_id *call_nodes; /* [n_calls] the node behind each call; call->node
                             * is it, or stands for it and others */
    tb_tensor *slots;       /* backing store of all in and out */
    void *fused; /* owned: what exec/fuse.c keeps of calls it joined; or NULL */
} tb_bound;

/* Binds. Errors: MISMATCH, UNSUPPORTED and MALFORMED with the operator and the
 * node in front; LIMIT, NOMEM. */
tb_rc tb_bind_new(tb_bound **out, const tb_graph *graph,
                  const tb_bind_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* What a value is at any batch size. */
typedef struct tb_value_type {
    tb_dtype dtype; /* NONE: no output needs it */
    tb_dims dims;   /* TB_DIM_ANY where it follows the batch */
} tb_value_type;

/* The types of all values by id, learnt by binding at two batch sizes: for
 * files and for people. *out is for tb_mem_free. Errors: as tb_bind_new. */
tb_rc tb_bind_types(tb_value_type **out, const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The error of a fault that a run reported (MISMATCH: names operator, node and
 * value), which is forgotten then; or OK. */
tb_rc tb_data_fault_error(tb_data_fault *fault, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Frees it and nulls *bound. NULL is fine. */
void tb_bind_free(tb_bound **bound) TB_NONNULL(1);

#endif
