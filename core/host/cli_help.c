#include "host/cli_priv.h"

#include <ctype.h>
#include <string.h>

#include "host/exit.h"

#define INDENT "  "

/* Each line of text behind an indent. */
static tb_rc put_lines(const char *indent, const char *text, tb_buf *out,
                       tb_err *err)
{
    tb_rc rc = TB_OK;
    while (rc == TB_OK && text != NULL && *text != '\0') {
        size_t n = strcspn(text, "\n");
        rc = tb_buf_printf(out, err, "%s%.*s\n", n > 0 ? indent : "", (int)n,
                           text);
        text += n + (text[n] == '\n');
    }
    return rc;
}

/* A heading, and lines under it; nothing when there are none. */
static tb_rc put_part(const char *heading, const char *lines, tb_buf *out,
                      tb_err *err)
{
    if (lines == NULL || lines[0] == '\0') {
        return TB_OK;
    }
    tb_rc rc = tb_buf_printf(out, err, "\n%s:\n", heading);
    return rc == TB_OK ? put_lines(INDENT, lines, out, err) : rc;
}

static tb_rc put_exits(tb_buf *out, tb_err *err)
{
    size_t n = 0;
    const tb_exit *exits = tb_exits(&n);
    tb_rc rc = tb_buf_printf(out, err, "\nExit codes:\n");
    for (size_t i = 0; i < n && rc == TB_OK; i++) {
        rc = tb_buf_printf(out, err, "  %3d  %s\n", exits[i].code,
                           exits[i].meaning);
    }
    return rc;
}

tb_rc tb_cli_version(const tb_program *program, const tb_verb *verb,
                     tb_buf *out, tb_err *err)
{
    (void)verb;
    return tb_buf_printf(out, err, "%s %s\n", program->name, TB_VERSION);
}

