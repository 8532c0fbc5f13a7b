#include "registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum {
    FILE_BYTES_MAX =
        4 + TB_MANIFEST_BYTES_MAX + TB_SIGNATURE_BYTES + TB_CERTIFICATE_BYTES,
    ITEM_BYTES = TB_NAME_BYTES + TB_HASH_HEX_BYTES + 32
};

static tb_rc item_path(char **out, const home *h, const tb_name *model,
                       const char *item, tb_err *err)
{
    char name[ITEM_BYTES];
    (void)snprintf(name, sizeof name, "%s/%s", model->text, item);
    return home_path(out, h, TB_ITEM_MODELS, name, err);
}

/* What a manifest says, and who signed it. */
typedef struct signed_manifest {
    tb_span bytes;
    const uint8_t *signature;
    tb_certificate certificate; /* of the coordinator's key at that time */
} signed_manifest;

/* Signature first, then what it says. */
static tb_rc check_manifest(const home *h, const signed_manifest *m,
                            const tb_name *model, tb_manifest *out, tb_err *err)
{
    tb_hash ours = tb_federation_of(h->fed.root);
    tb_rc rc = tb_verify(m->signature, m->certificate.sign_key,
                         TB_SIGN_MANIFEST, m->bytes.data, m->bytes.len, err);
    if (rc == TB_OK) {
        rc = tb_manifest_decode(out, m->bytes.data, m->bytes.len, err);
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
    uint8_t certificate[TB_CERTIFICATE_BYTES];
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
    if (rc == TB_OK) { /* the keys may change: this is who signed it */
        tb_certificate_encode(&h->fed.certificate, certificate);
        rc = tb_buf_put(&file, certificate, sizeof certificate, err);
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
    tb_manifest known = {0};
    (void)!registry_manifest(h, model, &known, NULL); /* none: all is newer */
    const signed_manifest offered = {msg->manifest, msg->signature,
                                     h->fed.certificate};
    tb_rc rc = check_manifest(h, &offered, model, out, err);
    if (rc != TB_OK) {
        tb_manifest_release(&known);
        return rc;
    }
    /* A restored coordinator has lost versions: it counts on from those that it
     * still has, in a new epoch. */
    if (out->epoch < known.epoch ||
        (out->epoch == known.epoch && out->sequence < known.sequence)) {
        rc = tb_fail(err, TB_E_DENIED,
                     "the coordinator offers version %llu of %s, older than "
                     "version %llu that is known here: refused",
                     (unsigned long long)out->sequence, model->text,
                     (unsigned long long)known.sequence);
    } else {
        rc = write_manifest(h, msg, model, err);
    }
    tb_manifest_release(&known);
    if (rc != TB_OK) {
        tb_manifest_release(out);
    }
    return rc;
}

/* The parts of the manifest's file, borrowed from it; the root key vouches for
 * the certificate, as it was when it was new. */
static tb_rc cut_file(const home *h, const tb_buf *file, signed_manifest *out,
                      tb_err *err)
{
    tb_cursor c = {.at = file->data, .left = file->len};
    const uint8_t *certificate = NULL;
    uint32_t n = 0;
    tb_rc rc = tb_cursor_u32(&c, &n, err);
    if (rc == TB_OK) {
        rc = tb_cursor_take(&c, &out->bytes.data, n, err);
        out->bytes.len = n;
    }
    if (rc == TB_OK) {
        rc = tb_cursor_take(&c, &out->signature, TB_SIGNATURE_BYTES, err);
    }
    if (rc == TB_OK) {
        rc = tb_cursor_take(&c, &certificate, TB_CERTIFICATE_BYTES, err);
    }
    if (rc == TB_OK && c.left != 0) {
        rc = tb_fail(err, TB_E_MALFORMED, "%zu bytes too many", c.left);
    }
    if (rc == TB_OK) {
        rc = tb_certificate_decode(&out->certificate, certificate,
                                   TB_CERTIFICATE_BYTES, err);
    }
    return rc == TB_OK ? tb_certificate_verify(&out->certificate, h->fed.root,
                                               out->certificate.valid_from, err)
                       : rc;
}

tb_rc registry_manifest(const home *h, const tb_name *model, tb_manifest *out,
                        tb_err *err)
{
    signed_manifest m = {0};
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
        rc = cut_file(h, &file, &m, err);
        rc = rc != TB_OK ? tb_err_prefix(err, rc, "%s", path) : TB_OK;
    }
    if (rc == TB_OK) {
        rc = check_manifest(h, &m, model, out, err);
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

tb_rc registry_item_at(registry_item *out, const home *h,
                       const tb_manifest *manifest, const tb_artefact *artefact,
                       uint32_t i, tb_err *err)
{
    char part[TB_HASH_HEX_BYTES + sizeof ".part"];
    uint32_t n_files = tb_manifest_n_files(manifest, artefact);
    *out = (registry_item){0};
    if (i > n_files) {
        return tb_fail(err, TB_E_NOT_FOUND, "no such part of a model");
    }
    tb_rc rc = TB_OK;
    if (i < n_files) {
        const tb_model_file *f = &manifest->files[i];
        out->ref =
            (tb_blob_ref){f->raw, f->raw_bytes, f->stored, f->stored_bytes};
        rc = item_path(&out->path, h, &manifest->name, f->name.text, err);
    } else {
        out->ref = (tb_blob_ref){artefact->raw, artefact->raw_bytes,
                                 artefact->stored, artefact->stored_bytes};
        rc = registry_path(&out->path, h, manifest, artefact, err);
    }
    if (rc == TB_OK) {
        tb_hash_hex(&out->ref.stored, part);
        memcpy(part + TB_HASH_HEX_BYTES - 1, ".part", sizeof ".part");
        rc = item_path(&out->part, h, &manifest->name, part, err);
    }
    if (rc != TB_OK) {
        registry_item_release(out);
    }
    return rc;
}

void registry_item_release(registry_item *item)
{
    tb_mem_free(item->path);
    tb_mem_free(item->part);
    *item = (registry_item){0};
}

uint64_t registry_part_bytes(const registry_item *item)
{
    struct stat st;
    bool fits = stat(item->part, &st) == 0 &&
                (uint64_t)st.st_size <= item->ref.stored_bytes;
    return fits ? (uint64_t)st.st_size : 0;
}

tb_rc registry_part_write(const registry_item *item, uint64_t offset,
                          const uint8_t *bytes, size_t n, tb_err *err)
{
    int fd =
        open(item->part, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    tb_rc rc = fd >= 0 && lseek(fd, (off_t)offset, SEEK_SET) >= 0
                   ? tb_file_write_fd(fd, bytes, n, err)
                   : tb_fail_errno(err, errno, "%s", item->part);
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

tb_rc registry_part_finish(const registry_item *item, tb_err *err)
{
    tb_rc rc =
        tb_blob_unpack_file(item->part, &item->ref, item->path, 0600, err);
    if (rc == TB_OK || tb_rc_fault(rc) == TB_FAULT_PEER) {
        (void)unlink(item->part); /* what is wrong must not be gone on with */
    }
    return rc;
}

/* Whether a part belongs to the version. */
static bool is_wanted(const tb_manifest *m, const char *name)
{
    char hex[TB_HASH_HEX_BYTES];
    bool wanted = false;
    for (uint32_t i = 0; i < m->n_artefacts && !wanted; i++) {
        tb_hash_hex(&m->artefacts[i].stored, hex);
        wanted = strncmp(name, hex, sizeof hex - 1) == 0;
    }
    for (uint32_t i = 0; i < m->n_files && !wanted; i++) {
        tb_hash_hex(&m->files[i].stored, hex);
        wanted = strncmp(name, hex, sizeof hex - 1) == 0;
    }
    return wanted;
}

void registry_drop_parts(const home *h, const tb_manifest *manifest)
{
    char *path = NULL;
    if (home_path(&path, h, TB_ITEM_MODELS, manifest->name.text, NULL) !=
        TB_OK) {
        return;
    }
    DIR *dir = opendir(path);
    for (struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL;
         e = readdir(dir)) {
        size_t n = strlen(e->d_name);
        if (n > 5 && strcmp(e->d_name + n - 5, ".part") == 0 &&
            !is_wanted(manifest, e->d_name)) {
            (void)unlinkat(dirfd(dir), e->d_name, 0);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    tb_mem_free(path);
}

tb_rc registry_item_check(const registry_item *item,
                          const tb_manifest *manifest, tb_err *err)
{
    tb_hash hash;
    uint64_t bytes = 0;
    const char *name = manifest->name.text;
    if (!tb_file_exists(item->path)) {
        return tb_fail(err, TB_E_NOT_FOUND,
                       "%s of version %llu of %s is not here: run `tributary "
                       "pull %s`",
                       strrchr(item->path, '/') + 1,
                       (unsigned long long)manifest->sequence, name, name);
    }
    tb_rc rc = tb_blob_file_hash(item->path, &hash, &bytes, err);
    if (rc == TB_OK && (bytes != item->ref.raw_bytes ||
                        !tb_hash_equal(&hash, &item->ref.raw))) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "%s is not the file that version %llu of %s names: pull "
                     "it again",
                     item->path, (unsigned long long)manifest->sequence, name);
    }
    return rc;
}

tb_rc registry_check(const home *h, const tb_manifest *manifest,
                     const tb_artefact *artefact, tb_err *err)
{
    uint32_t n_files = tb_manifest_n_files(manifest, artefact);
    tb_rc rc = TB_OK;
    for (uint32_t i = 0; i <= n_files && rc == TB_OK; i++) {
        registry_item item;
        rc = registry_item_at(&item, h, manifest, artefact, i, err);
        if (rc == TB_OK) {
            rc = registry_item_check(&item, manifest, err);
            registry_item_release(&item);
        }
    }
    return rc;
}
