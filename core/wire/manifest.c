#include "wire/manifest.h"

#include <string.h>

#include "base/mem.h"
#include "generated/tributary.pb-c.h"
#include "wire/pb_priv.h"

#define CODEC_ZSTD 1u /* the one way to store a blob, so far */

#define OURS       tb_manifest
#define PB         Tributary__Manifest
static const tb_field fields[] = {
    TB_NAME(name),
    TB_U64(sequence, 1, UINT64_MAX),
    TB_FIXED(federation),
    TB_FIXED(job),
    TB_FIXED(run),
    TB_U64(created_s, 0, UINT64_MAX),
    TB_TEXT(software, 1),
    TB_F32_AS(metrics.loss, loss),
    TB_U64_AS(metrics.n_samples, n_samples, 0, UINT64_MAX),
    TB_U32_AS(input.dtype, input_dtype, 0, UINT32_MAX),
    TB_U32_AS(output.n_values, n_values, 1, TB_OUTPUTS_MAX),
    TB_BOOL_AS(output.softmax, softmax),
    TB_BOOL(served),
    TB_U32(standard, 0, UINT32_MAX),
    TB_U32(epoch, 0, UINT32_MAX),
};
#undef OURS
#undef PB
#define N_FIELDS (sizeof fields / sizeof fields[0])

#define OURS     tb_artefact
#define PB       Tributary__Artefact
static const tb_field artefact_fields[] = {
    TB_U32(role, 0, UINT32_MAX),
    TB_FIXED(raw),
    TB_U64(raw_bytes, 1, TB_MODEL_BYTES_MAX),
    TB_FIXED(stored),
    TB_U64(stored_bytes, 1, TB_MODEL_BYTES_MAX),
    TB_F32(accuracy),
    TB_F32(sparsity),
};
#undef OURS
#undef PB
#define N_ARTEFACT_FIELDS (sizeof artefact_fields / sizeof artefact_fields[0])

#define OURS              tb_model_file
#define PB                Tributary__ModelFile
static const tb_field file_fields[] = {
    TB_NAME(name),
    TB_FIXED(raw),
    TB_U64(raw_bytes, 1, TB_FILE_BYTES_MAX),
    TB_FIXED(stored),
    TB_U64(stored_bytes, 1, TB_FILE_BYTES_MAX),
};
#undef OURS
#undef PB
#define N_FILE_FIELDS (sizeof file_fields / sizeof file_fields[0])

_Static_assert(sizeof(tb_artefact_role) == 4 && sizeof(tb_input_dtype) == 4,
               "an enum travels as u32");

static const char *const role_names[TB_ARTEFACT_ROLE_END] = {
    [TB_ARTEFACT_FP32] = "fp32",
    [TB_ARTEFACT_PRUNED] = "pruned",
    [TB_ARTEFACT_INT8] = "int8",
    [TB_ARTEFACT_POW2] = "pow2",
};

const char *tb_artefact_role_name(tb_artefact_role role)
{
    return role > 0 && role < TB_ARTEFACT_ROLE_END ? role_names[role]
                                                   : "unknown";
}

const tb_artefact *tb_manifest_artefact(const tb_manifest *manifest,
                                        tb_artefact_role role)
{
    for (uint32_t i = 0; i < manifest->n_artefacts; i++) {
        if (manifest->artefacts[i].role == role) {
            return &manifest->artefacts[i];
        }
    }
    return NULL;
}

uint32_t tb_manifest_n_files(const tb_manifest *manifest,
                             const tb_artefact *artefact)
{
    return artefact->role == TB_ARTEFACT_FP32 ? manifest->n_files : 0;
}

/* How many of each there are, before any is looked at. */
typedef struct counts {
    size_t dims, classes, artefacts, files;
} counts;

