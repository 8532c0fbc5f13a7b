/* core/train/trainer_step.c - one step of a trainer: pieces of a batch through
 * their plan, their gradients together, clipped, and what the optimiser makes
 * of them. Allocates nothing but a plan for a smaller batch. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tensor/kernels.h"
#include "train/trainer_priv.h"

/* --- running -------------------------------------------------------------- */

typedef struct feed {
    const void *x;
    const void *y;
    size_t n;
    double weight; /* of all pieces; 0: there is but this one */
} feed;

static tb_loss_batch loss_batch(const tb_trainer *t, const feed *rows)
{
    return (tb_loss_batch){.y = rows->y,
                           .n_rows = rows->n,
                           .n_padded = rows->n,
                           .layout = t->head.layout,
                           .options = &t->options.loss_options,
                           .weight = rows->weight};
}

/* Fills the input and pads it, or reads it where it is; runs forward, loss and,
 * if the data was sound, backward. */
static tb_rc run_program(tb_trainer *t, tb_program *p, const feed *rows,
                         tb_score *score, tb_err *err)
{
    size_t n_rows = rows->n;
    size_t row_bytes = tb_tensor_bytes(&p->in) / p->batch;
    uint8_t *in = p->in.data;
    t->head.n_rows = n_rows;
    t->head.weight = rows->weight;
    t->head.score = score;
    tb_exec_set_input(p->exec, 1, rows->y);
    bool there = n_rows == p->batch && (uintptr_t)rows->x % 64 == 0;
    tb_exec_set_input(p->exec, 0, there ? rows->x : NULL);
    if (!there && rows->x != in) {
        memcpy(in, rows->x, n_rows * row_bytes);
    }
    memset(in + n_rows * row_bytes, 0, (p->batch - n_rows) * row_bytes);
    tb_exec_run_part(p->exec, 0, p->n_first);
    tb_rc rc = tb_exec_fault(p->exec, err);
    if (rc == TB_OK) {
        tb_exec_run_part(p->exec, p->n_first, tb_exec_n_calls(p->exec));
    }
    return rc;
}

/* The program for n_rows rows: the one asked for, or one of just as many rows
 * when padding would count. */
static tb_rc choose_program(tb_trainer *t, tb_program **p, size_t n_rows,
                            tb_err *err)
{
    if (!t->couples_rows || n_rows == (*p)->batch) {
        return TB_OK;
    }
    bool fuse = *p == &t->train;
    tb_program *other = fuse ? &t->tail : *p;
    tb_rc rc = TB_OK;
    if (other->batch != n_rows) {
        tb_program_release(other);
        rc = tb_program_make(t, other, n_rows, fuse && t->fuses, err);
        if (rc != TB_OK) {
            tb_program_release(other);
        }
    }
    *p = other;
    return rc;
}

/* Puts the gradients of a program's run into out, or adds them. */
static void gather(const tb_trainer *t, const tb_program *p, float *out,
                   bool add)
{
    for (size_t s = 0; s < t->slots.n; s++) {
        const tb_slot *slot = &t->slots.slot[s];
        float *to = out + slot->offset;
        bool some = t->grad_ids[s] != TB_ID_NONE;
        const float *from = p->grads + p->grad_at[s];
        if (!some && !add) {
            memset(to, 0, slot->n * sizeof to[0]);
        } else if (some && !add) {
            memcpy(to, from, slot->n * sizeof to[0]);
        } else if (some) {
            tb_k_axpy(to, from, slot->n, 1.0f);
        }
    }
}

/* Runs all rows, in pieces of t->rows; *p is the program asked for, and then
 * the one that ran last. out (may be NULL) gets the gradient of the mean. */
static tb_rc run_pieces(tb_trainer *t, tb_program **p, const feed *rows,
                        float *out, tb_score *score, tb_err *err)
{
    if (rows->n == 0 || rows->n > t->options.batch) {
        return tb_fail(err, TB_E_MISMATCH, "%zu rows in a step of 1 to %zu",
                       rows->n, t->options.batch);
    }
    tb_loss_batch all = loss_batch(t, rows);
    tb_rc rc = t->options.loss->check(&all, err);
    bool one = rows->n <= t->rows;
    feed piece = {.weight =
                      one || rc != TB_OK ? 0.0 : t->options.loss->weigh(&all)};
    size_t row_bytes = tb_tensor_bytes(&t->input) / t->options.batch;
    uint64_t pieces = (t->options.batch - 1) / t->rows + 1;
    tb_program *wish = *p;
    tb_score sum = {0};
    for (size_t at = 0; rc == TB_OK && at < rows->n; at += piece.n) {
        size_t left = rows->n - at;
        piece.x = (const uint8_t *)rows->x + at * row_bytes;
        piece.y = (const float *)rows->y + at * t->y_cols;
        piece.n = left < t->rows ? left : t->rows;
        t->chance.step = t->step * pieces + at / t->rows;
        *p = wish;
        rc = choose_program(t, p, piece.n, err);
        if (rc == TB_OK) {
            rc = run_program(t, *p, &piece, &sum, err);
        }
        if (rc == TB_OK && out != NULL) {
            gather(t, *p, out, at > 0);
        }
    }
    if (rc == TB_OK) {
        score->n_rows += sum.n_rows;
        score->n_counted += sum.n_counted;
        score->n_correct += sum.n_correct;
        score->weight += sum.weight;
        score->loss_sum += sum.loss_sum;
    }
    return rc;
}

