#include "work/intake.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/crypto.h"
#include "crypto/seal.h"
#include "fed/update.h"

#define SEALED_BYTES_MAX (TB_BLOCK_BYTES_MAX + TB_SEAL_TAG_BYTES)
#define UPLOAD_LISTS     256 /* a cohort may have begun at one time */

/* An upload that has begun and not ended. */
typedef struct upload {
    struct upload *next;
    uint64_t key; /* of tb_upload_ref */
    tb_upload_id id;
    bool deferred;         /* adds to no sum yet */
    bool counted;          /* is being taken out of the sum again */
    uint32_t weight, full; /* as its values were added */
    uint32_t n_added;      /* blocks, the head among them */
    tb_opener *opener;
    uint32_t n_undone; /* value blocks, from the first, taken back already */
    tb_update_hasher hasher;
} upload;

/* Memory that one order works in. */
typedef struct scratch {
    struct scratch *next;
    float values[TB_BLOCK_VALUES];
    uint8_t plain[TB_BLOCK_BYTES_MAX];
    tb_buf sealed; /* a block read back from the spool */
} scratch;

struct tb_intake {
    tb_round_config config;
    tb_hash hash;
    tb_box_key *key; /* borrowed */
    pthread_mutex_t list_lock;
    upload *uploads[UPLOAD_LISTS]; /* by key */
    scratch *idle;                 /* as many as ever worked at one time */
    pthread_mutex_t spool_lock;
    pthread_cond_t flushed; /* a flush of the spool has ended */
    bool flushing;
    tb_spool *spool;
    pthread_mutex_t sum_lock;
    tb_sum *sum;
    tb_counted *counted; /* [n_counted], owned: what is in the sum */
    size_t n_counted, cap_counted;
};

/* One order being carried out, and what went wrong with it. */
typedef struct turn {
    tb_intake *in;
    tb_intake *into; /* whose sum; NULL: deferred */
    upload *u;
    scratch *s;
    uint32_t weight, full; /* in the sum */
    uint32_t samples;      /* that the head told */
    tb_refusal refusal;    /* 0: not the client's fault */
    tb_err err;
} turn;

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
    in->counted = NULL;
    in->n_counted = 0;
    in->cap_counted = 0;
}

