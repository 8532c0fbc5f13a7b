#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/spare.h"

#define READ_STEP_BYTES 4096

/* One read of at most n bytes to the end of out, through EINTR; *got is 0 at
 * the end of the file. */
static tb_rc read_some(tb_buf *out, int fd, size_t n, size_t *got, tb_err *err)
{
    tb_rc rc = tb_buf_reserve(out, n, err);
    if (rc != TB_OK) {
        return rc;
    }
    ssize_t r = 0;
    do {
        r = read(fd, out->data + out->len, n);
    } while (r < 0 && errno == EINTR);
    if (r < 0) {
        return tb_fail_errno(err, errno, "read");
    }
    *got = (size_t)r;
    out->len += (size_t)r;
    return TB_OK;
}

/* Whether fd has nothing more; over the maximum is the one error. */
static tb_rc read_end(const tb_buf *out, int fd, tb_err *err)
{
    uint8_t byte[1];
    ssize_t r = 0;
    do {
        r = read(fd, byte, sizeof byte);
    } while (r < 0 && errno == EINTR);
    if (r < 0) {
        return tb_fail_errno(err, errno, "read");
    }
    return r == 0 ? TB_OK
                  : tb_fail(err, TB_E_LIMIT, "over %zu bytes", out->max);
}

static tb_rc read_fd(tb_buf *out, int fd, tb_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return tb_fail_errno(err, errno, "stat");
    }
    if (S_ISDIR(st.st_mode)) {
        return tb_fail(err, TB_E_USAGE, "is a folder, not a file");
    }
    size_t room = out->max - out->len;
    if (st.st_size > 0 && (uint64_t)st.st_size > room) {
        return tb_fail(err, TB_E_LIMIT, "%lld bytes, at most %zu are read",
                       (long long)st.st_size, room);
    }
    /* The size is only a hint: the file may be a pipe, or grow. One byte more
     * than it is asked for, so that one read finds the end. */
    size_t step = (size_t)st.st_size + 1;
    step = step > READ_STEP_BYTES ? step : READ_STEP_BYTES;
    for (size_t got = 1; got > 0;) {
        room = out->max - out->len;
        if (room == 0) {
            return read_end(out, fd, err);
        }
        size_t ready = out->cap - out->len;
        size_t ask = ready > 0 && step == READ_STEP_BYTES ? ready : step;
        tb_rc rc = read_some(out, fd, ask < room ? ask : room, &got, err);
        if (rc != TB_OK) {
            return rc;
        }
        step = READ_STEP_BYTES;
    }
    return TB_OK;
}

tb_rc tb_file_read(tb_buf *out, const char *path, tb_err *err)
{
    int fd = tb_spare_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    tb_rc rc = tb_file_read_fd(out, fd, err);
    (void)close(fd);
    return rc == TB_OK ? rc : tb_err_prefix(err, rc, "%s", path);
}

tb_rc tb_file_read_fd(tb_buf *out, int fd, tb_err *err)
{
    size_t before = out->len;
    tb_rc rc = read_fd(out, fd, err);
    if (rc != TB_OK) {
        out->len = before;
    }
    return rc;
}

tb_rc tb_file_write_fd(int fd, const void *bytes, size_t len, tb_err *err)
{
    const uint8_t *at = bytes;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return tb_fail_errno(err, errno, "write of %zu bytes", len);
        }
        at += n;
        len -= (size_t)n;
    }
    return TB_OK;
}

tb_rc tb_file_write_part(int fd, const tb_file_part *part, tb_err *err)
{
    static const uint8_t zeros[4096];
    if (part->bytes != NULL) {
        return tb_file_write_fd(fd, part->bytes, part->len, err);
    }
    tb_rc rc = TB_OK;
    for (size_t left = part->len; rc == TB_OK && left > 0;) {
        size_t n = left < sizeof zeros ? left : sizeof zeros;
        rc = tb_file_write_fd(fd, zeros, n, err);
        left -= n;
    }
    return rc;
}

/* Writes and syncs a new file tmp; errors name path, what the caller asked
 * for. */
