/* tests/unit/coordinator/small_fleet.h - a small, whole coordinator's folder,
 * written by the code itself: members, an ended run that is kept with a version
 * and its sealed updates, and a run that lives with an open round. */
#ifndef TB_TESTS_UNIT_COORDINATOR_SMALL_FLEET_H
#define TB_TESTS_UNIT_COORDINATOR_SMALL_FLEET_H

#include <string.h>

#include "crypto/seal.h"
#include "home.h"
#include "host/blob.h"
#include "host/spool.h"
#include "host/store.h"
#include "live.h"
#include "marks.h"
#include "wire/manifest.h"

#define FLEET_BLOCKS 2

static const char fleet_job[] =
    "name: small\n"
    "model: {new: mlp:6-5-3}\n"
    "data: {set: rows, reader: npy, classes: [a, b, c]}\n"
    "loss: softmax_cross_entropy\n"
    "rounds: 9\n"
    "cohort: {target: 2, minimum: 1}\n";

typedef struct fleet {
    home at;
    tb_folder *folder; /* locked */
    tb_keys keys;
    tb_store *store;
    tb_blobs *blobs;
    tb_live *live;  /* the run that began last */
    tb_hash config; /* of its newest round */
    tb_blob_ref start;
} fleet;

static inline void fleet_open(fleet *f)
{
    tb_err err;
    CHECK_OK(tb_folder_open(&f->folder, f->at.dir, TB_FOLDER_COORDINATOR,
                            TB_FOLDER_LOCK, &err),
             err);
    CHECK_OK(tb_keys_read(&f->keys, f->folder, f->at.master, &err), err);
    CHECK_OK(tb_store_open(&f->store, f->folder, &err), err);
    CHECK_OK(tb_blobs_open(&f->blobs, tb_folder_path(f->folder, TB_ITEM_BLOBS),
                           &err),
             err);
}

static inline void fleet_close(fleet *f)
{
    tb_live_free(&f->live);
    tb_blobs_close(&f->blobs);
    tb_store_close(&f->store);
    tb_keys_release(&f->keys);
    tb_folder_close(&f->folder);
}

/* One row in a transaction of its own. */
static inline void fleet_row(fleet *f, const tb_record *record)
{
    tb_err err;
    tb_buf body;
    tb_acceptance a;
    tb_buf_init(&body, TB_RECORD_BYTES_MAX);
    CHECK_OK(tb_record_encode(record, &body, &err), err);
    tb_row row = {.seq = tb_store_head(f->store, NULL) + 1,
                  .kind = record->kind,
                  .body = body.data,
                  .body_bytes = body.len};
    if (record->kind == TB_REC_ACCEPTED) {
        a = (tb_acceptance){record->u.accepted.config,
                            record->u.accepted.client,
                            record->u.accepted.update};
        row.acceptance = &a;
    }
    CHECK_OK(tb_store_append(f->store, &row, 1, &err), err);
    tb_buf_release(&body);
}

/* A blob of some bytes that begin with this text. */
static inline tb_model_ref fleet_blob(fleet *f, const char *text)
{
    tb_err err;
    tb_blob_ref ref;
    uint8_t bytes[96] = {0};
    (void)snprintf((char *)bytes, sizeof bytes, "%s", text);
    CHECK_OK(tb_blobs_put(f->blobs, bytes, sizeof bytes, 3, &ref, &err), err);
    tb_blobs_settle(f->blobs, &ref.raw);
    return (tb_model_ref){ref.raw, ref.raw_bytes, ref.stored, ref.stored_bytes};
}

static inline void fleet_member(fleet *f, const char *name)
{
    tb_record invited = {.kind = TB_REC_INVITED};
    tb_record enrolled = {.kind = TB_REC_ENROLLED};
    CHECK(tb_name_set(&invited.u.invited.client, name));
    enrolled.u.enrolled.client = invited.u.invited.client;
    memcpy(invited.u.invited.invite, name, strlen(name));
    memcpy(enrolled.u.enrolled.invite, name, strlen(name));
    memcpy(enrolled.u.enrolled.sign_key, name, strlen(name));
    memcpy(enrolled.u.enrolled.curve_key, name, strlen(name));
    fleet_row(f, &invited);
    fleet_row(f, &enrolled);
}

