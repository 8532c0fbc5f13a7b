#include "host/inbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

#define LANE_LISTS 256

struct tb_inbox {
    atomic_size_t owners; /* the queue itself, and each event outside */
    atomic_size_t held;   /* payload bytes */
    size_t pool_bytes;
    int fd;      /* an event waits */
    int room_fd; /* the owner made room */
    pthread_mutex_t lock;
    struct event *first, *last;      /* firsts of all lanes, by their turn */
    struct event *lanes[LANE_LISTS]; /* the same, by whose lane it is */
    size_t n;                        /* events in all lanes */
};

/* What tb_inbound really is. A lane is what waits of one client; its first
 * event stands for it. */
typedef struct event {
    tb_inbound in;        /* first: a tb_inbound * is an event * */
    struct event *behind; /* in its lane */
    struct event *tail;   /* of its lane; of a first one only, as are: */
    struct event *turn;   /* whose turn comes then */
    struct event *other;  /* lane in the same list */
    tb_inbox *inbox;
    zmq_msg_t envelope, payload; /* either these, */
    uint8_t *memory[2];          /* or these hold the frames */
} event;

_Static_assert(offsetof(event, in) == 0, "tb_inbound_free casts");

static void signal_fd(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* EAGAIN: it is readable already */
}

static void clear_fd(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);
    (void)n; /* EAGAIN: nothing was set */
}

static void release(tb_inbox *inbox)
{
    if (atomic_fetch_sub(&inbox->owners, 1) != 1) {
        return;
    }
    if (inbox->fd >= 0) {
        (void)close(inbox->fd);
    }
    if (inbox->room_fd >= 0) {
        (void)close(inbox->room_fd);
    }
    (void)pthread_mutex_destroy(&inbox->lock);
    tb_mem_free(inbox);
}

tb_rc tb_inbox_new(tb_inbox **out, size_t pool_bytes, tb_err *err)
{
    *out = NULL;
    tb_inbox *inbox = tb_mem_array(1, sizeof *inbox);
    if (inbox == NULL) {
        return tb_fail(err, TB_E_NOMEM, "inbox");
    }
    atomic_init(&inbox->owners, 1);
    atomic_init(&inbox->held, 0);
    inbox->pool_bytes = pool_bytes;
    (void)pthread_mutex_init(&inbox->lock, NULL);
    inbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    inbox->room_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (inbox->fd < 0 || inbox->room_fd < 0) {
        tb_rc rc = tb_fail_errno(err, errno, "eventfd");
        release(inbox);
        return rc;
    }
    *out = inbox;
    return TB_OK;
}

void tb_inbox_free(tb_inbox **inbox)
{
    tb_inbox *box = *inbox;
    *inbox = NULL;
    if (box == NULL) {
        return;
    }
    tb_inbound *in;
    while ((in = tb_inbox_get(box)) != NULL) {
        tb_inbound_free(&in);
    }
    release(box);
}

int tb_inbox_fd(const tb_inbox *inbox)
{
    return inbox->fd;
}

int tb_inbox_room_fd(const tb_inbox *inbox)
{
    return inbox->room_fd;
}

void tb_inbox_room_clear(tb_inbox *inbox)
{
    clear_fd(inbox->room_fd);
}

bool tb_inbox_has_room(tb_inbox *inbox)
{
    (void)pthread_mutex_lock(&inbox->lock);
    size_t n = inbox->n;
    (void)pthread_mutex_unlock(&inbox->lock);
    return n < TB_INBOX_EVENTS_MAX &&
           atomic_load(&inbox->held) + TB_PAYLOAD_BYTES_MAX <=
               inbox->pool_bytes;
}

size_t tb_inbox_held(const tb_inbox *inbox)
{
    return atomic_load(&inbox->held);
}

tb_inbound *tb_inbox_event(tb_inbox *inbox, tb_in_kind kind)
{
    event *e = tb_mem_array(1, sizeof *e);
    if (e == NULL) {
        return NULL;
    }
    (void)atomic_fetch_add(&inbox->owners, 1);
    e->in.kind = kind;
    e->inbox = inbox;
    (void)zmq_msg_init(&e->envelope);
    (void)zmq_msg_init(&e->payload);
    return &e->in;
}

void tb_inbox_fill(tb_inbound *in, zmq_msg_t *envelope, zmq_msg_t *payload)
{
    event *e = (event *)in;
    (void)zmq_msg_move(&e->envelope, envelope);
    in->envelope = zmq_msg_data(&e->envelope);
    in->envelope_bytes = zmq_msg_size(&e->envelope);
    if (payload != NULL) {
        (void)zmq_msg_move(&e->payload, payload);
        in->payload = zmq_msg_data(&e->payload);
        in->payload_bytes = zmq_msg_size(&e->payload);
        (void)atomic_fetch_add(&e->inbox->held, in->payload_bytes);
    }
}

