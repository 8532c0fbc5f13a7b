/* Rows of the journal. */
#include "fed/record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "round_config.h"

static tb_run_params params;
static tb_name cohort[3];
static uint8_t config_bytes[40];
static tb_hash swept[2] = {{{4, 5}}, {{6, 7}}};
static tb_run_id swept_runs[1] = {{{8, 9}}};

static void make_params(void)
{
    params = (tb_run_params){.n_params = 100,
                             .n_statistics = 6,
                             .n_observed = 4,
                             .seed = 42,
                             .rounds = 30,
                             .target = 10,
                             .minimum = 5,
                             .over_selection = 1.25,
                             .server_lr = 1.0,
                             .max_abs = 16.0F,
                             .calibrate_max_abs = 1024.0F,
                             .max_weight = 60000,
                             .deadline_ms = 60000,
                             .max_attempts = 3,
                             .evaluate = TB_WHERE_COORDINATOR,
                             .publish = TB_PUBLISH_BEST_LOSS,
                             .n_job = 11};
    CHECK(tb_name_set(&params.name, "fashion"));
    CHECK(tb_name_set(&params.data_set, "images"));
    CHECK(tb_name_set(&params.codec, "q8"));
    CHECK(tb_name_set(&params.strategy, "fedavg"));
    memcpy(params.job_text, "batch: 32\nx", 11);
    CHECK(tb_eligible_add(&params.eligible, "site=lyon|paris", NULL) == TB_OK);
    CHECK(tb_eligible_add(&params.eligible, "memory>=1GB", NULL) == TB_OK);
}

/* The kinds that came later. */
static void sample_newer(tb_record *r)
{
    tb_hash config = {.bytes = {1, 2, 3}};
    switch ((int)r->kind) {
    case TB_REC_RESTORED:
        r->u.restored = (tb_rec_restored){.epoch = 2, .restored_s = 77};
        memset(r->u.restored.id, 0xe0, sizeof r->u.restored.id);
        break;
    case TB_REC_SWEPT:
        r->u.swept = (tb_rec_swept){
            .n_blobs = 2, .n_runs = 1, .blobs = swept, .runs = swept_runs};
        break;
    case TB_REC_ROTATED:
        r->u.rotated = (tb_rec_rotated){.step = TB_ROTATION_IN_USE,
                                        .sign_key = {1},
                                        .curve_key = {2},
                                        .at_s = 77,
                                        .old_until_s = 78};
        CHECK(tb_name_set(&r->u.rotated.client, "client-01"));
        break;
    case TB_REC_COORDINATOR_KEY:
        r->u.coordinator_key = (tb_rec_coordinator_key){
            .step = TB_ROTATION_PROVEN,
            .move = {.certificate = {.serial = 2, .valid_until = 9},
                     .endpoint = "tcp://fl.example:7702"},
            .until_s = 78,
            .listen = "tcp://0.0.0.0:7702",
            .enrol = "tcp://0.0.0.0:7703"};
        break;
    case TB_REC_PURGED:
        r->u.purged = (tb_rec_accepted){.config = config,
                                        .update = config,
                                        .n_blocks = 5,
                                        .weight = 5000,
                                        .full = 6000};
        CHECK(tb_name_set(&r->u.purged.client, "client-01"));
        break;
    case TB_REC_LABELLED:
        CHECK(tb_name_set(&r->u.labelled.client, "client-01"));
        memcpy(r->u.labelled.labels.text, "site=lyon", 10);
        break;
    case TB_REC_RUN_PAUSED:
        r->u.run_paused = (tb_rec_run_paused){.run = {{7, 7}}, .paused_s = 99};
        memcpy(r->u.run_paused.why, "new disks", 10);
        break;
    case TB_REC_RUN_RESUMED:
        r->u.run_resumed.run.bytes[3] = 4;
        break;
    case TB_REC_RUN_CANCELLED:
        r->u.run_cancelled.run.bytes[3] = 5;
        memcpy(r->u.run_cancelled.why, "a wrong job", 12);
        break;
    case TB_REC_LEFT_OVER:
        r->u.left_over = (tb_rec_left_over){.n_updates = 3};
        memcpy(r->u.left_over.why, "cancelled", 9);
        break;
    default:
        break;
    }
}

