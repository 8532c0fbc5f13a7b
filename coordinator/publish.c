/* publish: a model that was made elsewhere becomes a version. The verb puts its
 * blobs into the folder; here its manifest is completed, and journalled. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon.h"
#include "publish.h"

/* Each blob must be here, with the numbers that the manifest says. */
static tb_rc check_blob(tb_daemon *d, const tb_blob_ref *want, tb_err *err)
{
    tb_blob_ref have;
    tb_rc rc = tb_blobs_find(d->state.blobs, &want->raw, &have, err);
    if (rc == TB_OK && (have.raw_bytes != want->raw_bytes ||
                        have.stored_bytes != want->stored_bytes ||
                        !tb_hash_equal(&have.stored, &want->stored))) {
        rc = tb_fail(err, TB_E_MISMATCH, "it is packed in another way here");
    }
    return rc == TB_OK ? rc
                       : tb_err_prefix(err, rc,
                                       "a blob of the model: publish "
                                       "it again");
}

static tb_rc check_blobs(tb_daemon *d, const tb_manifest *m, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (uint32_t i = 0; i < m->n_artefacts && rc == TB_OK; i++) {
        const tb_artefact *a = &m->artefacts[i];
        const tb_blob_ref ref = {a->raw, a->raw_bytes, a->stored,
                                 a->stored_bytes};
        rc = check_blob(d, &ref, err);
    }
    for (uint32_t i = 0; i < m->n_files && rc == TB_OK; i++) {
        const tb_model_file *f = &m->files[i];
        const tb_blob_ref ref = {f->raw, f->raw_bytes, f->stored,
                                 f->stored_bytes};
        rc = check_blob(d, &ref, err);
    }
    return rc;
}

/* Its place among the versions, and who says so; stored. */
static tb_rc complete(tb_daemon *d, tb_manifest *m, tb_blob_ref *out,
                      tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    m->sequence = tb_coordinator_version(d->state.machine, &m->name) + 1;
    m->epoch = tb_coordinator_epoch(d->state.machine);
    m->federation = d->keys.certificate.federation;
    m->created_s = (uint64_t)tb_clock_unix_s();
    tb_rc rc = tb_manifest_encode(m, &bytes, err);
    if (rc == TB_OK) {
        rc = tb_blobs_put(d->state.blobs, bytes.data, bytes.len,
                          TB_BLOB_LEVEL_FAST, out, err);
    }
    tb_buf_release(&bytes);
    return rc;
}

tb_rc tb_daemon_publish(tb_daemon *d, const tb_buf *manifest, tb_name *model,
                        uint64_t *sequence, tb_err *err)
{
    tb_manifest m = {0};
    tb_blob_ref ref;
    tb_rc rc = tb_manifest_decode(&m, manifest->data, manifest->len, err);
    if (rc == TB_OK) {
        rc = check_blobs(d, &m, err);
    }
    if (rc == TB_OK) {
        rc = complete(d, &m, &ref, err);
    }
    if (rc == TB_OK) {
        tb_record record = {.kind = TB_REC_VERSION,
                            .u.version = {.model = m.name,
                                          .sequence = m.sequence,
                                          .manifest = ref.raw}};
        tb_event event = {.kind = TB_EV_RECORD, .record = &record};
        rc = tb_daemon_event(d, &event, err);
        *model = m.name;
        *sequence = m.sequence;
        if (rc != TB_OK) {
            tb_blobs_settle(d->state.blobs, &ref.raw);
        }
    }
    tb_manifest_release(&m);
    return rc;
}
