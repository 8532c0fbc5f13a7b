/* Any text: decode refuses it, or encode gives the same text back (without the
 * white space around it). The check at its end would keep a fuzzer out, so
 * bytes that do not start as an invite are taken as the bytes of one: its size
 * and check are set right first. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/crypto.h"
#include "crypto/invite.h"

#define HEAD       "tributary-invite-1."
#define BODY_MAX   460
#define CHECK_SIZE 8

/* Writes the text of a body of size bytes whose size and check are right. */
static void dress(char *out, size_t cap, const uint8_t *data, size_t size)
{
    uint8_t body[BODY_MAX + CHECK_SIZE] = {0};
    size_t n = size < 2 ? 2 : size > BODY_MAX ? BODY_MAX : size;
    memcpy(body, data, size < n ? size : n);
    body[0] = (uint8_t)((n + CHECK_SIZE) & 0xff);
    body[1] = (uint8_t)((n + CHECK_SIZE) >> 8);
    tb_hash check = tb_hash_of(body, n);
    memcpy(body + n, check.bytes, CHECK_SIZE);
    memcpy(out, HEAD, sizeof HEAD - 1);
    (void)sodium_bin2base64(out + sizeof HEAD - 1, cap - sizeof HEAD, body,
                            n + CHECK_SIZE,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[4096];
    char back[TB_INVITE_TEXT_BYTES];
    tb_invite invite;
    if (tb_crypto_init(NULL) != TB_OK || size >= sizeof text) {
        return 0;
    }
    memset(text, 0, sizeof text);
    if (size >= 9 && memcmp(data, "tributary", 9) == 0) {
        memcpy(text, data, size);
    } else {
        dress(text, sizeof text, data, size);
    }
    if (tb_invite_decode(&invite, text, NULL) != TB_OK) {
        return 0;
    }
    if (tb_invite_encode(&invite, back, NULL) != TB_OK ||
        strncmp(strstr(text, "tributary"), back, strlen(back)) != 0) {
        abort();
    }
    tb_invite_release(&invite);
    return 0;
}
