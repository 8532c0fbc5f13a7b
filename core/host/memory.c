#include "host/memory.h"

#include <malloc.h>

/* For each connection libzmq takes two queues of 16,400 bytes and a receive
 * block of 18,160, and uses the beginning of each. In the heap they lie where
 * messages had been, and every page of them is in memory; mapped by themselves
 * they cost the pages that are touched. */
#define MMAP_THRESHOLD_BYTES (16 << 10)

/* The end of the heap is given back now and then, not at each free. */
#define TRIM_THRESHOLD_BYTES (1 << 30)

void tb_memory_prepare(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES);
}
