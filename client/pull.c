#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "files.h"
#include "verbs.h"

typedef struct options {
    char home[HOME_BYTES];
    char artefact[WORD_BYTES];
    char output[PATH_BYTES];
    uint64_t bandwidth;
} options;

static const tb_setting rows[] = {
    {.key = "artefact",
     .help = "form to fetch: fp32, pruned, int8 or pow2; else the version's "
             "standard one",
     .value = "FORM",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, artefact)},
    {.key = "output",
     .help = "write the ONNX file here as well, and what it names beside it",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     .letter = 'o',
     TB_FIELD(options, output)},
    BANDWIDTH_ROW(options),
    HOME_ROW(options),
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static tb_rc copy_bytes(int from, int to, tb_err *err)
{
    static uint8_t piece[1 << 16];
    ssize_t n = 1;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && n > 0) {
        do {
            n = read(from, piece, sizeof piece);
        } while (n < 0 && errno == EINTR);
        rc = n >= 0 ? tb_file_write_fd(to, piece, (size_t)n, err)
                    : tb_fail_errno(err, errno, "read");
    }
    return rc == TB_OK && fsync(to) != 0 ? tb_fail_errno(err, errno, "sync")
                                         : rc;
}

/* In little memory; there is never half a file under that name. */
static tb_rc copy(const char *from, const char *to, tb_err *err)
{
    char part[PATH_BYTES + 8];
    (void)snprintf(part, sizeof part, "%s.part", to);
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = in >= 0
                  ? open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)
                  : -1;
    tb_rc rc = out >= 0 ? copy_bytes(in, out, err)
                        : tb_fail_errno(err, errno, "%s", in < 0 ? from : part);
    if (rc == TB_OK && rename(part, to) != 0) {
        rc = tb_fail_errno(err, errno, "%s", to);
    }
    if (out >= 0) {
        (void)close(out);
    }
    if (in >= 0) {
        (void)close(in);
    }
    if (rc != TB_OK && out >= 0) {
        (void)unlink(part);
    }
    return rc;
}

/* The ONNX last: what it names is there then. */
static tb_rc copy_all(const tb_json *result, const char *to, tb_err *err)
{
    const char *path = tb_json_text(result, "path", "");
    const tb_json *files = tb_json_get(result, "files");
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < tb_json_count(files); i++) {
        const char *name = tb_json_text(tb_json_at(files, i), "name", "");
        char *source = tb_file_beside(path, name);
        char *target = tb_file_beside(to, name);
        rc = source != NULL && target != NULL
                 ? copy(source, target, err)
                 : tb_fail(err, TB_E_NOMEM, "%s", name);
        tb_mem_free(source);
        tb_mem_free(target);
    }
    return rc == TB_OK ? copy(path, to, err) : rc;
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
    r.bandwidth = o->bandwidth;
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK && o->artefact[0] != '\0') {
        rc = request_set_role(&r, o->artefact, err);
    }
    if (rc == TB_OK) {
        rc = ask(o->home, &r, &result, err);
    }
    if (rc == TB_OK && o->output[0] != '\0') {
        rc = copy_all(result, o->output, err);
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
