/* core/wire/name.h - names and numbers that both ends of the protocol share,
 * and the table of limits that every decoder obeys. */
#ifndef TB_WIRE_NAME_H
#define TB_WIRE_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

#define TB_PROTOCOL_MIN    1
#define TB_PROTOCOL_MAX    1

#define TB_NAME_BYTES      64 /* with the closing NUL */
#define TB_TEXT_BYTES      256
#define TB_ENDPOINT_BYTES  256
#define TB_RUN_ID_BYTES    16
#define TB_UPLOAD_ID_BYTES 16
#define TB_EPOCH_ID_BYTES  16

/* A block: the sealed chunk, the wire chunk, the tile of strategies. */
#define TB_BLOCK_VALUES    65536u
#define TB_BLOCK_BYTES_MAX (TB_BLOCK_VALUES * 4u)

/* A message is one envelope frame and at most one payload frame. */
#define TB_ENVELOPE_BYTES_MAX 65536u
#define TB_PAYLOAD_BYTES_MAX  (TB_BLOCK_BYTES_MAX + 1024u)

/* A piece of a download. Small: CURVE keeps an encrypted copy of one for each
 * connection that reads slowly, and a whole cohort fetches at one time. */
#define TB_FETCH_BYTES_MAX    32768u

#define TB_PREDICT_ROWS_MAX   65536u
#define TB_OUTPUTS_MAX        (1u << 20)   /* values of one sample's output */
#define TB_MODEL_BYTES_MAX    (1ull << 42) /* of an ONNX file, raw or stored */
#define TB_FILE_BYTES_MAX     (1ull << 42) /* of tensor data beside it */
#define TB_FRACTION_BITS_MIN  20u
#define TB_FRACTION_BITS_MAX  62u

#define TB_SECTIONS_MAX       64u
#define TB_SECTION_VALUES     (1ull << 32)
#define TB_BLOCKS_MAX         (1u << 17)
#define TB_DATA_SETS_MAX      64u
#define TB_JOB_BYTES_MAX      32768u
#define TB_CONFIG_BYTES_MAX   49152u
#define TB_MANIFEST_BYTES_MAX 32768u
#define TB_COHORT_MAX         100000u

/* A name of a client, data set, job or model: 1 to 63 of A-Z a-z 0-9 . _ -,
 * not starting with a dot or a dash. */
typedef struct tb_name {
    char text[TB_NAME_BYTES];
} tb_name;

/* Whether text is such a name. */
bool tb_name_valid(const char *text) TB_NONNULL(1);

/* Copies text into *out; false (and *out empty) when it is not a name. */
bool tb_name_set(tb_name *out, const char *text) TB_NONNULL(1, 2);

/* Whether two names are the same. */
bool tb_name_equal(const tb_name *a, const tb_name *b) TB_NONNULL(1, 2);

/* Bytes inside a message: owned by it when decoded, borrowed when sent. */
typedef struct tb_span {
    const uint8_t *data;
    size_t len;
} tb_span;

typedef struct tb_run_id {
    uint8_t bytes[TB_RUN_ID_BYTES]; /* random; never enters a model or stream */
} tb_run_id;

typedef struct tb_upload_id {
    uint8_t bytes[TB_UPLOAD_ID_BYTES]; /* random, by the client */
} tb_upload_id;

#endif
