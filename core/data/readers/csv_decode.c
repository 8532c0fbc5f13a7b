/* core/data/readers/csv_decode.c - tables as text (RFC 4180): a line of column
 * names, then one sample a line. Features become float32; the label column a
 * class index (by the class list, or a number) or a float32. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "data/formats.h"

#define FIELD_BYTES 256 /* longer ones may be skipped, not used */
#define BOM         "\xef\xbb\xbf"
#define USE_SKIP    ((size_t)-1)
#define USE_LABEL   ((size_t)-2)

typedef struct csv {
    const char *name;
    const char *at;    /* next character */
    const char *end;   /* of the text */
    const char *begin; /* of the line */
    size_t line;       /* from 1 */
} csv;

typedef struct field {
    char text[FIELD_BYTES]; /* unquoted, trimmed, cut */
    size_t len;             /* before the cut */
    size_t column;          /* in the line, from 1 */
    bool last;              /* of its line */
} field;

/* What each column of the file is for. */
typedef struct plan {
    char **names; /* owned [n] */
    size_t *use;  /* owned [n]: a feature's index, USE_SKIP or USE_LABEL */
    size_t n;
    size_t n_features;
    const tb_read_options *options;
} plan;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static tb_rc fail_at(const csv *c, size_t column, tb_err *err, const char *what)
{
    return tb_fail(err, TB_E_MALFORMED, "%s:%zu:%zu: %s", c->name, c->line,
                   column, what);
}

static void put_char(field *f, char c)
{
    if (f->len + 1 < FIELD_BYTES) {
        f->text[f->len] = c;
    }
    f->len++;
}

static tb_rc quoted_field(csv *c, field *f, tb_err *err)
{
    for (c->at++;; c->at++) {
        if (c->at == c->end || *c->at == '\n') {
            return fail_at(c, f->column, err,
                           "a quote is not closed on its line");
        }
        if (*c->at == '"') {
            if (c->at + 1 == c->end || c->at[1] != '"') {
                break;
            }
            c->at++; /* "" stands for one */
        }
        put_char(f, *c->at);
    }
    c->at++;
    while (c->at < c->end && is_blank(*c->at)) {
        c->at++;
    }
    if (c->at < c->end && *c->at != ',' && *c->at != '\n') {
        return fail_at(c, f->column, err,
                       "text follows a closing quote; write \"\" for a quote "
                       "inside one");
    }
    return TB_OK;
}

static void bare_field(csv *c, field *f)
{
    size_t trimmed = 0;
    for (; c->at < c->end && *c->at != ',' && *c->at != '\n'; c->at++) {
        put_char(f, *c->at);
        trimmed = is_blank(*c->at) ? trimmed : f->len;
    }
    f->len = trimmed;
}

/* Takes one field and the comma or newline behind it. */
static tb_rc next_field(csv *c, field *f, tb_err *err)
{
    tb_rc rc = TB_OK;
    while (c->at < c->end && is_blank(*c->at)) {
        c->at++;
    }
    f->len = 0;
    f->column = (size_t)(c->at - c->begin) + 1;
    if (c->at < c->end && *c->at == '"') {
        rc = quoted_field(c, f, err);
    } else {
        bare_field(c, f);
    }
    f->text[f->len < FIELD_BYTES ? f->len : FIELD_BYTES - 1] = '\0';
    f->last = c->at == c->end || *c->at == '\n';
    c->at += c->at < c->end;
    return rc;
}

/* Moves to the next line that is not blank; false at the end of the text. */
static bool next_line(csv *c)
{
    while (c->at < c->end) {
        const char *at = c->at;
        c->begin = at;
        c->line++;
        while (at < c->end && is_blank(*at)) {
            at++;
        }
        if (at < c->end && *at != '\n') {
            return true;
        }
        c->at = at + (at < c->end);
    }
    return false;
}

static size_t count_lines(csv c)
{
    size_t n = 0;
    for (; next_line(&c); n++) {
        const char *newline = memchr(c.at, '\n', (size_t)(c.end - c.at));
        c.at = newline == NULL ? c.end : newline + 1;
    }
    return n;
}

static void plan_release(plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        tb_mem_free(p->names[i]);
    }
    tb_mem_free(p->names);
    tb_mem_free(p->use);
}

static size_t find_name(const plan *p, const char *name)
{
    size_t i = 0;
    while (i < p->n && strcmp(p->names[i], name) != 0) {
        i++;
    }
    return i;
}

static tb_rc add_name(plan *p, const csv *c, const field *f, tb_err *err)
{
    if (f->len == 0) {
        return fail_at(c, f->column, err, "a column has no name");
    }
    if (f->len >= FIELD_BYTES || p->n == TB_READ_MAX_COLUMNS) {
        return fail_at(c, f->column, err, "too many columns, or a long name");
    }
    p->names[p->n] = tb_mem_text(f->text);
    if (p->names[p->n] == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", c->name);
    }
    p->n++;
    return TB_OK;
}

