#include "base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_long fail_after = -1;
static atomic_size_t live;
static atomic_size_t live_bytes;
static atomic_size_t peak_bytes;

int tb_mem_mul(size_t *out, size_t a, size_t b)
{
    size_t product = 0;
    if (__builtin_mul_overflow(a, b, &product)) {
        return -1;
    }
    *out = product;
    return 0;
}

int tb_mem_add(size_t *out, size_t a, size_t b)
{
    size_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) {
        return -1;
    }
    *out = sum;
    return 0;
}

/* One step of the fault counter: whether this allocation must fail. */
static int must_fail(void)
{
    long left = atomic_load_explicit(&fail_after, memory_order_relaxed);
    if (left < 0) {
        return 0;
    }
    if (left == 0) {
        return 1;
    }
    atomic_store_explicit(&fail_after, left - 1, memory_order_relaxed);
    return 0;
}

static void count_bytes(size_t bytes)
{
    size_t now = bytes + atomic_fetch_add_explicit(&live_bytes, bytes,
                                                   memory_order_relaxed);
    size_t peak = atomic_load_explicit(&peak_bytes, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(
                             &peak_bytes, &peak, now, memory_order_relaxed,
                             memory_order_relaxed)) {
    }
}

static void uncount_bytes(size_t bytes)
{
    atomic_fetch_sub_explicit(&live_bytes, bytes, memory_order_relaxed);
}

static void *counted(void *p)
{
    if (p != NULL) {
        atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
        count_bytes(malloc_usable_size(p));
    }
    return p;
}

void *tb_mem_array(size_t n, size_t size)
{
    size_t bytes = 0;
    if (tb_mem_mul(&bytes, n, size) != 0 || must_fail()) {
        return NULL;
    }
    return counted(calloc(1, bytes > 0 ? bytes : 1));
}

void *tb_mem_aligned(size_t n, size_t size)
{
    size_t bytes = 0;
    if (tb_mem_mul(&bytes, n, size) != 0 ||
        tb_mem_add(&bytes, bytes, TB_MEM_ALIGN_BYTES - 1) != 0 || must_fail()) {
        return NULL;
    }
    bytes &= ~(size_t)(TB_MEM_ALIGN_BYTES - 1);
    if (bytes == 0) {
        bytes = TB_MEM_ALIGN_BYTES;
    }
    void *p = counted(aligned_alloc(TB_MEM_ALIGN_BYTES, bytes));
    if (p != NULL) {
        memset(p, 0, bytes);
    }
    return p;
}

void *tb_mem_resize(void *p, size_t n, size_t size)
{
    size_t bytes = 0;
    if (tb_mem_mul(&bytes, n, size) != 0 || must_fail()) {
        return NULL;
    }
    size_t before = p != NULL ? malloc_usable_size(p) : 0;
    void *grown = realloc(p, bytes > 0 ? bytes : 1);
    if (p == NULL || grown == NULL) {
        return counted(grown);
    }
    count_bytes(malloc_usable_size(grown));
    uncount_bytes(before);
    return grown;
}

char *tb_mem_text(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = tb_mem_array(bytes, 1);
    if (copy != NULL) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

void tb_mem_free(void *p)
{
    if (p != NULL) {
        atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
        uncount_bytes(malloc_usable_size(p));
        free(p);
    }
}

/* What lies in front of an offset in its page. */
static size_t ahead_of(uint64_t offset)
{
    return (size_t)(offset % (uint64_t)sysconf(_SC_PAGESIZE));
}

void *tb_mem_map(int fd, uint64_t offset, size_t bytes)
{
    size_t ahead = ahead_of(offset);
    size_t whole = 0;
    if (bytes == 0 || tb_mem_add(&whole, bytes, ahead) != 0 || must_fail()) {
        return NULL;
    }
    int kind = MAP_PRIVATE | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
    uint8_t *p = mmap(NULL, whole, PROT_READ | PROT_WRITE, kind, fd,
                      (off_t)(offset - ahead));
    if (p == MAP_FAILED) {
        return NULL;
    }
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return p + ahead;
}

void tb_mem_unmap(void *p, size_t bytes)
{
    size_t ahead = ahead_of((uintptr_t)p);
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    (void)munmap((uint8_t *)p - ahead, bytes + ahead);
}

void tb_mem_fail_after(long k)
{
    atomic_store(&fail_after, k);
}

size_t tb_mem_live(void)
{
    return atomic_load(&live);
}

size_t tb_mem_bytes(void)
{
    return atomic_load(&live_bytes);
}

size_t tb_mem_peak_bytes(void)
{
    return atomic_load(&peak_bytes);
}

void tb_mem_peak_reset(void)
{
    atomic_store(&peak_bytes, atomic_load(&live_bytes));
}
