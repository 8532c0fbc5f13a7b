/* doctor: all that a coordinator needs of its folder and its machine. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "host/doctor.h"
#include "keys.h"
#include "state.h"
#include "verbs.h"

#define DISK_BYTES (1000ull * 1000 * 1000)
#define N_FILES    1024

/* What the checks share. */
typedef struct patient {
    tb_doctor doctor;
    const tb_dir_settings *at;
    tb_folder *folder;
    bool running; /* a daemon works in the folder */
} patient;

static void look_at_settings(patient *p)
{
    tb_err err = {0};
    tb_settings s;
    const char *path = tb_folder_path(p->folder, TB_ITEM_CONFIG);
    tb_daemon_settings *values = tb_mem_array(1, sizeof *values);
    if (values == NULL) {
        return;
    }
    tb_settings_init(&s, &tb_daemon_table, values);
    if (!tb_file_exists(path)) {
        tb_doctor_passed(&p->doctor, "settings", "no %s: defaults hold",
                         TB_SETTINGS_FILE_NAME);
    } else if (tb_settings_read_file(&s, path, &err) == TB_OK) {
        tb_doctor_passed(&p->doctor, "settings", "%s can be read", path);
    } else {
        tb_doctor_problem(&p->doctor, "settings", "mend that line", "%s",
                          err.text);
    }
    tb_settings_release(&tb_daemon_table, values);
    tb_mem_free(values);
}

static void look_at_lock(patient *p)
{
    tb_err err = {0};
    tb_folder *locked = NULL;
    tb_rc rc = tb_folder_open(&locked, p->at->dir, TB_FOLDER_COORDINATOR,
                              TB_FOLDER_LOCK, &err);
    tb_folder_holder h;
    tb_folder_holder_get(p->folder, &h);
    p->running = rc == TB_E_BUSY && h.serves;
    if (rc == TB_OK) {
        tb_doctor_passed(&p->doctor, "lock", "free: no daemon runs here");
    } else if (rc == TB_E_BUSY) {
        tb_doctor_passed(&p->doctor, "lock", "held by %s (process %ld)",
                         h.serves ? "the daemon" : h.work, h.pid);
    } else {
        tb_doctor_problem(&p->doctor, "lock", "let its owner write there", "%s",
                          err.text);
    }
    tb_folder_close(&locked);
}

static void look_at_keys(patient *p)
{
    tb_err err = {0};
    tb_keys keys = {0};
    char *beside = NULL;
    const char *master = p->at->master_key;
    if (master[0] == '\0') {
        beside = tb_folder_master_path(p->at->dir);
        master = beside;
    }
    if (master == NULL) {
        return;
    }
    tb_doctor_mode(&p->doctor, "master key", master);
    tb_rc rc = tb_keys_read(&keys, p->folder, master, &err);
    if (rc == TB_OK) {
        tb_doctor_passed(&p->doctor, "keys",
                         "working keys and certificate belong together");
        tb_doctor_dates(&p->doctor, &keys.certificate,
                        tb_folder_path(p->folder, TB_ITEM_HEAD));
    } else {
        tb_doctor_keys(&p->doctor, rc,
                       "restore keys/, certificate and master key from one "
                       "backup; set the clock when the dates are wrong",
                       &err);
    }
    tb_keys_release(&keys);
    tb_mem_free(beside);
}

static void look_at_journal(patient *p)
{
    tb_err err = {0};
    tb_state state;
    tb_rc rc = tb_state_open(&state, p->at->dir, TB_FOLDER_READ, &err);
    if (rc == TB_OK) {
        tb_doctor_passed(&p->doctor, "journal", "%llu rows, and they follow",
                         (unsigned long long)tb_store_head(state.store, NULL));
        tb_state_close(&state);
    } else {
        tb_doctor_problem(&p->doctor, "journal",
                          "tributaryd check says what is lost and what can be "
                          "recovered",
                          "%s", err.text);
    }
}

/* The daemon answers on its socket, and its port takes connections. */
static void look_at_daemon(patient *p)
{
    tb_err err = {0};
    tb_json *report = NULL;
    if (tb_ask_report(&report, p->at, "status", &err) != TB_OK) {
        tb_doctor_problem(&p->doctor, "daemon",
                          "restart it: the round goes on where it was", "%s",
                          err.text);
        return;
    }
    tb_doctor_passed(&p->doctor, "daemon", "answers");
    (void)tb_doctor_reach(&p->doctor, tb_json_text(report, "endpoint", ""));
    (void)tb_doctor_reach(&p->doctor,
                          tb_json_text(report, "enrol_endpoint", ""));
    tb_json_free(&report);
}

static void look_at_endpoints(patient *p)
{
    tb_err err = {0};
    tb_buf text;
    char word[4][TB_PATH_BYTES];
    const char *path = tb_folder_path(p->folder, TB_ITEM_ENDPOINTS);
    tb_buf_init(&text, 4 * TB_PATH_BYTES);
    if (!tb_file_exists(path)) {
        tb_doctor_passed(&p->doctor, "endpoints", "not chosen yet");
    } else if (tb_file_read(&text, path, &err) == TB_OK &&
               tb_buf_put_u8(&text, 0, &err) == TB_OK &&
               sscanf((const char *)text.data, "%1023s %1023s %1023s %1023s",
                      word[0], word[1], word[2], word[3]) == 4) {
        tb_doctor_passed(&p->doctor, "endpoints", "%s, enrolment %s", word[1],
                         word[3]);
    } else {
        tb_doctor_problem(&p->doctor, "endpoints",
                          "delete it: ports are chosen anew, and clients must "
                          "join again where they were left to the system",
                          "%s cannot be read", path);
    }
    tb_buf_release(&text);
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    static const tb_folder_item items[] = {
        TB_ITEM_SIGN_KEY, TB_ITEM_CURVE_KEY, TB_ITEM_ROOT_KEY, TB_ITEM_JOURNAL,
        TB_ITEM_HEAD,     TB_ITEM_SPOOL,     TB_ITEM_RUNS};
    patient p = {.at = call->values[0]};
    tb_err why = {0};
    tb_rc rc = tb_crypto_init(err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_folder_open(&p.folder, p.at->dir, TB_FOLDER_COORDINATOR,
                        TB_FOLDER_READ, &why);
    if (rc != TB_OK) {
        tb_doctor_problem(&p.doctor, "folder",
                          "name another with --dir, or make it with tributaryd "
                          "init",
                          "%s", why.text);
        return tb_doctor_end(&p.doctor, err);
    }
    tb_doctor_passed(&p.doctor, "folder", "%s is a coordinator's", p.at->dir);
    tb_doctor_modes(&p.doctor, p.folder, items, sizeof items / sizeof *items);
    look_at_lock(&p);
    look_at_keys(&p);
    look_at_settings(&p);
    look_at_journal(&p);
    look_at_endpoints(&p);
    tb_doctor_machine(&p.doctor, p.at->dir, DISK_BYTES, N_FILES);
    if (p.running) {
        look_at_daemon(&p);
    }
    tb_folder_close(&p.folder);
    return tb_doctor_end(&p.doctor, err);
}

const tb_verb verb_doctor = {
    .name = "doctor",
    .min_args = 0,
    .max_args = 0,
    .help = "look at folder, keys and machine: what is wrong, how to fix it",
    .examples = "tributaryd doctor --dir fleet\n",
    .notes = "Exit code 0: all passed; 7: there are problems. Changes nothing. "
             "What lies in the\nfolder is looked at file by file by "
             "tributaryd check.\n",
    .tables = {&tb_dir_table},
    .run = run,
};