static size_t count_commas(const csv *c)
{
    size_t n = 0;
    for (const char *at = c->at; at < c->end && *at != '\n'; at++) {
        n += *at == ',';
    }
    return n;
}

static tb_rc read_header(plan *p, csv *c, tb_err *err)
{
    size_t most = 0;
    if (!next_line(c)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: is empty; a line of column names should begin it",
                       c->name);
    }
    most = count_commas(c) + 1;
    p->names = tb_mem_array(most, sizeof *p->names);
    p->use = tb_mem_array(most, sizeof *p->use);
    if (p->names == NULL || p->use == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", c->name);
    }
    tb_rc rc = TB_OK;
    field f = {.last = false};
    while (rc == TB_OK && !f.last) {
        rc = next_field(c, &f, err);
        if (rc == TB_OK) {
            rc = add_name(p, c, &f, err);
        }
    }
    return rc;
}

static tb_rc no_column(const plan *p, const csv *c, const char *name,
                       tb_err *err)
{
    const char *near =
        tb_text_nearest(name, (const char *const *)p->names, p->n);
    return tb_fail(err, TB_E_USAGE,
                   "%s:1: no column \"%.64s\" among %zu (\"%.64s\", ...)%s%.64s"
                   "%s",
                   c->name, name, p->n, p->names[0],
                   near != NULL ? "; did you mean \"" : "",
                   near != NULL ? near : "", near != NULL ? "\"?" : "");
}

/* Gives each column its use; refuses names that come twice. */
static tb_rc plan_columns(plan *p, const csv *c, tb_err *err)
{
    const tb_read_options *o = p->options;
    if (p->n < 2 && !o->unlabelled) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s:1: one column only; features and a label are "
                       "needed, separated by commas",
                       c->name);
    }
    size_t label = o->label != NULL ? find_name(p, o->label) : p->n - 1;
    if (o->unlabelled && o->label != NULL) {
        return tb_fail(err, TB_E_USAGE,
                       "%s: unlabelled, and yet its label is column \"%.64s\"; "
                       "name the columns to use instead",
                       c->name, o->label);
    }
    if (o->unlabelled) {
        label = p->n; /* no column */
    } else if (label == p->n) {
        return no_column(p, c, o->label, err);
    }
    for (size_t i = 0; i < p->n; i++) {
        bool all = o->columns == NULL && i != label;
        p->use[i] = all ? p->n_features++ : USE_SKIP;
    }
    if (label < p->n) {
        p->use[label] = USE_LABEL;
    }
    for (size_t i = 0; o->columns != NULL && i < o->n_columns; i++) {
        size_t at = find_name(p, o->columns[i]);
        if (at == p->n) {
            return no_column(p, c, o->columns[i], err);
        }
        if (p->use[at] != USE_SKIP) {
            return tb_fail(err, TB_E_USAGE,
                           "%s:1: column \"%.64s\" is asked for twice, or is "
                           "the label",
                           c->name, o->columns[i]);
        }
        p->use[at] = p->n_features++;
    }
    for (size_t i = 0; i < p->n; i++) {
        if (p->use[i] != USE_SKIP && find_name(p, p->names[i]) < i) {
            return tb_fail(err, TB_E_MALFORMED,
                           "%s:1: column \"%.64s\" stands there twice", c->name,
                           p->names[i]);
        }
    }
    return TB_OK;
}

static tb_rc read_number(const field *f, float *out, tb_err *err)
{
    double v = 0.0;
    tb_rc rc = TB_OK;
    if (f->len == 0) {
        return tb_fail(err, TB_E_MALFORMED,
                       "is empty; fill the gap or drop the row");
    }
    if (f->len >= FIELD_BYTES) {
        return tb_fail(err, TB_E_MALFORMED, "is too long for a number");
    }
    rc = tb_text_f64(f->text, &v, err);
    if (rc == TB_OK && fabs(v) > (double)FLT_MAX) {
        rc = tb_fail(err, TB_E_LIMIT, "%.32s does not fit a float32", f->text);
    }
    *out = (float)v;
    return rc == TB_E_USAGE ? TB_E_MALFORMED : rc;
}

