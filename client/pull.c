#include <stdio.h>

#include "ask.h"
#include "base/file.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "files.h"
#include "verbs.h"

typedef struct options {
    char home[HOME_BYTES];
    char artefact[WORD_BYTES];
    char output[PATH_BYTES];
} options;

static const tb_setting rows[] = {
    {.key = "artefact",
     .help = "form to fetch: fp32, pruned, int8 or pow2; else the version's "
             "standard one",
     .value = "FORM",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, artefact)},
    {.key = "output",
     .help = "write the ONNX file here as well",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     .letter = 'o',
     TB_FIELD(options, output)},
    HOME_ROW(options),
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static tb_rc copy(const char *from, const char *to, tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, MODEL_BYTES_MAX);
    tb_rc rc = tb_file_read(&bytes, from, err);
    if (rc == TB_OK) {
        rc = tb_file_write(to, bytes.data, bytes.len, 0644, err);
    }
    tb_buf_release(&bytes);
    return rc;
}

static void print(const tb_json *o)
{
    char size[32];
    tb_text_bytes((uint64_t)tb_json_int(o, "bytes", 0), size, sizeof size);
    (void)printf(
        "%s version %lld, %s, %s\n%s\nhash %s\n", tb_json_text(o, "model", "-"),
        (long long)tb_json_int(o, "version", 0), tb_json_text(o, "form", "-"),
        size, tb_json_text(o, "path", "-"), tb_json_text(o, "hash", "-"));
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_json *result = NULL;
    tb_name model;
    request r;
    if (!tb_name_set(&model, call->args[0])) {
        return tb_fail(err, TB_E_USAGE, "\"%s\" is no name of a model",
                       call->args[0]);
    }
    request_init(&r, REQUEST_PULL, &model);
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK && o->artefact[0] != '\0') {
        rc = request_set_role(&r, o->artefact, err);
    }
    if (rc == TB_OK) {
        rc = ask(o->home, &r, &result, err);
    }
    if (rc == TB_OK && o->output[0] != '\0') {
        rc = copy(tb_json_text(result, "path", ""), o->output, err);
    }
    if (rc == TB_OK && call->json) {
        rc = tb_json_print(result, err);
    } else if (rc == TB_OK) {
        print(result);
    }
    tb_json_free(&result);
    request_release(&r);
    return rc;
}

const tb_verb verb_pull = {
    .name = "pull",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .help = "fetch the newest version of a model, checked before use",
    .examples = "tributary pull fashion\n"
                "tributary pull fashion --artefact fp32 -o fashion.onnx\n",
    .json = true,
    .tables = {&table},
    .run = run,
};
