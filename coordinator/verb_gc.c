/* gc: asks the daemon to remove what no row needs; without one, does it. */
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "base/text.h"
#include "gc.h"
#include "verbs.h"

typedef struct options {
    bool dry_run;
} options;

static const tb_setting rows[] = {{.key = "dry_run",
                                   .help = "only say what would go",
                                   .preset = "false",
                                   .type = TB_SETTING_BOOL,
                                   TB_FIELD(options, dry_run)}};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(options)};

/* Makes a record durable with no daemon and no live machine. */
static tb_rc journal(void *arg, const tb_record *record, tb_err *err)
{
    tb_state *state = arg;
    tb_buf body;
    tb_buf_init(&body, TB_RECORD_BYTES_MAX);
    tb_row row = {.seq = tb_store_head(state->store, NULL) + 1,
                  .kind = record->kind};
    tb_rc rc = tb_coordinator_replay(state->machine, record, row.seq, err);
    if (rc == TB_OK) {
        rc = tb_record_encode(record, &body, err);
    }
    if (rc == TB_OK) {
        row.body = body.data;
        row.body_bytes = body.len;
        rc = tb_store_append(state->store, &row, 1, err);
    }
    if (rc == TB_OK) {
        rc = tb_state_note(state, record, err);
    }
    tb_buf_release(&body);
    return rc;
}

static tb_rc collect(tb_json **out, const tb_daemon_settings *settings,
                     bool dry_run, tb_err *err)
{
    tb_state state;
    tb_gc_result result;
    tb_gc_options o = {.retention = settings->keep,
                       .dry_run = dry_run,
                       .leftovers = true,
                       .journal = journal,
                       .arg = &state};
    tb_rc rc = tb_state_open(&state, settings->at.dir, TB_FOLDER_LOCK, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_gc_run(&result, &state, &o, err);
    if (rc == TB_OK) {
        rc = tb_gc_report(out, &result, err);
    }
    tb_state_close(&state);
    return rc;
}

static void print(const tb_json *result, bool dry_run)
{
    char bytes[32];
    tb_text_bytes((uint64_t)tb_json_int(result, "bytes", 0), bytes,
                  sizeof bytes);
    (void)printf("%s %s in %lld files: %lld blobs that rows let go, updates "
                 "and keys of %lld runs\n",
                 dry_run ? "would free" : "freed", bytes,
                 (long long)tb_json_int(result, "files", 0),
                 (long long)tb_json_int(result, "blobs", 0),
                 (long long)tb_json_int(result, "runs", 0));
}

static tb_rc keep_reply(void *arg, const tb_json *reply, tb_err *err)
{
    tb_cli_call *call = arg;
    const options *o = call->values[1];
    if (call->json) {
        return tb_json_print(reply, err);
    }
    print(reply, o->dry_run);
    return TB_OK;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const tb_daemon_settings *settings = call->values[0];
    const options *o = call->values[1];
    tb_json *result = NULL;
    tb_control_request request;
    tb_asker asker = {.fn = keep_reply, .arg = call};
    tb_rc rc = tb_control_request_init(&request, "gc", err);
    if (rc == TB_OK && o->dry_run) {
        rc = tb_control_arg_add(&request, "dry_run", "1", err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_ask(&settings->at, &request, -1, &asker, err);
    tb_control_request_release(&request);
    if (rc != TB_E_NOT_FOUND || asker.answered) {
        return rc;
    }
    rc = collect(&result, settings, o->dry_run, err);
    if (rc == TB_OK) {
        rc = keep_reply(call, result, err);
    }
    tb_json_free(&result);
    return rc;
}

const tb_verb verb_gc = {
    .name = "gc",
    .min_args = 0,
    .max_args = 0,
    .help = "remove old models, versions and updates, and what crashes left",
    .examples = "tributaryd gc --dir fleet --dry-run\n"
                "tributaryd gc --dir fleet --keep-versions 5\n",
    .notes = "keep.versions, keep.checkpoints and keep.spool say what stays; "
             "a daemon that runs uses its own. It collects by itself after "
             "each round and run.\n",
    .json = true,
    .tables = {&tb_daemon_table, &table},
    .run = run,
};
