#include "sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "crypto/seal.h"
#include "fed/update.h"

enum {
    VERSION = 1,
    HEAD_BYTES = 16,
    LENGTHS_AT = HEAD_BYTES + TB_UPLOAD_HEADER_BYTES,
    UPLOAD_ID_AT = 36 /* within the seal's header, see crypto/seal.h */
};

static const uint8_t magic[4] = {'T', 'B', 'S', 'F'};

/* Head, header of the seal and lengths, all known before the first block. */
static tb_rc put_front(tb_buf *out, const tb_round_config *config,
                       const uint8_t *header, tb_err *err)
{
    uint32_t n = tb_round_config_blocks(config);
    tb_rc rc = tb_buf_put(out, magic, sizeof magic, err);
    if (rc == TB_OK) {
        rc = tb_buf_put_u32(out, VERSION, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put_u32(out, n, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put_u32(out, 0, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(out, header, TB_UPLOAD_HEADER_BYTES, err);
    }
    for (uint32_t i = 0; rc == TB_OK && i < n; i++) {
        size_t len = tb_update_block_bytes(config, i) + TB_SEAL_TAG_BYTES;
        rc = tb_buf_put_u32(out, (uint32_t)len, err);
    }
    return rc;
}

static tb_rc write_blocks(int fd, const sealed_options *o, tb_sealer *sealer,
                          tb_err *err)
{
    uint32_t n = tb_round_config_blocks(o->config);
    uint8_t *block = tb_mem_array(TB_BLOCK_BYTES_MAX + TB_SEAL_TAG_BYTES, 1);
    tb_rc rc =
        block != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "seal: no memory");
    for (uint32_t i = 0; rc == TB_OK && i < n; i++) {
        size_t len = tb_update_block_bytes(o->config, i);
        rc = tb_update_block_encode(o->config, i, o->values, o->weight, block,
                                    err);
        if (rc == TB_OK) {
            rc = tb_sealer_next(sealer, block, len, block, err);
        }
        if (rc == TB_OK) {
            rc = tb_file_write_fd(fd, block, len + TB_SEAL_TAG_BYTES, err);
        }
    }
    tb_mem_free(block);
    return rc;
}

/* All of the file into fd, synced. */
static tb_rc write_all(int fd, const sealed_options *o, tb_sealer *sealer,
                       tb_err *err)
{
    tb_buf front;
    tb_buf_init(&front, LENGTHS_AT + 4 * (size_t)TB_BLOCKS_MAX);
    tb_rc rc = put_front(&front, o->config, tb_sealer_header(sealer), err);
    if (rc == TB_OK) {
        rc = tb_file_write_fd(fd, front.data, front.len, err);
    }
    if (rc == TB_OK) {
        rc = write_blocks(fd, o, sealer, err);
    }
    if (rc == TB_OK && fsync(fd) != 0) {
        rc = tb_fail_errno(err, errno, "cannot sync a sealed update");
    }
    tb_buf_release(&front);
    return rc;
}

static tb_rc write_file(const char *path, const sealed_options *o,
                        tb_sealer *sealer, tb_err *err)
{
    size_t n_tmp = strlen(path) + sizeof ".tmp";
    char *tmp = tb_mem_array(n_tmp, 1);
    char *dir = tb_mem_text(path); /* dirname writes into it */
    tb_rc rc = TB_OK;
    int fd = -1;
    if (tmp == NULL || dir == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "seal: no memory");
        goto done;
    }
    (void)snprintf(tmp, n_tmp, "%s.tmp", path);
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        rc = tb_fail_errno(err, errno, "cannot write %s", tmp);
        goto done;
    }
    rc = write_all(fd, o, sealer, err);
    if (rc == TB_OK && rename(tmp, path) != 0) {
        rc = tb_fail_errno(err, errno, "cannot rename %s", tmp);
    }
    if (rc == TB_OK) {
        rc = tb_file_sync_dir(dirname(dir), err);
    } else {
        (void)unlink(tmp);
    }
done:
    if (fd >= 0) {
        (void)close(fd);
    }
    tb_mem_free(tmp);
    tb_mem_free(dir);
    return rc;
}

