/* publish: puts a model of the user's, and the files that it names, into the
 * folder's blobs, piece by piece, and asks the daemon to make it a version. */
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "model_blobs.h"
#include "verbs.h"
#include "wire/manifest.h"
#include "work/finish.h"
#include "work/predict.h"

typedef struct options {
    tb_dir_settings at; /* first: tb_ask takes it */
    tb_name name;
    bool softmax;
} options;

static const tb_setting rows[] = {
    {.key = "dir",
     .help = "the coordinator's folder",
     .value = "DIR",
     .preset = ".",
     .type = TB_SETTING_PATH,
     TB_FIELD(options, at.dir)},
    {.key = "name",
     .help = "name of the model; one that is there gets a new version",
     .value = "NAME",
     .flags = TB_SETTING_REQUIRED,
     .type = TB_SETTING_NAME,
     TB_FIELD(options, name)},
    {.key = "softmax",
     .help = "its outputs are probabilities",
     .preset = "false",
     .type = TB_SETTING_BOOL,
     TB_FIELD(options, softmax)}};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(options)};

/* Plans it as a client would, so that what is published can be used. */
static tb_rc inspect(tb_manifest *m, tb_graph **graph_take, tb_err *err)
{
    tb_predictor *predictor = NULL;
    tb_rc rc = tb_predictor_of(&predictor, graph_take, err);
    if (rc == TB_OK) {
        rc = tb_work_put_spec(m, predictor, err);
    }
    tb_predictor_free(&predictor);
    return rc;
}

static void name_blobs(tb_manifest *m, const tb_model_blobs *model)
{
    m->artefacts[0] = (tb_artefact){.role = TB_ARTEFACT_FP32,
                                    .raw = model->onnx.raw,
                                    .raw_bytes = model->onnx.raw_bytes,
                                    .stored = model->onnx.stored,
                                    .stored_bytes = model->onnx.stored_bytes};
    m->n_files = model->n_files;
    memcpy(m->files, model->files, sizeof m->files);
}

/* All that the daemon does not know better. */
static tb_rc prepare(tb_manifest *m, tb_blobs **hold, const options *o,
                     const char *path, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_model_blobs model;
    *m = (tb_manifest){.name = o->name,
                       .sequence = 1,
                       .software = "tributary " TB_VERSION,
                       .standard = TB_ARTEFACT_FP32,
                       .n_artefacts = 1};
    m->output.softmax = o->softmax;
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = tb_model_blobs_look(&model, &graph, path, err);
    }
    if (rc == TB_OK) {
        rc = inspect(m, &graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_model_blobs_put(&model, hold, o->at.dir, path, err);
    }
    if (rc == TB_OK) {
        name_blobs(m, &model);
    }
    tb_graph_free(&graph);
    return rc;
}

static tb_rc ask_daemon(tb_json **reply, const options *o, const tb_manifest *m,
                        tb_err *err)
{
    tb_control_request request;
    tb_rc rc = tb_control_request_init(&request, "publish", err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_buf_init(&request.attachments[0], TB_MANIFEST_BYTES_MAX);
    request.n_attachments = 1;
    rc = tb_manifest_encode(m, &request.attachments[0], err);
    if (rc == TB_OK) {
        rc = tb_ask_long(reply, &o->at, &request, err);
    }
    tb_control_request_release(&request);
    return rc;
}

static void print(const tb_manifest *m, const tb_json *reply)
{
    char size[32];
    uint64_t bytes = m->artefacts[0].raw_bytes;
    for (uint32_t i = 0; i < m->n_files; i++) {
        bytes += m->files[i].raw_bytes;
    }
    tb_text_bytes(bytes, size, sizeof size);
    (void)printf("published %s, version %lld: %u file%s, %s\n", m->name.text,
                 (long long)tb_json_int(reply, "version", 0), m->n_files + 1,
                 m->n_files > 0 ? "s" : "", size);
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_manifest m = {0};
    tb_json *reply = NULL;
    tb_blobs *hold = NULL;
    tb_rc rc = prepare(&m, &hold, o, call->args[0], err);
    if (rc == TB_OK) {
        rc = ask_daemon(&reply, o, &m, err);
    }
    tb_blobs_close(&hold);
    if (rc == TB_OK && call->json) {
        rc = tb_json_print(reply, err);
    } else if (rc == TB_OK) {
        print(&m, reply);
    }
    tb_json_free(&reply);
    tb_manifest_release(&m);
    return rc;
}

const tb_verb verb_publish = {
    .name = "publish",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .help = "register an ONNX file, with the tensor files beside it, as a "
            "version",
    .examples = "tributaryd publish --dir fleet model.onnx --name vision\n",
    .notes =
        "The daemon must run. Clients get it with `tributary pull NAME`. A "
        "model with files\nbeside it has no limit of size. What is published "
        "by hand is not served for remote\npredictions.\n",
    .json = true,
    .tables = {&table},
    .run = run,
};
