#include "host/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/file.h"

/* Enough for every float32 to come back as it was. */
#define DIGITS 12

/* tb_json is jansson's json_t under a name of ours. */
static json_t *inner(tb_json *json)
{
    return (json_t *)json;
}

static const json_t *inner_const(const tb_json *json)
{
    return (const json_t *)json;
}

tb_json *tb_json_object(void)
{
    return (tb_json *)json_object();
}

tb_json *tb_json_array(void)
{
    return (tb_json *)json_array();
}

void tb_json_free(tb_json **json)
{
    json_decref(inner(*json));
    *json = NULL;
}

/* Puts v, which it takes in every case, under key. */
static tb_rc put(tb_json *object, const char *key, json_t *v, tb_err *err)
{
    if (object == NULL || v == NULL) {
        json_decref(v);
        return tb_fail(err, TB_E_NOMEM, "json: \"%s\"", key);
    }
    if (!json_is_object(inner(object))) {
        json_decref(v);
        return tb_fail(err, TB_E_USAGE, "json: \"%s\": not an object", key);
    }
    if (json_object_set_new(inner(object), key, v) != 0) {
        return tb_fail(err, TB_E_NOMEM, "json: \"%s\"", key);
    }
    return TB_OK;
}

static tb_rc append(tb_json *array, json_t *v, tb_err *err)
{
    if (array == NULL || v == NULL) {
        json_decref(v);
        return tb_fail(err, TB_E_NOMEM, "json: array");
    }
    if (!json_is_array(inner(array))) {
        json_decref(v);
        return tb_fail(err, TB_E_USAGE, "json: not an array");
    }
    if (json_array_append_new(inner(array), v) != 0) {
        return tb_fail(err, TB_E_NOMEM, "json: array");
    }
    return TB_OK;
}

/* *out: the value of a text; jansson gives NULL for bad UTF-8 and for no
 * memory alike, so the first is told apart by trying it without the check. */
static tb_rc text_value(json_t **out, const char *text, tb_err *err)
{
    *out = text != NULL ? json_string(text) : json_null();
    if (*out != NULL) {
        return TB_OK;
    }
    json_t *unchecked = json_string_nocheck(text);
    tb_rc rc = unchecked != NULL
                   ? tb_fail(err, TB_E_USAGE, "json: a text is not UTF-8")
                   : tb_fail(err, TB_E_NOMEM, "json: a text");
    json_decref(unchecked);
    return rc;
}

static json_t *float_value(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

tb_rc tb_json_put_text(tb_json *object, const char *key, const char *text,
                       tb_err *err)
{
    json_t *v = NULL;
    tb_rc rc = text_value(&v, text, err);
    return rc == TB_OK ? put(object, key, v, err) : rc;
}

tb_rc tb_json_put_int(tb_json *object, const char *key, int64_t v, tb_err *err)
{
    return put(object, key, json_integer(v), err);
}

tb_rc tb_json_put_float(tb_json *object, const char *key, double v, tb_err *err)
{
    return put(object, key, float_value(v), err);
}

tb_rc tb_json_put_bool(tb_json *object, const char *key, bool v, tb_err *err)
{
    return put(object, key, json_boolean(v), err);
}

tb_rc tb_json_put(tb_json *object, const char *key, tb_json **take, tb_err *err)
{
    json_t *v = inner(*take);
    *take = NULL;
    return put(object, key, v, err);
}

tb_rc tb_json_append(tb_json *array, tb_json **take, tb_err *err)
{
    json_t *v = inner(*take);
    *take = NULL;
    return append(array, v, err);
}

tb_rc tb_json_append_text(tb_json *array, const char *text, tb_err *err)
{
    json_t *v = NULL;
    tb_rc rc = text_value(&v, text, err);
    return rc == TB_OK ? append(array, v, err) : rc;
}

tb_rc tb_json_append_int(tb_json *array, int64_t v, tb_err *err)
{
    return append(array, json_integer(v), err);
}

tb_rc tb_json_append_float(tb_json *array, double v, tb_err *err)
{
    return append(array, float_value(v), err);
}

tb_rc tb_json_parse(tb_json **out, const char *text, size_t len, tb_err *err)
{
    *out = NULL;
    if (len > TB_JSON_BYTES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "json: %zu bytes, at most %zu", len,
                       TB_JSON_BYTES_MAX);
    }
    json_error_t why;
    json_t *json = json_loadb(text != NULL ? text : "", len,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (json == NULL) {
        if (json_error_code(&why) == json_error_out_of_memory) {
            return tb_fail(err, TB_E_NOMEM, "json: %zu bytes", len);
        }
        return tb_fail(err, TB_E_MALFORMED, "json: line %d, column %d: %s",
                       why.line, why.column, why.text);
    }
    *out = (tb_json *)json;
    return TB_OK;
}

typedef struct sink {
    tb_buf *out;
    tb_rc rc;
    tb_err *err;
} sink;

static int write_some(const char *bytes, size_t n, void *arg)
{
    sink *s = arg;
    s->rc = tb_buf_put(s->out, bytes, n, s->err);
    return s->rc == TB_OK ? 0 : -1;
}

tb_rc tb_json_write(const tb_json *json, bool indent, tb_buf *out, tb_err *err)
{
    if (json == NULL) {
        return tb_fail(err, TB_E_NOMEM, "json: nothing to write");
    }
    size_t before = out->len;
    sink s = {out, TB_OK, err};
    size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(DIGITS) |
                   (indent ? JSON_INDENT(2) : JSON_COMPACT);
    int failed = json_dump_callback(inner_const(json), write_some, &s, flags);
    if (failed != 0 && s.rc == TB_OK) {
        s.rc = tb_fail(err, TB_E_NOMEM, "json: writing");
    }
    if (s.rc == TB_OK && indent) {
        s.rc = tb_buf_put(out, "\n", 1, err);
    }
    if (s.rc != TB_OK) {
        out->len = before;
    }
    return s.rc;
}

const tb_json *tb_json_get(const tb_json *object, const char *key)
{
    return (const tb_json *)json_object_get(inner_const(object), key);
}

const tb_json *tb_json_at(const tb_json *array, size_t i)
{
    return (const tb_json *)json_array_get(inner_const(array), i);
}

size_t tb_json_count(const tb_json *array)
{
    return json_array_size(inner_const(array));
}

const char *tb_json_text(const tb_json *object, const char *key,
                         const char *otherwise)
{
    const json_t *v = json_object_get(inner_const(object), key);
    return json_is_string(v) ? json_string_value(v) : otherwise;
}

int64_t tb_json_int(const tb_json *object, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(inner_const(object), key);
    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

double tb_json_float(const tb_json *object, const char *key, double otherwise)
{
    const json_t *v = json_object_get(inner_const(object), key);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

double tb_json_number(const tb_json *number, double otherwise)
{
    const json_t *v = inner_const(number);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

bool tb_json_bool(const tb_json *object, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(inner_const(object), key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

tb_rc tb_json_print(const tb_json *json, tb_err *err)
{
    tb_buf out;
    tb_buf_init(&out, TB_JSON_BYTES_MAX);
    tb_rc rc = tb_json_write(json, true, &out, err);
    if (rc == TB_OK && fflush(stdout) != 0) {
        rc = tb_fail(err, TB_E_IO, "standard output");
    }
    if (rc == TB_OK) {
        rc = tb_file_write_fd(STDOUT_FILENO, out.data, out.len, err);
    }
    tb_buf_release(&out);
    return rc;
}
