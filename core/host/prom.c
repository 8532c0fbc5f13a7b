#include "host/prom.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

static const double bounds_s[TB_PROM_BUCKETS] = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
    0.05,   0.1,     0.25,   0.5,   1.0,    2.5,   5.0,  10.0};

static void put(tb_prom *p, const char *text)
{
    if (p->rc == TB_OK) {
        p->rc = tb_buf_printf(p->out, p->err, "%s", text);
    }
}

/* Backslash and line end, in a label the quote too, as the format wants it. */
static void put_escaped(tb_prom *p, const char *text, bool label)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\n') {
            put(p, "\\n");
        } else if (*c == '\\' || (label && *c == '"')) {
            const char pair[] = {'\\', *c, '\0'};
            put(p, pair);
        } else {
            const char one[] = {*c, '\0'};
            put(p, one);
        }
    }
}

/* The shortest text that reads back as the same double. */
static void put_number(tb_prom *p, double value)
{
    char text[40];
    if (isnan(value)) {
        put(p, "NaN");
        return;
    }
    if (isinf(value)) {
        put(p, value > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        double back = 0.0;
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (sscanf(text, "%lf", &back) == 1 && !(back < value) &&
            !(back > value)) {
            break;
        }
    }
    put(p, text);
}

static void put_label(tb_prom *p, const char *label, const char *text)
{
    put(p, label);
    put(p, "=\"");
    put_escaped(p, text != NULL ? text : "", true);
    put(p, "\"");
}

void tb_prom_family(tb_prom *p, const char *name, tb_prom_type type,
                    const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    p->family = name;
    put(p, "# HELP ");
    put(p, name);
    put(p, " ");
    put_escaped(p, help, false);
    put(p, "\n# TYPE ");
    put(p, name);
    put(p, " ");
    put(p, types[type]);
    put(p, "\n");
}

void tb_prom_sample(tb_prom *p, const char *label, const char *text,
                    double value)
{
    put(p, p->family);
    if (label != NULL) {
        put(p, "{");
        put_label(p, label, text);
        put(p, "}");
    }
    put(p, " ");
    put_number(p, value);
    put(p, "\n");
}

void tb_prom_one(tb_prom *p, const char *name, tb_prom_type type,
                 const char *help, double value)
{
    tb_prom_family(p, name, type, help);
    tb_prom_sample(p, NULL, NULL, value);
}

void tb_prom_observe(tb_prom_times *times, double seconds)
{
    size_t i = 0;
    while (i < TB_PROM_BUCKETS && seconds > bounds_s[i]) {
        i++;
    }
    times->counts[i]++;
    times->sum_s += seconds;
}

/* One line of a histogram: its suffix, its labels, its value. */
static void put_line(tb_prom *p, const char *suffix, const char *label,
                     const char *text, const double *bound, double value)
{
    put(p, p->family);
    put(p, suffix);
    if (label != NULL || bound != NULL) {
        put(p, "{");
    }
    if (label != NULL) {
        put_label(p, label, text);
        put(p, bound != NULL ? "," : "");
    }
    if (bound != NULL) {
        put(p, "le=\"");
        put_number(p, *bound);
        put(p, "\"");
    }
    put(p, label != NULL || bound != NULL ? "} " : " ");
    put_number(p, value);
    put(p, "\n");
}

void tb_prom_histogram(tb_prom *p, const char *label, const char *text,
                       const tb_prom_times *times)
{
    const double infinity = INFINITY;
    uint64_t below = 0;
    for (size_t i = 0; i <= TB_PROM_BUCKETS; i++) {
        below += times->counts[i];
        put_line(p, "_bucket", label, text,
                 i < TB_PROM_BUCKETS ? &bounds_s[i] : &infinity, (double)below);
    }
    put_line(p, "_sum", label, text, NULL, times->sum_s);
    put_line(p, "_count", label, text, NULL, (double)below);
}
