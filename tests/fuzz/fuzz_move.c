/* Any bytes as a coordinator's move: decode refuses them, or encode gives the
 * same bytes back; nothing verifies under a root key that signed none of it. */
#include <stdlib.h>
#include <string.h>

#include "crypto/crypto.h"
#include "crypto/rotate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t root[TB_SIGN_PUBLIC_BYTES] = {9};
    tb_move move;
    uint8_t back[TB_MOVE_BYTES_MAX];
    if (tb_crypto_init(NULL) != TB_OK ||
        tb_move_decode(&move, data, size, NULL) != TB_OK) {
        return 0;
    }
    if (tb_move_encode(&move, back) != size || memcmp(back, data, size) != 0 ||
        tb_move_verify(&move, root, move.certificate.valid_from, NULL) ==
            TB_OK) {
        abort();
    }
    return 0;
}
