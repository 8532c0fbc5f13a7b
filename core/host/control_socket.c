#include "host/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

/* An address holds 107 bytes of path: a longer one is named through the open
 * folder, whose descriptor is then the caller's to close. */
static tb_rc address_of(const char *path, struct sockaddr_un *out, int *dir,
                        tb_err *err)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    *dir = -1;
    if (strlen(path) < sizeof out->sun_path) {
        memcpy(out->sun_path, path, strlen(path));
        return TB_OK;
    }
    const char *slash = strrchr(path, '/');
    char *folder = tb_mem_text(path);
    if (folder == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    folder[slash != NULL ? slash - path : 0] = '\0';
    *dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    tb_mem_free(folder);
    if (*dir < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    int n = snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%s",
                     *dir, slash != NULL ? slash + 1 : path);
    if (n < 0 || (size_t)n >= sizeof out->sun_path) {
        (void)close(*dir);
        *dir = -1;
        return tb_fail(err, TB_E_LIMIT, "%s: the name is too long", path);
    }
    return TB_OK;
}

static tb_rc fail_connect(const char *path, int errnum, tb_err *err)
{
    if (errnum == ENOENT || errnum == ECONNREFUSED) {
        return tb_fail(err, TB_E_NOT_FOUND, "%s: no daemon runs there", path);
    }
    if (errnum == EACCES || errnum == EPERM) {
        return tb_fail(err, TB_E_DENIED, "%s: belongs to another user", path);
    }
    return tb_fail_errno(err, errnum, "%s", path);
}

tb_rc tb_control_socket(int *out, const char *path, bool server, tb_err *err)
{
    struct sockaddr_un address;
    int dir;
    tb_rc rc = address_of(path, &address, &dir, err);
    if (rc != TB_OK) {
        return rc;
    }
    int type = SOCK_STREAM | SOCK_CLOEXEC | (server ? SOCK_NONBLOCK : 0);
    int fd = socket(AF_UNIX, type, 0);
    const struct sockaddr *at = (const struct sockaddr *)&address;
    if (fd < 0) {
        rc = tb_fail_errno(err, errno, "%s", path);
    } else if (server && bind(fd, at, sizeof address) != 0) {
        rc = tb_fail_errno(err, errno, "%s", path);
    } else if (!server && connect(fd, at, sizeof address) != 0) {
        rc = fail_connect(path, errno, err);
    }
    if (rc == TB_OK) {
        *out = fd;
    } else if (fd >= 0) {
        (void)close(fd);
    }
    if (dir >= 0) {
        (void)close(dir);
    }
    return rc;
}

bool tb_control_peer_is_us(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}
