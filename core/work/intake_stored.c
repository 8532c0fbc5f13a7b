/* Updates that lie in the spool: how they come into the sum and out of it
 * again, and what the sum has in it. intake.c takes them as they come. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "work/intake_priv.h"

/* --- what a restart has left of an upload --------------------------------- */

void tb_intake_find(tb_intake *in, const tb_order *order, tb_verdict *verdict)
{
    const tb_upload_ref *ref = &order->upload;
    (void)pthread_mutex_lock(&in->spool_lock);
    const tb_spool_upload *head = tb_spool_find(in->spool, &ref->upload);
    verdict->n_blocks = head != NULL && tb_in_is_same(head, ref)
                            ? tb_spool_next(in->spool, &ref->upload)
                            : 0;
    (void)pthread_mutex_unlock(&in->spool_lock);
    verdict->rc = TB_OK;
}

static tb_rc read_block(tb_in_turn *t, const tb_upload_id *id, uint32_t index)
{
    t->s->sealed.len = 0;
    (void)pthread_mutex_lock(&t->in->spool_lock);
    tb_rc rc = tb_spool_read(t->in->spool, id, index, &t->s->sealed, &t->err);
    (void)pthread_mutex_unlock(&t->in->spool_lock);
    return rc;
}

/* Reads a block back and adds what is in it. */
static tb_rc read_and_add(tb_in_turn *t, const tb_upload_id *id, uint32_t index)
{
    tb_rc rc = read_block(t, id, index);
    if (rc == TB_OK) {
        const tb_buf *sealed = &t->s->sealed;
        tb_spool_block block = {sealed->data, sealed->len,
                                tb_hash_of(sealed->data, sealed->len)};
        rc = tb_in_open_and_add(t, index, &block);
    }
    return rc;
}

void tb_intake_add_found(tb_intake *in, const tb_order *order,
                         tb_verdict *verdict)
{
    tb_in_turn t;
    tb_rc rc = tb_in_begin_turn(&t, in, order);
    if (rc == TB_OK) {
        rc = tb_in_take_upload(&t, order);
    }
    if (rc == TB_OK) {
        rc = read_and_add(&t, &order->upload.upload, order->index);
    }
    tb_in_end_turn(&t, rc, verdict);
}

/* --- into the sum and out of it ------------------------------------------- */

/* Takes back value blocks [1, end) of an upload that had been added. When it
 * fails midway, another call goes on from there. */
static tb_rc subtract(tb_in_turn *t, const tb_upload_id *id, uint32_t end)
{
    tb_rc rc = TB_OK;
    tb_update_sink sink = tb_in_sink_of(t);
    tb_buf *sealed = &t->s->sealed;
    for (uint32_t i = 1 + t->u->n_undone; i < end && rc == TB_OK; i++) {
        rc = read_block(t, id, i);
        if (rc == TB_OK) {
            rc = tb_opener_block(t->u->opener, i, sealed->data, sealed->len,
                                 t->s->plain, &t->err);
        }
        if (rc == TB_OK) {
            (void)pthread_mutex_lock(&t->into->sum_lock);
            rc = tb_update_block_subtract(&sink, i, t->s->plain,
                                          sealed->len - TB_SEAL_TAG_BYTES,
                                          t->weight, &t->err);
            (void)pthread_mutex_unlock(&t->into->sum_lock);
        }
        t->u->n_undone += rc == TB_OK;
    }
    return rc;
}

void tb_intake_drop(tb_intake *in, const tb_order *order, tb_verdict *verdict)
{
    tb_in_turn t;
    tb_rc rc = tb_in_begin_turn(&t, in, order);
    t.u = tb_in_find_upload(in, order->upload.key);
    if (rc == TB_OK && t.u != NULL && t.into != NULL) {
        rc = subtract(&t, &order->upload.upload, order->index);
    }
    if (rc == TB_OK) {
        tb_in_forget_upload(in, order->upload.key);
    }
    tb_in_end_turn(&t, rc, verdict);
}

/* Adds every block, or none: what was added before a failure is taken back. A
 * sum that cannot be put right is given up: its round must not go on. */
