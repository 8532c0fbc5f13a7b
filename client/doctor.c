/* doctor: all that a client needs of its folder, its machine and the way to its
 * coordinator. */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "fed/client.h"
#include "host/dial.h"
#include "host/doctor.h"
#include "run.h"
#include "verbs.h"

enum { DIAL_MS = 5000, N_FILES = 64 };

#define DISK_BYTES (100ull * 1000 * 1000)

static const tb_setting rows[] = {HOME_ROW(run_options)};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(run_options)};

/* The settings file of `run`, and the data sets that it names. */
static void look_at_settings(tb_doctor *d, const char *path)
{
    tb_err err = {0};
    tb_settings s;
    run_options o;
    if (!tb_file_exists(path)) {
        tb_doctor_passed(d, "settings", "no %s: flags say all",
                         TB_SETTINGS_FILE_NAME);
        return;
    }
    tb_settings_init(&s, &run_table, &o);
    if (tb_settings_read_file(&s, path, &err) != TB_OK) {
        tb_doctor_problem(d, "settings", "mend that line", "%s", err.text);
    } else {
        tb_doctor_passed(d, "settings", "%s can be read", path);
    }
    for (size_t i = 0; i < o.data.n; i++) {
        const char *equals = strchr(o.data.at[i], '=');
        if (equals != NULL && access(equals + 1, R_OK) == 0) {
            tb_doctor_passed(d, "data", "%s can be read", o.data.at[i]);
        } else {
            tb_doctor_problem(d, "data",
                              "name NAME=PATH that this user may "
                              "read",
                              "%s cannot be read", o.data.at[i]);
        }
    }
    tb_settings_release(&run_table, &o);
}

/* Dials as `run` does, and waits for the end of the handshake. */
static void shake_hands(tb_doctor *d, const home *h)
{
    tb_err err = {0};
    tb_dial *dial = NULL;
    tb_dial_stats stats = {0};
    const tb_dial_options options = {
        .endpoint = h->fed.endpoint,
        .server_key = h->fed.certificate.curve_key,
        .curve_public = tb_box_key_public(h->curve_key),
        .curve_secret = tb_box_key_secret(h->curve_key)};
    tb_rc rc = tb_dial_start(&dial, &options, &err);
    int64_t until = tb_clock_ms() + DIAL_MS;
    while (rc == TB_OK && !stats.connected && tb_clock_ms() < until) {
        tb_inbound *in = NULL;
        struct pollfd fd = {.fd = tb_dial_fd(dial), .events = POLLIN};
        (void)poll(&fd, 1, (int)(until - tb_clock_ms()));
        tb_dial_receive(dial, &in);
        tb_inbound_free(&in);
        tb_dial_stats_get(dial, &stats);
    }
    if (stats.connected) {
        tb_doctor_passed(d, "handshake",
                         "the coordinator is who it was, and "
                         "takes this client's key");
    } else {
        tb_doctor_problem(d, "handshake",
                          "look in `tributaryd clients` whether it was "
                          "revoked; else join again with a new invite",
                          "%s",
                          rc == TB_OK ? "the coordinator has another key, "
                                        "or does not take this client's"
                                      : err.text);
    }
    (void)!tb_dial_stop(&dial, DIAL_MS, NULL);
}

/* A second connection with the same key would end the first: while an agent
 * runs it is asked. */
static void look_at_network(tb_doctor *d, const home *h, bool running)
{
    tb_err err = {0};
    tb_json *status = NULL;
    bool reached = tb_doctor_reach(d, h->fed.endpoint);
    if (!running) {
        if (reached) {
            shake_hands(d, h);
        }
        return;
    }
    tb_rc rc = ask_status(h, &status, &err);
    const char *phase =
        rc == TB_OK ? tb_json_text(status, "phase", "offline") : "";
    if (rc == TB_OK && strcmp(phase, tb_cphase_name(TB_CPHASE_OFFLINE)) != 0 &&
        strcmp(phase, tb_cphase_name(TB_CPHASE_HELLO)) != 0) {
        tb_doctor_passed(d, "agent", "runs, and the coordinator knows it");
    } else {
        tb_doctor_problem(
            d, "agent", "see its log", "%s%s",
            rc == TB_OK ? "it runs and is not connected: "
                        : "it does not answer: ",
            rc == TB_OK ? tb_json_text(status, "not_connected", "") : err.text);
    }
    tb_json_free(&status);
}

static tb_rc look(tb_doctor *d, home *h, const char *dir)
{
    static const tb_folder_item items[] = {TB_ITEM_SIGN_KEY, TB_ITEM_CURVE_KEY,
                                           TB_ITEM_SEALED};
    tb_err err = {0};
    tb_rc rc = home_open(h, dir, TB_FOLDER_READ, &err);
    if (rc != TB_OK) {
        tb_doctor_problem(d, "folder",
                          "name another with --home, or join with an invite",
                          "%s", err.text);
        return rc;
    }
    tb_doctor_passed(d, "folder", "%s is that of client %s", dir,
                     h->fed.client.text);
    tb_doctor_modes(d, h->folder, items, sizeof items / sizeof *items);
    home_close(h);
    rc = home_open(h, dir, TB_FOLDER_LOCK, &err);
    bool held = rc == TB_E_BUSY;
    if (held) {
        rc = home_open(h, dir, TB_FOLDER_READ, &err);
    }
    if (rc != TB_OK) {
        tb_doctor_keys(d, rc, "join again with a new invite", &err);
        return rc;
    }
    tb_folder_holder holder = {0};
    if (held) {
        tb_folder_holder_get(h->folder, &holder);
        tb_doctor_passed(d, "lock", "held by %s (process %ld)",
                         holder.serves ? "the agent" : holder.work, holder.pid);
    } else {
        tb_doctor_passed(d, "lock", "free: no agent runs here");
    }
    tb_doctor_dates(d, &h->fed.certificate,
                    tb_folder_path(h->folder, TB_ITEM_FEDERATION));
    look_at_settings(d, tb_folder_path(h->folder, TB_ITEM_CONFIG));
    tb_doctor_machine(d, dir, DISK_BYTES, N_FILES);
    look_at_network(d, h, holder.serves);
    return TB_OK;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const run_options *o = call->values[0];
    tb_doctor d = {0};
    home h = {0};
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        (void)!look(&d, &h, o->home);
        home_close(&h);
        rc = tb_doctor_end(&d, err);
    }
    return rc;
}

const tb_verb verb_doctor = {
    .name = "doctor",
    .help = "look at folder, machine and network: what is wrong, how to fix it",
    .examples = "tributary doctor\n"
                "tributary doctor --home /var/lib/tributary/home\n",
    .notes = "Exit code 0: all passed; 7: there are problems. Changes "
             "nothing.\n",
    .tables = {&table},
    .run = run,
};
