#include "crypto/sign.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define PREFIX            "tributary "
#define CONTEXT_BYTES_MAX 16
#define MESSAGE_BYTES_MAX                                                      \
    (sizeof PREFIX - 1 + CONTEXT_BYTES_MAX + 1 + TB_HASH_BYTES)

static const char *const names[TB_SIGN_CONTEXT_COUNT] = {
    [TB_SIGN_CERTIFICATE] = "certificate",
    [TB_SIGN_ROUND] = "round",
    [TB_SIGN_RECEIPT] = "receipt",
    [TB_SIGN_MANIFEST] = "manifest",
    [TB_SIGN_INVITE] = "invite",
    [TB_SIGN_ENROL] = "enrol",
    [TB_SIGN_UPDATE] = "update",
    [TB_SIGN_ROTATE] = "rotate",
    [TB_SIGN_MOVE] = "move",
    [TB_SIGN_ROSTER] = "roster",
};

/* "tributary " | context | 0 | hash of bytes. Returns its length. */
static size_t message_of(uint8_t out[static MESSAGE_BYTES_MAX],
                         tb_sign_context context, const void *bytes, size_t len)
{
    assert((unsigned)context < TB_SIGN_CONTEXT_COUNT);
    size_t n_prefix = sizeof PREFIX - 1;
    size_t n_name = strlen(names[context]) + 1;
    assert(n_name <= CONTEXT_BYTES_MAX + 1);
    memcpy(out, PREFIX, n_prefix);
    memcpy(out + n_prefix, names[context], n_name);
    tb_hash hash = tb_hash_of(bytes, len);
    memcpy(out + n_prefix + n_name, hash.bytes, sizeof hash.bytes);
    return n_prefix + n_name + sizeof hash.bytes;
}

void tb_sign(uint8_t signature[static TB_SIGNATURE_BYTES],
             const tb_sign_key *key, tb_sign_context context, const void *bytes,
             size_t len)
{
    uint8_t message[MESSAGE_BYTES_MAX];
    size_t n = message_of(message, context, bytes, len);
    (void)crypto_sign_detached(signature, NULL, message, n,
                               tb_sign_key_secret(key));
}

tb_rc tb_verify(const uint8_t signature[static TB_SIGNATURE_BYTES],
                const uint8_t public_key[static TB_SIGN_PUBLIC_BYTES],
                tb_sign_context context, const void *bytes, size_t len,
                tb_err *err)
{
    uint8_t message[MESSAGE_BYTES_MAX];
    size_t n = message_of(message, context, bytes, len);
    if (crypto_sign_verify_detached(signature, message, n, public_key) != 0) {
        return tb_fail(err, TB_E_DENIED,
                       "signature (%s): not made by the expected key for "
                       "these bytes",
                       names[context]);
    }
    return TB_OK;
}
