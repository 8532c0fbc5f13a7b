/* core/model/op.h - the operator table. One struct describes an operator: what
 * it accepts, what its outputs look like, how it runs and how its gradient is
 * built. One file per family under ops/, one list in ops/list.def. Everything
 * that can fail fails in infer; run cannot. Knows nothing of memory plans,
 * losses or files. */
#ifndef TB_MODEL_OP_H
#define TB_MODEL_OP_H

#include "model/graph.h"

#define TB_OP_STATE_BYTES 512
#define TB_OPSET_ANY      99 /* "until" of an operator that still stands */

typedef struct tb_op tb_op;

/* What a random operator (Dropout in training) draws from: a mask is a pure
 * function of (key, step, salt of the node, element), so it is recomputed in
 * the backward pass and never stored. The executor's owner moves step. */
typedef struct tb_chance {
    uint64_t key;
    uint64_t step;
} tb_chance;

/* What a run found wrong with data that only it sees, such as an index out of
 * range. The first fault stands until whoever runs the calls has read it. */
typedef struct tb_data_fault {
    const struct tb_call *call; /* NULL: none */
    int64_t value;
    size_t limit; /* values in [-limit, limit) would have done */
} tb_data_fault;

/* What infer parsed, ready for run: attributes, extents, strides. */
typedef struct tb_op_state {
    _Alignas(16) unsigned char bytes[TB_OP_STATE_BYTES];
} tb_op_state;

/* One node with concrete shapes: made by tb_bind_new (bind.h), given memory by
 * an executor, then run any number of times. */
typedef struct tb_call {
    const tb_op *op;
    const tb_graph *graph; /* borrowed; for infer only */
    const tb_node *node;   /* borrowed; for infer only */
    bool training;         /* set before infer */
    size_t n_in;
    size_t n_out;
    /* [n_in]; dtype NONE where omitted. In infer, data is set only where the
     * value is constant. */
    tb_tensor *in;
    /* [n_out]; infer sets dtype and shape of each. In run, data NULL: nobody
     * wants this output (never out[0], but for tb_op.any_output). */
    tb_tensor *out;
    /* Set by infer: out[0] has the very bytes of in[view_of], so that run may
     * be skipped when they lie on the same memory; -1: it has not. run copies
     * when the two pointers differ. */
    int view_of;
    size_t work_bytes;       /* set by infer: scratch memory that run needs */
    void *work;              /* work_bytes of any content on a 64-byte border;
                              * never NULL in run */
    const tb_chance *chance; /* for run in training; else may be NULL */
    tb_data_fault *fault;    /* see tb_op_fault; may be NULL */
    tb_op_state state;
} tb_call;

/* For run: reports a value that the data should not have had; run then goes on
 * with one that is safe. */
static inline void tb_op_fault(const tb_call *call, int64_t value, size_t limit)
{
    if (call->fault != NULL && call->fault->call == NULL) {
        *call->fault = (tb_data_fault){call, value, limit};
    }
}

/* In training, output `out` is the next value of the initialiser at input
 * `in`: running statistics. run may find both on the same memory, and reads
 * each element before it writes it. */
typedef struct tb_op_carry {
    uint8_t in;
    uint8_t out;
} tb_op_carry;

/* One attribute an operator understands. */
typedef struct tb_attr_decl {
    const char *name;
    tb_attr_kind kind;
    bool required;
} tb_attr_decl;

/* What a backward function works on. Emission errors are sticky: after the
 * first, every further tb_grad_* returns TB_ID_NONE and rc keeps the code, so
 * that backward functions read like their formulas. */
typedef struct tb_grad {
    tb_graph *graph;
    const tb_node *node;   /* moves when tb_grad_output adds an output */
    const tb_value_id *dy; /* [n_out]; TB_ID_NONE: no gradient arrives there */
    const bool *wants;     /* [n_in]; which inputs need a gradient */
    tb_value_id *dx;       /* [n_in]; backward sets those wanted; the rest stays
                            * TB_ID_NONE. A wanted one left TB_ID_NONE: this
                            * operator has no gradient there */
    tb_rc rc;
    tb_err *err;
} tb_grad;

