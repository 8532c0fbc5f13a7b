/* Any bytes as header and block of an upload to a known key: refused, since
 * nobody sealed them. And any bytes sealed by us: opened again, but refused as
 * soon as a bit of header or block is another. */
#include <stdlib.h>
#include <string.h>

#include "crypto/crypto.h"
#include "crypto/seal.h"

#define PLAIN_MAX 512

typedef struct bench {
    tb_box_key *run;
    tb_seal_binding to;
} bench;

static void set_up(bench *b)
{
    static const uint8_t seed[TB_KEY_SEED_BYTES] = {7};
    static tb_box_key *run = NULL;
    if (run == NULL && (tb_crypto_init(NULL) != TB_OK ||
                        tb_box_key_from_seed(&run, seed, NULL) != TB_OK)) {
        abort();
    }
    b->run = run;
    b->to = (tb_seal_binding){.client = "anna"};
}

/* Whether header and block open; plain gets what was in it. */
static bool opens(const bench *b, const uint8_t *header, const uint8_t *block,
                  size_t len, uint8_t *plain)
{
    tb_opener *opener = NULL;
    bool good = tb_opener_new(&opener, b->run, &b->to, header, NULL) == TB_OK &&
                tb_opener_block(opener, 0, block, len, plain, NULL) == TB_OK;
    tb_opener_free(&opener);
    return good;
}

static void check_sealed(const bench *b, uint16_t flip, const uint8_t *data,
                         size_t size)
{
    uint8_t bytes[TB_UPLOAD_HEADER_BYTES + PLAIN_MAX + TB_SEAL_TAG_BYTES];
    uint8_t plain[PLAIN_MAX + TB_SEAL_TAG_BYTES];
    uint8_t *block = bytes + TB_UPLOAD_HEADER_BYTES;
    tb_sealer *sealer = NULL;
    size_t n = size + TB_SEAL_TAG_BYTES;
    if (tb_sealer_new(&sealer, tb_box_key_public(b->run), &b->to, 1, NULL) !=
            TB_OK ||
        tb_sealer_next(sealer, data, size, block, NULL) != TB_OK) {
        abort();
    }
    memcpy(bytes, tb_sealer_header(sealer), TB_UPLOAD_HEADER_BYTES);
    tb_sealer_free(&sealer);
    if (!opens(b, bytes, block, n, plain) || memcmp(plain, data, size) != 0) {
        abort();
    }
    size_t bit = flip % (8 * (TB_UPLOAD_HEADER_BYTES + n));
    bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    /* An X25519 key has one bit that does not count. */
    if (opens(b, bytes, block, n, plain) && bit != 8 * 35 + 7) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t plain[PLAIN_MAX + TB_SEAL_TAG_BYTES];
    bench b;
    set_up(&b);
    if (size >= TB_UPLOAD_HEADER_BYTES &&
        size - TB_UPLOAD_HEADER_BYTES <= sizeof plain &&
        opens(&b, data, data + TB_UPLOAD_HEADER_BYTES,
              size - TB_UPLOAD_HEADER_BYTES, plain)) {
        abort();
    }
    if (size >= 2 && size - 2 <= PLAIN_MAX) {
        check_sealed(&b, (uint16_t)(data[0] | data[1] << 8), data + 2,
                     size - 2);
    }
    return 0;
}
