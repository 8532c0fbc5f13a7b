/* core/tensor/conv_avx512.c - the loops of a convolution for AVX-512. */
#define CONV_SET   tb_conv_avx512
#define CONV_LOOPS tb_k_avx512

#include "tensor/conv_loops.h"
