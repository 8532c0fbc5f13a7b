/* core/host/settings_value.c - one field of a settings struct from text: the
 * syntax of each type. */
#include "host/settings_priv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

typedef struct unit {
    const char *name;
    double factor;
} unit;

static const unit durations[] = {
    {"ms", 1},     {"s", 1e3},     {"m", 60e3},
    {"h", 3600e3}, {"d", 86400e3}, {NULL, 0},
};

static const unit sizes[] = {
    {"", 1},
    {"B", 1},
    {"kB", 1e3},
    {"MB", 1e6},
    {"GB", 1e9},
    {"TB", 1e12},
    {"KiB", 1024.0},
    {"MiB", 1048576.0},
    {"GiB", 1073741824.0},
    {"TiB", 1099511627776.0},
    {NULL, 0},
};

#define WHOLE_MAX 9007199254740992.0 /* 2^53: a double still counts singly */

bool tb_setting_is_list(const tb_setting *row)
{
    return row->type == TB_SETTING_TEXTS || row->type == TB_SETTING_FLOATS;
}

static tb_rc refuse(const tb_setting *row, const char *text, tb_err *err)
{
    char range[TB_ERR_TEXT_BYTES / 2];
    tb_setting_range(row, range, sizeof range);
    return tb_fail(err, TB_E_USAGE, "\"%.64s\" is not %s", text, range);
}

static bool in_range(const tb_setting *row, double v)
{
    unsigned ends = TB_SETTING_ABOVE_MIN | TB_SETTING_BELOW_MAX;
    if (row->min == 0.0 && row->max == 0.0 && (row->flags & ends) == 0) {
        return true;
    }
    bool above =
        (row->flags & TB_SETTING_ABOVE_MIN) ? v > row->min : v >= row->min;
    bool below =
        (row->flags & TB_SETTING_BELOW_MAX) ? v < row->max : v <= row->max;
    return above && (below || row->max <= row->min);
}

/* UTF-8 without control characters, under max bytes with the closing NUL. */
static bool is_text(const char *text, size_t max)
{
    if (strlen(text) >= max) {
        return false;
    }
    while (*text != '\0') {
        uint32_t code = tb_text_next_code(&text);
        if (code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            return false;
        }
    }
    return true;
}

/* A number, or a fraction of two: "1/255". */
static tb_rc parse_number(const char *text, double *out)
{
    char part[TB_SETTINGS_KEY_BYTES];
    const char *slash = strchr(text, '/');
    double below = 1.0;
    if (slash == NULL) {
        return tb_text_f64(text, out, NULL);
    }
    if ((size_t)(slash - text) >= sizeof part) {
        return TB_E_USAGE;
    }
    (void)snprintf(part, sizeof part, "%.*s", (int)(slash - text), text);
    double above = 0.0;
    if (tb_text_f64(part, &above, NULL) != TB_OK ||
        tb_text_f64(slash + 1, &below, NULL) != TB_OK ||
        !isfinite(above / below)) {
        return TB_E_USAGE;
    }
    *out = above / below;
    return TB_OK;
}

/* A float that a field of the row's size holds: infinite when it does not. */
static double narrowed(const tb_setting *row, double v)
{
    bool single = row->size == sizeof(float) || row->type == TB_SETTING_FLOATS;
    return single ? (double)(float)v : v;
}

static tb_rc parse_float(const tb_setting *row, const char *text, void *field,
                         tb_err *err)
{
    double v = 0.0;
    if (parse_number(text, &v) != TB_OK || !isfinite(narrowed(row, v)) ||
        !in_range(row, narrowed(row, v))) {
        return refuse(row, text, err);
    }
    if (row->size == sizeof(float)) {
        *(float *)field = (float)v;
    } else {
        *(double *)field = v;
    }
    return TB_OK;
}

