/* core/crypto/cert.h - the root key's word for the coordinator's working keys.
 * Clients pin the root public key (from their invite); the root secret may be
 * offline. Bytes (192): "TBCT" | version u32le = 1 | federation 32 | sign key
 * 32 | CURVE key 32 | serial u64le | valid_from u64le | valid_until u64le |
 * signature 64 (context "certificate", over the 128 bytes before it). */
#ifndef TB_CRYPTO_CERT_H
#define TB_CRYPTO_CERT_H

#include "crypto/sign.h"

#define TB_CERTIFICATE_BYTES 192

typedef struct tb_certificate {
    tb_hash federation;                       /* hash of the root public key */
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES];   /* signs rounds, manifests, ... */
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES]; /* of the main listener */
    uint64_t serial; /* rises with each; clients never let it fall */
    uint64_t valid_from, valid_until; /* unix seconds; until is exclusive */
    uint8_t signature[TB_SIGNATURE_BYTES];
} tb_certificate;

/* Sets federation and signature from the root key; the caller filled the rest
 * (valid_from < valid_until). */
void tb_certificate_sign(tb_certificate *cert, const tb_sign_key *root)
    TB_NONNULL(1, 2);

/* The certificate as bytes, in the order of its fields. */
void tb_certificate_encode(const tb_certificate *cert,
                           uint8_t out[static TB_CERTIFICATE_BYTES])
    TB_NONNULL(1, 2);

/* Reads the layout only; it proves nothing until verified. On failure *out is
 * unchanged. Errors: MALFORMED, UNSUPPORTED (version). */
tb_rc tb_certificate_decode(tb_certificate *out, const uint8_t *bytes,
                            size_t len, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Whether the root key signed it and it is valid at now_s (unix seconds).
 * Errors: DENIED (another federation, bad signature, not yet, expired; the
 * text says which). */
tb_rc tb_certificate_verify(
    const tb_certificate *cert,
    const uint8_t root_public[static TB_SIGN_PUBLIC_BYTES], uint64_t now_s,
    tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