struct tb_op {
    const char *domain;
    const char *name;
    int since; /* first and last opset with this meaning, inclusive */
    int until;
    uint8_t in_min;
    uint8_t in_max;
    uint8_t out_min;
    uint8_t out_max;
    bool any_output; /* a node may leave out[0] out, if it has another */
    const tb_attr_decl *attrs;
    size_t n_attrs;
    /* Bit i: a float initialiser at input i is a parameter. */
    uint32_t trains;
    /* Bit i: out[0] may lie on in[i], if that has as many bytes and dies here:
     * run reads each element of in[i] before it writes that element. */
    uint32_t in_place;
    /* Bit i: run never reads in[i], only its shape counts: its memory need not
     * live until here. */
    uint32_t shape_only;
    /* Element types of input typed_by (docs/operators.md lists them); 0: infer
     * looks itself. Other inputs are infer's to check. */
    uint32_t types;
    uint8_t typed_by;
    /* Private outputs behind out_max that backward may ask for with
     * tb_grad_output (gates, an argmax, means): run makes them where data is
     * given. No file has them. */
    uint8_t n_saved;
    /* Initialisers that training moves without a gradient: role BUFFER. */
    uint8_t n_carry;
    tb_op_carry carry[2];
    /* Outputs jump or rest (indexes, comparisons): a gradient ends here, and
     * nobody misses it. */
    bool stops_gradient;
    /* In training a row's result depends on the rows beside it. */
    bool couples_rows;
    /* run reads chance when training. */
    bool random;
    /* Arithmetic operations of a run, for people and for bounds: by flops where
     * it is given, from a call that was inferred, else flops_each an element of
     * out[0]; both 0: it only moves data. */
    uint8_t flops_each;
    double (*flops)(const tb_call *call);

    /* Checks dtypes and shapes of in, parses attributes into state, sets out,
     * view_of and work_bytes. Errors: MISMATCH, UNSUPPORTED, MALFORMED; the
     * caller adds operator and node name. */
    tb_rc (*infer)(tb_call *call, tb_err *err);

    /* The forward kernel: in -> out. Cannot fail, allocates nothing, one
     * thread, same bits every time. */
    void (*run)(const tb_call *call);

    /* Emits nodes for dL/d in from dL/d out. NULL: no gradient passes. */
    void (*backward)(tb_grad *g);

    /* Of an operator that only stands for other nodes (infer and run are NULL
     * then): replaces the node in a graph that is about to be bound. Errors:
     * MALFORMED, UNSUPPORTED, NOMEM. */
    tb_rc (*expand)(tb_graph *graph, tb_node_id node, tb_err *err);
};

/* The list of all operators, NULL-terminated, made from ops/list.def. */
extern const tb_op *const tb_op_list[];

/* The operator of that name whose opset range holds opset, or NULL. */
const tb_op *tb_op_find(const char *domain, const char *name, int opset)
    TB_NONNULL(1, 2);

/* The operator of a node of graph. UNSUPPORTED names the operator, the node and
 * the opset, and says which opsets would do. */
tb_rc tb_op_of(const tb_op **out, const tb_graph *graph, const tb_node *node,
               tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Whether a node's arity and attributes are what op declares; private outputs
 * count as declared. MALFORMED. */
tb_rc tb_op_check(const tb_op *op, const tb_node *node, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Arithmetic operations of one run of an inferred call. */
double tb_op_flops(const tb_call *call) TB_NONNULL(1);

/* Emits the nodes of op's gradient: fills g->dx. Errors: UNSUPPORTED (no
 * gradient: names operator and node), or what emission met. */
tb_rc tb_op_backward(tb_grad *g, const tb_op *op)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* For backward functions: a node of one output in the graph; domain NULL is
 * TB_DOMAIN_ONNX. Returns its output, TB_ID_NONE after an error. */
tb_value_id tb_grad_emit(tb_grad *g, const tb_node_spec *spec) TB_NONNULL(1, 2);

/* The same for a node of n outputs, of which only those that wants[i] asks for
 * are made; the other out[i] are TB_ID_NONE. */
void tb_grad_emit_many(tb_grad *g, const tb_node_spec *spec, tb_value_id *out,
                       const bool *wants, size_t n) TB_NONNULL(1, 2, 3, 4);

/* Output i of the node that g differentiates, made when the model did not ask
 * for it: one of ONNX's, or a private one (tb_op.n_saved). g->node may move:
 * take pointers into it afterwards. TB_ID_NONE after an error. */
tb_value_id tb_grad_output(tb_grad *g, size_t i) TB_NONNULL(1);

/* The same for an operator without attributes over one or two values. */
tb_value_id tb_grad_unary(tb_grad *g, const char *domain, const char *op,
                          tb_value_id a) TB_NONNULL(1, 2, 3);
tb_value_id tb_grad_binary(tb_grad *g, const char *domain, const char *op,
                           tb_value_id a, tb_value_id b) TB_NONNULL(1, 2, 3);

#endif
