#include "train/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "data/archive.h"
#include "model/onnx.h"
#include "train/trainer_priv.h"

#define VERSION   1
#define MODEL_MAX ((size_t)1 << 31)

/* Places in progress.npy. */
enum {
    AT_VERSION,
    AT_STEPS,
    AT_SEED,
    AT_ROWS,
    AT_EPOCH_ROWS,
    AT_COUNTED,
    AT_CORRECT,
    AT_STATES,
    N_PROGRESS
};

/* --- writing -------------------------------------------------------------- */

static tb_rc put(tb_archive_writer *w, const char *name, tb_dtype dtype,
                 size_t n, const void *data, tb_err *err)
{
    tb_tensor array =
        tb_tensor_view(dtype, &TB_SHAPE(n), (void *)(uintptr_t)data);
    return tb_archive_put(w, name, &array, err);
}

static tb_rc put_model(tb_archive_writer *w, const tb_graph *graph, tb_err *err)
{
    tb_buf onnx;
    tb_buf_init(&onnx, MODEL_MAX);
    tb_rc rc = tb_onnx_write(&onnx, graph, err);
    if (rc == TB_OK) {
        rc = put(w, "model.npy", TB_U8, onnx.len, onnx.data, err);
    }
    tb_buf_release(&onnx);
    return rc;
}

static tb_rc put_progress(tb_archive_writer *w, const tb_trainer *t,
                          const tb_progress *p, tb_err *err)
{
    const double score[2] = {p->epoch.weight, p->epoch.loss_sum};
    int64_t at[N_PROGRESS] = {[AT_VERSION] = VERSION};
    at[AT_STEPS] = (int64_t)p->steps;
    at[AT_SEED] = (int64_t)p->seed;
    at[AT_ROWS] = (int64_t)p->n_rows;
    at[AT_EPOCH_ROWS] = (int64_t)p->epoch.n_rows;
    at[AT_COUNTED] = (int64_t)p->epoch.n_counted;
    at[AT_CORRECT] = (int64_t)p->epoch.n_correct;
    at[AT_STATES] = (int64_t)t->n_states;
    tb_rc rc = put(w, "progress.npy", TB_I64, N_PROGRESS, at, err);
    return rc == TB_OK ? put(w, "score.npy", TB_F64, 2, score, err) : rc;
}

/* "optimiser_0.npy". */
static void name_state(char out[32], size_t i)
{
    (void)snprintf(out, 32, "optimiser_%u.npy", (unsigned)i);
}

tb_rc tb_checkpoint_encode(tb_buf *out, tb_trainer *t, tb_graph *graph,
                           const tb_progress *progress, const tb_buf *settings,
                           tb_err *err)
{
    tb_archive_writer w;
    tb_archive_start(&w, out);
    tb_rc rc = tb_trainer_store(t, graph, err);
    if (rc == TB_OK) {
        rc = put_model(&w, graph, err);
    }
    if (rc == TB_OK) {
        rc = put(&w, "settings.npy", TB_U8, settings->len, settings->data, err);
    }
    if (rc == TB_OK) {
        rc = put_progress(&w, t, progress, err);
    }
    for (size_t i = 0; rc == TB_OK && i < t->n_states; i++) {
        char name[32];
        name_state(name, i);
        rc = put(&w, name, TB_F32, t->slots.n_floats, t->states[i], err);
    }
    if (rc == TB_OK) {
        rc = tb_archive_finish(&w, err);
    }
    tb_archive_release(&w);
    return rc;
}

/* --- reading -------------------------------------------------------------- */

static tb_rc get_model(tb_checkpoint *c, const tb_archive *a, tb_err *err)
{
    tb_buf onnx;
    tb_buf_init(&onnx, MODEL_MAX);
    tb_rc rc = tb_archive_get_bytes(a, "model.npy", &onnx, err);
    if (rc == TB_OK) {
        rc = tb_onnx_read(&c->graph, onnx.data, onnx.len, NULL, err);
    }
    tb_buf_release(&onnx);
    return rc;
}

