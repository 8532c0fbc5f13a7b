/* core/host/listener_priv.h - what the files of the listener have of each
 * other: who comes in (listener_entry.c), what comes in (listener_read.c), what
 * goes out (listener_send.c), and the loop around them (listener.c). On its
 * thread; the lock is not held, unless it says so. */
#ifndef TB_HOST_LISTENER_PRIV_H
#define TB_HOST_LISTENER_PRIV_H

#include "host/listener.h"

#define TB_LISTENER_READ_BYTES 16384 /* at once; of large frames: their rest */

/* --- listener.c --- */

/* Ends a connection; its client's owner is told why. One that has ended is
 * fine. */
void tb_listener_end(tb_listener *l, tb_link *link, const char *why)
    TB_NONNULL(1, 2, 3);

/* The same on purpose: it is counted, and told when it is a client's. */
void tb_listener_cut(tb_listener *l, tb_link *link, const char *why)
    TB_NONNULL(1, 2, 3);

/* Ends all connections of a client. */
void tb_listener_cut_peer(tb_listener *l, tb_peer *peer) TB_NONNULL(1, 2);

/* Tells the owner that the client's connection is no more; the lock is held. */
void tb_listener_gone(tb_listener *l, tb_peer *peer, const char *why)
    TB_NONNULL(1, 2, 3);

/* --- listener_entry.c --- */

/* Takes in some of those that wait at a door. */
void tb_listener_accept(tb_listener *l, tb_door *door) TB_NONNULL(1, 2);

/* Tells the kernel who is held off now; to be called now and then, too. */
void tb_listener_sieve(tb_listener *l) TB_NONNULL(1);

/* The same of a door that was just opened. */
void tb_listener_sieve_door(tb_listener *l, const tb_door *door)
    TB_NONNULL(1, 2);

/* Accepts again, after a rest for want of descriptors or memory. */
void tb_listener_rest_over(tb_listener *l) TB_NONNULL(1);

/* Has epoll watch a descriptor for as long as it is open. false: errno. */
bool tb_listener_watch(tb_listener *l, int fd, uint32_t events, void *what)
    TB_NONNULL(1, 4) TB_MUST_CHECK;

/* The connection has proven this key: it is let in, or ended. */
void tb_listener_judge(tb_listener *l, tb_link *link,
                       const uint8_t key[static TB_CURVE_KEY_BYTES])
    TB_NONNULL(1, 2, 3);

/* Takes one of the enrolments that may be tried now: a bucket of one minute's
 * worth that fills evenly. false: it is empty. */
bool tb_listener_may_enrol(tb_listener *l) TB_NONNULL(1) TB_MUST_CHECK;

/* A handshake was not what it should be. */
void tb_listener_bad_handshake(tb_listener *l, tb_link *link) TB_NONNULL(1, 2);

/* --- listener_read.c --- */

/* Epoll says that there is something to read. */
void tb_listener_readable(tb_listener *l, tb_link *link) TB_NONNULL(1, 2);

/* Reads a little of each that has something; true: more is there, and room. */
bool tb_listener_read(tb_listener *l) TB_NONNULL(1);

/* Gives the bytes of its message under way back to their sum. */
void tb_listener_uncount(tb_listener *l, tb_link *link) TB_NONNULL(1, 2);

/* Ends those that keep others waiting and send nothing. */
void tb_listener_end_stalled(tb_listener *l) TB_NONNULL(1);

/* --- listener_send.c --- */

/* Room for one message, sealed. */
size_t tb_listener_sealed_bytes(void);

/* Sends a part of the handshake; false: that failed, and the link has ended. */
bool tb_listener_answer(tb_listener *l, tb_link *link, const uint8_t *bytes,
                        size_t n) TB_NONNULL(1, 2, 3);

/* Epoll says that there is room to send. */
void tb_listener_writable(tb_listener *l, tb_link *link) TB_NONNULL(1, 2);

/* Sends what waits, and obeys what the owner asked of single clients. */
void tb_listener_send(tb_listener *l) TB_NONNULL(1);

/* Its message under way is given up: takes it out of the sums. */
void tb_listener_unsend(tb_listener *l, tb_link *link) TB_NONNULL(1, 2);

#endif
