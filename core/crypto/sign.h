/* core/crypto/sign.h - signatures that say what they are for. Ed25519 over
 * "tributary " | context | 0 | BLAKE2b-256(bytes): a signature made for one
 * context never verifies in another. */
#ifndef TB_CRYPTO_SIGN_H
#define TB_CRYPTO_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/keys.h"

#define TB_SIGNATURE_BYTES 64

/* What is signed, and by which key. */
typedef enum tb_sign_context {
    TB_SIGN_CERTIFICATE, /* root: the coordinator's working keys */
    TB_SIGN_ROUND,       /* coordinator: canonical round configuration */
    TB_SIGN_RECEIPT,     /* coordinator: acceptance of an update */
    TB_SIGN_MANIFEST,    /* coordinator: canonical model manifest */
    TB_SIGN_INVITE,      /* invite: both keys of a new client */
    TB_SIGN_ENROL,       /* new client: the same */
    TB_SIGN_UPDATE,      /* client: config hash and update hash */
    TB_SIGN_ROTATE,      /* client, by both keys: its new keys (rotate.h) */
    TB_SIGN_MOVE,        /* root: the coordinator's new keys and endpoint */
    TB_SIGN_ROSTER,      /* coordinator: an exported roster */
    TB_SIGN_CONTEXT_COUNT
} tb_sign_context;

/* Signs len bytes. */
void tb_sign(uint8_t signature[static TB_SIGNATURE_BYTES],
             const tb_sign_key *key, tb_sign_context context, const void *bytes,
             size_t len) TB_NONNULL(1, 2);

/* Errors: DENIED (not signed by this key for this context and these bytes). */
tb_rc tb_verify(const uint8_t signature[static TB_SIGNATURE_BYTES],
                const uint8_t public_key[static TB_SIGN_PUBLIC_BYTES],
                tb_sign_context context, const void *bytes, size_t len,
                tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
