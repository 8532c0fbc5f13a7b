#include "host/settings.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "host/settings_priv.h"

void tb_settings_init(tb_settings *s, const tb_setting_table *table,
                      void *values)
{
    assert(table->n_rows <= TB_SETTINGS_ROWS_MAX);
    *s = (tb_settings){.table = table, .values = values};
    memset(values, 0, table->bytes);
}

void tb_settings_release(const tb_setting_table *table, void *values)
{
    for (size_t i = 0; i < table->n_rows; i++) {
        tb_setting_clear(&table->rows[i],
                         (char *)values + table->rows[i].offset);
    }
    memset(values, 0, table->bytes);
}

void *tb_settings_field(const tb_settings *s, size_t i)
{
    return (char *)s->values + s->table->rows[i].offset;
}

size_t tb_settings_find(const tb_setting_table *table, const char *key)
{
    size_t i = 0;
    while (i < table->n_rows && strcmp(table->rows[i].key, key) != 0) {
        i++;
    }
    return i;
}

void tb_settings_begin(tb_settings *s, size_t i, tb_setting_from from)
{
    if (from > s->from[i]) {
        tb_setting_clear(&s->table->rows[i], tb_settings_field(s, i));
        s->from[i] = (uint8_t)from;
    }
}

/* Whether the text would do for a row whose value is another's. */
static tb_rc judge(const tb_setting *row, const char *text, const char *folder,
                   tb_err *err)
{
    void *field = tb_mem_array(1, row->size);
    if (field == NULL) {
        return tb_fail(err, TB_E_NOMEM, "settings");
    }
    tb_rc rc = tb_setting_parse(row, text, folder, field, err);
    tb_setting_clear(row, field);
    tb_mem_free(field);
    return rc;
}

tb_rc tb_settings_put(tb_settings *s, size_t i, const char *text,
                      const char *folder, tb_setting_from from, tb_err *err)
{
    const tb_setting *row = &s->table->rows[i];
    if (from < s->from[i]) {
        return judge(row, text, folder, err);
    }
    if (!tb_setting_is_list(row)) {
        tb_rc rc =
            tb_setting_parse(row, text, folder, tb_settings_field(s, i), err);
        s->from[i] = rc == TB_OK ? (uint8_t)from : s->from[i];
        return rc;
    }
    if (from == s->from[i]) {
        return tb_setting_parse(row, text, folder, tb_settings_field(s, i),
                                err);
    }
    /* A new list replaces the old one once its first item is there. */
    union {
        tb_text_list texts;
        tb_float_list floats;
    } fresh = {0};
    tb_rc rc = tb_setting_parse(row, text, folder, &fresh, err);
    if (rc == TB_OK) {
        tb_settings_begin(s, i, from);
        memcpy(tb_settings_field(s, i), &fresh, row->size);
    } else {
        tb_setting_clear(row, &fresh);
    }
    return rc;
}

tb_rc tb_settings_set(tb_settings *s, const char *key, const char *text,
                      tb_setting_from from, tb_err *err)
{
    size_t i = tb_settings_find(s->table, key);
    if (i == s->table->n_rows) {
        return tb_settings_unknown(s->table, key, err);
    }
    tb_rc rc = tb_settings_put(s, i, text, NULL, from, err);
    return rc == TB_OK ? rc : tb_err_prefix(err, rc, "%s", key);
}

/* Parts of keys that a user can mistype: each key and each group of keys. */
typedef struct key_names {
    char text[2 * TB_SETTINGS_ROWS_MAX][TB_SETTINGS_KEY_BYTES];
    const char *names[2 * TB_SETTINGS_ROWS_MAX];
    size_t n;
} key_names;

static void add_name(key_names *k, const char *text, size_t n)
{
    if (k->n < sizeof k->names / sizeof *k->names) {
        (void)snprintf(k->text[k->n], TB_SETTINGS_KEY_BYTES, "%.*s", (int)n,
                       text);
        k->names[k->n] = k->text[k->n];
        k->n++;
    }
}

tb_rc tb_settings_unknown(const tb_setting_table *table, const char *key,
                          tb_err *err)
{
    key_names k;
    k.n = 0;
    const char *meant = NULL;
    for (size_t i = 0; i < table->n_rows; i++) {
        const char *name = table->rows[i].key;
        const char *last = strrchr(name, '.');
        if (last != NULL) {
            add_name(&k, name, (size_t)(last - name));
        }
        add_name(&k, name, strlen(name));
        if (last != NULL && strcmp(last + 1, key) == 0) {
            meant = name; /* right, but without its group */
        }
    }
    if (meant == NULL) {
        meant = tb_text_nearest(key, k.names, k.n);
    }
    return tb_fail(err, TB_E_USAGE, "unknown key \"%.64s\"%s%s%s", key,
                   meant != NULL ? "; did you mean \"" : "",
                   meant != NULL ? meant : "", meant != NULL ? "\"?" : "");
}

/* "optimiser.local_lr" with each letter that is not one turned into `mark`. */
static void spell(const char *prefix, const char *key, char mark, bool upper,
                  char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "%s%s", prefix, key);
    size_t end = n < 0 ? 0 : (size_t)n < out_bytes ? (size_t)n : out_bytes - 1;
    for (size_t i = strlen(prefix); i < end; i++) {
        if (!isalnum((unsigned char)out[i])) {
            out[i] = mark;
        } else if (upper) {
            out[i] = (char)toupper((unsigned char)out[i]);
        }
    }
}

