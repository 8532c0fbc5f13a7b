/* status and clients: what the daemon knows, or the folder says. */
#include <stdarg.h>
#include <stdio.h>

#include "ask.h"
#include "base/text.h"
#include "host/table.h"
#include "verbs.h"

static void line(const char *name, const char *fmt, ...) TB_PRINTF(2, 3);

static void line(const char *name, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)printf("%-12s", name);
    (void)vprintf(fmt, args);
    (void)printf("\n");
    va_end(args);
}

static long long get(const tb_json *s, const char *key)
{
    return (long long)tb_json_int(s, key, 0);
}

static void print_run(const tb_json *s)
{
    line("job", "%s: %s, %s  (run %s)", tb_json_text(s, "job", "?"),
         tb_json_text(s, "state", "?"), tb_json_text(s, "phase", "?"),
         tb_json_text(s, "run", "?"));
    line("  round", "%lld of %lld, attempt %lld: %lld of %lld updates in",
         get(s, "round"), get(s, "rounds"), get(s, "attempt"),
         get(s, "accepted"),
         get(s, tb_json_bool(s, "buffered", false) ? "wanted" : "asked"));
    double accuracy = tb_json_float(s, "accuracy", -1.0);
    if (accuracy >= 0.0) {
        line("  last", "accuracy %.4f, loss %.4f", accuracy,
             tb_json_float(s, "loss", 0.0));
    }
    char since[32] = "";
    if (tb_json_get(s, "phase_ms") != NULL) {
        (void)snprintf(since, sizeof since,
                       "for %.0f s: ", (double)get(s, "phase_ms") / 1000.0);
    }
    line("  waits", "%s%s", since, tb_json_text(s, "waits_for", "?"));
}

static void print_live(const tb_json *s)
{
    char in[32], out[32];
    tb_text_bytes((uint64_t)get(s, "bytes_in"), in, sizeof in);
    tb_text_bytes((uint64_t)get(s, "bytes_out"), out, sizeof out);
    line("listening", "%s, enrolment %s", tb_json_text(s, "endpoint", "?"),
         tb_json_text(s, "enrol_endpoint", "?"));
    line("network", "%s in, %s out; %lld denied, %lld dropped, %lld cut", in,
         out, get(s, "denied"), get(s, "dropped"), get(s, "cut"));
}

static void print_status(const tb_json *s)
{
    bool running = tb_json_bool(s, "running", false);
    line("daemon", "%s", running ? "running" : "not running");
    if (running) {
        print_live(s);
    }
    line("clients", "%lld enrolled, %lld connected, %lld ready",
         get(s, "enrolled"), get(s, "connected"), get(s, "ready"));
    const tb_json *runs = tb_json_get(s, "runs");
    for (size_t i = 0; runs != NULL && i < tb_json_count(runs); i++) {
        print_run(tb_json_at(runs, i));
    }
    if (tb_json_get(s, "last_job") != NULL) {
        line("last run", "%s: %s  %s", tb_json_text(s, "last_job", "?"),
             tb_json_text(s, "last_outcome", "?"),
             tb_json_text(s, "last_why", ""));
    }
    const char *waits = tb_json_text(s, "waits_for", "");
    if (waits[0] != '\0') {
        line("waits for", "%s", waits);
    }
}

static tb_rc run_status(tb_cli_call *call, tb_err *err)
{
    tb_json *report = NULL;
    tb_rc rc = tb_ask_report(&report, call->values[0], "status", err);
    if (rc == TB_OK && call->json) {
        rc = tb_json_print(report, err);
    } else if (rc == TB_OK) {
        print_status(report);
    }
    tb_json_free(&report);
    return rc;
}

static tb_rc run_clients(tb_cli_call *call, tb_err *err)
{
    static const tb_column columns[] = {
        {"client", "CLIENT", TB_CELL_TEXT, 0},
        {"state", "STATE", TB_CELL_TEXT, 0},
        {"ready", "READY", TB_CELL_TEXT, 0},
        {"accepted", "UPDATES", TB_CELL_INT, 0},
        {"expelled", "EXPELLED", TB_CELL_INT, 0},
        {"labels", "LABELS", TB_CELL_TEXT, 0},
        {"reported", "REPORTED", TB_CELL_TEXT, 0}};
    tb_json *report = NULL;
    tb_rc rc = tb_ask_report(&report, call->values[0], "clients", err);
    if (rc == TB_OK) {
        rc = call->json
                 ? tb_json_print(report, err)
                 : tb_table_print(columns, sizeof columns / sizeof *columns,
                                  report, err);
    }
    tb_json_free(&report);
    return rc;
}

const tb_verb verb_status = {
    .name = "status",
    .min_args = 0,
    .max_args = 0,
    .help = "what the coordinator does, and what it waits for",
    .examples = "tributaryd status --dir fleet\n"
                "tributaryd status --dir fleet --json\n",
    .json = true,
    .tables = {&tb_dir_table},
    .run = run_status,
};

const tb_verb verb_clients = {
    .name = "clients",
    .min_args = 0,
    .max_args = 0,
    .help = "list the enrolled clients and their labels",
    .examples = "tributaryd clients --dir fleet\n",
    .notes = "LABELS are the operator's, REPORTED what the client says of "
             "itself: it counts where\nthe operator says nothing.\n",
    .json = true,
    .tables = {&tb_dir_table},
    .run = run_clients,
};
