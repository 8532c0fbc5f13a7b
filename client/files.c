#include "files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "data/read.h"
#include "model/onnx.h"
#include "model/preprocess.h"

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

tb_rc name_classes(data_options *options, const tb_graph *graph, tb_err *err)
{
    tb_text_list *list = &options->classes;
    size_t n = tb_preprocess_n_classes(graph);
    if (list->n > 0 || n == 0) {
        return TB_OK;
    }
    list->at = tb_mem_array(n, sizeof *list->at);
    options->or_numbers = true;
    for (size_t i = 0; list->at != NULL && i < n; i++) {
        size_t bytes = 0;
        const char *name = tb_preprocess_class(graph, i, &bytes);
        char *own = tb_mem_array(bytes + 1, 1);
        if (own == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu classes", n);
        }
        memcpy(own, name, bytes);
        list->at[list->n++] = own;
    }
    return list->at != NULL ? TB_OK
                            : tb_fail(err, TB_E_NOMEM, "%zu classes", n);
}

tb_rc read_data(tb_dataset **out, const data_options *options, tb_err *err)
{
    const tb_read_options read = {
        .reader = or_null(options->reader),
        .labels = or_null(options->labels),
        .columns = (const char *const *)options->columns.at,
        .n_columns = options->columns.n,
        .label = or_null(options->label),
        .classes = (const char *const *)options->classes.at,
        .n_classes = options->classes.n,
        .or_numbers = options->or_numbers,
        .unlabelled = options->unlabelled,
        .ignores = options->ignores,
        .ignore = options->ignore,
        .target = options->values ? TB_TARGET_VALUE : TB_TARGET_CLASS};
    return tb_dataset_read(out, options->path, &read, err);
}

tb_rc read_model(tb_graph **out, const char *path, tb_buf *bytes, tb_err *err)
{
    return tb_onnx_read_file(out, path, NULL, bytes, err);
}

tb_rc check_output(const char *path, tb_err *err)
{
    char *folder = tb_file_folder(path);
    tb_rc rc = TB_OK;
    if (folder == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "%s", path);
    } else if (access(folder, W_OK | X_OK) != 0) {
        rc = tb_fail_errno(err, errno, "%s: its folder", path);
    }
    tb_mem_free(folder);
    return rc;
}

tb_rc write_model(const tb_graph *graph, const char *path, model_file *file,
                  tb_err *err)
{
    return write_model_apart(graph, path, false, file, err);
}

tb_rc write_model_apart(const tb_graph *graph, const char *path, bool external,
                        model_file *file, tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, MODEL_BYTES_MAX);
    tb_rc rc = tb_onnx_write_file(
        path, graph, external ? 1 : TB_ONNX_INLINE_MAX, &bytes, err);
    if (rc == TB_OK) {
        file->n_bytes = bytes.len;
        file->hash = tb_hash_of(bytes.data, bytes.len);
    }
    tb_buf_release(&bytes);
    return rc;
}

void print_written(const char *path, const model_file *file)
{
    char size[32];
    char hex[TB_HASH_HEX_BYTES];
    tb_text_bytes(file->n_bytes, size, sizeof size);
    tb_hash_hex(&file->hash, hex);
    (void)printf("wrote %s (%s, hash %s)\n", path, size, hex);
}
