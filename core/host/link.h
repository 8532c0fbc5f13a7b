/* core/host/link.h - one accepted connection, and chains of them. A connection
 * stands in at most one chain of each kind. Knows nothing of who may come in or
 * of what is received. Of the listener only, on its thread.
 *
 *   phase     standing chain  ends
 *   stranger  strangers       proven (or, at an enrolment door, never): in 5 s
 *   silent    silent          its first message makes it its client's own
 *   own       none            a newer one speaks, it breaks a rule, is revoked
 *   ended     none            freed when the turn of the loop is over */
#ifndef TB_HOST_LINK_H
#define TB_HOST_LINK_H

#include "host/door.h"
#include "host/inbox.h"
#include "host/outbox.h"

typedef struct tb_link tb_link;

/* What a chain is of. */
typedef enum tb_chain_kind {
    TB_CHAIN_ALL,      /* open, or ended */
    TB_CHAIN_STANDING, /* those that could be turned out: strangers, silent */
    TB_CHAIN_READING,  /* there is something to read, or to wait for */
    TB_CHAIN_HALF,     /* messages under way */
    TB_CHAIN_KINDS
} tb_chain_kind;

typedef struct tb_chain {
    tb_link *first, *last;
    size_t n;
} tb_chain;

/* A message that is being sent. It is sealed whole; what the socket does not
 * take is kept, or sealed again when it can go on. */
typedef struct tb_sending {
    tb_outgoing *message; /* owned; NULL: none */
    uint64_t nonce[TB_OUTGOING_FRAMES];
    size_t first_bytes; /* sealed, of the first frame; 0: not sealed yet */
    size_t bytes, sent; /* sealed, and gone */
    uint8_t *rest;      /* owned: the bytes from rest_from on; NULL: not kept */
    size_t rest_from;
} tb_sending;

struct tb_link {
    int fd; /* -1: ended */
    tb_door_at at;
    bool readable, writable;
    bool over;       /* its peer has closed: read to the end */
    bool answered;   /* its greeting was good: its handshake costs us work */
    uint64_t net;    /* its account in sources */
    uint64_t serial; /* rises with each that is proven; 0: a stranger */
    int64_t since_ms;
    tb_zmtp zmtp;
    uint8_t key[TB_CURVE_KEY_BYTES]; /* proven */
    struct tb_peer *peer;  /* whose it is; borrowed. NULL: a stranger's */
    tb_frame first;        /* of a message whose second frame is to come */
    size_t counted;        /* bytes of a message under way, in their sum, */
    bool waits;            /* and in that of those held back */
    bool spoken;           /* a stranger's first message has come */
    size_t since_progress; /* bytes since: */
    int64_t progress_ms;
    tb_sending out;
    struct {
        tb_chain *chain;
        tb_link *before, *after;
    } in[TB_CHAIN_KINDS];
};

/* For a descriptor that was accepted at this door, and is the link's now; NULL:
 * no memory. */
tb_link *tb_link_new(int fd, tb_door_at at, const tb_door *door)
    TB_NONNULL(3) TB_MUST_CHECK;

/* Closes it, takes it out of its chains and frees what it holds but itself. */
void tb_link_close(tb_link *link) TB_NONNULL(1);

/* A closed one. Nulls *link. */
void tb_link_free(tb_link **link) TB_NONNULL(1);

/* Puts it last, from whichever chain of this kind it was in. */
void tb_chain_add(tb_chain *chain, tb_chain_kind kind, tb_link *link)
    TB_NONNULL(1, 3);

/* Takes it out of the chain of this kind, if it is in one. */
void tb_chain_remove(tb_chain_kind kind, tb_link *link) TB_NONNULL(2);

#endif
