/* core/wire/zmtp.h - one connection of ZMTP 3.1 (RFC 37) under CURVE, as a
 * ROUTER speaks it to a DEALER that has connected: bytes in, events out. No
 * I/O, clock or threads; who may come in is the caller's to say. One owner at a
 * time.
 *
 * A peer sends a greeting of 64 bytes (FF | 8 | 7F | version 2 | mechanism 20 |
 * as-server 1 | 31), then frames: flags 1 (1: more, 2: long, 4: command) | size
 * 1, or 8 big-endian when long | body. A body is a command of CurveZMQ
 * (crypto/curve.h): HELLO and INITIATE, then a MESSAGE for each frame of a
 * message. We answer the first 10 bytes with our greeting, so that a peer that
 * says nothing costs no byte; HELLO with WELCOME; INITIATE with READY, or with
 * ERROR and the end.
 *
 * What a peer can cost: a body's size meets its limit before there is a buffer;
 * before its key is proven 1 KB; after that one frame under way, of which the
 * caller may count what has come (tb_zmtp_held), and none of it is opened
 * before all of it is there. */
#ifndef TB_WIRE_ZMTP_H
#define TB_WIRE_ZMTP_H

#include "crypto/curve.h"

#define TB_ZMTP_ANSWER_BYTES_MAX 256 /* greeting, WELCOME, READY or ERROR */
#define TB_ZMTP_HEADER_BYTES_MAX 9

/* Of a frame that has only begun. */
#define TB_ZMTP_FIRST_BYTES 16384

/* Around the data of a frame that we send. */
#define TB_ZMTP_SEALED_BYTES_MAX                                               \
    (TB_ZMTP_HEADER_BYTES_MAX + TB_CURVE_MESSAGE_BYTES_MIN)

/* The largest frames of a message, by their place in it. */
typedef struct tb_zmtp_limits {
    uint32_t n_frames;       /* of one message: 1 or 2 */
    uint32_t frame_bytes[2]; /* data of the first, of the second */
} tb_zmtp_limits;

typedef struct tb_zmtp {
    /* The fields are private; zeroes and tb_zmtp_init make one. */
    tb_curve_session curve;
    tb_curve_door *door;          /* borrowed */
    const tb_zmtp_limits *limits; /* borrowed */
    uint8_t *body;                /* of the frame under way; owned */
    uint32_t body_bytes, body_room, body_have; /* all; memory; what came */
    uint8_t head[12]; /* of a greeting or a frame, as far as it has come */
    uint8_t head_have;
    uint8_t state, frame; /* frame: place of the next one in its message */
} tb_zmtp;

typedef enum tb_zmtp_kind {
    TB_ZMTP_NOTHING, /* more bytes are needed */
    TB_ZMTP_ANSWER,  /* send answer to the peer, and go on */
    TB_ZMTP_KEY,     /* key is proven: tb_zmtp_accept or tb_zmtp_refuse */
    TB_ZMTP_FRAME    /* one frame of a message */
} tb_zmtp_kind;

typedef struct tb_zmtp_event {
    tb_zmtp_kind kind;
    uint8_t answer[TB_ZMTP_ANSWER_BYTES_MAX];
    size_t n_answer;
    uint8_t key[TB_CURVE_KEY_BYTES];
    uint8_t *memory;     /* FRAME: the caller's now, for tb_mem_free */
    const uint8_t *data; /* within memory */
    size_t n_data;
    bool more; /* another frame of the same message follows */
} tb_zmtp_event;

/* A connection that has just been accepted at this door. */
void tb_zmtp_init(tb_zmtp *z, tb_curve_door *door, const tb_zmtp_limits *limits)
    TB_NONNULL(1, 2, 3);

/* Wipes and frees what it holds; safe twice, and on zeroes. */
void tb_zmtp_release(tb_zmtp *z) TB_NONNULL(1);

/* Reads from n received bytes up to the next event, and says how many it has
 * used; the caller calls again with the rest, until NOTHING comes. Errors, all
 * final (the connection must end): MALFORMED, LIMIT (a frame or message over
 * its limit), NOMEM. */
tb_rc tb_zmtp_read(tb_zmtp *z, const uint8_t *bytes, size_t n, size_t *used,
                   tb_zmtp_event *out, tb_err *err)
    TB_NONNULL(1, 2, 4, 5) TB_MUST_CHECK;

/* Bytes that are still to come of a large frame; 0: it is a small one, or none.
 * Until more of it comes than TB_ZMTP_FIRST_BYTES it has no more memory. */
size_t tb_zmtp_rest(const tb_zmtp *z) TB_NONNULL(1);

/* Where that rest may be received without a copy; 0 bytes: nowhere, it goes
 * through tb_zmtp_read. */
size_t tb_zmtp_gap(tb_zmtp *z, uint8_t **at) TB_NONNULL(1, 2);

/* n bytes, at most those, have been received there. As tb_zmtp_read. */
tb_rc tb_zmtp_filled(tb_zmtp *z, size_t n, tb_zmtp_event *out, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Bytes of the frame under way that have come. */
size_t tb_zmtp_held(const tb_zmtp *z) TB_NONNULL(1);

/* Whether the key has been accepted: messages may go both ways. */
bool tb_zmtp_is_ready(const tb_zmtp *z) TB_NONNULL(1);

/* After KEY: writes READY, or an ERROR with a status as ZAP has it ("300": come
 * again later, "400": never), after which the connection must end. Returns the
 * bytes to send. */
size_t tb_zmtp_accept(tb_zmtp *z,
                      uint8_t answer[static TB_ZMTP_ANSWER_BYTES_MAX])
    TB_NONNULL(1, 2);
size_t tb_zmtp_refuse(tb_zmtp *z, const char status[static 4],
                      uint8_t answer[static TB_ZMTP_ANSWER_BYTES_MAX])
    TB_NONNULL(1, 2, 3);

/* Takes the nonce of the next frame that is sent (crypto/curve.h). */
uint64_t tb_zmtp_next_nonce(tb_zmtp *z) TB_NONNULL(1) TB_MUST_CHECK;

/* Writes one frame of a message under that nonce, and returns its bytes: at
 * most TB_ZMTP_SEALED_BYTES_MAX more than n. The same nonce, data and more give
 * the same bytes, so that a frame that was sent in part need not be kept. */
size_t tb_zmtp_seal(const tb_zmtp *z, uint64_t nonce, bool more,
                    const uint8_t *data, size_t n, uint8_t *out)
    TB_NONNULL(1, 6) TB_MUST_CHECK;

#endif
