/* core/host/descriptors.h - for how many connections this process has file
 * descriptors. Each takes one; some are kept back for the journal, the spool,
 * blobs and the control socket, so that a full house never costs a round. */
#ifndef TB_HOST_DESCRIPTORS_H
#define TB_HOST_DESCRIPTORS_H

#include <stdint.h>

#include "base/err.h"

#define TB_DESCRIPTORS_LEAST 128u /* under this no daemon can work */

typedef struct tb_descriptors {
    uint32_t limit;       /* of the process, from now on */
    uint32_t reserved;    /* kept back */
    uint32_t connections; /* that may be open at one time */
} tb_descriptors;

/* What a limit of so many descriptors comes to: a quarter of it, at most 256,
 * is kept back. wish: most connections that are wanted; 0: what there is room
 * for. Errors: USAGE (too low a limit: says how to raise it). */
tb_rc tb_descriptors_share(tb_descriptors *out, uint64_t limit, uint32_t wish,
                           tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Shares the process's hard limit. The soft one is set half the reserve below:
 * those are for the opens of base/spare. Errors: as above; IO. */
tb_rc tb_descriptors_prepare(tb_descriptors *out, uint32_t wish, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
