/* roster export and import: the members, from one coordinator to another of the
 * same root. */
#include <stdio.h>

#include "ask.h"
#include "base/file.h"
#include "roster.h"
#include "state.h"
#include "verbs.h"

static tb_rc read_keys(tb_sign_key **sign, tb_certificate *certificate,
                       const tb_folder *folder, tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, TB_SIGN_PUBLIC_BYTES + TB_CERTIFICATE_BYTES);
    tb_rc rc =
        tb_file_read(&bytes, tb_folder_path(folder, TB_ITEM_CERTIFICATE), err);
    if (rc == TB_OK && bytes.len < TB_SIGN_PUBLIC_BYTES) {
        rc = tb_fail(err, TB_E_MALFORMED, "the certificate is cut short");
    }
    if (rc == TB_OK) {
        rc = tb_certificate_decode(certificate,
                                   bytes.data + TB_SIGN_PUBLIC_BYTES,
                                   bytes.len - TB_SIGN_PUBLIC_BYTES, err);
    }
    if (rc == TB_OK) {
        rc = tb_sign_key_read(sign, tb_folder_path(folder, TB_ITEM_SIGN_KEY),
                              err);
    }
    tb_buf_release(&bytes);
    return rc;
}

static tb_rc run_export(tb_cli_call *call, tb_err *err)
{
    const tb_dir_settings *at = call->values[0];
    tb_certificate certificate;
    tb_sign_key *sign = NULL;
    tb_state state;
    tb_buf text;
    tb_buf_init(&text, TB_ROSTER_BYTES_MAX);
    tb_rc rc = tb_state_open(&state, at->dir, TB_FOLDER_READ, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = read_keys(&sign, &certificate, state.folder, err);
    if (rc == TB_OK) {
        rc = tb_roster_write(&text, state.machine, sign, &certificate, err);
    }
    if (rc == TB_OK) {
        rc = tb_file_write(call->args[0], text.data, text.len, 0600, err);
    }
    if (rc == TB_OK) {
        (void)printf("wrote %s\n", call->args[0]);
    }
    tb_sign_key_free(&sign);
    tb_buf_release(&text);
    tb_state_close(&state);
    return rc;
}

static tb_rc run_import(tb_cli_call *call, tb_err *err)
{
    tb_json *reply = NULL;
    tb_control_request request;
    tb_rc rc = tb_control_request_init(&request, "roster-import", err);
    if (rc == TB_OK) {
        tb_buf_init(&request.attachments[0], TB_ROSTER_BYTES_MAX);
        request.n_attachments = 1;
        rc = tb_file_read(&request.attachments[0], call->args[0], err);
    }
    if (rc == TB_OK) {
        rc = tb_ask_once(&reply, call->values[0], &request, err);
    }
    if (rc == TB_OK) {
        (void)printf("%lld new, %lld known, %lld revoked\n",
                     (long long)tb_json_int(reply, "new", 0),
                     (long long)tb_json_int(reply, "known", 0),
                     (long long)tb_json_int(reply, "revoked", 0));
    }
    tb_json_free(&reply);
    tb_control_request_release(&request);
    return rc;
}

const tb_verb verb_roster_export = {
    .name = "roster export",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .help = "write all members with their keys and labels, signed",
    .examples = "tributaryd roster export members.roster --dir fleet\n",
    .tables = {&tb_dir_table},
    .run = run_export,
};

const tb_verb verb_roster_import = {
    .name = "roster import",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .help = "take over the members of a roster of the same root",
    .examples = "tributaryd init other --root-key /media/usb/root.key\n"
                "tributaryd run --dir other\n"
                "tributaryd roster import members.roster --dir other\n",
    .notes = "Members that are known here stay as they are: the same file may "
             "be imported again.\n",
    .tables = {&tb_dir_table},
    .run = run_import,
};
