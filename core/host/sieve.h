/* core/host/sieve.h - who is one too many, told to the kernel: a classic BPF
 * program for listening TCP sockets that drops the first packet (SYN) of
 * addresses which their budget (sources.h) has just turned away, so that a
 * flood costs us a look at each packet and no connection. While the reserve for
 * new addresses is used up, it drops those of all addresses but the ones that
 * have brought a known key. One such packet in TB_SIEVE_CHANCE
 * comes through, and everything that is no SYN. Needs no privilege (Linux,
 * SO_ATTACH_FILTER). Knows nothing of who accepts; no clock or chance of its
 * own; one owner at a time.
 *
 * Use: tb_sieve_make after a refusal and now and then, at least each
 * TB_SOURCE_HOLD_MS while a program is in force; when it says that the program
 * is another, tb_sieve_attach to each listening socket. Connections inherit the
 * program of their listener: tb_sieve_detach takes it off them. */
#ifndef TB_HOST_SIEVE_H
#define TB_HOST_SIEVE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "host/sources.h"

#define TB_SIEVE_CHANCE   64
#define TB_SIEVE_RENEW_MS 10 /* for so long at least a program stays */

/* All accounts, and what is around them. */
#define TB_SIEVE_CODE_MAX (TB_SOURCES_SETS * TB_SOURCES_WAYS + 64u)

typedef struct tb_sieve {
    int64_t next_ms; /* before it no other program is made */
    size_t n_code;   /* 0: everybody may come */
    struct sock_filter code[TB_SIEVE_CODE_MAX];
} tb_sieve;

/* Makes the program for who is held off at now_ms. sieve: zeroed at first.
 * True: it is another than before. */
bool tb_sieve_make(tb_sieve *sieve, const tb_sources *sources, int64_t now_ms)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Gives a listening socket this program in place of the one it has. Errors, of
 * the host: the socket stays as it was. */
tb_rc tb_sieve_attach(const tb_sieve *sieve, int fd, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Takes the program off a connection, which has no more use for it but would
 * keep it in the kernel's memory. */
void tb_sieve_detach(int fd);

#endif
