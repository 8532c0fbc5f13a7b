#include "roster.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define LINE_BYTES 1024
#define KEY_HEX    (2 * 32 + 1)

static const char first_line[] = "tributary-roster 1\n";
static const char last_word[] = "signature ";

/* --- writing -------------------------------------------------------------- */

static tb_rc line(tb_buf *out, tb_err *err, const char *fmt, ...)
    TB_PRINTF(3, 4);

static tb_rc line(tb_buf *out, tb_err *err, const char *fmt, ...)
{
    char text[LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return n > 0 && (size_t)n < sizeof text
               ? tb_buf_put(out, text, (size_t)n, err)
               : tb_fail(err, TB_E_BUG, "roster: a line of %d bytes", n);
}

static tb_rc write_member(tb_buf *out, const tb_member *m, tb_err *err)
{
    char sign[KEY_HEX];
    char curve[KEY_HEX];
    tb_text_hex(m->sign_key, 32, sign);
    tb_text_hex(m->curve_key, 32, curve);
    tb_rc rc =
        line(out, err, "client %s %" PRIu64 " %s %s %s%s%s\n", m->client.text,
             m->since_s, sign, curve, m->revoked ? "revoked" : "member",
             m->labels.text[0] != '\0' ? " " : "", m->labels.text);
    for (uint32_t i = 0; rc == TB_OK && i < m->n_old; i++) {
        tb_text_hex(m->old[i].sign_key, 32, sign);
        tb_text_hex(m->old[i].curve_key, 32, curve);
        rc = line(out, err, "old %" PRIu64 " %" PRIu64 " %s %s\n",
                  m->old[i].since_s, m->old[i].until_s, sign, curve);
    }
    return rc;
}

tb_rc tb_roster_write(tb_buf *out, const tb_coordinator *machine,
                      const tb_sign_key *sign,
                      const tb_certificate *certificate, tb_err *err)
{
    uint8_t bytes[TB_CERTIFICATE_BYTES];
    char hex[2 * TB_CERTIFICATE_BYTES + 1];
    uint8_t signature[TB_SIGNATURE_BYTES];
    tb_member m;
    tb_certificate_encode(certificate, bytes);
    tb_text_hex(bytes, sizeof bytes, hex);
    tb_rc rc = line(out, err, "%scertificate %s\n", first_line, hex);
    for (size_t i = 0; rc == TB_OK && tb_coordinator_member(machine, i, &m);
         i++) {
        rc = write_member(out, &m, err);
    }
    if (rc == TB_OK) {
        tb_sign(signature, sign, TB_SIGN_ROSTER, out->data, out->len);
        tb_text_hex(signature, sizeof signature, hex);
        rc = line(out, err, "%s%s\n", last_word, hex);
    }
    return rc;
}

/* --- reading -------------------------------------------------------------- */

typedef struct reader {
    const char *at, *end;
    unsigned number; /* of the line at hand */
    char text[LINE_BYTES];
    tb_err *err;
} reader;

static tb_rc bad(const reader *r, const char *what)
{
    return tb_fail(r->err, TB_E_MALFORMED, "roster: line %u: %s", r->number,
                   what);
}

/* The next line without its newline; "" at the end. */
static tb_rc next(reader *r)
{
    r->text[0] = '\0';
    if (r->at == r->end) {
        return TB_OK;
    }
    const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
    size_t n = newline != NULL ? (size_t)(newline - r->at) : 0;
    r->number++;
    if (n == 0 || n >= sizeof r->text || memchr(r->at, '\0', n) != NULL) {
        return bad(r, "empty, cut, or too long");
    }
    memcpy(r->text, r->at, n);
    r->text[n] = '\0';
    r->at = newline + 1;
    return TB_OK;
}

static tb_rc read_member(reader *r, tb_member *m)
{
    char name[TB_NAME_BYTES];
    char sign[KEY_HEX];
    char curve[KEY_HEX];
    char state[8];
    int used = 0;
    *m = (tb_member){.since_s = 0};
    if (sscanf(r->text, "client %63s %" SCNu64 " %64s %64s %7s%n", name,
               &m->since_s, sign, curve, state, &used) != 5 ||
        !tb_name_set(&m->client, name) ||
        !tb_text_unhex(sign, m->sign_key, 32) ||
        !tb_text_unhex(curve, m->curve_key, 32)) {
        return bad(r, "\"client NAME SINCE SIGN CURVE STATE\" expected");
    }
    m->revoked = strcmp(state, "revoked") == 0;
    const char *labels = r->text + used + (r->text[used] == ' ');
    if ((!m->revoked && strcmp(state, "member") != 0) ||
        !tb_labels_valid(labels)) {
        return bad(r, "neither member nor revoked, or labels that are none");
    }
    (void)snprintf(m->labels.text, sizeof m->labels.text, "%s", labels);
    return TB_OK;
}

static tb_rc read_old(reader *r, tb_member *m)
{
    char sign[KEY_HEX];
    char curve[KEY_HEX];
    if (m->n_old == TB_OLD_KEYS_MAX) {
        return bad(r, "too many old keys");
    }
    tb_old_keys *old = &m->old[m->n_old];
    if (sscanf(r->text, "old %" SCNu64 " %" SCNu64 " %64s %64s", &old->since_s,
               &old->until_s, sign, curve) != 4 ||
        !tb_text_unhex(sign, old->sign_key, 32) ||
        !tb_text_unhex(curve, old->curve_key, 32)) {
        return bad(r, "\"old SINCE UNTIL SIGN CURVE\" expected");
    }
    m->n_old++;
    return TB_OK;
}

/* The certificate line, and that its key signed all before the last line. */
static tb_rc check(reader *r, const uint8_t *root_public)
{
    uint8_t bytes[TB_CERTIFICATE_BYTES];
    uint8_t signature[TB_SIGNATURE_BYTES];
    tb_certificate c;
    const char *text = r->at;
    size_t n_last = sizeof last_word - 1 + 2 * TB_SIGNATURE_BYTES + 1;
    char last[sizeof last_word + 2 * TB_SIGNATURE_BYTES];
    if ((size_t)(r->end - text) < n_last || r->end[-1] != '\n') {
        return tb_fail(r->err, TB_E_MALFORMED,
                       "roster: cut short, or no roster");
    }
    r->end -= n_last;
    memcpy(last, r->end, n_last - 1);
    last[n_last - 1] = '\0';
    tb_rc rc = next(r);
    if (rc == TB_OK && strncmp(r->text, first_line, strlen(r->text)) != 0) {
        rc = bad(r, "\"tributary-roster 1\" expected");
    }
    if (rc == TB_OK) {
        rc = next(r);
    }
    if (rc == TB_OK && (strncmp(r->text, "certificate ", 12) != 0 ||
                        !tb_text_unhex(r->text + 12, bytes, sizeof bytes) ||
                        strncmp(last, last_word, sizeof last_word - 1) != 0 ||
                        !tb_text_unhex(last + sizeof last_word - 1, signature,
                                       sizeof signature))) {
        rc = bad(r, "no certificate, or no signature at the end");
    }
    if (rc == TB_OK) {
        rc = tb_certificate_decode(&c, bytes, sizeof bytes, r->err);
    }
    if (rc == TB_OK) {
        rc = tb_certificate_verify(&c, root_public, c.valid_from, r->err);
        rc = rc == TB_OK
                 ? rc
                 : tb_err_prefix(r->err, rc, "roster: not of this federation");
    }
    if (rc == TB_OK && tb_verify(signature, c.sign_key, TB_SIGN_ROSTER, text,
                                 (size_t)(r->end - text), r->err) != TB_OK) {
        rc = tb_fail(r->err, TB_E_DENIED,
                     "roster: altered since it was "
                     "exported");
    }
    return rc;
}

tb_rc tb_roster_read(const char *text, size_t len,
                     const uint8_t root_public[static TB_SIGN_PUBLIC_BYTES],
                     tb_rc (*fn)(void *arg, const tb_member *m, tb_err *err),
                     void *arg, tb_err *err)
{
    reader r = {.at = text, .end = text + len, .err = err};
    tb_rc rc = check(&r, root_public);
    if (rc == TB_OK) {
        rc = next(&r);
    }
    while (rc == TB_OK && r.text[0] != '\0') {
        tb_member m;
        rc = read_member(&r, &m);
        if (rc == TB_OK) {
            rc = next(&r);
        }
        while (rc == TB_OK && strncmp(r.text, "old ", 4) == 0) {
            rc = read_old(&r, &m);
            rc = rc == TB_OK ? next(&r) : rc;
        }
        if (rc == TB_OK) {
            rc = fn(arg, &m, err);
        }
    }
    return rc;
}
