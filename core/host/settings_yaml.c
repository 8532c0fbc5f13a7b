/* core/host/settings_yaml.c - a settings struct from YAML, event by event: no
 * tree is built, so a file costs what its events cost. Keys may be nested or
 * dotted; everything YAML offers beyond mappings, lists and scalars is
 * refused with its place. */
#include "host/settings_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <yaml.h>

#include "base/file.h"

#define GROUPS_MAX TB_SETTINGS_ROWS_MAX

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    bool has_event;
    tb_settings *s;
    const char *name;   /* of the file, for errors */
    const char *folder; /* of relative paths, or NULL */
    bool seen[TB_SETTINGS_ROWS_MAX];
    char groups[GROUPS_MAX][TB_SETTINGS_KEY_BYTES]; /* mappings seen */
    size_t n_groups;
    tb_err *err;
} reader;

/* Puts "name:line:column: " before an error at mark. */
static tb_rc at_mark(const reader *r, yaml_mark_t mark, tb_rc rc)
{
    return tb_err_prefix(r->err, rc, "%s:%zu:%zu", r->name, mark.line + 1,
                         mark.column + 1);
}

static tb_rc refuse(const reader *r, const char *why)
{
    return at_mark(r, r->event.start_mark,
                   tb_fail(r->err, TB_E_USAGE, "%s", why));
}

static tb_rc parser_failed(const reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) {
        return tb_fail(r->err, TB_E_NOMEM, "%s", r->name);
    }
    tb_rc rc = tb_fail(r->err, TB_E_MALFORMED, "not YAML: %s",
                       p->problem != NULL ? p->problem : "unreadable");
    return at_mark(r, p->problem_mark, rc);
}

/* Whether the event carries an anchor or a tag. */
static bool is_marked(const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return e->data.scalar.anchor != NULL || e->data.scalar.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return e->data.sequence_start.anchor != NULL ||
               e->data.sequence_start.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return e->data.mapping_start.anchor != NULL ||
               e->data.mapping_start.tag != NULL;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    case YAML_ALIAS_EVENT:
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return false;
    }
    return false;
}

/* Moves on to the next event. */
static tb_rc next(reader *r)
{
    if (r->has_event) {
        yaml_event_delete(&r->event);
        r->has_event = false;
    }
    if (yaml_parser_parse(&r->parser, &r->event) == 0) {
        return parser_failed(r);
    }
    r->has_event = true;
    if (r->event.type == YAML_ALIAS_EVENT || is_marked(&r->event)) {
        return refuse(r, "anchors, aliases and tags are not used here");
    }
    return TB_OK;
}

/* The scalar's text, without a NUL inside. */
static tb_rc scalar_text(const reader *r, const char **out)
{
    const char *text = (const char *)r->event.data.scalar.value;
    if (strlen(text) != r->event.data.scalar.length) {
        return refuse(r, "a text with a NUL character");
    }
    *out = text;
    return TB_OK;
}

/* An empty plain scalar, "~" and "null" say nothing; a quoted one is a text. */
static bool is_null(const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text[0] == '\0' || strcmp(text, "~") == 0 ||
            strcmp(text, "null") == 0);
}

/* Sets row i from the scalar that is the current event. */
static tb_rc read_scalar(reader *r, size_t i)
{
    const char *key = r->s->table->rows[i].key;
    const char *text = NULL;
    tb_rc rc = scalar_text(r, &text);
    if (rc != TB_OK) {
        return rc;
    }
    if (is_null(&r->event)) {
        rc = tb_fail(r->err, TB_E_USAGE, "%s: no value is given", key);
        return at_mark(r, r->event.start_mark, rc);
    }
    rc = tb_settings_put(r->s, i, text, r->folder, TB_FROM_FILE, r->err);
    if (rc != TB_OK) {
        rc = tb_err_prefix(r->err, rc, "%s", key);
        return at_mark(r, r->event.start_mark, rc);
    }
    return TB_OK;
}

/* The items of a list, whose start is the current event. */
static tb_rc read_list(reader *r, size_t i)
{
    tb_settings_begin(r->s, i, TB_FROM_FILE); /* it may have no item */
    tb_rc rc = next(r);
    while (rc == TB_OK && r->event.type != YAML_SEQUENCE_END_EVENT) {
        rc = r->event.type == YAML_SCALAR_EVENT
                 ? read_scalar(r, i)
                 : refuse(r, "an item of a list must be one value");
        if (rc == TB_OK) {
            rc = next(r);
        }
    }
    return rc;
}

/* The value of row i: the next event. */
static tb_rc read_value(reader *r, size_t i)
{
    const tb_setting *row = &r->s->table->rows[i];
    tb_rc rc = next(r);
    if (rc != TB_OK) {
        return rc;
    }
    if (r->event.type == YAML_SCALAR_EVENT) {
        return read_scalar(r, i);
    }
    if (r->event.type == YAML_SEQUENCE_START_EVENT && tb_setting_is_list(row)) {
        return read_list(r, i);
    }
    char range[TB_ERR_TEXT_BYTES / 2];
    tb_setting_range(row, range, sizeof range);
    rc = tb_fail(r->err, TB_E_USAGE, "%s: must be %s", row->key, range);
    return at_mark(r, r->event.start_mark, rc);
}

/* Whether some row's key begins with "group.". */
static bool is_group(const tb_setting_table *table, const char *group)
{
    size_t n = strlen(group);
    for (size_t i = 0; i < table->n_rows; i++) {
        if (strncmp(table->rows[i].key, group, n) == 0 &&
            table->rows[i].key[n] == '.') {
            return true;
        }
    }
    return false;
}

