/* core/tensor/conv_int8.h - convolution and maximum over windows of bytes, on
 * pixels: images are [batch, h, w, channels] ("pixels"), so that a window's row
 * lies together and the product of gemm_int8.h runs over it in place. Images
 * that come as ONNX has them, [batch, channels, h, w] ("planes"), are turned
 * while they are padded. One dimension is h = 1. Safe from any thread. */
#ifndef TB_TENSOR_CONV_INT8_H
#define TB_TENSOR_CONV_INT8_H

#include "base/err.h"
#include "tensor/gemm_int8.h"

/* Index 0 is down (h), 1 across (w). */
typedef struct tb_int8_window {
    size_t batch;
    size_t in_c;
    size_t in[2];
    size_t out[2];
    size_t kernel[2];
    size_t stride[2];
    size_t dilation[2];
    size_t pad[2]; /* before the first row and column; behind the last one as
                    * much as out needs */
} tb_int8_window;

typedef struct tb_conv_int8 {
    tb_int8_window window;
    size_t out_c;
    size_t groups; /* of in_c and of out_c */
    bool x_planes; /* x comes as planes, else as pixels */
    bool x_signed; /* x is int8: 128 is added to each (and to edge) */
    uint8_t edge;  /* what lies around x: its zero point, as a byte of x */
} tb_conv_int8;

/* Scratch memory of one run. Sizes in conv are above 0, but for batch and out.
 * Errors: LIMIT (an overflow). */
tb_rc tb_conv_int8_plan(size_t *work_bytes, const tb_conv_int8 *conv,
                        tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Bytes of the packed weights. */
size_t tb_conv_int8_packed_bytes(const tb_conv_int8 *conv) TB_NONNULL(1);

/* Packs w [out_c, in_c / groups, kernel...] of int8; with flip of uint8, 128
 * taken from each. */
void tb_conv_int8_pack(int8_t *packed, const void *w, const tb_conv_int8 *conv,
                       bool flip) TB_NONNULL(1, 2, 3);

/* sums [out_c]: of all weights of an output channel. */
void tb_conv_int8_weight_sums(int32_t *sums, const int8_t *packed,
                              const tb_conv_int8 *conv) TB_NONNULL(1, 2, 3);

/* y [batch, out..., out_c], pixels, as finish says (bias and scale: [out_c]).
 * Sums are of bytes as they stand after x_signed: zero points are not taken
 * off. work: 64-byte aligned. */
void tb_conv_int8_run(const tb_conv_int8 *conv, const uint8_t *x,
                      const int8_t *packed, const tb_int8_finish *finish,
                      void *y, void *work) TB_NONNULL(1, 2, 3, 4, 5, 6);

/* sums [batch, out..., out_c] of the same by plain loops over unpacked int8
 * weights: the oracle of the tests. */
void tb_conv_int8_naive(const tb_conv_int8 *conv, const uint8_t *x,
                        const int8_t *w, int32_t *sums) TB_NONNULL(1, 2, 3, 4);

/* y = the largest byte (int8 when is_signed) of each window of each channel;
 * what lies around x does not count. Pixels both. */
void tb_max_int8(const tb_int8_window *window, bool is_signed, const uint8_t *x,
                 uint8_t *y) TB_NONNULL(1, 3, 4);

/* y [batch, channels, n] from x [batch, n, channels], elements of 1 or 4
 * bytes: pixels to planes. */
void tb_planes_from_pixels(void *y, const void *x, size_t batch, size_t n,
                           size_t channels, size_t bytes) TB_NONNULL(1, 2);

#endif
