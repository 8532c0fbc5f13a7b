/* Which file holds the settings of a program, at its start and when it changes
 * while the program runs. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "host/settings_priv.h"

/* Row i as it was given, or its default; NULL: neither. */
static const char *path_of(const tb_settings *s, size_t i)
{
    return s->from[i] > TB_FROM_PRESET ? tb_settings_field(s, i)
                                       : s->table->rows[i].preset;
}

/* The path of the file, or "" when there is none to read. */
static void find_config(const tb_settings *s,
                        char out[static TB_SETTINGS_TEXT_BYTES])
{
    out[0] = '\0';
    for (size_t i = 0; i < s->table->n_rows; i++) {
        unsigned flags = s->table->rows[i].flags;
        const char *path = path_of(s, i);
        bool chosen = s->from[i] > TB_FROM_PRESET;
        if (path == NULL) {
            continue;
        }
        if ((flags & TB_SETTING_CONFIG) != 0 &&
            (chosen || tb_file_exists(path))) {
            (void)snprintf(out, TB_SETTINGS_TEXT_BYTES, "%s", path);
            return;
        }
        if ((flags & TB_SETTING_FOLDER) != 0) {
            (void)snprintf(out, TB_SETTINGS_TEXT_BYTES, "%s/%s", path,
                           TB_SETTINGS_FILE_NAME);
            if (!tb_file_exists(out)) {
                out[0] = '\0';
            }
        }
    }
}

tb_rc tb_settings_read_config(tb_settings *s, tb_err *err)
{
    char path[TB_SETTINGS_TEXT_BYTES];
    find_config(s, path);
    return path[0] != '\0' ? tb_settings_read_file(s, path, err) : TB_OK;
}

/* What neither file nor default can change: flags and environment. A list among
 * them stays where it is. */
static void keep_stronger(tb_settings *fresh, const tb_settings *s)
{
    for (size_t i = 0; i < s->table->n_rows; i++) {
        const tb_setting *row = &s->table->rows[i];
        if (s->from[i] < TB_FROM_ENV) {
            continue;
        }
        fresh->from[i] = s->from[i];
        if (!tb_setting_is_list(row)) {
            memcpy(tb_settings_field(fresh, i), tb_settings_field(s, i),
                   row->size);
        }
    }
}

static tb_rc same(const tb_settings *a, const tb_settings *b, size_t i,
                  bool *out, tb_err *err)
{
    tb_buf texts[2];
    const tb_setting *row = &a->table->rows[i];
    tb_buf_init(&texts[0], TB_SETTINGS_FILE_BYTES_MAX);
    tb_buf_init(&texts[1], TB_SETTINGS_FILE_BYTES_MAX);
    tb_rc rc = tb_setting_print(row, tb_settings_field(a, i), &texts[0], err);
    if (rc == TB_OK) {
        rc = tb_setting_print(row, tb_settings_field(b, i), &texts[1], err);
    }
    *out = rc == TB_OK && texts[0].len == texts[1].len &&
           (texts[0].len == 0 ||
            memcmp(texts[0].data, texts[1].data, texts[0].len) == 0);
    tb_buf_release(&texts[0]);
    tb_buf_release(&texts[1]);
    return rc;
}

/* Which rows differ, all of them, before the first changes. */
static tb_rc compare(bool differs[static TB_SETTINGS_ROWS_MAX],
                     const tb_settings *s, const tb_settings *fresh,
                     tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < s->table->n_rows && rc == TB_OK; i++) {
        bool equal = true;
        if (s->from[i] < TB_FROM_ENV) {
            rc = same(s, fresh, i, &equal, err);
        }
        differs[i] = !equal;
    }
    return rc;
}

tb_rc tb_settings_reload(tb_settings *s, tb_settings_change_fn *changed,
                         void *arg, tb_err *err)
{
    bool differs[TB_SETTINGS_ROWS_MAX];
    tb_settings fresh;
    void *values = tb_mem_array(1, s->table->bytes);
    if (values == NULL) {
        return tb_fail(err, TB_E_NOMEM, "settings");
    }
    tb_settings_init(&fresh, s->table, values);
    keep_stronger(&fresh, s);
    tb_rc rc = tb_settings_read_config(&fresh, err);
    if (rc == TB_OK) {
        rc = tb_settings_finish(&fresh, err);
    }
    if (rc == TB_OK) {
        rc = compare(differs, s, &fresh, err);
    }
    for (size_t i = 0; rc == TB_OK && i < s->table->n_rows; i++) {
        const tb_setting *row = &s->table->rows[i];
        bool live = (row->flags & TB_SETTING_LIVE) != 0;
        if (differs[i] && live) {
            memcpy(tb_settings_field(s, i), tb_settings_field(&fresh, i),
                   row->size);
        }
        if (differs[i]) {
            changed(arg, row, live);
        }
    }
    tb_settings_release(s->table, values);
    tb_mem_free(values);
    return rc;
}
