#include "train/local.h"

#include <string.h>

#include "base/mem.h"
#include "data/batches.h"

/* Two classes for one output of a loss that wants 0 or 1. */
static bool is_binary(const tb_sample_spec *spec, const tb_loss *loss)
{
    return loss->binary && spec->target == TB_TARGET_CLASS;
}

static tb_rc check_classes(const tb_sample_spec *spec,
                           const tb_loss_layout *layout, tb_err *err)
{
    size_t n_labels = layout->n_labels > 0 ? layout->n_labels : 1;
    if (spec->n_targets != n_labels) {
        return tb_fail(err, TB_E_MISMATCH,
                       "the data has %zu labels a row, the loss was set up for "
                       "%zu",
                       spec->n_targets, n_labels);
    }
    if (spec->n_classes > layout->n_cols) {
        return tb_fail(err, TB_E_MISMATCH,
                       "the model has %zu outputs, the data %zu classes",
                       layout->n_cols, spec->n_classes);
    }
    return TB_OK;
}

static tb_rc check_binary(const tb_sample_spec *spec,
                          const tb_loss_layout *layout, const tb_loss *loss,
                          tb_err *err)
{
    if (spec->n_classes > 2 || spec->n_targets != layout->n_cols ||
        spec->ignores) {
        return tb_fail(err, TB_E_MISMATCH,
                       "loss %s needs labels of 2 classes, one an output; the "
                       "model has %zu outputs, the data %zu classes and %zu "
                       "labels a row",
                       loss->name, layout->n_cols, spec->n_classes,
                       spec->n_targets);
    }
    return TB_OK;
}

static tb_rc check_target(const tb_sample_spec *spec,
                          const tb_loss_layout *layout, const tb_loss *loss,
                          tb_err *err)
{
    bool classes = spec->target == TB_TARGET_CLASS;
    if (is_binary(spec, loss)) {
        return check_binary(spec, layout, loss, err);
    }
    if (loss->target != spec->target) {
        return tb_fail(err, TB_E_MISMATCH,
                       "loss %s needs %s, the data holds %s", loss->name,
                       classes ? "float targets" : "class labels",
                       classes ? "class labels" : "float targets");
    }
    if (classes) {
        return check_classes(spec, layout, err);
    }
    if (spec->n_targets != layout->n_cols) {
        return tb_fail(err, TB_E_MISMATCH,
                       "the model has %zu outputs, the data %zu targets a row",
                       layout->n_cols, spec->n_targets);
    }
    return TB_OK;
}

void tb_fit_targets(const tb_sample_spec *spec, const tb_loss *loss, void *y,
                    size_t n)
{
    unsigned char *at = y;
    for (size_t i = 0; is_binary(spec, loss) && i < n * spec->n_targets; i++) {
        int32_t label = 0;
        memcpy(&label, at + i * sizeof label, sizeof label);
        float value = (float)label;
        memcpy(at + i * sizeof label, &value, sizeof value);
    }
}

tb_rc tb_fit_check(const tb_sample_spec *spec, const tb_tensor *input,
                   const tb_loss_layout *layout, const tb_loss *loss,
                   tb_err *err)
{
    char text[TB_SHAPE_TEXT_BYTES];
    size_t n = 0;
    tb_rc rc = tb_shape_count(&n, &spec->x_shape, err);
    if (rc != TB_OK) {
        return rc;
    }
    size_t batch = input->shape.rank == 0 ? 0 : input->shape.dim[0];
    if (batch == 0 || tb_tensor_count(input) / batch != n) {
        return tb_fail(err, TB_E_MISMATCH,
                       "a sample has %zu values, the model's input is %s", n,
                       tb_shape_text(&input->shape, text));
    }
    if (spec->x_dtype != input->dtype) {
        return tb_fail(err, TB_E_MISMATCH,
                       "samples are %s, the model's input is %s: write the "
                       "scaling of %s into the model",
                       tb_dtype_name(spec->x_dtype),
                       tb_dtype_name(input->dtype),
                       tb_dtype_name(spec->x_dtype));
    }
    return check_target(spec, layout, loss, err);
}

static tb_rc run_epochs(tb_trainer *t, const tb_dataset *data,
                        tb_batches *batches, const tb_local_options *o,
                        tb_score *score, tb_err *err)
{
    size_t total = 0;
    size_t done = 0;
    size_t skip = o->resume ? o->done : 0;
    if (tb_mem_mul(&total, o->epochs, tb_batches_per_epoch(batches)) != 0) {
        return tb_fail(err, TB_E_USAGE, "%zu epochs: too many", o->epochs);
    }
    while (done < total) {
        size_t n = 0;
        const uint32_t *rows = tb_batches_next(batches, &n);
        if (rows == NULL) {
            continue; /* between two epochs */
        }
        if (done < skip) {
            done++;
            continue;
        }
        if (o->schedule != NULL) {
            tb_trainer_set_lr(t, o->lr * tb_schedule_factor(o->schedule, done));
        }
        tb_dataset_batch(data, rows, n, tb_trainer_x(t), tb_trainer_y(t));
        tb_fit_targets(tb_dataset_spec(data), tb_trainer_loss(t),
                       tb_trainer_y(t), n);
        tb_rc rc =
            tb_trainer_step(t, tb_trainer_x(t), tb_trainer_y(t), n, score, err);
        if (rc != TB_OK) {
            return rc;
        }
        done++;
        if (o->progress != NULL && !o->progress(o->arg, done, total, score)) {
            return tb_fail(err, TB_E_CANCELLED,
                           "training stopped after %zu of %zu batches", done,
                           total);
        }
    }
    return TB_OK;
}

tb_rc tb_train_local(tb_trainer *t, const tb_dataset *data,
                     const tb_local_options *options, tb_score *score,
                     tb_err *err)
{
    tb_batches *batches = NULL;
    tb_stream chance;
    *score = (tb_score){0};
    if (options->epochs == 0) {
        return tb_fail(err, TB_E_USAGE, "epochs 0: must be 1 or more");
    }
    const tb_tensor *input = tb_trainer_input(t);
    tb_rc rc = tb_fit_check(tb_dataset_spec(data), input, tb_trainer_layout(t),
                            tb_trainer_loss(t), err);
    if (rc == TB_OK) {
        rc =
            tb_batches_new(&batches, tb_dataset_rows(data), input->shape.dim[0],
                           options->seed, options->round, options->client, err);
    }
    if (rc == TB_OK && options->schedule != NULL) {
        rc = tb_schedule_check(options->schedule, err);
    }
    if (rc == TB_OK) {
        tb_stream_init(&chance, options->seed, options->round, "dropout",
                       options->client);
        uint64_t key = tb_stream_u64(&chance);
        if (options->resume) {
            tb_trainer_resume(t, options->done, key);
        } else {
            tb_trainer_reset(t, key);
        }
        rc = run_epochs(t, data, batches, options, score, err);
    }
    tb_batches_free(&batches);
    return rc;
}
