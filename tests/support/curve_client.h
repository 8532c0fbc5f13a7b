/* tests/support/curve_client.h - the client of CurveZMQ (RFC 26), written from
 * its text straight on libsodium: the outside judge of crypto/curve.h. Fields
 * may be changed to make a client that lies. */
#ifndef TB_TESTS_SUPPORT_CURVE_CLIENT_H
#define TB_TESTS_SUPPORT_CURVE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CURVE_PROOF_BYTES 128 /* C | vouch nonce | vouch */

/* What libzmq's DEALER says of itself. */
extern const uint8_t curve_client_dealer[];
extern const size_t curve_client_dealer_bytes;

typedef struct curve_client {
    uint8_t server[32];                      /* S */
    uint8_t key[32], secret[32];             /* C, c */
    uint8_t short_key[32], short_secret[32]; /* C', c' */
    uint8_t server_short[32];                /* S', from WELCOME */
    uint8_t cookie[96];
    uint64_t nonce; /* the next one */
} curve_client;

/* New keys, to meet the server with that key. */
void curve_client_init(curve_client *c, const uint8_t server[static 32]);

/* HELLO around 64 bytes, which are zeroes when the client is honest. */
void curve_client_hello(curve_client *c, const uint8_t words[static 64],
                        uint8_t out[static 200]);

/* Reads WELCOME; false: it is not one for this client. */
bool curve_client_welcome(curve_client *c, const uint8_t body[static 168]);

/* The key, and its word that the short key is this client's, for that server:
 * what INITIATE proves. */
void curve_client_prove(const curve_client *c,
                        uint8_t proof[static CURVE_PROOF_BYTES]);

/* INITIATE around a proof and metadata; returns its bytes, 257 + n. */
size_t curve_client_initiate(curve_client *c,
                             const uint8_t proof[static CURVE_PROOF_BYTES],
                             const uint8_t *metadata, size_t n, uint8_t *out);

/* Reads READY; gives its metadata in out, and its nonce. */
bool curve_client_ready(const curve_client *c, const uint8_t *body, size_t n,
                        uint8_t *out, uint64_t *nonce);

/* A MESSAGE: 33 + n bytes. */
void curve_client_message(curve_client *c, uint8_t flags, const uint8_t *data,
                          size_t n, uint8_t *out);

/* Reads a MESSAGE of the server: gives flags and data in out (n - 32 bytes),
 * and its nonce. */
bool curve_client_open(const curve_client *c, const uint8_t *body, size_t n,
                       uint8_t *out, uint64_t *nonce);

#endif
