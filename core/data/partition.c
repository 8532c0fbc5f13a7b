#include "data/partition.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/stream.h"

static const char *const kind_names[] = {"iid", "dirichlet", "shards"};

#define N_KINDS (sizeof kind_names / sizeof *kind_names)

const char *tb_partition_kind_name(tb_partition_kind kind)
{
    return kind_names[kind];
}

int tb_partition_kind_of(const char *name)
{
    for (size_t i = 0; i < N_KINDS; i++) {
        if (strcmp(name, kind_names[i]) == 0) {
            return (int)i;
        }
    }
    return -1;
}

void tb_partition_name(size_t n_clients, size_t client,
                       char out[static TB_PARTITION_NAME_BYTES])
{
    int digits = 2;
    for (size_t last = 100; last < n_clients; last *= 10) {
        digits++;
    }
    (void)snprintf(out, TB_PARTITION_NAME_BYTES, "client-%0*zu", digits,
                   client);
}

void tb_partition_free(tb_partition **p)
{
    if (*p != NULL) {
        tb_mem_free((*p)->first);
        tb_mem_free((*p)->rows);
        tb_mem_free(*p);
        *p = NULL;
    }
}

const uint32_t *tb_partition_rows(const tb_partition *p, size_t client,
                                  size_t *n)
{
    *n = p->first[client + 1] - p->first[client];
    return p->rows + p->first[client];
}

/* Rows by class: class c is rows[first[c] .. first[c+1]), ascending. */
typedef struct by_class {
    size_t n_classes;
    size_t *first;
    uint32_t *rows;
} by_class;

static void by_class_release(by_class *b)
{
    tb_mem_free(b->first);
    tb_mem_free(b->rows);
}

/* The class of a row; 0 where it has none: values, many labels, an ignored
 * one. */
static size_t class_of(const tb_dataset *ds, size_t row)
{
    const tb_sample_spec *spec = tb_dataset_spec(ds);
    if (spec->target != TB_TARGET_CLASS || spec->n_targets != 1) {
        return 0;
    }
    int32_t label = tb_dataset_label(ds, row);
    return label >= 0 && (size_t)label < spec->n_classes ? (size_t)label : 0;
}

/* Counting sort by label; one class when the targets are values. Released by
 * the caller, also after a failure. */
static tb_rc by_class_init(by_class *b, const tb_dataset *ds, tb_err *err)
{
    size_t n = tb_dataset_rows(ds);
    bool classes = tb_dataset_spec(ds)->target == TB_TARGET_CLASS;
    b->n_classes = classes ? tb_dataset_spec(ds)->n_classes : 1;
    b->first = tb_mem_array(b->n_classes + 2, sizeof *b->first);
    b->rows = tb_mem_array(n, sizeof *b->rows);
    if (b->first == NULL || b->rows == NULL) {
        return tb_fail(err, TB_E_NOMEM, "partition of %zu rows", n);
    }
    for (size_t i = 0; i < n; i++) {
        b->first[2 + class_of(ds, i)]++;
    }
    for (size_t c = 0; c < b->n_classes; c++) {
        b->first[c + 2] += b->first[c + 1];
    }
    for (size_t i = 0; i < n; i++) { /* leaves first[c] at c's begin */
        size_t c = class_of(ds, i);
        b->rows[b->first[c + 1]++] = (uint32_t)i;
    }
    return TB_OK;
}

/* Lays rows out client after client from the owner [n] of each row: ascending
 * within a client. */
static tb_rc from_owners(tb_partition **out, const uint32_t *owner, size_t n,
                         size_t n_clients, tb_err *err)
{
    tb_partition *p = tb_mem_array(1, sizeof *p);
    if (p == NULL ||
        (p->first = tb_mem_array(n_clients + 2, sizeof *p->first)) == NULL ||
        (p->rows = tb_mem_array(n, sizeof *p->rows)) == NULL) {
        tb_partition_free(&p);
        return tb_fail(err, TB_E_NOMEM, "partition: %zu rows, %zu clients", n,
                       n_clients);
    }
    p->n_clients = n_clients;
    p->n_rows = n;
    for (size_t i = 0; i < n; i++) {
        p->first[owner[i] + 2]++;
    }
    for (size_t c = 0; c < n_clients; c++) {
        p->first[c + 2] += p->first[c + 1];
    }
    for (size_t i = 0; i < n; i++) {
        p->rows[p->first[owner[i] + 1]++] = (uint32_t)i;
    }
    *out = p;
    return TB_OK;
}

