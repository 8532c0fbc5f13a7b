#include "update.h"

#include <string.h>

#include "base/mem.h"
#include "crypto/seal.h"
#include "fed/update.h"
#include "members.h"

#define WEIGHT       100u
#define UPLOAD_ID_AT 36 /* within the header: crypto/seal.h */

/* Values of every update, made once: small, and of both signs. */
static const float *fixed_values(size_t n)
{
    static float *values;
    static size_t n_values;
    if (n_values < n) {
        tb_mem_free(values);
        values = tb_mem_array(n, sizeof *values);
        n_values = values != NULL ? n : 0;
        for (size_t i = 0; i < n_values; i++) {
            values[i] = ((float)(i % 7) - 3.0F) * 0.001F;
        }
    }
    return values;
}

static tb_rc seal_all(load_update *u, tb_sealer *sealer,
                      const tb_round_config *config, tb_err *err)
{
    const float *values = fixed_values((size_t)tb_round_config_values(config));
    tb_rc rc = values != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "values");
    for (uint32_t i = 0; i < u->sealed.n_blocks && rc == TB_OK; i++) {
        uint8_t *block = u->bytes + u->at[i];
        rc = tb_update_block_encode(config, i, values, WEIGHT, block, err);
        if (rc == TB_OK) {
            rc = tb_sealer_next(sealer, block, tb_update_block_bytes(config, i),
                                block, err);
        }
    }
    return rc == TB_OK ? tb_sealer_end(sealer, &u->sealed.update, err) : rc;
}

static tb_rc sign(load_update *u, uint32_t client, tb_err *err)
{
    uint8_t seed[TB_KEY_SEED_BYTES];
    tb_sign_key *key = NULL;
    load_seed(seed, client, "sign");
    tb_rc rc = tb_sign_key_from_seed(&key, seed, err);
    if (rc == TB_OK) {
        tb_update_sign(u->sealed.signature, key, &u->config, &u->sealed.update);
    }
    tb_sign_key_free(&key);
    return rc;
}

tb_rc load_update_make(load_update *out, const tb_round_config *config,
                       const tb_hash *hash, uint32_t client, tb_err *err)
{
    uint32_t n = tb_round_config_blocks(config);
    tb_name name;
    tb_sealer *sealer = NULL;
    size_t total = 0;
    load_update_release(out);
    load_name(&name, client);
    tb_seal_binding to = {.config = *hash, .client = name.text};
    out->config = *hash;
    out->sealed.n_blocks = n;
    out->at = tb_mem_array((size_t)n + 1, sizeof *out->at);
    for (uint32_t i = 0; out->at != NULL && i < n; i++) {
        total += tb_update_block_bytes(config, i) + TB_SEAL_TAG_BYTES;
        out->at[i + 1] = total;
    }
    out->bytes = tb_mem_array(total, 1);
    tb_rc rc =
        out->at != NULL && out->bytes != NULL
            ? tb_sealer_new(&sealer, config->aggregation_key, &to, n, err)
            : tb_fail(err, TB_E_NOMEM, "an update of %zu bytes", total);
    if (rc == TB_OK) {
        memcpy(out->sealed.header, tb_sealer_header(sealer),
               sizeof out->sealed.header);
        memcpy(out->sealed.upload.bytes, out->sealed.header + UPLOAD_ID_AT,
               sizeof out->sealed.upload.bytes);
        rc = seal_all(out, sealer, config, err);
    }
    tb_sealer_free(&sealer);
    return rc == TB_OK ? sign(out, client, err) : rc;
}

void load_update_release(load_update *update)
{
    tb_mem_free(update->bytes);
    tb_mem_free(update->at);
    *update = (load_update){0};
}
