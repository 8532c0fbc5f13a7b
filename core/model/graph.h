/* core/model/graph.h - a model in memory: values joined by nodes, as ONNX says
 * it, with one opset for the default domain. Uses tensor only; knows neither
 * what an operator means (op.h) nor any file. Ids are indexes that stay valid
 * for the life of the graph; a removed node or value leaves NULL behind. Read
 * the fields freely, change them through the functions. One owner at a time.
 */
#ifndef TB_MODEL_GRAPH_H
#define TB_MODEL_GRAPH_H

#include <stdint.h>

#include "base/buf.h"
#include "tensor/tensor.h"

typedef uint32_t tb_value_id;
typedef uint32_t tb_node_id;

#define TB_ID_NONE      UINT32_MAX /* no such value or node; an omitted input */
#define TB_DIM_ANY      (-1) /* a dimension bound later, such as the batch */
#define TB_RANK_UNKNOWN (-1)
#define TB_GRAPH_OPSET  17               /* what we build and write */
#define TB_DOMAIN_ONNX  ""               /* "ai.onnx" is read as this */
#define TB_DOMAIN_GRAD  "tributary.grad" /* backward pieces: never written */
/* Several operators in one call, made for an executor: never written. */
#define TB_DOMAIN_FUSED "tributary.fused"
/* ONNX's operators for training, version 1. */
#define TB_DOMAIN_TRAINING "ai.onnx.preview.training"

typedef enum tb_role {
    TB_ROLE_TEMP,   /* made by a node (the graph's outputs are such, mostly) */
    TB_ROLE_INPUT,  /* given at every run */
    TB_ROLE_PARAM,  /* trainable initialiser: a slot of the parameter vector */
    TB_ROLE_BUFFER, /* state that training moves without a gradient */
    TB_ROLE_CONST   /* initialiser that nothing moves */
} tb_role;

/* A shape as a file declares it: it may be unknown, or known but for some. */
typedef struct tb_dims {
    int rank;                 /* or TB_RANK_UNKNOWN */
    int64_t dim[TB_RANK_MAX]; /* or TB_DIM_ANY */
} tb_dims;

typedef struct tb_value {
    char *name; /* owned, unique in the graph, never empty */
    tb_role role;
    tb_dtype dtype;      /* NONE where only inference will tell */
    tb_dims dims;        /* declared; rank unknown for most temporaries */
    tb_tensor data;      /* owned; of PARAM, BUFFER and CONST, else empty */
    tb_node_id producer; /* of TEMP, else TB_ID_NONE */
} tb_value;

typedef enum tb_attr_kind {
    TB_ATTR_FLOAT,
    TB_ATTR_INT,
    TB_ATTR_STRING,
    TB_ATTR_TENSOR,
    TB_ATTR_FLOATS,
    TB_ATTR_INTS,
    TB_ATTR_STRINGS,
    TB_ATTR_KIND_COUNT
} tb_attr_kind;

/* One attribute. The graph keeps its own copies; a caller's may borrow. */
typedef struct tb_attr {
    const char *name;
    tb_attr_kind kind;
    float f;
    int64_t i;
    const char *s; /* NUL-terminated */
    tb_tensor t;
    size_t n; /* of floats, ints or strings */
    const float *floats;
    const int64_t *ints;
    const char *const *strings;
} tb_attr;

/* Literals for building: TB_ATTR_I("axis", 1). */
#define TB_ATTR_I(nm, v) ((tb_attr){.name = nm, .kind = TB_ATTR_INT, .i = v})
#define TB_ATTR_F(nm, v) ((tb_attr){.name = nm, .kind = TB_ATTR_FLOAT, .f = v})

/* One block of memory with all that it points to. */
typedef struct tb_node {
    const char *name;   /* "" where the file has none */
    const char *domain; /* TB_DOMAIN_ONNX, TB_DOMAIN_GRAD, ... */
    const char *op;     /* such as "Gemm" */
    const tb_attr *attrs;
    size_t n_attrs;
    tb_value_id *in; /* TB_ID_NONE: omitted optional input */
    size_t n_in;
    tb_value_id *out; /* TB_ID_NONE: output that nobody wants */
    size_t n_out;
} tb_node;

