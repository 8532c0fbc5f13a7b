/* client/train_flags.h - the flags of losses, optimisers and schedules, and
 * what they make of them; shared by the verbs that train and measure. */
#ifndef TB_CLIENT_TRAIN_FLAGS_H
#define TB_CLIENT_TRAIN_FLAGS_H

#include "files.h"
#include "train/evaluate.h"
#include "train/local.h"

/* --- losses --------------------------------------------------------------- */

typedef struct loss_flags {
    char name[WORD_BYTES]; /* "": by what the targets are */
    double delta, smoothing;
    tb_float_list class_weight, pos_weight;
    char ignore[16];
} loss_flags;

/* The rows of a settings table for a member `loss` of struct `owner`. */
#define LOSS_ROWS(owner)                                                       \
    {.key = "loss",                                                            \
     .help = "softmax_cross_entropy (of classes), mse (of values), "           \
             "bce_with_logits, l1 or huber",                                   \
     .value = "NAME",                                                          \
     .type = TB_SETTING_TEXT,                                                  \
     TB_FIELD(owner, loss.name)},                                              \
        {.key = "delta",                                                       \
         .help = "huber: where the square becomes a line; else 1",             \
         .value = "X",                                                         \
         .max = 1e9,                                                           \
         .flags = TB_SETTING_ABOVE_MIN,                                        \
         .type = TB_SETTING_FLOAT,                                             \
         TB_FIELD(owner, loss.delta)},                                         \
        {.key = "label-smoothing",                                             \
         .help = "share of each label that all classes get",                   \
         .value = "X",                                                         \
         .max = 1,                                                             \
         .flags = TB_SETTING_BELOW_MAX,                                        \
         .type = TB_SETTING_FLOAT,                                             \
         TB_FIELD(owner, loss.smoothing)},                                     \
        {.key = "class-weights",                                               \
         .help = "what a label of each class counts: 1,2.5,...",               \
         .value = "LIST",                                                      \
         .max = 1e9,                                                           \
         .type = TB_SETTING_FLOATS,                                            \
         TB_FIELD(owner, loss.class_weight)},                                  \
        {.key = "pos-weight",                                                  \
         .help = "bce_with_logits: what a target of 1 counts; one, or one a "  \
                 "column",                                                     \
         .value = "LIST",                                                      \
         .max = 1e9,                                                           \
         .type = TB_SETTING_FLOATS,                                            \
         TB_FIELD(owner, loss.pos_weight)},                                    \
    {                                                                          \
        .key = "ignore-index", .help = "label that does not count, as -100",   \
        .value = "LABEL", .type = TB_SETTING_TEXT,                             \
        TB_FIELD(owner, loss.ignore)                                           \
    }

/* Lets the data reader pass over the ignored label. Errors: USAGE. */
tb_rc ignore_labels(data_options *data, const loss_flags *flags,
                    tb_err *err) TB_MUST_CHECK;

/* The loss and its numbers for such data; borrows the lists of flags. Errors:
 * USAGE (no such loss). */
tb_rc loss_from_flags(tb_evaluator_options *out, const loss_flags *flags,
                      const tb_sample_spec *spec, tb_err *err) TB_MUST_CHECK;

/* --- optimisers and schedules --------------------------------------------- */

typedef struct step_flags {
    char kind[WORD_BYTES], alias[WORD_BYTES];
    tb_opt_config c; /* where a flag was given */
    tb_schedule_kind schedule;
    uint64_t warmup, every;
    double gamma, floor;
    tb_clip clip;
} step_flags;

/* "constant", "step", "cosine", NULL: the order of tb_schedule_kind. */
extern const char *const schedule_names[];

/* The rows for a member `step`. */
#define STEP_NUMBER(owner, name, field, text, ...)                             \
    {                                                                          \
        .key = name, .help = text, .value = "X", .type = TB_SETTING_FLOAT,     \
        TB_FIELD(owner, step.field), __VA_ARGS__                               \
    }

