#include "crypto/seal.h"

#include <sodium.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/secret.h"

#define AT_EPHEMERAL   4
#define AT_UPLOAD      36
#define AT_N_BLOCKS    52
#define AT_RESERVED    56
#define BINDING_MAX    (TB_HASH_BYTES + TB_SEAL_CLIENT_BYTES)
#define BLOCK_AD_BYTES (TB_SEAL_UPLOAD_BYTES + 4 + 4)
#define SHARED_BYTES   crypto_scalarmult_BYTES
#define NONCE_BYTES    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

_Static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == TB_HASH_BYTES,
               "a hash is the key");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_ABYTES == TB_SEAL_TAG_BYTES,
               "tag");
_Static_assert(TB_HASH_BYTES <= TB_SECRET_BYTES, "a slot holds the key");
_Static_assert(AT_RESERVED + 8 == TB_UPLOAD_HEADER_BYTES, "seal.h's layout");

static const char magic[4] = {'T', 'B', 'U', '1'};
static const char key_context[] = "tributary update key";

/* What both ends know of one upload: its key and what it is bound to. */
typedef struct channel {
    uint8_t *key; /* owned secret slot */
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    uint8_t binding[BINDING_MAX]; /* config hash | client | 0 */
    size_t n_binding;
    uint32_t n_blocks;
} channel;

struct tb_sealer {
    channel channel;
    tb_update_hasher hasher;
};

struct tb_opener {
    channel channel;
};

void tb_update_hasher_init(tb_update_hasher *h,
                           const uint8_t header[static TB_UPLOAD_HEADER_BYTES])
{
    tb_hasher_init(&h->hasher);
    tb_hasher_add(&h->hasher, header, TB_UPLOAD_HEADER_BYTES);
    h->n_blocks = tb_le32_get(header + AT_N_BLOCKS);
    h->next = 0;
}

void tb_update_hasher_add(tb_update_hasher *h, const uint8_t *sealed,
                          size_t len)
{
    tb_hash hash = tb_hash_of(sealed, len);
    tb_update_hasher_add_hash(h, &hash);
}

void tb_update_hasher_add_hash(tb_update_hasher *h, const tb_hash *sealed)
{
    tb_hasher_add(&h->hasher, sealed->bytes, sizeof sealed->bytes);
    h->next++;
}

tb_rc tb_update_hasher_end(tb_update_hasher *h, tb_hash *out, tb_err *err)
{
    if (h->next != h->n_blocks) {
        return tb_fail(err, TB_E_MISMATCH, "update: %u of %u blocks", h->next,
                       h->n_blocks);
    }
    *out = tb_hasher_end(&h->hasher);
    return TB_OK;
}

static void update_message(uint8_t out[static 2 * TB_HASH_BYTES],
                           const tb_hash *config, const tb_hash *update)
{
    memcpy(out, config->bytes, TB_HASH_BYTES);
    memcpy(out + TB_HASH_BYTES, update->bytes, TB_HASH_BYTES);
}

void tb_update_sign(uint8_t signature[static TB_SIGNATURE_BYTES],
                    const tb_sign_key *key, const tb_hash *config,
                    const tb_hash *update)
{
    uint8_t message[2 * TB_HASH_BYTES];
    update_message(message, config, update);
    tb_sign(signature, key, TB_SIGN_UPDATE, message, sizeof message);
}

tb_rc tb_update_verify(const uint8_t signature[static TB_SIGNATURE_BYTES],
                       const uint8_t public_key[static TB_SIGN_PUBLIC_BYTES],
                       const tb_hash *config, const tb_hash *update,
                       tb_err *err)
{
    uint8_t message[2 * TB_HASH_BYTES];
    update_message(message, config, update);
    return tb_verify(signature, public_key, TB_SIGN_UPDATE, message,
                     sizeof message, err);
}

/* Fills binding, n_blocks and a secret slot; header is there already. */
static tb_rc channel_init(channel *c, const tb_seal_binding *to, tb_err *err)
{
    size_t n_client = strnlen(to->client, TB_SEAL_CLIENT_BYTES);
    if (n_client == 0 || n_client == TB_SEAL_CLIENT_BYTES) {
        return tb_fail(err, TB_E_USAGE,
                       "seal: a client's name has 1 to %d "
                       "bytes",
                       TB_SEAL_CLIENT_BYTES - 1);
    }
    memcpy(c->binding, to->config.bytes, TB_HASH_BYTES);
    memcpy(c->binding + TB_HASH_BYTES, to->client, n_client + 1);
    c->n_binding = TB_HASH_BYTES + n_client + 1;
    c->n_blocks = tb_le32_get(c->header + AT_N_BLOCKS);
    c->key = tb_secret_new();
    if (c->key == NULL) {
        return tb_fail(err, TB_E_NOMEM, "no memory for an update's key");
    }
    return TB_OK;
}

