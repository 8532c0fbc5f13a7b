/* tests/unit/client/member_home.h - a client's folder that has joined a
 * federation which lives in the test, and manifests that it signs. */
#ifndef TB_TESTS_UNIT_CLIENT_MEMBER_HOME_H
#define TB_TESTS_UNIT_CLIENT_MEMBER_HOME_H

#include <stdio.h>
#include <string.h>

#include "client/home.h"
#include "crypto/crypto.h"
#include "host/blob.h"
#include "support/check.h"
#include "support/folder.h"
#include "wire/manifest.h"
#include "wire/msg.h"

static const char onnx[] = "not really a model, but bytes with a hash";

typedef struct member_home {
    home home;
    tb_sign_key *root, *sign; /* the coordinator's */
    tb_blobs *blobs;
    tb_artefact artefact;
    tb_shared *stored;
    uint32_t epoch; /* of manifests to come */
    tb_buf bytes;   /* of the manifest in msg */
    tb_msg_manifest msg;
} member_home;

static void member_home_open(member_home *m, const char *dir)
{
    tb_err err;
    federation fed = {0};
    tb_blob_ref ref;
    const char *path = tb_test_folder_path(dir, "home");
    memset(m, 0, sizeof *m);
    tb_buf_init(&m->bytes, TB_MANIFEST_BYTES_MAX);
    CHECK_OK(tb_crypto_init(&err), err);
    CHECK_OK(tb_sign_key_new(&m->root, &err), err);
    CHECK_OK(tb_sign_key_new(&m->sign, &err), err);
    CHECK(tb_name_set(&fed.client, "client-00"));
    memcpy(fed.root, tb_sign_key_public(m->root), sizeof fed.root);
    (void)snprintf(fed.endpoint, sizeof fed.endpoint, "tcp://127.0.0.1:1");
    fed.certificate.serial = 1;
    fed.certificate.valid_from = 1000;
    fed.certificate.valid_until = 2000000000;
    memcpy(fed.certificate.sign_key, tb_sign_key_public(m->sign),
           sizeof fed.certificate.sign_key);
    tb_certificate_sign(&fed.certificate, m->root);
    CHECK_OK(tb_folder_create(path, TB_FOLDER_CLIENT, &err), err);
    CHECK_OK(tb_folder_open(&m->home.folder, path, TB_FOLDER_CLIENT,
                            TB_FOLDER_READ, &err),
             err);
    CHECK_OK(federation_write(m->home.folder, &fed, &err), err);
    home_close(&m->home);
    CHECK_OK(home_open(&m->home, path, TB_FOLDER_READ, &err), err);
    CHECK_OK(tb_blobs_open(&m->blobs, tb_test_folder_path(dir, "blobs"), &err),
             err);
    CHECK_OK(tb_blobs_put(m->blobs, (const uint8_t *)onnx, sizeof onnx, 3, &ref,
                          &err),
             err);
    tb_blob_range all = {.len = ref.stored_bytes};
    CHECK_OK(tb_blobs_part(m->blobs, &ref.stored, &all, &m->stored, &err), err);
    m->artefact = (tb_artefact){.role = TB_ARTEFACT_FP32,
                                .raw = ref.raw,
                                .raw_bytes = ref.raw_bytes,
                                .stored = ref.stored,
                                .stored_bytes = ref.stored_bytes};
}

/* m->msg becomes the signed manifest of a version. */
static void member_home_sign(member_home *m, const char *name,
                             uint64_t sequence)
{
    tb_err err;
    tb_manifest manifest = {
        .epoch = m->epoch,
        .sequence = sequence,
        .federation = tb_federation_of(m->home.fed.root),
        .created_s = 5,
        .software = "tributaryd 0",
        .input = {.dtype = TB_INPUT_U8, .rank = 1, .dims = {4}},
        .output = {.n_values = 2},
        .served = true,
        .standard = TB_ARTEFACT_FP32,
        .n_artefacts = 1};
    CHECK(tb_name_set(&manifest.name, name));
    manifest.artefacts[0] = m->artefact;
    m->bytes.len = 0;
    CHECK_OK(tb_manifest_encode(&manifest, &m->bytes, &err), err);
    m->msg.manifest = (tb_span){m->bytes.data, m->bytes.len};
    tb_sign(m->msg.signature, m->sign, TB_SIGN_MANIFEST, m->bytes.data,
            m->bytes.len);
}

static void member_home_close(member_home *m)
{
    tb_shared_free(&m->stored);
    tb_blobs_close(&m->blobs);
    tb_sign_key_free(&m->root);
    tb_sign_key_free(&m->sign);
    tb_buf_release(&m->bytes);
    home_close(&m->home);
}

#endif
