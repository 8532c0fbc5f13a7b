/* core/base/pace.h - a limit of bytes a second, as a token bucket that may run
 * into debt: what has gone is counted, and who asks is told how long to hold
 * still. No clock: the time is a parameter. One owner. */
#ifndef TB_BASE_PACE_H
#define TB_BASE_PACE_H

#include <stdint.h>

#include "base/attr.h"

typedef struct tb_pace {
    uint64_t bytes_a_second; /* 0: no limit */
    int64_t at_ms;           /* when it was counted last */
    double credit;           /* bytes that may go at once; debt below 0 */
} tb_pace;

/* A quarter of a second of credit to begin with, and never more. */
void tb_pace_init(tb_pace *pace, uint64_t bytes_a_second, int64_t now_ms)
    TB_NONNULL(1);

/* So many bytes have gone. */
void tb_pace_count(tb_pace *pace, uint64_t bytes, int64_t now_ms) TB_NONNULL(1);

/* How long nothing more should go: 0 while there is no debt. */
int64_t tb_pace_wait_ms(tb_pace *pace, int64_t now_ms) TB_NONNULL(1);

#endif