typedef struct tb_meta {
    char *key;
    char *value;
} tb_meta;

typedef struct tb_graph {
    char *name;        /* owned; of the ONNX graph */
    int opset;         /* of TB_DOMAIN_ONNX */
    tb_value **values; /* [n_values], NULL where removed; id order is the
                        * initialiser order */
    size_t n_values;
    size_t cap_values;
    tb_node **nodes; /* [n_nodes], NULL where removed; any order */
    size_t n_nodes;
    size_t cap_nodes;
    tb_value_id *inputs; /* [n_inputs] in file order */
    size_t n_inputs;
    tb_value_id *outputs; /* [n_outputs] in file order */
    size_t n_outputs;
    tb_meta *meta; /* [n_meta] metadata_props in order of first setting */
    size_t n_meta;
    tb_value_id *by_name; /* [n_names] live values, sorted by name */
    size_t n_names;
    unsigned long fresh; /* number behind the last fresh name */
} tb_graph;

/* What tb_graph_add_node takes. Everything is copied. */
typedef struct tb_node_spec {
    const char *name;   /* NULL: "" */
    const char *domain; /* NULL: TB_DOMAIN_ONNX */
    const char *op;
    const tb_attr *attrs;
    size_t n_attrs;
    const tb_value_id *in;
    size_t n_in;
    const tb_value_id *out; /* TEMP values without a producer yet */
    size_t n_out;
} tb_node_spec;

/* --- life ----------------------------------------------------------------- */

