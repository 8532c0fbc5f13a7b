/* core/wire/labels.h - labels of a client (site=lyon memory=512MB tag=beta) and
 * the conditions by which a job chooses among clients. Both are short texts
 * with one canonical form, which is what travels and what the journal keeps.
 *
 * Labels: pairs "key=value" in the order of their bytes, one blank between two;
 * a key may have several values (tags). A key is a name; a value is 1 to 63 of
 * A-Z a-z 0-9 . _ - + : / @.
 *
 * Conditions: "key=a|b" (one of these values), "key!=a|b" (none of these),
 * "key>=512MB" and "key<=8" (a number; both sides of one kind: plain, bytes or
 * time); ", " between two; all must hold. Of a key with several values one
 * that fits is enough. */
#ifndef TB_WIRE_LABELS_H
#define TB_WIRE_LABELS_H

#include "base/err.h"
#include "wire/name.h"

#define TB_LABELS_BYTES   256 /* with the closing NUL */
#define TB_ELIGIBLE_BYTES 512 /* with the closing NUL */
#define TB_CONDITIONS_MAX 16u

/* Canonical text; "": none. */
typedef struct tb_labels {
    char text[TB_LABELS_BYTES];
} tb_labels;

typedef enum tb_condition_op {
    TB_CONDITION_ONE_OF,
    TB_CONDITION_NONE_OF,
    TB_CONDITION_AT_LEAST,
    TB_CONDITION_AT_MOST,
    TB_CONDITION_OP_COUNT
} tb_condition_op;

/* One condition, as places in the text of its tb_eligible. */
typedef struct tb_condition {
    uint16_t key, n_key;
    uint16_t values, n_values; /* bytes of "a|b" */
    tb_condition_op op;
    uint32_t unit; /* of AT_LEAST, AT_MOST */
    double number; /* the same */
} tb_condition;

/* All conditions of a job; all zero: everybody is eligible. */
typedef struct tb_eligible {
    char text[TB_ELIGIBLE_BYTES]; /* canonical */
    uint32_t n;
    tb_condition at[TB_CONDITIONS_MAX];
} tb_eligible;

/* Whether text is labels in canonical form. */
bool tb_labels_valid(const char *text) TB_NONNULL(1);

/* Changes some labels: "key=value" gives the key this value, and all values of
 * the keys that are named in changes replace the ones they had; "key=" takes
 * the key away. Blanks part two changes. On failure *labels is unchanged.
 * Errors: USAGE (says which change, and what a label looks like), LIMIT. */
tb_rc tb_labels_change(tb_labels *labels, const char *changes, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Checks one "key=value". Errors: USAGE. */
tb_rc tb_label_check(const char *text, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Adds one condition. On failure *eligible is unchanged. Errors: USAGE (says
 * at which column of text what was expected), LIMIT. */
tb_rc tb_eligible_add(tb_eligible *eligible, const char *text, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Checks one condition. Errors: USAGE. */
tb_rc tb_condition_check(const char *text, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Reads a canonical text. Errors: MALFORMED; *out is empty then. */
tb_rc tb_eligible_read(tb_eligible *out, const char *text, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether a client fits. given: labels by the operator; reported: by the client
 * itself, which count for keys that the operator has not given. */
bool tb_eligible_fits(const tb_eligible *eligible, const tb_labels *given,
                      const tb_labels *reported) TB_NONNULL(1, 2, 3);

#endif
