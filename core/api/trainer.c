#include "api/api_priv.h"
#include "base/mem.h"
#include "model/params.h"

struct tributary_trainer {
    tb_trainer *trainer; /* owned */
};

tributary_status tributary_trainer_new(tributary_trainer **out,
                                       const tributary_model *model,
                                       const char *options,
                                       tributary_error *error)
{
    tb_err err = {0};
    tributary_trainer *t = NULL;
    tb_trainer_options how;
    tb_rc rc = tb_api_need(out, "trainer_new", "out", &err);
    if (rc == TB_OK) {
        *out = NULL;
        rc = tb_api_need(model, "trainer_new", "model", &err);
    }
    if (rc == TB_OK) {
        rc = tb_api_options(&how, options, &err);
    }
    if (rc == TB_OK) {
        t = tb_mem_array(1, sizeof *t);
        rc = t != NULL ? TB_OK : tb_fail(&err, TB_E_NOMEM, "trainer");
    }
    if (rc == TB_OK) {
        rc = tb_trainer_new(&t->trainer, model->graph, &how, &err);
    }
    if (rc == TB_OK) {
        *out = t;
        t = NULL;
    }
    tributary_trainer_free(&t);
    return tb_api_status(rc, &err, error);
}

void tributary_trainer_free(tributary_trainer **trainer)
{
    if (trainer != NULL && *trainer != NULL) {
        tb_trainer_free(&(*trainer)->trainer);
        tb_mem_free(*trainer);
        *trainer = NULL;
    }
}

tributary_status tributary_trainer_step(tributary_trainer *trainer,
                                        const void *x, const void *y,
                                        size_t n_rows, double *loss,
                                        tributary_error *error)
{
    tb_err err = {0};
    tb_score score = {0};
    tb_rc rc = tb_api_need(trainer, "trainer_step", "trainer", &err);
    if (rc == TB_OK) {
        rc = tb_api_need(x, "trainer_step", "x", &err);
    }
    if (rc == TB_OK) {
        rc = tb_api_need(y, "trainer_step", "y", &err);
    }
    if (rc == TB_OK) {
        rc = tb_trainer_step(trainer->trainer, x, y, n_rows, &score, &err);
    }
    if (rc == TB_OK && loss != NULL) {
        *loss = tb_score_loss(&score);
    }
    return tb_api_status(rc, &err, error);
}

tributary_status tributary_trainer_set_lr(tributary_trainer *trainer, double lr,
                                          tributary_error *error)
{
    tb_err err = {0};
    tb_rc rc = tb_api_need(trainer, "trainer_set_lr", "trainer", &err);
    if (rc == TB_OK && !(lr > 0 && lr < 1e9)) {
        rc = tb_fail(&err, TB_E_USAGE, "lr %g: must be over 0", lr);
    }
    if (rc == TB_OK) {
        tb_trainer_set_lr(trainer->trainer, lr);
    }
    return tb_api_status(rc, &err, error);
}

/* Running statistics of the trainer to another graph, if it has some. */
static tb_rc store_buffers(tb_graph *to, const tb_graph *from, tb_err *err)
{
    size_t n = tb_buffers_count(from);
    if (n == 0) {
        return TB_OK;
    }
    float *buffers = tb_mem_array(n, sizeof *buffers);
    if (buffers == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu statistics", n);
    }
    tb_rc rc = tb_buffers_get(from, buffers, n, err);
    if (rc == TB_OK) {
        rc = tb_buffers_set(to, buffers, n, err);
    }
    tb_mem_free(buffers);
    return rc;
}

tributary_status tributary_trainer_store(const tributary_trainer *trainer,
                                         tributary_model *model,
                                         tributary_error *error)
{
    tb_err err = {0};
    tb_rc rc = tb_api_need(trainer, "trainer_store", "trainer", &err);
    if (rc == TB_OK) {
        rc = tb_api_need(model, "trainer_store", "model", &err);
    }
    size_t n = rc == TB_OK ? tb_trainer_n_params(trainer->trainer) : 0;
    if (rc == TB_OK && n != tb_params_count(model->graph)) {
        rc = tb_fail(&err, TB_E_MISMATCH,
                     "%zu parameters learnt, the model has %zu", n,
                     tb_params_count(model->graph));
    }
    if (rc == TB_OK) {
        rc = store_buffers(model->graph, tb_trainer_graph(trainer->trainer),
                           &err);
    }
    if (rc == TB_OK) {
        rc = tb_params_set(model->graph, tb_trainer_params(trainer->trainer), n,
                           &err);
    }
    return tb_api_status(rc, &err, error);
}
