#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define READ_STEP_BYTES ((size_t)1 << 20)

static tb_rc read_fd(tb_buf *out, int fd, const char *path, tb_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    if (S_ISDIR(st.st_mode)) {
        return tb_fail(err, TB_E_IO, "%s: is a folder, not a file", path);
    }
    if (st.st_size > 0 && (uint64_t)st.st_size > out->max - out->len) {
        return tb_fail(err, TB_E_LIMIT, "%s: %lld bytes, at most %zu are read",
                       path, (long long)st.st_size, out->max - out->len);
    }
    size_t step = st.st_size > 0 ? (size_t)st.st_size : 0;
    for (;;) {
        /* The size is only a hint: the file may be a pipe, or grow. */
        size_t room = out->max - out->len;
        size_t ask = step > 0 ? step : READ_STEP_BYTES;
        ask = ask < room ? ask : room;
        uint8_t probe[1];
        tb_rc rc = tb_buf_reserve(out, ask, err);
        if (rc != TB_OK) {
            return tb_err_prefix(err, rc, "%s", path);
        }
        ssize_t n = ask > 0 ? read(fd, out->data + out->len, ask)
                            : read(fd, probe, sizeof probe);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return tb_fail_errno(err, errno, "%s", path);
        }
        if (n == 0) {
            return TB_OK;
        }
        if (ask == 0) {
            return tb_fail(err, TB_E_LIMIT, "%s: over %zu bytes", path,
                           out->max);
        }
        out->len += (size_t)n;
        step = (size_t)n < step ? step - (size_t)n : 0;
    }
}

tb_rc tb_file_read(tb_buf *out, const char *path, tb_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    size_t before = out->len;
    tb_rc rc = read_fd(out, fd, path, err);
    if (rc != TB_OK) {
        out->len = before;
    }
    (void)close(fd);
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

/* Writes and syncs a new file at path. */
static tb_rc write_new(const char *path, const void *bytes, size_t len,
                       mode_t mode, tb_err *err)
{
    int fd =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    tb_rc rc = TB_OK;
    if (fchmod(fd, mode) != 0) { /* a file left over may have another mode */
        rc = tb_fail_errno(err, errno, "%s", path);
        goto done;
    }
    rc = tb_file_write_fd(fd, bytes, len, err);
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
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return tb_file_sync_dir(".", err);
    }
    char *dir = tb_mem_text(path);
    if (dir == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    dir[slash == path ? 1 : slash - path] = '\0';
    tb_rc rc = tb_file_sync_dir(dir, err);
    tb_mem_free(dir);
    return rc;
}

tb_rc tb_file_write(const char *path, const void *bytes, size_t len,
                    mode_t mode, tb_err *err)
{
    size_t size = strlen(path) + 32;
    char *tmp = tb_mem_array(size, 1);
    if (tmp == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    (void)snprintf(tmp, size, "%s.tmp-%ld", path, (long)getpid());
    tb_rc rc = write_new(tmp, bytes, len, mode, err);
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
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
        if (mkdir(path, mode) != 0 && errno != EEXIST) {
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
