#include "work/intake.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/crypto.h"
#include "work/intake_priv.h"

#define SEALED_BYTES_MAX (TB_BLOCK_BYTES_MAX + TB_SEAL_TAG_BYTES)

tb_rc tb_intake_new(tb_intake **out, const tb_intake_options *options,
                    tb_err *err)
{
    *out = NULL;
    tb_intake *intake = tb_mem_array(1, sizeof *intake);
    if (intake == NULL) {
        return tb_fail(err, TB_E_NOMEM, "round intake");
    }
    (void)pthread_mutex_init(&intake->list_lock, NULL);
    (void)pthread_mutex_init(&intake->spool_lock, NULL);
    (void)pthread_cond_init(&intake->flushed, NULL);
    (void)pthread_mutex_init(&intake->sum_lock, NULL);
    intake->config = *options->config;
    intake->hash = options->hash;
    intake->key = options->key;
    tb_rc rc = options->max_updates > 0
                   ? tb_intake_open_sum(intake, options->max_updates, err)
                   : TB_OK;
    if (rc != TB_OK) {
        tb_intake_free(&intake);
        return rc;
    }
    intake->spool = options->spool;
    *out = intake;
    return TB_OK;
}

tb_rc tb_intake_open_sum(tb_intake *in, uint32_t max_updates, tb_err *err)
{
    return in->sum == NULL ? tb_sum_new(&in->sum, &in->config, max_updates, err)
                           : TB_OK;
}

void tb_intake_close_sum(tb_intake *in)
{
    tb_sum_free(&in->sum);
    tb_mem_free(in->counted);
    tb_mem_free(in->slots);
    in->counted = NULL;
    in->slots = NULL;
    in->n_slots = 0;
    in->n_counted = 0;
    in->n_restored = 0;
    in->cap_counted = 0;
}

static void free_upload(tb_in_upload *u)
{
    tb_opener_free(&u->opener);
    tb_mem_free(u);
}

void tb_intake_free(tb_intake **intake)
{
    tb_intake *in = *intake;
    if (in == NULL) {
        return;
    }
    for (size_t i = 0; i < TB_UPLOAD_LISTS; i++) {
        while (in->uploads[i] != NULL) {
            tb_in_upload *u = in->uploads[i];
            in->uploads[i] = u->next;
            free_upload(u);
        }
    }
    while (in->idle != NULL) {
        tb_in_scratch *s = in->idle;
        in->idle = s->next;
        tb_buf_release(&s->sealed);
        tb_wipe(s, sizeof *s); /* clients' values */
        tb_mem_free(s);
    }
    tb_spool_close(&in->spool);
    tb_intake_close_sum(in);
    (void)pthread_mutex_destroy(&in->list_lock);
    (void)pthread_mutex_destroy(&in->spool_lock);
    (void)pthread_cond_destroy(&in->flushed);
    (void)pthread_mutex_destroy(&in->sum_lock);
    tb_mem_free(in);
    *intake = NULL;
}

/* --- scratch and uploads -------------------------------------------------- */

tb_in_scratch *tb_in_take_scratch(tb_intake *in)
{
    (void)pthread_mutex_lock(&in->list_lock);
    tb_in_scratch *s = in->idle;
    if (s != NULL) {
        in->idle = s->next;
    }
    (void)pthread_mutex_unlock(&in->list_lock);
    if (s == NULL && (s = tb_mem_array(1, sizeof *s)) != NULL) {
        tb_buf_init(&s->sealed, SEALED_BYTES_MAX);
    }
    return s;
}

void tb_in_give_scratch(tb_intake *in, tb_in_scratch *s)
{
    (void)pthread_mutex_lock(&in->list_lock);
    s->next = in->idle;
    in->idle = s;
    (void)pthread_mutex_unlock(&in->list_lock);
}

tb_in_upload *tb_in_find_upload(tb_intake *in, uint64_t key)
{
    (void)pthread_mutex_lock(&in->list_lock);
    tb_in_upload *u = in->uploads[key % TB_UPLOAD_LISTS];
    while (u != NULL && u->key != key) {
        u = u->next;
    }
    (void)pthread_mutex_unlock(&in->list_lock);
    return u;
}

