#include "resume.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/stop.h"

#define FILE_BYTES_MAX ((size_t)1 << 33)
#define EPOCH_PAUSE_MS 5000 /* epochs may be short, and a checkpoint long */
#define KEY_BYTES      TB_SETTINGS_KEY_BYTES

/* Rows that a resumed training may change though they are no local ones: where
 * the data lies now, and how many epochs; the schedule's end follows from
 * those, so that cosine keeps them. */
static bool may_differ(const char *key, const tb_settings *settings)
{
    bool cosine = false;
    for (size_t i = 0; i < settings->table->n_rows; i++) {
        const tb_setting *row = &settings->table->rows[i];
        if (strcmp(row->key, "schedule") == 0) {
            int kind = 0;
            memcpy(&kind, (const char *)settings->values + row->offset,
                   sizeof kind);
            cosine = kind == 2;
        }
    }
    return strcmp(key, "data") == 0 || strcmp(key, "labels") == 0 ||
           (strcmp(key, "epochs") == 0 && !cosine);
}

/* The text of all settings that a resumed training must have too. */
static tb_rc put_settings(tb_buf *out, const tb_settings *settings, tb_err *err)
{
    tb_buf all;
    tb_buf_init(&all, TB_CHECKPOINT_SETTINGS_BYTES);
    tb_rc rc = tb_settings_encode(settings->table, settings->values,
                                  TB_SETTING_LOCAL, &all, err);
    for (size_t at = 0; rc == TB_OK && at < all.len;) {
        const char *line = (const char *)all.data + at;
        const char *end = memchr(line, '\n', all.len - at);
        size_t n = end != NULL ? (size_t)(end - line) + 1 : all.len - at;
        const char *colon = memchr(line, ':', n);
        int n_key = colon != NULL ? (int)(colon - line) : 0;
        char key[KEY_BYTES];
        (void)snprintf(key, sizeof key, "%.*s", n_key, line);
        if (!may_differ(key, settings)) {
            rc = tb_buf_put(out, line, n, err);
        }
        at += n;
    }
    tb_buf_release(&all);
    return rc;
}

tb_rc saver_init(saver *s, const checkpoint_flags *flags, const char *output,
                 const tb_settings *settings, tb_err *err)
{
    *s = (saver){.own = flags->path[0] == '\0',
                 .every = flags->every,
                 .next_ms = tb_clock_ms() + EPOCH_PAUSE_MS};
    tb_buf_init(&s->settings, TB_CHECKPOINT_SETTINGS_BYTES);
    int n = s->own
                ? snprintf(s->path, sizeof s->path, "%s.checkpoint.npz", output)
                : snprintf(s->path, sizeof s->path, "%s", flags->path);
    if (n < 0 || (size_t)n >= sizeof s->path) {
        return tb_fail(err, TB_E_USAGE, "%s: too long a path", output);
    }
    tb_rc rc = put_settings(&s->settings, settings, err);
    return rc == TB_OK ? tb_stop_open(&s->stop_fd, err) : rc;
}

void saver_release(saver *s)
{
    tb_buf_release(&s->settings);
}

bool saver_is_due(const saver *s, uint64_t steps, bool epoch_ends)
{
    if (s->every > 0) {
        return steps % s->every == 0;
    }
    return epoch_ends && (!s->own || tb_clock_ms() >= s->next_ms);
}

tb_rc saver_write(saver *s, tb_trainer *t, tb_graph *graph,
                  const tb_progress *progress, tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, FILE_BYTES_MAX);
    tb_rc rc =
        tb_checkpoint_encode(&bytes, t, graph, progress, &s->settings, err);
    if (rc == TB_OK) {
        rc = tb_file_write(s->path, bytes.data, bytes.len, 0644, err);
    }
    s->written = s->written || rc == TB_OK;
    s->next_ms = tb_clock_ms() + EPOCH_PAUSE_MS;
    tb_buf_release(&bytes);
    return rc;
}

/* The first line in which two texts differ; MISMATCH names its key. */
static tb_rc compare(const tb_buf *then, const tb_buf *now, tb_err *err)
{
    size_t at = 0;
    size_t line = 0;
    while (at < then->len && at < now->len && then->data[at] == now->data[at]) {
        at++;
        line = then->data[at - 1] == '\n' ? at : line;
    }
    if (at == then->len && at == now->len) {
        return TB_OK;
    }
    const char *a = (const char *)then->data + line;
    const char *b = (const char *)now->data + line;
    size_t n_a = line < then->len ? then->len - line : 0;
    size_t n_b = line < now->len ? now->len - line : 0;
    const char *end_a = n_a > 0 ? memchr(a, '\n', n_a) : NULL;
    const char *end_b = n_b > 0 ? memchr(b, '\n', n_b) : NULL;
    return tb_fail(err, TB_E_MISMATCH,
                   "it was made with other flags: \"%.*s\" then, \"%.*s\" now; "
                   "resume with the same ones",
                   (int)(end_a != NULL ? end_a - a : 0), n_a > 0 ? a : "",
                   (int)(end_b != NULL ? end_b - b : 0), n_b > 0 ? b : "");
}

tb_rc saver_read(saver *s, tb_checkpoint *out, uint64_t seed, uint64_t n_rows,
                 tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, FILE_BYTES_MAX);
    tb_rc rc = tb_file_read(&bytes, s->path, err);
    if (rc == TB_E_NOT_FOUND) {
        rc = tb_fail(err, rc,
                     "%s: no checkpoint is there to resume from; begin without "
                     "--resume",
                     s->path);
    }
    if (rc == TB_OK) {
        rc = tb_checkpoint_decode(out, s->path, bytes.data, bytes.len, err);
    }
    tb_buf_release(&bytes);
    if (rc != TB_OK) {
        return rc;
    }
    rc = compare(&out->settings, &s->settings, err);
    if (rc == TB_OK &&
        (out->progress.seed != seed || out->progress.n_rows != n_rows)) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "it was made on %llu rows with seed %llu, now there are "
                     "%llu rows and seed %llu",
                     (unsigned long long)out->progress.n_rows,
                     (unsigned long long)out->progress.seed,
                     (unsigned long long)n_rows, (unsigned long long)seed);
    }
    if (rc != TB_OK) {
        tb_checkpoint_release(out);
        return tb_err_prefix(err, rc, "%s", s->path);
    }
    s->written = true;
    return TB_OK;
}

bool saver_asked_to_stop(const saver *s)
{
    struct pollfd fd = {.fd = s->stop_fd, .events = POLLIN};
    return poll(&fd, 1, 0) > 0;
}

tb_rc saver_explain_stop(const saver *s, tb_rc rc, tb_err *err)
{
    if (!s->written) {
        return rc;
    }
    return tb_fail(err, rc,
                   "stopped; the same command with --resume goes on from %s",
                   s->path);
}

void saver_done(saver *s)
{
    if (s->own && s->written) {
        (void)unlink(s->path);
        s->written = false;
    }
}
