/* core/model/onnx_guard.h - what stands between untrusted bytes and the
 * generated decoder, which recurses without bound and trusts malloc: a walk
 * that checks nesting first, and an allocator with a budget. */
#ifndef TB_MODEL_ONNX_GUARD_H
#define TB_MODEL_ONNX_GUARD_H

#include <protobuf-c/protobuf-c.h>

#include "base/err.h"

/* Walks a message by its descriptor, allocating nothing. Errors: MALFORMED (not
 * the wire format), LIMIT (messages nested over max_depth). */
tb_rc tb_onnx_guard_scan(const ProtobufCMessageDescriptor *type,
                         const uint8_t *bytes, size_t len, size_t max_depth,
                         tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* An allocator that gives at most `left` bytes, over base's memory. */
typedef struct tb_onnx_budget {
    ProtobufCAllocator allocator; /* hand this to the decoder */
    size_t left;
    tb_rc refused; /* OK, LIMIT or NOMEM: why it last gave nothing */
} tb_onnx_budget;

/* Initialises a budget, which must stay where it is. */
void tb_onnx_budget_init(tb_onnx_budget *budget, size_t bytes) TB_NONNULL(1);

#endif