static tb_rc add_all(tb_in_turn *t, const tb_order *order)
{
    const tb_upload_id *id = &order->upload.upload;
    uint32_t n_added = 0;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && n_added < t->u->hasher.n_blocks) {
        rc = read_and_add(t, id, n_added);
        n_added += rc == TB_OK;
    }
    if (rc == TB_OK) {
        rc = tb_in_check_hash(t, &order->update);
    }
    if (rc == TB_OK) {
        rc = tb_in_count(t, order);
    }
    if (rc != TB_OK) {
        tb_err why = t->err; /* the first failure is told */
        if (subtract(t, id, n_added) != TB_OK) {
            rc = TB_E_BUG;
        }
        t->err = why;
    }
    return rc;
}

static tb_rc find_header(tb_in_turn *t, const tb_upload_ref *ref,
                         uint8_t out[static TB_UPLOAD_HEADER_BYTES])
{
    (void)pthread_mutex_lock(&t->in->spool_lock);
    const tb_spool_upload *head = tb_spool_find(t->in->spool, &ref->upload);
    tb_rc rc = TB_OK;
    if (head != NULL) {
        memcpy(out, head->header, TB_UPLOAD_HEADER_BYTES);
    } else {
        rc = tb_fail(&t->err, TB_E_NOT_FOUND,
                     "the spool has lost the update of %s", ref->client.text);
    }
    (void)pthread_mutex_unlock(&t->in->spool_lock);
    return rc;
}

/* Where the search for one begins: a hash, so that all are spread. */
static size_t slot_of(const tb_intake *in, const tb_hash *update)
{
    return (size_t)tb_le64_get(update->bytes) & (in->n_slots - 1);
}

static void index_restored(tb_intake *in)
{
    if (in->n_slots > 0) {
        memset(in->slots, 0, in->n_slots * sizeof *in->slots);
    }
    for (size_t i = 0; i < in->n_restored; i++) {
        size_t at = slot_of(in, &in->counted[i].update);
        while (in->slots[at] != 0) {
            at = (at + 1) & (in->n_slots - 1);
        }
        in->slots[at] = (uint32_t)i + 1;
    }
}

static tb_rc reserve_slots(tb_intake *in, size_t n, tb_err *err)
{
    size_t n_slots = 16;
    while (n_slots < 2 * n) {
        n_slots *= 2;
    }
    uint32_t *slots = tb_mem_array(n_slots, sizeof *slots);
    if (slots == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu updates", n);
    }
    tb_mem_free(in->slots);
    in->slots = slots;
    in->n_slots = n_slots;
    return TB_OK;
}

static bool is_of(const tb_counted *c, const tb_order *order)
{
    return tb_hash_equal(&c->update, &order->update) &&
           tb_name_equal(&c->client, &order->upload.client) &&
           c->weight == order->weight && c->full == order->full;
}

/* Whether the sum came from a checkpoint with this very update in it. */
static bool is_counted(tb_intake *into, const tb_order *order)
{
    bool found = false;
    (void)pthread_mutex_lock(&into->sum_lock);
    size_t at = into->n_restored > 0 ? slot_of(into, &order->update) : 0;
    while (into->n_restored > 0 && into->slots[at] != 0 && !found) {
        found = is_of(&into->counted[into->slots[at] - 1], order);
        at = (at + 1) & (into->n_slots - 1);
    }
    (void)pthread_mutex_unlock(&into->sum_lock);
    return found;
}

void tb_intake_add_stored(tb_intake *in, tb_intake *into, const tb_order *order,
                          tb_verdict *verdict)
{
    tb_in_turn t;
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    if (is_counted(into, order)) {
        verdict->rc = TB_OK;
        return;
    }
    tb_rc rc = tb_in_begin_turn(&t, in, order);
    t.into = into;
    if (rc == TB_OK) {
        rc = find_header(&t, &order->upload, header);
    }
    if (rc == TB_OK) {
        rc = tb_in_begin_upload(in, &order->upload, header, &t.u, &t.err);
    }
    if (rc == TB_OK) {
        rc = add_all(&t, order);
    }
    tb_in_forget_upload(in, order->upload.key);
    t.refusal = (tb_refusal)0; /* it was accepted: a failure is ours */
    tb_in_end_turn(&t, rc, verdict);
}

