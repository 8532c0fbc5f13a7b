#include "host/sources.h"

#include <netinet/in.h>
#include <string.h>

#define IPV4_NET ((uint64_t)0xffffffff << 32) /* no /64 of IPv6 has it */

static uint64_t big_endian(const uint8_t *bytes, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static uint64_t of_ipv4(const void *address)
{
    return IPV4_NET | big_endian(address, 4);
}

static uint64_t of_ipv6(const struct in6_addr *address)
{
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        return of_ipv4(&address->s6_addr[12]);
    }
    uint64_t net = big_endian(address->s6_addr, 8);
    return net != 0 ? net : 1;
}

uint64_t tb_source_of(const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        return of_ipv4(&v4.sin_addr);
    }
    if (address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof v6);
        return of_ipv6(&v6.sin6_addr);
    }
    return 0;
}

/* What it still owes now. */
static void fall(tb_source *s, double a_second, int64_t now_ms)
{
    s->debt -= (double)(now_ms - s->at_ms) * a_second / 1000.0;
    s->debt = s->debt > 0.0 ? s->debt : 0.0;
    s->at_ms = now_ms;
}

/* A multiplication that mixes (Steele and Vigna, the 64-bit finaliser of
 * SplitMix). */
static size_t set_of(const tb_sources *sources, uint64_t net)
{
    uint64_t z = net ^ sources->seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (size_t)(z ^ (z >> 31)) % TB_SOURCES_SETS;
}

/* Its account; where there is none, that of the one in the set that owes least
 * is given up, one that is known last. */
static tb_source *account(tb_sources *sources, uint64_t net, int64_t now_ms)
{
    tb_source *set = sources->slots[set_of(sources, net)];
    tb_source *least = NULL;
    for (size_t i = 0; i < TB_SOURCES_WAYS; i++) {
        tb_source *s = &set[i];
        fall(s, TB_SOURCE_A_SECOND, now_ms);
        if (s->net == net) {
            return s;
        }
        if (least == NULL || (least->known && !s->known) ||
            (least->known == s->known && s->debt < least->debt)) {
            least = s;
        }
    }
    *least = (tb_source){.net = net, .at_ms = now_ms};
    return least;
}

static tb_source *shared(tb_sources *sources, int64_t now_ms)
{
    fall(&sources->unknown, TB_SOURCES_A_SECOND, now_ms);
    return &sources->unknown;
}

static void hold(tb_sources *sources, tb_source *s, int64_t now_ms)
{
    s->held_until_ms = now_ms + TB_SOURCE_HOLD_MS;
    sources->held_until_ms = s->held_until_ms;
}

static bool is_new(const tb_source *s, int64_t now_ms)
{
    return s->debt < TB_SOURCE_NEW_OWES &&
           (s->held_until_ms == 0 ||
            now_ms - s->held_until_ms > TB_SOURCE_NEW_MS);
}

/* The reserve is for those who come for the first time while a few addresses
 * flood. Only when that is used up all unknown ones are held off. */
static bool admit_new(tb_sources *sources, int64_t now_ms)
{
    tb_source *reserve = &sources->reserve;
    fall(reserve, TB_SOURCES_NEW_A_SECOND, now_ms);
    if (reserve->debt + 1.0 > TB_SOURCES_NEW_BURST) {
        hold(sources, reserve, now_ms);
        return false;
    }
    reserve->debt += 1.0;
    return true;
}

bool tb_sources_admit(tb_sources *sources, uint64_t net, size_t n_expected,
                      int64_t now_ms)
{
    tb_source *own = account(sources, net, now_ms);
    tb_source *all = shared(sources, now_ms);
    double more = (double)n_expected;
    bool full = !own->known && all->debt + 1.0 > TB_SOURCES_BURST + more;
    if (own->debt + 1.0 > TB_SOURCE_BURST + more ||
        (full && !is_new(own, now_ms))) {
        hold(sources, own, now_ms);
        return false;
    }
    if (full && !admit_new(sources, now_ms)) {
        return false;
    }
    own->debt += 1.0;
    all->debt += own->known || full ? 0.0 : 1.0;
    return true;
}

static void pay(tb_source *s)
{
    s->debt = s->debt > 1.0 ? s->debt - 1.0 : 0.0;
}

void tb_sources_clear(tb_sources *sources, uint64_t net, int64_t now_ms)
{
    tb_source *own = account(sources, net, now_ms);
    if (!own->known) {
        pay(shared(sources, now_ms));
    }
    own->known = true;
    pay(own);
}

/* Nobody is locked out for long by what others behind his address did. */
static void owe(tb_source *s, double most)
{
    if (s->debt < most) {
        s->debt += TB_SOURCE_HANDSHAKE;
    }
}

void tb_sources_charge(tb_sources *sources, uint64_t net, int64_t now_ms)
{
    tb_source *own = account(sources, net, now_ms);
    owe(own, TB_SOURCE_BURST + TB_SOURCE_A_SECOND);
    if (!own->known) {
        owe(shared(sources, now_ms), TB_SOURCES_BURST + TB_SOURCES_A_SECOND);
    }
}
