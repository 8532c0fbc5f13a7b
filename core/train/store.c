/* core/train/store.c - what was learnt, back into a model. Apart from the
 * checkpoint, whose archive would bring zlib into the library. */
#include "base/mem.h"
#include "train/trainer_priv.h"

tb_rc tb_trainer_store(const tb_trainer *t, tb_graph *graph, tb_err *err)
{
    size_t n = tb_buffers_count(graph);
    float *buffers = tb_mem_array(n, sizeof *buffers);
    if (buffers == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu running statistics", n);
    }
    tb_rc rc = tb_buffers_get(t->graph, buffers, n, err);
    if (rc == TB_OK) {
        rc = tb_params_set(graph, t->params, t->slots.n_floats, err);
    }
    if (rc == TB_OK) { /* as many as were got: what may fail has not */
        rc = tb_buffers_set(graph, buffers, n, err);
    }
    tb_mem_free(buffers);
    return rc;
}
