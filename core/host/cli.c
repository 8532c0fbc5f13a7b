#include "host/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "host/cli_priv.h"
#include "host/exit.h"
#include "host/folder.h"

#define NAMES_MAX 256

/* The verb that argv begins with; *used gets how many words name it. */
static const tb_verb *find_verb(const tb_program *program, int argc,
                                char **argv, int *used)
{
    char two[128];
    for (int words = argc < 2 ? argc : 2; words > 0; words--) {
        (void)snprintf(two, sizeof two, "%s%s%s", argv[0],
                       words == 2 ? " " : "", words == 2 ? argv[1] : "");
        for (size_t i = 0; i < program->n_verbs; i++) {
            if (strcmp(program->verbs[i].name, two) == 0) {
                *used = words;
                return &program->verbs[i];
            }
        }
    }
    return NULL;
}

/* Whether some verb's first of two words is `word`. */
static bool is_group(const tb_program *program, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < program->n_verbs; i++) {
        const char *name = program->verbs[i].name;
        if (strncmp(name, word, n) == 0 && name[n] == ' ') {
            return true;
        }
    }
    return false;
}

static tb_rc unknown_verb(const tb_program *program, int argc, char **argv,
                          tb_err *err)
{
    const char *names[NAMES_MAX];
    char given[128];
    size_t n = 0;
    bool group = is_group(program, argv[0]);
    bool two = group && argc > 1 && argv[1][0] != '-';
    for (size_t i = 0; i < program->n_verbs && n < NAMES_MAX; i++) {
        names[n++] = program->verbs[i].name;
    }
    (void)snprintf(given, sizeof given, "%s%s%s", argv[0], two ? " " : "",
                   two ? argv[1] : "");
    const char *meant = tb_text_nearest(given, names, n);
    if (meant == NULL && !group && argc > 1) { /* "modle new" */
        (void)snprintf(given, sizeof given, "%s %s", argv[0], argv[1]);
        meant = tb_text_nearest(given, names, n);
        (void)snprintf(given, sizeof given, "%s", argv[0]);
    }
    if (meant != NULL) {
        return tb_fail(err, TB_E_USAGE,
                       "unknown command \"%.64s\"; did you mean \"%s\"?", given,
                       meant);
    }
    return tb_fail(err, TB_E_USAGE,
                   "unknown command \"%.64s\"; \"%s --help\" lists all", given,
                   program->name);
}

static tb_rc unknown_flag(const tb_verb *verb, const tb_cli_call *call,
                          const char *flag, size_t flag_bytes, tb_err *err)
{
    char text[TB_SETTINGS_KEY_BYTES * 2];
    static const char *const common[] = {"--help", "--json"};
    char spelled[NAMES_MAX][TB_SETTINGS_KEY_BYTES + 2];
    const char *names[NAMES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < 1u + verb->json; i++) {
        names[n++] = common[i];
    }
    for (size_t t = 0; t < TB_CLI_TABLES_MAX; t++) {
        const tb_setting_table *table = verb->tables[t];
        for (size_t i = 0; table != NULL && i < table->n_rows; i++) {
            tb_setting_flag(&table->rows[i], spelled[n], sizeof spelled[n]);
            names[n] = spelled[n];
            n++;
        }
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)flag_bytes, flag);
    const char *meant = tb_text_nearest(text, names, n);
    if (meant != NULL) {
        return tb_fail(err, TB_E_USAGE,
                       "unknown option %.64s; did you mean %s?", text, meant);
    }
    return tb_fail(err, TB_E_USAGE,
                   "unknown option %.64s; \"%s %s --help\" lists all", text,
                   call->program, verb->name);
}

/* The row of a flag in the tables of a verb; *t: in which. */
static const tb_setting *find_flag(const tb_verb *verb, const char *flag,
                                   size_t flag_bytes, size_t *t, bool *negated)
{
    for (*t = 0; *t < TB_CLI_TABLES_MAX; ++*t) {
        if (verb->tables[*t] != NULL) {
            const tb_setting *row =
                tb_setting_of_flag(verb->tables[*t], flag, flag_bytes, negated);
            if (row != NULL) {
                return row;
            }
        }
    }
    return NULL;
}

/* One flag, argv[*i], and its value, which may be the next one. */
static tb_rc read_flag(const tb_verb *verb, tb_cli_call *call, int argc,
                       char **argv, int *i, tb_err *err)
{
    const char *flag = argv[*i];
    const char *equals = strchr(flag, '=');
    const char *value = equals != NULL ? equals + 1 : NULL;
    size_t flag_bytes = equals != NULL ? (size_t)(equals - flag) : strlen(flag);
    size_t t = 0;
    bool negated = false;
    if (verb->json && strcmp(flag, "--json") == 0) {
        call->json = true;
        return TB_OK;
    }
    const tb_setting *row = find_flag(verb, flag, flag_bytes, &t, &negated);
    if (row == NULL) {
        return unknown_flag(verb, call, flag, flag_bytes, err);
    }
    if (row->type == TB_SETTING_BOOL && value == NULL) {
        value = negated ? "false" : "true";
    } else if (negated) {
        return tb_fail(err, TB_E_USAGE, "%.*s takes no value", (int)flag_bytes,
                       flag);
    } else if (value == NULL && *i + 1 < argc) {
        value = argv[++*i];
    } else if (value == NULL) {
        return tb_fail(err, TB_E_USAGE, "%s: its value is missing (%s)", flag,
                       row->help);
    }
    tb_settings *s = &call->settings[t];
    tb_rc rc = tb_settings_put(s, (size_t)(row - s->table->rows), value, NULL,
                               TB_FROM_FLAG, err);
    return rc == TB_OK ? rc
                       : tb_err_prefix(err, rc, "%.*s", (int)flag_bytes, flag);
}

