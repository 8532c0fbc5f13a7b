/* Any bytes: decode refuses them, or encode gives the same bytes back; nothing
 * verifies under a root key that signed none of them. */
#include <stdlib.h>
#include <string.h>

#include "crypto/cert.h"
#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t root[TB_SIGN_PUBLIC_BYTES] = {9};
    tb_certificate cert;
    uint8_t back[TB_CERTIFICATE_BYTES];
    if (tb_crypto_init(NULL) != TB_OK ||
        tb_certificate_decode(&cert, data, size, NULL) != TB_OK) {
        return 0;
    }
    tb_certificate_encode(&cert, back);
    if (size != sizeof back || memcmp(back, data, size) != 0 ||
        tb_certificate_verify(&cert, root, cert.valid_from, NULL) == TB_OK) {
        abort();
    }
    return 0;
}
