#include "registry.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "host/blob.h"

enum {
    FILE_BYTES_MAX = 4 + TB_MANIFEST_BYTES_MAX + TB_SIGNATURE_BYTES,
    ITEM_BYTES = TB_NAME_BYTES + 32
};

static tb_rc item_path(char **out, const home *h, const tb_name *model,
                       const char *item, tb_err *err)
{
    char name[ITEM_BYTES];
    (void)snprintf(name, sizeof name, "%s/%s", model->text, item);
    return home_path(out, h, TB_ITEM_MODELS, name, err);
}

/* Signature first, then what it says. */
static tb_rc check_manifest(const home *h, const tb_span *bytes,
                            const uint8_t *signature, const tb_name *model,
                            tb_manifest *out, tb_err *err)
{
    tb_hash ours = tb_federation_of(h->fed.root);
    tb_rc rc = tb_verify(signature, h->fed.certificate.sign_key,
                         TB_SIGN_MANIFEST, bytes->data, bytes->len, err);
    if (rc == TB_OK) {
        rc = tb_manifest_decode(out, bytes->data, bytes->len, err);
    }
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "manifest of %s", model->text);
    }
    if (!tb_hash_equal(&out->federation, &ours)) {
        rc = tb_fail(err, TB_E_DENIED, "manifest of %s: of another federation",
                     model->text);
    } else if (!tb_name_equal(&out->name, model)) {
        rc = tb_fail(err, TB_E_DENIED, "manifest of %s instead of %s",
                     out->name.text, model->text);
    }
    if (rc != TB_OK) {
        tb_manifest_release(out);
    }
    return rc;
}

