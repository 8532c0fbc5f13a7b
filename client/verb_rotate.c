/* rotate: new keys for this client. */
#include <stdio.h>

#include "ask.h"
#include "crypto/crypto.h"
#include "verbs.h"

typedef struct options {
    char home[HOME_BYTES];
} options;

static const tb_setting rows[] = {HOME_ROW(options)};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = ask_rotate(o->home, err);
    }
    if (rc == TB_OK) {
        (void)printf("rotated: new keys in %s/keys\n", o->home);
    }
    return rc;
}

const tb_verb verb_rotate = {
    .name = "rotate",
    .help = "draw new keys and put them in the place of the old ones",
    .examples = "tributary rotate\n"
                "tributary rotate --home /var/lib/tributary\n",
    .notes = "Always both keys, that of signatures and that of the transport. "
             "Works while\n`tributary run` holds the folder: its round goes "
             "on. Killed at any point, say it again.\n",
    .tables = {&table},
    .run = run,
};
