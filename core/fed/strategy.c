#include "fed/strategy.h"

#include <math.h>
#include <string.h>

#include "fed/strategy_priv.h"

static const tb_strategy *const strategies[] = {&tb_strategy_fedavg};

const tb_strategy *tb_strategy_at(size_t i)
{
    return i < sizeof strategies / sizeof strategies[0] ? strategies[i] : NULL;
}

const tb_strategy *tb_strategy_find(const char *name)
{
    for (size_t i = 0; i < sizeof strategies / sizeof strategies[0]; i++) {
        if (strcmp(strategies[i]->name, name) == 0) {
            return strategies[i];
        }
    }
    return NULL;
}

tb_section tb_section_of(const char *name, uint64_t n_values, bool weighted)
{
    tb_section section = {.n_values = n_values, .weighted = weighted};
    (void)tb_name_set(&section.name, name); /* our own names are names */
    return section;
}

uint32_t tb_strategy_sections(const tb_strategy *strategy, tb_task task,
                              tb_section *out, const tb_strategy_sizes *sizes)
{
    uint32_t n = 0;
    switch (task) {
    case TB_TASK_TRAIN:
        n = strategy->sections(out, sizes->n_params);
        if (sizes->n_statistics > 0) {
            out[n++] =
                tb_section_of(TB_SECTION_STATISTICS, sizes->n_statistics, true);
        }
        return n;
    case TB_TASK_EVALUATE:
        out[0] = tb_section_of(TB_SECTION_LOSS, 1, true);
        out[1] = tb_section_of(TB_SECTION_ACCURACY, 1, true);
        return 2;
    case TB_TASK_CALIBRATE:
        out[0] = tb_section_of(TB_SECTION_LOW, sizes->n_observed, true);
        out[1] = tb_section_of(TB_SECTION_HIGH, sizes->n_observed, true);
        return 2;
    case TB_TASK_COUNT:
        break;
    }
    return 0;
}

size_t tb_strategy_offset(const tb_round_config *config, const char *section)
{
    size_t offset = 0;
    for (uint32_t i = 0; i < config->n_sections; i++) {
        if (strcmp(config->sections[i].name.text, section) == 0) {
            return offset;
        }
        offset += (size_t)config->sections[i].n_values;
    }
    return SIZE_MAX;
}

double tb_strategy_metric(const tb_round_config *config, const tb_sum *sum,
                          const char *section)
{
    float mean = 0.0F;
    size_t offset = tb_strategy_offset(config, section);
    if (offset == SIZE_MAX ||
        tb_sum_mean(sum, offset, &mean, 1, NULL) != TB_OK) {
        return (double)NAN;
    }
    /* a step is damped, what clients measured is not */
    return (double)mean *
           ((double)tb_sum_full(sum) / (double)tb_sum_weight(sum));
}
