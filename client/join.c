#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "crypto/crypto.h"
#include "crypto/invite.h"
#include "home.h"
#include "host/dial.h"
#include "verbs.h"
#include "wire/msg.h"

enum { ENROL_TIMEOUT_MS = 10000 };

typedef struct options {
    char home[HOME_BYTES];
} options;

static const tb_setting rows[] = {HOME_ROW(options)};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

/* The invite's text from the command line, or from standard input for "-", so
 * that it stays out of the list of processes. */
static tb_rc read_invite(tb_invite *out, const char *arg, tb_err *err)
{
    char text[TB_INVITE_TEXT_BYTES + 16] = {0};
    if (strcmp(arg, "-") != 0) {
        return tb_invite_decode(out, arg, err);
    }
    size_t n = fread(text, 1, sizeof text - 1, stdin);
    tb_rc rc = ferror(stdin) != 0 ? tb_fail(err, TB_E_IO,
                                            "cannot read the invite from "
                                            "standard input")
                                  : TB_OK;
    if (rc == TB_OK && n == sizeof text - 1) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "standard input holds more than an invite");
    }
    if (rc == TB_OK) {
        rc = tb_invite_decode(out, text, err);
    }
    tb_wipe(text, sizeof text);
    return rc;
}

/* Keys of this folder: those of an earlier try that got no answer, or new. */
static tb_rc own_keys(home *h, tb_err *err)
{
    const char *sign = tb_folder_path(h->folder, TB_ITEM_SIGN_KEY);
    const char *curve = tb_folder_path(h->folder, TB_ITEM_CURVE_KEY);
    tb_rc rc = TB_OK;
    if (tb_file_exists(sign)) {
        rc = tb_sign_key_read(&h->sign_key, sign, err);
    } else {
        rc = tb_sign_key_new(&h->sign_key, err);
        rc = rc == TB_OK ? tb_sign_key_write(h->sign_key, sign, err) : rc;
    }
    if (rc == TB_OK && tb_file_exists(curve)) {
        rc = tb_box_key_read(&h->curve_key, curve, err);
    } else if (rc == TB_OK) {
        rc = tb_box_key_new(&h->curve_key, err);
        rc = rc == TB_OK ? tb_box_key_write(h->curve_key, curve, err) : rc;
    }
    return rc;
}

static tb_rc make_request(tb_buf *out, const home *h, const tb_invite *invite,
                          tb_err *err)
{
    tb_enrolment e;
    tb_msg msg = {.kind = TB_MSG_ENROL};
    tb_msg_enrol *enrol = &msg.u.enrol;
    tb_enrolment_sign(&e, invite, h->sign_key, tb_box_key_public(h->curve_key));
    memcpy(enrol->invite, e.invite, sizeof enrol->invite);
    memcpy(enrol->sign_key, e.sign_key, sizeof enrol->sign_key);
    memcpy(enrol->curve_key, e.curve_key, sizeof enrol->curve_key);
    memcpy(enrol->proof, e.proof, sizeof enrol->proof);
    memcpy(enrol->signature, e.signature, sizeof enrol->signature);
    return tb_msg_encode(&msg, out, err);
}

/* What the coordinator answered: *out is filled from ENROLLED, whose
 * certificate must come from the root that the invite names. */
static tb_rc take_answer(federation *out, const tb_msg *answer,
                         const tb_invite *invite, tb_err *err)
{
    if (answer->kind == TB_MSG_REFUSE) {
        return tb_fail(err, TB_E_REFUSED, "the coordinator refused (%s): %s",
                       tb_refusal_name(answer->u.refuse.code),
                       answer->u.refuse.why);
    }
    if (answer->kind != TB_MSG_ENROLLED) {
        return tb_fail(err, TB_E_MALFORMED,
                       "the coordinator answered with %s instead of enrolled",
                       tb_msg_kind_name(answer->kind));
    }
    const tb_msg_enrolled *enrolled = &answer->u.enrolled;
    tb_rc rc =
        tb_certificate_decode(&out->certificate, enrolled->certificate.data,
                              enrolled->certificate.len, err);
    if (rc == TB_OK) {
        rc = tb_certificate_verify(&out->certificate, invite->root_public,
                                   (uint64_t)tb_clock_unix_s(), err);
    }
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "the coordinator's certificate");
    }
    out->client = enrolled->client;
    memcpy(out->root, invite->root_public, sizeof out->root);
    memcpy(out->endpoint, enrolled->endpoint, sizeof out->endpoint);
    return TB_OK;
}

