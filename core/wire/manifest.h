/* core/wire/manifest.h - what the coordinator signs for a model version: its
 * place in the sequence, its measured quality, its input and output, and the
 * hashes of its blobs. Canonical bytes are the protobuf message Manifest with
 * fields in order; the signature (sign.h, TB_SIGN_MANIFEST) is over them. */
#ifndef TB_WIRE_MANIFEST_H
#define TB_WIRE_MANIFEST_H

#include "base/buf.h"
#include "base/hash.h"
#include "wire/name.h"

#define TB_CLASSES_MAX   1024u
#define TB_CLASS_BYTES   64 /* with the closing NUL */
#define TB_ARTEFACTS_MAX 8u
#define TB_FILES_MAX     8u
#define TB_DIMS_MAX      8u

typedef enum tb_artefact_role {
    TB_ARTEFACT_FP32 = 1,
    TB_ARTEFACT_PRUNED,
    TB_ARTEFACT_INT8,
    TB_ARTEFACT_POW2,
    TB_ARTEFACT_ROLE_END
} tb_artefact_role;

/* One stored form of the model. */
typedef struct tb_artefact {
    tb_artefact_role role; /* each at most once */
    tb_hash raw;           /* of the ONNX: the model hash */
    uint64_t raw_bytes;    /* unpacking stops here */
    tb_hash stored;        /* of the zstd bytes: the blob's address */
    uint64_t stored_bytes;
    float accuracy; /* 0 to 1 on metrics.n_samples; 0 when that is 0 */
    float sparsity; /* 0 to 1: share of its weights that are zero */
} tb_artefact;

/* Tensor data in a file of their own, beside the fp32 ONNX that names it. */
typedef struct tb_model_file {
    tb_name name;
    tb_hash raw;
    uint64_t raw_bytes;
    tb_hash stored;
    uint64_t stored_bytes;
} tb_model_file;

/* Element types of an input, by ONNX's numbers. */
typedef enum tb_input_dtype {
    TB_INPUT_F32 = 1,
    TB_INPUT_U8 = 2,
    TB_INPUT_I32 = 6,
    TB_INPUT_I64 = 7, /* tokens */
    TB_INPUT_DTYPE_END
} tb_input_dtype;

typedef struct tb_class_name {
    char text[TB_CLASS_BYTES]; /* UTF-8 without control characters */
} tb_class_name;

typedef struct tb_manifest {
    tb_name name;
    uint32_t epoch;    /* of the coordinator: it may have lost versions */
    uint64_t sequence; /* 1, 2, ...; clients never let it fall in an epoch */
    tb_hash federation;
    tb_hash job;
    tb_run_id run;
    uint64_t created_s; /* unix seconds */
    char software[TB_NAME_BYTES];
    struct {
        float loss;         /* of the fp32 model, finite, >= 0 */
        uint64_t n_samples; /* of loss and accuracies; 0: not measured */
    } metrics;
    struct {
        tb_input_dtype dtype;
        uint32_t rank;              /* of one sample, 1 to TB_DIMS_MAX */
        uint32_t dims[TB_DIMS_MAX]; /* each at least 1 */
    } input;
    struct {
        uint32_t n_values;      /* of one sample, at least 1 */
        bool softmax;           /* probabilities; otherwise raw scores */
        uint32_t n_classes;     /* 0 (no names) or n_values */
        tb_class_name *classes; /* [n_classes], owned when decoded */
    } output;
    bool served;               /* the coordinator answers PREDICT */
    tb_artefact_role standard; /* the one to use unless told otherwise */
    uint32_t n_artefacts;
    tb_artefact artefacts[TB_ARTEFACTS_MAX];
    uint32_t n_files; /* of the one artefact, which is fp32 then */
    tb_model_file files[TB_FILES_MAX];
} tb_manifest;

/* Appends the canonical bytes. Errors: LIMIT, MALFORMED (a value that decode
 * would refuse), NOMEM. */
tb_rc tb_manifest_encode(const tb_manifest *manifest, tb_buf *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads canonical bytes and checks every limit and range. On TB_OK the caller
 * releases *out; otherwise it is empty. Verify the signature first. Errors:
 * MALFORMED, LIMIT, UNSUPPORTED (newer version, role, dtype), NOMEM. */
tb_rc tb_manifest_decode(tb_manifest *out, const uint8_t *bytes, size_t len,
                         tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees the class names; safe twice and on a zeroed manifest. */
void tb_manifest_release(tb_manifest *manifest) TB_NONNULL(1);

/* The artefact of a role, borrowed, or NULL. */
const tb_artefact *tb_manifest_artefact(const tb_manifest *manifest,
                                        tb_artefact_role role) TB_NONNULL(1);

/* How many files lie beside this artefact: they are the fp32 one's, the others
 * are whole in themselves. */
uint32_t tb_manifest_n_files(const tb_manifest *manifest,
                             const tb_artefact *artefact) TB_NONNULL(1, 2);

/* Bytes of one element; 0 for a number that is none of the enum. */
size_t tb_input_dtype_bytes(tb_input_dtype dtype);

/* Stable names: "fp32", "pruned", "int8", "pow2"; "unknown" otherwise. */
const char *tb_artefact_role_name(tb_artefact_role role);

#endif