/* An empty graph. Errors: NOMEM. */
tb_rc tb_graph_new(tb_graph **out, const char *name, int opset, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* A deep copy that keeps every id (holes too). Errors: NOMEM. */
tb_rc tb_graph_clone(tb_graph **out, const tb_graph *from, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees it and nulls *graph. NULL is fine. */
void tb_graph_free(tb_graph **graph) TB_NONNULL(1);

/* --- reading -------------------------------------------------------------- */

/* The value of that name, or TB_ID_NONE. */
tb_value_id tb_graph_find(const tb_graph *graph, const char *name)
    TB_NONNULL(1, 2);

/* The live value or node behind an id, or NULL (removed, TB_ID_NONE). */
tb_value *tb_graph_value(const tb_graph *graph, tb_value_id id) TB_NONNULL(1);
tb_node *tb_graph_node(const tb_graph *graph, tb_node_id id) TB_NONNULL(1);

/* Whether id is one of the graph's outputs. */
bool tb_graph_is_output(const tb_graph *graph, tb_value_id id) TB_NONNULL(1);

/* How many node inputs read the value (an output of the graph adds none). */
size_t tb_graph_n_uses(const tb_graph *graph, tb_value_id id) TB_NONNULL(1);

/* The first node (in id order) that reads the value, or TB_ID_NONE. */
tb_node_id tb_graph_first_use(const tb_graph *graph, tb_value_id id)
    TB_NONNULL(1);

/* Attribute by name, or NULL; the number of an INT or FLOAT attribute, or the
 * default when the node has none of that name and kind. */
const tb_attr *tb_node_attr(const tb_node *node, const char *name)
    TB_NONNULL(1, 2);
int64_t tb_node_int(const tb_node *node, const char *name, int64_t otherwise)
    TB_NONNULL(1, 2);
float tb_node_float(const tb_node *node, const char *name, float otherwise)
    TB_NONNULL(1, 2);

/* Live node ids, producers first, and otherwise in id order, so that a graph
 * already in order keeps it. *out is for tb_mem_free. Errors: MALFORMED (a
 * cycle: names a node on it), NOMEM. */
tb_rc tb_graph_order(tb_node_id **out, size_t *n_out, const tb_graph *graph,
                     tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Metadata by key, or NULL. */
const char *tb_graph_meta(const tb_graph *graph, const char *key)
    TB_NONNULL(1, 2);

/* --- building and editing ------------------------------------------------- */
/* Each copies what it is given; a failed call leaves the graph unchanged.
 * Errors: EXISTS (the name is taken), NOMEM, LIMIT, BUG (a bad id). */

/* A TEMP value. name NULL makes a fresh one from hint: "hint_1", ... */
tb_rc tb_graph_add_temp(tb_graph *graph, tb_value_id *out, const char *name,
                        const char *hint, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* An input of the graph, behind those it has. */
tb_rc tb_graph_add_input(tb_graph *graph, tb_value_id *out, const char *name,
                         tb_dtype dtype, const tb_dims *dims, tb_err *err)
    TB_NONNULL(1, 2, 3, 5) TB_MUST_CHECK;

/* An initialiser: role PARAM, BUFFER or CONST; data is copied. A name that is
 * taken is an error: tb_graph_fresh_name makes one that is not. */
tb_rc tb_graph_add_data(tb_graph *graph, tb_value_id *out, const char *name,
                        tb_role role, const tb_tensor *data, tb_err *err)
    TB_NONNULL(1, 2, 3, 5) TB_MUST_CHECK;

/* The same with data that is taken: *data_take is empty then, on TB_OK. */
tb_rc tb_graph_take_data(tb_graph *graph, tb_value_id *out, const char *name,
                         tb_role role, tb_tensor *data_take, tb_err *err)
    TB_NONNULL(1, 2, 3, 5) TB_MUST_CHECK;

/* Other data (any shape and dtype) for an initialiser; it keeps its place in
 * the order of initialisers. */
tb_rc tb_graph_set_data(tb_graph *graph, tb_value_id id, const tb_tensor *data,
                        tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

/* An input of the graph gets its value for good: it becomes a CONST initialiser
 * and is asked for no more. Errors: BUG (no input of the graph), MISMATCH
 * (another dtype), NOMEM. */
tb_rc tb_graph_fix_input(tb_graph *graph, tb_value_id id, const tb_tensor *data,
                         tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

/* hint if it is free, else "hint_1", "hint_2", ... in a buffer of its own for
 * tb_mem_free; NULL when out of memory. */
char *tb_graph_fresh_name(const tb_graph *graph, const char *hint)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* A node between existing values. */
tb_rc tb_graph_add_node(tb_graph *graph, tb_node_id *out,
                        const tb_node_spec *spec, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* The common case: a node with one output, which is made fresh from the
 * operator's name unless spec->out names a value; *out is that value. */
tb_rc tb_graph_apply(tb_graph *graph, tb_value_id *out,
                     const tb_node_spec *spec, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Output i of a node, as a fresh TEMP value when it has none there yet. The
 * node moves in memory; its id stays. */
tb_rc tb_graph_want_output(tb_graph *graph, tb_value_id *out, tb_node_id node,
                           size_t i, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Removes a node; its outputs become TEMP values without a producer. */
void tb_graph_remove_node(tb_graph *graph, tb_node_id id) TB_NONNULL(1);

/* Input `at` of a node reads another value from now on. */
void tb_graph_set_input(tb_graph *graph, tb_node_id node, size_t at,
                        tb_value_id value) TB_NONNULL(1);

/* Every node input that reads `from` reads `to`, but node `except` (or
 * TB_ID_NONE) stays. Outputs of the graph stay: see tb_graph_set_output. */
void tb_graph_replace_uses(tb_graph *graph, tb_value_id from, tb_value_id to,
                           tb_node_id except) TB_NONNULL(1);

/* Adds an output of the graph; or lets output `at` be another value. */
tb_rc tb_graph_add_output(tb_graph *graph, tb_value_id id, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
void tb_graph_set_output(tb_graph *graph, size_t at, tb_value_id id)
    TB_NONNULL(1);

/* Removes a value that nothing reads or makes any more. */
void tb_graph_remove_value(tb_graph *graph, tb_value_id id) TB_NONNULL(1);

/* A new name for a value. Errors: EXISTS, NOMEM. */
tb_rc tb_graph_rename(tb_graph *graph, tb_value_id id, const char *name,
                      tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Drops every node that no output needs, then every value that nothing reads
 * or makes; inputs of the graph stay. Errors: NOMEM, MALFORMED (a cycle). */
tb_rc tb_graph_sweep(tb_graph *graph, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Sets or replaces a metadata entry; value NULL drops it. */
tb_rc tb_graph_set_meta(tb_graph *graph, const char *key, const char *value,
                        tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
