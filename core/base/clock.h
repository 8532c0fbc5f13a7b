/* core/base/clock.h - time, for the drivers only: nothing below the programs
 * and host reads a clock. */
#ifndef TB_BASE_CLOCK_H
#define TB_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds and nanoseconds since some start; never goes back. */
int64_t tb_clock_ms(void);
int64_t tb_clock_ns(void);

/* Seconds since 1970-01-01 UTC; may jump. */
int64_t tb_clock_unix_s(void);

#endif
