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

static tb_rc read_move(tb_move *out, const char *path, const home *h,
                       tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, TB_MOVE_BYTES_MAX);
    tb_rc rc = tb_file_read(&bytes, path, err);
    if (rc == TB_OK) {
        rc = tb_move_decode(out, bytes.data, bytes.len, err);
    }
    if (rc == TB_OK) {
        rc = tb_move_verify(out, h->fed.root, (uint64_t)tb_clock_unix_s(), err);
    }
    if (rc == TB_OK && out->certificate.serial < h->fed.certificate.serial) {
        rc = tb_fail(err, TB_E_DENIED,
                     "%s: serial %llu is below %llu, which is known here", path,
                     (unsigned long long)out->certificate.serial,
                     (unsigned long long)h->fed.certificate.serial);
    }
    tb_buf_release(&bytes);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_move move;
    home h = {0};
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = home_open(&h, o->home, TB_FOLDER_LOCK, err);
    }
    if (rc == TB_OK) {
        rc = read_move(&move, call->args[0], &h, err);
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
    .notes = "The root key that the invite named must have signed it.\n",
    .tables = {&table},
    .run = run,
};
