#include "crypto/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/spare.h"

#define VERSION    1u
#define AT_VERSION 4
#define AT_KIND    8
#define AT_SECRET  16
#define AT_CHECK   48

static const char magic[4] = {'T', 'B', 'K', 'Y'};

static const char *const kind_names[TB_KEYFILE_KIND_END] = {
    [TB_KEYFILE_SIGN] = "signing",
    [TB_KEYFILE_BOX] = "CURVE",
    [TB_KEYFILE_MASTER] = "master",
};

/* A secret that others may read, or have put there, is none. */
static tb_rc check_file(int fd, const char *path, tb_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return tb_fail(err, TB_E_DENIED, "%s: not a regular file", path);
    }
    if (st.st_uid != geteuid()) {
        return tb_fail(err, TB_E_DENIED,
                       "%s: belongs to user %lu, not to this user (%lu)", path,
                       (unsigned long)st.st_uid, (unsigned long)geteuid());
    }
    if ((st.st_mode & 077) != 0) {
        return tb_fail(err, TB_E_DENIED,
                       "%s: mode %04o lets others at the key; after making "
                       "sure that nobody took it: chmod 600 %s",
                       path, (unsigned)(st.st_mode & 07777), path);
    }
    return TB_OK;
}

/* Reads up to cap bytes. */
static tb_rc read_bytes(int fd, uint8_t *out, size_t cap, size_t *len,
                        const char *path, tb_err *err)
{
    *len = 0;
    while (*len < cap) {
        ssize_t n = read(fd, out + *len, cap - *len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return tb_fail_errno(err, errno, "%s", path);
        }
        if (n == 0) {
            break;
        }
        *len += (size_t)n;
    }
    return TB_OK;
}

static tb_rc check_bytes(const uint8_t *bytes, size_t len, tb_keyfile_kind kind,
                         const char *path, tb_err *err)
{
    if (len < AT_KIND || memcmp(bytes, magic, sizeof magic) != 0) {
        return tb_fail(err, TB_E_MALFORMED, "%s: not a key file", path);
    }
    uint32_t version = tb_le32_get(bytes + AT_VERSION);
    if (version != VERSION) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "%s: key file version %u, this program knows %u", path,
                       version, VERSION);
    }
    if (len != TB_KEY_FILE_BYTES) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: a key file has %d bytes, this has %s", path,
                       TB_KEY_FILE_BYTES,
                       len < TB_KEY_FILE_BYTES ? "fewer" : "more");
    }
    tb_hash check = tb_hash_of(bytes, AT_CHECK);
    if (sodium_memcmp(check.bytes, bytes + AT_CHECK, TB_HASH_BYTES) != 0) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: altered or damaged; restore it from a copy", path);
    }
    uint32_t found = tb_le32_get(bytes + AT_KIND);
    if (found == 0 || found >= TB_KEYFILE_KIND_END ||
        tb_le32_get(bytes + AT_KIND + 4) != 0) {
        return tb_fail(err, TB_E_MALFORMED, "%s: unknown kind of key", path);
    }
    if (found != (uint32_t)kind) {
        return tb_fail(err, TB_E_MISMATCH,
                       "%s: holds the secret of a %s key, not of a %s key",
                       path, kind_names[found], kind_names[kind]);
    }
    return TB_OK;
}

tb_rc tb_keyfile_read(uint8_t secret[static TB_KEY_SEED_BYTES],
                      tb_keyfile_kind kind, const char *path, tb_err *err)
{
    uint8_t bytes[TB_KEY_FILE_BYTES + 1]; /* one more shows a longer file */
    size_t len = 0;
    int fd =
        tb_spare_open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0 && errno == ELOOP) {
        return tb_fail(err, TB_E_DENIED,
                       "%s: a symbolic link; name the key file itself", path);
    }
    if (fd < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    tb_rc rc = check_file(fd, path, err);
    if (rc != TB_OK) {
        goto done;
    }
    rc = read_bytes(fd, bytes, sizeof bytes, &len, path, err);
    if (rc != TB_OK) {
        goto done;
    }
    rc = check_bytes(bytes, len, kind, path, err);
    if (rc == TB_OK) {
        memcpy(secret, bytes + AT_SECRET, TB_KEY_SEED_BYTES);
    }
done:
    sodium_memzero(bytes, sizeof bytes);
    (void)close(fd);
    return rc;
}

tb_rc tb_keyfile_write(const uint8_t secret[static TB_KEY_SEED_BYTES],
                       tb_keyfile_kind kind, const char *path, tb_err *err)
{
    struct stat st;
    if (lstat(path, &st) == 0) {
        return tb_fail(err, TB_E_EXISTS,
                       "%s: is there already; a key is never overwritten",
                       path);
    }
    uint8_t bytes[TB_KEY_FILE_BYTES] = {0};
    memcpy(bytes, magic, sizeof magic);
    tb_le32_put(bytes + AT_VERSION, VERSION);
    tb_le32_put(bytes + AT_KIND, (uint32_t)kind);
    memcpy(bytes + AT_SECRET, secret, TB_KEY_SEED_BYTES);
    tb_hash check = tb_hash_of(bytes, AT_CHECK);
    memcpy(bytes + AT_CHECK, check.bytes, sizeof check.bytes);
    tb_rc rc = tb_file_write(path, bytes, sizeof bytes, 0600, err);
    sodium_memzero(bytes, sizeof bytes);
    return rc;
}
