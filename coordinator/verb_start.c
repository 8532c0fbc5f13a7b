/* start: a job file, with what flags add to it, goes to the daemon. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "crypto/crypto.h"
#include "host/job.h"
#include "model_blobs.h"
#include "verbs.h"

typedef struct from_flags {
    char from[TB_JOB_VERSION_BYTES];
    bool force;
} from_flags;

static const tb_setting from_rows[] = {
    {.key = "from",
     .help = "start from a registered version, whatever model the job names",
     .value = "NAME[@SEQUENCE]",
     .type = TB_SETTING_TEXT,
     TB_FIELD(from_flags, from)},
    {.key = "force",
     .help = "start also when the disk may be too small for it",
     .preset = "false",
     .type = TB_SETTING_BOOL,
     TB_FIELD(from_flags, force)}};

static const tb_setting_table from_table = {.env = "TRIBUTARY_",
                                            .rows = from_rows,
                                            .n_rows = sizeof from_rows /
                                                      sizeof *from_rows,
                                            .bytes = sizeof(from_flags)};

/* The daemon has another working folder: paths go to it whole. */
static tb_rc make_absolute(char *path, size_t size, tb_err *err)
{
    char cwd[TB_PATH_BYTES];
    char whole[2 * TB_PATH_BYTES];
    if (path[0] == '\0' || path[0] == '/') {
        return TB_OK;
    }
    if (getcwd(cwd, sizeof cwd) == NULL) {
        return tb_fail(err, TB_E_IO,
                       "the working folder is gone or its path "
                       "too long");
    }
    int n = snprintf(whole, sizeof whole, "%s/%s", cwd, path);
    if (n < 0 || (size_t)n >= size) {
        return tb_fail(err, TB_E_LIMIT, "%s: its whole path is over %zu bytes",
                       path, size - 1);
    }
    memcpy(path, whole, (size_t)n + 1);
    return TB_OK;
}

static tb_rc make_paths_absolute(tb_job *job, tb_err *err)
{
    char *const paths[] = {job->evaluate.path, job->calibrate.path,
                           job->guard_data.path};
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < sizeof paths / sizeof *paths && rc == TB_OK; i++) {
        rc = make_absolute(paths[i], TB_JOB_PATH_BYTES, err);
    }
    return rc;
}

/* The model's files go into the folder's blobs, and what they are called there
 * into the request. They are held until the daemon has read them. */
static tb_rc put_model(tb_buf *list, tb_blobs **hold, const char *dir,
                       const char *path, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_model_blobs model;
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = tb_model_blobs_look(&model, &graph, path, err);
    }
    tb_graph_free(&graph);
    if (rc == TB_OK) {
        rc = tb_model_blobs_put(&model, hold, dir, path, err);
    }
    return rc == TB_OK ? tb_model_blobs_list(&model, list, err) : rc;
}

/* Attachment 0: the whole job in canonical text; 1: its model's files. */
static tb_rc attach(tb_control_request *request, tb_blobs **hold,
                    const tb_job *job, const char *dir, tb_err *err)
{
    tb_buf *text = &request->attachments[0];
    tb_buf *list = &request->attachments[1];
    tb_buf_init(text, TB_SETTINGS_FILE_BYTES_MAX);
    request->n_attachments = 1;
    tb_rc rc = tb_job_encode(job, TB_JOB_ALL, text, err);
    if (rc == TB_OK && job->model.file[0] != '\0') {
        tb_buf_init(list, TB_MODEL_LIST_BYTES_MAX);
        request->n_attachments = 2;
        rc = put_model(list, hold, dir, job->model.file, err);
    }
    return rc;
}

static tb_rc read_job(tb_cli_call *call, tb_err *err)
{
    tb_settings *settings = &call->settings[1];
    tb_rc rc = tb_settings_read_file(settings, call->args[0], err);
    const from_flags *flags = call->values[2];
    tb_job *job = call->values[1];
    if (rc == TB_OK && flags->from[0] != '\0') {
        job->model.file[0] = '\0';
        job->model.make[0] = '\0';
        memcpy(job->model.version, flags->from, sizeof flags->from);
    }
    if (rc == TB_OK) {
        rc = tb_job_finish(settings, err);
        rc = rc == TB_OK ? rc : tb_err_prefix(err, rc, "%s", call->args[0]);
    }
    return rc == TB_OK ? make_paths_absolute(call->values[1], err) : rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const tb_dir_settings *at = call->values[0];
    const tb_job *job = call->values[1];
    const from_flags *flags = call->values[2];
    tb_json *reply = NULL;
    tb_blobs *hold = NULL;
    tb_control_request request;
    tb_rc rc = tb_control_request_init(&request, "start", err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = read_job(call, err);
    if (rc == TB_OK) {
        rc = attach(&request, &hold, job, at->dir, err);
    }
    if (rc == TB_OK && flags->force) {
        rc = tb_control_arg_add(&request, "force", "1", err);
    }
    if (rc == TB_OK) {
        rc = tb_ask_long(&reply, at, &request, err);
    }
    tb_blobs_close(&hold);
    if (rc == TB_OK && call->json) {
        rc = tb_json_print(reply, err);
    } else if (rc == TB_OK) {
        long long queued = (long long)tb_json_int(reply, "queued", 0);
        (void)printf("%s %s, run %s", queued > 0 ? "queued" : "started",
                     job->name.text, tb_json_text(reply, "run", "?"));
        if (queued > 0) {
            (void)printf(" (number %lld in the queue: jobs.running)", queued);
        }
        (void)printf("\nnext: tributaryd watch --dir %s %s\n", at->dir,
                     job->name.text);
    }
    tb_json_free(&reply);
    tb_control_request_release(&request);
    return rc;
}

const tb_verb verb_start = {
    .name = "start",
    .args = "JOB",
    .min_args = 1,
    .max_args = 1,
    .help = "start a run of a job file",
    .examples = "tributaryd start --dir fleet examples/fashion.yaml\n"
                "tributaryd start --dir fleet job.yaml --rounds 5 --seed 7\n"
                "tributaryd start --dir fleet job.yaml --from fashion@3\n",
    .notes = "Every key of the job file is a flag too, and a flag wins.\n",
    .json = true,
    .tables = {&tb_dir_table, &tb_job_table, &from_table},
    .run = run,
};
