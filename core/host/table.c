#include "host/table.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#define CELL_BYTES 256
#define GAP        "  "

static bool is_left(tb_cell cell)
{
    return cell == TB_CELL_TEXT || cell == TB_CELL_TIME;
}

/* Control characters out, so that no cell steers a terminal. */
static void clean(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            *text = '?';
        }
    }
}

static void print_text(const tb_json *row, const char *key,
                       char out[static CELL_BYTES])
{
    const char *text = tb_json_text(row, key, NULL);
    if (text != NULL) {
        (void)snprintf(out, CELL_BYTES, "%s", text);
        return;
    }
    tb_buf buf;
    tb_buf_init(&buf, CELL_BYTES);
    if (tb_json_write(tb_json_get(row, key), false, &buf, NULL) == TB_OK) {
        (void)snprintf(out, CELL_BYTES, "%.*s", (int)buf.len,
                       (const char *)buf.data);
    }
    tb_buf_release(&buf);
}

static void print_duration(double ms, char out[static CELL_BYTES])
{
    if (ms < 1000.0) {
        (void)snprintf(out, CELL_BYTES, ms < 10.0 ? "%.2f ms" : "%.0f ms", ms);
    } else if (ms < 600e3) {
        (void)snprintf(out, CELL_BYTES, "%.1f s", ms / 1e3);
    } else {
        (void)snprintf(out, CELL_BYTES, "%.1f min", ms / 60e3);
    }
}

static void print_time(int64_t unix_s, char out[static CELL_BYTES])
{
    time_t at = (time_t)unix_s;
    struct tm utc;
    if (gmtime_r(&at, &utc) == NULL ||
        strftime(out, CELL_BYTES, "%Y-%m-%d %H:%M:%S", &utc) == 0) {
        (void)snprintf(out, CELL_BYTES, "%" PRId64, unix_s);
    }
}

/* The cell's text; "-" when the member is missing, null or of another kind. */
static void print_cell(const tb_column *column, const tb_json *row,
                       char out[static CELL_BYTES])
{
    const tb_json *member = tb_json_get(row, column->key);
    double v = tb_json_float(row, column->key, 0.0);
    bool is_number = v != 0.0 || tb_json_float(row, column->key, 1.0) == 0.0;
    (void)snprintf(out, CELL_BYTES, "-");
    if (member == NULL || (column->cell != TB_CELL_TEXT && !is_number)) {
        return;
    }
    switch (column->cell) {
    case TB_CELL_TEXT:
        print_text(row, column->key, out);
        break;
    case TB_CELL_INT:
        (void)snprintf(out, CELL_BYTES, "%.0f", v);
        break;
    case TB_CELL_FIXED:
        (void)snprintf(out, CELL_BYTES, "%.*f", column->decimals, v);
        break;
    case TB_CELL_BYTES:
        tb_text_bytes(v > 0.0 ? (uint64_t)v : 0, out, CELL_BYTES);
        break;
    case TB_CELL_DURATION:
        print_duration(v, out);
        break;
    case TB_CELL_TIME:
        print_time((int64_t)v, out);
        break;
    }
    if (strcmp(out, "null") == 0) {
        (void)snprintf(out, CELL_BYTES, "-");
    }
    clean(out);
}

/* One cell, padded to width; the last of a line on the left is not. */
static tb_rc put_cell(tb_buf *out, const char *text, int width, bool left,
                      bool last, tb_err *err)
{
    int pad = width - tb_term_columns(text);
    int before = left ? 0 : pad;
    int after = left && !last ? pad : 0;
    return tb_buf_printf(out, err, "%*s%s%*s%s", before, "", text, after, "",
                         last ? "" : GAP);
}

static tb_rc put_heading(const tb_column *columns, size_t n_columns,
                         const int *widths, const tb_term *style, tb_buf *out,
                         tb_err *err)
{
    tb_rc rc = TB_OK;
    if (style != NULL) {
        rc = tb_buf_printf(out, err, "%s", tb_term_style(style, TB_STYLE_BOLD));
    }
    for (size_t c = 0; c < n_columns && rc == TB_OK; c++) {
        rc = put_cell(out, columns[c].title, widths[c],
                      is_left(columns[c].cell), c + 1 == n_columns, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_printf(out, err, "%s\n",
                           style != NULL ? tb_term_style(style, TB_STYLE_PLAIN)
                                         : "");
    }
    return rc;
}

tb_rc tb_table_write(const tb_column *columns, size_t n_columns,
                     const tb_json *rows, const tb_term *style, tb_buf *out,
                     tb_err *err)
{
    char cell[CELL_BYTES];
    size_t before = out->len;
    size_t n_rows = tb_json_count(rows);
    tb_rc rc = TB_OK;
    int *widths = tb_mem_array(n_columns, sizeof *widths);
    if (widths == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "table: %zu columns", n_columns);
        goto done;
    }
    for (size_t c = 0; c < n_columns; c++) {
        widths[c] = tb_term_columns(columns[c].title);
        for (size_t r = 0; r < n_rows; r++) {
            print_cell(&columns[c], tb_json_at(rows, r), cell);
            int width = tb_term_columns(cell);
            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
    rc = put_heading(columns, n_columns, widths, style, out, err);
    for (size_t r = 0; r < n_rows && rc == TB_OK; r++) {
        for (size_t c = 0; c < n_columns && rc == TB_OK; c++) {
            print_cell(&columns[c], tb_json_at(rows, r), cell);
            rc = put_cell(out, cell, widths[c], is_left(columns[c].cell),
                          c + 1 == n_columns, err);
        }
        if (rc == TB_OK) {
            rc = tb_buf_put(out, "\n", 1, err);
        }
    }
done:
    if (rc != TB_OK) {
        out->len = before;
    }
    tb_mem_free(widths);
    return rc;
}

tb_rc tb_table_print(const tb_column *columns, size_t n_columns,
                     const tb_json *rows, tb_err *err)
{
    tb_term term;
    tb_buf out;
    tb_term_init(&term, stdout);
    tb_buf_init(&out, TB_JSON_BYTES_MAX);
    tb_rc rc = tb_table_write(columns, n_columns, rows, &term, &out, err);
    if (rc == TB_OK && fflush(stdout) != 0) {
        rc = tb_fail(err, TB_E_IO, "standard output");
    }
    if (rc == TB_OK) {
        rc = tb_file_write_fd(STDOUT_FILENO, out.data, out.len, err);
    }
    tb_buf_release(&out);
    return rc;
}