/* Notes a group; false when it was there before. */
static bool note_group(reader *r, const char *group)
{
    for (size_t i = 0; i < r->n_groups; i++) {
        if (strcmp(r->groups[i], group) == 0) {
            return false;
        }
    }
    if (r->n_groups < GROUPS_MAX) {
        (void)snprintf(r->groups[r->n_groups++], TB_SETTINGS_KEY_BYTES, "%s",
                       group);
    }
    return true;
}

static tb_rc twice(const reader *r, const char *key, yaml_mark_t mark)
{
    return at_mark(r, mark,
                   tb_fail(r->err, TB_E_USAGE, "%s stands here twice", key));
}

static tb_rc read_mapping(reader *r, const char *prefix);

/* A key whose own keys follow. */
static tb_rc read_group(reader *r, const char *group, yaml_mark_t mark)
{
    if (!note_group(r, group)) {
        return twice(r, group, mark);
    }
    tb_rc rc = next(r);
    if (rc == TB_OK && r->event.type != YAML_MAPPING_START_EVENT) {
        rc = at_mark(r, r->event.start_mark,
                     tb_fail(r->err, TB_E_USAGE,
                             "%s: keys of its own must follow, each on a line "
                             "of its own",
                             group));
    }
    return rc == TB_OK ? read_mapping(r, group) : rc;
}

/* One key, the current event, and what follows it. */
static tb_rc read_entry(reader *r, const char *prefix)
{
    char key[TB_SETTINGS_KEY_BYTES];
    const char *text = NULL;
    yaml_mark_t mark = r->event.start_mark;
    if (r->event.type != YAML_SCALAR_EVENT) {
        return refuse(r, "a key must be one word");
    }
    tb_rc rc = scalar_text(r, &text);
    if (rc != TB_OK) {
        return rc;
    }
    int n = snprintf(key, sizeof key, "%s%s%s", prefix,
                     prefix[0] != '\0' ? "." : "", text);
    bool fits = n > 0 && (size_t)n < sizeof key;
    size_t i = fits ? tb_settings_find(r->s->table, key) : r->s->table->n_rows;
    if (i < r->s->table->n_rows) {
        if (r->seen[i]) {
            return twice(r, key, mark);
        }
        r->seen[i] = true;
        return read_value(r, i);
    }
    if (fits && is_group(r->s->table, key)) {
        return read_group(r, key, mark);
    }
    return at_mark(r, mark, tb_settings_unknown(r->s->table, key, r->err));
}

/* All entries of a mapping, whose start is the current event. Keys nest no
 * deeper than the table's, so neither does this. */
static tb_rc read_mapping(reader *r, const char *prefix)
{
    tb_rc rc = next(r);
    while (rc == TB_OK && r->event.type != YAML_MAPPING_END_EVENT) {
        rc = read_entry(r, prefix);
        if (rc == TB_OK) {
            rc = next(r);
        }
    }
    return rc;
}

/* The one document of the stream, which may be empty. */
static tb_rc read_stream(reader *r)
{
    tb_rc rc = next(r); /* stream start */
    if (rc == TB_OK) {
        rc = next(r);
    }
    if (rc != TB_OK || r->event.type == YAML_STREAM_END_EVENT) {
        return rc;
    }
    rc = next(r); /* behind the document's start */
    if (rc == TB_OK && r->event.type != YAML_MAPPING_START_EVENT) {
        rc = refuse(r, "lines of \"key: value\" must stand here");
    }
    if (rc == TB_OK) {
        rc = read_mapping(r, "");
    }
    if (rc == TB_OK) {
        rc = next(r); /* document end */
    }
    if (rc == TB_OK) {
        rc = next(r);
    }
    if (rc == TB_OK && r->event.type != YAML_STREAM_END_EVENT) {
        rc = refuse(r, "a second document stands here; only one is read");
    }
    return rc;
}

/* The folder part of a path into out: "." for a bare name. */
static tb_rc folder_of(const char *path, char *out, size_t out_bytes,
                       tb_err *err)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (n >= out_bytes) {
        return tb_fail(err, TB_E_LIMIT, "%.64s...: a path of %zu bytes", path,
                       strlen(path));
    }
    (void)snprintf(out, out_bytes, "%.*s", (int)n, path);
    return TB_OK;
}

tb_rc tb_settings_read_yaml(tb_settings *s, const void *bytes, size_t len,
                            const char *name, tb_err *err)
{
    char folder[TB_SETTINGS_TEXT_BYTES];
    if (len > TB_SETTINGS_FILE_BYTES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%s: %zu bytes, at most %zu", name, len,
                       TB_SETTINGS_FILE_BYTES_MAX);
    }
    tb_rc rc = folder_of(name, folder, sizeof folder, err);
    if (rc != TB_OK) {
        return rc;
    }
    reader r = {.s = s,
                .name = name,
                .folder = folder[0] != '\0' ? folder : NULL,
                .err = err};
    if (yaml_parser_initialize(&r.parser) == 0) {
        return tb_fail(err, TB_E_NOMEM, "%s", name);
    }
    yaml_parser_set_input_string(&r.parser, bytes != NULL ? bytes : "", len);
    rc = read_stream(&r);
    if (r.has_event) {
        yaml_event_delete(&r.event);
    }
    yaml_parser_delete(&r.parser);
    return rc;
}

tb_rc tb_settings_read_file(tb_settings *s, const char *path, tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, TB_SETTINGS_FILE_BYTES_MAX);
    tb_rc rc = tb_file_read(&bytes, path, err);
    if (rc == TB_OK) {
        rc = tb_settings_read_yaml(s, bytes.data, bytes.len, path, err);
    }
    tb_buf_release(&bytes);
    return rc;
}