void tb_in_forget_upload(tb_intake *in, uint64_t key)
{
    (void)pthread_mutex_lock(&in->list_lock);
    tb_in_upload **at = &in->uploads[key % TB_UPLOAD_LISTS];
    while (*at != NULL && (*at)->key != key) {
        at = &(*at)->next;
    }
    tb_in_upload *u = *at;
    if (u != NULL) {
        *at = u->next;
    }
    (void)pthread_mutex_unlock(&in->list_lock);
    if (u != NULL) {
        free_upload(u);
    }
}

tb_rc tb_in_begin_upload(tb_intake *in, const tb_upload_ref *ref,
                         const uint8_t *header, tb_in_upload **out, tb_err *err)
{
    tb_in_forget_upload(in, ref->key);
    tb_in_upload *u =
        tb_mem_aligned(1, sizeof *u); /* libsodium: 64-byte state */
    if (u == NULL) {
        return tb_fail(err, TB_E_NOMEM, "upload");
    }
    tb_seal_binding to = {.config = in->hash, .client = ref->client.text};
    tb_rc rc = tb_opener_new(&u->opener, in->key, &to, header, err);
    if (rc != TB_OK) {
        tb_mem_free(u);
        return rc;
    }
    tb_update_hasher_init(&u->hasher, header);
    u->key = ref->key;
    u->id = ref->upload;
    (void)pthread_mutex_lock(&in->list_lock);
    tb_in_upload **list = &in->uploads[ref->key % TB_UPLOAD_LISTS];
    u->next = *list;
    *list = u;
    (void)pthread_mutex_unlock(&in->list_lock);
    *out = u;
    return TB_OK;
}

/* --- one block ------------------------------------------------------------ */

tb_rc tb_in_begin_turn(tb_in_turn *t, tb_intake *in, const tb_order *order)
{
    *t = (tb_in_turn){.in = in,
                      .into = order->deferred ? NULL : in,
                      .s = tb_in_take_scratch(in),
                      .weight = order->weight,
                      .full = order->full};
    return t->s != NULL
               ? TB_OK
               : tb_fail(&t->err, TB_E_NOMEM, "no room to open an update");
}

void tb_in_end_turn(tb_in_turn *t, tb_rc rc, tb_verdict *verdict)
{
    if (t->s != NULL) {
        tb_in_give_scratch(t->in, t->s);
    }
    verdict->rc = rc;
    verdict->weight = t->samples;
    if (rc != TB_OK) {
        verdict->refusal = t->refusal;
        (void)snprintf(verdict->why, sizeof verdict->why, "%.*s",
                       (int)sizeof verdict->why - 1, t->err.text);
    }
}

/* rc as it came; a peer's fault is remembered as this refusal. */
static tb_rc blame(tb_in_turn *t, tb_rc rc, tb_refusal refusal)
{
    if (rc != TB_OK && tb_rc_fault(rc) == TB_FAULT_PEER) {
        t->refusal = refusal;
    }
    return rc;
}

bool tb_in_is_same(const tb_spool_upload *head, const tb_upload_ref *ref)
{
    return tb_name_equal(&head->client, &ref->client) &&
           head->n_blocks == ref->n_blocks &&
           memcmp(head->header, ref->header, sizeof head->header) == 0;
}

static tb_rc announce(tb_in_turn *t, const tb_upload_ref *ref)
{
    const tb_spool_upload *held = tb_spool_find(t->in->spool, &ref->upload);
    if (held != NULL && tb_in_is_same(held, ref)) {
        return TB_OK; /* from before a restart of either side */
    }
    if (held != NULL) {
        t->refusal = TB_REFUSE_HASH;
        return tb_fail(&t->err, TB_E_MISMATCH,
                       "another upload has this id: seal under a new one");
    }
    tb_spool_upload head = {.id = ref->upload,
                            .client = ref->client,
                            .config = t->in->hash,
                            .n_blocks = ref->n_blocks};
    memcpy(head.header, ref->header, sizeof head.header);
    return tb_spool_begin(t->in->spool, &head, &t->err);
}

/* A block that the spool holds already must be the very same. */
static tb_rc compare_stored(tb_in_turn *t, const tb_order *order,
                            tb_span sealed)
{
    const tb_upload_id *id = &order->upload.upload;
    tb_buf *stored = &t->s->sealed;
    stored->len = 0;
    tb_rc rc = tb_spool_read(t->in->spool, id, order->index, stored, &t->err);
    if (rc == TB_OK && (stored->len != sealed.len ||
                        memcmp(stored->data, sealed.data, sealed.len) != 0)) {
        t->refusal = TB_REFUSE_HASH;
        rc = tb_fail(&t->err, TB_E_MISMATCH,
                     "block %u is not the one that was sent before: seal "
                     "under a new upload id",
                     order->index);
    }
    return rc;
}

