/* core/host/zap.h - the one who says which CURVE keys may connect (ZAP, RFC
 * 27). Without it libzmq lets anyone in, so it is bound before any listener and
 * lives as long. Of transport.c only. */
#ifndef TB_HOST_ZAP_H
#define TB_HOST_ZAP_H

#include <stdbool.h>

#include "base/err.h"
#include "wire/msg.h"

#define TB_ZAP_KEY_TEXT_BYTES 41 /* Z85 of a key, with the closing NUL */

typedef enum tb_zap_verdict {
    TB_ZAP_ALLOW,
    TB_ZAP_LATER, /* temporary: the client tries again */
    TB_ZAP_DENY
} tb_zap_verdict;

/* Judges a key that asks to connect in a domain. */
typedef tb_zap_verdict
tb_zap_fn(void *arg, const char *domain,
          const uint8_t key[static TB_CURVE_PUBLIC_BYTES]);

/* Binds the handler's socket in the context, or returns NULL. */
void *tb_zap_open(void *context) TB_NONNULL(1) TB_MUST_CHECK;

/* Answers all requests that wait. An allowed connection's messages then carry
 * the key as User-Id in Z85. Errors: IO: the handler is dead, and so must be
 * every listener. */
tb_rc tb_zap_answer(void *socket, tb_zap_fn *judge, void *arg, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
