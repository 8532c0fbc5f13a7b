/* core/crypto/curve.h - CurveZMQ (RFC 26) as the server of one connection
 * speaks it: the commands of the handshake, and the boxes of the traffic after
 * it. Takes and gives whole command bodies; knows nothing of sockets, frames or
 * who may come in. No clock; chance is the operating system's. A door may be
 * used from one thread at a time, a session too. Secrets lie in guarded memory.
 *
 * Bodies, lengths in bytes (C, S: long-term, C', S': short-term keys; boxes are
 * X25519, XSalsa20, Poly1305, with 16 of tag):
 *   HELLO    200  "\x05HELLO" | 1 0 | 72 zeroes | C' 32 | nonce 8
 *                 | box(64 zeroes, C'->S)
 *   WELCOME  168  "\x07WELCOME" | nonce 16 | box(S' 32 | cookie 96, S->C')
 *   INITIATE 257+ "\x08INITIATE" | cookie 96 | nonce 8
 *                 | box(C 32 | vouch nonce 16 | vouch 80 | metadata, C'->S')
 *   READY    30+  "\x05READY" | nonce 8 | box(metadata, S'->C')
 *   MESSAGE  33+  "\x07MESSAGE" | nonce 8 | box(flags 1 | data)
 * The vouch is box(C' 32 | S 32, C->S'). The cookie is for us alone (curve.c).
 * Nonces of 8 bytes are big-endian counters, and each side's must rise. */
#ifndef TB_CRYPTO_CURVE_H
#define TB_CRYPTO_CURVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TB_CURVE_KEY_BYTES          32
#define TB_CURVE_HELLO_BYTES        200
#define TB_CURVE_WELCOME_BYTES      168
#define TB_CURVE_INITIATE_BYTES_MIN 257
#define TB_CURVE_READY_BYTES_MIN    30
#define TB_CURVE_MESSAGE_BYTES_MIN  33 /* around the data of a MESSAGE */

/* What the flags of a MESSAGE say. */
#define TB_CURVE_FLAG_MORE    0x01 /* another frame of this message follows */
#define TB_CURVE_FLAG_COMMAND 0x02 /* a command (PING), not data */

/* The server's long-term key, and the key of its cookies. */
typedef struct tb_curve_door tb_curve_door;

/* One connection. Zeroes are a valid empty one; the fields are private. */
typedef struct tb_curve_session {
    uint8_t *secret; /* a slot of crypto/secret: s' 32, then the shared key */
    uint8_t client_short[TB_CURVE_KEY_BYTES];
    uint64_t nonce_in;  /* the last one that the client used */
    uint64_t nonce_out; /* the next one of ours */
} tb_curve_session;

/* A door under this secret key. Errors: NOMEM. */
tb_rc tb_curve_door_new(tb_curve_door **out,
                        const uint8_t secret[static TB_CURVE_KEY_BYTES],
                        tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Wipes and nulls *door. NULL is fine. */
void tb_curve_door_free(tb_curve_door **door) TB_NONNULL(1);

/* Wipes what the session holds; safe twice. */
void tb_curve_release(tb_curve_session *s) TB_NONNULL(1);

/* Reads HELLO, writes WELCOME. Errors: MALFORMED (not for this key), NOMEM; the
 * session is then as it was. */
tb_rc tb_curve_hello(tb_curve_session *s, tb_curve_door *door,
                     const uint8_t *body, size_t n,
                     uint8_t welcome[static TB_CURVE_WELCOME_BYTES],
                     tb_err *err) TB_NONNULL(1, 2, 3, 5) TB_MUST_CHECK;

/* What INITIATE proves: the client's long-term key, and its metadata, which lie
 * decrypted in the body that was given. */
typedef struct tb_curve_proof {
    uint8_t key[TB_CURVE_KEY_BYTES];
    const uint8_t *metadata;
    size_t n_metadata;
} tb_curve_proof;

/* Reads INITIATE; body is decrypted in place. After TB_OK only the traffic's
 * key is kept. A cookie that was made for another connection is refused, so
 * that nothing of one can be replayed in another. Errors: MALFORMED. */
tb_rc tb_curve_initiate(tb_curve_session *s, tb_curve_door *door, uint8_t *body,
                        size_t n, tb_curve_proof *out, tb_err *err)
    TB_NONNULL(1, 2, 3, 5) TB_MUST_CHECK;

/* Writes READY around the metadata: TB_CURVE_READY_BYTES_MIN + n bytes. */
void tb_curve_ready(tb_curve_session *s, const uint8_t *metadata, size_t n,
                    uint8_t *out) TB_NONNULL(1, 2, 4);

/* What a MESSAGE holds, within the body that was given. */
typedef struct tb_curve_words {
    uint8_t flags;
    const uint8_t *data;
    size_t n_data;
} tb_curve_words;

/* Opens a MESSAGE in place. Errors: MALFORMED (also a nonce that does not rise,
 * so that none comes twice). */
tb_rc tb_curve_open(tb_curve_session *s, uint8_t *body, size_t n,
                    tb_curve_words *out, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* Takes the nonce of the next MESSAGE of ours. */
uint64_t tb_curve_next_nonce(tb_curve_session *s) TB_NONNULL(1) TB_MUST_CHECK;

/* Writes a MESSAGE: TB_CURVE_MESSAGE_BYTES_MIN + n bytes. The same nonce may be
 * used again only with the same flags and data, for the same bytes. */
void tb_curve_seal(const tb_curve_session *s, uint64_t nonce, uint8_t flags,
                   const uint8_t *data, size_t n, uint8_t *out)
    TB_NONNULL(1, 6);

#endif
