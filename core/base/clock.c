#include "base/clock.h"

#include <time.h>

int64_t tb_clock_ns(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t tb_clock_ms(void)
{
    return tb_clock_ns() / 1000000;
}

int64_t tb_clock_unix_s(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec;
}