/* --- moving --------------------------------------------------------------- */

/* w = keep w - rate (g + offset) + rate mu anchor; a fused slot has done its
 * part of it. keep already holds the pull of mu. */
static void move_linear(tb_trainer *t, const tb_slot *slot, const float *g)
{
    float *w = t->params + slot->offset;
    if (g != NULL) {
        tb_k_axpby(w, g, slot->n, -t->rates.rate, t->rates.keep);
    }
    if (t->offset != NULL) {
        tb_k_axpy(w, t->offset + slot->offset, slot->n, -t->rates.rate);
    }
    if (t->anchor != NULL) {
        tb_k_axpy(w, t->anchor + slot->offset, slot->n, t->rates.rate * t->mu);
    }
}

/* Adds what the hooks say to g: mu (w - anchor) + offset. */
static void add_hooks(const tb_trainer *t, const tb_slot *slot, float *g)
{
    if (t->anchor != NULL) {
        tb_k_axpy(g, t->params + slot->offset, slot->n, t->mu);
        tb_k_axpy(g, t->anchor + slot->offset, slot->n, -t->mu);
    }
    if (t->offset != NULL) {
        tb_k_axpy(g, t->offset + slot->offset, slot->n, 1.0f);
    }
}

/* The gradient of a slot after a run: of all pieces, or of the one; NULL: the
 * loss does not depend on it, or its product has moved the parameter. */
static float *gradient_of(const tb_trainer *t, const tb_program *p, size_t s)
{
    if (t->grad_ids[s] == TB_ID_NONE || p->fused[s]) {
        return NULL;
    }
    return t->sum != NULL ? t->sum + t->slots.slot[s].offset
                          : p->grads + p->grad_at[s];
}

/* Clips all gradients together. */
static void clip(const tb_trainer *t, const tb_program *p)
{
    const tb_clip *c = &t->options.clip;
    double squares = 0.0;
    for (size_t s = 0; s < t->slots.n; s++) {
        float *g = gradient_of(t, p, s);
        size_t n = t->slots.slot[s].n;
        if (g != NULL && c->value > 0.0) {
            tb_clip_value(g, n, c->value);
        }
        if (g != NULL && c->norm > 0.0) {
            squares += tb_clip_squares(g, n);
        }
    }
    double factor =
        c->norm > 0.0 ? tb_clip_factor(sqrt(squares), c->norm) : 1.0;
    for (size_t s = 0; factor < 1.0 && s < t->slots.n; s++) {
        float *g = gradient_of(t, p, s);
        if (g != NULL) {
            tb_k_affine(g, g, t->slots.slot[s].n, (float)factor, 0.0f);
        }
    }
}

/* The optimiser's step by gradients that are all there. */
static void move_by_gradient(tb_trainer *t, const tb_program *p)
{
    for (size_t s = 0; s < t->slots.n; s++) {
        float *g = gradient_of(t, p, s);
        if (g != NULL) {
            add_hooks(t, &t->slots.slot[s], g);
        }
    }
    clip(t, p);
    for (size_t s = 0; s < t->slots.n; s++) {
        const tb_slot *slot = &t->slots.slot[s];
        float *state[TB_OPT_STATES_MAX] = {0};
        float *g = gradient_of(t, p, s);
        for (size_t i = 0; i < t->n_states; i++) {
            state[i] = t->states[i] + slot->offset;
        }
        if (g != NULL) {
            t->options.optimiser->update(&t->options.config, t->step,
                                         t->params + slot->offset, g, state,
                                         slot->n);
        }
    }
}

static void apply_mask(const tb_trainer *t)
{
    for (size_t i = 0; i < t->slots.n_floats; i++) {
        t->params[i] = t->keep[i] != 0 ? t->params[i] : 0.0f;
    }
}

tb_rc tb_trainer_step(tb_trainer *t, const void *x, const void *y,
                      size_t n_rows, tb_score *score, tb_err *err)
{
    const tb_optimiser *opt = t->options.optimiser;
    tb_score unread = {0};
    tb_program *p = &t->train;
    const feed rows = {.x = x, .y = y, .n = n_rows};
    (void)opt->linear(&t->options.config, &t->rates.keep, &t->rates.rate);
    if (t->anchor != NULL) {
        t->rates.keep -= t->rates.rate * t->mu;
    }
    tb_rc rc =
        run_pieces(t, &p, &rows, t->sum, score != NULL ? score : &unread, err);
    if (rc != TB_OK) {
        return rc;
    }
    t->step++;
    if (t->fuses) {
        for (size_t s = 0; s < t->slots.n; s++) {
            if (t->grad_ids[s] != TB_ID_NONE) {
                move_linear(t, &t->slots.slot[s], gradient_of(t, p, s));
            }
        }
    } else {
        move_by_gradient(t, p);
    }
    if (t->keep != NULL) {
        apply_mask(t);
    }
    return TB_OK;
}

tb_rc tb_trainer_gradient(tb_trainer *t, const void *x, const void *y,
                          size_t n_rows, float *grad, tb_err *err)
{
    tb_score unread = {0};
    tb_program *p = &t->full;
    const feed rows = {.x = x, .y = y, .n = n_rows};
    if (p->exec == NULL) {
        tb_rc rc = tb_program_make(t, p, t->rows, false, err);
        if (rc != TB_OK) {
            tb_program_release(p);
            return rc;
        }
    }
    return run_pieces(t, &p, &rows, grad, &unread, err);
}
