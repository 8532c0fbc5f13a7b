/* check: what a look at every file of the folder finds. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "check.h"
#include "host/json.h"
#include "settings.h"
#include "verbs.h"

typedef struct options {
    char receipts[TB_PATH_BYTES]; /* "": none */
} options;

static const tb_setting rows[] = {
    {.key = "receipts",
     .help = "compare with what a client holds, too: its folder, a copy of its "
             "file `state`, or a folder of clients' folders",
     .value = "PATH",
     .type = TB_SETTING_PATH,
     TB_FIELD(options, receipts)}};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(options)};

static void print_counts(const tb_check *c)
{
    char bytes[32];
    tb_text_bytes(c->blob_bytes, bytes, sizeof bytes);
    (void)printf(
        "%llu rows, %llu blobs (%s), %llu keys, %llu files of runs, "
        "%llu updates in %llu spool segments, %llu checkpoints hold\n",
        (unsigned long long)c->n_rows, (unsigned long long)c->n_blobs, bytes,
        (unsigned long long)c->n_keys, (unsigned long long)c->n_run_files,
        (unsigned long long)c->n_updates, (unsigned long long)c->n_segments,
        (unsigned long long)c->n_sums);
    if (c->n_loose > 0) {
        (void)printf("%llu blobs that nothing names: tributaryd gc removes "
                     "them\n",
                     (unsigned long long)c->n_loose);
    }
    if (c->n_receipts > 0 || c->n_outdated > 0) {
        (void)printf("%llu receipts of clients hold; %llu are of a time that a "
                     "restore gave up\n",
                     (unsigned long long)c->n_receipts,
                     (unsigned long long)c->n_outdated);
    }
}

static void print(const tb_check *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const tb_finding *f = &c->at[i];
        (void)printf("%-9s %s\n%-9s %s\n%-9s %s\n",
                     tb_finding_kind_name(f->kind), f->what, "  means",
                     f->means, "  mend", f->mend);
    }
    print_counts(c);
}

static tb_rc put_finding(tb_json *array, const tb_finding *f, tb_err *err)
{
    tb_json *o = tb_json_object();
    tb_rc rc = tb_json_put_text(o, "kind", tb_finding_kind_name(f->kind), err);
    if (rc == TB_OK) {
        rc = tb_json_put_text(o, "what", f->what, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_text(o, "means", f->means, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_text(o, "mend", f->mend, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_append(array, &o, err);
    }
    tb_json_free(&o);
    return rc;
}

static tb_rc put_counts(tb_json *o, const tb_check *c, tb_err *err)
{
    const struct {
        const char *key;
        uint64_t n;
    } counts[] = {{"rows", c->n_rows},
                  {"blobs", c->n_blobs},
                  {"blob_bytes", c->blob_bytes},
                  {"keys", c->n_keys},
                  {"run_files", c->n_run_files},
                  {"segments", c->n_segments},
                  {"updates", c->n_updates},
                  {"checkpoints", c->n_sums},
                  {"loose_blobs", c->n_loose},
                  {"receipts", c->n_receipts},
                  {"outdated_receipts", c->n_outdated}};
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < sizeof counts / sizeof *counts && rc == TB_OK; i++) {
        rc = tb_json_put_int(o, counts[i].key, (int64_t)counts[i].n, err);
    }
    return rc;
}

static tb_rc print_json(const tb_check *c, tb_err *err)
{
    tb_json *o = tb_json_object();
    tb_json *array = tb_json_array();
    tb_rc rc = put_counts(o, c, err);
    for (size_t i = 0; i < c->n && rc == TB_OK; i++) {
        rc = put_finding(array, &c->at[i], err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(o, "findings", &array, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_print(o, err);
    }
    tb_json_free(&array);
    tb_json_free(&o);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const tb_dir_settings *at = call->values[0];
    const options *given = call->values[1];
    tb_check_options o = {
        .dir = call->n_args == 1 ? call->args[0] : at->dir,
        .master_key = at->master_key[0] != '\0' ? at->master_key : NULL,
        .parts = TB_CHECK_ALL,
        .receipts = given->receipts[0] != '\0' ? given->receipts : NULL};
    tb_check check;
    tb_rc rc = tb_check_run(&check, &o, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (call->json) {
        rc = print_json(&check, err);
    } else {
        print(&check);
    }
    if (rc == TB_OK && check.n > 0) {
        rc = tb_fail(err, TB_E_IO, "%s: %zu finding%s", o.dir, check.n,
                     check.n == 1 ? "" : "s");
    }
    tb_check_release(&check);
    return rc;
}

const tb_verb verb_check = {
    .name = "check",
    .args = "[DIR]",
    .min_args = 0,
    .max_args = 1,
    .help = "look for what was altered or lost in a coordinator's folder",
    .examples = "tributaryd check fleet\n"
                "tributaryd check /backup/fleet --master-key fleet.key\n"
                "tributaryd check fleet --receipts tributary-home\n",
    .notes = "Exit code 0: all is well; 1: there are findings. Each says what "
             "it means and what can be recovered. Changes nothing; the daemon "
             "may run. A folder that was rolled back as a whole is sound in "
             "itself: only receipts of clients tell.\n",
    .json = true,
    .tables = {&tb_dir_table, &table},
    .run = run,
};
