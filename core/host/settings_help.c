/* core/host/settings_help.c - what a table of settings says to a reader: the
 * options of --help, the rows of the man page (scdoc) and the range of a value
 * as a phrase. */
#include "host/settings_priv.h"

#include <stdio.h>
#include <string.h>

#define HELP_COLUMN 28
#define HELP_WIDTH  79

/* "a number over 0 and at most 10", "a whole number from 1 to 100". */
static void print_numbers(const tb_setting *row, const char *what, char *out,
                          size_t out_bytes)
{
    bool above = (row->flags & TB_SETTING_ABOVE_MIN) != 0;
    bool below = (row->flags & TB_SETTING_BELOW_MAX) != 0;
    if (row->min == 0.0 && row->max == 0.0 && !above) {
        (void)snprintf(out, out_bytes, "%s", what);
    } else if (row->max <= row->min) {
        (void)snprintf(out, out_bytes, "%s %s %.15g", what,
                       above ? "over" : "of at least", row->min);
    } else if (above || below) {
        (void)snprintf(out, out_bytes, "%s %s %.15g and %s %.15g", what,
                       above ? "over" : "of at least", row->min,
                       below ? "under" : "at most", row->max);
    } else {
        (void)snprintf(out, out_bytes, "%s from %.15g to %.15g", what, row->min,
                       row->max);
    }
}

/* "a time such as 60s, from 0.1s to 3600s". */
static void print_measures(const tb_setting *row, const char *what,
                           double factor, const char *unit, char *out,
                           size_t out_bytes)
{
    if (row->max > row->min) {
        (void)snprintf(out, out_bytes, "%s, from %.15g%s to %.15g%s", what,
                       row->min / factor, unit, row->max / factor, unit);
    } else if (row->min > 0.0) {
        (void)snprintf(out, out_bytes, "%s, at least %.15g%s", what,
                       row->min / factor, unit);
    } else {
        (void)snprintf(out, out_bytes, "%s", what);
    }
}

