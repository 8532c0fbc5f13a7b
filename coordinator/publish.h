/* coordinator/publish.h - a model that was made elsewhere becomes a version. */
#ifndef TB_COORDINATOR_PUBLISH_H
#define TB_COORDINATOR_PUBLISH_H

#include "daemon.h"
#include "wire/manifest.h"

/* Takes a manifest whose sequence, federation and date are ours to fill, and
 * whose blobs lie in the folder; the row is appended by the next flush. Errors:
 * as tb_manifest_decode; NOT_FOUND, MISMATCH (its blobs are not here), those
 * of tb_daemon_event. */
tb_rc tb_daemon_publish(tb_daemon *d, const tb_buf *manifest, tb_name *model,
                        uint64_t *sequence, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

#endif
