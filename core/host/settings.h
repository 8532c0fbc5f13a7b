/* core/host/settings.h - one table of settings makes everything that reads or
 * names them: the YAML reader, flags, environment names, --help, the man page
 * and the canonical text. A row says where in a plain struct its value lies.
 * Knows no program and no key of its own. One owner at a time. */
#ifndef TB_HOST_SETTINGS_H
#define TB_HOST_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/name.h"

/* Limits of what is read. */
#define TB_SETTINGS_FILE_BYTES_MAX ((size_t)1 << 18)
#define TB_SETTINGS_TEXT_BYTES     4096u  /* one scalar, with a closing NUL */
#define TB_SETTINGS_ITEMS_MAX      65536u /* of one list */
#define TB_SETTINGS_ROWS_MAX       96u
#define TB_SETTINGS_KEY_BYTES      64u

/* What a value is, and the C type of its field; where there are several, the
 * row's size tells. A text or name that was not given is "". */
typedef enum tb_setting_type {
    TB_SETTING_BOOL,     /* bool: true, false */
    TB_SETTING_INT,      /* uint32_t, uint64_t: 32 */
    TB_SETTING_FLOAT,    /* float, double; always finite: 0.1, 1e-4, 1/255 */
    TB_SETTING_TEXT,     /* char[size]; with choices: one of these words */
    TB_SETTING_PATH,     /* char[size]; one from a file is relative to that
                          * file's folder */
    TB_SETTING_PLACE,    /* int, then char[size - sizeof(int)]: one of choices,
                          * or a path; the empty choice stands for a path */
    TB_SETTING_NAME,     /* tb_name */
    TB_SETTING_ENUM,     /* bool, int or an enum type: the index in choices */
    TB_SETTING_DURATION, /* uint64_t, milliseconds: 500ms, 60s, 1.5h, 7d */
    TB_SETTING_BYTES,    /* uint64_t: 512, 64kB, 8MB, 8MiB */
    TB_SETTING_TEXTS,    /* tb_text_list */
    TB_SETTING_FLOATS    /* tb_float_list */
} tb_setting_type;

typedef struct tb_text_list { /* texts, all owned */
    char **at;
    size_t n;
} tb_text_list;

typedef struct tb_float_list {
    float *at; /* owned */
    size_t n;
} tb_float_list;

enum {
    TB_SETTING_REQUIRED = 1,  /* must be given: has no default */
    TB_SETTING_ABOVE_MIN = 2, /* min itself is out of range */
    TB_SETTING_BELOW_MAX = 4, /* max itself is out of range */
    TB_SETTING_LOCAL = 8,     /* stays on this machine: tb_settings_encode can
                                * leave it out */
    TB_SETTING_CONFIG = 16,   /* PATH of a file to read these settings from; a
                                * default that does not exist is fine */
    TB_SETTING_FOLDER = 32, /* PATH of a folder: its settings.yaml, where it is
                                * there, is what no CONFIG row names */
    TB_SETTING_LIVE = 64,   /* can change while the program runs; no list */
    TB_SETTING_A_SECOND = 128 /* BYTES: a rate, which may be written 1MB/s */
};

/* The file of a folder that holds settings. */
#define TB_SETTINGS_FILE_NAME "settings.yaml"

/* One row. */
typedef struct tb_setting {
    const char *key;            /* "optimiser.lr": also the path in YAML */
    const char *help;           /* one line, no full stop */
    const char *value;          /* how --help names it: "RATE" */
    const char *preset;         /* the default, as a user would write it; NULL:
                                 * zero, "" or an empty list */
    const char *const *choices; /* ENUM, PLACE, TEXT: words, then NULL */
    /* TEXTS: a further syntax of each item, or NULL; USAGE: what is wrong. */
    tb_rc (*check)(const char *text, tb_err *err);
    double min, max; /* of a number, each number of a list; both 0: any */
    size_t offset;   /* of the field, see TB_FIELD */
    size_t size;
    tb_setting_type type;
    unsigned flags;
    char letter; /* 'o' for -o; 0: none */
} tb_setting;

/* offset and size of a row's field. */
#define TB_FIELD(type, member)                                                 \
    .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)

typedef struct tb_setting_table {
    const char *env;        /* prefix of environment names: "TRIBUTARY_" */
    const tb_setting *rows; /* [n_rows] */
    size_t n_rows;
    size_t bytes; /* sizeof the struct of values */
} tb_setting_table;

/* Where a value came from; a later one wins over an earlier one. */
typedef enum tb_setting_from {
    TB_FROM_NOWHERE,
    TB_FROM_PRESET,
    TB_FROM_FILE,
    TB_FROM_ENV,
    TB_FROM_FLAG
} tb_setting_from;

