/* core/base/mem.h - the only caller of malloc. Sizes are checked for overflow,
 * memory comes zeroed, and tests can make the k-th allocation fail. Safe from
 * any thread; the fault counter is for single-threaded tests. */
#ifndef TB_BASE_MEM_H
#define TB_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

#define TB_MEM_ALIGN_BYTES 64

/* n * size zeroed bytes, or NULL (out of memory, or the product overflows).
 * n or size 0 gives a valid pointer to free. */
void *tb_mem_array(size_t n, size_t size) TB_MUST_CHECK;

/* The same, on a 64-byte border: for tensors. */
void *tb_mem_aligned(size_t n, size_t size) TB_MUST_CHECK;

/* Grows or shrinks an array of tb_mem_array (not of tb_mem_aligned) to n
 * elements; new bytes are not zeroed. NULL on failure, and p stays valid. */
void *tb_mem_resize(void *p, size_t n, size_t size) TB_MUST_CHECK;

/* A copy of a NUL-terminated text, or NULL. */
char *tb_mem_text(const char *text) TB_MUST_CHECK TB_NONNULL(1);

/* Gives back memory of any function above; NULL is fine. */
void tb_mem_free(void *p);

/* Bytes of a file from offset on, as memory that is read when it is looked at;
 * what is written stays here. Nobody may cut the file meanwhile. fd -1: zeros,
 * which take no memory until they are written. NULL: it cannot be had. */
void *tb_mem_map(int fd, uint64_t offset, size_t bytes) TB_MUST_CHECK;

/* Gives that back: bytes as they were asked for. */
void tb_mem_unmap(void *p, size_t bytes) TB_NONNULL(1);

/* After k more allocations every further one fails, until k < 0 is set. */
void tb_mem_fail_after(long k);

/* Allocations alive now: 0 when nothing leaks. */
size_t tb_mem_live(void);

/* Bytes alive now, as the heap rounds them, and the most there ever were since
 * the start or the last reset: for tests and for bounds. */
size_t tb_mem_bytes(void);
size_t tb_mem_peak_bytes(void);
void tb_mem_peak_reset(void);

/* *out = a * b; returns 0, or -1 on overflow with *out unchanged. */
int tb_mem_mul(size_t *out, size_t a, size_t b) TB_MUST_CHECK TB_NONNULL(1);

/* *out = a + b; returns 0, or -1 on overflow with *out unchanged. */
int tb_mem_add(size_t *out, size_t a, size_t b) TB_MUST_CHECK TB_NONNULL(1);

#endif
