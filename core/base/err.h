/* core/base/err.h - result codes and one error text. A code says who must act;
 * the text says what, where and how to mend it. No thread-local state: the
 * caller owns the tb_err. */
#ifndef TB_BASE_ERR_H
#define TB_BASE_ERR_H

#include "base/attr.h"

#define TB_ERR_TEXT_BYTES 512

typedef enum tb_rc {
    TB_OK = 0,
    /* The peer, the file or the user: refuse it, count it, go on. */
    TB_E_MALFORMED,   /* bytes that are not what their format says */
    TB_E_LIMIT,       /* well-formed, but over a stated limit */
    TB_E_MISMATCH,    /* valid alone, but does not fit the rest (shape, hash) */
    TB_E_UNSUPPORTED, /* valid, but nothing here can do it */
    TB_E_DENIED,      /* not proven, not allowed, expired, revoked */
    TB_E_NOT_FOUND,   /* no such file, name, version */
    TB_E_EXISTS,      /* there already, with other content */
    TB_E_USAGE,       /* a wrong flag, key or value by the user */
    TB_E_REFUSED,     /* the other side or a guard said no, and said why */
    /* The host: retry later, or stop. */
    TB_E_NOMEM,
    TB_E_FULL,    /* no space left on a disk, or a quota */
    TB_E_IO,      /* any other failing system call */
    TB_E_BUSY,    /* someone else holds it now */
    TB_E_TIMEOUT, /* no answer in the stated time */
    TB_E_CANCELLED,
    /* Us. */
    TB_E_BUG,
    TB_RC_COUNT
} tb_rc;

typedef enum tb_fault {
    TB_FAULT_NONE,
    TB_FAULT_PEER,
    TB_FAULT_HOST,
    TB_FAULT_US
} tb_fault;

typedef struct tb_err {
    tb_rc rc;                     /* the code that was returned with it */
    char text[TB_ERR_TEXT_BYTES]; /* NUL-terminated, no newline */
} tb_err;

/* Fills *err (if not NULL) and returns rc, so that a failing function can say
 * `return tb_fail(err, TB_E_LIMIT, "q8: n=%zu over %zu", n, n_max)`. A text
 * that is too long is cut. */
tb_rc tb_fail(tb_err *err, tb_rc rc, const char *fmt, ...) TB_PRINTF(3, 4);

/* The same with ": " and strerror(errnum) behind the text; ENOSPC and EDQUOT
 * give TB_E_FULL, ENOMEM gives TB_E_NOMEM, ENOENT gives TB_E_NOT_FOUND, all
 * else TB_E_IO. */
tb_rc tb_fail_errno(tb_err *err, int errnum, const char *fmt, ...)
    TB_PRINTF(3, 4);

/* Puts "prefix: " before the text of *err (if not NULL); returns rc as it
 * came. For a caller that knows the place ("job.yaml:3:7"). */
tb_rc tb_err_prefix(tb_err *err, tb_rc rc, const char *fmt, ...)
    TB_PRINTF(3, 4);

/* Who must act on rc. */
tb_fault tb_rc_fault(tb_rc rc);

/* A short stable name such as "malformed"; "unknown" outside the enum. */
const char *tb_rc_name(tb_rc rc);

#endif