static tb_rc check_counts(const counts *n, tb_err *err)
{
    size_t n_dims = n->dims, n_classes = n->classes;
    size_t n_artefacts = n->artefacts;
    if (n->files > TB_FILES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%zu files, at most %u", n->files,
                       TB_FILES_MAX);
    }
    if (n_dims < 1 || n_dims > TB_DIMS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%zu input dimensions, must be 1 to %u",
                       n_dims, TB_DIMS_MAX);
    }
    if (n_classes > TB_CLASSES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%zu class names, at most %u",
                       n_classes, TB_CLASSES_MAX);
    }
    if (n_artefacts < 1 || n_artefacts > TB_ARTEFACTS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%zu artefacts, must be 1 to %u",
                       n_artefacts, TB_ARTEFACTS_MAX);
    }
    return TB_OK;
}

static tb_rc check_artefacts(const tb_manifest *m, tb_err *err)
{
    for (uint32_t i = 0; i < m->n_artefacts; i++) {
        const tb_artefact *a = &m->artefacts[i];
        tb_rc rc = tb_fields_check(a, artefact_fields, N_ARTEFACT_FIELDS, err);
        if (rc != TB_OK) {
            return tb_err_prefix(err, rc, "artefact %u", i);
        }
        if (a->role < 1 || a->role >= TB_ARTEFACT_ROLE_END) {
            return tb_fail(err, TB_E_UNSUPPORTED, "artefact of role %u",
                           (uint32_t)a->role);
        }
        if (a->accuracy > 1 || a->sparsity > 1) {
            return tb_fail(err, TB_E_LIMIT, "%s: accuracy or sparsity over 1",
                           role_names[a->role]);
        }
        if (a->accuracy > 0 && m->metrics.n_samples == 0) {
            return tb_fail(err, TB_E_MALFORMED, "%s: accuracy of no samples",
                           role_names[a->role]);
        }
        if (tb_manifest_artefact(m, a->role) != a) {
            return tb_fail(err, TB_E_MALFORMED, "two artefacts of role %s",
                           role_names[a->role]);
        }
    }
    if (tb_manifest_artefact(m, m->standard) == NULL) {
        return tb_fail(err, TB_E_MALFORMED, "the standard artefact is missing");
    }
    return TB_OK;
}

/* A name that cannot be that of another file of the model. */
static bool is_free_name(const tb_manifest *m, uint32_t i)
{
    const char *name = m->files[i].name.text;
    size_t n = strlen(name);
    bool own = strcmp(name, "manifest") == 0 ||
               (n >= 5 && strcmp(name + n - 5, ".onnx") == 0) ||
               (n >= 5 && strcmp(name + n - 5, ".part") == 0);
    for (uint32_t j = 0; j < i; j++) {
        own = own || tb_name_equal(&m->files[j].name, &m->files[i].name);
    }
    return !own;
}

static tb_rc check_files(const tb_manifest *m, tb_err *err)
{
    if (m->n_files > 0 && tb_manifest_artefact(m, TB_ARTEFACT_FP32) == NULL) {
        return tb_fail(err, TB_E_MALFORMED,
                       "files of tensor data, and no fp32 model beside them");
    }
    for (uint32_t i = 0; i < m->n_files; i++) {
        tb_rc rc =
            tb_fields_check(&m->files[i], file_fields, N_FILE_FIELDS, err);
        if (rc != TB_OK) {
            return tb_err_prefix(err, rc, "file %u", i);
        }
        if (!is_free_name(m, i)) {
            return tb_fail(err, TB_E_MALFORMED, "file %u: the name \"%s\"", i,
                           m->files[i].name.text);
        }
    }
    return TB_OK;
}

static tb_rc check_output(const tb_manifest *m, tb_err *err)
{
    if (m->output.n_classes > 0 && m->output.n_classes != m->output.n_values) {
        return tb_fail(err, TB_E_MALFORMED, "%u class names for %u outputs",
                       m->output.n_classes, m->output.n_values);
    }
    for (uint32_t i = 0; i < m->output.n_classes; i++) {
        const char *text = m->output.classes[i].text;
        if (text[0] == '\0' || !tb_pb_text_clean(text, TB_CLASS_BYTES, false)) {
            return tb_fail(err, TB_E_MALFORMED,
                           "class %u: not a text without control characters",
                           i);
        }
    }
    return TB_OK;
}

