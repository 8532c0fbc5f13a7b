/* core/host/memory.h - how the coordinator's process takes memory from the
 * system, set for thousands of connections of libzmq. Knows nothing of what is
 * kept in it. */
#ifndef TB_HOST_MEMORY_H
#define TB_HOST_MEMORY_H

/* Sets malloc for this process. Best before the first connection. */
void tb_memory_prepare(void);

#endif
