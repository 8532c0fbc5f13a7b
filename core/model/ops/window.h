/* core/model/ops/window.h - the sliding window of Conv, ConvTranspose and the
 * pools: attributes kernel_shape, strides, dilations, pads, auto_pad and
 * ceil_mode, checked and turned into extents. For infer only. */
#ifndef TB_MODEL_OPS_WINDOW_H
#define TB_MODEL_OPS_WINDOW_H

#include "model/op.h"
#include "tensor/conv.h"

/* One to three spatial dimensions; with fewer, the leading ones have extent,
 * kernel, stride and dilation 1 and pad 0. */
typedef struct tb_window {
    size_t rank; /* of the tensors: spatial dimensions and two */
    size_t in[TB_CONV_DIMS];
    size_t out[TB_CONV_DIMS];
    size_t kernel[TB_CONV_DIMS];
    size_t stride[TB_CONV_DIMS];
    size_t dilation[TB_CONV_DIMS];
    size_t pad[TB_CONV_DIMS]; /* before the first element */
    size_t pad_end[TB_CONV_DIMS];
} tb_window;

/* The attributes that tb_window_of reads, for tb_op.attrs. */
#define TB_WINDOW_ATTRS                                                        \
    {"auto_pad", TB_ATTR_STRING, false}, {"dilations", TB_ATTR_INTS, false},   \
        {"kernel_shape", TB_ATTR_INTS, false}, {"pads", TB_ATTR_INTS, false},  \
    {                                                                          \
        "strides", TB_ATTR_INTS, false                                         \
    }

/* Windows over x [batch, channels, spatial...]. w: the weights, whose extents
 * behind the second are the kernel's; NULL: kernel_shape must say. Errors:
 * UNSUPPORTED (more than three spatial dimensions), MALFORMED, MISMATCH. */
tb_rc tb_window_of(tb_window *out, const tb_node *node, const tb_shape *x,
                   const tb_shape *w, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The same for ConvTranspose, which turns windows round: `out` are the windows
 * over its output that its input counts; output_shape and output_padding say
 * how large that is. */
tb_rc tb_window_transposed(tb_window *out, const tb_node *node,
                           const tb_shape *x, const tb_shape *w, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* [batch, channels, extent...] of as many dimensions as the window's tensors
 * have. */
tb_shape tb_window_shape(const tb_window *window, size_t batch, size_t channels,
                         const size_t extent[TB_CONV_DIMS]) TB_NONNULL(1, 4);

#endif
