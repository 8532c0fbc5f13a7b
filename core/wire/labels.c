#include "wire/labels.h"

#include <stdio.h>
#include <string.h>

#define NUMBER_BYTES 24

typedef struct part {
    const char *at;
    size_t n;
} part;

/* --- words ---------------------------------------------------------------- */

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || (c != '\0' && strchr("._-", c) != NULL);
}

static bool is_value_char(char c)
{
    return is_key_char(c) || (c != '\0' && strchr("+:/@", c) != NULL);
}

static part word(const char *text, bool (*is)(char c))
{
    part p = {text, 0};
    while (is(text[p.n])) {
        p.n++;
    }
    return p;
}

static bool is_key(part p)
{
    char text[TB_NAME_BYTES] = "";
    if (p.n == 0 || p.n >= sizeof text) {
        return false;
    }
    memcpy(text, p.at, p.n);
    return tb_name_valid(text);
}

static bool is_value(part p)
{
    return p.n > 0 && p.n < TB_NAME_BYTES;
}

static int compare(part a, part b)
{
    int order = memcmp(a.at, b.at, a.n < b.n ? a.n : b.n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* --- labels --------------------------------------------------------------- */

/* The pair at *at, and *at behind it and one blank; false at the end. */
static bool next_pair(const char **at, part *key, part *value)
{
    if (**at == '\0') {
        return false;
    }
    size_t n = strcspn(*at, " ");
    const char *equals = memchr(*at, '=', n);
    size_t n_key = equals != NULL ? (size_t)(equals - *at) : n;
    *key = (part){*at, n_key};
    *value =
        (part){*at + n_key + (equals != NULL), n - n_key - (equals != NULL)};
    *at += n + ((*at)[n] == ' ');
    return true;
}

/* Whether a text of len bytes is a pair, perhaps without a value. */
static bool read_pair(const char *text, size_t len, bool empty, part *key)
{
    *key = word(text, is_key_char);
    if (!is_key(*key) || key->n >= len || text[key->n] != '=') {
        return false;
    }
    part value = word(text + key->n + 1, is_value_char);
    return key->n + 1 + value.n == len &&
           (is_value(value) || (empty && value.n == 0));
}

static tb_rc not_a_label(const char *text, size_t len, tb_err *err)
{
    return tb_fail(err, TB_E_USAGE,
                   "\"%.*s\" is not a label: KEY=VALUE, such as site=lyon or "
                   "memory=512MB (letters, digits and . _ -; in the value "
                   "also + : / @; 63 at most)",
                   (int)(len < 64 ? len : 64), text);
}

tb_rc tb_label_check(const char *text, tb_err *err)
{
    part key;
    size_t len = strlen(text);
    return read_pair(text, len, false, &key) ? TB_OK
                                             : not_a_label(text, len, err);
}

bool tb_labels_valid(const char *text)
{
    part key;
    part last = {NULL, 0};
    if (strnlen(text, TB_LABELS_BYTES) == TB_LABELS_BYTES) {
        return false;
    }
    for (const char *at = text; *at != '\0';) {
        part pair = {at, strcspn(at, " ")};
        if (!read_pair(pair.at, pair.n, false, &key) ||
            (last.at != NULL && compare(last, pair) >= 0)) {
            return false;
        }
        last = pair;
        at += pair.n;
        if (*at == ' ' && *++at == '\0') {
            return false; /* a blank at the end */
        }
    }
    return true;
}

static bool has_key(const char *labels, part key)
{
    part k;
    part v;
    while (next_pair(&labels, &k, &v)) {
        if (compare(k, key) == 0) {
            return true;
        }
    }
    return false;
}

/* Puts a pair into its place; one that is there already stays single. */
static bool insert(tb_labels *to, part pair)
{
    char *at = to->text;
    size_t len = strlen(to->text);
    while (*at != '\0') {
        part here = {at, strcspn(at, " ")};
        int order = compare(here, pair);
        if (order == 0) {
            return true;
        }
        if (order > 0) {
            break;
        }
        at += here.n + (at[here.n] == ' ');
    }
    if (len + 1 + pair.n >= sizeof to->text) {
        return false;
    }
    size_t left = len - (size_t)(at - to->text);
    if (left > 0) {
        memmove(at + pair.n + 1, at, left + 1);
        at[pair.n] = ' ';
    } else if (len > 0) {
        *at++ = ' ';
        at[pair.n] = '\0';
    } else {
        at[pair.n] = '\0';
    }
    memcpy(at, pair.at, pair.n);
    return true;
}

static tb_rc too_long(tb_err *err)
{
    return tb_fail(err, TB_E_LIMIT, "all labels of a client: over %d bytes",
                   TB_LABELS_BYTES - 1);
}

tb_rc tb_labels_change(tb_labels *labels, const char *changes, tb_err *err)
{
    tb_labels now = {""};
    part key;
    part value;
    for (const char *at = changes + strspn(changes, " "); *at != '\0';) {
        size_t n = strcspn(at, " ");
        if (!read_pair(at, n, true, &key)) {
            return not_a_label(at, n, err);
        }
        if (at[n - 1] != '=' && !insert(&now, (part){at, n})) {
            return too_long(err);
        }
        at += n + strspn(at + n, " ");
    }
    const char *old = labels->text;
    while (next_pair(&old, &key, &value)) {
        bool named = false;
        for (const char *at = changes; *at != '\0' && !named;) {
            at += strspn(at, " ");
            part changed = word(at, is_key_char);
            named = changed.n > 0 && compare(changed, key) == 0;
            at += strcspn(at, " ");
        }
        if (!named && !insert(&now, (part){key.at, key.n + 1 + value.n})) {
            return too_long(err);
        }
    }
    *labels = now;
    return TB_OK;
}

/* --- numbers -------------------------------------------------------------- */

enum { PLAIN = 1, BYTES, TIME };

static const struct {
    const char *name;
    uint32_t kind;
    double factor;
} units[] = {
    {"", PLAIN, 1},
    {"B", BYTES, 1},
    {"kB", BYTES, 1e3},
    {"MB", BYTES, 1e6},
    {"GB", BYTES, 1e9},
    {"TB", BYTES, 1e12},
    {"KiB", BYTES, 1024.0},
    {"MiB", BYTES, 1048576.0},
    {"GiB", BYTES, 1073741824.0},
    {"TiB", BYTES, 1099511627776.0},
    {"ms", TIME, 1e-3},
    {"s", TIME, 1},
    {"m", TIME, 60},
    {"h", TIME, 3600},
    {"d", TIME, 86400},
};

/* Digits with at most one point, then a unit; returns its kind, or 0. Up to 18
 * digits, so that whole numbers are exact far enough. */
static uint32_t read_number(part p, double *out)
{
    double value = 0.0;
    double scale = 1.0;
    bool point = false;
    size_t i = 0;
    for (; i < p.n && i < NUMBER_BYTES; i++) {
        char c = p.at[i];
        if (c == '.' && !point && i > 0) {
            point = true;
        } else if (c >= '0' && c <= '9') {
            value = value * 10.0 + (double)(c - '0');
            scale *= point ? 10.0 : 1.0;
        } else {
            break;
        }
    }
    if (i == 0 || p.at[i - 1] == '.') {
        return 0;
    }
    part unit = {p.at + i, p.n - i};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        if (compare(unit, (part){units[u].name, strlen(units[u].name)}) == 0) {
            *out = value / scale * units[u].factor;
            return units[u].kind;
        }
    }
    return 0;
}

/* --- conditions ----------------------------------------------------------- */

static const char *const ops[TB_CONDITION_OP_COUNT] = {
    [TB_CONDITION_ONE_OF] = "=",
    [TB_CONDITION_NONE_OF] = "!=",
    [TB_CONDITION_AT_LEAST] = ">=",
    [TB_CONDITION_AT_MOST] = "<="};

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " ");
}