static tb_rc parse_int(const tb_setting *row, const char *text, void *field,
                       tb_err *err)
{
    uint64_t v = 0;
    if (tb_text_u64(text, &v, NULL) != TB_OK || !in_range(row, (double)v) ||
        (row->size == sizeof(uint32_t) && v > UINT32_MAX)) {
        return refuse(row, text, err);
    }
    if (row->size == sizeof(uint32_t)) {
        *(uint32_t *)field = (uint32_t)v;
    } else {
        *(uint64_t *)field = v;
    }
    return TB_OK;
}

/* A number and its unit, such as "1.5h"; 0 needs none. */
static tb_rc parse_measure(const tb_setting *row, const unit *units,
                           const char *text, uint64_t *field, tb_err *err)
{
    char number[TB_SETTINGS_KEY_BYTES];
    size_t n = strspn(text, "0123456789.");
    double v = -1.0;
    if (n < sizeof number) {
        (void)snprintf(number, sizeof number, "%.*s", (int)n, text);
        const unit *u = units;
        while (u->name != NULL && strcmp(u->name, text + n) != 0) {
            u++;
        }
        bool zero = strcmp(text, "0") == 0;
        if (tb_text_f64(number, &v, NULL) != TB_OK ||
            (u->name == NULL && !zero)) {
            v = -1.0;
        } else if (!zero) {
            v = round(v * u->factor);
        }
    }
    if (v < 0.0 || v > WHOLE_MAX || !in_range(row, v)) {
        return refuse(row, text, err);
    }
    *field = (uint64_t)v;
    return TB_OK;
}

/* A size, or a rate: "1MB/s" is "1MB" then. */
static tb_rc parse_bytes(const tb_setting *row, const char *text,
                         uint64_t *field, tb_err *err)
{
    char size[TB_SETTINGS_KEY_BYTES];
    size_t n = strlen(text);
    if ((row->flags & TB_SETTING_A_SECOND) != 0 && n > 2 && n < sizeof size &&
        strcmp(text + n - 2, "/s") == 0) {
        (void)snprintf(size, sizeof size, "%.*s", (int)(n - 2), text);
        text = size;
    }
    return parse_measure(row, sizes, text, field, err);
}

/* Index of text in the row's choices, or of their end. */
static size_t choice_of(const tb_setting *row, const char *text)
{
    size_t i = 0;
    while (row->choices[i] != NULL && strcmp(row->choices[i], text) != 0) {
        i++;
    }
    return i;
}

static tb_rc parse_enum(const tb_setting *row, const char *text, void *field,
                        tb_err *err)
{
    size_t i = choice_of(row, text);
    if (row->choices[i] == NULL) {
        return refuse(row, text, err);
    }
    if (row->size == sizeof(bool)) {
        *(bool *)field = i != 0;
    } else {
        *(int *)field = (int)i;
    }
    return TB_OK;
}

static tb_rc parse_bool(const tb_setting *row, const char *text, bool *field,
                        tb_err *err)
{
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0) {
        return refuse(row, text, err);
    }
    *field = yes;
    return TB_OK;
}

static tb_rc parse_path(const tb_setting *row, const char *text,
                        const char *folder, char *field, size_t size,
                        tb_err *err)
{
    bool relative = folder != NULL && text[0] != '/' && text[0] != '\0' &&
                    strcmp(text, "-") != 0;
    size_t before = relative ? strlen(folder) + 1 : 0;
    if (before >= size || !is_text(text, size - before)) {
        return refuse(row, text, err);
    }
    int n = snprintf(field, size, "%s%s%s", relative ? folder : "",
                     relative ? "/" : "", text);
    return n >= 0 ? TB_OK : tb_fail(err, TB_E_BUG, "path");
}

/* An int, then the path: one of the choices, or a path. */
static tb_rc parse_place(const tb_setting *row, const char *text,
                         const char *folder, void *field, tb_err *err)
{
    char *path = (char *)field + sizeof(int);
    size_t choice = text[0] != '\0' ? choice_of(row, text) : SIZE_MAX;
    if (choice == SIZE_MAX) {
        return refuse(row, text, err);
    }
    tb_rc rc = TB_OK;
    if (row->choices[choice] == NULL) {
        choice = choice_of(row, "");
        rc = parse_path(row, text, folder, path, row->size - sizeof(int), err);
    } else {
        path[0] = '\0';
    }
    if (rc == TB_OK) {
        *(int *)field = (int)choice;
    }
    return rc;
}