tb_rc tb_cli_help(const tb_program *program, const tb_verb *verb, tb_buf *out,
                  tb_err *err)
{
    (void)verb;
    int width = 0;
    for (size_t i = 0; i < program->n_verbs; i++) {
        int n = (int)strlen(program->verbs[i].name);
        width = n > width ? n : width;
    }
    tb_rc rc =
        tb_buf_printf(out, err, "%s - %s\n", program->name, program->summary);
    if (rc == TB_OK) {
        rc = put_part("Examples", program->examples, out, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_printf(out, err, "\nCommands:\n");
    }
    for (size_t i = 0; i < program->n_verbs && rc == TB_OK; i++) {
        rc = tb_buf_printf(out, err, "  %-*s  %s\n", width,
                           program->verbs[i].name, program->verbs[i].help);
    }
    if (rc == TB_OK && program->notes != NULL) {
        rc = tb_buf_printf(out, err, "\n");
    }
    if (rc == TB_OK) {
        rc = put_lines("", program->notes, out, err);
    }
    if (rc == TB_OK) {
        rc = put_exits(out, err);
    }
    return rc == TB_OK ? tb_buf_printf(out, err,
                                       "\n\"%s COMMAND --help\" tells more; "
                                       "\"%s --version\" the version.\n",
                                       program->name, program->name)
                       : rc;
}

static tb_rc put_usage(const tb_program *program, const tb_verb *verb,
                       tb_buf *out, tb_err *err)
{
    return tb_buf_printf(out, err, "%s %s%s%s [OPTION...]", program->name,
                         verb->name, verb->args != NULL ? " " : "",
                         verb->args != NULL ? verb->args : "");
}

tb_rc tb_cli_verb_help(const tb_program *program, const tb_verb *verb,
                       tb_buf *out, tb_err *err)
{
    tb_rc rc = tb_buf_printf(out, err, "%s %s - %s\n", program->name,
                             verb->name, verb->help);
    if (rc == TB_OK) {
        rc = put_part("Examples", verb->examples, out, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_printf(out, err, "\nUsage: ");
    }
    if (rc == TB_OK) {
        rc = put_usage(program, verb, out, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_printf(out, err, "\n\nOptions:\n");
    }
    for (size_t t = 0; t < TB_CLI_TABLES_MAX && rc == TB_OK; t++) {
        if (verb->tables[t] != NULL) {
            rc = tb_settings_help(verb->tables[t], out, err);
        }
    }
    if (rc == TB_OK && verb->json) {
        rc = tb_buf_printf(out, err, "  %-26s%s\n", "    --json", "print JSON");
    }
    if (rc == TB_OK) {
        rc = tb_buf_printf(out, err, "  %-26s%s\n", "-h, --help",
                           "print this text");
    }
    if (rc == TB_OK && verb->notes != NULL) {
        rc = tb_buf_printf(out, err, "\n");
    }
    if (rc == TB_OK) {
        rc = put_lines("", verb->notes, out, err);
    }
    const tb_setting_table *table =
        verb->tables[0] != NULL ? verb->tables[0] : verb->tables[1];
    if (rc == TB_OK && table != NULL) {
        char flag[TB_SETTINGS_KEY_BYTES + 2];
        char env[2 * TB_SETTINGS_KEY_BYTES];
        tb_setting_flag(&table->rows[0], flag, sizeof flag);
        tb_setting_env(table, &table->rows[0], env, sizeof env);
        rc = tb_buf_printf(out, err,
                           "\nEach option has a name in the environment too: "
                           "%s is %s.\n",
                           flag, env);
    }
    return rc;
}

/* Lines as a literal block of scdoc. */
static tb_rc put_literal(const char *lines, tb_buf *out, tb_err *err)
{
    tb_rc rc = tb_buf_printf(out, err, "```\n");
    if (rc == TB_OK) {
        rc = put_lines("", lines, out, err);
    }
    return rc == TB_OK ? tb_buf_printf(out, err, "```\n\n") : rc;
}

static tb_rc put_man_verb(const tb_program *program, const tb_verb *verb,
                          tb_buf *out, tb_err *err)
{
    tb_rc rc = tb_buf_printf(out, err, "## ");
    for (const char *at = verb->name; rc == TB_OK && *at != '\0'; at++) {
        rc = tb_buf_printf(out, err, "%c", toupper((unsigned char)*at));
    }
    if (rc == TB_OK) {
        rc = tb_buf_printf(out, err, "\n\n%s.\n\n```\n", verb->help);
    }
    if (rc == TB_OK) {
        rc = put_usage(program, verb, out, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_printf(out, err, "\n```\n\n");
    }
    if (rc == TB_OK && verb->examples != NULL) {
        rc = put_literal(verb->examples, out, err);
    }
    if (rc == TB_OK && verb->notes != NULL) {
        rc = put_literal(verb->notes, out, err);
    }
    for (size_t t = 0; t < TB_CLI_TABLES_MAX && rc == TB_OK; t++) {
        if (verb->tables[t] != NULL) {
            rc = tb_settings_man(verb->tables[t], out, err);
        }
    }
    return rc;
}

tb_rc tb_cli_man(const tb_program *program, const tb_verb *verb, tb_buf *out,
                 tb_err *err)
{
    (void)verb;
    size_t n = 0;
    const tb_exit *exits = tb_exits(&n);
    tb_rc rc = tb_buf_printf(out, err,
                             "%s(1)\n\n# NAME\n\n%s - %s\n\n# SYNOPSIS\n\n"
                             "*%s* _command_ [_argument_...] "
                             "[_option_...]\n\n# EXAMPLES\n\n",
                             program->name, program->name, program->summary,
                             program->name);
    if (rc == TB_OK) {
        rc = put_literal(program->examples, out, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_printf(out, err, "# COMMANDS\n\n");
    }
    for (size_t i = 0; i < program->n_verbs && rc == TB_OK; i++) {
        rc = put_man_verb(program, &program->verbs[i], out, err);
    }
    if (rc == TB_OK && program->notes != NULL) {
        rc = tb_buf_printf(out, err, "# NOTES\n\n");
    }
    if (rc == TB_OK && program->notes != NULL) {
        rc = put_literal(program->notes, out, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_printf(out, err, "# EXIT STATUS\n\n");
    }
    for (size_t i = 0; i < n && rc == TB_OK; i++) {
        rc = tb_buf_printf(out, err, "*%d*\n\t%s\n\n", exits[i].code,
                           exits[i].meaning);
    }
    return rc;
}
