/* client/registry.h - the models that a client has pulled, below models/:
 *   NAME/manifest      size u32le | canonical manifest | signature 64
 *   NAME/ROLE.onnx     plain ONNX: fp32, pruned, int8, pow2
 *   NAME/<file>        tensor data that fp32.onnx names
 *   NAME/<hash>.part   stored bytes of one of these, on their way
 * Nothing is used before signature, federation, sequence and hashes were
 * checked. The sequence of a model never falls. */
#ifndef TB_CLIENT_REGISTRY_H
#define TB_CLIENT_REGISTRY_H

#include "home.h"
#include "host/blob.h"
#include "wire/manifest.h"
#include "wire/msg.h"

/* Checks an answered manifest against our federation and the newest one known
 * here, and keeps it. On TB_OK the caller releases *out. Errors: DENIED
 * (signature, federation, a sequence that falls), MALFORMED, FULL, IO,
 * NOMEM. */
tb_rc registry_take(const home *h, const tb_msg_manifest *msg,
                    const tb_name *model, tb_manifest *out,
                    tb_err *err) TB_MUST_CHECK;

/* The manifest of a pulled model, verified again; the caller releases it.
 * Errors: NOT_FOUND (says how to pull it), DENIED, MALFORMED, IO, NOMEM. */
tb_rc registry_manifest(const home *h, const tb_name *model, tb_manifest *out,
                        tb_err *err) TB_MUST_CHECK;

/* Highest sequence seen of a model; 0: none. */
uint64_t registry_sequence(const home *h, const tb_name *model);

/* One of the files that make up a form of a version: its ONNX, or tensor data
 * beside that. */
typedef struct registry_item {
    tb_blob_ref ref;
    char *path; /* where it belongs; owned */
    char *part; /* what has come of it, in stored form; owned */
} registry_item;

/* Item i of an artefact: 0 to n_files - 1 are the manifest's files, the next
 * one is the ONNX itself, which comes last. The caller releases *out. Errors:
 * NOT_FOUND (past the end), NOMEM. */
tb_rc registry_item_at(registry_item *out, const home *h,
                       const tb_manifest *manifest, const tb_artefact *artefact,
                       uint32_t i, tb_err *err) TB_MUST_CHECK;
void registry_item_release(registry_item *item);

/* Bytes of its part that are here already, 0 when there are none. */
uint64_t registry_part_bytes(const registry_item *item);

/* Writes at this offset of the part. Errors: FULL, IO. */
tb_rc registry_part_write(const registry_item *item, uint64_t offset,
                          const uint8_t *bytes, size_t n,
                          tb_err *err) TB_MUST_CHECK;

/* The part is whole: unpacks it into its place, every hash checked, and deletes
 * it, also when it was wrong. Errors: as tb_blob_unpack_file. */
tb_rc registry_part_finish(const registry_item *item,
                           tb_err *err) TB_MUST_CHECK;

/* Deletes parts of other versions of the model. */
void registry_drop_parts(const home *h, const tb_manifest *manifest);

/* Whether an item lies in its place, with the hash that the manifest names; in
 * little memory. Errors: NOT_FOUND (says how to pull it), MISMATCH, IO,
 * NOMEM. */
tb_rc registry_item_check(const registry_item *item,
                          const tb_manifest *manifest,
                          tb_err *err) TB_MUST_CHECK;

/* The same for all items of an artefact. */
tb_rc registry_check(const home *h, const tb_manifest *manifest,
                     const tb_artefact *artefact, tb_err *err) TB_MUST_CHECK;

/* Path of an artefact's file, for tb_mem_free. Errors: NOMEM. */
tb_rc registry_path(char **out, const home *h, const tb_manifest *manifest,
                    const tb_artefact *artefact, tb_err *err) TB_MUST_CHECK;

#endif
