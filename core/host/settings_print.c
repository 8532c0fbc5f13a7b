/* core/host/settings_print.c - one field of a settings struct as canonical
 * text: what settings_value.c reads back as the same value. */
#include "host/settings_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"

/* In quotes, all but ASCII as \u or \U: one spelling, and one line. */
static tb_rc print_text(const char *text, tb_buf *out, tb_err *err)
{
    tb_rc rc = tb_buf_put_u8(out, '"', err);
    while (rc == TB_OK && *text != '\0') {
        const char *at = text;
        uint32_t code = tb_text_next_code(&text);
        if (code == 0) {
            return tb_fail(err, TB_E_BUG, "a text that is not UTF-8");
        }
        if (code > 0xffff) {
            rc = tb_buf_printf(out, err, "\\U%08" PRIx32, code);
        } else if (code > 0x7e) {
            rc = tb_buf_printf(out, err, "\\u%04" PRIx32, code);
        } else {
            bool marked = *at == '"' || *at == '\\';
            rc = tb_buf_printf(out, err, "%s%c", marked ? "\\" : "", *at);
        }
    }
    return rc == TB_OK ? tb_buf_put_u8(out, '"', err) : rc;
}

/* The shortest decimal that reads back as the same number. */
static tb_rc print_float(double v, bool single, tb_buf *out, tb_err *err)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, v);
        double back = strtod(text, NULL);
        if ((single ? (double)(float)back : back) == v) {
            break;
        }
    }
    return tb_buf_printf(out, err, "%s", text);
}

static tb_rc print_texts(const tb_text_list *list, tb_buf *out, tb_err *err)
{
    tb_rc rc = tb_buf_put_u8(out, '[', err);
    for (size_t i = 0; i < list->n && rc == TB_OK; i++) {
        rc = tb_buf_printf(out, err, "%s", i > 0 ? ", " : "");
        if (rc == TB_OK) {
            rc = print_text(list->at[i], out, err);
        }
    }
    return rc == TB_OK ? tb_buf_put_u8(out, ']', err) : rc;
}

static tb_rc print_floats(const tb_float_list *list, tb_buf *out, tb_err *err)
{
    tb_rc rc = tb_buf_put_u8(out, '[', err);
    for (size_t i = 0; i < list->n && rc == TB_OK; i++) {
        rc = tb_buf_printf(out, err, "%s", i > 0 ? ", " : "");
        if (rc == TB_OK) {
            rc = print_float((double)list->at[i], true, out, err);
        }
    }
    return rc == TB_OK ? tb_buf_put_u8(out, ']', err) : rc;
}

static tb_rc print_place(const tb_setting *row, const void *field, tb_buf *out,
                         tb_err *err)
{
    const char *choice = row->choices[*(const int *)field];
    if (choice[0] == '\0') {
        return print_text((const char *)field + sizeof(int), out, err);
    }
    return tb_buf_printf(out, err, "%s", choice);
}

static tb_rc print_choice(const tb_setting *row, const void *field, tb_buf *out,
                          tb_err *err)
{
    int i =
        row->size == sizeof(bool) ? *(const bool *)field : *(const int *)field;
    return tb_buf_printf(out, err, "%s", row->choices[i]);
}

tb_rc tb_setting_print(const tb_setting *row, const void *field, tb_buf *out,
                       tb_err *err)
{
    bool small = row->size == sizeof(uint32_t);
    switch (row->type) {
    case TB_SETTING_BOOL:
        return tb_buf_printf(out, err, "%s",
                             *(const bool *)field ? "true" : "false");
    case TB_SETTING_INT:
    case TB_SETTING_BYTES:
        return tb_buf_printf(out, err, "%" PRIu64,
                             small ? *(const uint32_t *)field
                                   : *(const uint64_t *)field);
    case TB_SETTING_DURATION:
        return tb_buf_printf(out, err, "%" PRIu64 "ms",
                             *(const uint64_t *)field);
    case TB_SETTING_FLOAT:
        return small
                   ? print_float((double)*(const float *)field, true, out, err)
                   : print_float(*(const double *)field, false, out, err);
    case TB_SETTING_TEXT:
    case TB_SETTING_PATH:
    case TB_SETTING_NAME:
        return print_text(field, out, err);
    case TB_SETTING_PLACE:
        return print_place(row, field, out, err);
    case TB_SETTING_ENUM:
        return print_choice(row, field, out, err);
    case TB_SETTING_TEXTS:
        return print_texts(field, out, err);
    case TB_SETTING_FLOATS:
        return print_floats(field, out, err);
    }
    return tb_fail(err, TB_E_BUG, "setting %s: type %d", row->key, row->type);
}

bool tb_setting_is_empty(const tb_setting *row, const void *field)
{
    switch (row->type) {
    case TB_SETTING_TEXT:
    case TB_SETTING_PATH:
    case TB_SETTING_NAME:
        return *(const char *)field == '\0';
    case TB_SETTING_TEXTS:
        return ((const tb_text_list *)field)->n == 0;
    case TB_SETTING_FLOATS:
        return ((const tb_float_list *)field)->n == 0;
    case TB_SETTING_BOOL:
    case TB_SETTING_INT:
    case TB_SETTING_FLOAT:
    case TB_SETTING_PLACE:
    case TB_SETTING_ENUM:
    case TB_SETTING_DURATION:
    case TB_SETTING_BYTES:
        return false;
    }
    return false;
}

void tb_setting_clear(const tb_setting *row, void *field)
{
    if (row->type == TB_SETTING_TEXTS) {
        tb_text_list *list = field;
        for (size_t i = 0; i < list->n; i++) {
            tb_mem_free(list->at[i]);
        }
        tb_mem_free(list->at);
        *list = (tb_text_list){0};
    } else if (row->type == TB_SETTING_FLOATS) {
        tb_float_list *list = field;
        tb_mem_free(list->at);
        *list = (tb_float_list){0};
    }
}
