/* coordinator/roster.h - all members as a signed text, to be taken along to
 * another coordinator of the same root. Lines, each with one newline:
 *   tributary-roster 1
 *   certificate HEX                      of the key that signed
 *   client NAME SINCE SIGN CURVE member|revoked [LABELS]
 *   old SINCE UNTIL SIGN CURVE           keys that it had, the newest first
 *   signature HEX                        context "roster", over all before it
 * Keys are hexadecimal, times unix seconds, labels as in wire/labels.h. */
#ifndef TB_COORDINATOR_ROSTER_H
#define TB_COORDINATOR_ROSTER_H

#include "fed/coordinator.h"
#include "keys.h"

#define TB_ROSTER_BYTES_MAX ((size_t)64 << 20)

/* Appends the text. Errors: LIMIT, NOMEM. */
tb_rc tb_roster_write(tb_buf *out, const tb_coordinator *machine,
                      const tb_sign_key *sign,
                      const tb_certificate *certificate, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Checks signature and federation, then calls fn for each member in turn.
 * Errors: MALFORMED (with its line), DENIED (another federation, or altered),
 * those of fn. */
tb_rc tb_roster_read(const char *text, size_t len,
                     const uint8_t root_public[static TB_SIGN_PUBLIC_BYTES],
                     tb_rc (*fn)(void *arg, const tb_member *m, tb_err *err),
                     void *arg, tb_err *err) TB_NONNULL(1, 3, 4) TB_MUST_CHECK;

#endif
