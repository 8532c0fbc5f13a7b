/* core/exec/exec.h - runs a graph at one batch size: bound, planned, and given
 * all its memory when it is made, so that a run allocates nothing and cannot
 * fail. Rows never mix: with the same batch size the same row gives the same
 * bits here and elsewhere on the same kind of CPU. One owner at a time; several
 * executors may share one graph and one parameter vector that rests. */
#ifndef TB_EXEC_EXEC_H
#define TB_EXEC_EXEC_H

#include "model/bind.h"

#define TB_EXEC_MAX_BYTES ((size_t)1 << 32)

typedef struct tb_exec tb_exec;

/* A value that lives in the caller's memory instead of the executor's. */
typedef struct tb_exec_place {
    tb_value_id value; /* TEMP, made by a node that is not folded */
    void *data;        /* 64-byte border not needed; must outlive the exec */
} tb_exec_place;

/* For inference. batch: rows of a run, for every input whose first dimension is
 * open. The graph is borrowed and must outlive it unchanged (parameter values
 * may change). Errors: as tb_bind_new, and LIMIT over TB_EXEC_MAX_BYTES. */
tb_rc tb_exec_new(tb_exec **out, const tb_graph *graph, size_t batch,
                  tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The same from a bound graph, whose calls may have been rewritten, run with
 * chance (borrowed; NULL in inference) and with some values placed by the
 * caller. *bound is nulled when it succeeds. Errors: LIMIT, NOMEM. */
tb_rc tb_exec_from(tb_exec **out, tb_bound **bound_take,
                   const tb_exec_place *places, size_t n_places,
                   const tb_chance *chance, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* What a run costs, without taking its memory. */
typedef struct tb_exec_cost {
    size_t bytes;          /* of activations and scratch memory, as planned */
    size_t bytes_unshared; /* if no two of them shared memory */
    double flops;          /* arithmetic operations of all calls (op.h) */
} tb_exec_cost;

/* The cost of what tb_exec_new and tb_exec_from would make; of places only
 * which values they are counts. Errors: as there, but no LIMIT on memory. */
tb_rc tb_exec_measure_new(tb_exec_cost *out, const tb_graph *graph,
                          size_t batch, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_exec_measure(tb_exec_cost *out, const tb_bound *bound,
                      const tb_exec_place *places, size_t n_places, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees it and nulls *exec. NULL is fine. */
void tb_exec_free(tb_exec **exec) TB_NONNULL(1);

/* Lets every parameter be read from this vector (dense, in initialiser order,
 * tb_params_count floats, borrowed) from the next run on; NULL: from the graph
 * itself again, as at birth. Cheap: a few pointers are moved. */
void tb_exec_set_params(tb_exec *exec, const float *params) TB_NONNULL(1);

/* Input i of the graph at this batch size: fill data before a run; the content
 * stays until it is changed. i < n_inputs of the graph. */
const tb_tensor *tb_exec_input(tb_exec *exec, size_t i) TB_NONNULL(1);

/* Lets input i be read from data, which lies as tb_exec_input says and is
 * best 64-byte aligned, from the next run on; NULL: from the executor's own
 * memory again, as at birth. Borrowed, never written. */
void tb_exec_set_input(tb_exec *exec, size_t i, const void *data) TB_NONNULL(1);

/* Runs every call; or only calls [from, to) of tb_exec_n_calls, in order. */
void tb_exec_run(tb_exec *exec) TB_NONNULL(1);
void tb_exec_run_part(tb_exec *exec, size_t from, size_t to) TB_NONNULL(1);
size_t tb_exec_n_calls(const tb_exec *exec) TB_NONNULL(1);

/* What was wrong with the data of the runs since the last call (tb_op_fault):
 * OK, or MISMATCH; the outputs mean nothing then. */
tb_rc tb_exec_fault(tb_exec *exec, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Output i of the graph after a run: valid until the next one. */
const tb_tensor *tb_exec_output(const tb_exec *exec, size_t i) TB_NONNULL(1);

/* Any value after a run: for calibration. Only graph outputs are sure to be
 * still there; make a value an output to see it. data NULL: not computed. */
const tb_tensor *tb_exec_value(const tb_exec *exec, tb_value_id id)
    TB_NONNULL(1);

/* Bytes of all activations and scratch memory, as planned, and what they would
 * be if no two of them shared memory. */
size_t tb_exec_bytes(const tb_exec *exec) TB_NONNULL(1);
size_t tb_exec_bytes_unshared(const tb_exec *exec) TB_NONNULL(1);

/* Predicts any number of rows in runs of the executor's batch, the last one
 * padded with zero rows: how local and remote prediction come to the same
 * bits. x [n_rows, ...] in the dtype of the one input, y [n_rows, ...] in that
 * of the first output. Errors: MISMATCH (more than one input, or rows are not
 * the first dimension of input and output, or as tb_exec_fault). */
tb_rc tb_exec_predict(tb_exec *exec, const void *x, size_t n_rows, void *y,
                      tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

#endif
