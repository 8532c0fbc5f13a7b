/* tests/unit/wire/heard.h - one connection that bytes are said to, and the log
 * of what came of them; shared by the tests of wire/zmtp.h. */
#ifndef TB_TESTS_WIRE_HEARD_H
#define TB_TESTS_WIRE_HEARD_H

#include <sodium.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/crypto.h"
#include "crypto/secret.h"
#include "support/check.h"
#include "support/zmtp_talk.h"
#include "wire/zmtp.h"

#define FIRST_MAX  300
#define SECOND_MAX 20000
#define STREAM_MAX (SECOND_MAX + 4096)
#define EVENTS_MAX 16

static const tb_zmtp_limits limits = {.n_frames = 2,
                                      .frame_bytes = {FIRST_MAX, SECOND_MAX}};

static uint8_t noise[SECOND_MAX];

/* What came of some bytes, in order. */
typedef struct heard {
    tb_zmtp_kind kind;
    bool more;
    size_t n;
    uint8_t hash[16]; /* of the data of a frame, or of a key */
} heard;

typedef struct log {
    heard events[EVENTS_MAX];
    size_t n;
} log;

static inline void note(log *to, tb_zmtp_event *event)
{
    bool frame = event->kind == TB_ZMTP_FRAME;
    bool key = event->kind == TB_ZMTP_KEY;
    if (event->kind == TB_ZMTP_NOTHING) {
        return;
    }
    CHECK(to->n < EVENTS_MAX);
    heard *h = &to->events[to->n++];
    *h = (heard){.kind = event->kind,
                 .more = event->more,
                 .n = frame ? event->n_data : event->n_answer};
    if (frame || key) {
        CHECK(crypto_generichash(
                  h->hash, sizeof h->hash, frame ? event->data : event->key,
                  frame ? event->n_data : sizeof event->key, NULL, 0) == 0);
    }
    tb_mem_free(event->memory);
}

/* Reads n bytes and says what came; with gaps, large frames are received where
 * they go. */
static inline tb_rc hear(zmtp_talk *t, const uint8_t *bytes, size_t n,
                         bool gaps, log *to, tb_err *err)
{
    tb_zmtp_event event;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && n > 0) {
        uint8_t *gap = NULL;
        size_t used = gaps ? tb_zmtp_gap(&t->z, &gap) : 0;
        if (used > 0) {
            used = used < n ? used : n;
            memcpy(gap, bytes, used);
            rc = tb_zmtp_filled(&t->z, used, &event, err);
        } else {
            rc = tb_zmtp_read(&t->z, bytes, n, &used, &event, err);
        }
        if (rc == TB_OK) {
            note(to, &event);
            CHECK(used > 0);
        }
        bytes += used;
        n -= used;
    }
    return rc;
}

static inline void end(zmtp_talk *t)
{
    zmtp_talk_release(t);
    CHECK(tb_secret_live() == 0 && tb_mem_live() == 0);
}

/* Brings a connection to a place, or puts what is said there. */
typedef size_t put_fn(zmtp_talk *t, uint8_t out[static STREAM_MAX]);

static inline size_t nothing_yet(zmtp_talk *t, uint8_t out[static STREAM_MAX])
{
    (void)t;
    (void)out;
    return 0;
}

static inline size_t said_hello(zmtp_talk *t, uint8_t out[static STREAM_MAX])
{
    (void)out;
    zmtp_talk_hello(t);
    return 0;
}

static inline size_t met(zmtp_talk *t, uint8_t out[static STREAM_MAX])
{
    (void)out;
    zmtp_talk_meet(t);
    return 0;
}

static inline bool heard_setup(void)
{
    if (tb_crypto_init(NULL) != TB_OK) {
        return false;
    }
    randombytes_buf(noise, sizeof noise);
    return true;
}

#endif
