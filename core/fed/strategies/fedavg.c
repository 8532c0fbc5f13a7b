/* core/fed/strategies/fedavg.c - federated averaging (McMahan et al. 2017,
 * algorithm 1, on differences): w <- w + server_lr * sum n_k d_k / sum n_k,
 * d_k = w_k - w. With damped weights (stale.h) the same line is the server's
 * step of FedBuff: w <- w + server_lr * sum s_k n_k d_k / sum n_k, with n_k = 1
 * where weights are uniform. Keeps no state. */
#include "fed/strategy_priv.h"

#define TILE 4096 /* means made at a time, on the stack */

static uint32_t sections(tb_section *out, size_t n_params)
{
    out[0] = tb_section_of(TB_SECTION_PARAMETERS, n_params, true);
    out[1] = tb_section_of(TB_SECTION_LOSS, 1, true);
    return 2;
}

static size_t n_state(size_t n_params)
{
    (void)n_params;
    return 0;
}

static tb_rc aggregate(const tb_strategy_settings *settings, const tb_sum *sum,
                       float *params, size_t n_params, float *state,
                       tb_err *err)
{
    (void)state;
    size_t end = settings->at + n_params;
    if (tb_sum_values(sum) < end + 1 || tb_sum_updates(sum) == 0) {
        return tb_fail(err, TB_E_MISMATCH,
                       "fedavg: %zu parameters, a sum of %zu values and %u "
                       "updates",
                       end, tb_sum_values(sum), tb_sum_updates(sum));
    }
    float mean[TILE];
    for (size_t at = 0; at < n_params; at += TILE) {
        size_t n = n_params - at < TILE ? n_params - at : TILE;
        tb_rc rc = tb_sum_mean(sum, settings->at + at, mean, n, err);
        if (rc != TB_OK) {
            return rc; /* cannot be: the place and the count were checked */
        }
        for (size_t i = 0; i < n; i++) {
            params[at + i] = (float)((double)params[at + i] +
                                     settings->server_lr * (double)mean[i]);
        }
    }
    return TB_OK;
}

const tb_strategy tb_strategy_fedavg = {.name = "fedavg",
                                        .sections = sections,
                                        .n_state = n_state,
                                        .aggregate = aggregate};