/* What it holds, and where. */
static uint8_t *take_frame(tb_frame *frame, const uint8_t **data, size_t *n)
{
    uint8_t *memory = frame->memory;
    *data = frame->data;
    *n = frame->n;
    *frame = (tb_frame){NULL, NULL, 0};
    return memory;
}

void tb_inbox_fill_frames(tb_inbound *in, tb_frame *envelope, tb_frame *payload)
{
    event *e = (event *)in;
    e->memory[0] = take_frame(envelope, &in->envelope, &in->envelope_bytes);
    e->memory[1] = take_frame(payload, &in->payload, &in->payload_bytes);
    (void)atomic_fetch_add(&e->inbox->held, in->payload_bytes);
}

/* --- lanes; the lock is held ---------------------------------------------- */

/* Where the lane of a client is, or would be, in its list. */
static event **lane_of(tb_inbox *inbox, const tb_name *client)
{
    uint32_t sum = 2166136261u; /* FNV-1a */
    for (const char *c = client->text; *c != '\0'; c++) {
        sum = (sum ^ (uint8_t)*c) * 16777619u;
    }
    event **at = &inbox->lanes[sum % LANE_LISTS];
    while (*at != NULL && !tb_name_equal(&(*at)->in.client, client)) {
        at = &(*at)->other;
    }
    return at;
}

/* Its lane comes last of all. */
static void take_turn(tb_inbox *inbox, event *first)
{
    event **at = lane_of(inbox, &first->in.client);
    first->other = NULL;
    *at = first;
    first->turn = NULL;
    if (inbox->last != NULL) {
        inbox->last->turn = first;
    } else {
        inbox->first = first;
    }
    inbox->last = first;
}

static void append(tb_inbox *inbox, event *e)
{
    event *first = *lane_of(inbox, &e->in.client);
    e->behind = NULL;
    if (first != NULL) {
        first->tail->behind = e;
        first->tail = e;
    } else {
        e->tail = e;
        take_turn(inbox, e);
    }
    inbox->n++;
}

/* The first of the lane whose turn it is; the lane, if more is in it, comes
 * last then. */
static event *take_next(tb_inbox *inbox)
{
    event *e = inbox->first;
    if (e == NULL) {
        return NULL;
    }
    *lane_of(inbox, &e->in.client) = e->other;
    inbox->first = e->turn;
    if (inbox->first == NULL) {
        inbox->last = NULL;
    }
    if (e->behind != NULL) {
        e->behind->tail = e->tail;
        take_turn(inbox, e->behind);
    }
    inbox->n--;
    return e;
}

/* --- the queue ------------------------------------------------------------ */

void tb_inbox_put(tb_inbox *inbox, tb_inbound **take)
{
    event *e = (event *)*take;
    *take = NULL;
    if (e == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&inbox->lock);
    bool first = inbox->first == NULL; /* else it is readable already */
    append(inbox, e);
    (void)pthread_mutex_unlock(&inbox->lock);
    if (first) {
        signal_fd(inbox->fd);
    }
}

tb_inbound *tb_inbox_get(tb_inbox *inbox)
{
    (void)pthread_mutex_lock(&inbox->lock);
    event *e = take_next(inbox);
    bool was_full = e != NULL && inbox->n + 1 == TB_INBOX_EVENTS_MAX;
    if (inbox->first == NULL) {
        clear_fd(inbox->fd);
    }
    (void)pthread_mutex_unlock(&inbox->lock);
    if (was_full) {
        signal_fd(inbox->room_fd);
    }
    return e != NULL ? &e->in : NULL;
}

void tb_inbound_free(tb_inbound **in)
{
    event *e = (event *)*in;
    *in = NULL;
    if (e == NULL) {
        return;
    }
    if (e->in.payload_bytes > 0) {
        size_t held = atomic_fetch_sub(&e->inbox->held, e->in.payload_bytes);
        if (held + TB_PAYLOAD_BYTES_MAX > e->inbox->pool_bytes) {
            signal_fd(e->inbox->room_fd); /* there was no room */
        }
    }
    (void)zmq_msg_close(&e->envelope);
    (void)zmq_msg_close(&e->payload);
    tb_mem_free(e->memory[0]);
    tb_mem_free(e->memory[1]);
    release(e->inbox);
    tb_mem_free(e);
}
