#include <string.h>

#include "api/api_priv.h"
#include "base/mem.h"
#include "exec/exec.h"

struct tributary_session {
    tb_exec *exec; /* owned */
    size_t n_inputs;
    size_t n_outputs;
};

tributary_status tributary_session_new(tributary_session **out,
                                       const tributary_model *model,
                                       size_t batch, tributary_error *error)
{
    tb_err err = {0};
    tributary_session *s = NULL;
    tb_rc rc = tb_api_need(out, "session_new", "out", &err);
    if (rc == TB_OK) {
        *out = NULL;
        rc = tb_api_need(model, "session_new", "model", &err);
    }
    if (rc == TB_OK) {
        s = tb_mem_array(1, sizeof *s);
        rc = s != NULL ? TB_OK : tb_fail(&err, TB_E_NOMEM, "session");
    }
    if (rc == TB_OK) {
        s->n_inputs = model->graph->n_inputs;
        s->n_outputs = model->graph->n_outputs;
        rc = tb_exec_new(&s->exec, model->graph, batch, &err);
    }
    if (rc == TB_OK) {
        *out = s;
        s = NULL;
    }
    tributary_session_free(&s);
    return tb_api_status(rc, &err, error);
}

void tributary_session_free(tributary_session **session)
{
    if (session != NULL && *session != NULL) {
        tb_exec_free(&(*session)->exec);
        tb_mem_free(*session);
        *session = NULL;
    }
}

void *tributary_session_input(tributary_session *session, size_t i,
                              size_t *n_bytes)
{
    const tb_tensor *t = session != NULL && i < session->n_inputs
                             ? tb_exec_input(session->exec, i)
                             : NULL;
    if (n_bytes != NULL) {
        *n_bytes = t != NULL ? tb_tensor_bytes(t) : 0;
    }
    return t != NULL ? t->data : NULL;
}

tributary_status tributary_session_bind(tributary_session *session, size_t i,
                                        const void *data, size_t n_bytes,
                                        tributary_error *error)
{
    tb_err err = {0};
    size_t want = 0;
    void *to = tributary_session_input(session, i, &want);
    tb_rc rc = tb_api_need(session, "session_bind", "session", &err);
    if (rc == TB_OK && n_bytes > 0) {
        rc = tb_api_need(data, "session_bind", "data", &err);
    }
    if (rc == TB_OK && i >= session->n_inputs) {
        rc = tb_fail(&err, TB_E_NOT_FOUND, "input %zu of %zu", i,
                     session->n_inputs);
    }
    if (rc == TB_OK && n_bytes != want) {
        rc = tb_fail(&err, TB_E_MISMATCH,
                     "%zu bytes for input %zu of %zu bytes", n_bytes, i, want);
    }
    if (rc == TB_OK && n_bytes > 0) {
        memcpy(to, data, n_bytes);
    }
    return tb_api_status(rc, &err, error);
}

tributary_status tributary_session_run(tributary_session *session,
                                       tributary_error *error)
{
    tb_err err = {0};
    tb_rc rc = tb_api_need(session, "session_run", "session", &err);
    if (rc == TB_OK) {
        tb_exec_run(session->exec);
        rc = tb_exec_fault(session->exec, &err);
    }
    return tb_api_status(rc, &err, error);
}

const void *tributary_session_output(const tributary_session *session, size_t i,
                                     size_t *n_bytes)
{
    const tb_tensor *t = session != NULL && i < session->n_outputs
                             ? tb_exec_output(session->exec, i)
                             : NULL;
    if (n_bytes != NULL) {
        *n_bytes = t != NULL ? tb_tensor_bytes(t) : 0;
    }
    return t != NULL ? t->data : NULL;
}