static tb_rc spool_block(tb_in_turn *t, const tb_order *order,
                         const tb_spool_block *block)
{
    (void)pthread_mutex_lock(&t->in->spool_lock);
    tb_rc rc = announce(t, &order->upload);
    if (rc == TB_OK) {
        rc = tb_spool_put_hashed(t->in->spool, &order->upload.upload,
                                 order->index, block, &t->err);
    }
    if (rc == TB_E_EXISTS) {
        rc = compare_stored(t, order, (tb_span){block->sealed, block->len});
    }
    (void)pthread_mutex_unlock(&t->in->spool_lock);
    return rc;
}

tb_update_sink tb_in_sink_of(const tb_in_turn *t)
{
    return (tb_update_sink){
        &t->in->config, t->into != NULL ? t->into->sum : NULL, t->s->values};
}

/* Adds the values of an opened block, or only checks them. */
static tb_rc add_values(tb_in_turn *t, uint32_t index, size_t n)
{
    tb_update_sink sink = tb_in_sink_of(t);
    if (t->into == NULL) {
        return tb_update_block_check(&sink, index, t->s->plain, n, &t->err);
    }
    (void)pthread_mutex_lock(&t->into->sum_lock);
    tb_rc rc =
        tb_update_block_add(&sink, index, t->s->plain, n, t->weight, &t->err);
    (void)pthread_mutex_unlock(&t->into->sum_lock);
    return rc;
}

tb_rc tb_in_open_and_add(tb_in_turn *t, uint32_t index,
                         const tb_spool_block *block)
{
    const tb_round_config *config = &t->in->config;
    size_t want = tb_update_block_bytes(config, index) + TB_SEAL_TAG_BYTES;
    if (block->len != want) {
        t->refusal = TB_REFUSE_SIZE;
        return tb_fail(&t->err, TB_E_MISMATCH,
                       "block %u has %zu bytes instead of %zu", index,
                       block->len, want);
    }
    tb_update_hasher_add_hash(&t->u->hasher, &block->hash);
    tb_rc rc = tb_opener_block(t->u->opener, index, block->sealed, block->len,
                               t->s->plain, &t->err);
    if (rc != TB_OK) {
        return blame(t, rc, TB_REFUSE_SEAL);
    }
    size_t n = block->len - TB_SEAL_TAG_BYTES;
    rc = index == 0 ? tb_update_head_decode(config, t->s->plain, n, &t->samples,
                                            &t->err)
                    : add_values(t, index, n);
    if (rc == TB_OK) {
        t->u->n_added = index + 1;
        t->u->weight = t->weight;
        t->u->full = t->full;
        t->u->deferred = t->into == NULL;
    }
    return blame(t, rc, tb_update_refusal(index, rc));
}

tb_rc tb_in_take_upload(tb_in_turn *t, const tb_order *order)
{
    const tb_upload_ref *ref = &order->upload;
    if (order->index == 0) {
        tb_rc rc = tb_in_begin_upload(t->in, ref, ref->header, &t->u, &t->err);
        return blame(t, rc, TB_REFUSE_SEAL);
    }
    t->u = tb_in_find_upload(t->in, ref->key);
    return t->u != NULL
               ? TB_OK
               : tb_fail(&t->err, TB_E_BUG, "block %u of an upload not begun",
                         order->index);
}

void tb_intake_add(tb_intake *in, const tb_order *order, const uint8_t *sealed,
                   size_t len, tb_verdict *verdict)
{
    tb_in_turn t;
    /* One hash for the spool's check and for the update's: no lock is held. */
    tb_spool_block block = {sealed, len, tb_hash_of(sealed, len)};
    tb_rc rc = tb_in_begin_turn(&t, in, order);
    if (rc == TB_OK) {
        rc = tb_in_take_upload(&t, order);
    }
    if (rc == TB_OK) {
        rc = spool_block(&t, order, &block);
    }
    if (rc == TB_OK) {
        rc = tb_in_open_and_add(&t, order->index, &block);
    }
    tb_in_end_turn(&t, rc, verdict);
}

