/* A slot, at byte 0 and at byte 4096:
 * "TBHD" | version u32le = 1 | seq u64le | chain 32 | BLAKE2b-256 of these. */
#include "host/head.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/spare.h"

#define SLOT_STRIDE  4096 /* in different sectors */
#define SIGNED_BYTES 48
#define SLOT_BYTES   (SIGNED_BYTES + TB_HASH_BYTES)
#define FILE_BYTES   (SLOT_STRIDE + SLOT_BYTES)
#define VERSION      1u

static const uint8_t magic[4] = {'T', 'B', 'H', 'D'};

static void encode(uint8_t out[static SLOT_BYTES], uint64_t seq,
                   const tb_hash *chain)
{
    memcpy(out, magic, sizeof magic);
    tb_le32_put(out + 4, VERSION);
    tb_le64_put(out + 8, seq);
    memcpy(out + 16, chain->bytes, TB_HASH_BYTES);
    tb_hash check = tb_hash_of(out, SIGNED_BYTES);
    memcpy(out + SIGNED_BYTES, check.bytes, TB_HASH_BYTES);
}

static bool decode(const uint8_t in[static SLOT_BYTES], uint64_t *seq,
                   tb_hash *chain)
{
    tb_hash check = tb_hash_of(in, SIGNED_BYTES);
    if (memcmp(in, magic, sizeof magic) != 0 ||
        tb_le32_get(in + 4) != VERSION ||
        memcmp(in + SIGNED_BYTES, check.bytes, TB_HASH_BYTES) != 0) {
        return false;
    }
    *seq = tb_le64_get(in + 8);
    memcpy(chain->bytes, in + 16, TB_HASH_BYTES);
    return true;
}

tb_rc tb_head_create(const char *path, uint64_t seq, const tb_hash *chain,
                     tb_err *err)
{
    uint8_t bytes[FILE_BYTES] = {0};
    encode(bytes, seq, chain);
    encode(bytes + SLOT_STRIDE, seq, chain);
    return tb_file_write(path, bytes, sizeof bytes, 0600, err);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

tb_rc tb_head_check(const char *path, tb_err *err)
{
    uint64_t seq[2] = {0, 0};
    tb_hash chain;
    tb_buf file;
    tb_buf_init(&file, FILE_BYTES);
    tb_rc rc = tb_file_read(&file, path, err);
    if (rc == TB_OK && file.len != FILE_BYTES) {
        rc = tb_fail(err, TB_E_MALFORMED, "%s: %zu bytes instead of %d", path,
                     file.len, FILE_BYTES);
    }
    for (int slot = 0; slot < 2 && rc == TB_OK; slot++) {
        if (!decode(file.data + slot * SLOT_STRIDE, &seq[slot], &chain)) {
            rc = tb_fail(err, TB_E_MALFORMED,
                         "%s: slot %d was altered, or its writing was cut off",
                         path, slot);
        }
    }
    if (rc == TB_OK &&
        !is_zero(file.data + SLOT_BYTES, SLOT_STRIDE - SLOT_BYTES)) {
        rc = tb_fail(err, TB_E_MALFORMED, "%s: bytes between its slots", path);
    }
    tb_buf_release(&file);
    return rc == TB_E_LIMIT
               ? tb_fail(err, TB_E_MALFORMED, "%s: has grown", path)
               : rc;
}

static tb_rc read_slots(tb_head *head, const char *path, tb_err *err)
{
    uint8_t bytes[FILE_BYTES] = {0};
    ssize_t n = pread(head->fd, bytes, sizeof bytes, 0);
    if (n < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    bool found = false;
    for (int slot = 0; slot < 2; slot++) {
        uint64_t seq;
        tb_hash chain;
        if (decode(bytes + slot * SLOT_STRIDE, &seq, &chain) &&
            (!found || seq > head->seq)) {
            found = true;
            head->slot = slot;
            head->seq = seq;
            head->chain = chain;
        }
    }
    return found ? TB_OK
                 : tb_fail(err, TB_E_MALFORMED,
                           "%s: no valid head of the journal in it; restore "
                           "the folder from a copy",
                           path);
}

tb_rc tb_head_open(tb_head *head, const char *path, bool writer, tb_err *err)
{
    *head = (tb_head){.fd = -1};
    head->fd = tb_spare_open(path, (writer ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0);
    if (head->fd < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    tb_rc rc = read_slots(head, path, err);
    if (rc != TB_OK) {
        tb_head_close(head);
    }
    return rc;
}

void tb_head_close(tb_head *head)
{
    if (head->fd >= 0) {
        (void)close(head->fd);
    }
    head->fd = -1;
}

tb_rc tb_head_write(tb_head *head, uint64_t seq, const tb_hash *chain,
                    tb_err *err)
{
    uint8_t bytes[SLOT_BYTES];
    int slot = 1 - head->slot;
    encode(bytes, seq, chain);
    if (pwrite(head->fd, bytes, sizeof bytes, (off_t)slot * SLOT_STRIDE) !=
            (ssize_t)sizeof bytes ||
        fdatasync(head->fd) != 0) {
        return tb_fail_errno(err, errno, "writing the journal's head");
    }
    head->slot = slot;
    head->seq = seq;
    head->chain = *chain;
    return TB_OK;
}