size_t tb_input_dtype_bytes(tb_input_dtype dtype)
{
    switch (dtype) {
    case TB_INPUT_U8:
        return 1;
    case TB_INPUT_F32:
    case TB_INPUT_I32:
        return 4;
    case TB_INPUT_I64:
        return 8;
    case TB_INPUT_DTYPE_END:
        break;
    }
    return 0;
}

/* Rules beside the table; the counts were checked. */
static tb_rc check_rules(const tb_manifest *m, tb_err *err)
{
    if (tb_input_dtype_bytes(m->input.dtype) == 0) {
        return tb_fail(err, TB_E_UNSUPPORTED, "input of type %u",
                       (uint32_t)m->input.dtype);
    }
    for (uint32_t i = 0; i < m->input.rank; i++) {
        if (m->input.dims[i] == 0) {
            return tb_fail(err, TB_E_MALFORMED, "input dimension %u is 0", i);
        }
    }
    tb_rc rc = check_output(m, err);
    if (rc == TB_OK) {
        rc = check_artefacts(m, err);
    }
    return rc == TB_OK ? check_files(m, err) : rc;
}

/* The generated structs of one manifest, to encode from. */
typedef struct lent {
    Tributary__Manifest manifest;
    Tributary__Artefact artefacts[TB_ARTEFACTS_MAX];
    Tributary__Artefact *list[TB_ARTEFACTS_MAX];
    Tributary__ModelFile files[TB_FILES_MAX];
    Tributary__ModelFile *file_list[TB_FILES_MAX];
    uint32_t dims[TB_DIMS_MAX];
    char *classes[TB_CLASSES_MAX];
} lent;

static void lend(lent *out, const tb_manifest *m)
{
    tributary__manifest__init(&out->manifest);
    tb_fields_lend(&out->manifest, m, fields, N_FIELDS);
    memcpy(out->dims, m->input.dims, sizeof out->dims);
    out->manifest.n_dims = m->input.rank;
    out->manifest.dims = out->dims;
    for (uint32_t i = 0; i < m->output.n_classes; i++) {
        const char *text = m->output.classes[i].text;
        memcpy(&out->classes[i], &text, sizeof text);
    }
    out->manifest.n_classes = m->output.n_classes;
    out->manifest.classes = out->classes;
    for (uint32_t i = 0; i < m->n_artefacts; i++) {
        tributary__artefact__init(&out->artefacts[i]);
        tb_fields_lend(&out->artefacts[i], &m->artefacts[i], artefact_fields,
                       N_ARTEFACT_FIELDS);
        out->artefacts[i].codec = CODEC_ZSTD;
        out->list[i] = &out->artefacts[i];
    }
    out->manifest.n_artefacts = m->n_artefacts;
    out->manifest.artefacts = out->list;
    for (uint32_t i = 0; i < m->n_files; i++) {
        tributary__model_file__init(&out->files[i]);
        tb_fields_lend(&out->files[i], &m->files[i], file_fields,
                       N_FILE_FIELDS);
        out->file_list[i] = &out->files[i];
    }
    out->manifest.n_files = m->n_files;
    out->manifest.files = out->file_list;
}

tb_rc tb_manifest_encode(const tb_manifest *manifest, tb_buf *out, tb_err *err)
{
    lent pb;
    const counts n = {manifest->input.rank, manifest->output.n_classes,
                      manifest->n_artefacts, manifest->n_files};
    tb_rc rc = check_counts(&n, err);
    if (rc == TB_OK) {
        rc = tb_fields_check(manifest, fields, N_FIELDS, err);
    }
    if (rc == TB_OK) {
        rc = check_rules(manifest, err);
    }
    if (rc == TB_OK) {
        lend(&pb, manifest);
        rc = tb_pb_pack(&pb.manifest.base, TB_MANIFEST_BYTES_MAX, out, err);
    }
    return rc == TB_OK ? TB_OK : tb_err_prefix(err, rc, "manifest");
}