/* A record of each kind, with something in every field. */
static tb_record sample(tb_record_kind kind)
{
    tb_record r;
    memset(&r, 0, sizeof r);
    r.kind = kind;
    tb_hash config = {.bytes = {1, 2, 3}};
    switch (kind) {
    case TB_REC_INVITED:
        r.u.invited = (tb_rec_invited){.invite = {9}, .expires_s = 77};
        r.u.invited.public_key[31] = 5;
        CHECK(tb_name_set(&r.u.invited.client, "client-01"));
        memcpy(r.u.invited.labels.text, "site=lyon tag=a", 16);
        break;
    case TB_REC_ENROLLED:
        r.u.enrolled = (tb_rec_enrolled){.invite = {9}, .sign_key = {8}};
        CHECK(tb_name_set(&r.u.enrolled.client, "client-01"));
        break;
    case TB_REC_REVOKED:
        CHECK(tb_name_set(&r.u.revoked.client, "client-01"));
        memcpy(r.u.revoked.why, "lost phone", 11);
        break;
    case TB_REC_RUN_STARTED:
        make_params();
        r.u.run_started = &params;
        break;
    case TB_REC_ROUND_OPENED:
        for (size_t i = 0; i < 3; i++) {
            CHECK(tb_name_set(&cohort[i], "client-0"));
            cohort[i].text[7] = (char)('1' + i);
        }
        memset(config_bytes, 0xc0, sizeof config_bytes);
        r.u.round_opened =
            (tb_rec_round_opened){.round = 3,
                                  .attempt = 2,
                                  .task = TB_TASK_EVALUATE,
                                  .config = {config_bytes, sizeof config_bytes},
                                  .n_clients = 3,
                                  .clients = cohort};
        break;
    case TB_REC_CLOCK:
        r.u.clock = (tb_rec_clock){config, 1234};
        break;
    case TB_REC_ACCEPTED:
        r.u.accepted = (tb_rec_accepted){.config = config,
                                         .update = config,
                                         .n_blocks = 5,
                                         .weight = 46341,
                                         .full = 65536,
                                         .staleness = 1};
        CHECK(tb_name_set(&r.u.accepted.client, "client-01"));
        break;
    case TB_REC_EXPELLED:
        r.u.expelled =
            (tb_rec_expelled){.config = config, .code = TB_REFUSE_VALUES};
        CHECK(tb_name_set(&r.u.expelled.client, "client-01"));
        break;
    case TB_REC_CLOSED:
        r.u.closed = (tb_rec_closed){.config = config, .n_accepted = 9};
        memcpy(r.u.closed.why, "the deadline is over", 21);
        break;
    case TB_REC_COMMITTED:
        r.u.committed = (tb_rec_committed){.config = config,
                                           .round = 3,
                                           .result = {.raw_bytes = 800000},
                                           .metrics = tb_metrics_none(),
                                           .n_clients = 9,
                                           .weight = 54000};
        break;
    case TB_REC_ABANDONED:
        r.u.abandoned.config = config;
        memcpy(r.u.abandoned.why, "too few", 8);
        break;
    case TB_REC_VERSION:
        r.u.version = (tb_rec_version){.sequence = 4, .manifest = config};
        r.u.version.run.bytes[15] = 6;
        CHECK(tb_name_set(&r.u.version.model, "fashion"));
        break;
    case TB_REC_RUN_ENDED:
        r.u.run_ended = (tb_rec_run_ended){.outcome = TB_OUTCOME_REFUSED,
                                           .model = {.stored_bytes = 5}};
        memcpy(r.u.run_ended.why, "accuracy fell by 0.1", 21);
        break;
    case TB_REC_LEFT_OVER:
    case TB_REC_RUN_PAUSED:
    case TB_REC_RUN_RESUMED:
    case TB_REC_RUN_CANCELLED:
    case TB_REC_RESTORED:
    case TB_REC_ROTATED:
    case TB_REC_COORDINATOR_KEY:
    case TB_REC_PURGED:
    case TB_REC_LABELLED:
    case TB_REC_SWEPT:
        sample_newer(&r);
        break;
    case TB_REC_KIND_END:
        break;
    }
    return r;
}

/* Numbers of kinds have gaps. */
static bool is_kind(uint32_t kind)
{
    return strcmp(tb_record_kind_name(kind), "unknown") != 0;
}

