/* tests/unit/coordinator/home.h - a coordinator's folder with keys in it. */
#ifndef TB_TESTS_UNIT_COORDINATOR_HOME_H
#define TB_TESTS_UNIT_COORDINATOR_HOME_H

#include <stdio.h>

#include "crypto/crypto.h"
#include "keys.h"
#include "support/check.h"
#include "support/folder.h"

typedef struct home {
    char dir[512];
    char master[512];
} home;

/* A new folder and its keys below `folder`. */
static inline home make_home(const char *folder)
{
    tb_err err;
    home h;
    tb_folder *f = NULL;
    (void)snprintf(h.dir, sizeof h.dir, "%s/fleet", folder);
    (void)snprintf(h.master, sizeof h.master, "%s/master", folder);
    CHECK_OK(tb_crypto_init(&err), err);
    CHECK_OK(tb_folder_create(h.dir, TB_FOLDER_COORDINATOR, &err), err);
    CHECK_OK(
        tb_folder_open(&f, h.dir, TB_FOLDER_COORDINATOR, TB_FOLDER_LOCK, &err),
        err);
    CHECK_OK(tb_keys_create(f, h.master, &err), err);
    tb_folder_close(&f);
    return h;
}

#endif
