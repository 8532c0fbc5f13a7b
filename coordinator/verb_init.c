/* init: a new coordinator's folder, and its keys. */
#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "host/store.h"
#include "keys.h"
#include "settings.h"
#include "verbs.h"

typedef struct options {
    char master_key[TB_PATH_BYTES];
    char root_key[TB_PATH_BYTES];
    bool if_missing;
} options;

static const tb_setting rows[] = {
    {.key = "master_key",
     .help = "file to make for the key that wraps the keys of runs (default: "
             "DIR.master-key)",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     TB_FIELD(options, master_key)},
    {.key = "root_key",
     .help = "a root key that is there already: another coordinator of its "
             "federation (default: a new one)",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     TB_FIELD(options, root_key)},
    {.key = "if_missing",
     .help = "do nothing when there is a coordinator's folder already",
     .preset = "false",
     .type = TB_SETTING_BOOL,
     TB_FIELD(options, if_missing)}};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(options)};

/* Opens the folder, which is made when it is not there. One without the head of
 * a journal is what a killed init left: nobody has used its keys. */
static tb_rc open_new(tb_folder **out, const char *dir, const char *master,
                      tb_err *err)
{
    tb_rc rc =
        tb_folder_open(out, dir, TB_FOLDER_COORDINATOR, TB_FOLDER_LOCK, NULL);
    if (rc == TB_OK && !tb_file_exists(tb_folder_path(*out, TB_ITEM_HEAD))) {
        return TB_OK;
    }
    tb_folder_close(out);
    if (rc == TB_OK || rc == TB_E_BUSY) {
        return tb_fail(err, TB_E_EXISTS,
                       "%s: is a coordinator's folder already: `tributaryd run "
                       "--dir %s`",
                       dir, dir);
    }
    if (tb_file_exists(master)) {
        return tb_fail(err, TB_E_EXISTS,
                       "%s: is there already: name another with --master-key",
                       master);
    }
    rc = tb_folder_create(dir, TB_FOLDER_COORDINATOR, err);
    return rc == TB_OK ? tb_folder_open(out, dir, TB_FOLDER_COORDINATOR,
                                        TB_FOLDER_LOCK, err)
                       : rc;
}

static tb_rc make(const char *dir, const char *master, const char *root,
                  tb_err *err)
{
    tb_folder *folder = NULL;
    tb_store *store = NULL;
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = open_new(&folder, dir, master, err);
    }
    if (rc == TB_OK) {
        rc = root[0] != '\0' ? tb_keys_create_under(folder, master, root, err)
                             : tb_keys_create(folder, master, err);
    }
    if (rc == TB_OK) { /* an empty journal, so that reading verbs find one */
        rc = tb_store_open(&store, folder, err);
    }
    if (rc == TB_OK) {
        (void)printf("made %s\n"
                     "  root key    %s   move it offline when you can\n"
                     "  master key  %s   back it up apart from the folder\n"
                     "next: tributaryd run --dir %s\n",
                     dir,
                     root[0] != '\0' ? root
                                     : tb_folder_path(folder, TB_ITEM_ROOT_KEY),
                     master, dir);
    }
    tb_store_close(&store);
    tb_folder_close(&folder);
    return rc;
}

/* Whether dir is a coordinator's folder that can be opened. */
static bool is_made(const char *dir)
{
    tb_folder *folder = NULL;
    tb_rc rc = tb_folder_open(&folder, dir, TB_FOLDER_COORDINATOR,
                              TB_FOLDER_READ, NULL);
    tb_folder_close(&folder);
    return rc == TB_OK;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    const char *dir = call->args[0];
    if (o->if_missing && is_made(dir)) {
        return TB_OK;
    }
    if (o->master_key[0] != '\0') {
        return make(dir, o->master_key, o->root_key, err);
    }
    char *beside = tb_folder_master_path(dir);
    tb_rc rc = beside != NULL ? make(dir, beside, o->root_key, err)
                              : tb_fail(err, TB_E_NOMEM, "%s", dir);
    tb_mem_free(beside);
    return rc;
}

const tb_verb verb_init = {
    .name = "init",
    .args = "DIR",
    .min_args = 1,
    .max_args = 1,
    .help = "make a coordinator's folder with new keys",
    .examples = "tributaryd init fleet\n"
                "tributaryd init /srv/fleet --master-key /etc/fleet.key\n",
    .tables = {&table},
    .run = run,
};
