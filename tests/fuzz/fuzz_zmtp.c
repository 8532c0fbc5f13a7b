/* One connection of ZMTP under CURVE. The first byte says how far it has come:
 * a stranger's any bytes never prove a key; a key with any metadata is proven
 * or refused; and after the handshake, traffic made from the input: exactly
 * what the client sealed comes out, in its order, and nothing after the first
 * byte that is not its own. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/crypto.h"
#include "support/zmtp_talk.h"

#define FIRST_MAX  64
#define SECOND_MAX 20000
#define FRAME_MAX  (SECOND_MAX + 256)

static const tb_zmtp_limits limits = {.n_frames = 2,
                                      .frame_bytes = {FIRST_MAX, SECOND_MAX}};

/* The input, taken byte by byte; zeroes behind its end. */
typedef struct tape {
    const uint8_t *at;
    size_t left;
} tape;

static uint8_t next(tape *t)
{
    if (t->left == 0) {
        return 0;
    }
    t->left--;
    return *t->at++;
}

/* What must come of what is said next: at most one event. */
typedef struct want {
    tb_zmtp_kind kind;
    const uint8_t *data;
    size_t n;
    bool more;
    bool came;
} want;

static void check(tb_zmtp_event *event, want *w)
{
    if (event->kind != TB_ZMTP_NOTHING && w != NULL) {
        if (event->kind != w->kind || w->came) {
            abort();
        }
        w->came = true;
        if (event->kind == TB_ZMTP_FRAME &&
            (event->n_data != w->n || event->more != w->more ||
             memcmp(event->data, w->data, w->n) != 0)) {
            abort();
        }
    }
    tb_mem_free(event->memory);
}

/* Says n bytes in pieces; false: the connection has ended. */
static bool say(tb_zmtp *z, const uint8_t *bytes, size_t n, size_t piece,
                want *w)
{
    tb_zmtp_event event;
    while (n > 0) {
        uint8_t *gap = NULL;
        size_t now = n < piece ? n : piece;
        size_t used = tb_zmtp_gap(z, &gap);
        tb_rc rc;
        if (used > 0 && piece % 2 == 0) {
            used = used < now ? used : now;
            memcpy(gap, bytes, used);
            rc = tb_zmtp_filled(z, used, &event, NULL);
        } else {
            rc = tb_zmtp_read(z, bytes, now, &used, &event, NULL);
        }
        if (rc != TB_OK) {
            if (rc != TB_E_MALFORMED && rc != TB_E_LIMIT) {
                abort();
            }
            return false;
        }
        check(&event, w);
        if (used == 0) {
            return true; /* a key waits for its judge */
        }
        bytes += used;
        n -= used;
    }
    return true;
}

static void stranger(zmtp_talk *t, tape *in)
{
    size_t piece = next(in) + 1u;
    want greeting = {.kind = TB_ZMTP_ANSWER};
    for (size_t at = 0; at < in->left; at += piece) {
        size_t n = in->left - at < piece ? in->left - at : piece;
        if (!say(&t->z, in->at + at, n, n, &greeting)) {
            break;
        }
    }
    if (tb_zmtp_is_ready(&t->z) || tb_zmtp_held(&t->z) > 200) {
        abort();
    }
}

static void named(zmtp_talk *t, const tape *in)
{
    uint8_t bytes[ZMTP_INITIATE_MAX];
    want key = {.kind = TB_ZMTP_KEY};
    if (in->left > ZMTP_INITIATE_MAX - 300) {
        return;
    }
    zmtp_talk_hello(t);
    size_t n = zmtp_talk_initiate(t, in->at, in->left, bytes);
    if (say(&t->z, bytes, n, n, &key) != key.came) {
        abort();
    }
}

/* One honest frame, as the input wants it; false: it was refused, rightly. */
static bool honest(zmtp_talk *t, tape *in, bool *second, uint8_t *bytes,
                   size_t *n_bytes)
{
    static uint8_t data[SECOND_MAX + 8];
    uint8_t flags = next(in) % 4;
    size_t n = next(in) * 79u;
    size_t most = *second ? SECOND_MAX : FIRST_MAX;
    n = n > SECOND_MAX ? SECOND_MAX + 1 : n % 3 == 0 ? n % (FIRST_MAX + 2) : n;
    memset(data, next(in), n);
    want frame = {
        .kind = TB_ZMTP_FRAME, .data = data, .n = n, .more = flags == 1};
    bool good = n <= most && (flags == 0 || (flags == 1 && !*second) ||
                              (flags == 2 && n <= 23));
    *n_bytes = zmtp_talk_message(t, flags, data, n, bytes);
    bool said = say(&t->z, bytes, *n_bytes, next(in) * 32u + 1, &frame);
    if (said != good || frame.came != (good && flags != 2)) {
        abort();
    }
    if (flags != 2) {
        *second = flags == 1;
    }
    return said;
}

static void member(zmtp_talk *t, tape *in)
{
    static uint8_t bytes[FRAME_MAX];
    size_t n = 0;
    bool second = false;
    want nothing = {.kind = TB_ZMTP_NOTHING};
    zmtp_talk_meet(t);
    while (in->left > 0) {
        uint8_t what = next(in);
        if (what < 224) {
            if (!honest(t, in, &second, bytes, &n)) {
                return;
            }
        } else if (what < 240 && n > 0) { /* the last one again */
            if (say(&t->z, bytes, n, n, &nothing)) {
                abort();
            }
            return;
        } else if (what < 248) { /* altered */
            n = zmtp_talk_message(t, 0, in->at, in->left % FIRST_MAX, bytes);
            bytes[2 + next(in) % (n - 2)] ^= (uint8_t)(1 << next(in) % 8);
            if (say(&t->z, bytes, n, n, &nothing)) {
                abort();
            }
            return;
        } else { /* any bytes, and honest ones behind them */
            size_t raw = in->left;
            if (raw > 0 && say(&t->z, in->at, raw, raw, &nothing)) {
                n = zmtp_talk_message(t, 0, in->at, raw % FIRST_MAX, bytes);
                (void)say(&t->z, bytes, n, n, &nothing);
            }
            return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static zmtp_talk talk;
    tape in = {data, size};
    if (talk.door == NULL) {
        if (tb_crypto_init(NULL) != TB_OK) {
            abort();
        }
        zmtp_talk_init(&talk, &limits);
    }
    zmtp_talk_again(&talk, &limits);
    size_t live = tb_mem_live();
    switch (next(&in) % 3) {
    case 0:
        stranger(&talk, &in);
        break;
    case 1:
        named(&talk, &in);
        break;
    default:
        member(&talk, &in);
    }
    tb_zmtp_release(&talk.z);
    if (tb_mem_live() != live) {
        abort();
    }
    return 0;
}