/* key = BLAKE2b-256(context | 0 | X25519(secret, peer) | ephemeral public |
 * run public | binding). */
static tb_rc channel_agree(channel *c,
                           const uint8_t secret[static SHARED_BYTES],
                           const uint8_t peer[static TB_CURVE_PUBLIC_BYTES],
                           const uint8_t run[static TB_CURVE_PUBLIC_BYTES],
                           tb_err *err)
{
    uint8_t shared[SHARED_BYTES];
    crypto_generichash_state state;
    tb_rc rc = TB_OK;
    if (crypto_scalarmult(shared, secret, peer) != 0) {
        rc = tb_fail(err, TB_E_DENIED,
                     "seal: the other side's public key is not one");
        goto done;
    }
    (void)crypto_generichash_init(&state, NULL, 0, TB_HASH_BYTES);
    (void)crypto_generichash_update(&state, (const uint8_t *)key_context,
                                    sizeof key_context);
    (void)crypto_generichash_update(&state, shared, sizeof shared);
    (void)crypto_generichash_update(&state, c->header + AT_EPHEMERAL,
                                    TB_CURVE_PUBLIC_BYTES);
    (void)crypto_generichash_update(&state, run, TB_CURVE_PUBLIC_BYTES);
    (void)crypto_generichash_update(&state, c->binding, c->n_binding);
    (void)crypto_generichash_final(&state, c->key, TB_HASH_BYTES);
done:
    sodium_memzero(shared, sizeof shared);
    sodium_memzero(&state, sizeof state);
    return rc;
}

/* AAD = binding | upload id | index u32le | n_blocks u32le. */
static size_t block_ad(uint8_t out[static BINDING_MAX + BLOCK_AD_BYTES],
                       const channel *c, uint32_t index)
{
    memcpy(out, c->binding, c->n_binding);
    uint8_t *at = out + c->n_binding;
    memcpy(at, c->header + AT_UPLOAD, TB_SEAL_UPLOAD_BYTES);
    tb_le32_put(at + TB_SEAL_UPLOAD_BYTES, index);
    tb_le32_put(at + TB_SEAL_UPLOAD_BYTES + 4, c->n_blocks);
    return c->n_binding + BLOCK_AD_BYTES;
}

tb_rc tb_sealer_new(tb_sealer **out,
                    const uint8_t run_key[static TB_CURVE_PUBLIC_BYTES],
                    const tb_seal_binding *to, uint32_t n_blocks, tb_err *err)
{
    *out = NULL;
    if (n_blocks == 0) {
        return tb_fail(err, TB_E_USAGE, "seal: an update of no blocks");
    }
    tb_box_key *ephemeral = NULL;
    tb_sealer *sealer = tb_mem_array(1, sizeof *sealer);
    if (sealer == NULL) {
        return tb_fail(err, TB_E_NOMEM, "no memory for a sealer");
    }
    tb_rc rc = tb_box_key_new(&ephemeral, err);
    if (rc != TB_OK) {
        goto done;
    }
    uint8_t *header = sealer->channel.header;
    memcpy(header, magic, sizeof magic);
    memcpy(header + AT_EPHEMERAL, tb_box_key_public(ephemeral),
           TB_CURVE_PUBLIC_BYTES);
    randombytes_buf(header + AT_UPLOAD, TB_SEAL_UPLOAD_BYTES);
    tb_le32_put(header + AT_N_BLOCKS, n_blocks);
    rc = channel_init(&sealer->channel, to, err);
    if (rc != TB_OK) {
        goto done;
    }
    rc = channel_agree(&sealer->channel, tb_box_key_secret(ephemeral), run_key,
                       run_key, err);
    if (rc != TB_OK) {
        goto done;
    }
    tb_update_hasher_init(&sealer->hasher, header);
    *out = sealer;
    sealer = NULL; /* the caller owns it from here */
done:
    tb_box_key_free(&ephemeral);
    tb_sealer_free(&sealer);
    return rc;
}

void tb_sealer_free(tb_sealer **sealer)
{
    if (*sealer != NULL) {
        tb_secret_free(&(*sealer)->channel.key);
        tb_mem_free(*sealer);
        *sealer = NULL;
    }
}

