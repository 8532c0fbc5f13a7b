/* The checkpoints that a check looks at: sums of open rounds. Nothing is lost
 * with one, as the spool holds what it was made of. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "check_priv.h"
#include "work/checkpoint.h"

#define SUFFIX     ".sum"
#define PATH_BYTES 4096

#define MEANS                                                                  \
    "it is not used: the next start reads the spool instead, which takes "     \
    "longer"
#define MEND "nothing: the next start deletes it"

static tb_rc add_finding(tb_checker *c, tb_rc rc, const tb_err *what,
                         tb_err *err)
{
    if (rc == TB_E_NOMEM) {
        return tb_fail(err, rc, "%s", what->text);
    }
    return tb_check_add(c, TB_FINDING_HARMLESS, what, MEANS, MEND, err);
}

/* The round that a file is named after, or NULL. */
static const tb_kept_round *round_of(const tb_checker *c, const char *name)
{
    const tb_kept_round *found = NULL;
    for (size_t i = 0; i < c->n_rounds; i++) {
        char hex[TB_HASH_HEX_BYTES];
        char want[TB_HASH_HEX_BYTES + sizeof SUFFIX];
        tb_hash_hex(&c->rounds[i].config, hex);
        (void)snprintf(want, sizeof want, "%s%s", hex, SUFFIX);
        if (strcmp(name, want) == 0) {
            found = &c->rounds[i]; /* the newest of this configuration */
        }
    }
    return found;
}

/* Every record opens, and the row that it stands on is ours. */
static tb_rc look_at(tb_checker *c, const tb_kept_round *r, const char *path,
                     tb_err *what)
{
    tb_hash chain;
    tb_checkpoint sum = {
        .path = path, .master = c->master, .run = r->run, .config = r->config};
    tb_rc rc = tb_checkpoint_look(&sum, what);
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_store_chain(c->store, sum.row, &chain, what);
    if (rc == TB_E_NOT_FOUND ||
        (rc == TB_OK && !tb_hash_equal(&chain, &sum.chain))) {
        rc = tb_fail(what, TB_E_MISMATCH,
                     "%s: it belongs to another journal than this one", path);
    }
    return rc;
}

static tb_rc check_sum(tb_checker *c, const char *path, tb_err *err)
{
    tb_err what = {0};
    const char *name = strrchr(path, '/') + 1;
    const char *end = strrchr(name, '.');
    const tb_kept_round *r = round_of(c, name);
    if (r == NULL && (c->in_use || (end != NULL && strcmp(end, ".tmp") == 0))) {
        return TB_OK; /* of a newer round, or the writing was cut off */
    }
    if (r == NULL) {
        tb_rc rc = tb_fail(&what, TB_E_MISMATCH,
                           "%s: is not named after a round", path);
        return add_finding(c, rc, &what, err);
    }
    if (!r->open) {
        return TB_OK; /* a kill came between the row and the removal */
    }
    tb_rc rc = look_at(c, r, path, &what);
    c->out->n_sums += rc == TB_OK;
    if (rc == TB_OK || (rc == TB_E_NOT_FOUND && c->in_use)) {
        return TB_OK;
    }
    rc = tb_err_prefix(&what, rc, "the checkpoint of round %u", r->round);
    return add_finding(c, rc, &what, err);
}

tb_rc tb_check_sums(tb_checker *c, tb_err *err)
{
    char path[PATH_BYTES];
    tb_rc rc = TB_OK;
    const char *at = tb_folder_path(c->folder, TB_ITEM_CHECKPOINTS);
    DIR *dir = c->whole && c->master != NULL ? opendir(at) : NULL;
    if (dir == NULL) {
        return TB_OK; /* a folder without one is whole */
    }
    for (struct dirent *e = readdir(dir); e != NULL && rc == TB_OK;
         e = readdir(dir)) {
        if (e->d_name[0] != '.') {
            (void)snprintf(path, sizeof path, "%s/%s", at, e->d_name);
            rc = check_sum(c, path, err);
        }
    }
    (void)closedir(dir);
    return rc;
}
