/* core/host/settings_priv.h - between the files of host/settings: one field
 * from text and back, and one row set by one source. */
#ifndef TB_HOST_SETTINGS_PRIV_H
#define TB_HOST_SETTINGS_PRIV_H

#include "host/settings.h"

/* Whether a row holds a list. */
bool tb_setting_is_list(const tb_setting *row);

/* Reads text into the field (lists: appends). folder: of relative paths, or
 * NULL. Errors: USAGE ("x" is not ...), LIMIT, NOMEM; the field stays. */
tb_rc tb_setting_parse(const tb_setting *row, const char *text,
                       const char *folder, void *field, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* Appends the field's canonical text. Errors: LIMIT, NOMEM. */
tb_rc tb_setting_print(const tb_setting *row, const void *field, tb_buf *out,
                       tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Whether a field is "" or an empty list. */
bool tb_setting_is_empty(const tb_setting *row, const void *field)
    TB_NONNULL(1, 2);

/* Frees a list's items; other fields stay. */
void tb_setting_clear(const tb_setting *row, void *field) TB_NONNULL(1, 2);

/* The field of row i. */
void *tb_settings_field(const tb_settings *s, size_t i) TB_NONNULL(1);

/* Index of a key, or table->n_rows. */
size_t tb_settings_find(const tb_setting_table *table, const char *key)
    TB_NONNULL(1, 2);

/* Row i, a list, begins from a source: empty, if that is stronger than who
 * filled it before. */
void tb_settings_begin(tb_settings *s, size_t i, tb_setting_from from)
    TB_NONNULL(1);

/* Sets row i, or only judges the text when a stronger source has. The error
 * names no key. */
tb_rc tb_settings_put(tb_settings *s, size_t i, const char *text,
                      const char *folder, tb_setting_from from, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Fails with USAGE: unknown key, and the one that was meant. */
tb_rc tb_settings_unknown(const tb_setting_table *table, const char *key,
                          tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
