/* core/model/graph_priv.h - what the files of the graph share. */
#ifndef TB_MODEL_GRAPH_PRIV_H
#define TB_MODEL_GRAPH_PRIV_H

#include "model/graph.h"

/* Room for one more element of size bytes behind n; *array is a pointer to
 * elements, cap counts them. Errors: NOMEM, and the array is as it was. */
tb_rc tb_graph_room_for_one(void *array, size_t *cap, size_t n, size_t size,
                            tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
