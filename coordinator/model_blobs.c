#include "model_blobs.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "host/folder.h"

/* --- the user's files ----------------------------------------------------- */

/* A file that the model names. */
static tb_rc add_file(void *arg, const char *name, tb_err *err)
{
    tb_model_blobs *m = arg;
    if (m->n_files == TB_FILES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "tensor data in more than %u files",
                       TB_FILES_MAX);
    }
    if (!tb_name_set(&m->files[m->n_files].name, name)) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "tensor data in \"%.64s\": to go with its model a file "
                       "has a name of letters, digits, . _ - beside it",
                       name);
    }
    m->n_files++;
    return TB_OK;
}

tb_rc tb_model_blobs_look(tb_model_blobs *out, tb_graph **graph,
                          const char *path, tb_err *err)
{
    *out = (tb_model_blobs){0};
    return tb_onnx_read_beside(graph, path, add_file, out, err);
}

static void set_file(tb_model_file *file, const tb_blob_ref *ref)
{
    file->raw = ref->raw;
    file->raw_bytes = ref->raw_bytes;
    file->stored = ref->stored;
    file->stored_bytes = ref->stored_bytes;
}

static tb_blob_ref ref_of(const tb_model_file *file)
{
    return (tb_blob_ref){file->raw, file->raw_bytes, file->stored,
                         file->stored_bytes};
}

/* In little memory. */
static tb_rc put_files(tb_model_blobs *model, const char *path, tb_blobs *blobs,
                       tb_err *err)
{
    tb_blob_ref ref;
    tb_rc rc = TB_OK;
    for (uint32_t i = 0; i < model->n_files && rc == TB_OK; i++) {
        const char *name = model->files[i].name.text;
        char *file = tb_file_beside(path, name);
        rc = file != NULL
                 ? tb_blobs_put_file(blobs, file, TB_BLOB_LEVEL_FAST, &ref, err)
                 : tb_fail(err, TB_E_NOMEM, "%s", name);
        if (rc == TB_OK) {
            set_file(&model->files[i], &ref);
        }
        tb_mem_free(file);
    }
    return rc == TB_OK ? tb_blobs_put_file(blobs, path, TB_BLOB_LEVEL_FAST,
                                           &model->onnx, err)
                       : rc;
}

tb_rc tb_model_blobs_put(tb_model_blobs *model, tb_blobs **hold,
                         const char *dir, const char *path, tb_err *err)
{
    tb_folder *folder = NULL;
    *hold = NULL;
    tb_rc rc = tb_folder_open(&folder, dir, TB_FOLDER_COORDINATOR,
                              TB_FOLDER_READ, err);
    if (rc == TB_OK) {
        rc = tb_blobs_open(hold, tb_folder_path(folder, TB_ITEM_BLOBS), err);
    }
    tb_folder_close(&folder);
    if (rc == TB_OK) {
        rc = tb_blobs_hold(*hold, err);
    }
    if (rc == TB_OK) {
        rc = put_files(model, path, *hold, err);
    }
    if (rc != TB_OK) {
        tb_blobs_close(hold);
    }
    return rc;
}

tb_rc tb_model_blobs_of(tb_model_blobs *out, const tb_manifest *manifest,
                        tb_err *err)
{
    const tb_artefact *a = tb_manifest_artefact(manifest, TB_ARTEFACT_FP32);
    *out = (tb_model_blobs){0};
    if (a == NULL) {
        return tb_fail(
            err, TB_E_UNSUPPORTED,
            "version %llu of %s has no fp32 form, and the others are "
            "not trained on: start from another version",
            (unsigned long long)manifest->sequence, manifest->name.text);
    }
    out->onnx = (tb_blob_ref){a->raw, a->raw_bytes, a->stored, a->stored_bytes};
    out->n_files = manifest->n_files;
    memcpy(out->files, manifest->files, sizeof out->files);
    return TB_OK;
}

/* --- the list ------------------------------------------------------------- */