static inline void fleet_start(fleet *f, const char *model)
{
    tb_err err;
    tb_job job;
    CHECK_OK(
        tb_job_read(&job, fleet_job, sizeof fleet_job - 1, "job.yaml", &err),
        err);
    tb_live_free(&f->live);
    CHECK_OK(tb_live_prepare(&f->live, &job, &err), err);
    CHECK_OK(tb_live_start(f->live, f->folder, &f->keys, &err), err);
    f->live->params.n_params = 53;
    f->live->params.model = fleet_blob(f, model);
    fleet_row(f, &(tb_record){.kind = TB_REC_RUN_STARTED,
                              .u.run_started = &f->live->params});
}

/* Opens a round for the two members. */
static inline void fleet_round(fleet *f, uint32_t round)
{
    static tb_round_config c;
    tb_err err;
    tb_buf bytes;
    tb_name cohort[2];
    const tb_run_params *p = &f->live->params;
    CHECK(tb_name_set(&cohort[0], "anna") && tb_name_set(&cohort[1], "bert"));
    c = (tb_round_config){.protocol = 1,
                          .federation = p->federation,
                          .job = p->job,
                          .run = p->run,
                          .round = round,
                          .attempt = 1,
                          .model = p->model.raw,
                          .model_bytes = p->model.raw_bytes,
                          .model_stored = p->model.stored,
                          .model_stored_bytes = p->model.stored_bytes,
                          .codec = p->codec,
                          .fraction_bits = 30,
                          .max_abs = 8.0F,
                          .max_weight = 1000,
                          .deadline_ms = 60000,
                          .data_set = p->data_set,
                          .n_sections = 1};
    memcpy(c.aggregation_key, p->aggregation_key, sizeof c.aggregation_key);
    CHECK(tb_name_set(&c.sections[0].name, "parameters"));
    c.sections[0].n_values = 53;
    tb_buf_init(&bytes, TB_CONFIG_BYTES_MAX);
    CHECK_OK(tb_round_config_encode(&c, &bytes, &err), err);
    f->config = tb_hash_of(bytes.data, bytes.len);
    fleet_row(f,
              &(tb_record){.kind = TB_REC_ROUND_OPENED,
                           .u.round_opened = {.run = p->run,
                                              .round = round,
                                              .attempt = 1,
                                              .config = {bytes.data, bytes.len},
                                              .n_clients = 2,
                                              .clients = cohort}});
    tb_buf_release(&bytes);
}

/* Puts a sealed update into the spool, and accepts it when told to. */
static inline void fleet_update(fleet *f, const char *client, bool accept)
{
    tb_err err;
    tb_spool *spool = NULL;
    tb_sealer *sealer = NULL;
    uint8_t block[200 + TB_SEAL_TAG_BYTES] = {1, 2, 3};
    const tb_run_params *p = &f->live->params;
    tb_seal_binding to = {.config = f->config, .client = client};
    tb_record accepted = {.kind = TB_REC_ACCEPTED};
    tb_spool_upload upload = {.config = f->config, .n_blocks = FLEET_BLOCKS};
    CHECK_OK(
        tb_sealer_new(&sealer, p->aggregation_key, &to, FLEET_BLOCKS, &err),
        err);
    CHECK_OK(tb_spool_open(&spool, tb_folder_path(f->folder, TB_ITEM_SPOOL),
                           &p->run, &f->config, &err),
             err);
    CHECK(tb_name_set(&upload.client, client));
    memcpy(upload.header, tb_sealer_header(sealer), sizeof upload.header);
    memcpy(upload.id.bytes, client, 4);
    CHECK_OK(tb_spool_begin(spool, &upload, &err), err);
    for (uint32_t i = 0; i < FLEET_BLOCKS; i++) {
        CHECK_OK(tb_sealer_next(sealer, block, 200, block, &err), err);
        CHECK_OK(tb_spool_put(spool, &upload.id, i, block, sizeof block, &err),
                 err);
    }
    CHECK_OK(tb_spool_sync(spool, &err), err);
    tb_spool_close(&spool);
    accepted.u.accepted = (tb_rec_accepted){.config = f->config,
                                            .client = upload.client,
                                            .upload = upload.id,
                                            .n_blocks = FLEET_BLOCKS,
                                            .weight = 10,
                                            .full = 10};
    CHECK_OK(tb_sealer_end(sealer, &accepted.u.accepted.update, &err), err);
    tb_sealer_free(&sealer);
    if (accept) {
        fleet_row(f, &accepted);
    }
}