/* What the three kinds share while they give rows to owners. */
typedef struct deal {
    const tb_partition_options *options;
    by_class classes;
    tb_stream stream;
    uint32_t *owner;  /* [n_rows] */
    double *share;    /* [n_clients] */
    size_t *size;     /* [n_clients] rows given so far */
    uint32_t *shards; /* [n_clients * n_shards] */
    size_t n_rows;
} deal;

static void deal_iid(deal *d)
{
    size_t k = d->options->n_clients;
    uint32_t *rows = d->classes.rows;
    tb_stream_shuffle(&d->stream, rows, d->n_rows);
    for (size_t i = 0; i < d->n_rows; i++) {
        d->owner[rows[i]] = (uint32_t)(i % k);
    }
}

/* share [k] ~ Dirichlet(alpha): gammas over their sum. */
static void draw_shares(deal *d)
{
    size_t k = d->options->n_clients;
    double sum = 0.0;
    for (size_t c = 0; c < k; c++) {
        d->share[c] = tb_stream_gamma(&d->stream, d->options->alpha);
        sum += d->share[c];
    }
    if (!(sum > 0.0)) { /* a tiny alpha underflows: the limit is one owner */
        sum = 1.0;
        d->share[tb_stream_below(&d->stream, k)] = 1.0;
    }
    for (size_t c = 0; c < k; c++) {
        d->share[c] /= sum;
    }
}

/* Cuts the shuffled rows of one class at the running sum of the shares. */
static void deal_class(deal *d, uint32_t *rows, size_t n)
{
    size_t k = d->options->n_clients;
    draw_shares(d);
    tb_stream_shuffle(&d->stream, rows, n);
    double sum = 0.0;
    size_t at = 0;
    for (size_t c = 0; c < k; c++) {
        sum += d->share[c];
        size_t end = c + 1 == k ? n : (size_t)(sum * (double)n + 0.5);
        end = end < n ? end : n;
        for (; at < end; at++) {
            d->owner[rows[at]] = (uint32_t)c;
            d->size[c]++;
        }
    }
}

/* One walk over all rows, shuffled, is enough: what clients hold above the
 * mean is at least what others lack below it, and min_rows <= mean. */
static void fill_up(deal *d)
{
    size_t k = d->options->n_clients;
    size_t mean = d->n_rows / k;
    size_t needy = 0;
    tb_stream_shuffle(&d->stream, d->classes.rows, d->n_rows);
    for (size_t i = 0; i < d->n_rows; i++) {
        while (needy < k && d->size[needy] >= d->options->min_rows) {
            needy++;
        }
        if (needy == k) {
            return;
        }
        uint32_t *owner = &d->owner[d->classes.rows[i]];
        if (d->size[*owner] > mean) {
            d->size[*owner]--;
            d->size[needy]++;
            *owner = (uint32_t)needy;
        }
    }
}

static void deal_dirichlet(deal *d)
{
    for (size_t c = 0; c < d->classes.n_classes; c++) {
        deal_class(d, d->classes.rows + d->classes.first[c],
                   d->classes.first[c + 1] - d->classes.first[c]);
    }
    fill_up(d);
}

static void deal_shards(deal *d)
{
    size_t per_client = d->options->n_shards;
    size_t n_shards = d->options->n_clients * per_client;
    for (size_t s = 0; s < n_shards; s++) {
        d->shards[s] = (uint32_t)s;
    }
    tb_stream_shuffle(&d->stream, d->shards, n_shards);
    for (size_t s = 0; s < n_shards; s++) {
        size_t shard = d->shards[s];
        size_t begin = shard * d->n_rows / n_shards;
        size_t end = (shard + 1) * d->n_rows / n_shards;
        for (size_t i = begin; i < end; i++) {
            d->owner[d->classes.rows[i]] = (uint32_t)(s / per_client);
        }
    }
}