void tb_setting_flag(const tb_setting *row, char *out, size_t out_bytes)
{
    spell("--", row->key, '-', false, out, out_bytes);
}

void tb_setting_env(const tb_setting_table *table, const tb_setting *row,
                    char *out, size_t out_bytes)
{
    spell(table->env, row->key, '_', true, out, out_bytes);
}

const tb_setting *tb_setting_of_flag(const tb_setting_table *table,
                                     const char *flag, size_t flag_bytes,
                                     bool *negated)
{
    char name[TB_SETTINGS_KEY_BYTES + 2];
    *negated = false;
    for (size_t i = 0; i < table->n_rows; i++) {
        const tb_setting *row = &table->rows[i];
        if (flag_bytes == 2 && flag[0] == '-' && flag[1] == row->letter) {
            return row;
        }
        tb_setting_flag(row, name, sizeof name);
        if (strlen(name) == flag_bytes && memcmp(name, flag, flag_bytes) == 0) {
            return row;
        }
        if (row->type == TB_SETTING_BOOL && flag_bytes == strlen(name) + 3 &&
            memcmp(flag, "--no-", 5) == 0 &&
            memcmp(flag + 5, name + 2, flag_bytes - 5) == 0) {
            *negated = true;
            return row;
        }
    }
    return NULL;
}

/* Texts of a list part at commas, in the environment only. */
static tb_rc put_env(tb_settings *s, size_t i, const char *text, tb_err *err)
{
    char item[TB_SETTINGS_TEXT_BYTES];
    if (s->table->rows[i].type != TB_SETTING_TEXTS) {
        return tb_settings_put(s, i, text, NULL, TB_FROM_ENV, err);
    }
    tb_rc rc = TB_OK;
    for (const char *end = text; rc == TB_OK && end != NULL; text = end + 1) {
        end = strchr(text, ',');
        size_t n = end != NULL ? (size_t)(end - text) : strlen(text);
        if (n >= sizeof item) {
            return tb_fail(err, TB_E_LIMIT, "an item of %zu bytes", n);
        }
        memcpy(item, text, n);
        item[n] = '\0';
        rc = tb_settings_put(s, i, item, NULL, TB_FROM_ENV, err);
        if (end == NULL) {
            break;
        }
    }
    return rc;
}

tb_rc tb_settings_read_env(tb_settings *s, tb_err *err)
{
    char name[TB_SETTINGS_KEY_BYTES * 2];
    for (size_t i = 0; i < s->table->n_rows; i++) {
        tb_setting_env(s->table, &s->table->rows[i], name, sizeof name);
        const char *text = getenv(name);
        if (text == NULL) {
            continue;
        }
        tb_rc rc = put_env(s, i, text, err);
        if (rc != TB_OK) {
            return tb_err_prefix(err, rc, "%s", name);
        }
    }
    return TB_OK;
}

tb_rc tb_settings_finish(tb_settings *s, tb_err *err)
{
    for (size_t i = 0; i < s->table->n_rows; i++) {
        const tb_setting *row = &s->table->rows[i];
        if (s->from[i] != TB_FROM_NOWHERE) {
            continue;
        }
        if (row->flags & TB_SETTING_REQUIRED) {
            char flag[TB_SETTINGS_KEY_BYTES + 2];
            tb_setting_flag(row, flag, sizeof flag);
            return tb_fail(err, TB_E_USAGE,
                           "%s is missing (%s): give \"%s: ...\" in a file, or "
                           "%s %s",
                           row->key, row->help, row->key, flag,
                           row->value != NULL ? row->value : "VALUE");
        }
        tb_rc rc =
            row->preset != NULL
                ? tb_settings_put(s, i, row->preset, NULL, TB_FROM_PRESET, err)
                : TB_OK;
        if (rc != TB_OK) {
            return tb_err_prefix(err, rc, "%s", row->key);
        }
    }
    return TB_OK;
}

tb_setting_from tb_settings_from(const tb_settings *s, const char *key)
{
    size_t i = tb_settings_find(s->table, key);
    return i < s->table->n_rows ? (tb_setting_from)s->from[i] : TB_FROM_NOWHERE;
}

tb_rc tb_settings_encode(const tb_setting_table *table, const void *values,
                         unsigned skip, tb_buf *out, tb_err *err)
{
    size_t before = out->len;
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < table->n_rows && rc == TB_OK; i++) {
        const tb_setting *row = &table->rows[i];
        const void *field = (const char *)values + row->offset;
        if ((row->flags & skip) != 0 || tb_setting_is_empty(row, field)) {
            continue;
        }
        rc = tb_buf_printf(out, err, "%s: ", row->key);
        if (rc == TB_OK) {
            rc = tb_setting_print(row, field, out, err);
        }
        if (rc == TB_OK) {
            rc = tb_buf_put(out, "\n", 1, err);
        }
    }
    if (rc != TB_OK) {
        out->len = before;
    }
    return rc;
}
