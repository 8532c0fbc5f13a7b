#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "run.h"
#include "verbs.h"

static const tb_setting rows[] = {
    {.key = "data",
     .help = "a data set that jobs may use, under this name; again for more",
     .value = "NAME=PATH",
     .flags = TB_SETTING_REQUIRED,
     .type = TB_SETTING_TEXTS,
     TB_FIELD(run_options, data)},
    {.key = "rotate_after",
     .help = "age at which the keys are rotated by themselves; 0: never",
     .value = "TIME",
     .preset = "0",
     .max = 3650.0 * 24 * 3600 * 1000,
     .type = TB_SETTING_DURATION,
     TB_FIELD(run_options, rotate_after)},
    BANDWIDTH_ROW(run_options),
    HOME_ROW_FLAGS(run_options, TB_SETTING_FOLDER),
    {.key = "config",
     .help = "file of settings, read again at SIGHUP (default: settings.yaml "
             "in the home folder, where it is there)",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     .flags = TB_SETTING_CONFIG,
     TB_FIELD(run_options, config)},
    TB_LOG_ROWS(run_options),
};

const tb_setting_table run_table = {.env = "TRIBUTARY_",
                                    .rows = rows,
                                    .n_rows = sizeof rows / sizeof rows[0],
                                    .bytes = sizeof(run_options)};

/* "NAME=PATH"; the path must be there now, not only when a job comes. */
static tb_rc read_set(data_set *out, const char *text, tb_err *err)
{
    char name[TB_NAME_BYTES] = "";
    const char *equals = strchr(text, '=');
    size_t n = equals != NULL ? (size_t)(equals - text) : 0;
    if (equals == NULL || n == 0 || n >= sizeof name || equals[1] == '\0') {
        return tb_fail(err, TB_E_USAGE,
                       "--data %s: write NAME=PATH, such as "
                       "fashion=/data/images",
                       text);
    }
    memcpy(name, text, n);
    if (!tb_name_set(&out->name, name)) {
        return tb_fail(err, TB_E_USAGE,
                       "--data %s: \"%s\" is no name (letters, digits, . _ -)",
                       text, name);
    }
    out->path = equals + 1;
    return tb_file_exists(out->path)
               ? TB_OK
               : tb_fail(err, TB_E_NOT_FOUND, "--data %s: no file or folder %s",
                         text, out->path);
}

static tb_rc read_sets(data_set **out, const tb_text_list *list, tb_err *err)
{
    data_set *sets = tb_mem_array(list->n, sizeof *sets);
    tb_rc rc =
        sets != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "data: no memory");
    if (rc == TB_OK && list->n > TB_DATA_SETS_MAX) {
        rc = tb_fail(err, TB_E_LIMIT, "--data: at most %u sets",
                     TB_DATA_SETS_MAX);
    }
    for (size_t i = 0; rc == TB_OK && i < list->n; i++) {
        rc = read_set(&sets[i], list->at[i], err);
        for (size_t j = 0; rc == TB_OK && j < i; j++) {
            if (tb_name_equal(&sets[i].name, &sets[j].name)) {
                rc = tb_fail(err, TB_E_USAGE, "--data %s: the name twice",
                             list->at[i]);
            }
        }
    }
    if (rc != TB_OK) {
        tb_mem_free(sets);
        return rc;
    }
    *out = sets;
    return TB_OK;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const run_options *o = call->values[0];
    data_set *sets = NULL;
    home h = {0};
    tb_rc rc = tb_log_settings_apply(&o->log, err);
    if (rc == TB_OK) {
        rc = tb_crypto_init(err);
    }
    if (rc == TB_OK) {
        rc = read_sets(&sets, &o->data, err);
    }
    if (rc == TB_OK) {
        rc = home_open(&h, o->home, TB_FOLDER_LOCK, err);
    }
    if (rc == TB_OK) {
        const agent_options how = {.home = &h,
                                   .sets = sets,
                                   .n_sets = o->data.n,
                                   .control = true,
                                   .rotate_after_ms = o->rotate_after,
                                   .settings = &call->settings[0],
                                   .log = &o->log,
                                   .bandwidth = &o->bandwidth};
        tb_log(TB_LOG_INFO, "event=start client=%s coordinator=%s",
               h.fed.client.text, h.fed.endpoint);
        rc = agent_run(&how, err);
    }
    home_close(&h);
    tb_mem_free(sets);
    return rc;
}

const tb_verb verb_run = {
    .name = "run",
    .help = "take part in the federation's rounds until stopped",
    .examples = "tributary run --data fashion=/data/fashion\n"
                "tributary run --home /var/lib/tributary --data a=a.csv "
                "--data b=b/\n",
    .notes = "Data stays here: what leaves is a model's difference, sealed to "
             "the run's key.\nSIGTERM or Ctrl-C stops it; started again, it "
             "goes on where it was.\nSettings may stand in DIR/settings.yaml; "
             "SIGHUP "
             "reads it again, and opens the\nlog file again.\n",
    .tables = {&run_table},
    .run = run,
};
