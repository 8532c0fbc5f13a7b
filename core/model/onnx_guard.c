#include "model/onnx_guard.h"

#include "base/buf.h"
#include "base/mem.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static tb_rc read_varint(uint64_t *out, tb_cursor *c, tb_err *err)
{
    uint64_t v = 0;
    uint8_t byte = 0x80;
    for (unsigned shift = 0; (byte & 0x80) != 0; shift += 7) {
        if (shift > 63) {
            return tb_fail(err, TB_E_MALFORMED, "number over 64 bits");
        }
        tb_rc rc = tb_cursor_u8(c, &byte, err);
        if (rc != TB_OK) {
            return tb_err_prefix(err, rc, "cut off");
        }
        v |= (uint64_t)(byte & 0x7f) << shift;
    }
    *out = v;
    return TB_OK;
}

/* The message type of a field, or NULL when it is something else. */
static const ProtobufCMessageDescriptor *
message_field(const ProtobufCMessageDescriptor *type, uint64_t id)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (type->fields[i].id == id) {
            return type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE
                       ? type->fields[i].descriptor
                       : NULL;
        }
    }
    return NULL;
}

/* Takes one field's value; its bytes if it is length-delimited. */
static tb_rc take_value(tb_cursor *body, tb_cursor *c, uint64_t wire,
                        tb_err *err)
{
    uint64_t n = 0;
    const uint8_t *at = NULL;
    tb_rc rc = TB_OK;
    *body = (tb_cursor){0};
    switch (wire) {
    case WIRE_VARINT:
        return read_varint(&n, c, err);
    case WIRE_64:
        n = 8;
        break;
    case WIRE_32:
        n = 4;
        break;
    case WIRE_BYTES:
        rc = read_varint(&n, c, err);
        break;
    default:
        return tb_fail(err, TB_E_MALFORMED, "wire type %u", (unsigned)wire);
    }
    if (rc == TB_OK) {
        rc = tb_cursor_take(c, &at, n > SIZE_MAX ? SIZE_MAX : (size_t)n, err);
    }
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "cut off");
    }
    if (wire == WIRE_BYTES) {
        *body = (tb_cursor){at, (size_t)n};
    }
    return TB_OK;
}

tb_rc tb_onnx_guard_scan(const ProtobufCMessageDescriptor *type,
                         const uint8_t *bytes, size_t len, size_t max_depth,
                         tb_err *err)
{
    tb_cursor c = {bytes, len};
    tb_rc rc = TB_OK;
    if (max_depth == 0) {
        return tb_fail(err, TB_E_LIMIT, "messages nested too deep");
    }
    while (rc == TB_OK && c.left > 0) {
        uint64_t key = 0;
        tb_cursor body = {0};
        rc = read_varint(&key, &c, err);
        if (rc == TB_OK) {
            rc = take_value(&body, &c, key & 7, err);
        }
        const ProtobufCMessageDescriptor *inner = message_field(type, key >> 3);
        if (rc == TB_OK && inner != NULL && (key & 7) == WIRE_BYTES) {
            rc = tb_onnx_guard_scan(inner, body.at, body.left, max_depth - 1,
                                    err);
        }
    }
    return rc;
}

/* --- budget --------------------------------------------------------------- */

static void *budget_alloc(void *data, size_t bytes)
{
    tb_onnx_budget *budget = data;
    if (bytes > budget->left) {
        budget->refused = TB_E_LIMIT;
        return NULL;
    }
    void *p = tb_mem_array(bytes, 1);
    if (p == NULL) {
        budget->refused = TB_E_NOMEM;
    } else {
        budget->left -= bytes;
    }
    return p;
}

static void budget_free(void *data, void *p)
{
    (void)data;
    tb_mem_free(p);
}

void tb_onnx_budget_init(tb_onnx_budget *budget, size_t bytes)
{
    *budget = (tb_onnx_budget){.allocator = {.alloc = budget_alloc,
                                             .free = budget_free,
                                             .allocator_data = budget},
                               .left = bytes};
}
