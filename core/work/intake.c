#include "work/intake.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/seal.h"
#include "fed/update.h"

#define SEALED_BYTES_MAX (TB_BLOCK_BYTES_MAX + TB_SEAL_TAG_BYTES)

/* An upload that has begun and not ended. */
typedef struct upload {
    struct upload *next;
    uint64_t key; /* of tb_upload_ref */
    tb_opener *opener;
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
    upload *uploads;
    scratch *idle; /* as many as ever worked at one time */
    pthread_mutex_t spool_lock;
    tb_spool *spool;
    pthread_mutex_t sum_lock;
    tb_sum *sum;
};

/* What went wrong, for one verdict. */
typedef struct failure {
    tb_rc rc;
    tb_refusal refusal; /* 0: not the client's fault */
    tb_err err;
} failure;

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
    (void)pthread_mutex_init(&intake->sum_lock, NULL);
    intake->config = *options->config;
    intake->hash = options->hash;
    intake->key = options->key;
    tb_rc rc =
        tb_sum_new(&intake->sum, &intake->config, options->max_updates, err);
    if (rc != TB_OK) {
        tb_intake_free(&intake);
        return rc;
    }
    intake->spool = options->spool;
    *out = intake;
    return TB_OK;
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
    while (in->uploads != NULL) {
        upload *u = in->uploads;
        in->uploads = u->next;
        free_upload(u);
    }
    while (in->idle != NULL) {
        scratch *s = in->idle;
        in->idle = s->next;
        tb_buf_release(&s->sealed);
        tb_mem_free(s);
    }
    tb_spool_close(&in->spool);
    tb_sum_free(&in->sum);
    (void)pthread_mutex_destroy(&in->list_lock);
    (void)pthread_mutex_destroy(&in->spool_lock);
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
    upload *u = in->uploads;
    while (u != NULL && u->key != key) {
        u = u->next;
    }
    (void)pthread_mutex_unlock(&in->list_lock);
    return u;
}

static void forget_upload(tb_intake *in, uint64_t key)
{
    (void)pthread_mutex_lock(&in->list_lock);
    upload **at = &in->uploads;
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
    upload *u = tb_mem_array(1, sizeof *u);
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
    (void)pthread_mutex_lock(&in->list_lock);
    u->next = in->uploads;
    in->uploads = u;
    (void)pthread_mutex_unlock(&in->list_lock);
    *out = u;
    return TB_OK;
}

/* --- one block ------------------------------------------------------------ */

static tb_rc announce(tb_intake *in, const tb_upload_ref *ref, failure *f)
{
    if (tb_spool_find(in->spool, &ref->upload) != NULL) {
        return TB_OK; /* from before a restart of either side */
    }
    tb_spool_upload head = {.id = ref->upload,
                            .client = ref->client,
                            .config = in->hash,
                            .n_blocks = ref->n_blocks};
    memcpy(head.header, ref->header, sizeof head.header);
    return tb_spool_begin(in->spool, &head, &f->err);
}

/* A block that the spool holds already must be the very same. */
static tb_rc compare_stored(tb_intake *in, const tb_order *order,
                            const tb_buf *stored, const uint8_t *sealed,
                            size_t len, failure *f)
{
    const tb_spool_upload *head =
        tb_spool_find(in->spool, &order->upload.upload);
    if (head == NULL || stored->len != len ||
        memcmp(stored->data, sealed, len) != 0 ||
        memcmp(head->header, order->upload.header, sizeof head->header) != 0) {
        f->refusal = TB_REFUSE_HASH;
        return tb_fail(&f->err, TB_E_MISMATCH,
                       "block %u is not the one that was sent before: seal "
                       "under a new upload id",
                       order->index);
    }
    return TB_OK;
}

static tb_rc spool_block(tb_intake *in, const tb_order *order,
                         const uint8_t *sealed, size_t len, scratch *s,
                         failure *f)
{
    (void)pthread_mutex_lock(&in->spool_lock);
    tb_rc rc = announce(in, &order->upload, f);
    if (rc == TB_OK) {
        rc = tb_spool_put(in->spool, &order->upload.upload, order->index,
                          sealed, len, &f->err);
    }
    if (rc == TB_E_EXISTS) {
        s->sealed.len = 0;
        rc = tb_spool_read(in->spool, &order->upload.upload, order->index,
                           &s->sealed, &f->err);
        if (rc == TB_OK) {
            rc = compare_stored(in, order, &s->sealed, sealed, len, f);
        }
    }
    (void)pthread_mutex_unlock(&in->spool_lock);
    return rc;
}

