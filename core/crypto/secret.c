#include "crypto/secret.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>

#define SLAB_SLOTS 60 /* with libsodium's canary, within one page of 4 KB */

/* A free slot holds the pointer to the next one, and zeros behind it. */
typedef struct slot {
    struct slot *next;
    uint8_t rest[TB_SECRET_BYTES - sizeof(struct slot *)];
} slot;

_Static_assert(sizeof(slot) == TB_SECRET_BYTES, "a slot is a secret");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static slot *free_slots;
static size_t live;

/* Puts the slots of a new slab on the free list; call with the lock held. */
static void add_slab(void)
{
    slot *slab = sodium_allocarray(SLAB_SLOTS, sizeof *slab);
    if (slab == NULL) {
        return;
    }
    sodium_memzero(slab, SLAB_SLOTS * sizeof *slab);
    for (size_t i = 0; i < SLAB_SLOTS; i++) {
        slab[i].next = free_slots;
        free_slots = &slab[i];
    }
}

uint8_t *tb_secret_new(void)
{
    (void)pthread_mutex_lock(&lock);
    if (free_slots == NULL) {
        add_slab();
    }
    slot *taken = free_slots;
    if (taken != NULL) {
        free_slots = taken->next;
        taken->next = NULL;
        live++;
    }
    (void)pthread_mutex_unlock(&lock);
    return (uint8_t *)taken;
}

void tb_secret_free(uint8_t **secret)
{
    if (*secret == NULL) {
        return;
    }
    sodium_memzero(*secret, TB_SECRET_BYTES);
    slot *back = (slot *)(void *)*secret;
    *secret = NULL;
    (void)pthread_mutex_lock(&lock);
    back->next = free_slots;
    free_slots = back;
    live--;
    (void)pthread_mutex_unlock(&lock);
}

size_t tb_secret_live(void)
{
    (void)pthread_mutex_lock(&lock);
    size_t n = live;
    (void)pthread_mutex_unlock(&lock);
    return n;
}
