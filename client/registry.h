/* client/registry.h - the models that a client has pulled, below models/:
 *   NAME/manifest      size u32le | canonical manifest | signature 64
 *   NAME/ROLE.onnx     plain ONNX: fp32, pruned, int8, pow2
 * Nothing is used before signature, federation, sequence and hashes were
 * checked. The sequence of a model never falls. */
#ifndef TB_CLIENT_REGISTRY_H
#define TB_CLIENT_REGISTRY_H

#include "home.h"
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

/* Unpacks an artefact's stored bytes, checks both hashes and keeps it. Errors:
 * MISMATCH, MALFORMED, LIMIT, FULL, IO, NOMEM. */
tb_rc registry_put(const home *h, const tb_manifest *manifest,
                   const tb_artefact *artefact, const tb_buf *stored,
                   tb_err *err) TB_MUST_CHECK;

/* Whether an artefact lies here with the manifest's hash; its bytes are
 * appended to out. Errors: NOT_FOUND, MISMATCH, LIMIT, IO, NOMEM. */
tb_rc registry_load(const home *h, const tb_manifest *manifest,
                    const tb_artefact *artefact, tb_buf *out,
                    tb_err *err) TB_MUST_CHECK;

/* Path of an artefact's file, for tb_mem_free. Errors: NOMEM. */
tb_rc registry_path(char **out, const home *h, const tb_manifest *manifest,
                    const tb_artefact *artefact, tb_err *err) TB_MUST_CHECK;

#endif
