/* coordinator/invites.h - makes an invite and the record of it. Used by the
 * daemon, and by the verb when no daemon runs. */
#ifndef TB_COORDINATOR_INVITES_H
#define TB_COORDINATOR_INVITES_H

#include "crypto/invite.h"
#include "fed/record.h"
#include "keys.h"

typedef struct tb_invite_wish {
    const char *client;   /* its name */
    const char *endpoint; /* of the enrolment listener */
    uint64_t valid_s;     /* from now on */
    const char *labels;   /* that the client will have: "site=lyon tag=a" */
} tb_invite_wish;

/* Draws an invite: its text (which the caller wipes), and the record that the
 * journal keeps of it. Errors: USAGE (name, endpoint, labels), LIMIT, NOMEM. */
tb_rc tb_invite_make(char text[static TB_INVITE_TEXT_BYTES], tb_record *record,
                     const tb_keys *keys, const tb_invite_wish *wish,
                     tb_err *err) TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

#endif
