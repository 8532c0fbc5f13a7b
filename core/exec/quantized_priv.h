/* core/exec/quantized_priv.h - what finds quantised layers (quantized_match.c)
 * and what rewrites them (quantized.c) agree on; for these two only. */
#ifndef TB_EXEC_QUANTIZED_PRIV_H
#define TB_EXEC_QUANTIZED_PRIV_H

#include "model/graph.h"

#define TB_QUANT_STEPS_MAX 8

/* Who reads what: readers of value v are node[first[v]] up to first[v + 1]. */
typedef struct tb_readers {
    size_t *first;    /* owned [n_values + 1] */
    tb_node_id *node; /* owned */
} tb_readers;

/* Errors: NOMEM. */
tb_rc tb_readers_init(tb_readers *out, const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_readers_release(tb_readers *readers) TB_NONNULL(1);

/* One scale and zero point for a whole tensor: x = (q - zero) * scale. */
typedef struct tb_quant {
    double scale;
    int32_t zero;
    tb_dtype type; /* U8, I8 */
} tb_quant;

/* A linear layer on constants: all that can forbid to fuse it was looked at. */
typedef struct tb_quant_layer {
    tb_node_id node;
    bool conv;
    bool linear;      /* a QLinear operator: it makes bytes by y_quant */
    tb_quant y_quant; /* if linear */
    tb_value_id x;    /* bytes, before DequantizeLinear */
    tb_quant x_quant;
    const tb_tensor *w;          /* U8 around 128, or I8 around 0 */
    const tb_tensor *w_scale;    /* one, or one an output */
    const tb_tensor *bias;       /* int32 or float32 [n]; NULL: none */
    const tb_tensor *bias_scale; /* of int32; NULL: that of the sums */
    size_t groups;
    size_t n;      /* outputs */
    size_t k;      /* terms of a sum */
    size_t n_step; /* elements of w from output to output */
    size_t k_step; /* the same from term to term of a matrix */
} tb_quant_layer;

/* What follows a layer up to the next bytes. */
typedef struct tb_quant_tail {
    tb_node_id step[TB_QUANT_STEPS_MAX]; /* MaxPool, Flatten, Reshape, ... */
    size_t n_steps;
    double low; /* bounds of Relu and Clip */
    double high;
    bool quantised; /* the end is bytes by y_quant, else float32 */
    tb_quant y_quant;
    tb_node_id last; /* makes the end */
} tb_quant_tail;

/* Whether node is a layer to fuse. */
bool tb_quant_match(tb_quant_layer *out, const tb_graph *graph, tb_node_id node)
    TB_NONNULL(1, 2);

/* What follows it; may find the bias of a MatMul. */
void tb_quant_follow(tb_quant_tail *out, tb_quant_layer *layer,
                     const tb_graph *graph, const tb_readers *readers)
    TB_NONNULL(1, 2, 3, 4);

/* Whether node is the operator `op` of ONNX. */
bool tb_quant_is(const tb_node *node, const char *op) TB_NONNULL(2);

/* Real value of the bias of output j in steps of x's and w's scales. */
double tb_quant_bias(const tb_quant_layer *layer, size_t j) TB_NONNULL(1);

/* x's scale times that of output j. */
double tb_quant_scale(const tb_quant_layer *layer, size_t j) TB_NONNULL(1);

#endif
