/* core/wire/msg_priv.h - the kinds of messages as one table, for msg.c: name,
 * schema, fields with their ranges, and what payload goes with each. */
#ifndef TB_WIRE_MSG_PRIV_H
#define TB_WIRE_MSG_PRIV_H

#include "wire/msg.h"
#include "wire/pb_priv.h"

typedef struct tb_msg_row {
    const char *name;
    const ProtobufCMessageDescriptor *schema;
    const tb_field *fields;
    size_t n_fields;
    size_t payload_min, payload_max; /* bytes; 0, 0: no payload frame */
    bool open;                       /* may hold fields of a newer version */
} tb_msg_row;

/* The row of a kind, or NULL when there is no such kind. */
const tb_msg_row *tb_msg_row_of(tb_msg_kind kind);

#endif
