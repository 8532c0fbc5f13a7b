/* core/wire/pb_priv.h - between plain structs and those of protobuf-c, for the
 * .c files of this room only. A message is a table of fields: where each lies
 * in both structs and which values it may have. The table is obeyed in both
 * directions, so nothing is sent that the same version would refuse. */
#ifndef TB_WIRE_PB_PRIV_H
#define TB_WIRE_PB_PRIV_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/name.h"

typedef enum tb_field_kind {
    TB_FIELD_U32,   /* uint32_t or an enum; min to max */
    TB_FIELD_U64,   /* min to max */
    TB_FIELD_BOOL,  /* bool */
    TB_FIELD_F32,   /* float: finite, not negative */
    TB_FIELD_NAME,  /* tb_name */
    TB_FIELD_TEXT,  /* char[size]: min bytes or more */
    TB_FIELD_FIXED, /* size bytes, exactly */
    TB_FIELD_SPAN /* tb_span: min to max bytes; borrowed from the other side */
} tb_field_kind;

typedef struct tb_field {
    const char *name; /* for error texts */
    tb_field_kind kind;
    size_t at;    /* offset in the plain struct */
    size_t size;  /* there */
    size_t pb_at; /* offset in the generated struct */
    uint64_t min, max;
} tb_field;

/* 0, or an error of the compiler when the generated member has another type. */
#define TB_FIELD_CHECK(pb, member, type)                                       \
    (0 * sizeof(struct {                                                       \
         _Static_assert(__builtin_types_compatible_p(                          \
                            __typeof__(((pb *)0)->member), type),              \
                        "a field's type");                                     \
         int unused;                                                           \
     }))
#define TB_FIELD(kind, type, member, theirs, min, max)                         \
    {                                                                          \
#theirs, (kind), offsetof(OURS, member),                               \
            sizeof(((OURS *)0)->member) + TB_FIELD_CHECK(PB, theirs, type),    \
            offsetof(PB, theirs), (min), (max)                                 \
    }

/* Rows of a table. Define OURS and PB, the two struct types, around it; _AS is
 * for a member that has another name in the schema. */
#define TB_U32(m, min, max)    TB_U32_AS(m, m, min, max)
#define TB_U64(m, min, max)    TB_U64_AS(m, m, min, max)
#define TB_BOOL(m)             TB_BOOL_AS(m, m)
#define TB_F32(m)              TB_F32_AS(m, m)
#define TB_NAME(m)             TB_FIELD(TB_FIELD_NAME, char *, m, m, 0, 0)
#define TB_TEXT(m, min)        TB_FIELD(TB_FIELD_TEXT, char *, m, m, min, 0)
#define TB_FIXED(m)            TB_BYTES(TB_FIELD_FIXED, m, 0, 0)
#define TB_SPAN(m, min, max)   TB_BYTES(TB_FIELD_SPAN, m, min, max)
#define TB_BYTES(k, m, lo, hi) TB_FIELD(k, ProtobufCBinaryData, m, m, lo, hi)
#define TB_U32_AS(m, t, min, max)                                              \
    TB_FIELD(TB_FIELD_U32, uint32_t, m, t, min, max)
#define TB_U64_AS(m, t, min, max)                                              \
    TB_FIELD(TB_FIELD_U64, uint64_t, m, t, min, max)
#define TB_BOOL_AS(m, t) TB_FIELD(TB_FIELD_BOOL, protobuf_c_boolean, m, t, 0, 1)
#define TB_F32_AS(m, t)  TB_FIELD(TB_FIELD_F32, float, m, t, 0, 0)

/* Checks each field of a plain struct. Errors: MALFORMED, LIMIT. */
tb_rc tb_fields_check(const void *plain, const tb_field *fields, size_t n,
                      tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Points or copies the plain fields into an initialised generated struct. */
void tb_fields_lend(void *pb, const void *plain, const tb_field *fields,
                    size_t n) TB_NONNULL(1, 2, 3);

/* Copies from the generated struct (spans are borrowed) and checks each field.
 * Errors: MALFORMED, LIMIT. */
tb_rc tb_fields_take(void *plain, const void *pb, const tb_field *fields,
                     size_t n, tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Whether text of cap bytes ends within them, is UTF-8 and holds no control
 * character (lines: newline and tab may be in it). */
bool tb_pb_text_clean(const char *text, size_t cap, bool lines) TB_NONNULL(1);

/* Unpacks at most len_max untrusted bytes, within a budget of memory. Free *out
 * with tb_pb_free. Errors: MALFORMED, LIMIT, NOMEM. */
tb_rc tb_pb_unpack(ProtobufCMessage **out,
                   const ProtobufCMessageDescriptor *descriptor,
                   const uint8_t *bytes, size_t len, size_t len_max,
                   tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees what tb_pb_unpack made and nulls *msg. NULL is fine. */
void tb_pb_free(ProtobufCMessage **msg) TB_NONNULL(1);

/* Appends the message's encoding, at most len_max bytes. Errors: LIMIT, NOMEM.
 */
tb_rc tb_pb_pack(const ProtobufCMessage *msg, size_t len_max, tb_buf *out,
                 tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Whether these bytes are exactly the message's encoding. */
bool tb_pb_same(const ProtobufCMessage *msg, const uint8_t *bytes, size_t len)
    TB_NONNULL(1);

#endif
