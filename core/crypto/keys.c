#include "crypto/keys.h"

#include <sodium.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/keyfile.h"
#include "crypto/secret.h"

/* Each secret slot holds 64 bytes: Ed25519 seed | public key (libsodium's
 * form), or an X25519 scalar or master key in its first 32. */
struct tb_sign_key {
    uint8_t *secret;
    uint8_t public_key[TB_SIGN_PUBLIC_BYTES];
};

struct tb_box_key {
    uint8_t *secret;
    uint8_t public_key[TB_CURVE_PUBLIC_BYTES];
};

struct tb_master_key {
    uint8_t *secret;
};

_Static_assert(crypto_sign_SECRETKEYBYTES == TB_SECRET_BYTES, "Ed25519");
_Static_assert(crypto_sign_SEEDBYTES == TB_KEY_SEED_BYTES, "Ed25519");
_Static_assert(crypto_sign_PUBLICKEYBYTES == TB_SIGN_PUBLIC_BYTES, "Ed25519");
_Static_assert(crypto_scalarmult_SCALARBYTES == TB_KEY_SEED_BYTES, "X25519");
_Static_assert(crypto_scalarmult_BYTES == TB_CURVE_PUBLIC_BYTES, "X25519");

tb_rc tb_sign_key_from_seed(tb_sign_key **out,
                            const uint8_t seed[static TB_KEY_SEED_BYTES],
                            tb_err *err)
{
    *out = NULL;
    tb_sign_key *key = tb_mem_array(1, sizeof *key);
    if (key == NULL || (key->secret = tb_secret_new()) == NULL) {
        tb_sign_key_free(&key);
        return tb_fail(err, TB_E_NOMEM, "no memory for a signing key");
    }
    (void)crypto_sign_seed_keypair(key->public_key, key->secret, seed);
    *out = key;
    return TB_OK;
}

tb_rc tb_box_key_from_seed(tb_box_key **out,
                           const uint8_t seed[static TB_KEY_SEED_BYTES],
                           tb_err *err)
{
    *out = NULL;
    tb_box_key *key = tb_mem_array(1, sizeof *key);
    if (key == NULL || (key->secret = tb_secret_new()) == NULL) {
        tb_box_key_free(&key);
        return tb_fail(err, TB_E_NOMEM, "no memory for an agreement key");
    }
    memcpy(key->secret, seed, TB_KEY_SEED_BYTES);
    (void)crypto_scalarmult_base(key->public_key, key->secret);
    *out = key;
    return TB_OK;
}

tb_rc tb_master_key_from_seed(tb_master_key **out,
                              const uint8_t seed[static TB_KEY_SEED_BYTES],
                              tb_err *err)
{
    *out = NULL;
    tb_master_key *key = tb_mem_array(1, sizeof *key);
    if (key == NULL || (key->secret = tb_secret_new()) == NULL) {
        tb_master_key_free(&key);
        return tb_fail(err, TB_E_NOMEM, "no memory for a master key");
    }
    memcpy(key->secret, seed, TB_KEY_SEED_BYTES);
    *out = key;
    return TB_OK;
}

tb_rc tb_sign_key_new(tb_sign_key **out, tb_err *err)
{
    uint8_t seed[TB_KEY_SEED_BYTES];
    randombytes_buf(seed, sizeof seed);
    tb_rc rc = tb_sign_key_from_seed(out, seed, err);
    sodium_memzero(seed, sizeof seed);
    return rc;
}

tb_rc tb_box_key_new(tb_box_key **out, tb_err *err)
{
    uint8_t seed[TB_KEY_SEED_BYTES];
    randombytes_buf(seed, sizeof seed);
    tb_rc rc = tb_box_key_from_seed(out, seed, err);
    sodium_memzero(seed, sizeof seed);
    return rc;
}

tb_rc tb_master_key_new(tb_master_key **out, tb_err *err)
{
    uint8_t seed[TB_KEY_SEED_BYTES];
    randombytes_buf(seed, sizeof seed);
    tb_rc rc = tb_master_key_from_seed(out, seed, err);
    sodium_memzero(seed, sizeof seed);
    return rc;
}

void tb_sign_key_free(tb_sign_key **key)
{
    if (*key != NULL) {
        tb_secret_free(&(*key)->secret);
        tb_mem_free(*key);
        *key = NULL;
    }
}

void tb_box_key_free(tb_box_key **key)
{
    if (*key != NULL) {
        tb_secret_free(&(*key)->secret);
        tb_mem_free(*key);
        *key = NULL;
    }
}

void tb_master_key_free(tb_master_key **key)
{
    if (*key != NULL) {
        tb_secret_free(&(*key)->secret);
        tb_mem_free(*key);
        *key = NULL;
    }
}

const uint8_t *tb_sign_key_public(const tb_sign_key *key)
{
    return key->public_key;
}

const uint8_t *tb_box_key_public(const tb_box_key *key)
{
    return key->public_key;
}

const uint8_t *tb_box_key_secret(const tb_box_key *key)
{
    return key->secret;
}

const uint8_t *tb_sign_key_secret(const tb_sign_key *key)
{
    return key->secret;
}

const uint8_t *tb_master_key_secret(const tb_master_key *key)
{
    return key->secret;
}

tb_rc tb_sign_key_read(tb_sign_key **out, const char *path, tb_err *err)
{
    uint8_t secret[TB_KEY_SEED_BYTES];
    *out = NULL;
    tb_rc rc = tb_keyfile_read(secret, TB_KEYFILE_SIGN, path, err);
    if (rc == TB_OK) {
        rc = tb_sign_key_from_seed(out, secret, err);
    }
    sodium_memzero(secret, sizeof secret);
    return rc;
}

tb_rc tb_box_key_read(tb_box_key **out, const char *path, tb_err *err)
{
    uint8_t secret[TB_KEY_SEED_BYTES];
    *out = NULL;
    tb_rc rc = tb_keyfile_read(secret, TB_KEYFILE_BOX, path, err);
    if (rc == TB_OK) {
        rc = tb_box_key_from_seed(out, secret, err);
    }
    sodium_memzero(secret, sizeof secret);
    return rc;
}

tb_rc tb_master_key_read(tb_master_key **out, const char *path, tb_err *err)
{
    uint8_t secret[TB_KEY_SEED_BYTES];
    *out = NULL;
    tb_rc rc = tb_keyfile_read(secret, TB_KEYFILE_MASTER, path, err);
    if (rc == TB_OK) {
        rc = tb_master_key_from_seed(out, secret, err);
    }
    sodium_memzero(secret, sizeof secret);
    return rc;
}

tb_rc tb_sign_key_write(const tb_sign_key *key, const char *path, tb_err *err)
{
    return tb_keyfile_write(key->secret, TB_KEYFILE_SIGN, path, err);
}

tb_rc tb_box_key_write(const tb_box_key *key, const char *path, tb_err *err)
{
    return tb_keyfile_write(key->secret, TB_KEYFILE_BOX, path, err);
}

tb_rc tb_master_key_write(const tb_master_key *key, const char *path,
                          tb_err *err)
{
    return tb_keyfile_write(key->secret, TB_KEYFILE_MASTER, path, err);
}

tb_hash tb_federation_of(const uint8_t root_public[static TB_SIGN_PUBLIC_BYTES])
{
    return tb_hash_of(root_public, TB_SIGN_PUBLIC_BYTES);
}