static void encode(tb_record_kind kind, tb_buf *out)
{
    tb_record r = sample(kind);
    tb_err err = {0};
    tb_buf_init(out, TB_RECORD_BYTES_MAX);
    CHECK_OK(tb_record_encode(&r, out, &err), err);
}

/* Whatever decodes must encode to the very same bytes. */
static bool decodes_to_itself(uint32_t kind, const uint8_t *bytes, size_t len)
{
    tb_record r;
    tb_buf back;
    tb_err err = {0};
    if (tb_record_decode(&r, kind, bytes, len, NULL) != TB_OK) {
        CHECK(r.owned == NULL);
        return false;
    }
    tb_buf_init(&back, TB_RECORD_BYTES_MAX);
    CHECK_OK(tb_record_encode(&r, &back, &err), err);
    CHECK(back.len == len && memcmp(back.data, bytes, len) == 0);
    tb_buf_release(&back);
    tb_record_release(&r);
    return true;
}

static void each_kind_comes_back_as_it_was(void **state)
{
    (void)state;
    for (uint32_t kind = 1; kind < TB_REC_KIND_END; kind++) {
        if (!is_kind(kind)) {
            continue;
        }
        tb_buf bytes;
        encode((tb_record_kind)kind, &bytes);
        CHECK(decodes_to_itself(kind, bytes.data, bytes.len));
        tb_buf_release(&bytes);
    }
    CHECK(tb_mem_live() == 0);
}

static void fields_come_back_where_they_were(void **state)
{
    tb_buf bytes;
    tb_record r;
    tb_err err = {0};
    (void)state;
    encode(TB_REC_ROUND_OPENED, &bytes);
    CHECK_OK(
        tb_record_decode(&r, TB_REC_ROUND_OPENED, bytes.data, bytes.len, &err),
        err);
    CHECK(r.u.round_opened.attempt == 2);
    CHECK(r.u.round_opened.task == TB_TASK_EVALUATE);
    CHECK(r.u.round_opened.config.len == 40);
    CHECK(r.u.round_opened.config.data[39] == 0xc0);
    CHECK(strcmp(r.u.round_opened.clients[2].text, "client-3") == 0);
    tb_record_release(&r);
    tb_buf_release(&bytes);
    encode(TB_REC_COMMITTED, &bytes);
    CHECK_OK(
        tb_record_decode(&r, TB_REC_COMMITTED, bytes.data, bytes.len, &err),
        err);
    CHECK(isnan(r.u.committed.metrics.loss) && r.u.committed.weight == 54000);
    tb_record_release(&r);
    tb_buf_release(&bytes);
    encode(TB_REC_RUN_STARTED, &bytes);
    CHECK_OK(
        tb_record_decode(&r, TB_REC_RUN_STARTED, bytes.data, bytes.len, &err),
        err);
    CHECK(r.u.run_started->over_selection == 1.25 &&
          r.u.run_started->n_job == 11 &&
          memcmp(r.u.run_started->job_text, "batch: 32\nx", 12) == 0);
    tb_record_release(&r);
    tb_buf_release(&bytes);
}

/* One record byte by byte, by hand, from the format at the head of record.h. */
static void the_bytes_are_those_of_the_format(void **state)
{
    static const uint8_t want[] = {1,                /* version */
                                   7,   0,   0,   0, /* length */
                                   'f', 'a', 's', 'h', 'i', 'o', 'n', 4, 0,
                                   0,   0,   0,   0,   0,   0,   1,   2, 3};
    tb_buf bytes;
    (void)state;
    encode(TB_REC_VERSION, &bytes);
    CHECK(bytes.len == sizeof want - 3 + TB_HASH_BYTES + TB_RUN_ID_BYTES);
    assert_memory_equal(bytes.data, want, sizeof want);
    tb_buf_release(&bytes);
}