static tb_rc check_options(const tb_dataset *ds, const tb_partition_options *o,
                           tb_err *err)
{
    size_t n = tb_dataset_rows(ds);
    size_t k = o->n_clients;
    if (k == 0 || k > TB_PARTITION_MAX_CLIENTS) {
        return tb_fail(err, TB_E_USAGE, "partition: %zu clients, not 1 to %zu",
                       k, TB_PARTITION_MAX_CLIENTS);
    }
    size_t each = 1;
    if (o->kind == TB_PARTITION_DIRICHLET) {
        each = o->min_rows;
        if (!isfinite(o->alpha) || o->alpha <= 0.0) {
            return tb_fail(err, TB_E_USAGE,
                           "partition: alpha is %g, give a number above 0 "
                           "(0.1 very skewed, 0.5 skewed, 100 nearly even)",
                           o->alpha);
        }
    }
    if (o->kind == TB_PARTITION_SHARDS) {
        each = o->n_shards;
        if (each == 0) {
            return tb_fail(err, TB_E_USAGE,
                           "partition: 0 shards a client, give 1 or more");
        }
    }
    if (each > n / k) {
        return tb_fail(err, TB_E_USAGE,
                       "partition: %zu rows are too few for %zu clients with "
                       "%zu each; ask for fewer clients",
                       n, k, each);
    }
    const tb_sample_spec *spec = tb_dataset_spec(ds);
    if (o->kind != TB_PARTITION_IID &&
        (spec->target != TB_TARGET_CLASS || spec->n_targets != 1)) {
        return tb_fail(err, TB_E_USAGE,
                       "partition: %s needs class labels, one a row; use iid",
                       tb_partition_kind_name(o->kind));
    }
    return TB_OK;
}

static void deal_release(deal *d)
{
    by_class_release(&d->classes);
    tb_mem_free(d->owner);
    tb_mem_free(d->share);
    tb_mem_free(d->size);
    tb_mem_free(d->shards);
}

static tb_rc deal_init(deal *d, const tb_dataset *ds,
                       const tb_partition_options *o, tb_err *err)
{
    size_t n_shards =
        o->kind == TB_PARTITION_SHARDS ? o->n_clients * o->n_shards : 0;
    d->options = o;
    d->n_rows = tb_dataset_rows(ds);
    d->owner = tb_mem_array(d->n_rows, sizeof *d->owner);
    d->share = tb_mem_array(o->n_clients, sizeof *d->share);
    d->size = tb_mem_array(o->n_clients, sizeof *d->size);
    d->shards = tb_mem_array(n_shards, sizeof *d->shards);
    if (d->owner == NULL || d->share == NULL || d->size == NULL ||
        d->shards == NULL) {
        return tb_fail(err, TB_E_NOMEM, "partition of %zu rows", d->n_rows);
    }
    tb_stream_init(&d->stream, o->seed, 0, "partition",
                   tb_partition_kind_name(o->kind));
    return by_class_init(&d->classes, ds, err);
}

tb_rc tb_partition_new(tb_partition **out, const tb_dataset *ds,
                       const tb_partition_options *options, tb_err *err)
{
    *out = NULL;
    deal d = {0};
    tb_rc rc = check_options(ds, options, err);
    if (rc == TB_OK) {
        rc = deal_init(&d, ds, options, err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    switch (options->kind) {
    case TB_PARTITION_IID:
        deal_iid(&d);
        break;
    case TB_PARTITION_DIRICHLET:
        deal_dirichlet(&d);
        break;
    case TB_PARTITION_SHARDS:
        deal_shards(&d);
        break;
    }
    rc = from_owners(out, d.owner, d.n_rows, options->n_clients, err);
done:
    deal_release(&d);
    return rc;
}

/* Marks n_held rows, class by class: after each class the number taken is the
 * rounded share of all rows seen so far, so that the sum is exact. */
static void hold_out(uint32_t *owner, by_class *b, size_t n_held, size_t n,
                     tb_stream *stream)
{
    size_t taken = 0;
    for (size_t c = 0; c < b->n_classes; c++) {
        size_t begin = b->first[c];
        size_t end = b->first[c + 1];
        size_t want = end == n ? n_held : (2 * n_held * end + n) / (2 * n);
        tb_stream_shuffle(stream, b->rows + begin, end - begin);
        for (size_t i = begin; i < end && taken < want; i++, taken++) {
            owner[b->rows[i]] = 1;
        }
    }
}

tb_rc tb_partition_hold_out(tb_partition **out, const tb_dataset *ds,
                            size_t n_held, uint64_t seed, tb_err *err)
{
    *out = NULL;
    size_t n = tb_dataset_rows(ds);
    if (n_held > n) {
        return tb_fail(err, TB_E_USAGE, "hold out %zu of %zu rows: too many",
                       n_held, n);
    }
    by_class b = {0};
    tb_stream stream;
    tb_stream_init(&stream, seed, 0, "partition", "hold-out");
    uint32_t *owner = tb_mem_array(n, sizeof *owner);
    tb_rc rc = owner == NULL
                   ? tb_fail(err, TB_E_NOMEM, "hold out of %zu rows", n)
                   : by_class_init(&b, ds, err);
    if (rc == TB_OK) {
        hold_out(owner, &b, n_held, n, &stream);
        rc = from_owners(out, owner, n, 2, err);
    }
    by_class_release(&b);
    tb_mem_free(owner);
    return rc;
}