static tb_rc get_progress(tb_checkpoint *c, const tb_archive *a, tb_err *err)
{
    double score[2];
    int64_t at[N_PROGRESS];
    tb_rc rc = tb_archive_get(a, "progress.npy", TB_I64, N_PROGRESS, at, err);
    if (rc == TB_OK) {
        rc = tb_archive_get(a, "score.npy", TB_F64, 2, score, err);
    }
    if (rc == TB_OK && at[AT_VERSION] != VERSION) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "%s: a checkpoint of version %lld, only %d is read",
                     a->name, (long long)at[AT_VERSION], VERSION);
    }
    if (rc == TB_OK &&
        (at[AT_STATES] < 0 || at[AT_STATES] > TB_OPT_STATES_MAX)) {
        rc = tb_fail(err, TB_E_MALFORMED, "%s: %lld states of an optimiser",
                     a->name, (long long)at[AT_STATES]);
    }
    if (rc == TB_OK) {
        c->n_states = (size_t)at[AT_STATES];
        c->progress =
            (tb_progress){.steps = (uint64_t)at[AT_STEPS],
                          .seed = (uint64_t)at[AT_SEED],
                          .n_rows = (uint64_t)at[AT_ROWS],
                          .epoch = {.n_rows = (size_t)at[AT_EPOCH_ROWS],
                                    .n_counted = (size_t)at[AT_COUNTED],
                                    .n_correct = (size_t)at[AT_CORRECT],
                                    .weight = score[0],
                                    .loss_sum = score[1]}};
    }
    return rc;
}

/* States are as long as each other; tb_checkpoint_restore compares them with
 * what trains. */
static tb_rc get_states(tb_checkpoint *c, const tb_archive *a, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < c->n_states; i++) {
        char name[32];
        name_state(name, i);
        rc = i > 0 ? TB_OK
                   : tb_archive_count(a, name, TB_F32, &c->n_params, err);
        if (rc != TB_OK) {
            break;
        }
        c->states[i] = tb_mem_aligned(c->n_params, sizeof(float));
        rc = c->states[i] == NULL
                 ? tb_fail(err, TB_E_NOMEM, "%zu states", c->n_params)
                 : tb_archive_get(a, name, TB_F32, c->n_params, c->states[i],
                                  err);
    }
    return rc;
}

tb_rc tb_checkpoint_decode(tb_checkpoint *out, const char *name,
                           const uint8_t *bytes, size_t len, tb_err *err)
{
    tb_archive a;
    *out = (tb_checkpoint){0};
    tb_buf_init(&out->settings, TB_CHECKPOINT_SETTINGS_BYTES);
    tb_rc rc = tb_archive_read(&a, name, bytes, len, err);
    if (rc == TB_OK) {
        rc = get_progress(out, &a, err);
    }
    if (rc == TB_OK) {
        rc = tb_archive_get_bytes(&a, "settings.npy", &out->settings, err);
    }
    if (rc == TB_OK) {
        rc = get_states(out, &a, err);
    }
    if (rc == TB_OK) {
        rc = get_model(out, &a, err);
    }
    if (rc != TB_OK) {
        tb_checkpoint_release(out);
    }
    return rc;
}

tb_rc tb_checkpoint_restore(const tb_checkpoint *c, tb_trainer *t, tb_err *err)
{
    if (c->n_states != t->n_states ||
        (c->n_states > 0 && c->n_params != t->slots.n_floats)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "the checkpoint has %zu states of %zu parameters, this "
                       "training %zu of %zu: use the same optimiser, and "
                       "freeze the same",
                       c->n_states, c->n_params, t->n_states,
                       t->slots.n_floats);
    }
    for (size_t i = 0; i < c->n_states; i++) {
        memcpy(t->states[i], c->states[i], c->n_params * sizeof(float));
    }
    return TB_OK;
}

void tb_checkpoint_release(tb_checkpoint *c)
{
    tb_buf_release(&c->settings);
    tb_graph_free(&c->graph);
    for (size_t i = 0; i < TB_OPT_STATES_MAX; i++) {
        tb_mem_free(c->states[i]);
    }
    *c = (tb_checkpoint){0};
}
