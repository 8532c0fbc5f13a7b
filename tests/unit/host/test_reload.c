/* Settings read again while a program runs. */
#include <stdio.h>
#include <string.h>

#include "host/settings.h"
#include "support/check.h"
#include "support/folder.h"

typedef struct sample {
    char dir[512];
    char config[512];
    uint32_t rate;
    uint32_t workers;
    tb_text_list data;
} sample;

static const tb_setting rows[] = {{.key = "dir",
                                   .help = "folder",
                                   .preset = "/nowhere",
                                   .type = TB_SETTING_PATH,
                                   .flags = TB_SETTING_FOLDER,
                                   TB_FIELD(sample, dir)},
                                  {.key = "config",
                                   .help = "file",
                                   .type = TB_SETTING_PATH,
                                   .flags = TB_SETTING_CONFIG,
                                   TB_FIELD(sample, config)},
                                  {.key = "rate",
                                   .help = "rate",
                                   .preset = "50",
                                   .min = 1,
                                   .max = 1000,
                                   .type = TB_SETTING_INT,
                                   .flags = TB_SETTING_LIVE,
                                   TB_FIELD(sample, rate)},
                                  {.key = "workers",
                                   .help = "workers",
                                   .preset = "0",
                                   .type = TB_SETTING_INT,
                                   TB_FIELD(sample, workers)},
                                  {.key = "data",
                                   .help = "data",
                                   .type = TB_SETTING_TEXTS,
                                   .flags = TB_SETTING_REQUIRED,
                                   TB_FIELD(sample, data)}};

static const tb_setting_table table = {.env = "TB_RELOAD_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(sample)};

/* Changes as they were told: "rate+" taken, "workers-" kept. */
static char told[256];

static void tell(void *arg, const tb_setting *row, bool taken)
{
    size_t used = strlen(told);
    (void)arg;
    (void)snprintf(told + used, sizeof told - used, "%s%c ", row->key,
                   taken ? '+' : '-');
}

/* Settings of a folder whose file holds this text, and a data flag. */
static void start(tb_settings *s, sample *v, const char *folder,
                  const char *yaml)
{
    tb_err err = {0};
    (void)tb_test_folder_write(folder, "settings.yaml", yaml, strlen(yaml));
    tb_settings_init(s, &table, v);
    CHECK_OK(tb_settings_set(s, "dir", folder, TB_FROM_FLAG, &err), err);
    CHECK_OK(tb_settings_set(s, "data", "a=b", TB_FROM_FLAG, &err), err);
    CHECK_OK(tb_settings_read_config(s, &err), err);
    CHECK_OK(tb_settings_finish(s, &err), err);
    told[0] = '\0';
}

static tb_rc again(tb_settings *s, const char *folder, const char *yaml,
                   tb_err *err)
{
    told[0] = '\0';
    (void)tb_test_folder_write(folder, "settings.yaml", yaml, strlen(yaml));
    return tb_settings_reload(s, tell, NULL, err);
}

static void live_settings_change_and_others_wait_for_a_restart(void **state)
{
    tb_err err = {0};
    tb_settings s;
    sample v;
    start(&s, &v, *state, "rate: 10\nworkers: 3\n");
    CHECK(v.rate == 10 && v.workers == 3);
    CHECK_OK(again(&s, *state, "rate: 20\nworkers: 4\n", &err), err);
    CHECK(v.rate == 20 && v.workers == 3);
    CHECK(strcmp(told, "rate+ workers- ") == 0);
    CHECK_OK(again(&s, *state, "workers: 3\n", &err), err);
    CHECK(v.rate == 50 && strcmp(told, "rate+ ") == 0); /* its default */
    CHECK(v.data.n == 1);
    tb_settings_release(&table, &v);
}

static void a_broken_file_changes_nothing(void **state)
{
    static const char *const broken[] = {"rate: 20\nworkers: many\n",
                                         "rate: 0\n", "rat: 20\n", "rate: [\n"};
    tb_err err = {0};
    tb_settings s;
    sample v;
    start(&s, &v, *state, "rate: 10\nworkers: 3\n");
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        CHECK(again(&s, *state, broken[i], &err) != TB_OK);
        CHECK(strstr(err.text, "settings.yaml:") != NULL);
        CHECK(v.rate == 10 && v.workers == 3 && told[0] == '\0');
    }
    tb_settings_release(&table, &v);
}

static void flags_win_over_the_file_as_at_the_start(void **state)
{
    tb_err err = {0};
    tb_settings s;
    sample v;
    start(&s, &v, *state, "workers: 3\n");
    CHECK_OK(tb_settings_set(&s, "rate", "7", TB_FROM_FLAG, &err), err);
    CHECK_OK(again(&s, *state, "rate: 20\ndata: [c=d, e=f]\n", &err), err);
    CHECK(v.rate == 7 && v.data.n == 1);
    CHECK(strcmp(told, "workers- ") == 0);
    tb_settings_release(&table, &v);
}

/* It would bite at the first start without the flag. */
static void a_bad_value_is_told_although_a_flag_wins_over_it(void **state)
{
    static const struct {
        const char *yaml, *why;
    } bad[] = {{"rate: 0\n", "settings.yaml:1:7: rate: \"0\""},
               {"workers: 3\nrate: fast\n", "settings.yaml:2:7: rate"},
               {"data: [ok=1, \"\"]\n", "settings.yaml:1:14: data"}};
    tb_err err = {0};
    tb_settings s;
    sample v;
    start(&s, &v, *state, "workers: 3\n");
    CHECK_OK(tb_settings_set(&s, "rate", "7", TB_FROM_FLAG, &err), err);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_ERR(again(&s, *state, bad[i].yaml, &err), TB_E_USAGE, err,
                  bad[i].why);
        CHECK_ERR(tb_settings_read_config(&s, &err), TB_E_USAGE, err,
                  bad[i].why); /* as at the start */
        CHECK(v.rate == 7 && v.workers == 3 && v.data.n == 1);
        CHECK(told[0] == '\0');
    }
    tb_settings_release(&table, &v);
}

static void a_chosen_file_is_read_instead_of_the_folder_s(void **state)
{
    tb_err err = {0};
    tb_settings s;
    sample v;
    const char *other =
        tb_test_folder_write(*state, "other.yaml", "rate: 99\n", 9);
    (void)tb_test_folder_write(*state, "settings.yaml", "rate: 1\n", 8);
    tb_settings_init(&s, &table, &v);
    CHECK_OK(tb_settings_set(&s, "dir", *state, TB_FROM_FLAG, &err), err);
    CHECK_OK(tb_settings_set(&s, "config", other, TB_FROM_ENV, &err), err);
    CHECK_OK(tb_settings_set(&s, "data", "a=b", TB_FROM_FLAG, &err), err);
    CHECK_OK(tb_settings_read_config(&s, &err), err);
    CHECK_OK(tb_settings_finish(&s, &err), err);
    CHECK(v.rate == 99);
    CHECK(remove(other) == 0);
    CHECK_ERR(tb_settings_reload(&s, tell, NULL, &err), TB_E_NOT_FOUND, err,
              "other.yaml");
    CHECK(v.rate == 99);
    tb_settings_release(&table, &v);
}

#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(live_settings_change_and_others_wait_for_a_restart),
        IN_FOLDER(a_broken_file_changes_nothing),
        IN_FOLDER(flags_win_over_the_file_as_at_the_start),
        IN_FOLDER(a_bad_value_is_told_although_a_flag_wins_over_it),
        IN_FOLDER(a_chosen_file_is_read_instead_of_the_folder_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
