/* core/tensor/conv_turn_avx.h - a transposition of 8 x 8 floats, TURN x TURN in
 * conv_winograd.h. The includer defines nothing, but is built for AVX. */
#include <immintrin.h>
#include <stddef.h>

#define TURN ((size_t)8)

/* Element (j, i) of out is (i, j) of x. */
static inline void turn_block(float *out, size_t out_step, const float *x,
                              size_t x_step)
{
    __m256 r[8];
    __m256 s[8];
    for (size_t i = 0; i < 8; i++) {
        r[i] = _mm256_loadu_ps(x + i * x_step);
    }
    for (size_t i = 0; i < 8; i += 2) {
        s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (size_t i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xee);
    }
    for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * out_step,
                         _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * out_step,
                         _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}
