/* core/model/onnx_external.h - tensor data that lie in files beside the model
 * (TensorProto.external_data). Only regular files below the model's own folder
 * are opened, by relative names without "..", and no link is followed; a range
 * must lie in its file and be as long as the tensor. One owner at a time. */
#ifndef TB_MODEL_ONNX_EXTERNAL_H
#define TB_MODEL_ONNX_EXTERNAL_H

#include "base/file.h"
#include "model/onnx.h"

#define TB_ONNX_EXTERNAL_FILES 4096
#define TB_ONNX_EXTERNAL_ALIGN 64   /* of each tensor in a file that we write */
#define TB_ONNX_EXTERNAL_MIN   1024 /* smaller ones stay in the model */
#define TB_ONNX_EXTERNAL_LARGE 65536 /* bytes: not read where it need not be */
#define TB_ONNX_EXTERNAL_SELF  "/"   /* as a name: the model's own file */

struct Onnx__TensorProto; /* of the generated code */

/* One file that tensors were read from. */
typedef struct tb_onnx_data_file {
    char *location; /* owned, as the model spells it */
    size_t bytes;   /* of the file */
    size_t taken;   /* of them, by tensors so far */
    bool given;     /* it is open already */
    int fd;         /* then */
} tb_onnx_data_file;

/* The folder that a model's tensors may come from. */
typedef struct tb_onnx_folder {
    int fd;                   /* -1: only files that were given */
    tb_onnx_data_file *files; /* owned */
    size_t n_files;
    size_t open; /* which of files is open as open_fd; n_files: none */
    int open_fd;
} tb_onnx_folder;

/* Opens the folder in which the model file at path lies. Errors: NOT_FOUND, IO,
 * NOMEM. Close it in any case. */
tb_rc tb_onnx_folder_open(tb_onnx_folder *folder, const char *path, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_onnx_folder_close(tb_onnx_folder *folder) TB_NONNULL(1);

/* Lets a name stand for a file that is open already: fd is borrowed. Errors:
 * as tb_onnx_external_find of a name; LIMIT (files), IO, NOMEM. */
tb_rc tb_onnx_folder_give(tb_onnx_folder *folder, const char *location, int fd,
                          tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether a tensor's data lie in another file. */
bool tb_onnx_is_external(const struct Onnx__TensorProto *tensor) TB_NONNULL(1);

/* Where they lie. */
typedef struct tb_onnx_range {
    size_t file; /* index in folder->files */
    size_t offset;
} tb_onnx_range;

/* Finds the data of a tensor of that many bytes, and opens their file, before
 * memory is taken. The tensors of one file together may not take more bytes
 * than it has. Errors: UNSUPPORTED (folder NULL: there is none), MALFORMED (a
 * name that leads elsewhere, a range outside the file, a length that is not
 * the tensor's), NOT_FOUND, LIMIT (files), IO, NOMEM. */
tb_rc tb_onnx_external_find(tb_onnx_range *out, tb_onnx_folder *folder,
                            const struct Onnx__TensorProto *tensor,
                            size_t bytes, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Reads what was just found. Errors: IO, MALFORMED (the file got shorter). */
tb_rc tb_onnx_external_read(void *to, tb_onnx_folder *folder,
                            const tb_onnx_range *range, size_t bytes,
                            tb_err *err) TB_NONNULL(2, 3) TB_MUST_CHECK;

/* A model's message out of the file fd, but for the bytes of its initialisers
 * of min bytes and more: those are external data of the file itself then, under
 * the name TB_ONNX_EXTERNAL_SELF. So neither memory nor protobuf's 2 GB bound
 * what a file may hold. Appends to out. Errors: MALFORMED, LIMIT (out->max),
 * IO, NOMEM. */
tb_rc tb_onnx_lift(tb_buf *out, int fd, size_t min, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* The file that a writer puts tensors into, one behind the other. */
typedef struct tb_onnx_layout {
    const char *location; /* borrowed */
    tb_file_part *parts;  /* [n_parts] what to write, borrowed from the graph;
                           * room for two an initialiser */
    size_t n_parts;
    size_t bytes; /* of all parts */
} tb_onnx_layout;

/* tb_onnx_write, with initialisers of TB_ONNX_EXTERNAL_MIN bytes and more in
 * the layout's file (layout NULL: none). Errors: as there. */
tb_rc tb_onnx_write_layout(tb_buf *out, const tb_graph *graph,
                           tb_onnx_layout *layout, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