static tb_rc enrol(home *h, const tb_invite *invite, tb_err *err)
{
    const tb_dial_options dial = {
        .endpoint = invite->endpoint,
        .server_key = invite->curve_key,
        .curve_public = tb_box_key_public(h->curve_key),
        .curve_secret = tb_box_key_secret(h->curve_key)};
    tb_msg answer = {0};
    tb_buf request;
    tb_buf reply;
    tb_buf_init(&request, TB_ENVELOPE_BYTES_MAX);
    tb_buf_init(&reply, TB_ENVELOPE_BYTES_MAX);
    tb_rc rc = make_request(&request, h, invite, err);
    if (rc == TB_OK) {
        rc = tb_dial_enrol(&dial, &request, &reply, ENROL_TIMEOUT_MS, err);
    }
    if (rc == TB_OK) {
        rc = tb_msg_decode(&answer, reply.data, reply.len, 0, err);
    }
    if (rc == TB_OK) {
        rc = take_answer(&h->fed, &answer, invite, err);
    }
    if (rc == TB_OK) {
        rc = federation_write(h->folder, &h->fed, err);
    }
    tb_msg_release(&answer);
    tb_buf_release(&request);
    tb_buf_release(&reply);
    return rc;
}

/* Opens the folder, which is made when it is not there. */
static tb_rc open_folder(home *h, const char *dir, tb_err *err)
{
    tb_err first;
    tb_rc rc = tb_folder_open(&h->folder, dir, TB_FOLDER_CLIENT, TB_FOLDER_LOCK,
                              &first);
    if (rc == TB_E_NOT_FOUND) {
        rc = tb_folder_create(dir, TB_FOLDER_CLIENT, err);
        if (rc != TB_OK) {
            return rc;
        }
        return tb_folder_open(&h->folder, dir, TB_FOLDER_CLIENT, TB_FOLDER_LOCK,
                              err);
    }
    return rc == TB_OK ? rc : tb_fail(err, rc, "%s", first.text);
}

/* A folder belongs to one federation for good. */
static tb_rc check_not_joined(const home *h, tb_err *err)
{
    if (!tb_file_exists(tb_folder_path(h->folder, TB_ITEM_FEDERATION))) {
        return TB_OK;
    }
    return tb_fail(err, TB_E_EXISTS,
                   "%s has joined a federation already: give another folder "
                   "with --home",
                   tb_folder_dir(h->folder));
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_invite invite = {0};
    home h = {0};
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = read_invite(&invite, call->args[0], err);
    }
    if (rc == TB_OK) {
        rc = open_folder(&h, o->home, err);
    }
    if (rc == TB_OK) {
        rc = check_not_joined(&h, err);
    }
    if (rc == TB_OK) {
        rc = own_keys(&h, err);
    }
    if (rc == TB_OK) {
        rc = enrol(&h, &invite, err);
    }
    if (rc == TB_OK) {
        (void)printf("joined as %s: coordinator %s, folder %s\n",
                     h.fed.client.text, h.fed.endpoint, o->home);
    }
    home_close(&h);
    tb_invite_release(&invite);
    return rc;
}

const tb_verb verb_join = {
    .name = "join",
    .args = "INVITE",
    .min_args = 1,
    .max_args = 1,
    .help = "become a member of a federation with a one-time invite",
    .examples = "tributary join - < invite.txt\n"
                "tributary join tributary-invite-1.AbC... --home /var/lib/"
                "tributary\n",
    .notes = "INVITE may be - for standard input, so that the secret stays "
             "out of the list of\nprocesses.\n",
    .tables = {&table},
    .run = run,
};
