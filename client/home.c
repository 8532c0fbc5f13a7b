#include "home.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "rotate.h"

enum { HEX_MAX = 2 * TB_CERTIFICATE_BYTES + 1 };

typedef struct file {
    tb_name client;
    char root[2 * TB_SIGN_PUBLIC_BYTES + 1];
    char endpoint[TB_ENDPOINT_BYTES];
    char certificate[HEX_MAX];
    char endpoint_before[TB_ENDPOINT_BYTES];
    char certificate_before[HEX_MAX];
} file;

static const tb_setting rows[] = {
    {.key = "client",
     .help = "name of this client",
     .flags = TB_SETTING_REQUIRED,
     .type = TB_SETTING_NAME,
     TB_FIELD(file, client)},
    {.key = "root",
     .help = "root public key of the federation",
     .flags = TB_SETTING_REQUIRED,
     .type = TB_SETTING_TEXT,
     TB_FIELD(file, root)},
    {.key = "endpoint",
     .help = "where the coordinator listens",
     .flags = TB_SETTING_REQUIRED,
     .type = TB_SETTING_TEXT,
     TB_FIELD(file, endpoint)},
    {.key = "certificate",
     .help = "the coordinator's working keys",
     .flags = TB_SETTING_REQUIRED,
     .type = TB_SETTING_TEXT,
     TB_FIELD(file, certificate)},
    {.key = "endpoint_before",
     .help = "where it listened before",
     .type = TB_SETTING_TEXT,
     TB_FIELD(file, endpoint_before)},
    {.key = "certificate_before",
     .help = "its working keys before",
     .type = TB_SETTING_TEXT,
     TB_FIELD(file, certificate_before)},
};

static const tb_setting_table table = {.env = "TRIBUTARY_FEDERATION_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(file)};

/* Exactly 2 n digits. */
static tb_rc from_hex(uint8_t *out, size_t n, const char *text, tb_err *err)
{
    return tb_text_unhex(text, out, n)
               ? TB_OK
               : tb_fail(err, TB_E_MALFORMED, "not %zu hexadecimal digits",
                         2 * n);
}

tb_rc federation_write(const tb_folder *folder, const federation *fed,
                       tb_err *err)
{
    file f = {.client = fed->client};
    uint8_t certificate[TB_CERTIFICATE_BYTES];
    tb_buf text;
    tb_buf_init(&text, TB_SETTINGS_FILE_BYTES_MAX);
    memcpy(f.endpoint, fed->endpoint, sizeof f.endpoint);
    tb_text_hex(fed->root, sizeof fed->root, f.root);
    tb_certificate_encode(&fed->certificate, certificate);
    tb_text_hex(certificate, sizeof certificate, f.certificate);
    if (fed->moved) {
        memcpy(f.endpoint_before, fed->endpoint_before,
               sizeof f.endpoint_before);
        tb_certificate_encode(&fed->certificate_before, certificate);
        tb_text_hex(certificate, sizeof certificate, f.certificate_before);
    }
    tb_rc rc = tb_settings_encode(&table, &f, 0, &text, err);
    if (rc == TB_OK) {
        rc = tb_file_write(tb_folder_path(folder, TB_ITEM_FEDERATION),
                           text.data, text.len, 0600, err);
    }
    tb_buf_release(&text);
    return rc;
}

/* Valid when it was written; the run checks today. */
static tb_rc take_certificate(tb_certificate *out, const char *hex,
                              const uint8_t root[static TB_SIGN_PUBLIC_BYTES],
                              tb_err *err)
{
    uint8_t bytes[TB_CERTIFICATE_BYTES];
    tb_rc rc = from_hex(bytes, sizeof bytes, hex, err);
    if (rc == TB_OK) {
        rc = tb_certificate_decode(out, bytes, sizeof bytes, err);
    }
    return rc == TB_OK ? tb_certificate_verify(out, root, out->valid_from, err)
                       : rc;
}

static tb_rc take_file(federation *out, const file *f, tb_err *err)
{
    *out = (federation){.client = f->client,
                        .moved = f->certificate_before[0] != '\0'};
    memcpy(out->endpoint, f->endpoint, sizeof out->endpoint);
    memcpy(out->endpoint_before, f->endpoint_before,
           sizeof out->endpoint_before);
    tb_rc rc = from_hex(out->root, sizeof out->root, f->root, err);
    if (rc == TB_OK) {
        rc =
            take_certificate(&out->certificate, f->certificate, out->root, err);
    }
    return rc == TB_OK && out->moved
               ? take_certificate(&out->certificate_before,
                                  f->certificate_before, out->root, err)
               : rc;
}

static tb_rc federation_read(const tb_folder *folder, federation *out,
                             tb_err *err)
{
    const char *path = tb_folder_path(folder, TB_ITEM_FEDERATION);
    tb_settings settings;
    file f;
    if (!tb_file_exists(path)) {
        return tb_fail(err, TB_E_NOT_FOUND,
                       "%s has joined no federation yet: run `tributary join "
                       "INVITE`",
                       tb_folder_dir(folder));
    }
    tb_settings_init(&settings, &table, &f);
    tb_rc rc = tb_settings_read_file(&settings, path, err);
    if (rc == TB_OK) {
        rc = tb_settings_finish(&settings, err);
    }
    if (rc == TB_OK) {
        rc = take_file(out, &f, err);
        rc = rc != TB_OK ? tb_err_prefix(err, rc, "%s", path) : TB_OK;
    }
    tb_settings_release(&table, &f);
    return rc;
}

tb_rc home_open(home *out, const char *dir, tb_folder_use use, tb_err *err)
{
    *out = (home){0};
    tb_rc rc = tb_folder_open(&out->folder, dir, TB_FOLDER_CLIENT, use, err);
    if (rc == TB_OK) {
        rc = federation_read(out->folder, &out->fed, err);
    }
    if (rc == TB_OK && use == TB_FOLDER_LOCK) {
        rc = rotation_mend(out->folder, err);
    }
    if (rc == TB_OK && use == TB_FOLDER_LOCK) {
        rc = tb_sign_key_read(
            &out->sign_key, tb_folder_path(out->folder, TB_ITEM_SIGN_KEY), err);
    }
    if (rc == TB_OK && use == TB_FOLDER_LOCK) {
        rc = tb_box_key_read(&out->curve_key,
                             tb_folder_path(out->folder, TB_ITEM_CURVE_KEY),
                             err);
    }
    if (rc != TB_OK) {
        home_close(out);
    }
    return rc;
}

void home_close(home *h)
{
    tb_sign_key_free(&h->sign_key);
    tb_sign_key_free(&h->retired);
    tb_box_key_free(&h->curve_key);
    tb_folder_close(&h->folder);
}

tb_rc home_path(char **out, const home *h, tb_folder_item item,
                const char *name, tb_err *err)
{
    *out = tb_file_join(tb_folder_path(h->folder, item), name);
    return *out != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "path: no memory");
}
