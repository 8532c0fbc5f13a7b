#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_priv.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "own.h"
#include "sealed.h"

enum { STOP_MS = 2000 };

/* --- the connection ------------------------------------------------------- */

/* A message that cannot go now is dropped: both machines say again what got no
 * answer. */
static tb_rc send_message(agent *a, const tb_msg *msg, tb_shared *payload,
                          tb_err *err)
{
    tb_buf envelope;
    tb_buf_init(&envelope, TB_ENVELOPE_BYTES_MAX);
    tb_rc rc = tb_msg_encode(msg, &envelope, err);
    if (rc == TB_OK && a->dial == NULL) {
        rc = tb_fail(err, TB_E_BUSY, "not connected");
    }
    if (rc == TB_OK) {
        const tb_outbound out = {
            .envelope = envelope.data,
            .envelope_bytes = envelope.len,
            .payload = payload,
            .payload_bytes = payload != NULL ? tb_shared_bytes(payload) : 0};
        rc = tb_dial_send(a->dial, &out, err);
        tb_pace_count(&a->pace_out, out.envelope_bytes + out.payload_bytes,
                      tb_clock_ms());
    }
    tb_buf_release(&envelope);
    return rc;
}

tb_rc agent_send(void *arg, const tb_msg *msg, const uint8_t *payload,
                 size_t n_payload, tb_err *err)
{
    tb_shared *shared = NULL;
    tb_buf bytes;
    tb_buf_init(&bytes, n_payload);
    tb_rc rc = TB_OK;
    if (n_payload > 0) {
        rc = tb_buf_put(&bytes, payload, n_payload, err);
        rc = rc == TB_OK ? tb_shared_new(&shared, &bytes, err) : rc;
    }
    if (rc == TB_OK) {
        rc = send_message(arg, msg, shared, err);
    }
    tb_shared_free(&shared);
    tb_buf_release(&bytes);
    return rc;
}

/* Only what would stop us is an error to the machine's actions. */
static tb_rc unless_busy(tb_rc rc)
{
    return rc == TB_E_BUSY || rc == TB_E_FULL ? TB_OK : rc;
}

static tb_rc act_connect(agent *a, tb_err *err)
{
    tb_dial_options options = {0};
    agent_move_dial(a, &options);
    agent_rotate_dial(a, &options);
    return a->dial != NULL ? TB_OK : tb_dial_start(&a->dial, &options, err);
}

tb_rc agent_hang_up(agent *a, tb_err *err)
{
    tb_dial_stats stats;
    if (a->dial == NULL) {
        return TB_OK;
    }
    tb_dial_stats_get(a->dial, &stats);
    a->bytes_in += stats.bytes_in;
    a->bytes_out += stats.bytes_out;
    return tb_dial_stop(&a->dial, STOP_MS, err);
}

/* --- the model of a round ------------------------------------------------- */

/* Drops all files of a folder but the one with this name. */
static void keep_only(const home *h, tb_folder_item item, const tb_hash *name)
{
    char hex[TB_HASH_HEX_BYTES] = "";
    if (name != NULL) {
        tb_hash_hex(name, hex);
    }
    DIR *dir = opendir(tb_folder_path(h->folder, item));
    if (dir == NULL) {
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] != '.' && strcmp(e->d_name, hex) != 0) {
            (void)unlinkat(dirfd(dir), e->d_name, 0);
        }
    }
    (void)closedir(dir);
}

void agent_drop_leftovers(const agent *a)
{
    tb_hash config;
    bool needed = tb_client_sealed(a->machine, &config);
    keep_only(a->options.home, TB_ITEM_SEALED, needed ? &config : NULL);
}

static tb_rc act_find(agent *a, const tb_hash *config, const tb_hash *blob,
                      tb_err *err)
{
    tb_cevent event = {.kind = TB_CEV_FOUND, .config = *config};
    struct stat st;
    char *path = NULL;
    keep_only(a->options.home, TB_ITEM_BLOBS, blob); /* of earlier rounds */
    tb_rc rc = worker_blob_path(&path, a->options.home, blob, err);
    if (rc == TB_OK) {
        event.have = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
        rc = agent_step(a, &event, err);
    }
    tb_mem_free(path);
    return rc;
}

/* A failed write costs a fetch, no more: what is found later says how far it
 * came, and the whole is checked before use. */
