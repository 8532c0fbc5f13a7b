/* Receipts that clients hold, compared with the journal. Journal and HEAD that
 * were rolled back together are sound in themselves; a receipt names a row and
 * its chain hash, under the coordinator's signature. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "check_priv.h"
#include "fed/client.h"
#include "keys.h"
#include "wire/receipt.h"

#define PATH_BYTES 4096
#define STATE_NAME "state" /* in a client's folder */

#define MEND                                                                   \
    "put the newest copy of the folder back; without one, `tributaryd "        \
    "backup` "                                                                 \
    "this one and restore it: clients go on under a new epoch"

static tb_rc add_epoch(tb_checker *c, const tb_rec_restored *r, uint64_t row,
                       tb_err *err)
{
    if (c->n_epochs == c->cap_epochs) {
        size_t cap = c->cap_epochs > 0 ? 2 * c->cap_epochs : 4;
        tb_check_epoch *at = tb_mem_resize(c->epochs, cap, sizeof *at);
        if (at == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu epochs", cap);
        }
        c->epochs = at;
        c->cap_epochs = cap;
    }
    tb_check_epoch *e = &c->epochs[c->n_epochs++];
    *e = (tb_check_epoch){.epoch = r->epoch, .row = row};
    memcpy(e->id, r->id, sizeof e->id);
    return TB_OK;
}

tb_rc tb_check_note_signer(tb_checker *c, const tb_record *record, uint64_t row,
                           tb_err *err)
{
    if (record->kind == TB_REC_COORDINATOR_KEY) {
        c->moved = record->u.coordinator_key.move.certificate;
    }
    return record->kind == TB_REC_RESTORED
               ? add_epoch(c, &record->u.restored, row, err)
               : TB_OK;
}

/* Whether a key signed it that this folder has, or is about to have. */
static bool is_ours(tb_checker *c, const tb_msg_receipt *receipt)
{
    tb_keys keys = {0};
    bool ours =
        tb_receipt_verify(receipt, c->moved.sign_key, NULL) == TB_OK ||
        (tb_keys_read_public(&keys, c->folder, NULL) == TB_OK &&
         tb_receipt_verify(receipt, keys.certificate.sign_key, NULL) == TB_OK);
    tb_keys_release(&keys);
    return ours;
}

/* What a receipt says of a row, and the journal does not. */
static tb_rc differs(tb_checker *c, const char *path, const tb_client_past *p,
                     tb_err *err)
{
    char means[256];
    tb_err what = {0};
    uint64_t row = p->receipt.sequence;
    uint64_t end = c->out->n_rows;
    const char *whose =
        is_ours(c, &p->receipt) ? "" : " (none of the keys of now signed it)";
    if (row > end) {
        (void)tb_fail(&what, TB_E_MISMATCH,
                      "%s: its receipt names row %llu, and the journal ends "
                      "with row %llu%s",
                      path, (unsigned long long)row, (unsigned long long)end,
                      whose);
        (void)snprintf(means, sizeof means,
                       "journal and HEAD were rolled back together: rows %llu "
                       "to %llu at least are lost, with what was enrolled, "
                       "accepted or published in them",
                       (unsigned long long)end + 1, (unsigned long long)row);
    } else {
        (void)tb_fail(&what, TB_E_MISMATCH,
                      "%s: its receipt names another row %llu than the "
                      "journal holds%s",
                      path, (unsigned long long)row, whose);
        (void)snprintf(means, sizeof means,
                       "journal and HEAD were rolled back together to a row "
                       "before %llu, and the coordinator went on from there: "
                       "that client's update is lost",
                       (unsigned long long)row);
    }
    return tb_check_add(c, TB_FINDING_LOST, &what, means, MEND, err);
}

