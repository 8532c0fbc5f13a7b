/* sim/verbs.h - the verbs of `tributary-sim`. */
#ifndef TB_SIM_PROGRAM_VERBS_H
#define TB_SIM_PROGRAM_VERBS_H

#include "host/cli.h"

extern const tb_verb verb_run;

#endif