/* Flags into the settings, the rest to the front of argv. */
static tb_rc read_args(const tb_verb *verb, tb_cli_call *call, int argc,
                       char **argv, tb_err *err)
{
    bool only_args = false;
    call->args = argv;
    call->n_args = 0;
    for (int i = 0; i < argc; i++) {
        bool flag = !only_args && argv[i][0] == '-' && argv[i][1] != '\0';
        if (flag && strcmp(argv[i], "--") == 0) {
            only_args = true;
        } else if (flag) {
            tb_rc rc = read_flag(verb, call, argc, argv, &i, err);
            if (rc != TB_OK) {
                return rc;
            }
        } else {
            call->args[call->n_args++] = argv[i];
        }
    }
    if (call->n_args < verb->min_args ||
        (verb->max_args >= 0 && call->n_args > verb->max_args)) {
        bool few = call->n_args < verb->min_args;
        return tb_fail(err, TB_E_USAGE, "%s: usage: %s %s%s%s [OPTION...]",
                       few ? "an argument is missing" : "too many arguments",
                       call->program, verb->name, verb->args != NULL ? " " : "",
                       verb->args != NULL ? verb->args : "");
    }
    return TB_OK;
}

static tb_rc read_settings(const tb_verb *verb, tb_cli_call *call, int argc,
                           char **argv, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t t = 0; t < TB_CLI_TABLES_MAX && rc == TB_OK; t++) {
        const tb_setting_table *table = verb->tables[t];
        if (table == NULL) {
            continue;
        }
        call->values[t] = tb_mem_array(1, table->bytes);
        if (call->values[t] == NULL) {
            rc = tb_fail(err, TB_E_NOMEM, "settings");
            break;
        }
        tb_settings_init(&call->settings[t], table, call->values[t]);
        rc = tb_settings_read_env(&call->settings[t], err);
    }
    if (rc == TB_OK) {
        rc = read_args(verb, call, argc, argv, err);
    }
    if (rc == TB_OK && verb->tables[0] != NULL) {
        rc = tb_settings_read_config(&call->settings[0], err);
    }
    if (rc == TB_OK && verb->tables[0] != NULL) {
        rc = tb_settings_finish(&call->settings[0], err);
    }
    return rc;
}

static tb_rc run_verb(const tb_program *program, const tb_verb *verb, int argc,
                      char **argv, tb_err *err)
{
    tb_cli_call call = {.program = program->name};
    tb_folder_set_work(program->name, verb->name);
    tb_rc rc = read_settings(verb, &call, argc, argv, err);
    if (rc == TB_OK) {
        rc = verb->run(&call, err);
    }
    for (size_t t = 0; t < TB_CLI_TABLES_MAX; t++) {
        if (call.values[t] != NULL) {
            tb_settings_release(verb->tables[t], call.values[t]);
            tb_mem_free(call.values[t]);
        }
    }
    return rc;
}

/* Whether --help stands among the flags. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

/* Prints what `write` makes of a program or verb on standard output. */
static tb_rc print(const tb_program *program, const tb_verb *verb,
                   tb_cli_page_fn *write, tb_err *err)
{
    tb_buf out;
    tb_buf_init(&out, TB_CLI_PAGE_BYTES_MAX);
    tb_rc rc = write(program, verb, &out, err);
    if (rc == TB_OK) {
        rc = tb_file_write_fd(STDOUT_FILENO, out.data, out.len, err);
    }
    tb_buf_release(&out);
    return rc;
}

static tb_rc run(const tb_program *program, int argc, char **argv, tb_err *err)
{
    if (argc == 0) {
        (void)print(program, NULL, tb_cli_help, err);
        return tb_fail(err, TB_E_USAGE, "a command is missing");
    }
    if (strcmp(argv[0], "help") == 0 && argc > 1) { /* help VERB */
        argv++;
        argc--;
        int used = 0;
        const tb_verb *verb = find_verb(program, argc, argv, &used);
        return verb != NULL ? print(program, verb, tb_cli_verb_help, err)
                            : unknown_verb(program, argc, argv, err);
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 ||
        strcmp(argv[0], "help") == 0) {
        return print(program, NULL, tb_cli_help, err);
    }
    if (strcmp(argv[0], "--version") == 0) {
        return print(program, NULL, tb_cli_version, err);
    }
    if (strcmp(argv[0], "--man") == 0) {
        return print(program, NULL, tb_cli_man, err);
    }
    int used = 0;
    const tb_verb *verb = find_verb(program, argc, argv, &used);
    if (verb == NULL && is_group(program, argv[0]) &&
        (argc == 1 || argv[1][0] == '-')) {
        if (wants_help(argc, argv)) {
            return print(program, NULL, tb_cli_help, err);
        }
        return tb_fail(err, TB_E_USAGE,
                       "%s: one word more is missing; \"%s --help\" lists all",
                       argv[0], program->name);
    }
    if (verb == NULL) {
        return unknown_verb(program, argc, argv, err);
    }
    if (wants_help(argc - used, argv + used)) {
        return print(program, verb, tb_cli_verb_help, err);
    }
    return run_verb(program, verb, argc - used, argv + used, err);
}

int tb_cli_main(const tb_program *program, int argc, char **argv)
{
    tb_err err = {0};
    tb_rc rc = run(program, argc > 0 ? argc - 1 : 0, argv + (argc > 0), &err);
    if (fflush(stdout) != 0 && rc == TB_OK) {
        rc = tb_fail(&err, TB_E_IO, "standard output could not be written");
    }
    return tb_exit_report(program->name, rc, &err);
}
