/* core/web/http.h - one page of text over HTTP, for a scraper: GET /metrics
 * and nothing else. No thread: the owner polls tb_http_fd and calls
 * tb_http_serve, and the page is written anew for each request. libmicrohttpd
 * stays in the .c file. One owner. */
#ifndef TB_WEB_HTTP_H
#define TB_WEB_HTTP_H

#include <stdint.h>

#include "base/buf.h"

#define TB_HTTP_ADDRESS_BYTES   320u
#define TB_HTTP_PAGE_BYTES_MAX  ((size_t)4 << 20)
#define TB_HTTP_CONNECTIONS_MAX 16u
#define TB_HTTP_PATIENCE_S      10u /* of a connection that says nothing */

typedef struct tb_http tb_http;

/* Appends the page. Errors: the request gets 500. */
typedef tb_rc tb_http_page_fn(void *arg, tb_buf *out, tb_err *err);

/* Listens on "HOST:PORT", "[IPV6]:PORT" or ":PORT" (loopback); port 0: the
 * system chooses. type: content type of the page. Errors: USAGE (no such
 * address), BUSY (in use), IO, NOMEM. */
tb_rc tb_http_open(tb_http **out, const char *address, const char *type,
                   tb_http_page_fn *page, void *arg, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Closes every connection; nulls. NULL is fine. */
void tb_http_close(tb_http **http) TB_NONNULL(1);

/* Where it listens: "127.0.0.1:9464". */
const char *tb_http_address(const tb_http *http) TB_NONNULL(1);

/* Readable while there is something to serve. For poll(2). */
int tb_http_fd(const tb_http *http) TB_NONNULL(1);

/* How long the owner may wait before it serves again; INT64_MAX: for ever. */
int64_t tb_http_wait_ms(const tb_http *http) TB_NONNULL(1);

/* Does what can be done without waiting. */
void tb_http_serve(tb_http *http) TB_NONNULL(1);

#endif
