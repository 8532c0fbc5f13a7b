#include "base/pace.h"

#include <math.h>

#define BURST_S 0.25

static double most(const tb_pace *pace)
{
    return (double)pace->bytes_a_second * BURST_S;
}

void tb_pace_init(tb_pace *pace, uint64_t bytes_a_second, int64_t now_ms)
{
    *pace = (tb_pace){.bytes_a_second = bytes_a_second, .at_ms = now_ms};
    pace->credit = most(pace);
}

static void pass(tb_pace *pace, int64_t now_ms)
{
    if (now_ms > pace->at_ms) {
        double earned = (double)(now_ms - pace->at_ms) / 1000.0 *
                        (double)pace->bytes_a_second;
        pace->credit = fmin(pace->credit + earned, most(pace));
        pace->at_ms = now_ms;
    }
}

void tb_pace_count(tb_pace *pace, uint64_t bytes, int64_t now_ms)
{
    if (pace->bytes_a_second > 0) {
        pass(pace, now_ms);
        pace->credit -= (double)bytes;
    }
}

int64_t tb_pace_wait_ms(tb_pace *pace, int64_t now_ms)
{
    if (pace->bytes_a_second == 0) {
        return 0;
    }
    pass(pace, now_ms);
    return pace->credit >= 0.0 ? 0
                               : (int64_t)ceil(-pace->credit * 1000.0 /
                                               (double)pace->bytes_a_second);
}
