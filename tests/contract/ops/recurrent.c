/* Cases of LSTM, GRU, RNN: sizes are steps 4, samples 3, inputs 2, hidden 3. */
#include "contract/ops/cases.h"

static const char *const lstm_acts[] = {"HardSigmoid", "Softsign", "Elu"};
static const char *const gru_acts[] = {"Sigmoid", "ScaledTanh", "HardSigmoid",
                                       "Softplus"};
static const char *const rnn_acts[] = {"LeakyRelu"};
static const char *const rnn_affine[] = {"Affine", "Relu"};
static const char *const unknown_acts[] = {"Sine"};
static const float some_alpha[] = {0.4f};
static const float scale_alpha[] = {1.5f, 0.3f};
static const float scale_beta[] = {0.7f, 0.4f};
static const int32_t lens[] = {4, 2, 3};

#define STRINGS(nm, v)                                                         \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_STRINGS, .strings = v, .n = COUNT_OF(v)    \
    }
#define FLOATS(nm, v)                                                          \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_FLOATS, .floats = v, .n = COUNT_OF(v)      \
    }
#define LENS CONST(TB_I32, lens, 3)

static const op_case grads[] = {
    {.op = "LSTM",
     .attrs = {INT("hidden_size", 3)},
     .in = {F32(4, 3, 2), F32(1, 12, 2), F32(1, 12, 3)}},
    {.op = "LSTM",
     .in = {F32(4, 3, 2), F32(1, 12, 2), F32(1, 12, 3), F32(1, 24), OMITTED,
            F32(1, 3, 3), F32(1, 3, 3), F32(1, 9)},
     .n_out = 3},
    {.op = "LSTM",
     .attrs = {TEXT("direction", "bidirectional")},
     .in = {F32(4, 3, 2), F32(2, 12, 2), F32(2, 12, 3), F32(2, 24), LENS,
            F32(2, 3, 3), F32(2, 3, 3), F32(2, 9)},
     .n_out = 3},
    {.op = "LSTM",
     .attrs = {TEXT("direction", "reverse"), INT("layout", 1),
               INT("input_forget", 1)},
     .in = {F32(3, 4, 2), F32(1, 12, 2), F32(1, 12, 3), F32(1, 24), LENS,
            F32(3, 1, 3), F32(3, 1, 3)},
     .n_out = 2},
    {.op = "LSTM",
     .attrs = {STRINGS("activations", lstm_acts), FLOAT("clip", 2.5f)},
     .in = {F32(4, 3, 2), F32(1, 12, 2), F32(1, 12, 3), F32(1, 24)},
     .n_out = 3},
    {.op = "GRU",
     .in = {F32(4, 3, 2), F32(1, 9, 2), F32(1, 9, 3), F32(1, 18), LENS,
            F32(1, 3, 3)},
     .n_out = 2},
    {.op = "GRU",
     .attrs = {TEXT("direction", "bidirectional"),
               INT("linear_before_reset", 1)},
     .in = {F32(4, 3, 2), F32(2, 9, 2), F32(2, 9, 3), F32(2, 18), LENS,
            F32(2, 3, 3)},
     .n_out = 2},
    {.op = "GRU",
     .attrs = {INT("linear_before_reset", 1), INT("layout", 1)},
     .in = {F32(3, 4, 2), F32(1, 9, 2), F32(1, 9, 3)}},
    {.op = "GRU",
     .attrs = {TEXT("direction", "bidirectional"),
               STRINGS("activations", gru_acts),
               FLOATS("activation_alpha", scale_alpha),
               FLOATS("activation_beta", scale_beta)},
     .in = {F32(4, 3, 2), F32(2, 9, 2), F32(2, 9, 3)}},
    {.op = "RNN",
     .in = {F32(4, 3, 2), F32(1, 3, 2), F32(1, 3, 3), F32(1, 6), OMITTED,
            F32(1, 3, 3)},
     .n_out = 2},
    {.op = "RNN",
     .attrs = {TEXT("direction", "reverse"), INT("layout", 1),
               STRINGS("activations", rnn_acts),
               FLOATS("activation_alpha", some_alpha)},
     .in = {F32(3, 4, 2), F32(1, 3, 2), F32(1, 3, 3), F32(1, 6), LENS,
            F32(3, 1, 3)},
     .n_out = 2},
    {.op = "RNN",
     .attrs = {TEXT("direction", "bidirectional"),
               STRINGS("activations", rnn_affine)},
     .in = {F32(4, 3, 2), F32(2, 3, 2), F32(2, 3, 3)}},
};

static const op_case refused[] = {
    {.op = "LSTM", .in = {F32(4, 3), F32(1, 12, 2), F32(1, 12, 3)}},
    {.op = "LSTM", .in = {F32(4, 3, 2), F32(1, 12, 3), F32(1, 12, 3)}},
    {.op = "LSTM", .in = {F32(4, 3, 2), F32(1, 12, 2), F32(1, 11, 3)}},
    {.op = "LSTM", .in = {F32(4, 0, 2), F32(1, 12, 2), F32(1, 12, 3)}},
    {.op = "LSTM",
     .attrs = {INT("hidden_size", 4)},
     .in = {F32(4, 3, 2), F32(1, 12, 2), F32(1, 12, 3)}},
    {.op = "LSTM",
     .attrs = {TEXT("direction", "sideways")},
     .in = {F32(4, 3, 2), F32(1, 12, 2), F32(1, 12, 3)}},
    {.op = "LSTM",
     .in = {F32(4, 3, 2), F32(1, 12, 2), F32(1, 12, 3), OMITTED, OMITTED,
            F32(3, 1, 3)}},
    {.op = "GRU", .in = {F32(4, 3, 2), F32(1, 9, 2), F32(1, 9, 3), F32(1, 9)}},
    {.op = "GRU",
     .in = {F32(4, 3, 2), F32(1, 9, 2), F32(1, 9, 3), OMITTED, F32(3)}},
    {.op = "RNN",
     .attrs = {STRINGS("activations", unknown_acts)},
     .in = {F32(4, 3, 2), F32(1, 3, 2), F32(1, 3, 3)}},
    {.op = "RNN",
     .attrs = {TEXT("direction", "bidirectional"),
               STRINGS("activations", rnn_acts)},
     .in = {F32(4, 3, 2), F32(2, 3, 2), F32(2, 3, 3)}},
};

const op_family family_recurrent = {.name = "recurrent",
                                    .grads = grads,
                                    .n_grads = COUNT_OF(grads),
                                    .refused = refused,
                                    .n_refused = COUNT_OF(refused)};
