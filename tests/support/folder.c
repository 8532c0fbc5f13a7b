#include "support/folder.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "support/check.h"

int tb_test_folder_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    char *path = tb_file_join(base != NULL ? base : "/tmp", "tb-test-XXXXXX");
    if (path == NULL || mkdtemp(path) == NULL) {
        tb_mem_free(path);
        return -1;
    }
    *state = path;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind,
                      struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

int tb_test_folder_teardown(void **state)
{
    int rc = nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    tb_mem_free(*state);
    *state = NULL;
    return rc;
}

const char *tb_test_folder_path(const char *folder, const char *name)
{
    static char paths[8][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 8];
    int n = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    CHECK(n > 0 && n < PATH_MAX);
    return path;
}

const char *tb_test_folder_write(const char *folder, const char *name,
                                 const void *bytes, size_t len)
{
    tb_err err = {0};
    const char *path = tb_test_folder_path(folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_OK(tb_file_write_fd(fd, bytes, len, &err), err);
    CHECK(close(fd) == 0);
    return path;
}
