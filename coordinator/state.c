#include "state.h"

#include <string.h>

#include "base/file.h"
#include "crypto/cert.h"
#include "crypto/crypto.h"

static tb_rc read_federation(tb_hash *out, const tb_folder *folder, tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, TB_SIGN_PUBLIC_BYTES + TB_CERTIFICATE_BYTES);
    const char *path = tb_folder_path(folder, TB_ITEM_CERTIFICATE);
    tb_rc rc = tb_file_read(&bytes, path, err);
    if (rc == TB_OK && bytes.len < TB_SIGN_PUBLIC_BYTES) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "%s: cut short: restore it from a backup", path);
    }
    if (rc == TB_OK) {
        *out = tb_federation_of(bytes.data);
    }
    tb_buf_release(&bytes);
    return rc;
}

tb_rc tb_state_note(tb_state *state, const tb_record *record, tb_err *err)
{
    tb_rc rc = tb_history_add(&state->history, record, err);
    if (rc == TB_OK) {
        rc = tb_marks_note(&state->marks, record, err);
    }
    if (rc == TB_OK && record->kind == TB_REC_VERSION) {
        rc = tb_registry_add(&state->registry, &record->u.version, err);
    } else if (rc == TB_OK && record->kind == TB_REC_SWEPT) {
        tb_registry_sweep(&state->registry, &record->u.swept);
    }
    if (rc == TB_OK) {
        rc = tb_chronicle_add(&state->chronicle, record, err);
    }
    return rc;
}

static tb_rc replay_row(void *arg, const tb_row *row, tb_err *err)
{
    tb_state *state = arg;
    tb_record record;
    tb_rc rc =
        tb_record_decode(&record, row->kind, row->body, row->body_bytes, err);
    if (rc == TB_OK) {
        rc = tb_coordinator_replay(state->machine, &record, row->seq, err);
        if (rc == TB_OK) {
            rc = tb_state_note(state, &record, err);
        }
        tb_record_release(&record);
    }
    return rc == TB_OK ? rc
                       : tb_err_prefix(err, rc, "journal row %llu",
                                       (unsigned long long)row->seq);
}

static tb_rc open_parts(tb_state *state, tb_err *err)
{
    tb_coordinator_params params = tb_coordinator_defaults();
    tb_rc rc = read_federation(&params.federation, state->folder, err);
    if (rc == TB_OK) {
        rc = tb_store_open(&state->store, state->folder, err);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_open(&state->blobs,
                           tb_folder_path(state->folder, TB_ITEM_BLOBS), err);
    }
    if (rc == TB_OK) {
        rc = tb_coordinator_new(&state->machine, &params, err);
    }
    if (rc == TB_OK) {
        rc = tb_store_read(state->store, 1, replay_row, state, err);
    }
    return rc;
}

tb_rc tb_state_open(tb_state *out, const char *dir, tb_folder_use use,
                    tb_err *err)
{
    memset(out, 0, sizeof *out);
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = tb_folder_open(&out->folder, dir, TB_FOLDER_COORDINATOR, use, err);
    }
    if (rc == TB_OK) {
        rc = open_parts(out, err);
    }
    if (rc != TB_OK) {
        tb_state_close(out);
    }
    return rc;
}

void tb_state_close(tb_state *state)
{
    tb_coordinator_free(&state->machine);
    tb_registry_release(&state->registry);
    tb_history_release(&state->history);
    tb_marks_release(&state->marks);
    tb_chronicle_release(&state->chronicle);
    tb_blobs_close(&state->blobs);
    tb_store_close(&state->store);
    tb_folder_close(&state->folder);
}

tb_rc tb_state_blob_find(tb_state *state, const tb_hash *raw, tb_buf *out,
                         tb_err *err)
{
    tb_blob_ref ref;
    tb_rc rc = tb_blobs_find(state->blobs, raw, &ref, err);
    return rc == TB_OK ? tb_blobs_load(state->blobs, &ref, out, err) : rc;
}

tb_blob_ref tb_state_ref(const tb_model_ref *model)
{
    return (tb_blob_ref){model->raw, model->raw_bytes, model->stored,
                         model->stored_bytes};
}

tb_model_ref tb_state_model(const tb_blob_ref *blob)
{
    return (tb_model_ref){blob->raw, blob->raw_bytes, blob->stored,
                          blob->stored_bytes};
}
