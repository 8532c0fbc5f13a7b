#include <stdio.h>

#include "agent.h"
#include "ask.h"
#include "base/text.h"
#include "verbs.h"

typedef struct options {
    char home[HOME_BYTES];
} options;

static const tb_setting rows[] = {HOME_ROW(options)};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static void print_bytes(const tb_json *status, const char *key,
                        const char *title)
{
    char text[32];
    tb_text_bytes((uint64_t)tb_json_int(status, key, 0), text, sizeof text);
    (void)printf("%-18s%s\n", title, text);
}

static void print(const tb_json *status, bool runs)
{
    const char *refusal = tb_json_text(status, "last_refusal", NULL);
    const char *why = tb_json_text(status, "last_refusal_why", NULL);
    (void)printf("%-18s%s\n", "client", tb_json_text(status, "client", "-"));
    (void)printf("%-18s%s\n", "coordinator",
                 tb_json_text(status, "coordinator", "-"));
    const char *was = tb_json_text(status, "coordinator_was", NULL);
    if (was != NULL) {
        (void)printf("%-18s%s\n", "", was);
    }
    (void)printf("%-18s%s\n", "phase",
                 runs ? tb_json_text(status, "phase", "-") : "not running");
    const char *away = tb_json_text(status, "not_connected", NULL);
    if (away != NULL) {
        (void)printf("%-18s%s\n", "not connected", away);
    }
    if (runs && tb_json_int(status, "round", 0) > 0) {
        (void)printf("%-18s%lld\n", "round",
                     (long long)tb_json_int(status, "round", 0));
    }
    (void)printf("%-18s%lld\n", "jobs",
                 (long long)tb_json_int(status, "jobs", 0));
    (void)printf("%-18s%lld\n", "updates accepted",
                 (long long)tb_json_int(status, "updates_accepted", 0));
    print_bytes(status, "bytes_sent", "sent");
    print_bytes(status, "bytes_received", "received");
    (void)printf("%-18s%lld\n", "refusals",
                 (long long)tb_json_int(status, "refusals", 0));
    if (why != NULL) { /* without a code: this client itself declined */
        (void)printf("%-18s%s%s%s\n", "last refusal",
                     refusal != NULL ? refusal : "",
                     refusal != NULL ? ": " : "", why);
    }
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_json *status = NULL;
    home h = {0};
    bool runs = true;
    tb_rc rc = home_open(&h, o->home, TB_FOLDER_READ, err);
    if (rc == TB_OK) {
        rc = ask_status(&h, &status, err);
    }
    if (rc == TB_E_NOT_FOUND && h.folder != NULL) {
        runs = false;
        rc = agent_saved_status(&h, &status, err);
    }
    if (rc == TB_E_NOT_FOUND && h.folder != NULL) { /* has never run */
        status = tb_json_object();
        rc = tb_json_put_text(status, "client", h.fed.client.text, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_bool(status, "running", runs, err);
    }
    if (rc == TB_OK && call->json) {
        rc = tb_json_print(status, err);
    } else if (rc == TB_OK) {
        print(status, runs);
    }
    tb_json_free(&status);
    home_close(&h);
    return rc;
}

const tb_verb verb_status = {
    .name = "status",
    .help = "what this client does and has done",
    .examples = "tributary status\n"
                "tributary status --json\n",
    .json = true,
    .tables = {&table},
    .run = run,
};
