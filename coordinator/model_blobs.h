/* coordinator/model_blobs.h - a model of the user's on its way to the daemon:
 * the verb puts its files into the folder's blobs in pieces, and names them.
 * The list that travels has an entry a file: the hash of its raw bytes 32, its
 * name 64 padded with zeros. The first is the ONNX, whose name is empty. */
#ifndef TB_COORDINATOR_MODEL_BLOBS_H
#define TB_COORDINATOR_MODEL_BLOBS_H

#include "host/blob.h"
#include "model/graph.h"
#include "model/onnx.h"
#include "wire/manifest.h"

#define TB_MODEL_ENTRY_BYTES    (TB_HASH_BYTES + TB_NAME_BYTES)
#define TB_MODEL_LIST_BYTES_MAX ((TB_FILES_MAX + 1) * TB_MODEL_ENTRY_BYTES)

typedef struct tb_model_blobs {
    tb_blob_ref onnx;
    uint32_t n_files;
    tb_model_file files[TB_FILES_MAX]; /* that the ONNX names */
} tb_model_blobs;

/* Looks at the model at path: its graph, whose large tensors are zeros, for the
 * caller to free, and the names of its files; no blob yet. Errors: as
 * tb_onnx_read_beside; LIMIT, UNSUPPORTED (files that cannot go with it). */
tb_rc tb_model_blobs_look(tb_model_blobs *out, tb_graph **graph,
                          const char *path, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Puts its files into the blobs of the coordinator's folder dir, and fills in
 * what they are. Nobody names them yet: until the caller closes *hold no sweep
 * takes them. Errors: as tb_folder_open, tb_blobs_hold, tb_blobs_put_file;
 * *hold is NULL then. */
tb_rc tb_model_blobs_put(tb_model_blobs *model, tb_blobs **hold,
                         const char *dir, const char *path, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* The fp32 form of a version. Errors: UNSUPPORTED (it has none). */
tb_rc tb_model_blobs_of(tb_model_blobs *out, const tb_manifest *manifest,
                        tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The list, and what it names in these blobs. Errors: LIMIT, NOMEM; MALFORMED,
 * NOT_FOUND. */
tb_rc tb_model_blobs_list(const tb_model_blobs *model, tb_buf *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_model_blobs_read(tb_model_blobs *out, const tb_buf *list,
                          tb_blobs *blobs, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Reads the graph of what lies in the blobs, with its values left in files of
 * no name. The caller frees *out. Errors: as tb_blobs_edit, tb_onnx_read. */
tb_rc tb_model_blobs_graph(tb_graph **out, const tb_model_blobs *model,
                           tb_blobs *blobs, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

#endif
