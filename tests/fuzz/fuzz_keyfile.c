/* Any bytes as a key file: refused for every kind of key, or taken for one, and
 * then written as the same bytes. The check at its end is made to fit too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "crypto/crypto.h"
#include "crypto/keyfile.h"

#define AT_CHECK 48

static const char *path(char text[static 64], const char *what)
{
    (void)snprintf(text, 64, "/dev/shm/tb-fuzz-%s-%ld", what, (long)getpid());
    return text;
}

static void take(const uint8_t *bytes, size_t len)
{
    char in[64], out[64];
    uint8_t secret[TB_KEY_SEED_BYTES];
    int n_taken = 0;
    if (tb_file_write(path(in, "key"), bytes, len, 0600, NULL) != TB_OK) {
        return;
    }
    for (int kind = 1; kind < TB_KEYFILE_KIND_END; kind++) {
        tb_buf back;
        if (tb_keyfile_read(secret, (tb_keyfile_kind)kind, in, NULL) != TB_OK) {
            continue;
        }
        n_taken++;
        (void)unlink(path(out, "back"));
        tb_buf_init(&back, TB_KEY_FILE_BYTES);
        if (tb_keyfile_write(secret, (tb_keyfile_kind)kind, out, NULL) !=
                TB_OK ||
            tb_file_read(&back, out, NULL) != TB_OK || back.len != len ||
            memcmp(back.data, bytes, len) != 0) {
            abort();
        }
        tb_buf_release(&back);
        (void)unlink(out);
    }
    (void)unlink(in);
    if (n_taken > 1) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (tb_crypto_init(NULL) != TB_OK) {
        abort();
    }
    take(data, size);
    if (size == TB_KEY_FILE_BYTES) {
        uint8_t copy[TB_KEY_FILE_BYTES];
        memcpy(copy, data, size);
        tb_hash hash = tb_hash_of(data, AT_CHECK);
        memcpy(copy + AT_CHECK, hash.bytes, TB_HASH_BYTES);
        take(copy, size);
    }
    return 0;
}
