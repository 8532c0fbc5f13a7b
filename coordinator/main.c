#include "verbs.h"

static const tb_verb *const list[] = {
    &verb_init,          &verb_run,           &verb_invite,
    &verb_start,         &verb_status,        &verb_watch,
    &verb_jobs,          &verb_pause,         &verb_resume,
    &verb_cancel,        &verb_clients,       &verb_models,
    &verb_export,        &verb_replay,        &verb_label,
    &verb_revoke,        &verb_check,         &verb_backup,
    &verb_restore,       &verb_doctor,        &verb_gc,
    &verb_publish,       &verb_rotate,        &verb_place,
    &verb_roster_export, &verb_roster_import,
};

enum { N_VERBS = sizeof list / sizeof list[0] };

int main(int argc, char **argv)
{
    tb_verb verbs[N_VERBS];
    for (size_t i = 0; i < N_VERBS; i++) {
        verbs[i] = *list[i];
    }
    const tb_program program = {
        .name = "tributaryd",
        .summary = "coordinate federated training, keep and serve its models",
        .examples = "tributaryd init fleet\n"
                    "tributaryd run --dir fleet\n"
                    "tributaryd invite --dir fleet kitchen\n"
                    "tributaryd start --dir fleet job.yaml\n"
                    "tributaryd watch --dir fleet\n",
        .notes = "Every verb finds the coordinator's folder by --dir or "
                 "TRIBUTARY_DIR.\nReading verbs work with the daemon down.\n",
        .verbs = verbs,
        .n_verbs = N_VERBS,
    };
    return tb_cli_main(&program, argc, argv);
}