static tb_rc append_text(const tb_setting *row, const char *text,
                         tb_text_list *list, tb_err *err)
{
    if (text[0] == '\0' || !is_text(text, TB_SETTINGS_TEXT_BYTES)) {
        return refuse(row, text, err);
    }
    if (list->n >= TB_SETTINGS_ITEMS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "over %u items", TB_SETTINGS_ITEMS_MAX);
    }
    if (row->check != NULL) {
        tb_rc rc = row->check(text, err);
        if (rc != TB_OK) {
            return rc;
        }
    }
    char *item = tb_mem_text(text);
    char **at = tb_mem_resize(list->at, list->n + 1, sizeof *at);
    if (at != NULL) {
        list->at = at;
    }
    if (item == NULL || at == NULL) {
        tb_mem_free(item);
        return tb_fail(err, TB_E_NOMEM, "%zu items", list->n + 1);
    }
    list->at[list->n++] = item;
    return TB_OK;
}

/* One number, or several between commas: all of them, or none. */
static tb_rc append_floats(const tb_setting *row, const char *text,
                           tb_float_list *list, tb_err *err)
{
    char item[TB_SETTINGS_KEY_BYTES];
    size_t before = list->n;
    tb_rc rc = TB_OK;
    for (const char *end = text; rc == TB_OK && end != NULL;) {
        end = strchr(text, ',');
        size_t n = end != NULL ? (size_t)(end - text) : strlen(text);
        double v = 0.0;
        (void)snprintf(item, sizeof item, "%.*s", (int)n, text);
        if (n >= sizeof item || parse_number(item, &v) != TB_OK ||
            !isfinite(narrowed(row, v)) || !in_range(row, v)) {
            rc = refuse(row, item, err);
        } else if (list->n >= TB_SETTINGS_ITEMS_MAX) {
            rc = tb_fail(err, TB_E_LIMIT, "over %u items",
                         TB_SETTINGS_ITEMS_MAX);
        } else {
            float *at = tb_mem_resize(list->at, list->n + 1, sizeof *at);
            if (at == NULL) {
                rc = tb_fail(err, TB_E_NOMEM, "%zu items", list->n + 1);
            } else {
                list->at = at;
                list->at[list->n++] = (float)v;
            }
        }
        text = end != NULL ? end + 1 : text;
    }
    if (rc != TB_OK) {
        list->n = before;
    }
    return rc;
}

tb_rc tb_setting_parse(const tb_setting *row, const char *text,
                       const char *folder, void *field, tb_err *err)
{
    switch (row->type) {
    case TB_SETTING_BOOL:
        return parse_bool(row, text, field, err);
    case TB_SETTING_INT:
        return parse_int(row, text, field, err);
    case TB_SETTING_FLOAT:
        return parse_float(row, text, field, err);
    case TB_SETTING_TEXT:
        return row->choices != NULL &&
                       row->choices[choice_of(row, text)] == NULL
                   ? refuse(row, text, err)
                   : parse_path(row, text, NULL, field, row->size, err);
    case TB_SETTING_PATH:
        return parse_path(row, text, folder, field, row->size, err);
    case TB_SETTING_PLACE:
        return parse_place(row, text, folder, field, err);
    case TB_SETTING_NAME:
        return tb_name_valid(text) && tb_name_set(field, text)
                   ? TB_OK
                   : refuse(row, text, err);
    case TB_SETTING_ENUM:
        return parse_enum(row, text, field, err);
    case TB_SETTING_DURATION:
        return parse_measure(row, durations, text, field, err);
    case TB_SETTING_BYTES:
        return parse_bytes(row, text, field, err);
    case TB_SETTING_TEXTS:
        return append_text(row, text, field, err);
    case TB_SETTING_FLOATS:
        return append_floats(row, text, field, err);
    }
    return tb_fail(err, TB_E_BUG, "setting %s: type %d", row->key, row->type);
}