static tb_rc write_manifest(const home *h, const tb_msg_manifest *msg,
                            const tb_name *model, tb_err *err)
{
    char *path = NULL;
    char *dir = NULL;
    tb_buf file;
    tb_buf_init(&file, FILE_BYTES_MAX);
    tb_rc rc = home_path(&dir, h, TB_ITEM_MODELS, model->text, err);
    if (rc == TB_OK) {
        rc = item_path(&path, h, model, "manifest", err);
    }
    if (rc == TB_OK) {
        rc = tb_file_make_dir(dir, 0700, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put_u32(&file, (uint32_t)msg->manifest.len, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(&file, msg->manifest.data, msg->manifest.len, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(&file, msg->signature, sizeof msg->signature, err);
    }
    if (rc == TB_OK) {
        rc = tb_file_write(path, file.data, file.len, 0600, err);
    }
    tb_buf_release(&file);
    tb_mem_free(path);
    tb_mem_free(dir);
    return rc;
}

tb_rc registry_take(const home *h, const tb_msg_manifest *msg,
                    const tb_name *model, tb_manifest *out, tb_err *err)
{
    uint64_t known = registry_sequence(h, model);
    tb_rc rc =
        check_manifest(h, &msg->manifest, msg->signature, model, out, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (out->sequence < known) {
        rc = tb_fail(err, TB_E_DENIED,
                     "the coordinator offers version %llu of %s, older than "
                     "version %llu that is known here: refused",
                     (unsigned long long)out->sequence, model->text,
                     (unsigned long long)known);
    } else {
        rc = write_manifest(h, msg, model, err);
    }
    if (rc != TB_OK) {
        tb_manifest_release(out);
    }
    return rc;
}

/* The parts of the manifest's file, borrowed from it. */
static tb_rc cut_file(const tb_buf *file, tb_span *bytes,
                      const uint8_t **signature, tb_err *err)
{
    tb_cursor c = {.at = file->data, .left = file->len};
    uint32_t n = 0;
    tb_rc rc = tb_cursor_u32(&c, &n, err);
    if (rc == TB_OK) {
        rc = tb_cursor_take(&c, &bytes->data, n, err);
        bytes->len = n;
    }
    if (rc == TB_OK) {
        rc = tb_cursor_take(&c, signature, TB_SIGNATURE_BYTES, err);
    }
    if (rc == TB_OK && c.left != 0) {
        rc = tb_fail(err, TB_E_MALFORMED, "%zu bytes too many", c.left);
    }
    return rc;
}

tb_rc registry_manifest(const home *h, const tb_name *model, tb_manifest *out,
                        tb_err *err)
{
    const uint8_t *signature = NULL;
    tb_span bytes = {0};
    char *path = NULL;
    tb_buf file;
    tb_buf_init(&file, FILE_BYTES_MAX);
    tb_rc rc = item_path(&path, h, model, "manifest", err);
    if (rc == TB_OK && !tb_file_exists(path)) {
        rc = tb_fail(err, TB_E_NOT_FOUND,
                     "model %s is not here: run `tributary pull %s`",
                     model->text, model->text);
    }
    if (rc == TB_OK) {
        rc = tb_file_read(&file, path, err);
    }
    if (rc == TB_OK) {
        rc = cut_file(&file, &bytes, &signature, err);
        rc = rc != TB_OK ? tb_err_prefix(err, rc, "%s", path) : TB_OK;
    }
    if (rc == TB_OK) {
        rc = check_manifest(h, &bytes, signature, model, out, err);
    }
    tb_buf_release(&file);
    tb_mem_free(path);
    return rc;
}

uint64_t registry_sequence(const home *h, const tb_name *model)
{
    tb_manifest m;
    uint64_t sequence = 0;
    if (registry_manifest(h, model, &m, NULL) == TB_OK) {
        sequence = m.sequence;
        tb_manifest_release(&m);
    }
    return sequence;
}

tb_rc registry_path(char **out, const home *h, const tb_manifest *manifest,
                    const tb_artefact *artefact, tb_err *err)
{
    char item[32];
    (void)snprintf(item, sizeof item, "%s.onnx",
                   tb_artefact_role_name(artefact->role));
    return item_path(out, h, &manifest->name, item, err);
}

tb_rc registry_put(const home *h, const tb_manifest *manifest,
                   const tb_artefact *artefact, const tb_buf *stored,
                   tb_err *err)
{
    const tb_blob_ref ref = {.raw = artefact->raw,
                             .raw_bytes = artefact->raw_bytes,
                             .stored = artefact->stored,
                             .stored_bytes = artefact->stored_bytes};
    char *path = NULL;
    tb_buf raw;
    tb_buf_init(&raw, TB_BLOB_BYTES_MAX);
    tb_rc rc = tb_blob_unpack(stored->data, stored->len, &ref, &raw, err);
    if (rc == TB_OK) {
        rc = registry_path(&path, h, manifest, artefact, err);
    }
    if (rc == TB_OK) {
        rc = tb_file_write(path, raw.data, raw.len, 0600, err);
    }
    tb_buf_release(&raw);
    tb_mem_free(path);
    return rc;
}

tb_rc registry_load(const home *h, const tb_manifest *manifest,
                    const tb_artefact *artefact, tb_buf *out, tb_err *err)
{
    char *path = NULL;
    tb_rc rc = registry_path(&path, h, manifest, artefact, err);
    if (rc == TB_OK && !tb_file_exists(path)) {
        rc =
            tb_fail(err, TB_E_NOT_FOUND,
                    "the %s form of version %llu of %s is not here: run "
                    "`tributary pull %s --artefact %s`",
                    tb_artefact_role_name(artefact->role),
                    (unsigned long long)manifest->sequence, manifest->name.text,
                    manifest->name.text, tb_artefact_role_name(artefact->role));
    }
    if (rc == TB_OK) {
        rc = tb_file_read(out, path, err);
    }
    if (rc == TB_OK) {
        tb_hash hash = tb_hash_of(out->data, out->len);
        if (!tb_hash_equal(&hash, &artefact->raw)) {
            rc = tb_fail(err, TB_E_MISMATCH,
                         "%s is not the file that version %llu of %s names: "
                         "pull it again",
                         path, (unsigned long long)manifest->sequence,
                         manifest->name.text);
        }
    }
    tb_mem_free(path);
    return rc;
}