static tb_rc expected(const char *text, const char *at, const char *what,
                      tb_err *err)
{
    return tb_fail(err, TB_E_USAGE,
                   "\"%.64s\", column %zu: %s expected; a condition is such as "
                   "site=lyon|paris, tag!=old, memory>=512MB",
                   text, (size_t)(at - text) + 1, what);
}

static tb_rc put(tb_eligible *e, part p, tb_err *err)
{
    size_t len = strlen(e->text);
    if (len + p.n >= sizeof e->text) {
        return tb_fail(err, TB_E_LIMIT, "all conditions: over %d bytes",
                       TB_ELIGIBLE_BYTES - 1);
    }
    memcpy(e->text + len, p.at, p.n);
    e->text[len + p.n] = '\0';
    return TB_OK;
}

static tb_rc put_text(tb_eligible *e, const char *text, tb_err *err)
{
    return put(e, (part){text, strlen(text)}, err);
}

/* The operator at *at, and *at behind it. */
static bool read_op(const char **at, tb_condition_op *op)
{
    for (int i = 0; i < TB_CONDITION_OP_COUNT; i++) {
        size_t n = strlen(ops[i]);
        if (strncmp(*at, ops[i], n) == 0) {
            *op = (tb_condition_op)i;
            *at += n;
            return true;
        }
    }
    return false;
}

