/* core/crypto/guarded.h - guarded memory of libzmq, used again. In a handshake
 * libzmq takes six pieces of libsodium's guarded memory and gives them back:
 * each time the kernel maps, locks, protects and unmaps pages, a third of what
 * a connection costs. Here a piece that is given back is wiped and kept for the
 * next. Guard pages, lock and wiping stay; that a piece ends where its guard
 * page begins does not. Any thread. */
#ifndef TB_CRYPTO_GUARDED_H
#define TB_CRYPTO_GUARDED_H

#include <stddef.h>

/* From now on pieces of this process are kept; before, nothing changes. */
void tb_guarded_reuse(void);

/* How many are kept or in use again. */
size_t tb_guarded_pieces(void);

#endif
