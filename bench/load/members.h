/* bench/load/members.h - the clients of a load: names and keys that follow from
 * their number, and a coordinator's folder in which they are members. */
#ifndef TB_BENCH_LOAD_MEMBERS_H
#define TB_BENCH_LOAD_MEMBERS_H

#include "crypto/cert.h"
#include "wire/name.h"

/* What a client knows of its coordinator. */
typedef struct load_federation {
    tb_hash id;
    uint8_t root[TB_SIGN_PUBLIC_BYTES];
    tb_certificate certificate;
    uint8_t certificate_bytes[TB_CERTIFICATE_BYTES];
    char endpoint[TB_ENDPOINT_BYTES];
} load_federation;

/* Reads certificate and endpoint from a coordinator's folder, whose daemon has
 * run. Errors: those of reading; MALFORMED. */
tb_rc load_federation_read(load_federation *out, const char *dir, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* "load-00042" */
void load_name(tb_name *out, uint32_t number) TB_NONNULL(1);

/* Seeds of a client's two keys. */
void load_seed(uint8_t out[static TB_KEY_SEED_BYTES], uint32_t number,
               const char *purpose) TB_NONNULL(1, 3);

/* Makes clients 0 to n-1 members of the coordinator in dir, which is not
 * running: invitations and enrolments as they would stand in its journal.
 * Errors: those of the folder and the store. */
tb_rc load_enrol(const char *dir, uint32_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
