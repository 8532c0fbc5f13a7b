/* core/host/json.h - JSON values to build, read and print, over jansson, whose
 * types stay inside. Objects keep the order in which keys were put. What was
 * put into another value is owned by it. One owner at a time. */
#ifndef TB_HOST_JSON_H
#define TB_HOST_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define TB_JSON_BYTES_MAX ((size_t)16 << 20)

typedef struct tb_json tb_json;

/* New empty values; NULL when out of memory, which every function below takes
 * and answers with NOMEM, so that a chain is checked once at its end. */
tb_json *tb_json_object(void) TB_MUST_CHECK;
tb_json *tb_json_array(void) TB_MUST_CHECK;

/* Frees a value and what is in it; nulls *json. NULL is fine. */
void tb_json_free(tb_json **json) TB_NONNULL(1);

/* Put one member into an object, in place of one of that key. Text must be
 * UTF-8; NULL gives null, and so does a number that is not finite. Errors:
 * USAGE (not UTF-8, not an object), NOMEM. */
tb_rc tb_json_put_text(tb_json *object, const char *key, const char *text,
                       tb_err *err) TB_NONNULL(2) TB_MUST_CHECK;
tb_rc tb_json_put_int(tb_json *object, const char *key, int64_t v, tb_err *err)
    TB_NONNULL(2) TB_MUST_CHECK;
tb_rc tb_json_put_float(tb_json *object, const char *key, double v, tb_err *err)
    TB_NONNULL(2) TB_MUST_CHECK;
tb_rc tb_json_put_bool(tb_json *object, const char *key, bool v, tb_err *err)
    TB_NONNULL(2) TB_MUST_CHECK;

/* Put a value into an object, or behind the others of an array: *take is
 * nulled, and freed on failure. Errors: as above. */
tb_rc tb_json_put(tb_json *object, const char *key, tb_json **take, tb_err *err)
    TB_NONNULL(2, 3) TB_MUST_CHECK;
tb_rc tb_json_append(tb_json *array, tb_json **take, tb_err *err)
    TB_NONNULL(2) TB_MUST_CHECK;

/* Append one text or number to an array. Errors: as above. */
tb_rc tb_json_append_text(tb_json *array, const char *text,
                          tb_err *err) TB_MUST_CHECK;
tb_rc tb_json_append_int(tb_json *array, int64_t v, tb_err *err) TB_MUST_CHECK;
tb_rc tb_json_append_float(tb_json *array, double v, tb_err *err) TB_MUST_CHECK;

/* Reads one value that is the whole text, without duplicate keys. Errors:
 * MALFORMED (line and column), LIMIT (TB_JSON_BYTES_MAX), NOMEM. */
tb_rc tb_json_parse(tb_json **out, const char *text, size_t len, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Appends the text of a value: one line without a newline, or indented by two
 * blanks and with one at the end. Errors: LIMIT, NOMEM. */
tb_rc tb_json_write(const tb_json *json, bool indent, tb_buf *out, tb_err *err)
    TB_NONNULL(3) TB_MUST_CHECK;

/* A member, or an element, borrowed; NULL when there is none. */
const tb_json *tb_json_get(const tb_json *object, const char *key)
    TB_NONNULL(2);
const tb_json *tb_json_at(const tb_json *array, size_t i);

/* Elements of an array; 0 for anything else. */
size_t tb_json_count(const tb_json *array);

/* A number, such as an element of an array; otherwise for anything else. */
double tb_json_number(const tb_json *number, double otherwise);

/* A member's value, or otherwise when it is missing or of another type. */
const char *tb_json_text(const tb_json *object, const char *key,
                         const char *otherwise) TB_NONNULL(2);
int64_t tb_json_int(const tb_json *object, const char *key, int64_t otherwise)
    TB_NONNULL(2);
double tb_json_float(const tb_json *object, const char *key, double otherwise)
    TB_NONNULL(2);
bool tb_json_bool(const tb_json *object, const char *key, bool otherwise)
    TB_NONNULL(2);

/* Prints a value, indented, on standard output: what --json does. Errors:
 * LIMIT, NOMEM, IO. */
tb_rc tb_json_print(const tb_json *json, tb_err *err) TB_MUST_CHECK;

#endif
