/* core/tensor/kernels_portable.c - the loops for whatever the compiler may
 * assume. */
#define TB_K_SET    tb_k_portable
#define TB_K_NAME   "portable"
#define TB_K_USABLE (true)
#include "tensor/kernels_loops.h"
