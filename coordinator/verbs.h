/* coordinator/verbs.h - the verbs of `tributaryd`, one file each or a few that
 * are alike. */
#ifndef TB_COORDINATOR_VERBS_H
#define TB_COORDINATOR_VERBS_H

#include "host/cli.h"

extern const tb_verb verb_init;
extern const tb_verb verb_doctor;
extern const tb_verb verb_publish;
extern const tb_verb verb_run;
extern const tb_verb verb_invite;
extern const tb_verb verb_label;
extern const tb_verb verb_revoke;
extern const tb_verb verb_rotate;
extern const tb_verb verb_place;
extern const tb_verb verb_roster_export;
extern const tb_verb verb_roster_import;
extern const tb_verb verb_start;
extern const tb_verb verb_status;
extern const tb_verb verb_watch;
extern const tb_verb verb_jobs;
extern const tb_verb verb_pause;
extern const tb_verb verb_resume;
extern const tb_verb verb_cancel;
extern const tb_verb verb_clients;
extern const tb_verb verb_models;
extern const tb_verb verb_export;
extern const tb_verb verb_replay;
extern const tb_verb verb_check;
extern const tb_verb verb_gc;
extern const tb_verb verb_backup;
extern const tb_verb verb_restore;

#endif
