/* Cases of Dropout. */
#include "contract/ops/cases.h"

static const float ratio_40[] = {0.4f};
static const float ratio_1[] = {1.0f};

static const op_case grads[] = {
    {.op = "Dropout",
     .in = {F32(4, 5), CONST(TB_F32, ratio_40, 1)},
     .training = true},
    {.op = "Dropout", .in = {F32(4, 5)}},
    {.op = "Dropout",
     .in = {DRAWN(TB_F64, 4, 5), CONST(TB_F32, ratio_40, 1)},
     .training = true},
    {.op = "Dropout",
     .opset = 11,
     .attrs = {FLOAT("ratio", 0.4f)},
     .in = {F32(4, 5)},
     .training = true},
};

static const op_case refused[] = {
    {.op = "Dropout",
     .in = {F32(4), CONST(TB_F32, ratio_1, 1)},
     .training = true},
    {.op = "Dropout", .in = {F32(4), F32(1)}, .training = true},
    {.op = "Dropout",
     .opset = 11,
     .attrs = {FLOAT("ratio", -0.1f)},
     .in = {F32(4)}},
};

const op_family family_dropout = {.name = "dropout",
                                  .grads = grads,
                                  .n_grads = COUNT_OF(grads),
                                  .refused = refused,
                                  .n_refused = COUNT_OF(refused)};
