/* publish: puts a model of the user's, and the files that it names, into the
 * folder's blobs, piece by piece, and asks the daemon to make it a version. */
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "host/blob.h"
#include "host/folder.h"
#include "model/onnx.h"
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

/* A file that the model names. */
static tb_rc add_file(void *arg, const char *name, tb_err *err)
{
    tb_manifest *m = arg;
    if (m->n_files == TB_FILES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "tensor data in more than %u files",
                       TB_FILES_MAX);
    }
    if (!tb_name_set(&m->files[m->n_files].name, name)) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "tensor data in \"%.64s\": to be published a file has "
                       "a name of letters, digits, . _ - beside the model",
                       name);
    }
    m->n_files++;
    return TB_OK;
}

/* Reads it as a client would, so that what is published can be used. */
static tb_rc inspect(tb_manifest *m, const char *path, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_predictor *predictor = NULL;
    tb_rc rc = tb_onnx_read_beside(&graph, path, add_file, m, err);
    if (rc == TB_OK) {
        rc = tb_predictor_of(&predictor, &graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_work_put_spec(m, predictor, err);
    }
    tb_predictor_free(&predictor);
    tb_graph_free(&graph);
    return rc;
}

/* "folder of the model/name", for the caller to free. */
static tb_rc beside(char **out, const char *path, const char *name, tb_err *err)
{
    char *dir = tb_mem_text(path);
    char *slash = dir != NULL ? strrchr(dir, '/') : NULL;
    if (slash != NULL) {
        *slash = '\0';
    }
    *out = dir != NULL ? tb_file_join(slash != NULL ? dir : ".", name) : NULL;
    tb_mem_free(dir);
    return *out != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "%s", name);
}

static tb_rc put_blobs(tb_manifest *m, const char *path, tb_blobs *blobs,
                       tb_err *err)
{
    tb_blob_ref ref;
    tb_rc rc = TB_OK;
    for (uint32_t i = 0; i < m->n_files && rc == TB_OK; i++) {
        tb_model_file *f = &m->files[i];
        char *file = NULL;
        rc = beside(&file, path, f->name.text, err);
        if (rc == TB_OK) {
            rc = tb_blobs_put_file(blobs, file, TB_BLOB_LEVEL_FAST, &ref, err);
        }
        if (rc == TB_OK) {
            f->raw = ref.raw;
            f->raw_bytes = ref.raw_bytes;
            f->stored = ref.stored;
            f->stored_bytes = ref.stored_bytes;
        }
        tb_mem_free(file);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_put_file(blobs, path, TB_BLOB_LEVEL_FAST, &ref, err);
    }
    if (rc == TB_OK) {
        m->artefacts[0] = (tb_artefact){.role = TB_ARTEFACT_FP32,
                                        .raw = ref.raw,
                                        .raw_bytes = ref.raw_bytes,
                                        .stored = ref.stored,
                                        .stored_bytes = ref.stored_bytes};
    }
    return rc;
}

/* All that the daemon does not know better. */
static tb_rc prepare(tb_manifest *m, const options *o, const char *path,
                     tb_err *err)
{
    tb_folder *folder = NULL;
    tb_blobs *blobs = NULL;
    *m = (tb_manifest){.name = o->name,
                       .sequence = 1,
                       .software = "tributary " TB_VERSION,
                       .standard = TB_ARTEFACT_FP32,
                       .n_artefacts = 1};
    m->output.softmax = o->softmax;
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = tb_folder_open(&folder, o->at.dir, TB_FOLDER_COORDINATOR,
                            TB_FOLDER_READ, err);
    }
    if (rc == TB_OK) {
        rc = inspect(m, path, err);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_open(&blobs, tb_folder_path(folder, TB_ITEM_BLOBS), err);
    }
    if (rc == TB_OK) {
        rc = put_blobs(m, path, blobs, err);
    }
    tb_blobs_close(&blobs);
    tb_folder_close(&folder);
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
        rc = tb_ask_once(reply, &o->at, &request, err);
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
    tb_rc rc = prepare(&m, o, call->args[0], err);
    if (rc == TB_OK) {
        rc = ask_daemon(&reply, o, &m, err);
    }
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
        "model with files\nbeside it has no limit of size; it is not "
        "served for remote predictions, and is\nno start of a run.\n",
    .json = true,
    .tables = {&table},
    .run = run,
};
