/* client/rotate.h - a client's new keys: drawn, proven to the coordinator, and
 * put in the place of the old ones once the coordinator has them. Killed at any
 * point, the client goes on under the keys that it can still get in with:
 *
 *   keys/next-sign.key alone     drawn halfway: thrown away
 *   both next-*.key              proposed: said again; if the old transport key
 *                                is refused, the new one is tried
 *   keys/next-curve.key alone    put in place halfway: finished */
#ifndef TB_CLIENT_ROTATE_H
#define TB_CLIENT_ROTATE_H

#include "home.h"
#include "wire/msg.h"

typedef enum rotation_phase {
    ROTATION_NONE,
    ROTATION_WANTED,   /* to be drawn and said */
    ROTATION_PROPOSED, /* drawn, on disk; perhaps said */
    ROTATION_IN_PLACE, /* the new keys are ours; to connect under them */
    ROTATION_DONE
} rotation_phase;

typedef struct rotation {
    rotation_phase phase;
    tb_sign_key *sign;  /* proposed */
    tb_box_key *curve;  /* proposed */
    bool dial_next;     /* dial under the proposed key */
    int64_t again_ms;   /* when to say it again */
    int64_t give_up_ms; /* who waits for it goes then; 0: nobody does */
    uint64_t asked_by;  /* control connection; 0: nobody */
    tb_rc rc;           /* when it came to nothing */
    tb_err err;
} rotation;

/* Takes up keys that were proposed before. Errors: as tb_sign_key_read. */
tb_rc rotation_load(rotation *r, const home *h, tb_err *err) TB_MUST_CHECK;
void rotation_release(rotation *r);

/* Draws keys and writes them. Errors: as tb_sign_key_write, NOMEM. */
tb_rc rotation_draw(rotation *r, const home *h, tb_err *err) TB_MUST_CHECK;

/* The message that proves them. */
void rotation_message(const rotation *r, const home *h, tb_msg_rotate *out);

/* Puts them in the place of the old ones; h->retired keeps the old sign key,
 * which an update that is being made may still need. Errors: IO. */
tb_rc rotation_put_in_place(rotation *r, home *h, tb_err *err) TB_MUST_CHECK;

/* The coordinator will not have them: throws them away. */
void rotation_drop(rotation *r, const home *h, tb_rc rc, const char *why);

/* After a kill: finishes or throws away what was done halfway. Errors: IO. */
tb_rc rotation_mend(const tb_folder *folder, tb_err *err) TB_MUST_CHECK;

/* Seconds since the keys were put there, as their file says; 0: not known. */
uint64_t rotation_age_s(const home *h);

#endif
