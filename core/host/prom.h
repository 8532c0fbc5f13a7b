/* core/host/prom.h - metrics as text that Prometheus reads (exposition format
 * 0.0.4): families, samples, histograms. Knows no metric of its own. One owner
 * at a time. */
#ifndef TB_HOST_PROM_H
#define TB_HOST_PROM_H

#include "base/buf.h"

#define TB_PROM_BUCKETS 16 /* bounds of a histogram, +Inf not among them */

typedef enum tb_prom_type {
    TB_PROM_COUNTER, /* only grows: its name ends in _total */
    TB_PROM_GAUGE,
    TB_PROM_HISTOGRAM
} tb_prom_type;

/* Text as it grows; the first failure sticks in rc. */
typedef struct tb_prom {
    tb_buf *out; /* borrowed */
    const char *family;
    tb_rc rc;
    tb_err *err; /* may be NULL */
} tb_prom;

/* Begins a family of samples: its # HELP and # TYPE lines. name and help
 * outlive its samples. */
void tb_prom_family(tb_prom *p, const char *name, tb_prom_type type,
                    const char *help) TB_NONNULL(1, 2, 4);

/* One sample of the family. label: its name, or NULL for none; then value is
 * any text. */
void tb_prom_sample(tb_prom *p, const char *label, const char *text,
                    double value) TB_NONNULL(1);

/* A family of one sample without labels. */
void tb_prom_one(tb_prom *p, const char *name, tb_prom_type type,
                 const char *help, double value) TB_NONNULL(1, 2, 4);

/* How often something took how long: 0.1 ms, 0.25 ms, 0.5 ms, 1 ms, ... 10 s.
 * Zeros are an empty one. */
typedef struct tb_prom_times {
    uint64_t counts[TB_PROM_BUCKETS + 1]; /* of each bucket alone; last: +Inf */
    double sum_s;
} tb_prom_times;

/* It took so long once more. */
void tb_prom_observe(tb_prom_times *times, double seconds) TB_NONNULL(1);

/* A histogram of the family; label as for a sample. */
void tb_prom_histogram(tb_prom *p, const char *label, const char *text,
                       const tb_prom_times *times) TB_NONNULL(1, 4);

#endif
