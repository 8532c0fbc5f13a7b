/* place: where this coordinator is to be found, as the root key's word in a
 * file: for clients that cannot hear it from a coordinator they know. */
#include <stdio.h>

#include "ask.h"
#include "base/file.h"
#include "crypto/crypto.h"
#include "crypto/rotate.h"
#include "host/folder.h"
#include "keys.h"
#include "verbs.h"

typedef struct options {
    tb_dir_settings at;
    char root_key[TB_PATH_BYTES];
} options;

static const tb_setting rows[] = {
    {.key = "dir",
     .help = "the coordinator's folder",
     .value = "DIR",
     .preset = ".",
     .type = TB_SETTING_PATH,
     TB_FIELD(options, at.dir)},
    {.key = "root_key",
     .help = "file of the root key (default: keys/root.key in the folder)",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     TB_FIELD(options, root_key)}};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(options)};

/* What the folder says: the certificate, and the root key unless named. */
static tb_rc read_folder(tb_move *move, tb_sign_key **root, const options *o,
                         tb_err *err)
{
    tb_folder *folder = NULL;
    tb_buf bytes;
    tb_buf_init(&bytes, TB_SIGN_PUBLIC_BYTES + TB_CERTIFICATE_BYTES);
    tb_rc rc = tb_folder_open(&folder, o->at.dir, TB_FOLDER_COORDINATOR,
                              TB_FOLDER_READ, err);
    if (rc == TB_OK) {
        rc = tb_file_read(&bytes, tb_folder_path(folder, TB_ITEM_CERTIFICATE),
                          err);
    }
    if (rc == TB_OK && bytes.len < TB_SIGN_PUBLIC_BYTES) {
        rc = tb_fail(err, TB_E_MALFORMED, "the certificate is cut short");
    }
    if (rc == TB_OK) {
        rc = tb_certificate_decode(&move->certificate,
                                   bytes.data + TB_SIGN_PUBLIC_BYTES,
                                   bytes.len - TB_SIGN_PUBLIC_BYTES, err);
    }
    if (rc == TB_OK) {
        rc = tb_sign_key_read(root,
                              o->root_key[0] != '\0'
                                  ? o->root_key
                                  : tb_folder_path(folder, TB_ITEM_ROOT_KEY),
                              err);
    }
    tb_buf_release(&bytes);
    tb_folder_close(&folder);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    uint8_t bytes[TB_MOVE_BYTES_MAX];
    tb_move move = {.endpoint = ""};
    tb_sign_key *root = NULL;
    tb_json *status = NULL;
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = tb_ask_report(&status, &o->at, "status", err);
    }
    if (rc == TB_OK) {
        (void)snprintf(move.endpoint, sizeof move.endpoint, "%s",
                       tb_json_text(status, "endpoint", ""));
        rc = move.endpoint[0] != '\0'
                 ? read_folder(&move, &root, o, err)
                 : tb_fail(err, TB_E_NOT_FOUND,
                           "no daemon runs here: its endpoint is not known");
    }
    if (rc == TB_OK) {
        tb_move_sign(&move, root);
        rc = tb_move_verify(&move, tb_sign_key_public(root),
                            move.certificate.valid_from, err);
    }
    if (rc == TB_OK) {
        size_t n = tb_move_encode(&move, bytes);
        rc = tb_file_write(call->args[0], bytes, n, 0644, err);
    }
    if (rc == TB_OK) {
        (void)printf("wrote %s: %s, serial %llu\n", call->args[0],
                     move.endpoint,
                     (unsigned long long)move.certificate.serial);
    }
    tb_sign_key_free(&root);
    tb_json_free(&status);
    return rc;
}

const tb_verb verb_place = {
    .name = "place",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .help = "write where this coordinator is, signed by the root key",
    .examples = "tributaryd place here.move --dir other --root-key "
                "/media/usb/root.key\n"
                "tributary move here.move    # at a client\n",
    .notes = "For clients that were away while the keys changed, or that come "
             "from another\ncoordinator of the same root.\n",
    .tables = {&table},
    .run = run,
};
