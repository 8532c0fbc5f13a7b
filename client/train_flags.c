#include "train_flags.h"

#include <string.h>

#include "base/text.h"

const char *const schedule_names[] = {"constant", "step", "cosine", NULL};

_Static_assert(TB_SCHEDULE_CONSTANT == 0 && TB_SCHEDULE_STEP == 1 &&
                   TB_SCHEDULE_COSINE == 2,
               "the order of schedule_names");

tb_rc ignore_labels(data_options *data, const loss_flags *flags, tb_err *err)
{
    double label = 0.0;
    if (flags->ignore[0] == '\0') {
        return TB_OK;
    }
    tb_rc rc = tb_text_f64(flags->ignore, &label, err);
    if (rc != TB_OK || label < INT32_MIN || label > INT32_MAX ||
        label != (double)(int32_t)label) {
        return tb_fail(err, TB_E_USAGE,
                       "--ignore-index %s: give a whole number, such as -100",
                       flags->ignore);
    }
    data->ignores = true;
    data->ignore = (int32_t)label;
    return TB_OK;
}

tb_rc loss_from_flags(tb_evaluator_options *out, const loss_flags *flags,
                      const tb_sample_spec *spec, tb_err *err)
{
    bool classes = spec->target == TB_TARGET_CLASS;
    const char *name = flags->name[0] != '\0' ? flags->name
                       : classes              ? "softmax_cross_entropy"
                                              : "mse";
    *out = (tb_evaluator_options){
        .loss = tb_loss_find(name),
        .loss_options = {.delta = flags->delta,
                         .smoothing = flags->smoothing,
                         .ignores = spec->ignores,
                         .ignore = spec->ignore,
                         .class_weight = flags->class_weight.n > 0
                                             ? flags->class_weight.at
                                             : NULL,
                         .n_class_weight = flags->class_weight.n,
                         .pos_weight = flags->pos_weight.n > 0
                                           ? flags->pos_weight.at
                                           : NULL,
                         .n_pos_weight = flags->pos_weight.n},
        .n_labels = classes ? spec->n_targets : 1};
    return out->loss != NULL ? TB_OK
                             : tb_fail(err, TB_E_USAGE, "--loss %s: use %s",
                                       name, tb_loss_names());
}

tb_rc optimiser_from_flags(const tb_optimiser **out, tb_opt_config *config,
                           const step_flags *flags, const tb_settings *settings,
                           tb_err *err)
{
    const tb_opt_config *c = &flags->c;
    const char *name = flags->kind[0] != '\0'    ? flags->kind
                       : flags->alias[0] != '\0' ? flags->alias
                                                 : "sgd";
    *out = tb_optimiser_find(name);
    if (*out == NULL) {
        return tb_fail(err, TB_E_USAGE, "--optimiser %s: use %s", name,
                       tb_optimiser_names());
    }
    *config = (*out)->defaults;
    const struct {
        const char *flag;
        double *to;
        double from;
    } numbers[] = {
        {"lr", &config->lr, c->lr},
        {"momentum", &config->momentum, c->momentum},
        {"dampening", &config->dampening, c->dampening},
        {"weight-decay", &config->weight_decay, c->weight_decay},
        {"beta1", &config->beta1, c->beta1},
        {"beta2", &config->beta2, c->beta2},
        {"alpha", &config->alpha, c->alpha},
        {"lr-decay", &config->lr_decay, c->lr_decay},
        {"eps", &config->eps, c->eps},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (tb_settings_from(settings, numbers[i].flag) > TB_FROM_PRESET) {
            *numbers[i].to = numbers[i].from;
        }
    }
    config->nesterov = c->nesterov;
    return TB_OK;
}

tb_schedule schedule_from_flags(const step_flags *flags, uint64_t total)
{
    return (tb_schedule){.kind = flags->schedule,
                         .warmup = flags->warmup,
                         .every = flags->every,
                         .gamma = flags->gamma,
                         .total = total,
                         .floor = flags->floor};
}
