#include "train/clip.h"

#include <math.h>

#define LANES 8

tb_rc tb_clip_check(const tb_clip *clip, tb_err *err)
{
    if (!(clip->value >= 0.0) || !isfinite(clip->value)) {
        return tb_fail(err, TB_E_USAGE, "clip value %g: must be 0 or more",
                       clip->value);
    }
    if (!(clip->norm >= 0.0) || !isfinite(clip->norm)) {
        return tb_fail(err, TB_E_USAGE, "clip norm %g: must be 0 or more",
                       clip->norm);
    }
    return TB_OK;
}

void tb_clip_value(float *g, size_t n, double limit)
{
    float top = (float)limit;
    for (size_t i = 0; i < n; i++) {
        float x = g[i] > top ? top : g[i];
        g[i] = x < -top ? -top : x;
    }
}

double tb_clip_squares(const float *g, size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lane[j] += (double)g[i + j] * (double)g[i + j];
        }
    }
    for (size_t j = 0; i < n; i++, j++) {
        lane[j] += (double)g[i] * (double)g[i];
    }
    double sum = 0.0;
    for (size_t j = 0; j < LANES; j++) {
        sum += lane[j];
    }
    return sum;
}

double tb_clip_factor(double norm, double limit)
{
    double factor = limit / (norm + 1e-6);
    return factor < 1.0 ? factor : 1.0;
}
