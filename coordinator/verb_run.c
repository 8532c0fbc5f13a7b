/* run: the daemon itself. */
#include "daemon.h"
#include "verbs.h"

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    return tb_daemon_run(&call->settings[0], err);
}

const tb_verb verb_run = {
    .name = "run",
    .min_args = 0,
    .max_args = 0,
    .help = "serve the fleet until SIGTERM",
    .examples = "tributaryd run --dir fleet\n"
                "tributaryd run --dir fleet --listen tcp://0.0.0.0:7700 "
                "--listen-enrol tcp://0.0.0.0:7701 --advertise fl.example\n"
                "tributaryd run --dir fleet --keep-updates\n",
    .notes = "Prints the bound endpoints, then logs. Settings may stand in "
             "DIR/settings.yaml;\nSIGHUP reads it again, and opens the log "
             "file again. SIGTERM ends within\n5 seconds, in the middle of a "
             "round too: the next start goes on in it.\n",
    .tables = {&tb_daemon_table},
    .run = run,
};
