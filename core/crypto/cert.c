#include "crypto/cert.h"

#include <string.h>

#include "base/buf.h"

#define VERSION       1u
#define AT_FEDERATION 8
#define AT_SIGN_KEY   40
#define AT_CURVE_KEY  72
#define AT_SERIAL     104
#define AT_FROM       112
#define AT_UNTIL      120
#define AT_SIGNATURE  128

_Static_assert(AT_SIGNATURE + TB_SIGNATURE_BYTES == TB_CERTIFICATE_BYTES,
               "the layout in cert.h");

static const char magic[4] = {'T', 'B', 'C', 'T'};

void tb_certificate_encode(const tb_certificate *cert,
                           uint8_t out[static TB_CERTIFICATE_BYTES])
{
    memcpy(out, magic, sizeof magic);
    tb_le32_put(out + sizeof magic, VERSION);
    memcpy(out + AT_FEDERATION, cert->federation.bytes, TB_HASH_BYTES);
    memcpy(out + AT_SIGN_KEY, cert->sign_key, TB_SIGN_PUBLIC_BYTES);
    memcpy(out + AT_CURVE_KEY, cert->curve_key, TB_CURVE_PUBLIC_BYTES);
    tb_le64_put(out + AT_SERIAL, cert->serial);
    tb_le64_put(out + AT_FROM, cert->valid_from);
    tb_le64_put(out + AT_UNTIL, cert->valid_until);
    memcpy(out + AT_SIGNATURE, cert->signature, TB_SIGNATURE_BYTES);
}

void tb_certificate_sign(tb_certificate *cert, const tb_sign_key *root)
{
    uint8_t bytes[TB_CERTIFICATE_BYTES];
    cert->federation = tb_federation_of(tb_sign_key_public(root));
    tb_certificate_encode(cert, bytes);
    tb_sign(cert->signature, root, TB_SIGN_CERTIFICATE, bytes, AT_SIGNATURE);
}

tb_rc tb_certificate_decode(tb_certificate *out, const uint8_t *bytes,
                            size_t len, tb_err *err)
{
    if (len < AT_FEDERATION || memcmp(bytes, magic, sizeof magic) != 0) {
        return tb_fail(err, TB_E_MALFORMED, "certificate: not one");
    }
    uint32_t version = tb_le32_get(bytes + sizeof magic);
    if (version != VERSION) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "certificate: version %u, this program knows %u",
                       version, VERSION);
    }
    if (len != TB_CERTIFICATE_BYTES) {
        return tb_fail(err, TB_E_MALFORMED,
                       "certificate: %zu bytes instead of %d", len,
                       TB_CERTIFICATE_BYTES);
    }
    tb_certificate cert;
    memcpy(cert.federation.bytes, bytes + AT_FEDERATION, TB_HASH_BYTES);
    memcpy(cert.sign_key, bytes + AT_SIGN_KEY, TB_SIGN_PUBLIC_BYTES);
    memcpy(cert.curve_key, bytes + AT_CURVE_KEY, TB_CURVE_PUBLIC_BYTES);
    cert.serial = tb_le64_get(bytes + AT_SERIAL);
    cert.valid_from = tb_le64_get(bytes + AT_FROM);
    cert.valid_until = tb_le64_get(bytes + AT_UNTIL);
    memcpy(cert.signature, bytes + AT_SIGNATURE, TB_SIGNATURE_BYTES);
    if (cert.valid_from >= cert.valid_until) {
        return tb_fail(err, TB_E_MALFORMED,
                       "certificate: it ends before it starts");
    }
    *out = cert;
    return TB_OK;
}

tb_rc tb_certificate_verify(
    const tb_certificate *cert,
    const uint8_t root_public[static TB_SIGN_PUBLIC_BYTES], uint64_t now_s,
    tb_err *err)
{
    tb_hash federation = tb_federation_of(root_public);
    if (!tb_hash_equal(&cert->federation, &federation)) {
        return tb_fail(err, TB_E_DENIED,
                       "certificate: of another federation: another root "
                       "key signed it");
    }
    uint8_t bytes[TB_CERTIFICATE_BYTES];
    tb_certificate_encode(cert, bytes);
    tb_rc rc = tb_verify(cert->signature, root_public, TB_SIGN_CERTIFICATE,
                         bytes, AT_SIGNATURE, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (now_s < cert->valid_from) {
        return tb_fail(err, TB_E_DENIED,
                       "certificate %llu: valid in %llu s only; is the clock "
                       "of this machine right?",
                       (unsigned long long)cert->serial,
                       (unsigned long long)(cert->valid_from - now_s));
    }
    if (now_s >= cert->valid_until) {
        return tb_fail(err, TB_E_DENIED,
                       "certificate %llu: expired %llu s ago; the operator "
                       "must sign a new one with the root key",
                       (unsigned long long)cert->serial,
                       (unsigned long long)(now_s - cert->valid_until));
    }
    return TB_OK;
}
