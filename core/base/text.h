/* core/base/text.h - numbers and names from text, strictly, and the nearest
 * name to a mistyped one. Knows nothing of files or flags. */
#ifndef TB_BASE_TEXT_H
#define TB_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The whole text must be a decimal number in range; no sign for u64, no blank,
 * no hexadecimal, no NaN, no infinity. Errors: USAGE (says what was read). */
tb_rc tb_text_u64(const char *text, uint64_t *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_text_f64(const char *text, double *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether text fits a pattern: * stands for any characters, ? for any one byte,
 * all else for itself. Takes time with the product of both lengths at most. */
bool tb_text_fits(const char *pattern, const char *text) TB_NONNULL(1, 2);

/* Of names[n], the one nearest to text (Damerau-Levenshtein, optimal string
 * alignment), or NULL when none is within a third of its length. */
const char *tb_text_nearest(const char *text, const char *const *names,
                            size_t n) TB_NONNULL(1);

/* The next code point of UTF-8 text (RFC 3629), and *at behind it; 0, and *at
 * stays, at the end or when the bytes are not UTF-8. */
uint32_t tb_text_next_code(const char **at) TB_NONNULL(1);

/* Bytes as a person reads them, such as "1.5 MB" (powers of 1000). */
void tb_text_bytes(uint64_t bytes, char *out, size_t out_bytes) TB_NONNULL(2);

/* Unix seconds as a person reads them, such as "2026-11-26 15:22:30 UTC". */
#define TB_UTC_BYTES 40
void tb_text_utc(uint64_t unix_s, char out[static TB_UTC_BYTES]) TB_NONNULL(2);

/* Lower-case hexadecimal of n bytes, with a closing NUL: 2 n + 1 chars. */
void tb_text_hex(const uint8_t *bytes, size_t n, char *out) TB_NONNULL(1, 3);

/* Reads exactly n bytes of it; false: it is none. */
bool tb_text_unhex(const char *text, uint8_t *out, size_t n)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