/* Values on their way into a struct. */
typedef struct tb_settings {
    const tb_setting_table *table;
    void *values;                       /* the caller's struct */
    uint8_t from[TB_SETTINGS_ROWS_MAX]; /* tb_setting_from of each row */
} tb_settings;

/* Starts with a struct of table->bytes, which is zeroed. */
void tb_settings_init(tb_settings *s, const tb_setting_table *table,
                      void *values) TB_NONNULL(1, 2, 3);

/* Frees the lists of a struct and zeroes it. */
void tb_settings_release(const tb_setting_table *table, void *values)
    TB_NONNULL(1, 2);

/* Sets one value from its text; where a stronger source has set it, the text is
 * only judged: it would count once that one is silent. A list
 * takes one item more (floats: commas part several); the first one from a
 * source replaces what weaker sources gave. Errors: USAGE (says key, value and
 * range; did-you-mean for a key), LIMIT, NOMEM; the value is then as it was. */
tb_rc tb_settings_set(tb_settings *s, const char *key, const char *text,
                      tb_setting_from from, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Reads YAML: mappings of keys (nested, or dotted as "optimiser.lr"), scalars,
 * and sequences for lists. name stands in errors, "name:line:column: ...", and
 * its folder is that of relative paths. Refused: a key twice, unknown keys,
 * anchors, aliases, tags, a second document, all over the limits. Errors:
 * USAGE, MALFORMED (not YAML), LIMIT, NOMEM; some values may be set then. */
tb_rc tb_settings_read_yaml(tb_settings *s, const void *bytes, size_t len,
                            const char *name, tb_err *err)
    TB_NONNULL(1, 4) TB_MUST_CHECK;

/* The same for a file. Errors: also NOT_FOUND, IO. */
tb_rc tb_settings_read_file(tb_settings *s, const char *path, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Takes what the environment holds of the table's names. Errors: as set, with
 * the variable's name before. */
tb_rc tb_settings_read_env(tb_settings *s, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Fills presets in and refuses what is required and was not given. Errors:
 * USAGE (names key and flag), NOMEM. */
tb_rc tb_settings_finish(tb_settings *s, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Reads the file that a CONFIG or FOLDER row of the table names, if any.
 * Errors: as tb_settings_read_file. */
tb_rc tb_settings_read_config(tb_settings *s, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Called for each setting that the file now says otherwise; taken: a LIVE row,
 * its field has changed. Else it stays as it was until a restart. */
typedef void tb_settings_change_fn(void *arg, const tb_setting *row,
                                   bool taken);

/* Reads the file of complete settings anew; flags and environment win as they
 * did. Errors: as tb_settings_read_config, tb_settings_finish; nothing has
 * changed then. */
tb_rc tb_settings_reload(tb_settings *s, tb_settings_change_fn *changed,
                         void *arg, tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Where the value of a key came from. A key the table has not: NOWHERE. */
tb_setting_from tb_settings_from(const tb_settings *s, const char *key)
    TB_NONNULL(1, 2);

/* Appends the canonical text of a complete struct: one line "key: value" a row
 * in the table's order, readable by tb_settings_read_yaml; empty texts, names
 * and lists are left out, and so are the rows with any flag of skip.
 * Equal values give equal bytes. Errors: LIMIT, NOMEM. */
tb_rc tb_settings_encode(const tb_setting_table *table, const void *values,
                         unsigned skip, tb_buf *out, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* --- names of a row, for help and errors --- */

/* "--optimiser-lr" and "TRIBUTARY_OPTIMISER_LR". */
void tb_setting_flag(const tb_setting *row, char *out, size_t out_bytes)
    TB_NONNULL(1, 2);
void tb_setting_env(const tb_setting_table *table, const tb_setting *row,
                    char *out, size_t out_bytes) TB_NONNULL(1, 2, 3);

/* The row of a flag, without its value: "--optimiser-lr", "-o", and
 * "--no-x" for a BOOL "x", which sets *negated. NULL: no such flag. */
const tb_setting *tb_setting_of_flag(const tb_setting_table *table,
                                     const char *flag, size_t flag_bytes,
                                     bool *negated) TB_NONNULL(1, 2, 4);

/* What may be written for a row: "a number over 0 and at most 10". */
void tb_setting_range(const tb_setting *row, char *out, size_t out_bytes)
    TB_NONNULL(1, 2);

/* Appends the options part of --help, and the rows of the man page (scdoc).
 * Errors: LIMIT, NOMEM. */
tb_rc tb_settings_help(const tb_setting_table *table, tb_buf *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_settings_man(const tb_setting_table *table, tb_buf *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
