#include "host/outbox.h"

#include <errno.h>
#include <string.h>

#include <zmq.h>

#include "base/mem.h"

struct tb_outgoing {
    tb_outgoing *next;
    tb_shared *payload;
    size_t payload_offset, payload_bytes;
    tb_shared *to_many; /* the envelope; NULL: it follows */
    size_t envelope_bytes;
    uint8_t envelope[];
};

tb_rc tb_outbox_put(tb_outbox *box, const tb_outbound *message, tb_err *err)
{
    size_t room =
        message->payload != NULL ? tb_shared_bytes(message->payload) : 0;
    if (message->envelope_bytes > TB_ENVELOPE_BYTES_MAX ||
        message->payload_bytes > TB_PAYLOAD_BYTES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "a message of %zu + %zu bytes",
                       message->envelope_bytes, message->payload_bytes);
    }
    if (message->payload_offset > room ||
        message->payload_bytes > room - message->payload_offset) {
        return tb_fail(err, TB_E_BUG, "a payload outside of its bytes");
    }
    bool shared = message->to_many != NULL;
    size_t copied = shared ? 0 : message->envelope_bytes;
    tb_outgoing *o = tb_mem_array(1, sizeof *o + copied);
    if (o == NULL) {
        return tb_fail(err, TB_E_NOMEM, "a message of %zu bytes",
                       message->envelope_bytes);
    }
    if (message->payload != NULL) {
        o->payload = tb_shared_ref(message->payload);
    }
    o->payload_offset = message->payload_offset;
    o->payload_bytes = message->payload_bytes;
    o->envelope_bytes = message->envelope_bytes;
    if (shared) {
        o->to_many = tb_shared_ref(message->to_many);
    } else {
        memcpy(o->envelope, message->envelope, copied);
    }
    if (box->last != NULL) {
        box->last->next = o;
    } else {
        box->first = o;
    }
    box->last = o;
    box->n++;
    box->payload_bytes += o->payload_bytes;
    return TB_OK;
}

tb_outgoing *tb_outbox_take(tb_outbox *box)
{
    tb_outgoing *o = box->first;
    if (o != NULL) {
        box->first = o->next;
        if (box->first == NULL) {
            box->last = NULL;
        }
        box->n--;
        box->payload_bytes -= o->payload_bytes;
        o->next = NULL;
    }
    return o;
}

void tb_outgoing_free(tb_outgoing **out)
{
    tb_outgoing *o = *out;
    *out = NULL;
    if (o != NULL) {
        tb_shared_free(&o->payload);
        tb_shared_free(&o->to_many);
        tb_mem_free(o);
    }
}

static void drop_first(tb_outbox *box)
{
    tb_outgoing *o = tb_outbox_take(box);
    tb_outgoing_free(&o);
}

void tb_outbox_clear(tb_outbox *box)
{
    while (box->first != NULL) {
        drop_first(box);
    }
}

const uint8_t *tb_outgoing_frame(const tb_outgoing *out, size_t i, size_t *n)
{
    bool payload = i == 1 && out->payload != NULL;
    *n = payload ? out->payload_bytes : i == 0 ? out->envelope_bytes : 0;
    if (payload) {
        return tb_shared_data(out->payload) + out->payload_offset;
    }
    return i != 0                 ? NULL
           : out->to_many != NULL ? tb_shared_data(out->to_many)
                                  : out->envelope;
}

/* From our thread to one of libzmq's: the one hand-over in the project that the
 * thread sanitizer cannot see by itself, as libzmq is not built with it. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define HAND_OVER(shared) __tsan_release(shared)
#define TAKE_OVER(shared) __tsan_acquire(shared)
#endif
#endif
#ifndef HAND_OVER
#define HAND_OVER(shared) (void)(shared)
#define TAKE_OVER(shared) (void)(shared)
#endif

/* libzmq is done with the bytes; called on one of its threads. */
static void shared_done(void *data, void *hint)
{
    tb_shared *shared = hint;
    (void)data;
    TAKE_OVER(shared);
    tb_shared_free(&shared);
}

static int send_copy(void *socket, const uint8_t *bytes, size_t len, int flags)
{
    return zmq_send(socket, bytes, len, flags | ZMQ_DONTWAIT);
}

/* Part of shared bytes, as a message holds it. */
typedef struct part {
    tb_shared *shared;
    size_t offset, len;
} part;

/* The bytes are not copied: libzmq becomes one of their owners. */
static int send_shared(void *socket, const part *p, int flags)
{
    zmq_msg_t msg;
    /* libzmq's buffers are not const, but it only reads this one. */
    uintptr_t at = (uintptr_t)(tb_shared_data(p->shared) + p->offset);
    tb_shared *owner = tb_shared_ref(p->shared);
    if (zmq_msg_init_data(&msg, (void *)at, p->len, shared_done, owner) != 0) {
        tb_shared_free(&owner);
        return -1;
    }
    HAND_OVER(p->shared);
    int sent = zmq_msg_send(&msg, socket, flags | ZMQ_DONTWAIT);
    if (sent < 0) {
        (void)zmq_msg_close(&msg);
    }
    return sent;
}

static int send_envelope(void *socket, const tb_outgoing *o, int flags)
{
    part whole = {o->to_many, 0, o->envelope_bytes};
    return o->to_many != NULL
               ? send_shared(socket, &whole, flags)
               : send_copy(socket, o->envelope, o->envelope_bytes, flags);
}

tb_sent tb_outbox_send(tb_outbox *box, void *socket, size_t *bytes)
{
    const tb_outgoing *o = box->first;
    if (o == NULL) {
        return TB_SENT_EMPTY;
    }
    int more = o->payload != NULL ? ZMQ_SNDMORE : 0;
    /* Only the first frame can find no room: the rest of a message follows. */
    int sent = send_envelope(socket, o, more);
    if (sent >= 0 && more != 0) {
        part payload = {o->payload, o->payload_offset, o->payload_bytes};
        sent = send_shared(socket, &payload, 0);
    }
    if (sent < 0) {
        return errno == EAGAIN ? TB_SENT_LATER : TB_SENT_GONE;
    }
    *bytes = o->envelope_bytes + o->payload_bytes;
    drop_first(box);
    return TB_SENT;
}