/* Opens a sealed block and adds what is in it; index 0 gives the weight. */
static tb_rc open_and_add(tb_intake *in, upload *u, uint32_t index,
                          const tb_span *sealed, uint32_t *weight, scratch *s,
                          failure *f)
{
    size_t want = tb_update_block_bytes(&in->config, index) + TB_SEAL_TAG_BYTES;
    if (sealed->len != want) {
        f->refusal = TB_REFUSE_SIZE;
        return tb_fail(&f->err, TB_E_MISMATCH,
                       "block %u has %zu bytes instead of %zu", index,
                       sealed->len, want);
    }
    tb_update_hasher_add(&u->hasher, sealed->data, sealed->len);
    tb_rc rc = tb_opener_block(u->opener, index, sealed->data, sealed->len,
                               s->plain, &f->err);
    if (rc != TB_OK) {
        f->refusal = TB_REFUSE_SEAL;
        return rc;
    }
    size_t n = sealed->len - TB_SEAL_TAG_BYTES;
    if (index == 0) {
        rc = tb_update_head_decode(&in->config, s->plain, n, weight, &f->err);
    } else {
        tb_update_sink sink = {&in->config, in->sum, s->values};
        (void)pthread_mutex_lock(&in->sum_lock);
        rc = tb_update_block_add(&sink, index, s->plain, n, *weight, &f->err);
        (void)pthread_mutex_unlock(&in->sum_lock);
    }
    if (rc != TB_OK && tb_rc_fault(rc) == TB_FAULT_PEER) {
        f->refusal = tb_update_refusal(rc);
    }
    return rc;
}

static void tell(tb_verdict *verdict, tb_rc rc, const failure *f)
{
    verdict->rc = rc;
    verdict->refusal = rc != TB_OK ? f->refusal : (tb_refusal)0;
    if (rc != TB_OK) {
        (void)snprintf(verdict->why, sizeof verdict->why, "%.*s",
                       (int)sizeof verdict->why - 1, f->err.text);
    }
}

void tb_intake_add(tb_intake *in, const tb_order *order, const uint8_t *sealed,
                   size_t len, tb_verdict *verdict)
{
    failure f = {.rc = TB_OK};
    tb_rc rc = TB_OK;
    upload *u = NULL;
    verdict->weight = order->weight;
    scratch *s = take_scratch(in);
    if (s == NULL) {
        rc = tb_fail(&f.err, TB_E_NOMEM, "block of an update");
        goto done;
    }
    if (order->index == 0) {
        rc = begin_upload(in, &order->upload, order->upload.header, &u, &f.err);
        f.refusal = rc != TB_OK && tb_rc_fault(rc) == TB_FAULT_PEER
                        ? TB_REFUSE_SEAL
                        : (tb_refusal)0;
    } else if ((u = find_upload(in, order->upload.key)) == NULL) {
        rc = tb_fail(&f.err, TB_E_BUG, "block %u of an upload not begun",
                     order->index);
    }
    if (rc == TB_OK) {
        rc = spool_block(in, order, sealed, len, s, &f);
    }
    if (rc == TB_OK) {
        tb_span span = {sealed, len};
        rc = open_and_add(in, u, order->index, &span, &verdict->weight, s, &f);
    }
    give_scratch(in, s);
done:
    tell(verdict, rc, &f);
}

/* --- the end of an upload ------------------------------------------------- */

static tb_rc check_hash(upload *u, const tb_hash *update, failure *f)
{
    tb_hash hash;
    tb_rc rc = tb_update_hasher_end(&u->hasher, &hash, &f->err);
    if (rc == TB_OK && !tb_hash_equal(&hash, update)) {
        rc = tb_fail(&f->err, TB_E_MISMATCH,
                     "the blocks' hash is not the one that was signed");
    }
    if (rc != TB_OK) {
        f->refusal = TB_REFUSE_HASH;
    }
    return rc;
}

static tb_rc count(tb_intake *in, uint32_t weight, tb_err *err)
{
    (void)pthread_mutex_lock(&in->sum_lock);
    tb_rc rc = tb_sum_count(in->sum, weight, err);
    (void)pthread_mutex_unlock(&in->sum_lock);
    return rc;
}

void tb_intake_end(tb_intake *in, const tb_order *order,
                   const uint8_t sign_key[static TB_SIGN_PUBLIC_BYTES],
                   tb_verdict *verdict)
{
    failure f = {.rc = TB_OK};
    upload *u = find_upload(in, order->upload.key);
    verdict->weight = order->weight;
    tb_rc rc = TB_OK;
    if (u == NULL) {
        rc = tb_fail(&f.err, TB_E_BUG, "end of an upload not begun");
        goto done;
    }
    tb_update_hasher again = u->hasher; /* a failed sync asks a second time */
    rc = check_hash(u, &order->update, &f);
    u->hasher = again;
    if (rc == TB_OK) {
        rc = tb_update_verify(order->signature, sign_key, &in->hash,
                              &order->update, &f.err);
        f.refusal = rc != TB_OK ? TB_REFUSE_IDENTITY : (tb_refusal)0;
    }
    if (rc == TB_OK) {
        (void)pthread_mutex_lock(&in->spool_lock);
        rc = tb_spool_sync(in->spool, &f.err);
        (void)pthread_mutex_unlock(&in->spool_lock);
    }
    if (rc == TB_OK) {
        rc = count(in, order->weight, &f.err);
    }
    if (rc == TB_OK) {
        forget_upload(in, order->upload.key);
    }
done:
    tell(verdict, rc, &f);
}

