#include "invites.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

tb_rc tb_invite_make(char text[static TB_INVITE_TEXT_BYTES], tb_record *record,
                     const tb_keys *keys, const tb_invite_wish *wish,
                     tb_err *err)
{
    tb_invite invite = {0};
    *record = (tb_record){.kind = TB_REC_INVITED};
    tb_rec_invited *r = &record->u.invited;
    if (!tb_name_set(&r->client, wish->client)) {
        return tb_fail(err, TB_E_USAGE,
                       "\"%.64s\" is not a client's name: 1 to 63 of A-Z a-z "
                       "0-9 . _ -, a letter or digit first",
                       wish->client);
    }
    tb_rc rc = tb_labels_change(&r->labels, wish->labels, err);
    if (rc == TB_OK) {
        rc = tb_invite_init(&invite, err);
    }
    if (rc == TB_OK) {
        memcpy(invite.root_public, keys->root_public,
               sizeof invite.root_public);
        memcpy(invite.curve_key, tb_box_key_public(keys->curve),
               sizeof invite.curve_key);
        invite.expires_s = (uint64_t)tb_clock_unix_s() + wish->valid_s;
        (void)snprintf(invite.name, sizeof invite.name, "%s", r->client.text);
        (void)snprintf(invite.endpoint, sizeof invite.endpoint, "%s",
                       wish->endpoint);
        rc = tb_invite_encode(&invite, text, err);
    }
    if (rc == TB_OK) {
        memcpy(r->invite, invite.id, sizeof r->invite);
        memcpy(r->public_key, tb_sign_key_public(invite.key),
               sizeof r->public_key);
        r->expires_s = invite.expires_s;
    }
    tb_invite_release(&invite);
    return rc;
}
