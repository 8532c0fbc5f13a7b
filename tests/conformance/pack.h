/* tests/conformance/pack.h - node tests of the onnx package in one file, as
 * tests/golden/onnx/nodes.py writes it (the format is told there). */
#ifndef TB_TESTS_CONFORMANCE_PACK_H
#define TB_TESTS_CONFORMANCE_PACK_H

#include "base/buf.h"
#include "tensor/tensor.h"

typedef struct pack_case {
    char name[128];
    double rtol;
    double atol;
    const uint8_t *model; /* borrowed from the pack */
    size_t n_model;
    size_t n_in;
    size_t n_out;
    /* [n_in] then [n_out]: data borrowed from the pack, perhaps unaligned;
     * dtype NONE: no plain tensor. */
    tb_tensor *ends;
} pack_case;

typedef struct pack {
    tb_buf bytes;
    pack_case *cases; /* [n] */
    size_t n;
} pack;

/* Reads a file. Errors: as tb_source_open, MALFORMED, NOMEM. */
tb_rc pack_open(pack *out, const char *path, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void pack_close(pack *p) TB_NONNULL(1);

#endif
