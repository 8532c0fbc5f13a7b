#include "crypto/guarded.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include <sodium.h>

#define PIECE_BYTES 512  /* the largest of a handshake is smaller */
#define PIECES_MAX  32   /* kept; a handshake holds one or two at a time */
#define UNUSED_BYTE 0xdb /* what libsodium fills new memory with */

typedef void *alloc_fn(size_t count, size_t size);
typedef void free_fn(void *piece);

static struct {
    pthread_mutex_t lock;
    bool on;
    alloc_fn *alloc; /* libsodium's own */
    free_fn *free;
    void *pieces[PIECES_MAX];
    bool in_use[PIECES_MAX];
    size_t n;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void find_own(void)
{
    void *alloc = dlsym(RTLD_NEXT, "sodium_allocarray");
    void *release = dlsym(RTLD_NEXT, "sodium_free");
    memcpy(&kept.alloc, &alloc, sizeof kept.alloc);
    memcpy(&kept.free, &release, sizeof kept.free);
}

/* The lock is held by the caller of these. */
static alloc_fn *own_alloc(void)
{
    if (kept.alloc == NULL) {
        find_own();
    }
    return kept.alloc;
}

static free_fn *own_free(void)
{
    if (kept.free == NULL) {
        find_own();
    }
    return kept.free;
}

static void *take_kept(void)
{
    for (size_t i = 0; i < kept.n; i++) {
        if (!kept.in_use[i]) {
            kept.in_use[i] = true;
            return kept.pieces[i];
        }
    }
    return NULL;
}

/* A new piece, which is kept from its first use on; NULL: no room for more. */
static void *make_kept(void)
{
    void *piece = kept.n < PIECES_MAX ? own_alloc()(1, PIECE_BYTES) : NULL;
    if (piece != NULL) {
        kept.in_use[kept.n] = true;
        kept.pieces[kept.n++] = piece;
    }
    return piece;
}

/* In place of libsodium's, for this process and so for libzmq. */
void *sodium_allocarray(size_t count, size_t size)
{
    bool small = size > 0 && count <= PIECE_BYTES / size;
    (void)pthread_mutex_lock(&kept.lock);
    alloc_fn *alloc = own_alloc();
    void *piece = kept.on && small ? take_kept() : NULL;
    if (kept.on && small && piece == NULL) {
        piece = make_kept();
    }
    (void)pthread_mutex_unlock(&kept.lock);
    if (piece == NULL) {
        return alloc(count, size);
    }
    memset(piece, UNUSED_BYTE, PIECE_BYTES);
    return piece;
}

void sodium_free(void *piece)
{
    size_t i = 0;
    (void)pthread_mutex_lock(&kept.lock);
    free_fn *release = own_free();
    while (i < kept.n && kept.pieces[i] != piece) {
        i++;
    }
    bool ours = i < kept.n;
    if (ours) {
        sodium_memzero(piece, PIECE_BYTES);
        kept.in_use[i] = false;
    }
    (void)pthread_mutex_unlock(&kept.lock);
    if (!ours) {
        release(piece);
    }
}

void tb_guarded_reuse(void)
{
    (void)pthread_mutex_lock(&kept.lock);
    kept.on = true;
    (void)pthread_mutex_unlock(&kept.lock);
}

size_t tb_guarded_pieces(void)
{
    (void)pthread_mutex_lock(&kept.lock);
    size_t n = kept.n;
    (void)pthread_mutex_unlock(&kept.lock);
    return n;
}
