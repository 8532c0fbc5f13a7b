/* core/api/api_priv.h - what the files of the C library share: its handles over
 * graph, executor and trainer, and our errors as the caller's. */
#ifndef TB_API_API_PRIV_H
#define TB_API_API_PRIV_H

#include <tributary.h>

#include "base/err.h"
#include "model/graph.h"
#include "train/trainer.h"

struct tributary_model {
    tb_graph *graph; /* owned */
};

/* Tells the caller: fills *error (if not NULL) from rc and err. */
tributary_status tb_api_status(tb_rc rc, const tb_err *err,
                               tributary_error *error) TB_NONNULL(2);

/* USAGE when an argument that must be there is NULL: names the function. */
tb_rc tb_api_need(const void *argument, const char *function, const char *name,
                  tb_err *err) TB_NONNULL(2, 3) TB_MUST_CHECK;

/* Reads "key=value ..." on top of the defaults. Errors: USAGE (names the key,
 * and the nearest when it is not known). */
tb_rc tb_api_options(tb_trainer_options *out, const char *text, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
