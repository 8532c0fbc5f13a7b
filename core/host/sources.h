/* core/host/sources.h - how much work the strangers of one address may cost us.
 * Each new connection is a debt of its address, and one handshake that failed
 * is a larger one; debts fall with time, and a key that we know clears its own.
 * Addresses that never brought such a key share one more account, so that many
 * of them cost no more than a few; where that is used up, one that is new may
 * still come on a small reserve. No I/O, clock or chance; one owner at a
 * time. Of the listener only. */
#ifndef TB_HOST_SOURCES_H
#define TB_HOST_SOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/attr.h"

#define TB_SOURCES_SETS         256u
#define TB_SOURCES_WAYS         4u
#define TB_SOURCE_BURST         256u  /* connections that one address may owe */
#define TB_SOURCE_A_SECOND      250u  /* by so many its debt falls */
#define TB_SOURCES_BURST        1024u /* both, of all that we do not know */
#define TB_SOURCES_A_SECOND     500u
#define TB_SOURCES_NEW_BURST    256u /* both, of the reserve for new ones */
#define TB_SOURCES_NEW_A_SECOND 100u
#define TB_SOURCE_NEW_OWES      4u    /* new: one that owes less, and was not */
#define TB_SOURCE_NEW_MS        10000 /* turned away for so long */
#define TB_SOURCE_HANDSHAKE     8u /* what a failed one costs, in connections */
#define TB_SOURCE_HOLD_MS       100

typedef struct tb_source {
    uint64_t net; /* 0: free */
    bool known;   /* has brought a key of ours */
    double debt;  /* at at_ms */
    int64_t at_ms;
    int64_t held_until_ms; /* TB_SOURCE_HOLD_MS from its last refusal */
} tb_source;

typedef struct tb_sources {
    uint64_t seed; /* of the table's order, that nobody can aim at one place */
    int64_t held_until_ms; /* the latest of all accounts */
    tb_source unknown;     /* what all that are not known owe together */
    tb_source reserve;     /* what new ones among them owe beyond that */
    tb_source slots[TB_SOURCES_SETS][TB_SOURCES_WAYS];
} tb_sources;

/* The account of an address: an IPv4 address, or a /64 of IPv6. 0: neither. */
uint64_t tb_source_of(const struct sockaddr *address) TB_NONNULL(1);

/* One more connection; false: it is one too many. n_expected: known clients
 * that are not connected, and may all come at once. */
bool tb_sources_admit(tb_sources *sources, uint64_t net, size_t n_expected,
                      int64_t now_ms) TB_NONNULL(1) TB_MUST_CHECK;

/* A key that we know has come from there: its connection is owed no more. */
void tb_sources_clear(tb_sources *sources, uint64_t net, int64_t now_ms)
    TB_NONNULL(1);

/* A handshake failed. */
void tb_sources_charge(tb_sources *sources, uint64_t net, int64_t now_ms)
    TB_NONNULL(1);

#endif
