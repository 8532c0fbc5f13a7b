/* core/tensor/conv_portable.c - the loops of a convolution for whatever the
 * compiler may assume. */
#define CONV_SET   tb_conv_portable
#define CONV_LOOPS tb_k_portable

#include "tensor/conv_loops.h"
