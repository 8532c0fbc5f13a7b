/* tests/unit/fed/round_config.h - a small round to sum, for these tests. */
#ifndef TB_TESTS_UNIT_FED_ROUND_CONFIG_H
#define TB_TESTS_UNIT_FED_ROUND_CONFIG_H

#include <string.h>

#include "support/check.h"
#include "wire/config.h"

/* Sections of n_weighted and n_plain values (0: none), in this codec. */
static inline tb_round_config round_config(uint64_t n_weighted,
                                           uint64_t n_plain, const char *codec)
{
    tb_round_config c = {.protocol = 1,
                         .round = 1,
                         .attempt = 1,
                         .model_bytes = 10,
                         .model_stored_bytes = 10,
                         .fraction_bits = 30,
                         .max_abs = 8.0F,
                         .max_weight = 1000,
                         .deadline_ms = 1000,
                         .n_sections = n_plain > 0 ? 2 : 1};
    CHECK(tb_name_set(&c.codec, codec));
    CHECK(tb_name_set(&c.data_set, "numbers"));
    c.sections[0].n_values = n_weighted;
    c.sections[0].weighted = true;
    CHECK(tb_name_set(&c.sections[0].name, "parameters"));
    if (n_plain > 0) {
        c.sections[1].n_values = n_plain;
        CHECK(tb_name_set(&c.sections[1].name, "loss"));
    }
    return c;
}

#endif
