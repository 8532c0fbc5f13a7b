/* Cases of ONNX's training domain: Momentum, Adagrad, Adam, Gradient. */
#include "contract/ops/cases.h"

#define TRAINING .domain = TB_DOMAIN_TRAINING
#define STEP                                                                   \
    {                                                                          \
        .dtype = TB_I64                                                        \
    }
#define MOMENTUM(text)                                                         \
    .op = "Momentum",                                                          \
    .attrs = {FLOAT("alpha", 0.9f), FLOAT("beta", 0.5f),                       \
              FLOAT("norm_coefficient", 0.1f), TEXT("mode", text)}

static const char *const first[] = {"x0"};
static const char *const unknown[] = {"x9"};
#define TEXTS(nm, v)                                                           \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_STRINGS, .strings = v, .n = COUNT_OF(v)    \
    }

static const op_case plain[] = {
    {TRAINING, MOMENTUM("nesterov"),
     .in = {SCALAR, STEP, F32(2, 3), F32(2, 3), F32(2, 3)}, .n_out = 2},
    {TRAINING, .op = "Adagrad",
     .in = {SCALAR, STEP, F32(4), F32(2), F32(4), F32(2), F32(4), F32(2)},
     .positive = true, .n_out = 4},
    {TRAINING, .op = "Adam",
     .in = {SCALAR, STEP, F32(4), F32(4), F32(4), F32(4)}, .positive = true,
     .n_out = 3},
    {TRAINING, .op = "Gradient", .attrs = {TEXTS("xs", first), TEXT("y", "x0")},
     .in = {F32(2, 3)}},
};

static const op_case refused[] = {
    {TRAINING, MOMENTUM("quick"), .in = {SCALAR, STEP, F32(3), F32(3), F32(3)},
     .n_out = 2},
    {TRAINING, MOMENTUM("standard"),
     .in = {SCALAR, STEP, F32(3), F32(3), F32(4)}, .n_out = 2},
    {TRAINING, .op = "Adagrad", .in = {SCALAR, SCALAR, F32(3), F32(3), F32(3)},
     .n_out = 2},
    {TRAINING, .op = "Adagrad",
     .in = {SCALAR, STEP, F32(3), F32(3), F32(3), F32(3)}, .n_out = 2},
    {TRAINING, .op = "Adam",
     .in = {F32(2), STEP, F32(4), F32(4), F32(4), F32(4)}, .n_out = 3},
    {TRAINING, .op = "Gradient",
     .attrs = {TEXTS("xs", unknown), TEXT("y", "x0")}, .in = {F32(3)}},
    {TRAINING, .op = "Gradient", .attrs = {TEXTS("xs", first), TEXT("y", "x0")},
     .in = {F32(3), F32(3)}},
};

const op_family family_training = {.name = "training",
                                   .plain = plain,
                                   .n_plain = COUNT_OF(plain),
                                   .refused = refused,
                                   .n_refused = COUNT_OF(refused)};
