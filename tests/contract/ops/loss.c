/* Cases of NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss. */
#include "contract/ops/cases.h"

static const int64_t labels[] = {2, 0, 1, 2};
static const int32_t grid[] = {0, 2, 1, 1, 2, 0, 0, 2, 1, 0, 2, 2};
static const int64_t outside[] = {-100, 0, -100, 1};
static const float weights[] = {0.5f, 2.0f, 1.25f};
static const float two_weights[] = {0.5f, 2.0f};

#define LABELS  CONST(TB_I64, labels, 4)
#define GRID    CONST(TB_I32, grid, 2, 2, 3)
#define OUTSIDE CONST(TB_I64, outside, 4)
#define WEIGHTS CONST(TB_F32, weights, 3)

static const op_case grads[] = {
    {.op = "NegativeLogLikelihoodLoss", .in = {F32(4, 3), LABELS}},
    {.op = "NegativeLogLikelihoodLoss",
     .attrs = {TEXT("reduction", "none")},
     .in = {F32(2, 3, 2, 3), GRID, WEIGHTS}},
    {.op = "NegativeLogLikelihoodLoss",
     .attrs = {TEXT("reduction", "mean"), INT("ignore_index", 2)},
     .in = {F32(2, 3, 2, 3), GRID, WEIGHTS}},
    {.op = "SoftmaxCrossEntropyLoss", .in = {F32(4, 3), LABELS}},
    {.op = "SoftmaxCrossEntropyLoss",
     .attrs = {TEXT("reduction", "sum")},
     .in = {F32(2, 3, 2, 3), GRID, WEIGHTS},
     .n_out = 2},
    {.op = "SoftmaxCrossEntropyLoss",
     .attrs = {INT("ignore_index", -100)},
     .in = {F32(4, 3), OUTSIDE, WEIGHTS},
     .n_out = 2},
    {.op = "SoftmaxCrossEntropyLoss",
     .attrs = {TEXT("reduction", "none")},
     .in = {F32(2, 3, 2, 3), GRID}},
};

static const op_case refused[] = {
    {.op = "NegativeLogLikelihoodLoss", .in = {F32(5, 3), LABELS}},
    {.op = "NegativeLogLikelihoodLoss", .in = {F32(4), LABELS}},
    {.op = "NegativeLogLikelihoodLoss", .in = {F32(4, 3), F32(4)}},
    {.op = "SoftmaxCrossEntropyLoss",
     .in = {F32(4, 3), LABELS, CONST(TB_F32, two_weights, 2)}},
    {.op = "SoftmaxCrossEntropyLoss",
     .attrs = {TEXT("reduction", "median")},
     .in = {F32(4, 3), LABELS}},
};

const op_family family_loss = {.name = "loss",
                               .grads = grads,
                               .n_grads = COUNT_OF(grads),
                               .refused = refused,
                               .n_refused = COUNT_OF(refused)};
