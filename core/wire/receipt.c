#include "wire/receipt.h"

#include <string.h>

#define MESSAGE_BYTES (3 * TB_HASH_BYTES + 8)

/* config | update | sequence u64le | head. */
static void message_of(uint8_t out[static MESSAGE_BYTES],
                       const tb_msg_receipt *receipt)
{
    memcpy(out, receipt->config.bytes, TB_HASH_BYTES);
    memcpy(out + TB_HASH_BYTES, receipt->update.bytes, TB_HASH_BYTES);
    tb_le64_put(out + 2 * TB_HASH_BYTES, receipt->sequence);
    memcpy(out + 2 * TB_HASH_BYTES + 8, receipt->head.bytes, TB_HASH_BYTES);
}

void tb_receipt_sign(tb_msg_receipt *receipt, const tb_sign_key *key)
{
    uint8_t message[MESSAGE_BYTES];
    message_of(message, receipt);
    tb_sign(receipt->signature, key, TB_SIGN_RECEIPT, message, sizeof message);
}

tb_rc tb_receipt_verify(const tb_msg_receipt *receipt,
                        const uint8_t key[static TB_SIGN_PUBLIC_BYTES],
                        tb_err *err)
{
    uint8_t message[MESSAGE_BYTES];
    message_of(message, receipt);
    return tb_verify(receipt->signature, key, TB_SIGN_RECEIPT, message,
                     sizeof message, err);
}
