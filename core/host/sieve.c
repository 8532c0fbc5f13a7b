/* The program, for each packet that the listener gets (its data begins with the
 * TCP header):
 *   not (SYN and not ACK)        -> pass
 *   a = fingerprint of the source, one look-up for IPv4 and IPv6
 *   a is in the list             -> chance, or pass
 *   else                         -> pass, or chance
 * The list is that of the addresses that are held off, or, when all unknown
 * ones are, that of the known ones that are not. It is run through: a thousand
 * comparisons take less than a microsecond. A fingerprint has 31 bits, since
 * the kernel needs two instructions to compare 32; two addresses that share one
 * by chance share what is done to them. Its factors come from the seed, so that
 * nobody finds another's. */
#include "host/sieve.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <string.h>
#include <sys/socket.h>

#define TCP_FLAGS_AT   13
#define SYN            0x02
#define SYN_ACK        0x12
#define IPV4_SOURCE_AT 12
#define IPV6_SOURCE_AT 8
#define RUN_MAX        255 /* comparisons before an end: a jump has 8 bits */
#define PASS           0xffffffffu
#define DROP           0u

typedef struct program {
    size_t n;
    struct sock_filter code[TB_SIEVE_CODE_MAX];
} program;

/* --- fingerprints --- */

typedef struct factors {
    uint32_t high, low; /* odd */
} factors;

static factors factors_of(const tb_sources *sources)
{
    uint64_t z = sources->seed + 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (factors){.high = (uint32_t)(z >> 32) | 1u, .low = (uint32_t)z | 1u};
}

static uint32_t fingerprint(factors f, uint32_t high, uint32_t low)
{
    return (high * f.high ^ low * f.low) >> 1;
}

/* --- instructions --- */

static void put(program *p, unsigned code, uint32_t k)
{
    p->code[p->n++] = (struct sock_filter){.code = (uint16_t)code, .k = k};
}

/* So many instructions are left out when the comparison holds, or does not. */
static void put_jump(program *p, unsigned code, uint32_t k, size_t yes,
                     size_t no)
{
    p->code[p->n++] = (struct sock_filter){.code = (uint16_t)(BPF_JMP | code),
                                           .jt = (uint8_t)yes,
                                           .jf = (uint8_t)no,
                                           .k = k};
}

static void put_load(program *p, unsigned size, int at)
{
    put(p, BPF_LD | BPF_ABS | size, (uint32_t)at);
}

static size_t end_size(bool chance)
{
    return chance ? 4 : 1;
}

static void put_end(program *p, bool chance)
{
    if (chance) {
        put_load(p, BPF_W, SKF_AD_OFF + SKF_AD_RANDOM);
        put_jump(p, BPF_JGE | BPF_K, UINT32_MAX / TB_SIEVE_CHANCE, 0, 1);
        put(p, BPF_RET | BPF_K, DROP);
    }
    put(p, BPF_RET | BPF_K, PASS);
}

/* Leaves the fingerprint of a SYN's source in a. */
static void put_head(program *p, factors f)
{
    put_load(p, BPF_B, TCP_FLAGS_AT);
    put(p, BPF_ALU | BPF_AND | BPF_K, SYN_ACK);
    put_jump(p, BPF_JEQ | BPF_K, SYN, 1, 0);
    put(p, BPF_RET | BPF_K, PASS);
    put_load(p, BPF_H, SKF_AD_OFF + SKF_AD_PROTOCOL);
    put_jump(p, BPF_JEQ | BPF_K, ETH_P_IP, 0, 3);
    put(p, BPF_LDX | BPF_IMM, UINT32_MAX * f.high); /* see IPV4_NET */
    put_load(p, BPF_W, SKF_NET_OFF + IPV4_SOURCE_AT);
    put(p, BPF_JMP | BPF_JA, 4);
    put_load(p, BPF_W, SKF_NET_OFF + IPV6_SOURCE_AT);
    put(p, BPF_ALU | BPF_MUL | BPF_K, f.high);
    put(p, BPF_MISC | BPF_TAX, 0);
    put_load(p, BPF_W, SKF_NET_OFF + IPV6_SOURCE_AT + 4);
    put(p, BPF_ALU | BPF_MUL | BPF_K, f.low);
    put(p, BPF_ALU | BPF_XOR | BPF_X, 0);
    put(p, BPF_ALU | BPF_RSH | BPF_K, 1);
}

static void put_list(program *p, const uint32_t *list, size_t n, bool chance)
{
    for (size_t done = 0; done < n;) {
        size_t run = n - done < RUN_MAX ? n - done : RUN_MAX;
        for (size_t left = run; left > 0; left--) {
            put_jump(p, BPF_JEQ | BPF_K, list[done++], left, 0);
        }
        put(p, BPF_JMP | BPF_JA, (uint32_t)end_size(chance));
        put_end(p, chance);
    }
}

/* --- the sieve --- */

static bool is_held(const tb_source *s, int64_t now_ms)
{
    return now_ms < s->held_until_ms;
}

/* Known ones that may come, or all that may not. */
static size_t list_of(uint32_t *list, const tb_sources *sources, bool known,
                      int64_t now_ms)
{
    factors f = factors_of(sources);
    size_t n = 0;
    for (size_t i = 0; i < TB_SOURCES_SETS * TB_SOURCES_WAYS; i++) {
        const tb_source *s =
            &sources->slots[i / TB_SOURCES_WAYS][i % TB_SOURCES_WAYS];
        bool held = is_held(s, now_ms);
        if (s->net != 0 && (known ? s->known && !held : held)) {
            uint64_t net = s->net != 1 ? s->net : 0; /* see tb_source_of */
            list[n++] = fingerprint(f, (uint32_t)(net >> 32), (uint32_t)net);
        }
    }
    return n;
}

bool tb_sieve_make(tb_sieve *sieve, const tb_sources *sources, int64_t now_ms)
{
    uint32_t list[TB_SOURCES_SETS * TB_SOURCES_WAYS];
    program p = {0};
    bool none = now_ms >= sources->held_until_ms && sieve->n_code == 0;
    if (none || now_ms < sieve->next_ms) {
        return false;
    }
    bool all = is_held(&sources->reserve, now_ms);
    size_t n = list_of(list, sources, all, now_ms);
    if (all || n > 0) {
        put_head(&p, factors_of(sources));
        put_list(&p, list, n, !all);
        put_end(&p, all);
    }
    bool same = p.n == sieve->n_code &&
                memcmp(p.code, sieve->code, p.n * sizeof *p.code) == 0;
    sieve->next_ms = now_ms + TB_SIEVE_RENEW_MS;
    if (same) {
        return false;
    }
    memcpy(sieve->code, p.code, p.n * sizeof *p.code);
    sieve->n_code = p.n;
    return true;
}

static int detach(int fd)
{
    int none = 0;
    return setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
}

tb_rc tb_sieve_attach(const tb_sieve *sieve, int fd, tb_err *err)
{
    struct sock_filter code[TB_SIEVE_CODE_MAX]; /* the call wants no const */
    struct sock_fprog prog = {.len = (unsigned short)sieve->n_code,
                              .filter = code};
    memcpy(code, sieve->code, sieve->n_code * sizeof *code);
    bool ok = prog.len > 0 ? setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
                                        sizeof prog) == 0
                           : detach(fd) == 0 || errno == ENOENT;
    return ok ? TB_OK
              : tb_fail_errno(err, errno,
                              "telling the kernel whom to turn away");
}

void tb_sieve_detach(int fd)
{
    (void)detach(fd);
}
