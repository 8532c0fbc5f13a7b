#include "train/schedule.h"

#include <math.h>

tb_rc tb_schedule_check(const tb_schedule *s, tb_err *err)
{
    if (s->kind == TB_SCHEDULE_STEP &&
        (s->every == 0 || !(s->gamma > 0.0 && s->gamma <= 1.0))) {
        return tb_fail(err, TB_E_USAGE,
                       "schedule step: every %llu times %g: it wants a number "
                       "of steps over 0, and a factor over 0 and at most 1",
                       (unsigned long long)s->every, s->gamma);
    }
    if (s->kind == TB_SCHEDULE_COSINE &&
        (s->total <= s->warmup || !(s->floor >= 0.0 && s->floor < 1.0))) {
        return tb_fail(err, TB_E_USAGE,
                       "schedule cosine: %llu steps with %llu of warm-up, down "
                       "to %g: it wants more steps than warm-up, and a floor "
                       "in [0, 1)",
                       (unsigned long long)s->total,
                       (unsigned long long)s->warmup, s->floor);
    }
    return TB_OK;
}

double tb_schedule_factor(const tb_schedule *s, uint64_t step)
{
    const double pi = 3.14159265358979323846;
    if (step < s->warmup) {
        return (double)(step + 1) / (double)s->warmup;
    }
    uint64_t t = step - s->warmup;
    switch (s->kind) {
    case TB_SCHEDULE_STEP:
        return pow(s->gamma, (double)(t / s->every));
    case TB_SCHEDULE_COSINE: {
        uint64_t all = s->total - s->warmup;
        double way = t < all ? (double)t / (double)all : 1.0;
        return s->floor + (1.0 - s->floor) * 0.5 * (1.0 + cos(pi * way));
    }
    case TB_SCHEDULE_CONSTANT:
    default:
        return 1.0;
    }
}
