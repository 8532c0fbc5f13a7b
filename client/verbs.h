/* client/verbs.h - the verbs of `tributary`, one file each. */
#ifndef TB_CLIENT_VERBS_H
#define TB_CLIENT_VERBS_H

#include "host/cli.h"

extern const tb_verb verb_join;
extern const tb_verb verb_doctor;
extern const tb_verb verb_run;
extern const tb_verb verb_rotate;
extern const tb_verb verb_move;
extern const tb_verb verb_status;
extern const tb_verb verb_pull;
extern const tb_verb verb_predict;
extern const tb_verb verb_model_new;
extern const tb_verb verb_model_inspect;
extern const tb_verb verb_model_train;
extern const tb_verb verb_model_eval;
extern const tb_verb verb_model_quantize;
extern const tb_verb verb_model_prune;
extern const tb_verb verb_data_split;

#endif
