/* Cases of ArgMax, ArgMin. */
#include "contract/ops/cases.h"

static const op_case plain[] = {
    {.op = "ArgMax", .in = {F32(3, 5)}},
    {.op = "ArgMin", .attrs = {INT("axis", -1)}, .in = {DRAWN(TB_I32, 3, 5)}},
};

static const op_case refused[] = {
    {.op = "ArgMax", .attrs = {INT("axis", 2)}, .in = {F32(3, 5)}},
    {.op = "ArgMax", .in = {F32(0, 5)}},
    {.op = "ArgMin", .attrs = {INT("axis", 2)}, .in = {F32(3, 5)}},
};

const op_family family_arg = {.name = "arg",
                              .plain = plain,
                              .n_plain = COUNT_OF(plain),
                              .refused = refused,
                              .n_refused = COUNT_OF(refused)};