const uint8_t *tb_sealer_header(const tb_sealer *sealer)
{
    return sealer->channel.header;
}

tb_rc tb_sealer_next(tb_sealer *sealer, const uint8_t *plain, size_t len,
                     uint8_t *sealed, tb_err *err)
{
    const channel *c = &sealer->channel;
    uint32_t index = sealer->hasher.next;
    if (index >= c->n_blocks) {
        return tb_fail(err, TB_E_USAGE, "seal: more than %u blocks",
                       c->n_blocks);
    }
    uint8_t ad[BINDING_MAX + BLOCK_AD_BYTES];
    uint8_t nonce[NONCE_BYTES] = {0};
    size_t n_ad = block_ad(ad, c, index);
    tb_le64_put(nonce, index);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(
        sealed, NULL, plain, len, ad, n_ad, NULL, nonce, c->key);
    tb_update_hasher_add(&sealer->hasher, sealed, len + TB_SEAL_TAG_BYTES);
    return TB_OK;
}

tb_rc tb_sealer_end(tb_sealer *sealer, tb_hash *update, tb_err *err)
{
    return tb_update_hasher_end(&sealer->hasher, update, err);
}

tb_rc tb_upload_header_check(
    const uint8_t header[static TB_UPLOAD_HEADER_BYTES], uint32_t *n_blocks,
    tb_err *err)
{
    if (memcmp(header, magic, sizeof magic) != 0) {
        return tb_fail(err, TB_E_MALFORMED, "upload header: wrong magic");
    }
    if (!sodium_is_zero(header + AT_RESERVED,
                        TB_UPLOAD_HEADER_BYTES - AT_RESERVED)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "upload header: reserved bytes are not zero");
    }
    uint32_t n = tb_le32_get(header + AT_N_BLOCKS);
    if (n == 0) {
        return tb_fail(err, TB_E_MALFORMED, "upload header: no blocks");
    }
    *n_blocks = n;
    return TB_OK;
}

tb_rc tb_opener_new(tb_opener **out, const tb_box_key *run_key,
                    const tb_seal_binding *to,
                    const uint8_t header[static TB_UPLOAD_HEADER_BYTES],
                    tb_err *err)
{
    uint32_t n_blocks = 0;
    *out = NULL;
    tb_rc rc = tb_upload_header_check(header, &n_blocks, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_opener *opener = tb_mem_array(1, sizeof *opener);
    if (opener == NULL) {
        return tb_fail(err, TB_E_NOMEM, "no memory for an opener");
    }
    memcpy(opener->channel.header, header, TB_UPLOAD_HEADER_BYTES);
    rc = channel_init(&opener->channel, to, err);
    if (rc != TB_OK) {
        goto done;
    }
    rc = channel_agree(&opener->channel, tb_box_key_secret(run_key),
                       header + AT_EPHEMERAL, tb_box_key_public(run_key), err);
    if (rc != TB_OK) {
        goto done;
    }
    *out = opener;
    opener = NULL; /* the caller owns it from here */
done:
    tb_opener_free(&opener);
    return rc;
}

void tb_opener_free(tb_opener **opener)
{
    if (*opener != NULL) {
        tb_secret_free(&(*opener)->channel.key);
        tb_mem_free(*opener);
        *opener = NULL;
    }
}

tb_rc tb_opener_block(const tb_opener *opener, uint32_t index,
                      const uint8_t *sealed, size_t len, uint8_t *plain,
                      tb_err *err)
{
    const channel *c = &opener->channel;
    if (index >= c->n_blocks) {
        return tb_fail(err, TB_E_MALFORMED, "block %u: the upload has %u",
                       index, c->n_blocks);
    }
    if (len < TB_SEAL_TAG_BYTES) {
        return tb_fail(err, TB_E_MALFORMED, "block %u: only %zu bytes", index,
                       len);
    }
    uint8_t ad[BINDING_MAX + BLOCK_AD_BYTES];
    uint8_t nonce[NONCE_BYTES] = {0};
    size_t n_ad = block_ad(ad, c, index);
    tb_le64_put(nonce, index);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            plain, NULL, NULL, sealed, len, ad, n_ad, nonce, c->key) != 0) {
        return tb_fail(err, TB_E_DENIED,
                       "block %u: does not open: altered, or sealed for "
                       "another round, client or place",
                       index);
    }
    return TB_OK;
}
