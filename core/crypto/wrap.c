#include "crypto/wrap.h"

#include <sodium.h>
#include <string.h>

#define MAGIC_BYTES 4
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES   crypto_aead_xchacha20poly1305_ietf_ABYTES
#define AT_CIPHER   (MAGIC_BYTES + NONCE_BYTES)

_Static_assert(AT_CIPHER + TAG_BYTES == TB_WRAP_OVERHEAD_BYTES, "wrap.h");

static const char magic[MAGIC_BYTES] = {'T', 'B', 'W', '1'};

/* A context of any length in the AAD's fixed place: BLAKE2b-256("tributary
 * wrap" | 0 | context). */
static tb_hash ad_of(const char *context)
{
    static const char prefix[] = "tributary wrap";
    tb_hasher hasher;
    tb_hasher_init(&hasher);
    tb_hasher_add(&hasher, prefix, sizeof prefix);
    tb_hasher_add(&hasher, context, strlen(context));
    return tb_hasher_end(&hasher);
}

/* out [len + TB_WRAP_OVERHEAD_BYTES]. */
static void wrap_into(uint8_t *out, const tb_master_key *master,
                      const char *context, const void *plain, size_t len)
{
    tb_hash ad = ad_of(context);
    memcpy(out, magic, sizeof magic);
    randombytes_buf(out + MAGIC_BYTES, NONCE_BYTES);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(
        out + AT_CIPHER, NULL, plain, len, ad.bytes, sizeof ad.bytes, NULL,
        out + MAGIC_BYTES, tb_master_key_secret(master));
}

/* out [len - TB_WRAP_OVERHEAD_BYTES]; len was checked. */
static tb_rc unwrap_into(uint8_t *out, const tb_master_key *master,
                         const char *context, const uint8_t *bytes, size_t len,
                         tb_err *err)
{
    tb_hash ad = ad_of(context);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            out, NULL, NULL, bytes + AT_CIPHER, len - AT_CIPHER, ad.bytes,
            sizeof ad.bytes, bytes + MAGIC_BYTES,
            tb_master_key_secret(master)) != 0) {
        return tb_fail(err, TB_E_DENIED,
                       "%s: does not open: altered, of another purpose, or "
                       "under another master key",
                       context);
    }
    return TB_OK;
}

static tb_rc check_frame(const char *context, const uint8_t *bytes, size_t len,
                         tb_err *err)
{
    if (len < TB_WRAP_OVERHEAD_BYTES ||
        memcmp(bytes, magic, sizeof magic) != 0) {
        return tb_fail(err, TB_E_MALFORMED, "%s: not wrapped bytes", context);
    }
    return TB_OK;
}

tb_rc tb_wrap(tb_buf *out, const tb_master_key *master, const char *context,
              const void *plain, size_t len, tb_err *err)
{
    if (len > SIZE_MAX - TB_WRAP_OVERHEAD_BYTES) {
        return tb_fail(err, TB_E_LIMIT, "%s: %zu bytes", context, len);
    }
    tb_rc rc = tb_buf_reserve(out, len + TB_WRAP_OVERHEAD_BYTES, err);
    if (rc == TB_OK) {
        wrap_into(out->data + out->len, master, context, plain, len);
        out->len += len + TB_WRAP_OVERHEAD_BYTES;
    }
    return rc;
}

tb_rc tb_unwrap(tb_buf *out, const tb_master_key *master, const char *context,
                const uint8_t *bytes, size_t len, tb_err *err)
{
    tb_rc rc = check_frame(context, bytes, len, err);
    if (rc != TB_OK) {
        return rc;
    }
    size_t n = len - TB_WRAP_OVERHEAD_BYTES;
    rc = tb_buf_reserve(out, n, err);
    if (rc != TB_OK) {
        return rc;
    }
    uint8_t none[1]; /* of no bytes, and the buffer may have no memory */
    uint8_t *at = n > 0 ? out->data + out->len : none;
    rc = unwrap_into(at, master, context, bytes, len, err);
    if (rc == TB_OK) {
        out->len += n;
    }
    return rc;
}

void tb_box_key_wrap(uint8_t out[static TB_WRAPPED_KEY_BYTES],
                     const tb_box_key *key, const tb_master_key *master,
                     const char *context)
{
    wrap_into(out, master, context, tb_box_key_secret(key), TB_KEY_SEED_BYTES);
}

tb_rc tb_box_key_unwrap(tb_box_key **out, const tb_master_key *master,
                        const char *context, const uint8_t *bytes, size_t len,
                        tb_err *err)
{
    uint8_t seed[TB_KEY_SEED_BYTES];
    *out = NULL;
    tb_rc rc = check_frame(context, bytes, len, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (len != TB_WRAPPED_KEY_BYTES) {
        return tb_fail(err, TB_E_MALFORMED, "%s: not a wrapped key", context);
    }
    rc = unwrap_into(seed, master, context, bytes, len, err);
    if (rc == TB_OK) {
        rc = tb_box_key_from_seed(out, seed, err);
    }
    sodium_memzero(seed, sizeof seed);
    return rc;
}