/* Takes its name off the list of what is in the sum. */
static void strike_counted(tb_intake *into, const tb_upload_ref *ref)
{
    size_t kept = 0;
    size_t restored = 0;
    for (size_t i = 0; i < into->n_counted; i++) {
        if (!tb_name_equal(&into->counted[i].client, &ref->client) ||
            memcmp(into->counted[i].upload.bytes, ref->upload.bytes,
                   TB_UPLOAD_ID_BYTES) != 0) {
            into->counted[kept++] = into->counted[i];
            restored += i < into->n_restored;
        }
    }
    into->n_counted = kept;
    into->n_restored = restored;
    index_restored(into);
}

static tb_rc uncount(tb_in_turn *t, const tb_order *order)
{
    (void)pthread_mutex_lock(&t->into->sum_lock);
    tb_rc rc = tb_sum_uncount_damped(t->into->sum, t->weight, t->full, &t->err);
    if (rc == TB_OK) {
        strike_counted(t->into, &order->upload);
    }
    (void)pthread_mutex_unlock(&t->into->sum_lock);
    return rc;
}

void tb_intake_drop_stored(tb_intake *in, tb_intake *into,
                           const tb_order *order, tb_verdict *verdict)
{
    tb_in_turn t;
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    tb_rc rc = tb_in_begin_turn(&t, in, order);
    t.into = into;
    t.u = tb_in_find_upload(in, order->upload.key);
    if (rc == TB_OK && t.u == NULL) {
        rc = find_header(&t, &order->upload, header);
        if (rc == TB_OK) {
            rc = tb_in_begin_upload(in, &order->upload, header, &t.u, &t.err);
        }
    }
    if (rc == TB_OK) {
        t.u->counted = true;
        rc = subtract(&t, &order->upload.upload, order->upload.n_blocks);
    }
    if (rc == TB_OK) {
        rc = uncount(&t, order);
    }
    if (rc == TB_OK) {
        tb_in_forget_upload(in, order->upload.key);
    }
    tb_in_end_turn(&t, rc, verdict);
}

/* --- the sum as a whole --------------------------------------------------- */

const tb_counted *tb_intake_counted(const tb_intake *in, size_t *n)
{
    *n = in->n_counted;
    return in->counted;
}

static tb_in_upload *any_upload(const tb_intake *in)
{
    for (size_t i = 0; i < TB_UPLOAD_LISTS; i++) {
        if (in->uploads[i] != NULL) {
            return in->uploads[i];
        }
    }
    return NULL;
}

tb_rc tb_intake_settle(tb_intake *in, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (tb_in_upload *u = any_upload(in); rc == TB_OK && u != NULL;
         u = any_upload(in)) {
        tb_in_turn t = {.in = in,
                        .into = u->deferred ? NULL : in,
                        .u = u,
                        .s = tb_in_take_scratch(in),
                        .weight = u->weight,
                        .full = u->full};
        if (t.s == NULL) {
            return tb_fail(err, TB_E_NOMEM, "no room to open an update");
        }
        if (u->counted) {
            rc = tb_fail(&t.err, TB_E_BUSY, "an update is half taken out");
        } else if (t.into != NULL && in->sum != NULL) {
            rc = subtract(&t, &u->id, u->n_added);
        }
        tb_in_give_scratch(in, t.s);
        if (rc == TB_OK) {
            tb_in_forget_upload(in, u->key);
        } else {
            rc = tb_fail(err, rc, "%s", t.err.text);
        }
    }
    return rc;
}

tb_rc tb_intake_restore(tb_intake *in, const tb_counted *counted, size_t n,
                        tb_err *err)
{
    tb_rc rc = tb_in_grow_counted(in, n, err);
    if (rc == TB_OK) {
        rc = reserve_slots(in, n, err);
    }
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        rc = tb_sum_count_damped(in->sum, counted[i].weight, counted[i].full,
                                 err);
    }
    if (rc != TB_OK) {
        tb_sum_clear(in->sum);
        return rc;
    }
    if (n > 0) {
        memcpy(in->counted, counted, n * sizeof *counted);
    }
    in->n_counted = n;
    in->n_restored = n;
    index_restored(in);
    return TB_OK;
}

tb_sum *tb_intake_sum_edit(tb_intake *in)
{
    return in->sum;
}

const tb_sum *tb_intake_sum(const tb_intake *in)
{
    return in->sum;
}

const tb_round_config *tb_intake_config(const tb_intake *in)
{
    return &in->config;
}
