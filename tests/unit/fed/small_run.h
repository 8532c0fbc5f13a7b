/* tests/unit/fed/small_run.h - names, and the smallest run that a coordinator's
 * machine takes. */
#ifndef TB_TESTS_UNIT_FED_SMALL_RUN_H
#define TB_TESTS_UNIT_FED_SMALL_RUN_H

#include <string.h>

#include "fed/run.h"
#include "support/check.h"

static inline tb_name named(const char *text)
{
    tb_name name;
    CHECK(tb_name_set(&name, text));
    return name;
}

/* One round of so many clients, and of ten values. */
static inline void small_run(tb_run_params *p, uint32_t target)
{
    memset(p, 0, sizeof *p);
    p->name = named("model");
    p->data_set = named("numbers");
    p->codec = named("f32");
    p->strategy = named("fedavg");
    p->n_params = 10;
    p->model.raw_bytes = 5;
    p->model.stored_bytes = 5;
    p->rounds = 1;
    p->target = target;
    p->minimum = target;
    p->over_selection = 1.0;
    p->server_lr = 1.0;
    p->max_abs = 8.0F;
    p->max_weight = 1000;
    p->deadline_ms = 60000;
    p->select_ms = 1000;
    p->max_attempts = 2;
}

#endif
