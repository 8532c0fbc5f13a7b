/* core/model/onnx_file.c - models as files: one, or one with tensor data in a
 * second one beside it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/spare.h"
#include "model/onnx_tensor.h"

/* Reads a model whose folder is open. */
static tb_rc read_in(tb_graph **out, const char *path, tb_onnx_source *source,
                     tb_buf *file, tb_err *err)
{
    size_t before = file->len;
    tb_rc rc = tb_file_read(file, path, err);
    if (rc == TB_OK) {
        rc = tb_onnx_read_source(out, file->data + before, file->len - before,
                                 source, err);
        if (rc != TB_OK) {
            file->len = before;
            rc = tb_err_prefix(err, rc, "%s", path);
        }
    }
    return rc;
}

/* Reads a model that is open as fd. */
static tb_rc read_fd(tb_graph **out, int fd, tb_onnx_source *source,
                     tb_err *err)
{
    tb_buf file;
    tb_buf_init(&file, source->limits->bytes);
    tb_rc rc = tb_onnx_lift(&file, fd, TB_ONNX_EXTERNAL_LARGE, err);
    if (rc == TB_OK) {
        rc =
            tb_onnx_folder_give(source->folder, TB_ONNX_EXTERNAL_SELF, fd, err);
    }
    if (rc == TB_OK) {
        rc = tb_onnx_read_source(out, file.data, file.len, source, err);
    }
    tb_buf_release(&file);
    return rc;
}

tb_rc tb_onnx_read_files(tb_graph **out, const tb_onnx_files *files,
                         tb_onnx_values values, tb_err *err)
{
    tb_onnx_folder folder = {.fd = -1, .open_fd = -1};
    tb_onnx_source source = {
        .limits = &tb_onnx_limits_local, .folder = &folder, .values = values};
    tb_rc rc = TB_OK;
    *out = NULL;
    for (size_t i = 0; i < files->n_beside && rc == TB_OK; i++) {
        rc = tb_onnx_folder_give(&folder, files->names[i], files->fds[i], err);
    }
    if (rc == TB_OK) {
        rc = read_fd(out, files->fd, &source, err);
    }
    tb_onnx_folder_close(&folder);
    return rc;
}

tb_rc tb_onnx_read_beside(tb_graph **out, const char *path,
                          tb_onnx_beside_fn *each, void *arg, tb_err *err)
{
    tb_onnx_folder folder;
    tb_onnx_source source = {.limits = &tb_onnx_limits_local,
                             .folder = &folder,
                             .values = TB_ONNX_VALUES_NONE};
    *out = NULL;
    int fd = tb_spare_open(path, O_RDONLY | O_CLOEXEC, 0);
    tb_rc rc = tb_onnx_folder_open(&folder, path, err);
    if (rc == TB_OK && fd < 0) {
        rc = tb_fail_errno(err, errno, "%s", path);
    }
    if (rc == TB_OK) {
        rc = read_fd(out, fd, &source, err);
        rc = rc == TB_OK ? rc : tb_err_prefix(err, rc, "%s", path);
    }
    for (size_t i = 0; i < folder.n_files && rc == TB_OK; i++) {
        if (!folder.files[i].given) {
            rc = each(arg, folder.files[i].location, err);
        }
    }
    if (rc != TB_OK) {
        tb_graph_free(out);
    }
    tb_onnx_folder_close(&folder);
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

tb_rc tb_onnx_read_file(tb_graph **out, const char *path,
                        const tb_onnx_limits *limits, tb_buf *bytes,
                        tb_err *err)
{
    tb_onnx_folder folder;
    tb_onnx_source source = {.limits = limits != NULL ? limits
                                                      : &tb_onnx_limits_local,
                             .folder = &folder};
    tb_buf own;
    tb_buf *file = bytes != NULL ? bytes : &own;
    *out = NULL;
    tb_buf_init(&own, source.limits->bytes);
    tb_rc rc = tb_onnx_folder_open(&folder, path, err);
    if (rc == TB_OK) {
        rc = read_in(out, path, &source, file, err);
    }
    tb_onnx_folder_close(&folder);
    tb_buf_release(&own);
    return rc;
}

static size_t data_bytes(const tb_graph *graph, size_t *n)
{
    size_t bytes = 0;
    *n = 0;
    for (size_t i = 0; i < graph->n_values; i++) {
        if (graph->values[i] != NULL && graph->values[i]->data.data != NULL) {
            bytes += tb_tensor_bytes(&graph->values[i]->data);
            (*n)++;
        }
    }
    return bytes;
}

/* Writes the file beside the model, and appends the model's bytes to out. */
static tb_rc write_data(tb_buf *out, const char *path, const tb_graph *graph,
                        size_t n_data, tb_err *err)
{
    size_t size = strlen(path) + sizeof ".data";
    const char *slash = strrchr(path, '/');
    char *beside = tb_mem_array(size, 1);
    tb_onnx_layout layout = {
        .parts = tb_mem_array(2 * n_data, sizeof layout.parts[0])};
    tb_rc rc = TB_OK;
    if (beside == NULL || layout.parts == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "onnx: writing %s", path);
        goto done;
    }
    (void)snprintf(beside, size, "%s.data", path);
    layout.location = slash != NULL ? beside + (slash + 1 - path) : beside;
    rc = tb_onnx_write_layout(out, graph, &layout, err);
    if (rc == TB_OK) {
        rc = tb_file_write_parts(beside, layout.parts, layout.n_parts, 0644,
                                 err);
    }
done:
    tb_mem_free(layout.parts);
    tb_mem_free(beside);
    return rc;
}

tb_rc tb_onnx_write_file(const char *path, const tb_graph *graph,
                         size_t inline_max, tb_buf *bytes, tb_err *err)
{
    size_t n_data = 0;
    size_t most =
        inline_max < TB_ONNX_INLINE_MAX ? inline_max : TB_ONNX_INLINE_MAX;
    tb_buf own;
    tb_buf *file = bytes != NULL ? bytes : &own;
    tb_buf_init(&own, (size_t)1 << 31);
    size_t before = file->len;
    tb_rc rc = data_bytes(graph, &n_data) > most
                   ? write_data(file, path, graph, n_data, err)
                   : tb_onnx_write(file, graph, err);
    if (rc == TB_OK) {
        rc = tb_file_write(path, file->data + before, file->len - before, 0644,
                           err);
    }
    if (rc != TB_OK) {
        file->len = before;
    }
    tb_buf_release(&own);
    return rc;
}
