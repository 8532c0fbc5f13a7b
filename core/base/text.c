#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAME_MAX_BYTES 64

tb_rc tb_text_u64(const char *text, uint64_t *out, tb_err *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long long v =
        isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    if (end == NULL || *end != '\0') {
        return tb_fail(err, TB_E_USAGE, "\"%.64s\" is not a whole number",
                       text);
    }
    if (errno == ERANGE) {
        return tb_fail(err, TB_E_USAGE, "%.64s is too large", text);
    }
    *out = v;
    return TB_OK;
}

tb_rc tb_text_f64(const char *text, double *out, tb_err *err)
{
    char *end = NULL;
    double v = strtod(text, &end);
    if (text[strspn(text, "+-.0123456789eE")] != '\0' || end == text ||
        *end != '\0' || !isfinite(v)) {
        return tb_fail(err, TB_E_USAGE, "\"%.64s\" is not a finite number",
                       text);
    }
    *out = v;
    return TB_OK;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance of a and b, both < NAME_MAX_BYTES long. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(b);
    size_t rows[3][NAME_MAX_BYTES + 1];
    for (size_t j = 0; j <= n; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t *now = rows[i % 3];
        const size_t *up = rows[(i + 2) % 3];
        const size_t *up2 = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = up[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = least(least(up[j] + 1, now[j - 1] + 1), change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
                a[i - 2] == b[j - 1]) {
                now[j] = least(now[j], up2[j - 2] + 1);
            }
        }
    }
    return rows[strlen(a) % 3][n];
}

const char *tb_text_nearest(const char *text, const char *const *names,
                            size_t n)
{
    const char *best = NULL;
    size_t best_distance = (size_t)-1;
    if (strlen(text) >= NAME_MAX_BYTES) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if (strlen(names[i]) >= NAME_MAX_BYTES) {
            continue;
        }
        size_t d = distance(text, names[i]);
        if (d < best_distance && d <= (strlen(names[i]) + 2) / 3) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}

void tb_text_bytes(uint64_t bytes, char *out, size_t out_bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 999.5 && u + 1 < sizeof units / sizeof *units) {
        v /= 1000.0;
        u++;
    }
    (void)snprintf(out, out_bytes, u == 0 || v >= 99.95 ? "%.0f %s" : "%.1f %s",
                   v, units[u]);
}

void tb_text_utc(uint64_t unix_s, char out[static TB_UTC_BYTES])
{
    time_t t = (time_t)unix_s;
    struct tm utc;
    if (gmtime_r(&t, &utc) == NULL ||
        strftime(out, TB_UTC_BYTES, "%Y-%m-%d %H:%M:%S UTC", &utc) == 0) {
        (void)snprintf(out, TB_UTC_BYTES, "an unknown time");
    }
}

uint32_t tb_text_next_code(const char **at)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 1},
                 {0xe0, 0xc0, 0x80},
                 {0xf0, 0xe0, 0x800},
                 {0xf8, 0xf0, 0x10000}};
    const uint8_t *p = (const uint8_t *)*at;
    for (size_t n = 0; n < 4; n++) {
        if ((p[0] & forms[n].mask) != forms[n].lead) {
            continue;
        }
        uint32_t code = p[0] & (uint8_t)~forms[n].mask;
        for (size_t i = 1; i <= n; i++) {
            if ((p[i] & 0xc0) != 0x80) {
                return 0;
            }
            code = code << 6 | (p[i] & 0x3f);
        }
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        if (code < forms[n].least || code > 0x10ffff || surrogate) {
            return 0;
        }
        *at += n + 1;
        return code;
    }
    return 0;
}

bool tb_text_fits(const char *pattern, const char *text)
{
    const char *star = NULL; /* the last one, and where its text ends so far */
    const char *taken = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            taken = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) { /* that star takes one more */
            pattern = star + 1;
            text = ++taken;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

void tb_text_hex(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tb_text_unhex(const char *text, uint8_t *out, size_t n)
{
    if (strlen(text) != 2 * n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        int high = nibble(text[2 * i]);
        int low = nibble(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
