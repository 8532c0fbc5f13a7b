/* What malloc of the process does with memory that messages had; nothing of it
 * holds for the allocators of sanitizers, which are left alone. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/memory.h"
#include "support/check.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define MESSAGES      64
#define MESSAGE_BYTES ((size_t)100 << 10)
#define QUEUES        256
#define QUEUE_BYTES   16400 /* libzmq's */

/* Memory that nobody has written to. */
static uint8_t *take(size_t n)
{
    uint8_t *at = tb_mem_resize(NULL, n, 1);
    CHECK(at != NULL);
    return at;
}

static void touch(uint8_t *at, size_t n)
{
    for (size_t i = 0; i < n; i += 512) {
        at[i] = 1;
    }
}

/* Pages of [at, at + n) that are in memory. */
static size_t pages_in(const uint8_t *at, size_t n)
{
    unsigned char in[16];
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)at & ~(page - 1);
    size_t len = (uintptr_t)at + n - from;
    size_t count = 0;
    CHECK((len + page - 1) / page <= sizeof in);
    CHECK(mincore((void *)from, len, in) == 0);
    for (size_t i = 0; i < (len + page - 1) / page; i++) {
        count += in[i] & 1;
    }
    return count;
}

static void a_queue_costs_what_it_uses_also_where_messages_were(void **state)
{
    (void)state;
    uint8_t *message[MESSAGES];
    uint8_t *queue[QUEUES];
    size_t pages = 0;
    if (SANITIZED) {
        skip();
    }
    tb_memory_prepare();
    for (size_t i = 0; i < MESSAGES; i++) {
        message[i] = take(MESSAGE_BYTES);
        touch(message[i], MESSAGE_BYTES);
    }
    for (size_t i = 0; i < MESSAGES; i++) {
        tb_mem_free(message[i]);
    }
    for (size_t i = 0; i < QUEUES; i++) {
        queue[i] = take(QUEUE_BYTES);
        touch(queue[i], 64);
        pages += pages_in(queue[i], QUEUE_BYTES);
    }
    CHECK(pages <= QUEUES + QUEUES / 4);
    for (size_t i = 0; i < QUEUES; i++) {
        tb_mem_free(queue[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_costs_what_it_uses_also_where_messages_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
