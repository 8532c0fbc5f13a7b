/* core/model/onnx.h - ONNX files to graphs and back. The schema's generated
 * code stays inside the two .c files. Reading trusts nothing: every size meets
 * the limits below before it sizes memory. Writing is deterministic: no date,
 * no version of ours; initialisers in id order, nodes in running order. */
#ifndef TB_MODEL_ONNX_H
#define TB_MODEL_ONNX_H

#include "model/graph.h"

#define TB_ONNX_OPSET_MIN 1  /* each operator says from which on we know it */
#define TB_ONNX_OPSET_MAX 23 /* newer: operators may have changed */
#define TB_ONNX_IR_MIN    3
#define TB_ONNX_IR_MAX    13

typedef struct tb_onnx_limits {
    size_t bytes;        /* the whole file */
    size_t nodes;        /* of the graph */
    size_t values;       /* initialisers + inputs + outputs + node outputs */
    size_t tensor_bytes; /* one initialiser or tensor attribute */
    size_t total_bytes;  /* all of them */
    size_t name_bytes;   /* one name or string */
    size_t list;  /* one repeated field: inputs, attributes, ints, dims */
    size_t depth; /* nesting of messages in the file */
} tb_onnx_limits;

/* For bytes from anywhere; for files that the user has named, whose data are
 * really there: a model may be larger. */
extern const tb_onnx_limits tb_onnx_limits_default;
extern const tb_onnx_limits tb_onnx_limits_local;

/* Reads a model. limits NULL: the default. Every node's operator is known,
 * its arity and attributes are right, names are unique, there is no cycle;
 * Constant nodes became CONST values; roles are as tb_params_assign(NULL) gives
 * them. Shapes are checked by tb_bind_new. Errors: MALFORMED, LIMIT,
 * UNSUPPORTED (an operator, element type, control flow: named with node and
 * opset; data in another file), NOMEM. */
tb_rc tb_onnx_read(tb_graph **out, const uint8_t *bytes, size_t len,
                   const tb_onnx_limits *limits, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* How large tensors in files are taken. */
typedef enum tb_onnx_values {
    TB_ONNX_VALUES_READ,   /* into memory */
    TB_ONNX_VALUES_MAPPED, /* left in their file where they lie well: for files
                            * that nobody else can cut, as long as the graph */
    TB_ONNX_VALUES_NONE    /* zeros instead: the graph without its values */
} tb_onnx_values;

/* A model whose files are open: its ONNX, of any size, and those that it names.
 * All borrowed. */
typedef struct tb_onnx_files {
    int fd;
    size_t n_beside;
    const char *const *names; /* [n_beside] as the model spells them */
    const int *fds;           /* [n_beside] */
} tb_onnx_files;

/* Reads such a model; limits are the local ones. Errors: as below. */
tb_rc tb_onnx_read_files(tb_graph **out, const tb_onnx_files *files,
                         tb_onnx_values values, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads a model file, and tensor data from the files beside it that it names.
 * limits NULL: the local ones. bytes may be NULL, else the model file's bytes
 * are appended. Errors: as above, as tb_file_read; MALFORMED also for a name
 * that leads out of the folder, a link, or a range outside its file. */
tb_rc tb_onnx_read_file(tb_graph **out, const char *path,
                        const tb_onnx_limits *limits, tb_buf *bytes,
                        tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The same without the values of large tensors, which are zeros then: to look
 * at a model of any size. And the names of the files beside it, as the model
 * spells them; a code other than TB_OK of each ends it. */
typedef tb_rc tb_onnx_beside_fn(void *arg, const char *name, tb_err *err);
tb_rc tb_onnx_read_beside(tb_graph **out, const char *path,
                          tb_onnx_beside_fn *each, void *arg, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Appends the model's bytes to out. The same graph gives the same bytes, and
 * read then write gives them again. The opset is the lowest from 17 on in which
 * every operator means what it means in the graph, else the graph's own; the IR
 * version is 8, or the first that knows that opset. Errors: UNSUPPORTED (a node
 * of TB_DOMAIN_GRAD), LIMIT (out->max), NOMEM. */
tb_rc tb_onnx_write(tb_buf *out, const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The same bytes into a file that is open, from where it stands: of any size,
 * in little memory beside the graph. Errors: UNSUPPORTED, FULL, IO, NOMEM. */
tb_rc tb_onnx_write_fd(int fd, const tb_graph *graph, tb_err *err)
    TB_NONNULL(2) TB_MUST_CHECK;

/* Tells for each initialiser of a model's file where its bytes lie in it (bytes
 * 0: they do not lie there as they are). A code other than TB_OK of each ends
 * it. Errors: MALFORMED, LIMIT, IO, NOMEM. */
typedef tb_rc tb_onnx_locate_fn(void *arg, const char *name, uint64_t offset,
                                uint64_t bytes, tb_err *err);
tb_rc tb_onnx_locate(int fd, tb_onnx_locate_fn *each, void *arg, tb_err *err)
    TB_NONNULL(2) TB_MUST_CHECK;

/* Writes a model file, atomically. When its initialisers pass inline_max bytes
 * (at most TB_ONNX_INLINE_MAX) the larger ones go into "<path>.data", which is
 * written first; a model file ends at 2 GB, as protobuf does. bytes may be
 * NULL, else the model file's bytes are appended. Errors: as tb_onnx_write and
 * tb_file_write. */
#define TB_ONNX_INLINE_MAX ((size_t)0x7c000000)
tb_rc tb_onnx_write_file(const char *path, const tb_graph *graph,
                         size_t inline_max, tb_buf *bytes, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
