/* client/inspect.h - what `model inspect` knows of a model: gathered here, and
 * shown as text (inspect_text.c) or as JSON (inspect_json.c). */
#ifndef TB_CLIENT_INSPECT_H
#define TB_CLIENT_INSPECT_H

#include "base/hash.h"
#include "exec/exec.h"
#include "model/bind.h"
#include "train/trainer.h"

/* What an initialiser is for. */
typedef enum initialiser_kind {
    KIND_TRAINED,
    KIND_FROZEN,    /* would be trained, but the user holds it */
    KIND_STATISTIC, /* running: moved without a gradient */
    KIND_CONSTANT,
    KIND_COUNT
} initialiser_kind;

/* One node, in running order. */
typedef struct inspected_node {
    tb_node_id id;
    bool folded;   /* its result is known without an input */
    double flops;  /* of a run at batch 1 */
    size_t n_own;  /* numbers of trained, frozen and running initialisers that
                    * it is the first to read */
    size_t number; /* from 1 */
} inspected_node;

/* How the model would be trained. */
typedef struct inspect_options {
    tb_trainer_options trainer; /* batch: rows of a step */
    uint64_t budget;            /* bytes; 0: none */
    const tb_params_rule *rule;
} inspect_options;

typedef struct inspection {
    const tb_graph *graph; /* borrowed */
    size_t n_bytes;        /* of the file */
    tb_hash hash;
    tb_value_type *types;  /* owned [graph->n_values] */
    uint8_t *kinds;        /* owned [graph->n_values], of initialisers */
    inspected_node *nodes; /* owned [n_nodes] */
    size_t *number_of;     /* owned [graph->n_nodes] by node id */
    size_t n_nodes;
    size_t n_of[KIND_COUNT];    /* initialisers of each kind */
    size_t in_each[KIND_COUNT]; /* numbers in them */
    size_t data_bytes;          /* of all of them */
    size_t batch;
    tb_exec_cost one, many; /* inference of one row, of a batch */
    bool trains;
    tb_err why_not;           /* when it does not */
    tb_trainer_cost training; /* a step of a batch */
    uint64_t budget;          /* 0: none was given */
    size_t piece; /* largest micro-batch within it; 0: none, for what pieces
                   * of a batch need beside them */
    tb_trainer_cost in_pieces; /* a step of a batch in such pieces */
    size_t largest; /* largest batch within it in one piece; 0: none */
} inspection;

/* Gathers all; assigns roles by the rule. Errors: as tb_bind_types, NOT_FOUND
 * (a name in the rule), LIMIT (not even one row fits the budget: says what it
 * needs), NOMEM. Release it in any case. */
tb_rc inspect(inspection *out, tb_graph *graph, const inspect_options *options,
              tb_err *err) TB_MUST_CHECK;
void inspection_release(inspection *what);

/* Appends it to out for a person, 80 columns wide, or prints it as JSON. */
tb_rc inspection_text(const inspection *what, tb_buf *out,
                      tb_err *err) TB_MUST_CHECK;
tb_rc inspection_json(const inspection *what, tb_err *err) TB_MUST_CHECK;

/* The name that a node goes by: its own, or that of what it makes. */
const char *inspected_name(const tb_graph *graph, const tb_node *node);

/* "trained", "frozen", "statistic" or "constant". */
const char *initialiser_kind_name(initialiser_kind kind);

#endif
