#include "keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

/* The certificate's file: root public key, then the certificate. */
#define FILE_BYTES (TB_SIGN_PUBLIC_BYTES + TB_CERTIFICATE_BYTES)

static tb_rc write_certificate(const tb_folder *folder, const tb_sign_key *root,
                               const tb_keys *keys, bool first, tb_err *err)
{
    uint64_t now = (uint64_t)tb_clock_unix_s();
    tb_certificate cert = {.serial = first ? 1 : now,
                           .valid_from = now,
                           .valid_until = now + TB_CERTIFICATE_SECONDS};
    memcpy(cert.sign_key, tb_sign_key_public(keys->sign), sizeof cert.sign_key);
    memcpy(cert.curve_key, tb_box_key_public(keys->curve),
           sizeof cert.curve_key);
    tb_certificate_sign(&cert, root);
    uint8_t bytes[FILE_BYTES];
    memcpy(bytes, tb_sign_key_public(root), TB_SIGN_PUBLIC_BYTES);
    tb_certificate_encode(&cert, bytes + TB_SIGN_PUBLIC_BYTES);
    return tb_file_write(tb_folder_path(folder, TB_ITEM_CERTIFICATE), bytes,
                         sizeof bytes, 0600, err);
}

/* Each key is made, or read when an init that was killed had made it. */

static tb_rc make_sign(tb_sign_key **out, const char *path, tb_err *err)
{
    if (tb_file_exists(path)) {
        return tb_sign_key_read(out, path, err);
    }
    tb_rc rc = tb_sign_key_new(out, err);
    return rc == TB_OK ? tb_sign_key_write(*out, path, err) : rc;
}

static tb_rc make_box(tb_box_key **out, const char *path, tb_err *err)
{
    if (tb_file_exists(path)) {
        return tb_box_key_read(out, path, err);
    }
    tb_rc rc = tb_box_key_new(out, err);
    return rc == TB_OK ? tb_box_key_write(*out, path, err) : rc;
}

static tb_rc make_master(tb_master_key **out, const char *path, tb_err *err)
{
    if (tb_file_exists(path)) {
        return tb_master_key_read(out, path, err);
    }
    tb_rc rc = tb_master_key_new(out, err);
    return rc == TB_OK ? tb_master_key_write(*out, path, err) : rc;
}

static tb_rc create(const tb_folder *folder, const char *master_path,
                    const char *root_path, tb_err *err)
{
    tb_keys keys = {0};
    tb_sign_key *root = NULL;
    tb_rc rc = make_master(&keys.master, master_path, err);
    if (rc == TB_OK) {
        rc = root_path != NULL
                 ? tb_sign_key_read(&root, root_path, err)
                 : make_sign(&root, tb_folder_path(folder, TB_ITEM_ROOT_KEY),
                             err);
    }
    if (rc == TB_OK) {
        rc = make_sign(&keys.sign, tb_folder_path(folder, TB_ITEM_SIGN_KEY),
                       err);
    }
    if (rc == TB_OK) {
        rc = make_box(&keys.curve, tb_folder_path(folder, TB_ITEM_CURVE_KEY),
                      err);
    }
    if (rc == TB_OK) {
        rc = write_certificate(folder, root, &keys, root_path == NULL, err);
    }
    tb_sign_key_free(&root);
    tb_keys_release(&keys);
    return rc;
}

tb_rc tb_keys_create(const tb_folder *folder, const char *master_path,
                     tb_err *err)
{
    return create(folder, master_path, NULL, err);
}

tb_rc tb_keys_create_under(const tb_folder *folder, const char *master_path,
                           const char *root_path, tb_err *err)
{
    return create(folder, master_path, root_path, err);
}

static tb_rc read_certificate(tb_keys *keys, const tb_folder *folder,
                              tb_err *err)
{
    const char *path = tb_folder_path(folder, TB_ITEM_CERTIFICATE);
    tb_buf bytes;
    tb_buf_init(&bytes, FILE_BYTES);
    tb_rc rc = tb_file_read(&bytes, path, err);
    if (rc == TB_OK && bytes.len != FILE_BYTES) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "%s: cut short: restore it from a "
                     "backup",
                     path);
    }
    if (rc == TB_OK) {
        const uint8_t *cert = bytes.data + TB_SIGN_PUBLIC_BYTES;
        memcpy(keys->root_public, bytes.data, TB_SIGN_PUBLIC_BYTES);
        memcpy(keys->certificate_bytes, cert, TB_CERTIFICATE_BYTES);
        rc = tb_certificate_decode(&keys->certificate, cert,
                                   TB_CERTIFICATE_BYTES, err);
    }
    if (rc == TB_OK) { /* whether it is valid now is another question */
        rc = tb_certificate_verify(&keys->certificate, keys->root_public,
                                   keys->certificate.valid_from, err);
    }
    tb_buf_release(&bytes);
    return rc == TB_E_DENIED ? tb_err_prefix(err, rc, "%s", path) : rc;
}

static tb_rc check_together(const tb_keys *keys, const char *dir, tb_err *err)
{
    if (memcmp(keys->certificate.sign_key, tb_sign_key_public(keys->sign),
               TB_SIGN_PUBLIC_BYTES) != 0 ||
        memcmp(keys->certificate.curve_key, tb_box_key_public(keys->curve),
               TB_CURVE_PUBLIC_BYTES) != 0) {
        return tb_fail(err, TB_E_MISMATCH,
                       "%s: keys/ and certificate do not belong together: "
                       "restore both from one backup",
                       dir);
    }
    return TB_OK;
}

