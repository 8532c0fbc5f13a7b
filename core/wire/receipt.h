/* core/wire/receipt.h - the signature of an acceptance receipt: context
 * "receipt" over config 32 | update 32 | sequence u64le | head 32. */
#ifndef TB_WIRE_RECEIPT_H
#define TB_WIRE_RECEIPT_H

#include "crypto/sign.h"
#include "wire/msg.h"

/* Sets receipt->signature over its other fields. */
void tb_receipt_sign(tb_msg_receipt *receipt, const tb_sign_key *key)
    TB_NONNULL(1, 2);

/* Errors: DENIED. */
tb_rc tb_receipt_verify(const tb_msg_receipt *receipt,
                        const uint8_t key[static TB_SIGN_PUBLIC_BYTES],
                        tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