static void rows_packed_by_another_hand_are_read(void **state)
{
    (void)state; /* tests/corpus/make_fed.py made them */
    for (uint32_t kind = 1; kind < TB_REC_KIND_END; kind++) {
        if (!is_kind(kind)) {
            continue;
        }
        char path[256];
        tb_buf bytes;
        tb_err err = {0};
        (void)snprintf(path, sizeof path, "%s/tests/corpus/record/kind-%02u",
                       TB_SOURCE_DIR, kind);
        tb_buf_init(&bytes, 4096);
        CHECK_OK(tb_file_read(&bytes, path, &err), err);
        CHECK(bytes.data[0] == kind);
        CHECK(decodes_to_itself(kind, bytes.data + 1, bytes.len - 1));
        tb_buf_release(&bytes);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (uint32_t kind = 1; kind < TB_REC_KIND_END; kind++) {
        if (!is_kind(kind)) {
            continue;
        }
        tb_buf bytes;
        encode((tb_record_kind)kind, &bytes);
        for (size_t n = 0; n < bytes.len; n++) {
            CHECK(!decodes_to_itself(kind, bytes.data, n));
        }
        CHECK(tb_buf_put_u8(&bytes, 0, NULL) == TB_OK);
        CHECK(!decodes_to_itself(kind, bytes.data, bytes.len)); /* too long */
        tb_buf_release(&bytes);
    }
    CHECK(tb_mem_live() == 0);
}

static void every_altered_byte_is_refused_or_another_record(void **state)
{
    (void)state;
    for (uint32_t kind = 1; kind < TB_REC_KIND_END; kind++) {
        if (!is_kind(kind)) {
            continue;
        }
        tb_buf bytes;
        encode((tb_record_kind)kind, &bytes);
        for (size_t i = 0; i < bytes.len; i++) {
            for (unsigned flip = 1; flip < 256; flip *= 2) {
                bytes.data[i] = (uint8_t)(bytes.data[i] ^ flip);
                (void)decodes_to_itself(kind, bytes.data, bytes.len);
                bytes.data[i] = (uint8_t)(bytes.data[i] ^ flip);
            }
        }
        tb_buf_release(&bytes);
    }
    CHECK(tb_mem_live() == 0);
}

static void what_cannot_be_is_refused_by_name(void **state)
{
    tb_record r;
    tb_buf bytes;
    tb_err err = {0};
    (void)state;
    CHECK_ERR(tb_record_decode(&r, 99, NULL, 0, &err), TB_E_UNSUPPORTED, err,
              "kind 99");
    encode(TB_REC_VERSION, &bytes);
    bytes.data[0] = 2;
    CHECK_ERR(tb_record_decode(&r, TB_REC_VERSION, bytes.data, bytes.len, &err),
              TB_E_UNSUPPORTED, err, "version 2");
    bytes.data[0] = 1;
    bytes.data[5] = '/';
    CHECK_ERR(tb_record_decode(&r, TB_REC_VERSION, bytes.data, bytes.len, &err),
              TB_E_MALFORMED, err, "name");
    tb_buf_release(&bytes);
    encode(TB_REC_CLOSED, &bytes);
    bytes.data[bytes.len - 1] = '\n';
    CHECK_ERR(tb_record_decode(&r, TB_REC_CLOSED, bytes.data, bytes.len, &err),
              TB_E_MALFORMED, err, "control");
    tb_buf_release(&bytes);
    /* a promise of 100,000 clients in a few bytes sizes no memory */
    encode(TB_REC_ROUND_OPENED, &bytes);
    tb_le32_put(bytes.data + 1 + 16 + 4 + 4 + 4 + 4 + 40, 100000);
    CHECK_ERR(
        tb_record_decode(&r, TB_REC_ROUND_OPENED, bytes.data, bytes.len, &err),
        TB_E_MALFORMED, err, "cohort");
    tb_buf_release(&bytes);
}

static tb_rc decode_all(void *arg, tb_err *err)
{
    const tb_buf *bytes = arg;
    tb_rc rc = TB_OK;
    static const uint32_t owning[] = {TB_REC_ROUND_OPENED, TB_REC_RUN_STARTED};
    for (size_t i = 0; rc == TB_OK && i < 2; i++) {
        tb_record r;
        rc = tb_record_decode(&r, owning[i], bytes[i].data, bytes[i].len, err);
        tb_record_release(&r);
    }
    return rc;
}

static void it_survives_each_allocation_failing(void **state)
{
    tb_buf bytes[2];
    (void)state;
    encode(TB_REC_ROUND_OPENED, &bytes[0]);
    encode(TB_REC_RUN_STARTED, &bytes[1]);
    CHECK(tb_check_each_allocation(decode_all, bytes) == 2);
    tb_buf_release(&bytes[0]);
    tb_buf_release(&bytes[1]);
}

static void a_run_outside_its_ranges_is_refused_by_the_field(void **state)
{
    tb_err err = {0};
    (void)state;
    make_params();
    CHECK_OK(tb_run_params_check(&params, &err), err);
#define BROKEN(field, value, rc, part)                                         \
    do {                                                                       \
        make_params();                                                         \
        params.field = (value);                                                \
        CHECK_ERR(tb_run_params_check(&params, &err), (rc), err, (part));      \
    } while (0)
    BROKEN(rounds, 0, TB_E_USAGE, "rounds");
    BROKEN(minimum, 11, TB_E_USAGE, "minimum");
    BROKEN(minimum, 0, TB_E_USAGE, "minimum");
    BROKEN(over_selection, 0.9, TB_E_USAGE, "over_selection");
    BROKEN(over_selection, (double)NAN, TB_E_USAGE, "over_selection");
    BROKEN(max_attempts, 0, TB_E_USAGE, "max_attempts");
    BROKEN(deadline_ms, 0, TB_E_USAGE, "deadline");
    BROKEN(server_lr, (double)INFINITY, TB_E_USAGE, "server_lr");
    BROKEN(evaluate, TB_WHERE_NOWHERE, TB_E_USAGE, "evaluation");
    BROKEN(n_params, 0, TB_E_LIMIT, "0 values");
    BROKEN(max_abs, NAN, TB_E_USAGE, "max_abs");
    BROKEN(max_abs, 1e9F, TB_E_LIMIT, "lower");
    BROKEN(codec.text[0], 'x', TB_E_USAGE, "codec");
    BROKEN(strategy.text[0], 'x', TB_E_USAGE, "strategy");
    BROKEN(name.text[0], '/', TB_E_USAGE, "name");
#undef BROKEN
}

static void make_async(void)
{
    make_params();
    params.mode = TB_MODE_ASYNC;
    params.weights = TB_WEIGHTS_UNIFORM;
    params.target = 20;
    params.buffer = 10;
    params.max_staleness = 10;
}

static void an_asynchronous_run_has_ranges_of_its_own(void **state)
{
    tb_err err = {0};
    (void)state;
    make_async();
    CHECK_OK(tb_run_params_check(&params, &err), err);
    CHECK(tb_run_wanted(&params) == 10);
    params.over_selection = 10.0; /* asks nobody more */
    params.minimum = 10;
    CHECK_OK(tb_run_params_check(&params, &err), err);
#define BROKEN(field, value, rc, part)                                         \
    do {                                                                       \
        make_async();                                                          \
        params.field = (value);                                                \
        CHECK_ERR(tb_run_params_check(&params, &err), (rc), err, (part));      \
    } while (0)
    BROKEN(buffer, 0, TB_E_USAGE, "buffer 0");
    BROKEN(minimum, 11, TB_E_USAGE, "buffer 10");
    BROKEN(target, 0, TB_E_USAGE, "target 0");
    BROKEN(max_staleness, 1001, TB_E_USAGE, "max_staleness 1001");
    BROKEN(mode, TB_MODE_COUNT, TB_E_USAGE, "mode");
    BROKEN(weights, TB_WEIGHTS_COUNT, TB_E_USAGE, "weights");
#undef BROKEN
    make_async();
    params.buffer = 9000;
    params.max_staleness = 1000;
    CHECK_ERR(tb_run_params_check(&params, &err), TB_E_LIMIT, err, "lower");
    make_async();
    params.weights = TB_WEIGHTS_SAMPLES; /* 10 * 60000 * 2^16 * 2^4 <= 2^40 */
    CHECK_OK(tb_run_params_check(&params, &err), err);
    params.max_abs = 128.0F; /* three bits more: f would be 19 */
    CHECK_ERR(tb_run_params_check(&params, &err), TB_E_LIMIT, err, "19 bits");
    params.max_weight = 65536;
    CHECK_ERR(tb_run_params_check(&params, &err), TB_E_LIMIT, err, "uniform");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_comes_back_as_it_was),
        cmocka_unit_test(fields_come_back_where_they_were),
        cmocka_unit_test(the_bytes_are_those_of_the_format),
        cmocka_unit_test(rows_packed_by_another_hand_are_read),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_altered_byte_is_refused_or_another_record),
        cmocka_unit_test(what_cannot_be_is_refused_by_name),
        cmocka_unit_test(it_survives_each_allocation_failing),
        cmocka_unit_test(a_run_outside_its_ranges_is_refused_by_the_field),
        cmocka_unit_test(an_asynchronous_run_has_ranges_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