/* A client that was told of an epoch which this journal knows nothing of. */
static tb_rc other_epoch(tb_checker *c, const char *path,
                         const tb_client_past *p, uint32_t ours, tb_err *err)
{
    tb_err what = {0};
    (void)tb_fail(&what, TB_E_MISMATCH,
                  "%s: this client follows %s epoch %u, the journal is of "
                  "epoch %u",
                  path, p->epoch == ours ? "another" : "a coordinator of",
                  p->epoch, ours);
    return tb_check_add(c, TB_FINDING_LOST, &what,
                        "the folder was rolled back to a time before a "
                        "restore, or is a copy that another one was restored "
                        "from: clients decline its rounds",
                        MEND, err);
}

static tb_rc compare(tb_checker *c, const char *path, const tb_client_past *p,
                     tb_err *err)
{
    static const tb_check_epoch first = {0};
    const tb_check_epoch *now =
        c->n_epochs > 0 ? &c->epochs[c->n_epochs - 1] : &first;
    tb_hash chain;
    tb_err what = {0};
    if (p->epoch > now->epoch ||
        (p->epoch == now->epoch &&
         memcmp(p->epoch_id, now->id, sizeof now->id) != 0)) {
        return other_epoch(c, path, p, now->epoch, err);
    }
    if (p->receipt.sequence == 0) {
        return TB_OK; /* none yet */
    }
    for (size_t i = 0; i < c->n_epochs; i++) {
        if (c->epochs[i].epoch > p->epoch &&
            p->receipt.sequence >= c->epochs[i].row) {
            c->out->n_outdated++; /* the client will hear of it */
            return TB_OK;
        }
    }
    tb_rc rc = tb_store_chain(c->store, p->receipt.sequence, &chain, &what);
    if (rc == TB_OK && tb_hash_equal(&chain, &p->receipt.head)) {
        c->out->n_receipts++;
        return TB_OK;
    }
    return rc == TB_OK || rc == TB_E_NOT_FOUND
               ? differs(c, path, p, err)
               : tb_fail(err, rc, "%s", what.text);
}

static tb_rc look_at(tb_checker *c, const char *path, tb_err *err)
{
    tb_client_past past;
    tb_err what = {0};
    tb_buf bytes;
    tb_buf_init(&bytes, TB_CLIENT_STATE_BYTES_MAX);
    tb_rc rc = tb_file_read(&bytes, path, &what);
    if (rc == TB_OK) {
        rc = tb_client_past_read(&past, bytes.data, bytes.len, &what);
        rc = rc != TB_OK ? tb_err_prefix(&what, rc, "%s", path) : rc;
    }
    tb_buf_release(&bytes);
    if (rc == TB_OK) {
        return compare(c, path, &past, err);
    }
    return rc == TB_E_NOMEM
               ? tb_fail(err, rc, "%s", what.text)
               : tb_check_add(c, TB_FINDING_DAMAGED, &what,
                              "what this client holds could not be compared",
                              "take the receipts of other clients", err);
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* The state of each client whose folder lies in this one. */
static tb_rc look_below(tb_checker *c, const char *at, size_t *n, tb_err *err)
{
    char path[PATH_BYTES];
    tb_rc rc = TB_OK;
    DIR *dir = opendir(at);
    if (dir == NULL) {
        return TB_OK;
    }
    for (struct dirent *e = readdir(dir); e != NULL && rc == TB_OK;
         e = readdir(dir)) {
        int len =
            snprintf(path, sizeof path, "%s/%s/" STATE_NAME, at, e->d_name);
        if (e->d_name[0] != '.' && len > 0 && (size_t)len < sizeof path &&
            is_file(path)) {
            *n += 1;
            rc = look_at(c, path, err);
        }
    }
    (void)closedir(dir);
    return rc;
}

tb_rc tb_check_receipts(tb_checker *c, const char *at, tb_err *err)
{
    char path[PATH_BYTES];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/" STATE_NAME, at);
    if (is_file(at) || is_file(path)) {
        return look_at(c, is_file(at) ? at : path, err);
    }
    tb_rc rc = look_below(c, at, &n, err);
    if (rc == TB_OK && n == 0) {
        rc = tb_fail(err, TB_E_NOT_FOUND,
                     "%s: no client's file " STATE_NAME " in it, nor in a "
                     "folder below: name a client's folder",
                     at);
    }
    return rc;
}
