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

/* The same under a root key that is there already, which stays where it is; the
 * certificate's serial is the time, above those of the root's coordinators
 * before. Errors: also as tb_sign_key_read. */
tb_rc tb_keys_create_under(const tb_folder *folder, const char *master_path,
                           const char *root_path, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

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

#define TB_CERTIFICATE_SECONDS (10ull * 365 * 24 * 3600)

/* New keys that will take the place of sign and curve, in files beside them:
 * drawn, read back, or thrown away. Errors: as tb_sign_key_write, _read. */
tb_rc tb_keys_draw_next(tb_sign_key **sign, tb_box_key **curve,
                        const tb_folder *folder, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
tb_rc tb_keys_read_next(tb_sign_key **sign, tb_box_key **curve,
                        const tb_folder *folder, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
void tb_keys_drop_next(const tb_folder *folder) TB_NONNULL(1);

/* The keys in memory are these from now on; both are taken. */
void tb_keys_adopt(tb_keys *keys, tb_sign_key **sign_take,
                   tb_box_key **curve_take, const tb_certificate *certificate)
    TB_NONNULL(1, 2, 3, 4);

/* Whether the certificate in the folder is this one, or a newer one. Errors:
 * IO, MALFORMED. */
tb_rc tb_keys_settled(bool *settled, const tb_folder *folder,
                      const tb_certificate *certificate, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Puts the next keys and their certificate in the place of the old ones, or
 * finishes what a kill left halfway; nothing when it is done. Errors: IO. */
tb_rc tb_keys_settle(const tb_folder *folder, const tb_certificate *certificate,
                     tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Wipes and frees; safe twice and on zeroed keys. */
void tb_keys_release(tb_keys *keys) TB_NONNULL(1);

#endif