static tb_rc act_store(const agent *a, const tb_caction *action, tb_err *err)
{
    char *path = NULL;
    tb_err why = {0};
    tb_rc rc = worker_blob_path(&path, a->options.home, &action->blob, err);
    if (rc != TB_OK || a->inbound == NULL) {
        tb_mem_free(path);
        return rc;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || lseek(fd, (off_t)action->offset, SEEK_SET) < 0) {
        rc = tb_fail_errno(&why, errno, "cannot write %s", path);
    } else {
        rc = tb_file_write_fd(fd, a->inbound->payload,
                              a->inbound->payload_bytes, &why);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (rc != TB_OK) {
        tb_log(TB_LOG_WARN, "event=model_not_stored why=\"%s\"", why.text);
    }
    tb_mem_free(path);
    return TB_OK;
}

/* --- work and its update -------------------------------------------------- */

static tb_rc act_work(agent *a, const tb_caction *action, tb_err *err)
{
    if (a->worker == NULL) {
        return tb_fail(err, TB_E_BUG, "work without data sets");
    }
    agent_count_job(a, &action->round->run);
    a->round = action->round->round;
    tb_log(TB_LOG_INFO, "event=work run=%s round=%u of=%s", a->job, a->round,
           action->round->data_set.text);
    a->working = true;
    return worker_start(a->worker, action->round, &action->config, err);
}

static tb_rc act_block(agent *a, const tb_caction *action, tb_err *err)
{
    const tb_cevent lost = {.kind = TB_CEV_LOST, .config = action->config};
    tb_msg msg = {
        .kind = TB_MSG_BLOCK,
        .u.block = {.upload = action->upload, .index = action->index}};
    tb_shared *payload = NULL;
    char *path = NULL;
    tb_buf sealed;
    tb_buf_init(&sealed, TB_PAYLOAD_BYTES_MAX);
    tb_rc rc = worker_sealed_path(&path, a->options.home, &action->config, err);
    if (rc == TB_OK) {
        rc = sealed_read(path, &action->upload, action->index, &sealed, err);
        if (rc == TB_E_NOT_FOUND || rc == TB_E_MALFORMED) {
            rc = agent_step(a, &lost, err);
            goto done;
        }
    }
    if (rc == TB_OK) {
        rc = tb_shared_new(&payload, &sealed, err);
    }
    if (rc == TB_OK) {
        rc = unless_busy(send_message(a, &msg, payload, err));
    }
done:
    tb_shared_free(&payload);
    tb_buf_release(&sealed);
    tb_mem_free(path);
    return rc;
}

static tb_rc act_settle(agent *a, const tb_caction *action, tb_err *err)
{
    char *path = NULL;
    tb_rc rc =
        own_settle(a->options.home, &action->config, action->accepted, err);
    if (rc == TB_OK) {
        rc = worker_sealed_path(&path, a->options.home, &action->config, err);
    }
    if (rc == TB_OK) {
        char hex[TB_HASH_HEX_BYTES];
        tb_hash_hex(&action->config, hex);
        (void)unlink(path);
        tb_log(TB_LOG_INFO,
               "event=round_over accepted=%s config=%s run=%s round=%u",
               action->accepted ? "yes" : "no", hex, a->job, a->round);
    }
    tb_mem_free(path);
    return rc == TB_OK ? agent_save_status(a, err) : rc;
}

tb_rc agent_act(agent *a, const tb_caction *action, tb_err *err)
{
    switch (action->kind) {
    case TB_CACT_CONNECT:
        return act_connect(a, err);
    case TB_CACT_CLOSE:
        return agent_hang_up(a, err);
    case TB_CACT_SEND:
        return unless_busy(send_message(a, action->msg, NULL, err));
    case TB_CACT_FIND:
        return act_find(a, &action->config, &action->blob, err);
    case TB_CACT_STORE:
        return act_store(a, action, err);
    case TB_CACT_WORK:
        return act_work(a, action, err);
    case TB_CACT_WORK_STOP:
        if (a->worker != NULL) {
            worker_give_up(a->worker);
        }
        return TB_OK;
    case TB_CACT_BLOCK:
        return act_block(a, action, err);
    case TB_CACT_SAVE:
        return tb_file_write(
            tb_folder_path(a->options.home->folder, TB_ITEM_STATE),
            action->bytes, action->n_bytes, 0600, err);
    case TB_CACT_SETTLE:
        return act_settle(a, action, err);
    case TB_CACT_KIND_END:
        break;
    }
    return tb_fail(err, TB_E_BUG, "client action %d", (int)action->kind);
}