/* --- from the spool ------------------------------------------------------- */

static tb_rc read_block(tb_intake *in, const tb_upload_id *id, uint32_t index,
                        scratch *s, tb_err *err)
{
    s->sealed.len = 0;
    (void)pthread_mutex_lock(&in->spool_lock);
    tb_rc rc = tb_spool_read(in->spool, id, index, &s->sealed, err);
    (void)pthread_mutex_unlock(&in->spool_lock);
    return rc;
}

/* Takes back value blocks [1, end) of an upload that had been added. */
static tb_rc subtract(tb_intake *in, const tb_opener *opener,
                      const tb_order *order, uint32_t end, uint32_t weight,
                      scratch *s, tb_err *err)
{
    tb_rc rc = TB_OK;
    tb_update_sink sink = {&in->config, in->sum, s->values};
    for (uint32_t i = 1; i < end && rc == TB_OK; i++) {
        rc = read_block(in, &order->upload.upload, i, s, err);
        if (rc == TB_OK) {
            rc = tb_opener_block(opener, i, s->sealed.data, s->sealed.len,
                                 s->plain, err);
        }
        if (rc == TB_OK) {
            (void)pthread_mutex_lock(&in->sum_lock);
            rc = tb_update_block_subtract(&sink, i, s->plain,
                                          s->sealed.len - TB_SEAL_TAG_BYTES,
                                          weight, err);
            (void)pthread_mutex_unlock(&in->sum_lock);
        }
    }
    return rc;
}

void tb_intake_drop(tb_intake *in, const tb_order *order, tb_verdict *verdict)
{
    failure f = {.rc = TB_OK};
    tb_rc rc = TB_OK;
    upload *u = find_upload(in, order->upload.key);
    scratch *s = take_scratch(in);
    if (s == NULL) {
        rc = tb_fail(&f.err, TB_E_NOMEM, "block of an update");
        goto done;
    }
    if (u != NULL) {
        rc = subtract(in, u->opener, order, order->index, order->weight, s,
                      &f.err);
    }
    give_scratch(in, s);
    if (rc == TB_OK) {
        forget_upload(in, order->upload.key);
    }
done:
    tell(verdict, rc, &f);
}

/* Adds every block; *n_added says how far it came. */
static tb_rc add_all(tb_intake *in, upload *u, const tb_order *order,
                     uint32_t *weight, uint32_t *n_added, failure *f,
                     scratch *s)
{
    tb_rc rc = TB_OK;
    for (uint32_t i = 0; i < u->hasher.n_blocks && rc == TB_OK; i++) {
        rc = read_block(in, &order->upload.upload, i, s, &f->err);
        if (rc == TB_OK) {
            tb_span span = {s->sealed.data, s->sealed.len};
            rc = open_and_add(in, u, i, &span, weight, s, f);
        }
        *n_added += rc == TB_OK;
    }
    if (rc == TB_OK) {
        rc = check_hash(u, &order->update, f);
    }
    return rc;
}

void tb_intake_add_stored(tb_intake *in, const tb_order *order,
                          tb_verdict *verdict)
{
    failure f = {.rc = TB_OK};
    tb_rc rc = TB_OK;
    uint32_t weight = 0;
    uint32_t n_added = 0;
    upload *u = NULL;
    scratch *s = take_scratch(in);
    const tb_spool_upload *head =
        tb_spool_find(in->spool, &order->upload.upload);
    if (s == NULL) {
        rc = tb_fail(&f.err, TB_E_NOMEM, "block of an update");
        goto done;
    }
    if (head == NULL) {
        rc = tb_fail(&f.err, TB_E_NOT_FOUND,
                     "the spool has lost the update of %s",
                     order->upload.client.text);
        goto done;
    }
    rc = begin_upload(in, &order->upload, head->header, &u, &f.err);
    if (rc == TB_OK) {
        rc = add_all(in, u, order, &weight, &n_added, &f, s);
        if (rc == TB_OK) {
            rc = count(in, weight, &f.err);
        }
        if (rc != TB_OK) {
            tb_err ignored;
            (void)!subtract(in, u->opener, order, n_added, weight, s, &ignored);
        }
    }
done:
    forget_upload(in, order->upload.key);
    if (s != NULL) {
        give_scratch(in, s);
    }
    f.refusal = (tb_refusal)0; /* it was accepted: a failure is ours */
    verdict->weight = weight;
    tell(verdict, rc, &f);
}

const tb_sum *tb_intake_sum(const tb_intake *in)
{
    return in->sum;
}

const tb_round_config *tb_intake_config(const tb_intake *in)
{
    return &in->config;
}
