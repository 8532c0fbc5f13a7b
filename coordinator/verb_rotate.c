/* rotate: new keys for the coordinator, under the root key's word. The root key
 * is read here and nowhere else: the daemon never has it. */
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "crypto/rotate.h"
#include "host/folder.h"
#include "keys.h"
#include "verbs.h"

typedef struct options {
    tb_dir_settings at;
    char root_key[TB_PATH_BYTES];
    char listen[TB_PATH_BYTES];
    char listen_enrol[TB_PATH_BYTES];
    uint64_t overlap;
    bool finish;
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
     TB_FIELD(options, root_key)},
    {.key = "new_listen",
     .help = "where the new door is (default: the same host, another port)",
     .value = "ENDPOINT",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, listen)},
    {.key = "new_listen_enrol",
     .help = "where invites are taken under the new key",
     .value = "ENDPOINT",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, listen_enrol)},
    {.key = "overlap",
     .help = "how long the old doors stay open, unless --finish comes before",
     .value = "TIME",
     .preset = "7d",
     .min = 1000,
     .max = 365.0 * 24 * 3600 * 1000,
     .type = TB_SETTING_DURATION,
     TB_FIELD(options, overlap)},
    {.key = "finish",
     .help = "close the old doors now",
     .type = TB_SETTING_BOOL,
     TB_FIELD(options, finish)}};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(options)};

static tb_rc read_root(tb_sign_key **out, const options *o, tb_err *err)
{
    tb_folder *folder = NULL;
    if (o->root_key[0] != '\0') {
        return tb_sign_key_read(out, o->root_key, err);
    }
    tb_rc rc = tb_folder_open(&folder, o->at.dir, TB_FOLDER_COORDINATOR,
                              TB_FOLDER_READ, err);
    if (rc == TB_OK) {
        rc = tb_sign_key_read(out, tb_folder_path(folder, TB_ITEM_ROOT_KEY),
                              err);
        if (rc == TB_E_NOT_FOUND) {
            rc = tb_fail(err, rc,
                         "the root key is not in the folder: name its file "
                         "with --root-key");
        }
    }
    tb_folder_close(&folder);
    return rc;
}

static tb_rc ask_offer(tb_json **out, const options *o, tb_err *err)
{
    tb_control_request request;
    tb_rc rc = tb_control_request_init(&request, "rotate-offer", err);
    if (rc == TB_OK && o->listen[0] != '\0') {
        rc = tb_control_arg_add(&request, "listen", o->listen, err);
    }
    if (rc == TB_OK && o->listen_enrol[0] != '\0') {
        rc = tb_control_arg_add(&request, "listen_enrol", o->listen_enrol, err);
    }
    if (rc == TB_OK) {
        rc = tb_ask_once(out, &o->at, &request, err);
    }
    tb_control_request_release(&request);
    return rc;
}

/* The root key's word for what the daemon offers. */
static tb_rc sign_offer(tb_move *move, const tb_json *offer,
                        const tb_sign_key *root, tb_err *err)
{
    uint8_t federation[32];
    tb_certificate *c = &move->certificate;
    tb_hash ours = tb_federation_of(tb_sign_key_public(root));
    *move = (tb_move){.endpoint = ""};
    if (!tb_text_unhex(tb_json_text(offer, "federation", ""), federation, 32) ||
        !tb_text_unhex(tb_json_text(offer, "sign_key", ""), c->sign_key, 32) ||
        !tb_text_unhex(tb_json_text(offer, "curve_key", ""), c->curve_key,
                       32)) {
        return tb_fail(err, TB_E_MALFORMED, "the daemon's answer has no keys");
    }
    if (memcmp(federation, ours.bytes, sizeof federation) != 0) {
        return tb_fail(err, TB_E_MISMATCH,
                       "this is the root key of another federation");
    }
    uint64_t now = (uint64_t)tb_clock_unix_s();
    c->serial = (uint64_t)tb_json_int(offer, "serial", 0);
    c->valid_from = now;
    c->valid_until = now + TB_CERTIFICATE_SECONDS;
    (void)snprintf(move->endpoint, sizeof move->endpoint, "%s",
                   tb_json_text(offer, "endpoint", ""));
    tb_certificate_sign(c, root);
    tb_move_sign(move, root);
    return TB_OK;
}

static tb_rc commit(tb_json **out, const options *o, const tb_move *move,
                    tb_err *err)
{
    tb_control_request request;
    uint8_t bytes[TB_MOVE_BYTES_MAX];
    char seconds[32];
    size_t n = tb_move_encode(move, bytes);
    (void)snprintf(seconds, sizeof seconds, "%llu",
                   (unsigned long long)(o->overlap / 1000));
    tb_rc rc = tb_control_request_init(&request, "rotate-commit", err);
    if (rc == TB_OK) {
        rc = tb_control_arg_add(&request, "overlap_s", seconds, err);
    }
    if (rc == TB_OK) {
        tb_buf_init(&request.attachments[0], sizeof bytes);
        request.n_attachments = 1;
        rc = tb_buf_put(&request.attachments[0], bytes, n, err);
    }
    if (rc == TB_OK) {
        rc = tb_ask_once(out, &o->at, &request, err);
    }
    tb_control_request_release(&request);
    return rc;
}

static tb_rc rotate(const options *o, tb_err *err)
{
    tb_sign_key *root = NULL;
    tb_json *offer = NULL;
    tb_json *done = NULL;
    tb_move move;
    tb_rc rc = read_root(&root, o, err);
    if (rc == TB_OK) {
        rc = ask_offer(&offer, o, err);
    }
    if (rc == TB_OK) {
        rc = sign_offer(&move, offer, root, err);
    }
    tb_sign_key_free(&root);
    if (rc == TB_OK) {
        rc = commit(&done, o, &move, err);
    }
    if (rc == TB_OK) {
        (void)printf("new keys, serial %llu: clients are told to come to %s\n"
                     "next: tributaryd rotate --dir %s --finish, once they "
                     "have\n",
                     (unsigned long long)move.certificate.serial,
                     tb_json_text(done, "endpoint", "?"), o->at.dir);
    }
    tb_json_free(&offer);
    tb_json_free(&done);
    return rc;
}

static tb_rc finish(const options *o, tb_err *err)
{
    tb_control_request request;
    tb_json *reply = NULL;
    tb_rc rc = tb_control_request_init(&request, "rotate-finish", err);
    if (rc == TB_OK) {
        rc = tb_ask_once(&reply, &o->at, &request, err);
    }
    if (rc == TB_OK) {
        (void)printf("the old doors are closed; invites that were made before "
                     "the rotation are void\n");
    }
    tb_json_free(&reply);
    tb_control_request_release(&request);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_rc rc = tb_crypto_init(err);
    if (rc != TB_OK) {
        return rc;
    }
    return o->finish ? finish(o, err) : rotate(o, err);
}

const tb_verb verb_rotate = {
    .name = "rotate",
    .min_args = 0,
    .max_args = 0,
    .help = "draw new keys for the coordinator and lead the clients to them",
    .examples = "tributaryd rotate --dir fleet\n"
                "tributaryd rotate --dir fleet --root-key /media/usb/root.key "
                "--new-listen tcp://0.0.0.0:7702\n"
                "tributaryd rotate --dir fleet --finish\n",
    .notes = "Always both keys, that of signatures and that of the transport, "
             "under one new\ncertificate. Both pairs of doors are open until "
             "--finish or the end of --overlap;\nruns go on. A client that "
             "stays away all that time must join anew.\n",
    .tables = {&table},
    .run = run,
};
