/* sim/fleet.h - the clients of a simulated run: one folder each below a folder
 * that `tributary data split` made, named as the clients are. Their samples
 * are read when the run first asks for them and stay in memory. */
#ifndef TB_SIM_PROGRAM_FLEET_H
#define TB_SIM_PROGRAM_FLEET_H

#include "data/dataset.h"
#include "host/job.h"
#include "wire/name.h"

typedef struct fleet {
    tb_name *names;    /* [n], sorted; owned */
    char **paths;      /* [n]; owned */
    tb_dataset **data; /* [n]; owned, NULL until read */
    size_t n;
} fleet;

/* Finds the folders "client-..." below dir. Errors: NOT_FOUND (none), LIMIT,
 * IO, NOMEM. */
tb_rc fleet_open(fleet *out, const char *dir, tb_err *err) TB_MUST_CHECK;
void fleet_close(fleet *f);

/* The samples of client i, read as the job says; one thread a client at a
 * time. Errors: as tb_work_dataset. */
tb_rc fleet_data(fleet *f, size_t i, const tb_job *job, const tb_dataset **out,
                 tb_err *err) TB_MUST_CHECK;

#endif
