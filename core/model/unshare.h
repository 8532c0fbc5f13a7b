/* core/model/unshare.h - gives tensors their own data that an exporter has
 * found equal and written once. PyTorch's does so for an untrained model: all
 * weights of normalisations are ones, and so are the running variances; one is
 * an initialiser, the others are Identity nodes over it. Trained like that they
 * would move together. */
#ifndef TB_MODEL_UNSHARE_H
#define TB_MODEL_UNSHARE_H

#include "model/graph.h"

/* Bytes of copies that a model may ask for; what is beyond stays shared. */
#define TB_UNSHARE_BYTES ((size_t)1 << 24)

/* Each Identity of an initialiser, but for outputs of the graph, becomes an
 * initialiser of the name that the node's output had. Errors: NOMEM. */
tb_rc tb_graph_unshare(tb_graph *graph, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
