#include "support/sealed.h"

#include <string.h>

#include "base/mem.h"
#include "crypto/crypto.h"
#include "crypto/seal.h"
#include "fed/update.h"
#include "support/check.h"

void sealed_open(sealed_round *f)
{
    tb_err err;
    tb_intake_options options = {
        .config = &f->config, .hash = f->hash, .max_updates = 4, .key = f->key};
    CHECK_OK(
        tb_spool_open(&options.spool, f->dir, &f->config.run, &f->hash, &err),
        err);
    CHECK_OK(tb_intake_new(&f->intake, &options, &err), err);
}

void sealed_setup(sealed_round *f, const char *dir)
{
    tb_err err;
    memset(f, 0, sizeof *f);
    f->dir = dir;
    f->hash = tb_hash_of("round", 5);
    f->config.max_abs = 4.0F;
    f->config.max_weight = 1000;
    f->config.n_sections = 1;
    f->config.sections[0].n_values = SEALED_VALUES;
    f->config.sections[0].weighted = true;
    CHECK(tb_name_set(&f->config.codec, "f32"));
    CHECK(tb_name_set(&f->config.sections[0].name, "parameters"));
    CHECK_OK(tb_crypto_init(&err), err);
    CHECK_OK(
        tb_sum_fraction_bits(&f->config.fraction_bits, 4, 1000, 4.0F, &err),
        err);
    CHECK_OK(tb_box_key_new(&f->key, &err), err);
    CHECK_OK(tb_sign_key_new(&f->client_key, &err), err);
    sealed_open(f);
}

void sealed_teardown(sealed_round *f)
{
    tb_intake_free(&f->intake);
    tb_box_key_free(&f->key);
    tb_sign_key_free(&f->client_key);
}

/* Every value is `value`, but for the first of the last block. */
static void fill(float *values, float value, float odd)
{
    for (size_t i = 0; i < SEALED_VALUES; i++) {
        values[i] = value;
    }
    values[TB_BLOCK_VALUES] = odd;
}

sealed_update sealed_make(const sealed_round *f, const char *client,
                          uint32_t weight, float value, float odd)
{
    sealed_update s = {0};
    tb_err err;
    tb_sealer *sealer = NULL;
    tb_seal_binding to = {f->hash, client};
    float *values = tb_mem_array(SEALED_VALUES, sizeof *values);
    fill(values, value, 0.0F);
    CHECK_OK(tb_sealer_new(&sealer, tb_box_key_public(f->key), &to,
                           SEALED_BLOCKS, &err),
             err);
    for (uint32_t i = 0; i < SEALED_BLOCKS; i++) {
        size_t n = tb_update_block_bytes(&f->config, i);
        s.len[i] = n + TB_SEAL_TAG_BYTES;
        s.block[i] = tb_mem_array(s.len[i], 1);
        CHECK_OK(tb_update_block_encode(&f->config, i, values, weight,
                                        s.block[i], &err),
                 err);
        if (i == 2) {
            memcpy(s.block[i], &odd, sizeof odd); /* f32 little-endian */
        }
        CHECK_OK(tb_sealer_next(sealer, s.block[i], n, s.block[i], &err), err);
    }
    tb_order *o = &s.order;
    o->upload.key = 1 + (uint64_t)client[0];
    o->upload.config = f->hash;
    o->upload.n_blocks = SEALED_BLOCKS;
    o->weight = weight;
    o->full = weight;
    o->into = f->hash;
    CHECK(tb_name_set(&o->upload.client, client));
    memcpy(o->upload.header, tb_sealer_header(sealer), TB_UPLOAD_HEADER_BYTES);
    memcpy(o->upload.upload.bytes, o->upload.header + 36, TB_UPLOAD_ID_BYTES);
    CHECK_OK(tb_sealer_end(sealer, &o->update, &err), err);
    tb_update_sign(o->signature, f->client_key, &f->hash, &o->update);
    tb_sealer_free(&sealer);
    tb_mem_free(values);
    return s;
}

void sealed_release(sealed_update *s)
{
    for (uint32_t i = 0; i < SEALED_BLOCKS; i++) {
        tb_mem_free(s->block[i]);
    }
}

tb_verdict sealed_add(sealed_round *f, sealed_update *s, uint32_t index)
{
    tb_verdict v = {0};
    s->order.index = index;
    tb_intake_add(f->intake, &s->order, s->block[index], s->len[index], &v);
    return v;
}

tb_verdict sealed_end(sealed_round *f, sealed_update *s)
{
    tb_verdict v = {0};
    tb_intake_end(f->intake, &s->order, tb_sign_key_public(f->client_key), &v);
    return v;
}

void sealed_send(sealed_round *f, sealed_update *s)
{
    for (uint32_t i = 0; i < SEALED_BLOCKS; i++) {
        tb_verdict v = sealed_add(f, s, i);
        CHECK(v.rc == TB_OK);
        CHECK(i > 0 || v.weight == s->order.full);
    }
    CHECK(sealed_end(f, s).rc == TB_OK);
}
