/* core/crypto/invite.h - one-time invites and the proof of enrolment.
 *
 * An invite's secret is the seed of an Ed25519 key. The coordinator keeps only
 * the public key, so nobody can enrol with what lies on its disk. The text is
 * "tributary-invite-1." and base64url (no padding) of
 *   size u16le (of all of this) | id 16 | secret 32 | root public key 32 |
 *   enrolment CURVE key 32 | expires u64le | n u8, name n | m u8, endpoint m |
 *   check 8 (first bytes of BLAKE2b-256 of what stands before it).
 * The check tells a mistyped invite from a forged one; it proves nothing. */
#ifndef TB_CRYPTO_INVITE_H
#define TB_CRYPTO_INVITE_H

#include "crypto/sign.h"

#define TB_INVITE_ID_BYTES       16
#define TB_INVITE_NAME_BYTES     64  /* with the closing NUL */
#define TB_INVITE_ENDPOINT_BYTES 256 /* with the closing NUL */
#define TB_INVITE_TEXT_BYTES     640 /* with the closing NUL */

typedef struct tb_invite {
    uint8_t id[TB_INVITE_ID_BYTES];
    tb_sign_key *key; /* owned; made of the secret */
    uint8_t root_public[TB_SIGN_PUBLIC_BYTES];
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES]; /* of the enrolment listener */
    uint64_t expires_s;                       /* unix seconds */
    char name[TB_INVITE_NAME_BYTES];          /* the client's */
    char endpoint[TB_INVITE_ENDPOINT_BYTES];  /* of the enrolment listener */
} tb_invite;

/* Draws id and key of a new invite; the caller fills the rest, hands out the
 * text, and keeps id, tb_sign_key_public(key), name and expires_s only. The
 * caller releases it. Errors: NOMEM. */
tb_rc tb_invite_init(tb_invite *invite, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Wipes and frees what it owns; safe twice and on a zeroed invite. */
void tb_invite_release(tb_invite *invite) TB_NONNULL(1);

/* The text form, with a closing NUL; the caller wipes it (it holds the
 * secret). Errors: USAGE (empty or too long name or endpoint). */
tb_rc tb_invite_encode(const tb_invite *invite,
                       char out[static TB_INVITE_TEXT_BYTES], tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads the text form; white space around it is ignored. On TB_OK the caller
 * releases *out; otherwise it is empty. Errors: MALFORMED (no invite, cut
 * short, mistyped: the text says which), UNSUPPORTED (newer version), NOMEM. */
tb_rc tb_invite_decode(tb_invite *out, const char *text, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* A client's request to become a member. */
typedef struct tb_enrolment {
    tb_hash federation;
    uint8_t invite[TB_INVITE_ID_BYTES];
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES];
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES];
    uint8_t proof[TB_SIGNATURE_BYTES];     /* by the invite's key */
    uint8_t signature[TB_SIGNATURE_BYTES]; /* by the client's sign key; both
        over federation | invite | sign_key | curve_key (112 bytes) */
} tb_enrolment;

/* Fills *out for a client's own keys; same keys, same bytes. */
void tb_enrolment_sign(tb_enrolment *out, const tb_invite *invite,
                       const tb_sign_key *key,
                       const uint8_t curve_key[static TB_CURVE_PUBLIC_BYTES])
    TB_NONNULL(1, 2, 3, 4);

/* Checks both signatures; whether the invite is known, unused and in time is
 * the caller's. Errors: DENIED (says which signature). */
tb_rc tb_enrolment_verify(
    const tb_enrolment *enrolment,
    const uint8_t invite_public[static TB_SIGN_PUBLIC_BYTES], tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