/* Closes the open round with n updates and commits this text as its model. */
static inline void fleet_commit(fleet *f, uint32_t round, uint32_t n,
                                const char *model, double accuracy)
{
    tb_metrics metrics = tb_metrics_none();
    metrics.accuracy = accuracy;
    fleet_row(f, &(tb_record){.kind = TB_REC_CLOSED,
                              .u.closed = {f->config, n, "enough"}});
    fleet_row(f, &(tb_record){.kind = TB_REC_COMMITTED,
                              .u.committed = {.config = f->config,
                                              .round = round,
                                              .result = fleet_blob(f, model),
                                              .metrics = metrics,
                                              .n_clients = n,
                                              .weight = 10}});
}

/* Registers this text as the model's next version. */
static inline void fleet_version(fleet *f, uint64_t sequence, const char *model)
{
    tb_err err;
    tb_blob_ref ref;
    tb_buf bytes;
    tb_manifest m = {.name = f->live->params.name, .sequence = sequence};
    tb_model_ref onnx = fleet_blob(f, model);
    memcpy(m.software, "tributary", 10);
    m.input.dtype = TB_INPUT_F32;
    m.input.rank = 1;
    m.input.dims[0] = 6;
    m.output.n_values = 3;
    m.standard = TB_ARTEFACT_FP32;
    m.n_artefacts = 1;
    m.artefacts[0] = (tb_artefact){.role = TB_ARTEFACT_FP32,
                                   .raw = onnx.raw,
                                   .raw_bytes = onnx.raw_bytes,
                                   .stored = onnx.stored,
                                   .stored_bytes = onnx.stored_bytes};
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    CHECK_OK(tb_manifest_encode(&m, &bytes, &err), err);
    CHECK_OK(tb_blobs_put(f->blobs, bytes.data, bytes.len, 3, &ref, &err), err);
    tb_blobs_settle(f->blobs, &ref.raw);
    tb_buf_release(&bytes);
    fleet_row(f, &(tb_record){.kind = TB_REC_VERSION,
                              .u.version = {.model = m.name,
                                            .sequence = sequence,
                                            .manifest = ref.raw}});
}

static inline void fleet_end(fleet *f, const char *model, bool keep)
{
    tb_err err;
    const tb_run_id *run = &f->live->params.run;
    fleet_row(f, &(tb_record){.kind = TB_REC_RUN_ENDED,
                              .u.run_ended = {.run = *run,
                                              .outcome = TB_OUTCOME_DONE,
                                              .model = fleet_blob(f, model)}});
    if (keep) {
        CHECK_OK(tb_live_keep(f->folder, run, &err), err);
    } else {
        CHECK_OK(tb_live_destroy_key(f->folder, run, &err), err);
        CHECK_OK(tb_spool_remove_run(tb_folder_path(f->folder, TB_ITEM_SPOOL),
                                     run, &err),
                 err);
    }
}

/* The folder of the head of this file; open, the second run lives. */
static inline void fleet_make(fleet *f, const char *folder)
{
    memset(f, 0, sizeof *f);
    f->at = make_home(folder);
    fleet_open(f);
    fleet_member(f, "anna");
    fleet_member(f, "bert");
    fleet_start(f, "first");
    fleet_round(f, 1);
    fleet_update(f, "anna", true);
    fleet_commit(f, 1, 1, "first trained", 0.5);
    fleet_version(f, 1, "first published");
    fleet_end(f, "first trained", true);
    fleet_start(f, "second");
    fleet_round(f, 1);
    fleet_update(f, "bert", false);
    fleet_update(f, "anna", true);
}

#endif