static tb_rc read_class(const tb_read_options *o, const field *f, int32_t *out,
                        tb_err *err)
{
    uint64_t v = 0;
    for (size_t i = 0; i < o->n_classes; i++) {
        if (f->len < FIELD_BYTES && strcmp(o->classes[i], f->text) == 0) {
            *out = (int32_t)i;
            return TB_OK;
        }
    }
    size_t n = o->classes == NULL ? TB_DATASET_MAX_CLASSES : o->n_classes;
    if ((o->classes == NULL || o->or_numbers) &&
        tb_text_u64(f->text, &v, err) == TB_OK && v < n) {
        *out = (int32_t)v;
        return TB_OK;
    }
    if (o->classes == NULL) {
        return tb_fail(err, TB_E_MALFORMED,
                       "\"%.64s\" is no class index; list the classes by name "
                       "(--classes), or use numbers 0, 1, ...",
                       f->text);
    }
    const char *near = tb_text_nearest(f->text, o->classes, o->n_classes);
    return tb_fail(err, TB_E_MALFORMED,
                   "\"%.64s\" is not in the list of %zu classes%s%.64s%s",
                   f->text, o->n_classes,
                   near != NULL ? "; did you mean \"" : "",
                   near != NULL ? near : "", near != NULL ? "\"?" : "");
}

/* One line into row x [n_features] and y. */
static tb_rc read_line(const plan *p, csv *c, float *x, void *y, tb_err *err)
{
    field f = {.last = false};
    tb_rc rc = TB_OK;
    size_t i = 0;
    for (; rc == TB_OK && !f.last; i++) {
        rc = next_field(c, &f, err);
        if (rc != TB_OK || i >= p->n || p->use[i] == USE_SKIP) {
            continue;
        }
        if (p->use[i] != USE_LABEL) {
            rc = read_number(&f, &x[p->use[i]], err);
        } else if (p->options->target == TB_TARGET_CLASS) {
            rc = read_class(p->options, &f, y, err);
        } else {
            rc = read_number(&f, y, err);
        }
        if (rc != TB_OK) {
            return tb_err_prefix(err, rc, "%s:%zu:%zu: column \"%.64s\"",
                                 c->name, c->line, f.column, p->names[i]);
        }
    }
    if (rc == TB_OK && i != p->n) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "%s:%zu:%zu: %zu fields, the first line names %zu",
                     c->name, c->line, f.column, i, p->n);
    }
    return rc;
}

static tb_rc name_columns(tb_dataset *ds, const plan *p, tb_err *err)
{
    const char **names = tb_mem_array(p->n_features, sizeof *names);
    if (names == NULL) {
        return tb_fail(err, TB_E_NOMEM, "column names");
    }
    for (size_t i = 0; i < p->n; i++) {
        if (p->use[i] < p->n_features) {
            names[p->use[i]] = p->names[i];
        }
    }
    tb_rc rc = tb_dataset_set_columns(ds, names, err);
    tb_mem_free(names);
    return rc;
}

static tb_rc read_rows(tb_dataset **out, const plan *p, csv *c, tb_err *err)
{
    size_t n = count_lines(*c);
    size_t n_fields = 0;
    tb_dataset *ds = NULL;
    tb_sample_spec spec = {
        .x_dtype = TB_F32,
        .x_shape = TB_SHAPE(p->n_features),
        .target = p->options->unlabelled ? TB_TARGET_VALUE : p->options->target,
        .n_targets = 1};
    spec.n_classes = spec.target == TB_TARGET_CLASS ? p->options->n_classes : 0;
    if (n == 0 || tb_mem_mul(&n_fields, n, p->n) != 0 ||
        n_fields > (size_t)(c->end - c->at) + 1) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: %zu rows below the names of %zu columns: they are "
                       "missing or too short",
                       c->name, n, p->n);
    }
    tb_rc rc = tb_dataset_new(&ds, &spec, n, err);
    if (rc == TB_OK) {
        rc = name_columns(ds, p, err);
    }
    uint8_t *x = ds != NULL ? tb_dataset_x(ds) : NULL;
    uint8_t *y = ds != NULL ? tb_dataset_y(ds) : NULL;
    for (size_t i = 0; rc == TB_OK && i < n && next_line(c); i++) {
        rc = read_line(p, c, (float *)(void *)(x + i * tb_dataset_x_bytes(ds)),
                       y + i * tb_dataset_y_bytes(ds), err);
    }
    if (rc == TB_OK) {
        rc = tb_dataset_seal(ds, err);
    }
    if (rc == TB_OK) {
        *out = ds;
        ds = NULL;
    }
    tb_dataset_free(&ds);
    return rc;
}

tb_rc tb_csv_decode(tb_dataset **out, const char *name, const char *text,
                    size_t len, const tb_read_options *options, tb_err *err)
{
    *out = NULL;
    csv c = {.name = name, .at = text, .end = text + len, .begin = text};
    plan p = {.options = options};
    if (len > 0 && memchr(text, '\0', len) != NULL) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: holds NUL bytes: no CSV text; save it as UTF-8",
                       name);
    }
    if (len >= 3 && memcmp(text, BOM, 3) == 0) {
        c.at += 3;
    }
    tb_rc rc = read_header(&p, &c, err);
    if (rc == TB_OK) {
        rc = plan_columns(&p, &c, err);
    }
    if (rc == TB_OK) {
        rc = read_rows(out, &p, &c, err);
    }
    plan_release(&p);
    return rc;
}
