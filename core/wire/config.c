#include "wire/config.h"

#include <math.h>
#include <string.h>

#include "generated/tributary.pb-c.h"
#include "wire/pb_priv.h"

#define OURS tb_round_config
#define PB   Tributary__RoundConfig
static const tb_field fields[] = {
    TB_U32(protocol, 0, UINT32_MAX),
    TB_FIXED(federation),
    TB_FIXED(job),
    TB_FIXED(run),
    TB_U32(round, 1, UINT32_MAX),
    TB_U32(attempt, 1, UINT32_MAX),
    TB_U32(task, 0, UINT32_MAX),
    TB_FIXED(model),
    TB_U64(model_bytes, 1, TB_MODEL_BYTES_MAX),
    TB_FIXED(model_stored),
    TB_U64(model_stored_bytes, 1, TB_MODEL_BYTES_MAX),
    TB_FIXED(aggregation_key),
    TB_NAME(codec),
    TB_U32(fraction_bits, TB_FRACTION_BITS_MIN, TB_FRACTION_BITS_MAX),
    TB_F32(max_abs),
    TB_U32(max_weight, 1, UINT32_MAX),
    TB_U64(seed, 0, UINT64_MAX),
    TB_U64(deadline_ms, 1, UINT64_MAX),
    TB_NAME(data_set),
    TB_BOOL(masked),
    TB_U32(epoch, 0, UINT32_MAX),
    TB_FIXED(epoch_id),
    TB_U64(epoch_row, 0, UINT64_MAX),
    TB_U32(sum_weight, 0, UINT32_MAX),
};
#undef OURS
#undef PB
#define N_FIELDS (sizeof fields / sizeof fields[0])

#define OURS     tb_section
#define PB       Tributary__Section
static const tb_field section_fields[] = {
    TB_NAME(name),
    TB_U64(n_values, 1, TB_SECTION_VALUES),
    TB_BOOL(weighted),
};
#undef OURS
#undef PB
#define N_SECTION_FIELDS (sizeof section_fields / sizeof section_fields[0])

_Static_assert(sizeof(tb_task) == 4, "an enum travels as u32");
_Static_assert(TB_SECTIONS_MAX *TB_SECTION_VALUES < UINT64_MAX / 2,
               "the sum of all sections does not overflow");

uint64_t tb_round_config_values(const tb_round_config *config)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < config->n_sections; i++) {
        n += config->sections[i].n_values;
    }
    return n;
}

static uint64_t count_blocks(const tb_round_config *config)
{
    uint64_t values = tb_round_config_values(config);
    return 1 + values / TB_BLOCK_VALUES + (values % TB_BLOCK_VALUES != 0);
}

uint32_t tb_round_config_blocks(const tb_round_config *config)
{
    return (uint32_t)count_blocks(config); /* checked to fit when made */
}

static tb_rc check_sections(const tb_round_config *config, tb_err *err)
{
    for (uint32_t i = 0; i < config->n_sections; i++) {
        tb_rc rc = tb_fields_check(&config->sections[i], section_fields,
                                   N_SECTION_FIELDS, err);
        if (rc != TB_OK) {
            return tb_err_prefix(err, rc, "section %u", i);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (tb_name_equal(&config->sections[i].name,
                              &config->sections[j].name)) {
                return tb_fail(err, TB_E_MALFORMED, "two sections named %s",
                               config->sections[i].name.text);
            }
        }
    }
    if (count_blocks(config) > TB_BLOCKS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "more than %u blocks", TB_BLOCKS_MAX);
    }
    return TB_OK;
}

/* Rules beside the table; n_sections and n_job are within their arrays. */
static tb_rc check_rules(const tb_round_config *config, tb_err *err)
{
    if (config->protocol < TB_PROTOCOL_MIN ||
        config->protocol > TB_PROTOCOL_MAX) {
        return tb_fail(err, TB_E_UNSUPPORTED, "protocol %u, not %u to %u",
                       config->protocol, TB_PROTOCOL_MIN, TB_PROTOCOL_MAX);
    }
    if ((uint32_t)config->task >= TB_TASK_COUNT) {
        return tb_fail(err, TB_E_UNSUPPORTED, "task %u",
                       (uint32_t)config->task);
    }
    static const uint8_t none[TB_EPOCH_ID_BYTES];
    bool first = config->epoch == 0;
    if (first != (config->epoch_row == 0) ||
        first != (memcmp(config->epoch_id, none, sizeof none) == 0)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "epoch %u with the row or the id of another",
                       config->epoch);
    }
    if (!(config->max_abs > 0)) {
        return tb_fail(err, TB_E_LIMIT, "max_abs must be above 0");
    }
    if (!tb_pb_text_clean(config->job_text, sizeof config->job_text, true) ||
        strlen(config->job_text) != config->n_job) {
        return tb_fail(err, TB_E_MALFORMED, "job_text: not UTF-8 text");
    }
    return check_sections(config, err);
}