/* --- the end of an upload ------------------------------------------------- */

tb_rc tb_in_check_hash(tb_in_turn *t, const tb_hash *update)
{
    tb_update_hasher hasher = t->u->hasher; /* the end may be asked again */
    tb_hash hash;
    tb_rc rc = tb_update_hasher_end(&hasher, &hash, &t->err);
    if (rc == TB_OK && !tb_hash_equal(&hash, update)) {
        rc = tb_fail(&t->err, TB_E_MISMATCH,
                     "the blocks' hash is not the one that was signed");
    }
    return blame(t, rc, TB_REFUSE_HASH);
}

/* One flush for all that end their updates while the one before it runs; others
 * append meanwhile. The lock is held, but for the disk's part. */
static tb_rc flush(tb_intake *in, tb_err *err)
{
    tb_spool_flush flush;
    tb_rc rc = tb_spool_flush_begin(in->spool, &flush, err);
    if (rc != TB_OK) {
        return rc;
    }
    in->flushing = true;
    (void)pthread_mutex_unlock(&in->spool_lock);
    tb_spool_flush_run(&flush);
    (void)pthread_mutex_lock(&in->spool_lock);
    in->flushing = false;
    (void)pthread_cond_broadcast(&in->flushed);
    return tb_spool_flush_end(in->spool, &flush, err);
}

static tb_rc sync_spool(tb_in_turn *t)
{
    tb_intake *in = t->in;
    tb_rc rc = TB_OK;
    (void)pthread_mutex_lock(&in->spool_lock);
    uint64_t mine = tb_spool_bytes(in->spool);
    while (rc == TB_OK && tb_spool_durable(in->spool) < mine) {
        if (in->flushing) {
            (void)pthread_cond_wait(&in->flushed, &in->spool_lock);
        } else {
            rc = flush(in, &t->err);
        }
    }
    (void)pthread_mutex_unlock(&in->spool_lock);
    return rc;
}

tb_rc tb_in_grow_counted(tb_intake *in, size_t n, tb_err *err)
{
    if (n <= in->cap_counted) {
        return TB_OK;
    }
    size_t cap = n > 2 * in->cap_counted ? n : 2 * in->cap_counted;
    tb_counted *at = tb_mem_resize(in->counted, cap, sizeof *at);
    if (at == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu updates", cap);
    }
    in->counted = at;
    in->cap_counted = cap;
    return TB_OK;
}

tb_rc tb_in_count(tb_in_turn *t, const tb_order *order)
{
    tb_intake *into = t->into;
    if (into == NULL) {
        return TB_OK;
    }
    (void)pthread_mutex_lock(&into->sum_lock);
    tb_rc rc = tb_in_grow_counted(into, into->n_counted + 1, &t->err);
    if (rc == TB_OK) {
        rc = tb_sum_count_damped(into->sum, t->weight, t->full, &t->err);
    }
    if (rc == TB_OK) {
        into->counted[into->n_counted++] =
            (tb_counted){.client = order->upload.client,
                         .upload = order->upload.upload,
                         .update = order->update,
                         .weight = t->weight,
                         .full = t->full};
    }
    (void)pthread_mutex_unlock(&into->sum_lock);
    return rc;
}

void tb_intake_end(tb_intake *in, const tb_order *order,
                   const uint8_t sign_key[static TB_SIGN_PUBLIC_BYTES],
                   tb_verdict *verdict)
{
    tb_in_turn t = {.in = in,
                    .into = order->deferred ? NULL : in,
                    .u = tb_in_find_upload(in, order->upload.key),
                    .weight = order->weight,
                    .full = order->full};
    tb_rc rc = t.u != NULL
                   ? tb_in_check_hash(&t, &order->update)
                   : tb_fail(&t.err, TB_E_BUG, "end of an upload not begun");
    if (rc == TB_OK) {
        rc = tb_update_verify(order->signature, sign_key, &in->hash,
                              &order->update, &t.err);
        rc = blame(&t, rc, TB_REFUSE_IDENTITY);
    }
    if (rc == TB_OK) {
        rc = sync_spool(&t);
    }
    if (rc == TB_OK) {
        rc = tb_in_count(&t, order);
    }
    if (rc == TB_OK) {
        tb_in_forget_upload(in, order->upload.key);
    }
    tb_in_end_turn(&t, rc, verdict);
}