/* The values of c up to the text's end. */
static tb_rc read_values(tb_eligible *e, tb_condition *c, const char *text,
                         const char *at, tb_err *err)
{
    bool number =
        c->op == TB_CONDITION_AT_LEAST || c->op == TB_CONDITION_AT_MOST;
    tb_rc rc = TB_OK;
    c->values = (uint16_t)strlen(e->text);
    for (bool more = true; rc == TB_OK && more;) {
        at = skip_blanks(at);
        part value = word(at, is_value_char);
        if (!is_value(value)) {
            return expected(text, at, "a value", err);
        }
        if (number && (c->unit = read_number(value, &c->number)) == 0) {
            return expected(text, at,
                            "a number, perhaps with a unit (kB MB GB KiB MiB "
                            "GiB, s m h d)",
                            err);
        }
        rc = put(e, value, err);
        at = skip_blanks(at + value.n);
        more = *at == '|' && !number;
        if (rc == TB_OK && more) {
            rc = put_text(e, "|", err);
            at++;
        }
    }
    if (rc == TB_OK && *at != '\0') {
        rc = expected(text, at, number ? "the end" : "| or the end", err);
    }
    c->n_values = (uint16_t)(strlen(e->text) - c->values);
    return rc;
}

tb_rc tb_eligible_add(tb_eligible *eligible, const char *text, tb_err *err)
{
    tb_eligible e = *eligible;
    tb_condition *c = &e.at[e.n];
    if (e.n >= TB_CONDITIONS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "over %u conditions",
                       TB_CONDITIONS_MAX);
    }
    const char *at = skip_blanks(text);
    part key = word(at, is_key_char);
    if (!is_key(key)) {
        return expected(text, at, "a label's key", err);
    }
    at = skip_blanks(at + key.n);
    const char *op_at = at;
    if (!read_op(&at, &c->op)) {
        return expected(text, op_at, "= != >= or <=", err);
    }
    tb_rc rc = e.n > 0 ? put_text(&e, ", ", err) : TB_OK;
    c->key = (uint16_t)strlen(e.text);
    c->n_key = (uint16_t)key.n;
    if (rc == TB_OK) {
        rc = put(&e, key, err);
    }
    if (rc == TB_OK) {
        rc = put_text(&e, ops[c->op], err);
    }
    if (rc == TB_OK) {
        rc = read_values(&e, c, text, at, err);
    }
    if (rc == TB_OK) {
        e.n++;
        *eligible = e;
    }
    return rc;
}

tb_rc tb_condition_check(const char *text, tb_err *err)
{
    tb_eligible scratch = {0};
    return tb_eligible_add(&scratch, text, err);
}

tb_rc tb_eligible_read(tb_eligible *out, const char *text, tb_err *err)
{
    char one[TB_ELIGIBLE_BYTES];
    tb_eligible e = {0};
    tb_rc rc = TB_OK;
    *out = e;
    for (const char *at = text; rc == TB_OK && *at != '\0';) {
        size_t n = strcspn(at, ",");
        (void)snprintf(one, sizeof one, "%.*s", (int)(n < sizeof one ? n : 0),
                       at);
        rc = tb_eligible_add(&e, one, err);
        at += n + strspn(at + n, ", ");
    }
    if (rc == TB_OK && strcmp(e.text, text) != 0) {
        rc = tb_fail(err, TB_E_MALFORMED, "conditions: not in their one form");
    }
    if (rc != TB_OK) {
        return TB_E_MALFORMED;
    }
    *out = e;
    return TB_OK;
}

/* Whether the value is one of "a|b". */
static bool is_one_of(part values, part value)
{
    size_t at = 0;
    while (at < values.n) {
        const char *bar = memchr(values.at + at, '|', values.n - at);
        size_t n = bar != NULL ? (size_t)(bar - values.at) - at : values.n - at;
        if (compare((part){values.at + at, n}, value) == 0) {
            return true;
        }
        at += n + 1;
    }
    return false;
}

static bool value_fits(const tb_eligible *e, const tb_condition *c, part value)
{
    double number = 0.0;
    if (c->op == TB_CONDITION_ONE_OF || c->op == TB_CONDITION_NONE_OF) {
        return is_one_of((part){e->text + c->values, c->n_values}, value);
    }
    if (read_number(value, &number) != c->unit) {
        return false;
    }
    return c->op == TB_CONDITION_AT_LEAST ? number >= c->number
                                          : number <= c->number;
}

bool tb_eligible_fits(const tb_eligible *eligible, const tb_labels *given,
                      const tb_labels *reported)
{
    for (uint32_t i = 0; i < eligible->n; i++) {
        const tb_condition *c = &eligible->at[i];
        part key = {eligible->text + c->key, c->n_key};
        const char *labels =
            has_key(given->text, key) ? given->text : reported->text;
        part k;
        part v;
        bool fits = false;
        while (!fits && next_pair(&labels, &k, &v)) {
            fits = compare(k, key) == 0 && value_fits(eligible, c, v);
        }
        if (fits == (c->op == TB_CONDITION_NONE_OF)) {
            return false;
        }
    }
    return true;
}