static tb_rc write_new(const char *tmp, const char *path,
                       const tb_file_part *parts, size_t n_parts, mode_t mode,
                       tb_err *err)
{
    int fd = tb_spare_open(
        tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    tb_rc rc = TB_OK;
    if (fchmod(fd, mode) != 0) { /* a file left over may have another mode */
        rc = tb_fail_errno(err, errno, "%s", path);
        goto done;
    }
    for (size_t i = 0; rc == TB_OK && i < n_parts; i++) {
        rc = tb_file_write_part(fd, &parts[i], err);
    }
    if (rc == TB_OK && fsync(fd) != 0) {
        rc = tb_fail_errno(err, errno, "fsync");
    }
    if (rc != TB_OK) {
        rc = tb_err_prefix(err, rc, "%s", path);
    }
done:
    if (close(fd) != 0 && rc == TB_OK) {
        rc = tb_fail_errno(err, errno, "%s", path);
    }
    return rc;
}

static tb_rc sync_parent(const char *path, tb_err *err)
{
    char *dir = tb_file_folder(path);
    if (dir == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    tb_rc rc = tb_file_sync_dir(dir, err);
    tb_mem_free(dir);
    return rc;
}

tb_rc tb_file_write(const char *path, const void *bytes, size_t len,
                    mode_t mode, tb_err *err)
{
    const tb_file_part part = {bytes, len};
    return tb_file_write_parts(path, &part, 1, mode, err);
}

tb_rc tb_file_write_parts(const char *path, const tb_file_part *parts,
                          size_t n_parts, mode_t mode, tb_err *err)
{
    static atomic_ulong count; /* each write has a temporary file of its own */
    size_t size = strlen(path) + 64;
    char *tmp = tb_mem_array(size, 1);
    if (tmp == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    (void)snprintf(tmp, size, "%s.tmp-%ld-%lu", path, (long)getpid(),
                   atomic_fetch_add(&count, 1));
    tb_rc rc = write_new(tmp, path, parts, n_parts, mode, err);
    if (rc == TB_OK && rename(tmp, path) != 0) {
        rc = tb_fail_errno(err, errno, "%s", path);
    }
    if (rc == TB_OK) {
        rc = sync_parent(path, err);
    } else {
        (void)unlink(tmp);
    }
    tb_mem_free(tmp);
    return rc;
}

tb_rc tb_file_sync_dir(const char *dir, tb_err *err)
{
    int fd = tb_spare_open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        return tb_fail_errno(err, errno, "%s", dir);
    }
    tb_rc rc = TB_OK;
    if (fsync(fd) != 0) {
        rc = tb_fail_errno(err, errno, "fsync %s", dir);
    }
    (void)close(fd);
    return rc;
}

tb_rc tb_file_make_dir(const char *dir, mode_t mode, tb_err *err)
{
    if (dir[0] == '\0') {
        return tb_fail(err, TB_E_USAGE, "a folder's name is empty");
    }
    char *path = tb_mem_text(dir);
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", dir);
    }
    tb_rc rc = TB_OK;
    for (char *at = path + 1; rc == TB_OK; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char was = *at;
        *at = '\0';
        if (mkdir(path, mode) == 0) {
            rc = sync_parent(path, err);
        } else if (errno != EEXIST) {
            rc = tb_fail_errno(err, errno, "%s", path);
        }
        *at = was;
        if (was == '\0') {
            break;
        }
    }
    struct stat st;
    if (rc == TB_OK && (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))) {
        rc = tb_fail(err, TB_E_IO, "%s: is not a folder", path);
    }
    tb_mem_free(path);
    return rc;
}

bool tb_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

char *tb_file_join(const char *dir, const char *name)
{
    size_t size = strlen(dir) + strlen(name) + 2;
    char *path = tb_mem_array(size, 1);
    if (path != NULL) {
        (void)snprintf(path, size, "%s/%s", dir, name);
    }
    return path;
}

char *tb_file_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = tb_mem_text(slash != NULL ? path : ".");
    if (dir != NULL && slash != NULL) {
        dir[slash == path ? 1 : slash - path] = '\0';
    }
    return dir;
}

char *tb_file_beside(const char *path, const char *name)
{
    char *dir = tb_file_folder(path);
    char *out = dir != NULL ? tb_file_join(dir, name) : NULL;
    tb_mem_free(dir);
    return out;
}
