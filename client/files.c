#include "files.h"

#include <stdio.h>

#include "base/text.h"
#include "data/read.h"
#include "model/onnx.h"

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
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