tb_rc tb_keys_read_public(tb_keys *out, const tb_folder *folder, tb_err *err)
{
    *out = (tb_keys){0};
    tb_rc rc = tb_sign_key_read(&out->sign,
                                tb_folder_path(folder, TB_ITEM_SIGN_KEY), err);
    if (rc == TB_OK) {
        rc = tb_box_key_read(&out->curve,
                             tb_folder_path(folder, TB_ITEM_CURVE_KEY), err);
    }
    if (rc == TB_OK) {
        rc = read_certificate(out, folder, err);
    }
    if (rc == TB_OK) {
        rc = check_together(out, tb_folder_dir(folder), err);
    }
    if (rc != TB_OK) {
        tb_keys_release(out);
    }
    return rc;
}

tb_rc tb_keys_read(tb_keys *out, const tb_folder *folder,
                   const char *master_path, tb_err *err)
{
    tb_rc rc = tb_keys_read_public(out, folder, err);
    if (rc == TB_OK) {
        rc = tb_master_key_read(&out->master, master_path, err);
    }
    if (rc == TB_OK) {
        rc = tb_certificate_verify(&out->certificate, out->root_public,
                                   (uint64_t)tb_clock_unix_s(), err);
    }
    if (rc != TB_OK) {
        tb_keys_release(out);
    }
    return rc;
}

/* --- keys that take the place of others ----------------------------------- */

void tb_keys_drop_next(const tb_folder *folder)
{
    (void)unlink(tb_folder_path(folder, TB_ITEM_NEXT_SIGN_KEY));
    (void)unlink(tb_folder_path(folder, TB_ITEM_NEXT_CURVE_KEY));
}

tb_rc tb_keys_draw_next(tb_sign_key **sign, tb_box_key **curve,
                        const tb_folder *folder, tb_err *err)
{
    tb_keys_drop_next(folder);
    tb_rc rc = tb_sign_key_new(sign, err);
    if (rc == TB_OK) {
        rc = tb_box_key_new(curve, err);
    }
    if (rc == TB_OK) {
        rc = tb_sign_key_write(
            *sign, tb_folder_path(folder, TB_ITEM_NEXT_SIGN_KEY), err);
    }
    if (rc == TB_OK) {
        rc = tb_box_key_write(
            *curve, tb_folder_path(folder, TB_ITEM_NEXT_CURVE_KEY), err);
    }
    return rc;
}

tb_rc tb_keys_read_next(tb_sign_key **sign, tb_box_key **curve,
                        const tb_folder *folder, tb_err *err)
{
    tb_rc rc = tb_sign_key_read(
        sign, tb_folder_path(folder, TB_ITEM_NEXT_SIGN_KEY), err);
    return rc == TB_OK
               ? tb_box_key_read(
                     curve, tb_folder_path(folder, TB_ITEM_NEXT_CURVE_KEY), err)
               : rc;
}

void tb_keys_adopt(tb_keys *keys, tb_sign_key **sign_take,
                   tb_box_key **curve_take, const tb_certificate *certificate)
{
    tb_sign_key_free(&keys->sign);
    tb_box_key_free(&keys->curve);
    keys->sign = *sign_take;
    keys->curve = *curve_take;
    *sign_take = NULL;
    *curve_take = NULL;
    keys->certificate = *certificate;
    tb_certificate_encode(certificate, keys->certificate_bytes);
}

static tb_rc move_key(const tb_folder *folder, tb_folder_item from,
                      tb_folder_item to, tb_err *err)
{
    const char *path = tb_folder_path(folder, from);
    if (tb_file_exists(path) && rename(path, tb_folder_path(folder, to)) != 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    return TB_OK;
}

tb_rc tb_keys_settled(bool *settled, const tb_folder *folder,
                      const tb_certificate *certificate, tb_err *err)
{
    tb_keys now = {0};
    tb_rc rc = read_certificate(&now, folder, err);
    *settled = rc == TB_OK && now.certificate.serial >= certificate->serial;
    return rc;
}

/* The certificate's file comes last: while it is the old one, this is not
 * done. */
tb_rc tb_keys_settle(const tb_folder *folder, const tb_certificate *certificate,
                     tb_err *err)
{
    tb_keys now = {0};
    uint8_t bytes[FILE_BYTES];
    tb_rc rc = read_certificate(&now, folder, err);
    if (rc != TB_OK || now.certificate.serial >= certificate->serial) {
        return rc;
    }
    rc = move_key(folder, TB_ITEM_NEXT_SIGN_KEY, TB_ITEM_SIGN_KEY, err);
    if (rc == TB_OK) {
        rc = move_key(folder, TB_ITEM_NEXT_CURVE_KEY, TB_ITEM_CURVE_KEY, err);
    }
    char *dir = tb_file_join(tb_folder_dir(folder), "keys");
    if (rc == TB_OK) {
        rc = dir != NULL ? tb_file_sync_dir(dir, err)
                         : tb_fail(err, TB_E_NOMEM, "keys");
    }
    tb_mem_free(dir);
    if (rc == TB_OK) {
        memcpy(bytes, now.root_public, TB_SIGN_PUBLIC_BYTES);
        tb_certificate_encode(certificate, bytes + TB_SIGN_PUBLIC_BYTES);
        rc = tb_file_write(tb_folder_path(folder, TB_ITEM_CERTIFICATE), bytes,
                           sizeof bytes, 0600, err);
    }
    return rc;
}

void tb_keys_release(tb_keys *keys)
{
    tb_sign_key_free(&keys->sign);
    tb_box_key_free(&keys->curve);
    tb_master_key_free(&keys->master);
    *keys = (tb_keys){0};
}
