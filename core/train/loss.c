#include "train/loss.h"

#include <math.h>
#include <string.h>

#include "train/loss_priv.h"

const tb_loss *const tb_loss_list[] = {
    &tb_loss_softmax_cross_entropy,
    &tb_loss_bce_with_logits,
    &tb_loss_mse,
    &tb_loss_l1,
    &tb_loss_huber,
    NULL,
};

const tb_loss *tb_loss_find(const char *name)
{
    for (size_t i = 0; tb_loss_list[i] != NULL; i++) {
        if (strcmp(tb_loss_list[i]->name, name) == 0) {
            return tb_loss_list[i];
        }
    }
    return NULL;
}

const char *tb_loss_names(void)
{
    return "softmax_cross_entropy, bce_with_logits, mse, l1 or huber";
}

double tb_score_loss(const tb_score *score)
{
    return score->weight > 0.0 ? score->loss_sum / score->weight : (double)NAN;
}

double tb_score_accuracy(const tb_score *score)
{
    return score->n_counted > 0
               ? (double)score->n_correct / (double)score->n_counted
               : (double)NAN;
}

/* --- options -------------------------------------------------------------- */

/* Each weight finite and 0 or more, and one of them over 0. */
static tb_rc check_weights(const char *what, const float *w, size_t n,
                           tb_err *err)
{
    bool some = false;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(w[i]) || w[i] < 0.0f) {
            return tb_fail(err, TB_E_USAGE, "%s %zu is %g: must be 0 or more",
                           what, i, (double)w[i]);
        }
        some = some || w[i] > 0.0f;
    }
    return some
               ? TB_OK
               : tb_fail(err, TB_E_USAGE, "each %s is 0: nothing counts", what);
}

static tb_rc check_cross_entropy(const tb_loss_options *o, size_t n_cols,
                                 tb_err *err)
{
    if (!(o->smoothing >= 0.0 && o->smoothing < 1.0)) {
        return tb_fail(err, TB_E_USAGE, "label smoothing %g: must be in [0, 1)",
                       o->smoothing);
    }
    if (o->class_weight != NULL && o->n_class_weight != n_cols) {
        return tb_fail(err, TB_E_USAGE,
                       "%zu class weights for %zu classes: give one a class",
                       o->n_class_weight, n_cols);
    }
    return o->class_weight == NULL
               ? TB_OK
               : check_weights("class weight", o->class_weight, n_cols, err);
}

static tb_rc check_pos_weight(const tb_loss_options *o, size_t n_cols,
                              tb_err *err)
{
    if (o->pos_weight == NULL) {
        return TB_OK;
    }
    if (o->n_pos_weight != 1 && o->n_pos_weight != n_cols) {
        return tb_fail(err, TB_E_USAGE,
                       "%zu weights of positive targets for %zu columns: give "
                       "one, or one a column",
                       o->n_pos_weight, n_cols);
    }
    return check_weights("weight of positive targets", o->pos_weight,
                         o->n_pos_weight, err);
}

tb_rc tb_loss_options_check(const tb_loss *loss, const tb_loss_options *o,
                            size_t n_cols, tb_err *err)
{
    bool classes = o->smoothing != 0.0 || o->ignores || o->class_weight != NULL;
    if (classes && loss != &tb_loss_softmax_cross_entropy) {
        return tb_fail(err, TB_E_USAGE,
                       "label smoothing, class weights and an ignored label "
                       "belong to softmax_cross_entropy, not to %s",
                       loss->name);
    }
    if (o->pos_weight != NULL && loss != &tb_loss_bce_with_logits) {
        return tb_fail(err, TB_E_USAGE,
                       "a weight of positive targets belongs to "
                       "bce_with_logits, not to %s",
                       loss->name);
    }
    if (o->delta != 0.0 && loss != &tb_loss_huber) {
        return tb_fail(err, TB_E_USAGE, "delta belongs to huber, not to %s",
                       loss->name);
    }
    if (!(o->delta >= 0.0) || !isfinite(o->delta)) {
        return tb_fail(err, TB_E_USAGE, "delta %g: must be over 0", o->delta);
    }
    tb_rc rc = check_cross_entropy(o, n_cols, err);
    return rc == TB_OK ? check_pos_weight(o, n_cols, err) : rc;
}

/* --- what members share --------------------------------------------------- */

const tb_loss_options *tb_loss_options_of(const tb_loss_batch *b)
{
    static const tb_loss_options none = {0};
    return b->options != NULL ? b->options : &none;
}

tb_rc tb_loss_check_values(const tb_loss_batch *b, tb_err *err)
{
    (void)b;
    (void)err;
    return TB_OK;
}

double tb_loss_weigh_rows(const tb_loss_batch *b)
{
    return (double)b->n_rows;
}

double tb_loss_weight(const tb_loss *loss, const tb_loss_batch *b)
{
    return b->weight > 0.0 ? b->weight : loss->weigh(b);
}

void tb_loss_clear_padding(const tb_loss_batch *b, size_t n)
{
    memset(b->grad + b->n_rows * n, 0,
           (b->n_padded - b->n_rows) * n * sizeof b->grad[0]);
}