tb_rc sealed_write(const char *path, const sealed_options *o, tb_sealed *out,
                   tb_err *err)
{
    const tb_seal_binding to = {.config = *o->hash, .client = o->client->text};
    uint32_t n = tb_round_config_blocks(o->config);
    tb_sealer *sealer = NULL;
    tb_rc rc = tb_sealer_new(&sealer, o->config->aggregation_key, &to, n, err);
    if (rc == TB_OK) {
        rc = write_file(path, o, sealer, err);
    }
    if (rc == TB_OK) {
        rc = tb_sealer_end(sealer, &out->update, err);
    }
    if (rc == TB_OK) {
        memcpy(out->header, tb_sealer_header(sealer), sizeof out->header);
        memcpy(out->upload.bytes, out->header + UPLOAD_ID_AT,
               sizeof out->upload.bytes);
        out->n_blocks = n;
        tb_update_sign(out->signature, o->key, o->hash, &out->update);
    }
    tb_sealer_free(&sealer);
    return rc;
}

static tb_rc read_at(int fd, uint64_t offset, uint8_t *out, size_t n,
                     tb_err *err)
{
    while (n > 0) {
        ssize_t got = pread(fd, out, n, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return tb_fail_errno(err, errno, "cannot read a sealed update");
        }
        if (got == 0) {
            return tb_fail(err, TB_E_MALFORMED, "a sealed update is cut short");
        }
        out += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return TB_OK;
}

/* Where block index lies. */
static tb_rc find_block(int fd, const tb_upload_id *upload, uint32_t index,
                        uint64_t *offset, uint32_t *len, tb_err *err)
{
    uint8_t front[LENGTHS_AT];
    uint8_t length[4];
    tb_rc rc = read_at(fd, 0, front, sizeof front, err);
    if (rc != TB_OK) {
        return rc;
    }
    uint32_t n = tb_le32_get(front + 8);
    if (memcmp(front, magic, sizeof magic) != 0 ||
        tb_le32_get(front + 4) != VERSION || n == 0 || n > TB_BLOCKS_MAX ||
        index >= n) {
        return tb_fail(err, TB_E_MALFORMED, "not a sealed update");
    }
    if (memcmp(front + HEAD_BYTES + UPLOAD_ID_AT, upload->bytes,
               sizeof upload->bytes) != 0) {
        return tb_fail(err, TB_E_NOT_FOUND, "a sealed update of another id");
    }
    *offset = LENGTHS_AT + 4 * (uint64_t)n;
    for (uint32_t i = 0; rc == TB_OK && i <= index; i++) {
        rc = read_at(fd, LENGTHS_AT + 4 * (uint64_t)i, length, 4, err);
        *len = tb_le32_get(length);
        *offset += i < index ? *len : 0;
    }
    if (rc == TB_OK && *len > TB_PAYLOAD_BYTES_MAX) {
        rc = tb_fail(err, TB_E_MALFORMED, "a sealed block of %u bytes", *len);
    }
    return rc;
}

tb_rc sealed_read(const char *path, const tb_upload_id *upload, uint32_t index,
                  tb_buf *out, tb_err *err)
{
    uint64_t offset = 0;
    uint32_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return tb_fail_errno(err, errno, "cannot open %s", path);
    }
    tb_rc rc = find_block(fd, upload, index, &offset, &len, err);
    if (rc == TB_OK) {
        rc = tb_buf_reserve(out, len, err);
    }
    if (rc == TB_OK) {
        rc = read_at(fd, offset, out->data + out->len, len, err);
    }
    if (rc == TB_OK) {
        out->len += len;
    }
    (void)close(fd);
    return rc;
}