static tb_rc check_counts(size_t n_sections, size_t n_job, tb_err *err)
{
    if (n_sections < 1 || n_sections > TB_SECTIONS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%zu sections, must be 1 to %u",
                       n_sections, TB_SECTIONS_MAX);
    }
    if (n_job > TB_JOB_BYTES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "job_text: %zu bytes, at most %u",
                       n_job, TB_JOB_BYTES_MAX);
    }
    return TB_OK;
}

/* The generated structs of one configuration, to encode from. */
typedef struct lent {
    Tributary__RoundConfig config;
    Tributary__Section sections[TB_SECTIONS_MAX];
    Tributary__Section *list[TB_SECTIONS_MAX];
} lent;

static void lend(lent *out, const tb_round_config *config)
{
    tributary__round_config__init(&out->config);
    tb_fields_lend(&out->config, config, fields, N_FIELDS);
    for (uint32_t i = 0; i < config->n_sections; i++) {
        tributary__section__init(&out->sections[i]);
        tb_fields_lend(&out->sections[i], &config->sections[i], section_fields,
                       N_SECTION_FIELDS);
        out->list[i] = &out->sections[i];
    }
    out->config.n_sections = config->n_sections;
    out->config.sections = out->list;
    const char *job = config->job_text;
    out->config.job_text.len = config->n_job;
    memcpy(&out->config.job_text.data, &job, sizeof job);
}

tb_rc tb_round_config_encode(const tb_round_config *config, tb_buf *out,
                             tb_err *err)
{
    lent pb;
    tb_rc rc = check_counts(config->n_sections, config->n_job, err);
    if (rc == TB_OK) {
        rc = tb_fields_check(config, fields, N_FIELDS, err);
    }
    if (rc == TB_OK) {
        rc = check_rules(config, err);
    }
    if (rc == TB_OK) {
        lend(&pb, config);
        rc = tb_pb_pack(&pb.config.base, TB_CONFIG_BYTES_MAX, out, err);
    }
    return rc == TB_OK ? TB_OK : tb_err_prefix(err, rc, "round configuration");
}

static tb_rc take(tb_round_config *out, const Tributary__RoundConfig *pb,
                  tb_err *err)
{
    tb_rc rc = check_counts(pb->n_sections, pb->job_text.len, err);
    if (rc == TB_OK) {
        rc = tb_fields_take(out, pb, fields, N_FIELDS, err);
    }
    for (size_t i = 0; rc == TB_OK && i < pb->n_sections; i++) {
        rc = tb_fields_take(&out->sections[i], pb->sections[i], section_fields,
                            N_SECTION_FIELDS, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    out->n_sections = (uint32_t)pb->n_sections;
    out->n_job = pb->job_text.len;
    if (out->n_job > 0) {
        memcpy(out->job_text, pb->job_text.data, out->n_job);
    }
    return check_rules(out, err);
}

tb_rc tb_round_config_decode(tb_round_config *out, const uint8_t *bytes,
                             size_t len, tb_err *err)
{
    lent pb;
    ProtobufCMessage *base = NULL;
    memset(out, 0, sizeof *out);
    tb_rc rc = tb_pb_unpack(&base, &tributary__round_config__descriptor, bytes,
                            len, TB_CONFIG_BYTES_MAX, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = take(out, (const Tributary__RoundConfig *)base, err);
    if (rc != TB_OK) {
        rc = tb_err_prefix(err, rc, "round configuration");
        goto done;
    }
    lend(&pb, out);
    if (!tb_pb_same(&pb.config.base, bytes, len)) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "round configuration: not in its canonical form");
    }
done:
    tb_pb_free(&base);
    if (rc != TB_OK) {
        memset(out, 0, sizeof *out);
    }
    return rc;
}
