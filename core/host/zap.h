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

/* Judges a key that asks to connect in a domain, from an address. */
typedef tb_zap_verdict
tb_zap_fn(void *arg, const char *domain, const char *address,
          const uint8_t key[static TB_CURVE_PUBLIC_BYTES]);

/* libzmq keeps the pipe over which a connection asked, 11 KB, for as long as
 * both ends live. So the socket is replaced by a new one now and then, and the
 * old one closed when what was asked over it has long been answered. */
typedef struct tb_zap {
    void *context;
    void *socket;       /* that is bound */
    void *old;          /* the one before it, or NULL */
    int64_t turned_ms;  /* when the bound one took over */
    uint32_t n_answers; /* of it */
} tb_zap;

/* Binds the handler's socket in the context. Errors: IO. */
tb_rc tb_zap_open(tb_zap *zap, void *context, int64_t now_ms, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Safe twice, and on zeroes. */
void tb_zap_close(tb_zap *zap) TB_NONNULL(1);

/* Answers all requests that wait. An allowed connection's messages then carry
 * the key as User-Id in Z85. Errors: IO: the handler is dead, and so must be
 * every listener. */
tb_rc tb_zap_answer(tb_zap *zap, tb_zap_fn *judge, void *arg, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Replaces the socket when it has answered and its time is over. For a moment
 * nobody is bound, and whoever connects then is refused, and tries again
 * (ZMQ_ZAP_ENFORCE_DOMAIN). Errors: IO, as above. */
tb_rc tb_zap_turn(tb_zap *zap, int64_t now_ms, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