#define STEP_ROWS(owner)                                                       \
    {.key = "optimiser",                                                       \
     .help = "sgd, adam, adamw, rmsprop or adagrad; else sgd",                 \
     .value = "NAME",                                                          \
     .type = TB_SETTING_TEXT,                                                  \
     TB_FIELD(owner, step.kind)},                                              \
        {.key = "optimizer",                                                   \
         .help = "the same",                                                   \
         .value = "NAME",                                                      \
         .type = TB_SETTING_TEXT,                                              \
         TB_FIELD(owner, step.alias)},                                         \
        STEP_NUMBER(owner, "lr", c.lr,                                         \
                    "learning rate; else 0.1 (sgd), 0.001 (adam, adamw), "     \
                    "0.01",                                                    \
                    .max = 1000, .flags = TB_SETTING_ABOVE_MIN),               \
        STEP_NUMBER(owner, "momentum", c.momentum, "momentum: sgd, rmsprop",   \
                    .max = 1, .flags = TB_SETTING_BELOW_MAX),                  \
        STEP_NUMBER(owner, "dampening", c.dampening,                           \
                    "sgd: how much less of a gradient momentum takes",         \
                    .max = 1, .flags = TB_SETTING_BELOW_MAX),                  \
        {.key = "nesterov",                                                    \
         .help = "sgd: Nesterov's form of momentum",                           \
         .type = TB_SETTING_BOOL,                                              \
         TB_FIELD(owner, step.c.nesterov)},                                    \
        STEP_NUMBER(owner, "weight-decay", c.weight_decay,                     \
                    "L2 penalty; of adamw beside the gradient, else 0.01",     \
                    .max = 1000),                                              \
        STEP_NUMBER(owner, "beta1", c.beta1, "adam, adamw: else 0.9",          \
                    .max = 1, .flags = TB_SETTING_BELOW_MAX),                  \
        STEP_NUMBER(owner, "beta2", c.beta2, "adam, adamw: else 0.999",        \
                    .max = 1, .flags = TB_SETTING_BELOW_MAX),                  \
        STEP_NUMBER(owner, "alpha", c.alpha, "rmsprop: else 0.99", .max = 1,   \
                    .flags = TB_SETTING_BELOW_MAX),                            \
        STEP_NUMBER(owner, "lr-decay", c.lr_decay,                             \
                    "adagrad: how fast the rate falls", .max = 1000),          \
        STEP_NUMBER(owner, "eps", c.eps,                                       \
                    "all but sgd: added to the root; else 1e-8 (adagrad "      \
                    "1e-10)",                                                  \
                    .max = 1, .flags = TB_SETTING_ABOVE_MIN),                  \
        {.key = "schedule",                                                    \
         .help =                                                               \
             "how the rate changes: constant, step or cosine (down to the "    \
             "end)",                                                           \
         .value = "NAME",                                                      \
         .preset = "constant",                                                 \
         .choices = schedule_names,                                            \
         .type = TB_SETTING_ENUM,                                              \
         TB_FIELD(owner, step.schedule)},                                      \
        {.key = "warmup-steps",                                                \
         .help = "steps over which the rate rises first",                      \
         .value = "N",                                                         \
         .max = 1e12,                                                          \
         .type = TB_SETTING_INT,                                               \
         TB_FIELD(owner, step.warmup)},                                        \
        {.key = "schedule-every",                                              \
         .help = "step: steps until the rate falls; else 1000",                \
         .value = "N",                                                         \
         .preset = "1000",                                                     \
         .min = 1,                                                             \
         .max = 1e12,                                                          \
         .type = TB_SETTING_INT,                                               \
         TB_FIELD(owner, step.every)},                                         \
        STEP_NUMBER(owner, "schedule-gamma", gamma,                            \
                    "step: the factor by which it falls", .preset = "0.1",     \
                    .max = 1, .flags = TB_SETTING_ABOVE_MIN),                  \
        STEP_NUMBER(owner, "schedule-floor", floor,                            \
                    "cosine: the share of the rate at the end", .preset = "0", \
                    .max = 1, .flags = TB_SETTING_BELOW_MAX),                  \
        STEP_NUMBER(owner, "clip-norm", clip.norm,                             \
                    "the norm of all gradients is at most this", .max = 1e9,   \
                    .flags = TB_SETTING_ABOVE_MIN),                            \
        STEP_NUMBER(owner, "clip-value", clip.value,                           \
                    "each gradient is in -X to X; before --clip-norm",         \
                    .max = 1e9, .flags = TB_SETTING_ABOVE_MIN)

/* The optimiser with its numbers: its own where no flag was given. settings
 * tells which were. Errors: USAGE (no such optimiser). */
tb_rc optimiser_from_flags(const tb_optimiser **out, tb_opt_config *config,
                           const step_flags *flags, const tb_settings *settings,
                           tb_err *err) TB_MUST_CHECK;

/* The schedule over so many steps. */
tb_schedule schedule_from_flags(const step_flags *flags, uint64_t total);

#endif
