/* core/tensor/pool_portable.c - the loops of a pool for what the compiler may
 * assume. */
#define POOL_SET   tb_pool_portable
#define POOL_LOOPS tb_k_portable

#include "tensor/pool_loops.h"