static void free_upload(upload *u)
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
    for (size_t i = 0; i < UPLOAD_LISTS; i++) {
        while (in->uploads[i] != NULL) {
            upload *u = in->uploads[i];
            in->uploads[i] = u->next;
            free_upload(u);
        }
    }
    while (in->idle != NULL) {
        scratch *s = in->idle;
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

static scratch *take_scratch(tb_intake *in)
{
    (void)pthread_mutex_lock(&in->list_lock);
    scratch *s = in->idle;
    if (s != NULL) {
        in->idle = s->next;
    }
    (void)pthread_mutex_unlock(&in->list_lock);
    if (s == NULL && (s = tb_mem_array(1, sizeof *s)) != NULL) {
        tb_buf_init(&s->sealed, SEALED_BYTES_MAX);
    }
    return s;
}

static void give_scratch(tb_intake *in, scratch *s)
{
    (void)pthread_mutex_lock(&in->list_lock);
    s->next = in->idle;
    in->idle = s;
    (void)pthread_mutex_unlock(&in->list_lock);
}

static upload *find_upload(tb_intake *in, uint64_t key)
{
    (void)pthread_mutex_lock(&in->list_lock);
    upload *u = in->uploads[key % UPLOAD_LISTS];
    while (u != NULL && u->key != key) {
        u = u->next;
    }
    (void)pthread_mutex_unlock(&in->list_lock);
    return u;
}

static void forget_upload(tb_intake *in, uint64_t key)
{
    (void)pthread_mutex_lock(&in->list_lock);
    upload **at = &in->uploads[key % UPLOAD_LISTS];
    while (*at != NULL && (*at)->key != key) {
        at = &(*at)->next;
    }
    upload *u = *at;
    if (u != NULL) {
        *at = u->next;
    }
    (void)pthread_mutex_unlock(&in->list_lock);
    if (u != NULL) {
        free_upload(u);
    }
}

/* A fresh upload of this key, in place of one that had begun. */
static tb_rc begin_upload(tb_intake *in, const tb_upload_ref *ref,
                          const uint8_t *header, upload **out, tb_err *err)
{
    forget_upload(in, ref->key);
    upload *u = tb_mem_aligned(1, sizeof *u); /* libsodium: 64-byte state */
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
    upload **list = &in->uploads[ref->key % UPLOAD_LISTS];
    u->next = *list;
    *list = u;
    (void)pthread_mutex_unlock(&in->list_lock);
    *out = u;
    return TB_OK;
}

/* --- one block ------------------------------------------------------------ */

static tb_rc begin_turn(turn *t, tb_intake *in, const tb_order *order)
{
    *t = (turn){.in = in,
                .into = order->deferred ? NULL : in,
                .s = take_scratch(in),
                .weight = order->weight,
                .full = order->full};
    return t->s != NULL
               ? TB_OK
               : tb_fail(&t->err, TB_E_NOMEM, "no room to open an update");
}

static void end_turn(turn *t, tb_rc rc, tb_verdict *verdict)
{
    if (t->s != NULL) {
        give_scratch(t->in, t->s);
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
static tb_rc blame(turn *t, tb_rc rc, tb_refusal refusal)
{
    if (rc != TB_OK && tb_rc_fault(rc) == TB_FAULT_PEER) {
        t->refusal = refusal;
    }
    return rc;
}

static tb_rc announce(turn *t, const tb_upload_ref *ref)
{
    if (tb_spool_find(t->in->spool, &ref->upload) != NULL) {
        return TB_OK; /* from before a restart of either side */
    }
    tb_spool_upload head = {.id = ref->upload,
                            .client = ref->client,
                            .config = t->in->hash,
                            .n_blocks = ref->n_blocks};
    memcpy(head.header, ref->header, sizeof head.header);
    return tb_spool_begin(t->in->spool, &head, &t->err);
}

/* A block that the spool holds already must be the very same. */
static tb_rc compare_stored(turn *t, const tb_order *order, tb_span sealed)
{
    const tb_upload_id *id = &order->upload.upload;
    const tb_spool_upload *head = tb_spool_find(t->in->spool, id);
    tb_buf *stored = &t->s->sealed;
    stored->len = 0;
    tb_rc rc = tb_spool_read(t->in->spool, id, order->index, stored, &t->err);
    if (rc == TB_OK &&
        (head == NULL || stored->len != sealed.len ||
         memcmp(stored->data, sealed.data, sealed.len) != 0 ||
         memcmp(head->header, order->upload.header, sizeof head->header))) {
        t->refusal = TB_REFUSE_HASH;
        rc = tb_fail(&t->err, TB_E_MISMATCH,
                     "block %u is not the one that was sent before: seal "
                     "under a new upload id",
                     order->index);
    }
    return rc;
}

static tb_rc spool_block(turn *t, const tb_order *order,
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

static tb_update_sink sink_of(const turn *t)
{
    return (tb_update_sink){
        &t->in->config, t->into != NULL ? t->into->sum : NULL, t->s->values};
}

/* Adds the values of an opened block, or only checks them. */
static tb_rc add_values(turn *t, uint32_t index, size_t n)
{
    tb_update_sink sink = sink_of(t);
    if (t->into == NULL) {
        return tb_update_block_check(&sink, index, t->s->plain, n, &t->err);
    }
    (void)pthread_mutex_lock(&t->into->sum_lock);
    tb_rc rc =
        tb_update_block_add(&sink, index, t->s->plain, n, t->weight, &t->err);
    (void)pthread_mutex_unlock(&t->into->sum_lock);
    return rc;
}

/* Opens a sealed block and adds what is in it; index 0 tells the samples. */
static tb_rc open_and_add(turn *t, uint32_t index, const tb_spool_block *block)
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

void tb_intake_add(tb_intake *in, const tb_order *order, const uint8_t *sealed,
                   size_t len, tb_verdict *verdict)
{
    turn t;
    /* One hash for the spool's check and for the update's: no lock is held. */
    tb_spool_block block = {sealed, len, tb_hash_of(sealed, len)};
    tb_rc rc = begin_turn(&t, in, order);
    if (rc == TB_OK && order->index == 0) {
        rc = begin_upload(in, &order->upload, order->upload.header, &t.u,
                          &t.err);
        rc = blame(&t, rc, TB_REFUSE_SEAL);
    } else if (rc == TB_OK) {
        t.u = find_upload(in, order->upload.key);
        rc = t.u != NULL
                 ? TB_OK
                 : tb_fail(&t.err, TB_E_BUG, "block %u of an upload not begun",
                           order->index);
    }
    if (rc == TB_OK) {
        rc = spool_block(&t, order, &block);
    }
    if (rc == TB_OK) {
        rc = open_and_add(&t, order->index, &block);
    }
    end_turn(&t, rc, verdict);
}

/* --- the end of an upload ------------------------------------------------- */

static tb_rc check_hash(turn *t, const tb_hash *update)
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

static tb_rc sync_spool(turn *t)
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

/* Room for one more name in the list of what is in the sum. */
static tb_rc grow_counted(tb_intake *in, size_t n, tb_err *err)
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

static tb_rc count(turn *t, const tb_order *order)
{
    tb_intake *into = t->into;
    if (into == NULL) {
        return TB_OK;
    }
    (void)pthread_mutex_lock(&into->sum_lock);
    tb_rc rc = grow_counted(into, into->n_counted + 1, &t->err);
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
    turn t = {.in = in,
              .into = order->deferred ? NULL : in,
              .u = find_upload(in, order->upload.key),
              .weight = order->weight,
              .full = order->full};
    tb_rc rc = t.u != NULL
                   ? check_hash(&t, &order->update)
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
        rc = count(&t, order);
    }
    if (rc == TB_OK) {
        forget_upload(in, order->upload.key);
    }
    end_turn(&t, rc, verdict);
}

/* --- from the spool ------------------------------------------------------- */

static tb_rc read_block(turn *t, const tb_upload_id *id, uint32_t index)
{
    t->s->sealed.len = 0;
    (void)pthread_mutex_lock(&t->in->spool_lock);
    tb_rc rc = tb_spool_read(t->in->spool, id, index, &t->s->sealed, &t->err);
    (void)pthread_mutex_unlock(&t->in->spool_lock);
    return rc;
}

/* Takes back value blocks [1, end) of an upload that had been added. When it
 * fails midway, another call goes on from there. */
static tb_rc subtract(turn *t, const tb_upload_id *id, uint32_t end)
{
    tb_rc rc = TB_OK;
    tb_update_sink sink = sink_of(t);
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
    turn t;
    tb_rc rc = begin_turn(&t, in, order);
    t.u = find_upload(in, order->upload.key);
    if (rc == TB_OK && t.u != NULL && t.into != NULL) {
        rc = subtract(&t, &order->upload.upload, order->index);
    }
    if (rc == TB_OK) {
        forget_upload(in, order->upload.key);
    }
    end_turn(&t, rc, verdict);
}

/* Adds every block, or none: what was added before a failure is taken back. A
 * sum that cannot be put right is given up: its round must not go on. */
static tb_rc add_all(turn *t, const tb_order *order)
{
    const tb_upload_id *id = &order->upload.upload;
    uint32_t n_added = 0;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && n_added < t->u->hasher.n_blocks) {
        rc = read_block(t, id, n_added);
        if (rc == TB_OK) {
            const tb_buf *sealed = &t->s->sealed;
            tb_spool_block block = {sealed->data, sealed->len,
                                    tb_hash_of(sealed->data, sealed->len)};
            rc = open_and_add(t, n_added, &block);
        }
        n_added += rc == TB_OK;
    }
    if (rc == TB_OK) {
        rc = check_hash(t, &order->update);
    }
    if (rc == TB_OK) {
        rc = count(t, order);
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

static tb_rc find_header(turn *t, const tb_upload_ref *ref,
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

/* Whether the sum came from a checkpoint with this very update in it. */
static bool is_counted(tb_intake *into, const tb_order *order)
{
    bool found = false;
    (void)pthread_mutex_lock(&into->sum_lock);
    for (size_t i = 0; i < into->n_counted && !found; i++) {
        const tb_counted *c = &into->counted[i];
        found = tb_hash_equal(&c->update, &order->update) &&
                tb_name_equal(&c->client, &order->upload.client) &&
                c->weight == order->weight && c->full == order->full;
    }
    (void)pthread_mutex_unlock(&into->sum_lock);
    return found;
}

void tb_intake_add_stored(tb_intake *in, tb_intake *into, const tb_order *order,
                          tb_verdict *verdict)
{
    turn t;
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    if (is_counted(into, order)) {
        verdict->rc = TB_OK;
        return;
    }
    tb_rc rc = begin_turn(&t, in, order);
    t.into = into;
    if (rc == TB_OK) {
        rc = find_header(&t, &order->upload, header);
    }
    if (rc == TB_OK) {
        rc = begin_upload(in, &order->upload, header, &t.u, &t.err);
    }
    if (rc == TB_OK) {
        rc = add_all(&t, order);
    }
    forget_upload(in, order->upload.key);
    t.refusal = (tb_refusal)0; /* it was accepted: a failure is ours */
    end_turn(&t, rc, verdict);
}

/* Takes its name off the list of what is in the sum. */
static void strike_counted(tb_intake *into, const tb_upload_ref *ref)
{
    size_t kept = 0;
    for (size_t i = 0; i < into->n_counted; i++) {
        if (!tb_name_equal(&into->counted[i].client, &ref->client) ||
            memcmp(into->counted[i].upload.bytes, ref->upload.bytes,
                   TB_UPLOAD_ID_BYTES) != 0) {
            into->counted[kept++] = into->counted[i];
        }
    }
    into->n_counted = kept;
}

static tb_rc uncount(turn *t, const tb_order *order)
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
    turn t;
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    tb_rc rc = begin_turn(&t, in, order);
    t.into = into;
    t.u = find_upload(in, order->upload.key);
    if (rc == TB_OK && t.u == NULL) {
        rc = find_header(&t, &order->upload, header);
        if (rc == TB_OK) {
            rc = begin_upload(in, &order->upload, header, &t.u, &t.err);
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
        forget_upload(in, order->upload.key);
    }
    end_turn(&t, rc, verdict);
}

/* --- the sum as a whole --------------------------------------------------- */

const tb_counted *tb_intake_counted(const tb_intake *in, size_t *n)
{
    *n = in->n_counted;
    return in->counted;
}

static upload *any_upload(const tb_intake *in)
{
    for (size_t i = 0; i < UPLOAD_LISTS; i++) {
        if (in->uploads[i] != NULL) {
            return in->uploads[i];
        }
    }
    return NULL;
}

tb_rc tb_intake_settle(tb_intake *in, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (upload *u = any_upload(in); rc == TB_OK && u != NULL;
         u = any_upload(in)) {
        turn t = {.in = in,
                  .into = u->deferred ? NULL : in,
                  .u = u,
                  .s = take_scratch(in),
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
        give_scratch(in, t.s);
        if (rc == TB_OK) {
            forget_upload(in, u->key);
        } else {
            rc = tb_fail(err, rc, "%s", t.err.text);
        }
    }
    return rc;
}

tb_rc tb_intake_restore(tb_intake *in, const tb_counted *counted, size_t n,
                        tb_err *err)
{
    tb_rc rc = grow_counted(in, n, err);
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
