/* core/model/onnx_tensor.h - tensors and attributes between ONNX's messages and
 * ours, for the ONNX reader and writer. Hosts are little-endian, as ONNX's raw
 * data is. */
#ifndef TB_MODEL_ONNX_TENSOR_H
#define TB_MODEL_ONNX_TENSOR_H

#include "model/onnx_external.h"

/* Of the generated code, which this header does not need. */
struct Onnx__AttributeProto;
struct Onnx__NodeProto;

/* What bounds a model, and the folder it may take tensor data from. */
typedef struct tb_onnx_source {
    const tb_onnx_limits *limits;
    tb_onnx_folder *folder; /* borrowed; NULL: the model is one file */
    tb_onnx_values values;  /* of tensors in files: how they are taken */
} tb_onnx_source;

/* tb_onnx_read from a source. Errors: as there, and of the folder's files. */
tb_rc tb_onnx_read_source(tb_graph **out, const uint8_t *bytes, size_t len,
                          const tb_onnx_source *source, tb_err *err)
    TB_NONNULL(1, 4) TB_MUST_CHECK;

/* text, or "" for NULL. */
const char *tb_onnx_text(const char *text);

/* Whether a domain's name is that of the standard operators. */
bool tb_onnx_default_domain(const char *domain);

/* A file's number as an element type; NONE when there is no such type. */
tb_dtype tb_onnx_dtype(int32_t number);

/* Copies a tensor; the data must be there, whole and of the declared size.
 * Errors: MALFORMED, LIMIT (over tensor_bytes), UNSUPPORTED (element type,
 * segments), as tb_onnx_external_find, NOMEM. Release *out. */
tb_rc tb_onnx_tensor_read(tb_tensor *out, const struct Onnx__TensorProto *from,
                          const tb_onnx_source *source, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The value of a Constant node's attribute. Errors: as above. */
tb_rc tb_onnx_constant_read(tb_tensor *out,
                            const struct Onnx__AttributeProto *from,
                            const tb_onnx_source *source, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The attributes of a node [n_attribute], for tb_onnx_attrs_free; they borrow
 * from node. Errors: MALFORMED, LIMIT, UNSUPPORTED (graphs, types), NOMEM. */
tb_rc tb_onnx_attrs_read(tb_attr **out, const struct Onnx__NodeProto *node,
                         const tb_onnx_source *source, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
void tb_onnx_attrs_free(tb_attr *attrs, size_t n);

#endif
