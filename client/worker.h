/* client/worker.h - the thread that does a round's work: unpack the model,
 * train on the own data, seal the update, sync it to disk. One job at a time;
 * the agent's thread starts it and takes its result. */
#ifndef TB_CLIENT_WORKER_H
#define TB_CLIENT_WORKER_H

#include "fed/client.h"
#include "home.h"

/* One of the client's data sets: the name that jobs know it by, and where it
 * lies. Borrowed texts. */
typedef struct data_set {
    tb_name name;
    const char *path;
} data_set;

typedef struct worker worker;

/* home and sets are borrowed and must outlive it. Errors: NOMEM, IO. */
tb_rc worker_new(worker **out, const home *h, const data_set *sets,
                 size_t n_sets, tb_err *err) TB_MUST_CHECK;

/* Gives up the job at hand, joins the thread and nulls *w. NULL is fine. */
void worker_free(worker **w);

/* Starts a job; none is running. Errors: NOMEM. */
tb_rc worker_start(worker *w, const tb_round_config *config,
                   const tb_hash *hash, tb_err *err) TB_MUST_CHECK;

/* Asks the job to give up; its result still comes. */
void worker_give_up(worker *w);

/* Readable when a result is there. For poll(2). */
int worker_fd(const worker *w);

/* What a job came to; rc as TB_CEV_WORKED wants it. */
typedef struct worker_result {
    tb_hash config;
    tb_rc rc;
    tb_sealed sealed;
    tb_err err;
    double seconds;
    uint32_t weight;
} worker_result;

/* Takes the result; false when there is none yet. */
bool worker_take(worker *w, worker_result *out);

/* Paths, for tb_mem_free: of a blob while it is fetched, and of the sealed
 * update of a round. Errors: NOMEM. */
tb_rc worker_blob_path(char **out, const home *h, const tb_hash *stored,
                       tb_err *err) TB_MUST_CHECK;
tb_rc worker_sealed_path(char **out, const home *h, const tb_hash *config,
                         tb_err *err) TB_MUST_CHECK;

#endif