static tb_rc put_entry(tb_buf *out, const tb_hash *raw, const char *name,
                       tb_err *err)
{
    uint8_t entry[TB_MODEL_ENTRY_BYTES] = {0};
    memcpy(entry, raw->bytes, TB_HASH_BYTES);
    (void)snprintf((char *)entry + TB_HASH_BYTES, TB_NAME_BYTES, "%s", name);
    return tb_buf_put(out, entry, sizeof entry, err);
}

tb_rc tb_model_blobs_list(const tb_model_blobs *model, tb_buf *out, tb_err *err)
{
    tb_rc rc = put_entry(out, &model->onnx.raw, "", err);
    for (uint32_t i = 0; i < model->n_files && rc == TB_OK; i++) {
        const tb_model_file *f = &model->files[i];
        rc = put_entry(out, &f->raw, f->name.text, err);
    }
    return rc;
}

/* An entry of a file beside the ONNX, or of that itself (name NULL). */
static tb_rc find_entry(tb_blob_ref *out, tb_name *name, const uint8_t *entry,
                        tb_blobs *blobs, tb_err *err)
{
    char text[TB_NAME_BYTES];
    tb_hash raw;
    memcpy(raw.bytes, entry, TB_HASH_BYTES);
    memcpy(text, entry + TB_HASH_BYTES, sizeof text);
    if (text[sizeof text - 1] != '\0' ||
        (name != NULL && !tb_name_set(name, text))) {
        return tb_fail(err, TB_E_MALFORMED, "a name that is none");
    }
    return tb_blobs_find(blobs, &raw, out, err);
}

tb_rc tb_model_blobs_read(tb_model_blobs *out, const tb_buf *list,
                          tb_blobs *blobs, tb_err *err)
{
    size_t n = list->len / TB_MODEL_ENTRY_BYTES;
    *out = (tb_model_blobs){0};
    if (n < 1 || n > TB_FILES_MAX + 1 || list->len % TB_MODEL_ENTRY_BYTES) {
        return tb_fail(err, TB_E_MALFORMED,
                       "no list of a model's files came: is the command older "
                       "than the daemon?");
    }
    tb_rc rc = find_entry(&out->onnx, NULL, list->data, blobs, err);
    for (size_t i = 1; i < n && rc == TB_OK; i++) {
        tb_blob_ref ref;
        tb_model_file *file = &out->files[i - 1];
        rc = find_entry(&ref, &file->name,
                        list->data + i * TB_MODEL_ENTRY_BYTES, blobs, err);
        if (rc == TB_OK) {
            set_file(file, &ref);
            out->n_files++;
        }
    }
    return rc == TB_OK
               ? rc
               : tb_err_prefix(err, rc, "a file of the model: start it again");
}

/* --- the graph ------------------------------------------------------------ */

tb_rc tb_model_blobs_graph(tb_graph **out, const tb_model_blobs *model,
                           tb_blobs *blobs, tb_err *err)
{
    tb_blob_edit *edits[TB_FILES_MAX + 1] = {0};
    const char *names[TB_FILES_MAX];
    int fds[TB_FILES_MAX];
    uint32_t n = model->n_files;
    *out = NULL;
    tb_rc rc = tb_blobs_edit(&edits[n], blobs, &model->onnx, err);
    for (uint32_t i = 0; i < n && rc == TB_OK; i++) {
        const tb_blob_ref ref = ref_of(&model->files[i]);
        rc = tb_blobs_edit(&edits[i], blobs, &ref, err);
        if (rc == TB_OK) {
            names[i] = model->files[i].name.text;
            fds[i] = tb_blob_edit_fd(edits[i]);
        }
    }
    if (rc == TB_OK) { /* what is mapped stays when its file is closed */
        const tb_onnx_files files = {tb_blob_edit_fd(edits[n]), n, names, fds};
        rc = tb_onnx_read_files(out, &files, TB_ONNX_VALUES_MAPPED, err);
    }
    for (uint32_t i = 0; i <= n; i++) {
        tb_blob_edit_free(&edits[i]);
    }
    return rc;
}
