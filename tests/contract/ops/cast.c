/* Cases of Cast, CastLike. */
#include "contract/ops/cases.h"

static const double like[] = {1, 2};

static const op_case grads[] = {
    {.op = "Cast", .attrs = {INT("to", TB_F64)}, .in = {F32(3, 5)}},
    {.op = "CastLike", .in = {F32(3, 5), CONST(TB_F64, like, 2)}},
};

static const op_case refused[] = {
    {.op = "Cast", .attrs = {INT("to", TB_STRING)}, .in = {F32(3)}},
    {.op = "CastLike", .in = {F32(3)}},
};

const op_family family_cast = {.name = "cast",
                               .grads = grads,
                               .n_grads = COUNT_OF(grads),
                               .refused = refused,
                               .n_refused = COUNT_OF(refused)};
