#include "host/cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "support/check.h"
#include "support/folder.h"

typedef struct options {
    uint32_t rounds;
    bool fast;
    char output[64];
    char config[256];
    tb_text_list data;
} options;

static const tb_setting rows[] = {
    {.key = "rounds",
     .help = "rounds",
     .value = "N",
     .preset = "3",
     .min = 1,
     .max = 100,
     .type = TB_SETTING_INT,
     TB_FIELD(options, rounds)},
    {.key = "fast",
     .help = "faster",
     .preset = "false",
     .type = TB_SETTING_BOOL,
     TB_FIELD(options, fast)},
    {.key = "output",
     .help = "where to write",
     .value = "FILE",
     .letter = 'o',
     .type = TB_SETTING_PATH,
     TB_FIELD(options, output)},
    {.key = "config",
     .help = "settings file",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     .flags = TB_SETTING_CONFIG,
     TB_FIELD(options, config)},
    {.key = "data",
     .help = "data sets",
     .value = "NAME=PATH",
     .type = TB_SETTING_TEXTS,
     TB_FIELD(options, data)},
};
static const tb_setting_table table = {.env = "TB_CLI_TEST_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(options)};

typedef struct extra {
    uint64_t seed;
} extra;
static const tb_setting extra_rows[] = {
    {.key = "model.seed",
     .help = "seed",
     .value = "N",
     .type = TB_SETTING_INT,
     .flags = TB_SETTING_REQUIRED,
     TB_FIELD(extra, seed)},
};
static const tb_setting_table extra_table = {.env = "TB_CLI_TEST_",
                                             .rows = extra_rows,
                                             .n_rows = 1,
                                             .bytes = sizeof(extra)};

/* What the verb saw in its last run. */
static char seen[512];

static tb_rc note(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    (void)err;
    int n = snprintf(seen, sizeof seen, "%u %d %s %s", o->rounds, o->fast,
                     o->output, call->json ? "json" : "text");
    for (int i = 0; i < call->n_args; i++) {
        n +=
            snprintf(seen + n, sizeof seen - (size_t)n, " <%s>", call->args[i]);
    }
    for (size_t i = 0; i < o->data.n; i++) {
        n +=
            snprintf(seen + n, sizeof seen - (size_t)n, " [%s]", o->data.at[i]);
    }
    return TB_OK;
}

static tb_rc refuse(tb_cli_call *call, tb_err *err)
{
    const extra *e = call->values[1];
    (void)snprintf(seen, sizeof seen, "%d", (int)e->seed);
    tb_rc rc = tb_settings_finish(&call->settings[1], err);
    return rc == TB_OK ? tb_fail(err, TB_E_REFUSED, "the guard said no") : rc;
}

static const tb_verb verbs[] = {
    {.name = "start",
     .args = "JOB [FILE...]",
     .min_args = 1,
     .max_args = -1,
     .help = "start a job",
     .examples = "prog start job.yaml\nprog start job.yaml --rounds 5\n",
     .notes = "A note.\n",
     .json = true,
     .tables = {&table},
     .run = note},
    {.name = "model new",
     .args = "SPEC",
     .min_args = 1,
     .max_args = 1,
     .help = "make a model",
     .examples = "prog model new mlp:4-2\n",
     .tables = {&table},
     .run = note},
    {.name = "model eval",
     .help = "measure a model",
     .examples = "prog model eval\n",
     .tables = {&table, &extra_table},
     .run = refuse},
};
static const tb_program program = {.name = "prog",
                                   .summary = "a program for tests",
                                   .examples = "prog start job.yaml\n",
                                   .notes = "More is in the manual.\n",
                                   .verbs = verbs,
                                   .n_verbs = 3};

static char out_text[65536];
static char err_text[4096];

static void take_text(int fd, int saved, int into, char *text, size_t bytes)
{
    CHECK(dup2(saved, into) >= 0 && close(saved) == 0);
    ssize_t n = pread(fd, text, bytes - 1, 0);
    CHECK(n >= 0 && close(fd) == 0);
    text[n] = '\0';
}

/* Runs the program over words parted by blanks; what it prints is in out_text
 * and err_text. */
static int run(const char *line)
{
    char words[256];
    char *argv[32] = {0};
    char program_name[] = "prog";
    int argc = 0;
    argv[argc++] = program_name;
    (void)snprintf(words, sizeof words, "%s", line);
    char *left = NULL;
    for (char *w = strtok_r(words, " ", &left); w != NULL;
         w = strtok_r(NULL, " ", &left)) {
        argv[argc++] = w;
    }
    (void)fflush(stdout);
    char out_path[] = "/tmp/tb-test-XXXXXX";
    char err_path[] = "/tmp/tb-test-XXXXXX";
    int out = mkstemp(out_path);
    int err = mkstemp(err_path);
    int saved_out = dup(STDOUT_FILENO);
    int saved_err = dup(STDERR_FILENO);
    CHECK(out >= 0 && err >= 0 && unlink(out_path) == 0 &&
          unlink(err_path) == 0);
    CHECK(dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0);
    seen[0] = '\0';
    int code = tb_cli_main(&program, argc, argv);
    (void)fflush(stdout);
    take_text(out, saved_out, STDOUT_FILENO, out_text, sizeof out_text);
    take_text(err, saved_err, STDERR_FILENO, err_text, sizeof err_text);
    return code;
}

static void flags_and_arguments_reach_the_verb(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *want;
    } cases[] = {
        {"start job", "3 0  text <job>"},
        {"start job --rounds 5", "5 0  text <job>"},
        {"start --rounds=5 job", "5 0  text <job>"},
        {"start job --fast --json", "3 1  json <job>"},
        {"start job --fast --no-fast", "3 0  text <job>"},
        {"start job --fast=true more", "3 1  text <job> <more>"},
        {"start -o x job -", "3 0 x text <job> <->"},
        {"start -- --fast", "3 0  text <--fast>"},
        {"start job --rounds 5 --rounds 6", "6 0  text <job>"},
        {"start j --data a=b --data=c=d", "3 0  text <j> [a=b] [c=d]"},
        {"model new mlp:4-2", "3 0  text <mlp:4-2>"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("%s\n", cases[i].line);
        CHECK(run(cases[i].line) == 0);
        assert_string_equal(seen, cases[i].want);
        assert_string_equal(err_text, "");
    }
    CHECK(tb_mem_live() == 0);
}

static void what_is_wrong_is_told_and_the_verb_does_not_run(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int code;
        const char *want;
    } cases[] = {
        {"", 2, "prog: a command is missing\n"},
        {"strat job", 2,
         "prog: unknown command \"strat\"; did you mean \"start\"?\n"},
        {"modle new x", 2,
         "prog: unknown command \"modle\"; did you mean \"model new\"?\n"},
        {"model nwe x", 2,
         "prog: unknown command \"model nwe\"; did you mean \"model new\"?\n"},
        {"model", 2, "prog: model: one word more is missing"},
        {"xyzzy", 2, "prog: unknown command \"xyzzy\"; \"prog --help\""},
        {"start", 2,
         "prog: an argument is missing: usage: prog start JOB [FILE...]"},
        {"model new a b", 2, "prog: too many arguments: usage: prog model new"},
        {"start j --round 5", 2,
         "prog: unknown option --round; did you mean --rounds?\n"},
        {"start j --jsn", 2, "did you mean --json?"},
        {"model new j --json", 2, "prog: unknown option --json"},
        {"start j -x", 2, "prog: unknown option -x"},
        {"start j --rounds 0", 2,
         "prog: --rounds: \"0\" is not a whole number from 1 to 100"},
        {"start j --rounds=", 2, "prog: --rounds: \"\" is not"},
        {"start j --rounds", 2, "prog: --rounds: its value is missing"},
        {"start j --no-fast=true", 2, "prog: --no-fast takes no value"},
        {"start j --fast=2", 2, "prog: --fast: \"2\" is not true or false"},
        {"start j --config /nowhere", 4, "prog: /nowhere: "},
        {"help strat", 2, "did you mean \"start\"?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("%s\n", cases[i].line);
        CHECK(run(cases[i].line) == cases[i].code);
        if (strstr(err_text, cases[i].want) == NULL) {
            fail_msg("\"%s\" is not in: %s", cases[i].want, err_text);
        }
        assert_string_equal(seen, "");
    }
    CHECK(tb_mem_live() == 0);
}

static void a_failing_verb_sets_the_exit_code(void **state)
{
    (void)state;
    CHECK(run("model eval --model-seed 9") == 7);
    assert_string_equal(seen, "9");
    assert_string_equal(err_text, "prog: the guard said no\n");
    CHECK(run("model eval") == 2); /* its second table is not complete */
    CHECK(strstr(err_text, "model.seed is missing") != NULL);
}

static void the_environment_and_a_file_fill_in_flags(void **state)
{
    char line[256];
    static const char text[] = "rounds: 7\nfast: true\n";
    const char *path =
        tb_test_folder_write(*state, "c.yaml", text, sizeof text - 1);
    (void)snprintf(line, sizeof line, "start j --config %s", path);
    CHECK(run(line) == 0);
    assert_string_equal(seen, "7 1  text <j>");
    CHECK(setenv("TB_CLI_TEST_ROUNDS", "8", 1) == 0);
    CHECK(run(line) == 0);
    assert_string_equal(seen, "8 1  text <j>");
    (void)snprintf(line, sizeof line, "start j --rounds 9 --config %s", path);
    CHECK(run(line) == 0);
    assert_string_equal(seen, "9 1  text <j>");
    CHECK(setenv("TB_CLI_TEST_ROUNDS", "no", 1) == 0);
    CHECK(run("start j") == 2);
    CHECK(strstr(err_text, "TB_CLI_TEST_ROUNDS: \"no\" is not") != NULL);
    CHECK(unsetenv("TB_CLI_TEST_ROUNDS") == 0);
}

static void help_shows_examples_before_options(void **state)
{
    (void)state;
    static const char *const lines[] = {"start --help", "start -h",
                                        "help start", "start j --help"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        CHECK(run(lines[i]) == 0);
        const char *examples = strstr(out_text, "prog start job.yaml --rounds");
        const char *usage =
            strstr(out_text, "Usage: prog start JOB [FILE...] [OPTION...]");
        const char *option = strstr(out_text, "--rounds N");
        CHECK(examples != NULL && usage != NULL && option != NULL);
        CHECK(examples < usage && usage < option);
        CHECK(strstr(out_text, "--json") != NULL);
        CHECK(strstr(out_text, "--rounds is TB_CLI_TEST_ROUNDS") != NULL);
        assert_string_equal(seen, "");
    }
    CHECK(run("--help") == 0);
    CHECK(strstr(out_text, "  model new   make a model\n") != NULL);
    CHECK(strstr(out_text, "Exit codes:\n    0  done\n") != NULL);
    CHECK(run("--version") == 0);
    CHECK(strncmp(out_text, "prog ", 5) == 0);
}

static void the_man_page_names_every_verb_and_option(void **state)
{
    (void)state;
    CHECK(run("--man") == 0);
    CHECK(strncmp(out_text, "prog(1)\n", 8) == 0);
    CHECK(strstr(out_text, "## MODEL NEW\n") != NULL);
    CHECK(strstr(out_text, "*--rounds N*\n") != NULL);
    CHECK(strstr(out_text, "TB\\_CLI\\_TEST\\_ROUNDS") != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_and_arguments_reach_the_verb),
        cmocka_unit_test(what_is_wrong_is_told_and_the_verb_does_not_run),
        cmocka_unit_test(a_failing_verb_sets_the_exit_code),
        cmocka_unit_test_setup_teardown(
            the_environment_and_a_file_fill_in_flags, tb_test_folder_setup,
            tb_test_folder_teardown),
        cmocka_unit_test(help_shows_examples_before_options),
        cmocka_unit_test(the_man_page_names_every_verb_and_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
