/* core/host/table.h - a JSON array of objects as an aligned text table: the
 * same data serves --json and the reader at a terminal. */
#ifndef TB_HOST_TABLE_H
#define TB_HOST_TABLE_H

#include "host/json.h"
#include "host/term.h"

/* How a column is written. Missing members and null become "-". */
typedef enum tb_cell {
    TB_CELL_TEXT,     /* left; numbers and booleans as JSON writes them */
    TB_CELL_INT,      /* right */
    TB_CELL_FIXED,    /* right, with the column's decimals */
    TB_CELL_BYTES,    /* right: "1.5 MB" */
    TB_CELL_DURATION, /* right, from milliseconds: "350 ms", "12.5 s" */
    TB_CELL_TIME      /* left, from seconds since 1970: "2026-01-31 14:05:09"
                       * in UTC */
} tb_cell;

typedef struct tb_column {
    const char *key;   /* member of each object */
    const char *title; /* heading */
    tb_cell cell;
    int decimals; /* FIXED */
} tb_column;

/* Appends heading and rows; columns stand apart by two blanks, as wide as their
 * widest cell. Control characters in texts become "?". style: colours, or NULL.
 * Errors: LIMIT, NOMEM. */
tb_rc tb_table_write(const tb_column *columns, size_t n_columns,
                     const tb_json *rows, const tb_term *style, tb_buf *out,
                     tb_err *err) TB_NONNULL(1, 5) TB_MUST_CHECK;

/* The same on standard output, styled as it can show. Errors: also IO. */
tb_rc tb_table_print(const tb_column *columns, size_t n_columns,
                     const tb_json *rows, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
