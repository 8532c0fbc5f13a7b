#include "api/api_priv.h"
#include "base/mem.h"

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

tributary_status tributary_trainer_store(const tributary_trainer *trainer,
                                         tributary_model *model,
                                         tributary_error *error)
{
    tb_err err = {0};
    tb_rc rc = tb_api_need(trainer, "trainer_store", "trainer", &err);
    if (rc == TB_OK) {
        rc = tb_api_need(model, "trainer_store", "model", &err);
    }
    if (rc == TB_OK) {
        rc = tb_trainer_store(trainer->trainer, model->graph, &err);
    }
    return tb_api_status(rc, &err, error);
}
