/* core/compress/pass_priv.h - the members of the table of passes, and what
 * the two that quantise share. */
#ifndef TB_COMPRESS_PASS_PRIV_H
#define TB_COMPRESS_PASS_PRIV_H

#include "compress/pass.h"

extern const tb_pass tb_pass_unstructured;
extern const tb_pass tb_pass_structured;
extern const tb_pass tb_pass_int8;
extern const tb_pass tb_pass_pow2;

/* Whole numbers that stand for floats: data * scale. */
typedef struct tb_packed {
    const char *name; /* of the float initialiser: names are made from it */
    tb_tensor data;   /* int8, int32: borrowed */
    tb_tensor scale;  /* float32: one, or one a slice of axis; borrowed */
    size_t axis;
    bool with_zero; /* write a zero point of zeros: runtimes want one to fuse */
} tb_packed;

/* Adds the initialisers and a DequantizeLinear; *out is its float output. */
tb_rc tb_pass_unpack(tb_graph *graph, tb_value_id *out, const tb_packed *packed,
                     tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* An initialiser CONST named NAME_SUFFIX, or with a number behind. */
tb_rc tb_pass_add_data(tb_graph *graph, tb_value_id *out, const char *name,
                       const char *suffix, const tb_tensor *data, tb_err *err)
    TB_NONNULL(1, 2, 3, 4, 5) TB_MUST_CHECK;

#endif