static tb_rc take_classes(tb_manifest *out, const Tributary__Manifest *pb,
                          tb_err *err)
{
    if (pb->n_classes == 0) {
        return TB_OK;
    }
    out->output.classes = tb_mem_array(pb->n_classes, sizeof(tb_class_name));
    if (out->output.classes == NULL) {
        return tb_fail(err, TB_E_NOMEM, "no memory for class names");
    }
    for (size_t i = 0; i < pb->n_classes; i++) {
        size_t len = strlen(pb->classes[i]);
        if (len >= TB_CLASS_BYTES) {
            return tb_fail(err, TB_E_LIMIT, "class %zu: %zu bytes", i, len);
        }
        memcpy(out->output.classes[i].text, pb->classes[i], len);
    }
    out->output.n_classes = (uint32_t)pb->n_classes;
    return TB_OK;
}

static tb_rc take_artefacts(tb_manifest *out, const Tributary__Manifest *pb,
                            tb_err *err)
{
    for (size_t i = 0; i < pb->n_artefacts; i++) {
        if (pb->artefacts[i]->codec != CODEC_ZSTD) {
            return tb_fail(err, TB_E_UNSUPPORTED, "artefact of codec %u",
                           pb->artefacts[i]->codec);
        }
        tb_rc rc = tb_fields_take(&out->artefacts[i], pb->artefacts[i],
                                  artefact_fields, N_ARTEFACT_FIELDS, err);
        if (rc != TB_OK) {
            return rc;
        }
    }
    out->n_artefacts = (uint32_t)pb->n_artefacts;
    return TB_OK;
}

static tb_rc take_files(tb_manifest *out, const Tributary__Manifest *pb,
                        tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < pb->n_files && rc == TB_OK; i++) {
        rc = tb_fields_take(&out->files[i], pb->files[i], file_fields,
                            N_FILE_FIELDS, err);
    }
    out->n_files = (uint32_t)pb->n_files;
    return rc;
}

static tb_rc take(tb_manifest *out, const Tributary__Manifest *pb, tb_err *err)
{
    const counts n = {pb->n_dims, pb->n_classes, pb->n_artefacts, pb->n_files};
    tb_rc rc = check_counts(&n, err);
    if (rc == TB_OK) {
        rc = tb_fields_take(out, pb, fields, N_FIELDS, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    out->input.rank = (uint32_t)pb->n_dims;
    memcpy(out->input.dims, pb->dims, pb->n_dims * sizeof pb->dims[0]);
    rc = take_classes(out, pb, err);
    if (rc == TB_OK) {
        rc = take_artefacts(out, pb, err);
    }
    if (rc == TB_OK) {
        rc = take_files(out, pb, err);
    }
    return rc == TB_OK ? check_rules(out, err) : rc;
}

tb_rc tb_manifest_decode(tb_manifest *out, const uint8_t *bytes, size_t len,
                         tb_err *err)
{
    lent pb;
    ProtobufCMessage *base = NULL;
    memset(out, 0, sizeof *out);
    tb_rc rc = tb_pb_unpack(&base, &tributary__manifest__descriptor, bytes, len,
                            TB_MANIFEST_BYTES_MAX, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = take(out, (const Tributary__Manifest *)base, err);
    if (rc != TB_OK) {
        rc = tb_err_prefix(err, rc, "manifest");
        goto done;
    }
    lend(&pb, out);
    if (!tb_pb_same(&pb.manifest.base, bytes, len)) {
        rc =
            tb_fail(err, TB_E_MALFORMED, "manifest: not in its canonical form");
    }
done:
    tb_pb_free(&base);
    if (rc != TB_OK) {
        tb_manifest_release(out);
    }
    return rc;
}

void tb_manifest_release(tb_manifest *manifest)
{
    tb_mem_free(manifest->output.classes);
    memset(manifest, 0, sizeof *manifest);
}
