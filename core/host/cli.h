/* core/host/cli.h - a program as a table of verbs: parses the command line,
 * prints --help (examples first), --version and the man page, finds the nearest
 * verb or flag to a mistyped one, and runs the verb. */
#ifndef TB_HOST_CLI_H
#define TB_HOST_CLI_H

#include "host/settings.h"

#define TB_CLI_TABLES_MAX 3

/* What a verb is called with. Valid while it runs. */
typedef struct tb_cli_call {
    const char *program;                     /* "tributary" */
    int n_args;                              /* within the verb's bounds */
    char **args;                             /* [n_args] what is not a flag */
    bool json;                               /* --json was given */
    void *values[TB_CLI_TABLES_MAX];         /* a struct a table of the verb */
    tb_settings settings[TB_CLI_TABLES_MAX]; /* to read a file into a table */
} tb_cli_call;

typedef struct tb_verb {
    const char *name; /* "start", or two words: "model new" */
    const char *args; /* "JOB" or "FILE [INPUT...]"; NULL: none */
    int min_args;
    int max_args;         /* -1: any number */
    const char *help;     /* one line, no full stop */
    const char *examples; /* lines as they are typed, each with its newline */
    const char *notes;    /* lines behind the options, or NULL */
    bool json;            /* takes --json */
    /* Flags and environment fill the structs of both tables, which may be
     * NULL. The first is complete when the verb runs; the second, for a file
     * that the verb reads, wants tb_settings_finish by the verb. */
    const tb_setting_table *tables[TB_CLI_TABLES_MAX];
    tb_rc (*run)(tb_cli_call *call, tb_err *err);
} tb_verb;

typedef struct tb_program {
    const char *name;     /* "tributary" */
    const char *summary;  /* one line, no full stop */
    const char *examples; /* lines */
    const char *notes;    /* lines behind the verbs, or NULL */
    const tb_verb *verbs; /* [n_verbs] in the order of --help */
    size_t n_verbs;
} tb_program;

/* The whole of main(): returns the exit code of exit.h, after an error text on
 * standard error. --help, --version and --man (scdoc source of the man page)
 * go to standard output. */
int tb_cli_main(const tb_program *program, int argc, char **argv)
    TB_NONNULL(1, 3);

#endif
