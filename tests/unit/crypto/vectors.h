/* tests/unit/crypto/vectors.h - reads "name value" lines of a golden file that
 * a script beside it made, and hexadecimal. */
#ifndef TB_TESTS_UNIT_CRYPTO_VECTORS_H
#define TB_TESTS_UNIT_CRYPTO_VECTORS_H

#include <sodium.h>
#include <string.h>

#include "base/file.h"
#include "support/check.h"

#define VECTORS TB_SOURCE_DIR "/tests/golden/crypto/sealed_update.txt"

/* Bytes of a hexadecimal text. */
static inline size_t unhex(uint8_t *out, size_t cap, const char *hex)
{
    size_t n = 0;
    CHECK(sodium_hex2bin(out, cap, hex, strlen(hex), NULL, &n, NULL) == 0);
    return n;
}

/* The value of the n-th line (0, 1, ...) that starts with name; static. */
static inline const char *vector_text(const char *name, int n)
{
    static char text[65536];
    tb_err err = {0};
    tb_buf buf;
    tb_buf_init(&buf, sizeof text - 1);
    CHECK_OK(tb_file_read(&buf, VECTORS, &err), err);
    memcpy(text, buf.data, buf.len);
    text[buf.len] = '\0';
    tb_buf_release(&buf);
    size_t n_name = strlen(name);
    for (char *line = text; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (strncmp(line, name, n_name) == 0 && line[n_name] == ' ' &&
            n-- == 0) {
            *(end != NULL ? end : line + strlen(line)) = '\0';
            return line + n_name + 1;
        }
        line = end != NULL ? end + 1 : NULL;
    }
    fail_msg("no %s in %s", name, VECTORS);
    return NULL;
}

/* The bytes of that value; returns how many. */
static inline size_t vector_bytes(uint8_t *out, size_t cap, const char *name,
                                  int n)
{
    return unhex(out, cap, vector_text(name, n));
}

#endif
