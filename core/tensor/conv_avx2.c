/* core/tensor/conv_avx2.c - the loops of a convolution for AVX2 and FMA. */
#define CONV_SET   tb_conv_avx2
#define CONV_LOOPS tb_k_avx2

#include "tensor/conv_loops.h"