static void print_choices(const tb_setting *row, const char *before, char *out,
                          size_t out_bytes)
{
    size_t used = (size_t)snprintf(out, out_bytes, "%s", before);
    for (size_t i = 0; row->choices[i] != NULL && used < out_bytes; i++) {
        bool path = row->choices[i][0] == '\0';
        int n = snprintf(out + used, out_bytes - used, "%s%s",
                         i > 0 ? ", " : "", path ? "a path" : row->choices[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

void tb_setting_range(const tb_setting *row, char *out, size_t out_bytes)
{
    switch (row->type) {
    case TB_SETTING_BOOL:
        (void)snprintf(out, out_bytes, "true or false");
        break;
    case TB_SETTING_INT:
        print_numbers(row, "a whole number", out, out_bytes);
        break;
    case TB_SETTING_FLOAT:
        print_numbers(row, "a number", out, out_bytes);
        break;
    case TB_SETTING_FLOATS:
        print_numbers(row, "a list of numbers", out, out_bytes);
        break;
    case TB_SETTING_TEXT:
        if (row->choices != NULL) {
            print_choices(row, "one of ", out, out_bytes);
            break;
        }
        (void)snprintf(out, out_bytes, "a text of at most %zu bytes",
                       row->size - 1);
        break;
    case TB_SETTING_PATH:
        (void)snprintf(out, out_bytes, "a path of at most %zu bytes",
                       row->size - 1);
        break;
    case TB_SETTING_NAME:
        (void)snprintf(out, out_bytes,
                       "a name of 1 to 63 of A-Z a-z 0-9 . _ - that begins "
                       "with a letter, a digit or _");
        break;
    case TB_SETTING_ENUM:
    case TB_SETTING_PLACE:
        print_choices(row, "one of ", out, out_bytes);
        break;
    case TB_SETTING_DURATION:
        print_measures(row, "a time such as 500ms, 60s, 5m, 1.5h, 7d", 1e3, "s",
                       out, out_bytes);
        break;
    case TB_SETTING_BYTES:
        print_measures(row, "a size such as 512, 64kB, 8MB", 1.0, " bytes", out,
                       out_bytes);
        break;
    case TB_SETTING_TEXTS:
        (void)snprintf(out, out_bytes, "a list of texts");
        break;
    }
}

/* "--lr RATE", or "-o, --output FILE". */
static void print_usage(const tb_setting *row, char *out, size_t out_bytes)
{
    char flag[TB_SETTINGS_KEY_BYTES + 2];
    char letter[5] = "    ";
    tb_setting_flag(row, flag, sizeof flag);
    if (row->letter != 0) {
        (void)snprintf(letter, sizeof letter, "-%c, ", row->letter);
    }
    const char *value = row->value != NULL ? row->value : "VALUE";
    bool alone = row->type == TB_SETTING_BOOL;
    (void)snprintf(out, out_bytes, "%s%s%s%s", letter, flag, alone ? "" : " ",
                   alone ? "" : value);
}

/* help, range and default as one paragraph. */
static void print_help(const tb_setting *row, char *out, size_t out_bytes)
{
    char range[TB_ERR_TEXT_BYTES / 2];
    char preset[128] = "";
    tb_setting_range(row, range, sizeof range);
    bool plain = row->type == TB_SETTING_BOOL || row->type == TB_SETTING_PATH ||
                 row->type == TB_SETTING_NAME ||
                 row->type == TB_SETTING_TEXTS ||
                 (row->type == TB_SETTING_TEXT && row->choices == NULL);
    if (row->preset != NULL && row->preset[0] != '\0') {
        (void)snprintf(preset, sizeof preset, " [default: %s]", row->preset);
    } else if (row->flags & TB_SETTING_REQUIRED) {
        (void)snprintf(preset, sizeof preset, " [required]");
    }
    (void)snprintf(out, out_bytes, "%s%s%s%s%s", row->help, plain ? "" : " (",
                   plain ? "" : range, plain ? "" : ")", preset);
}

/* Appends text in lines of HELP_WIDTH, from HELP_COLUMN on; the first one goes
 * on at `column`. */
static tb_rc put_wrapped(const char *text, size_t column, tb_buf *out,
                         tb_err *err)
{
    tb_rc rc = TB_OK;
    while (rc == TB_OK && *text != '\0') {
        size_t n = strcspn(text, " ");
        bool fits = column + 1 + n <= HELP_WIDTH;
        if (column > HELP_COLUMN && !fits) {
            rc = tb_buf_printf(out, err, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            rc = tb_buf_put(out, " ", 1, err);
            column++;
        }
        if (rc == TB_OK) {
            rc = tb_buf_put(out, text, n, err);
        }
        column += n;
        text += n + strspn(text + n, " ");
    }
    return rc == TB_OK ? tb_buf_put(out, "\n", 1, err) : rc;
}

tb_rc tb_settings_help(const tb_setting_table *table, tb_buf *out, tb_err *err)
{
    char usage[2 * TB_SETTINGS_KEY_BYTES];
    char help[TB_ERR_TEXT_BYTES];
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < table->n_rows && rc == TB_OK; i++) {
        print_usage(&table->rows[i], usage, sizeof usage);
        print_help(&table->rows[i], help, sizeof help);
        bool wide = strlen(usage) + 4 > HELP_COLUMN;
        rc = wide ? tb_buf_printf(out, err, "  %s\n%*s", usage, HELP_COLUMN, "")
                  : tb_buf_printf(out, err, "  %-*s", HELP_COLUMN - 2, usage);
        if (rc == TB_OK) {
            rc = put_wrapped(help, HELP_COLUMN, out, err);
        }
    }
    return rc;
}

/* Text with what scdoc would take for markup escaped. */
static tb_rc put_escaped(const char *text, tb_buf *out, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (; rc == TB_OK && *text != '\0'; text++) {
        bool marked = strchr("\\_*#[]<>.|", *text) != NULL;
        rc = tb_buf_printf(out, err, "%s%c", marked ? "\\" : "", *text);
    }
    return rc;
}

tb_rc tb_settings_man(const tb_setting_table *table, tb_buf *out, tb_err *err)
{
    char usage[2 * TB_SETTINGS_KEY_BYTES];
    char help[TB_ERR_TEXT_BYTES];
    char env[2 * TB_SETTINGS_KEY_BYTES];
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < table->n_rows && rc == TB_OK; i++) {
        const tb_setting *row = &table->rows[i];
        print_usage(row, usage, sizeof usage);
        print_help(row, help, sizeof help);
        tb_setting_env(table, row, env, sizeof env);
        rc = tb_buf_put(out, "*", 1, err);
        if (rc == TB_OK) {
            rc = put_escaped(usage + strspn(usage, " "), out, err);
        }
        if (rc == TB_OK) {
            rc = tb_buf_printf(out, err, "*\n\t");
        }
        if (rc == TB_OK) {
            rc = put_escaped(help, out, err);
        }
        if (rc == TB_OK) {
            rc = tb_buf_printf(out, err, ".\n\tEnvironment: ");
        }
        if (rc == TB_OK) {
            rc = put_escaped(env, out, err);
        }
        if (rc == TB_OK) {
            rc = tb_buf_printf(out, err, "\n\n");
        }
    }
    return rc;
}
