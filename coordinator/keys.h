/* coordinator/keys.h - the coordinator's working keys and what the root key
 * said of them. Immutable once read: any thread may use it. */
#ifndef TB_COORDINATOR_KEYS_H
#define TB_COORDINATOR_KEYS_H

#include "crypto/cert.h"
#include "host/folder.h"

typedef struct tb_keys {
    tb_sign_key *sign;     /* owned */
    tb_box_key *curve;     /* owned; of both listeners */
    tb_master_key *master; /* owned */
    tb_certificate certificate;
    uint8_t certificate_bytes[TB_CERTIFICATE_BYTES];
    uint8_t root_public[TB_SIGN_PUBLIC_BYTES];
} tb_keys;

/* Makes all keys of a new folder: root, working keys with a certificate of ten
 * years, and the master key at master_path. Errors: EXISTS, FULL, IO, NOMEM. */
tb_rc tb_keys_create(const tb_folder *folder, const char *master_path,
                     tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads what a daemon needs (not the root's secret) and checks that it belongs
 * together. Errors: as tb_sign_key_read, MALFORMED, MISMATCH, DENIED
 * (certificate expired). *out is for tb_keys_release on TB_OK. */
tb_rc tb_keys_read(tb_keys *out, const tb_folder *folder,
                   const char *master_path, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The same without the master key, and whatever the time is: an expired
 * certificate is fine. Errors: as tb_keys_read. */
tb_rc tb_keys_read_public(tb_keys *out, const tb_folder *folder, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Wipes and frees; safe twice and on zeroed keys. */
void tb_keys_release(tb_keys *keys) TB_NONNULL(1);

#endif
