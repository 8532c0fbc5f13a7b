/* core/host/term.h - a person or a pipe at the other end: width, colour, and a
 * progress line that is redrawn in place on a terminal and left out of a
 * pipe, where only whole lines are written. One owner at a time. */
#ifndef TB_HOST_TERM_H
#define TB_HOST_TERM_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

#define TB_TERM_WIDTH_DEFAULT 80

typedef enum tb_style {
    TB_STYLE_PLAIN, /* ends each other */
    TB_STYLE_BOLD,
    TB_STYLE_DIM,
    TB_STYLE_GOOD, /* green */
    TB_STYLE_BAD   /* red */
} tb_style;

typedef struct tb_term {
    FILE *out;      /* borrowed */
    bool is_tty;    /* lines may be redrawn */
    bool has_color; /* a terminal, NO_COLOR not set, TERM not dumb */
    int width;      /* columns; TB_TERM_WIDTH_DEFAULT in a pipe */
    bool drawn;     /* a progress line stands there now */
} tb_term;

/* Looks at what out is, and at NO_COLOR, TERM and COLUMNS. */
void tb_term_init(tb_term *term, FILE *out) TB_NONNULL(1, 2);

/* The escape sequence that begins a style, or "" without colour. */
const char *tb_term_style(const tb_term *term, tb_style style) TB_NONNULL(1);

/* Redraws the progress line, cut to the width; nothing in a pipe. The text is
 * one line without escapes. */
void tb_term_progress(tb_term *term, const char *fmt, ...) TB_NONNULL(1, 2)
    TB_PRINTF(2, 3);

/* Writes a whole line, newline included here, in place of the progress line. */
void tb_term_line(tb_term *term, const char *fmt, ...) TB_NONNULL(1, 2)
    TB_PRINTF(2, 3);

/* Clears the progress line, if one stands. */
void tb_term_clear(tb_term *term) TB_NONNULL(1);

/* Columns that UTF-8 text takes: its characters, control ones excepted. */
int tb_term_columns(const char *text) TB_NONNULL(1);

#endif
