/* move: leads this client to another place of its federation. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "crypto/crypto.h"
#include "crypto/rotate.h"
#include "home.h"
#include "verbs.h"

typedef struct options {
    char home[HOME_BYTES];
} options;

static const tb_setting rows[] = {HOME_ROW(options)};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static tb_rc read_move(tb_move *out, const char *path, tb_err *err)
{
    tb_err why = {0};
    tb_buf bytes;
    tb_buf_init(&bytes, TB_MOVE_BYTES_MAX);
    tb_rc rc = tb_file_read(&bytes, path, &why);
    bool other = rc == TB_E_LIMIT; /* too large to be one */
    if (rc == TB_OK) {
        rc = tb_move_decode(out, bytes.data, bytes.len, &why);
        other = rc != TB_OK;
    }
    tb_buf_release(&bytes);
    if (other) {
        return tb_fail(err, rc,
                       "%s: is not a file that `tributaryd place` wrote (%s): "
                       "ask the operator of the coordinator for that one",
                       path, why.text);
    }
    return rc == TB_OK ? rc : tb_fail(err, rc, "%s", why.text);
}

/* Whether this client may follow it. */
static tb_rc check_move(const tb_move *move, const char *path, const home *h,
                        tb_err *err)
{
    tb_rc rc =
        tb_move_verify(move, h->fed.root, (uint64_t)tb_clock_unix_s(), err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "%s", path);
    }
    if (move->certificate.serial < h->fed.certificate.serial) {
        rc = tb_fail(err, TB_E_DENIED,
                     "%s: serial %llu is below %llu, which is known here: ask "
                     "for a newer one",
                     path, (unsigned long long)move->certificate.serial,
                     (unsigned long long)h->fed.certificate.serial);
    }
    return rc;
}

/* An agent at work would not look at the new place. */
static tb_rc open_home(home *h, const char *dir, tb_err *err)
{
    tb_err why = {0};
    tb_rc rc = home_open(h, dir, TB_FOLDER_LOCK, &why);
    return rc == TB_OK
               ? rc
               : tb_fail(err, rc, "%s%s", why.text,
                         rc == TB_E_BUSY ? "; end it, move, and start it again"
                                         : "");
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_move move;
    home h = {0};
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = read_move(&move, call->args[0], err);
    }
    if (rc == TB_OK) {
        rc = open_home(&h, o->home, err);
    }
    if (rc == TB_OK) {
        rc = check_move(&move, call->args[0], &h, err);
    }
    if (rc == TB_OK) {
        federation fed = h.fed;
        fed.moved = false;
        fed.certificate = move.certificate;
        memcpy(fed.endpoint, move.endpoint, sizeof fed.endpoint);
        rc = federation_write(h.folder, &fed, err);
    }
    if (rc == TB_OK) {
        (void)printf("moved to %s\n", move.endpoint);
    }
    home_close(&h);
    return rc;
}

const tb_verb verb_move = {
    .name = "move",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .help = "go to where `tributaryd place` says the coordinator is",
    .examples = "tributary move here.move\n",
    .notes = "The root key that the invite named must have signed it. Not "
             "while the agent runs.\n",
    .tables = {&table},
    .run = run,
};
