/* core/compress/passes/unstructured.c - the weights of least magnitude become
 * zero (Han et al. 2015). The model keeps its shape; what shrinks is what it
 * packs into. */
#include "base/mem.h"
#include "compress/pass_priv.h"
#include "model/params.h"

static tb_rc run(tb_graph **out, const tb_graph *graph,
                 const tb_pass_options *options, tb_err *err)
{
    const tb_prune_options prune = {.kind = TB_PRUNE_UNSTRUCTURED,
                                    .scope = options->scope,
                                    .amount = options->amount};
    size_t n = tb_params_count(graph);
    tb_graph *pruned = NULL;
    tb_rc rc = TB_OK;
    uint8_t *keep = tb_mem_array(n, 1);
    if (keep == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "pruning %zu parameters", n);
        goto done;
    }
    rc = tb_prune_mask(keep, graph, NULL, n, &prune, err);
    if (rc == TB_OK) {
        rc = tb_graph_clone(&pruned, graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_params_mask(pruned, keep, n, err);
    }
    if (rc == TB_OK) {
        *out = pruned;
        pruned = NULL;
    }
done:
    tb_graph_free(&pruned);
    tb_mem_free(keep);
    return rc;
}

const tb_pass tb_pass_unstructured = {
    .name = "unstructured",
    .help = "set the weights of least magnitude to zero",
    .run = run,
};
