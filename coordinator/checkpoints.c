/* Checkpoints of open rounds, checkpoints/<hash of the configuration>.sum: made
 * at a clean stop, used by the next start, deleted with their round. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon.h"
#include "work/checkpoint.h"

#define PATH_BYTES 4096
#define SUFFIX     ".sum"

static void path_of(char out[static PATH_BYTES], const tb_daemon *d,
                    const tb_hash *config)
{
    char hex[TB_HASH_HEX_BYTES];
    tb_hash_hex(config, hex);
    (void)snprintf(out, PATH_BYTES, "%s/%s%s",
                   tb_folder_path(d->state.folder, TB_ITEM_CHECKPOINTS), hex,
                   SUFFIX);
}

static void log_result(const tb_daemon *d, const tb_open_round *r,
                       const char *result, const char *why)
{
    size_t n = 0;
    char run[TB_RUN_HEX_BYTES] = "";
    const tb_chronicle_round *round =
        tb_chronicle_find(&d->state.chronicle, &r->config);
    (void)tb_intake_counted(r->intake, &n);
    tb_run_hex(&tb_intake_config(r->intake)->run, run);
    tb_log(why[0] == '\0' ? TB_LOG_INFO : TB_LOG_WARN,
           "event=checkpoint result=%s run=%s round=%u updates=%zu why=\"%s\"",
           result, run, round != NULL ? round->round : 0, n, why);
}

static void seal_round(tb_daemon *d, tb_open_round *r, int64_t deadline_ms)
{
    tb_err err = {0};
    size_t n = 0;
    char path[PATH_BYTES];
    path_of(path, d, &r->config);
    tb_checkpoint c = {.path = path,
                       .master = d->keys.master,
                       .run = tb_intake_config(r->intake)->run,
                       .config = r->config,
                       .row = d->durable_seq};
    tb_rc rc = tb_intake_settle(r->intake, &err);
    (void)tb_intake_counted(r->intake, &n);
    if (rc == TB_OK && n == 0) {
        return; /* nothing to save */
    }
    if (rc == TB_OK) {
        rc = tb_store_chain(d->state.store, c.row, &c.chain, &err);
    }
    if (rc == TB_OK) {
        rc = tb_checkpoint_write(&c, r->intake, deadline_ms, &err);
    }
    log_result(d, r, rc == TB_OK ? "sealed" : "none",
               rc == TB_OK ? "" : err.text);
}

void tb_daemon_seal(tb_daemon *d, int64_t deadline_ms)
{
    for (tb_open_round *r = d->rounds; r != NULL; r = r->next) {
        if (r->users == 0 && tb_intake_sum(r->intake) != NULL) {
            seal_round(d, r, deadline_ms);
        }
    }
}

/* The row must be ours, and each update must count today. */
static tb_rc fits(void *arg, const tb_checkpoint *c, const tb_counted *counted,
                  size_t n, tb_err *err)
{
    tb_daemon *d = arg;
    tb_hash chain;
    tb_rc rc = tb_store_chain(d->state.store, c->row, &chain, err);
    if (rc != TB_OK || !tb_hash_equal(&chain, &c->chain)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "it belongs to another journal than this one");
    }
    for (size_t i = 0; i < n; i++) {
        if (!tb_coordinator_counts(d->state.machine, &c->config,
                                   &counted[i].client, &counted[i].update)) {
            return tb_fail(err, TB_E_MISMATCH,
                           "the update of %s in it does not count any more",
                           counted[i].client.text);
        }
    }
    return TB_OK;
}

void tb_daemon_unseal(tb_daemon *d, tb_open_round *r)
{
    tb_err err = {0};
    char path[PATH_BYTES];
    path_of(path, d, &r->config);
    if (tb_intake_sum(r->intake) == NULL) {
        return;
    }
    tb_checkpoint c = {.path = path,
                       .master = d->keys.master,
                       .run = tb_intake_config(r->intake)->run,
                       .config = r->config};
    tb_rc rc = tb_checkpoint_read(&c, r->intake, fits, d, &err);
    if (rc == TB_OK) {
        log_result(d, r, "used", "");
    } else if (rc != TB_E_NOT_FOUND) {
        log_result(d, r, "ignored", err.text);
        (void)unlink(path);
    }
}

void tb_daemon_drop_checkpoint(tb_daemon *d, const tb_hash *config)
{
    char path[PATH_BYTES];
    path_of(path, d, config);
    (void)unlink(path); /* most rounds have none */
}

/* Whether a file belongs to a round that is open. */
static bool is_needed(const tb_daemon *d, const char *name)
{
    tb_run_status run;
    char path[PATH_BYTES];
    bool needed = false;
    for (size_t i = 0;
         !needed && tb_coordinator_run_status(d->state.machine, i, &run); i++) {
        path_of(path, d, &run.config);
        needed = run.open && strcmp(strrchr(path, '/') + 1, name) == 0;
    }
    return needed;
}

void tb_daemon_sweep_checkpoints(tb_daemon *d)
{
    DIR *dir = opendir(tb_folder_path(d->state.folder, TB_ITEM_CHECKPOINTS));
    if (dir == NULL) {
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] != '.' && !is_needed(d, e->d_name)) {
            (void)unlinkat(dirfd(dir), e->d_name, 0);
        }
    }
    (void)closedir(dir);
}
