/* core/data/readers/csv.c - the CSV member of the reader table: finds the one
 * table of a path, and writes data.csv. The text itself is csv_decode.c's. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/folder.h"
#include "data/formats.h"

#define READ_STEP   ((size_t)1 << 20)
#define NAMES_BYTES 256

static bool is_csv(const char *name, const void *arg)
{
    (void)arg;
    return tb_text_ends(name, ".csv") || tb_text_ends(name, ".csv.gz");
}

static tb_rc probe(bool *found, const char *path, tb_err *err)
{
    return tb_folder_probe(found, path, is_csv, err);
}

/* The path of the one table: path itself, or the one in it. */
static tb_rc find_table(char **out, const char *path, tb_err *err)
{
    tb_matches m = {0};
    char names[NAMES_BYTES];
    if (!tb_folder_is(path)) {
        *out = tb_mem_text(path);
        return *out != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    tb_rc rc = tb_folder_match(&m, path, is_csv, NULL, err);
    if (rc == TB_OK && m.n != 1) {
        tb_matches_text(&m, names, sizeof names);
        rc = tb_fail(err, m.n == 0 ? TB_E_NOT_FOUND : TB_E_MISMATCH,
                     "%s: %s NAME.csv in it%s%s; name the file itself", path,
                     m.n == 0 ? "no" : "more than one", m.n == 0 ? "" : ": ",
                     names);
    }
    if (rc == TB_OK && (*out = tb_file_join(path, m.name[0])) == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    tb_matches_release(&m);
    return rc;
}

static tb_rc read_text(tb_buf *text, tb_source *s, tb_err *err)
{
    size_t got = READ_STEP;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && got == READ_STEP) {
        rc = tb_buf_reserve(text, READ_STEP, err);
        if (rc == TB_OK) {
            rc = tb_source_read_some(s, text->data + text->len, READ_STEP, &got,
                                     err);
            text->len += got;
        }
    }
    return rc;
}

static tb_rc read_table(tb_dataset **out, const char *path,
                        const tb_read_options *options, tb_err *err)
{
    char *file = NULL;
    tb_source *s = NULL;
    tb_buf text;
    tb_buf_init(&text, TB_SOURCE_MAX_FILE_BYTES);
    *out = NULL;
    tb_rc rc = find_table(&file, path, err);
    if (rc == TB_OK) {
        rc = tb_source_open(&s, file, err);
    }
    if (rc == TB_OK) {
        rc = read_text(&text, s, err);
    }
    if (rc == TB_OK) {
        rc = tb_csv_decode(out, file,
                           text.data != NULL ? (const char *)text.data : "",
                           text.len, options, err);
    }
    tb_buf_release(&text);
    tb_source_close(&s);
    tb_mem_free(file);
    return rc;
}

/* A name as a field: quoted when it must be. */
static tb_rc put_name(tb_buf *buf, const char *name, tb_err *err)
{
    bool quote = name[strcspn(name, ",\"\n")] != '\0' || name[0] == ' ' ||
                 name[0] == '\t';
    tb_rc rc = quote ? tb_buf_put_u8(buf, '"', err) : TB_OK;
    for (; rc == TB_OK && *name != '\0'; name++) {
        rc = tb_buf_printf(buf, err, *name == '"' ? "\"%c" : "%c", *name);
    }
    return rc == TB_OK && quote ? tb_buf_put_u8(buf, '"', err) : rc;
}

static tb_rc put_header(tb_buf *buf, const tb_dataset *ds, size_t n_values,
                        const char *label, tb_err *err)
{
    const char *const *columns = tb_dataset_columns(ds);
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < n_values; i++) {
        rc = columns != NULL ? put_name(buf, columns[i], err)
                             : tb_buf_printf(buf, err, "x%zu", i);
        if (rc == TB_OK) {
            rc = tb_buf_put_u8(buf, ',', err);
        }
    }
    if (rc == TB_OK) {
        rc = put_name(buf, label, err);
    }
    return rc == TB_OK ? tb_buf_put_u8(buf, '\n', err) : rc;
}

static tb_rc put_row(tb_buf *buf, const tb_dataset *ds, size_t row,
                     const tb_read_options *options, tb_err *err)
{
    tb_rc rc = TB_OK;
    const tb_sample_spec *spec = tb_dataset_spec(ds);
    const uint8_t *x = tb_dataset_x_row(ds, row);
    bool bytes = spec->x_dtype == TB_U8;
    size_t n = tb_dataset_x_bytes(ds) / tb_dtype_bytes(spec->x_dtype);
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        float v = 0.0F;
        if (!bytes) {
            memcpy(&v, x + i * sizeof v, sizeof v);
        }
        rc = bytes ? tb_buf_printf(buf, err, "%u,", x[i])
                   : tb_buf_printf(buf, err, "%.9g,", (double)v);
    }
    if (rc != TB_OK) {
        return rc;
    }
    if (spec->target == TB_TARGET_VALUE) {
        float y = 0.0F;
        memcpy(&y, tb_dataset_y_row(ds, row), sizeof y);
        return tb_buf_printf(buf, err, "%.9g\n", (double)y);
    }
    size_t label = (size_t)tb_dataset_label(ds, row);
    if (label >= options->n_classes) {
        return tb_buf_printf(buf, err, "%zu\n", label);
    }
    rc = put_name(buf, options->classes[label], err);
    return rc == TB_OK ? tb_buf_put_u8(buf, '\n', err) : rc;
}

static tb_rc write_table(const tb_dataset *ds, const char *dir,
                         const tb_read_options *options, tb_err *err)
{
    const tb_sample_spec *spec = tb_dataset_spec(ds);
    const char *label = options->label != NULL ? options->label : "label";
    if ((spec->x_dtype != TB_F32 && spec->x_dtype != TB_U8) ||
        spec->n_targets != 1) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "%s: CSV of %s features and %zu targets; write npy", dir,
                       tb_dtype_name(spec->x_dtype), spec->n_targets);
    }
    char *path = tb_file_join(dir, "data.csv");
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", dir);
    }
    tb_buf buf;
    tb_buf_init(&buf, TB_SOURCE_MAX_FILE_BYTES);
    size_t n_values = tb_dataset_x_bytes(ds) / tb_dtype_bytes(spec->x_dtype);
    tb_rc rc = put_header(&buf, ds, n_values, label, err);
    for (size_t i = 0; rc == TB_OK && i < tb_dataset_rows(ds); i++) {
        rc = put_row(&buf, ds, i, options, err);
    }
    if (rc == TB_OK) {
        rc = tb_file_write(path, buf.data, buf.len, 0644, err);
    }
    tb_buf_release(&buf);
    tb_mem_free(path);
    return rc;
}

const tb_reader tb_reader_csv = {
    .name = "csv",
    .takes = "a file NAME.csv[.gz] with a line of column names, or a folder "
             "with one",
    .probe = probe,
    .read = read_table,
    .write = write_table,
};
