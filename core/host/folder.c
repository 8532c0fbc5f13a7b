#include "host/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/spare.h"

#define FORMAT_BYTES_MAX 64
#define LOCK_BYTES_MAX   (24 + TB_HOLDER_BYTES)

/* "tributaryd gc": what this process is; set once. */
static struct {
    const char *program, *verb;
} own_work = {"", ""};

void tb_folder_set_work(const char *program, const char *verb)
{
    own_work.program = program;
    own_work.verb = verb;
}

/* What each item is called, which kind of folder has it, whether it is a folder
 * that is made with the rest. */
static const struct item {
    const char *name;
    bool coordinator, client, is_dir;
} items[TB_ITEM_COUNT] = {
    [TB_ITEM_CONFIG] = {"settings.yaml", true, true, false},
    [TB_ITEM_SIGN_KEY] = {"keys/sign.key", true, true, false},
    [TB_ITEM_CURVE_KEY] = {"keys/curve.key", true, true, false},
    [TB_ITEM_NEXT_SIGN_KEY] = {"keys/next-sign.key", true, true, false},
    [TB_ITEM_NEXT_CURVE_KEY] = {"keys/next-curve.key", true, true, false},
    [TB_ITEM_CONTROL] = {"control", true, true, false},
    [TB_ITEM_BLOBS] = {"blobs", true, true, true},
    [TB_ITEM_ROOT_KEY] = {"keys/root.key", true, false, false},
    [TB_ITEM_CERTIFICATE] = {"certificate", true, false, false},
    [TB_ITEM_JOURNAL] = {"journal.sqlite", true, false, false},
    [TB_ITEM_HEAD] = {"HEAD", true, false, false},
    [TB_ITEM_SPOOL] = {"spool", true, false, true},
    [TB_ITEM_CHECKPOINTS] = {"checkpoints", true, false, true},
    [TB_ITEM_RUNS] = {"runs", true, false, true},
    [TB_ITEM_ENDPOINTS] = {"endpoints", true, false, false},
    [TB_ITEM_FEDERATION] = {"federation", false, true, false},
    [TB_ITEM_STATE] = {"state", false, true, false},
    [TB_ITEM_SEALED] = {"sealed", false, true, true},
    [TB_ITEM_MODELS] = {"models", false, true, true},
};

static const struct kind {
    const char *format;  /* content of FORMAT */
    const char *family;  /* its first word, of any version */
    const char *program; /* who works in it */
    const char *make;    /* how the user makes one */
} kinds[] = {
    [TB_FOLDER_COORDINATOR] = {"tributary-coordinator 1\n",
                               "tributary-coordinator ", "tributaryd",
                               "tributaryd init"},
    [TB_FOLDER_CLIENT] = {"tributary-client 1\n", "tributary-client ",
                          "tributary", "tributary join"},
};

struct tb_folder {
    char *dir;
    char *paths[TB_ITEM_COUNT]; /* NULL: not an item of this kind */
    int lock_fd;                /* -1: not locked */
};

static bool has(tb_folder_kind kind, tb_folder_item item)
{
    return kind == TB_FOLDER_COORDINATOR ? items[item].coordinator
                                         : items[item].client;
}

static tb_rc make_sub(const char *dir, const char *name, tb_err *err)
{
    char *path = tb_file_join(dir, name);
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s/%s", dir, name);
    }
    tb_rc rc = tb_file_make_dir(path, 0700, err);
    tb_mem_free(path);
    return rc;
}

/* FORMAT is written last: a folder that has it is whole. */
static tb_rc write_format(const char *dir, const char *format, tb_err *err)
{
    char *path = tb_file_join(dir, "FORMAT");
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", dir);
    }
    tb_rc rc = tb_file_write(path, format, strlen(format), 0600, err);
    tb_mem_free(path);
    return rc;
}

/* Whether a killed tb_folder_create may have left it there. */
static bool is_ours(const char *name, tb_folder_kind kind)
{
    static const char unfinished[] = "FORMAT.tmp-";
    bool ours = strcmp(name, "keys") == 0 ||
                strncmp(name, unfinished, sizeof unfinished - 1) == 0;
    for (int i = 0; i < TB_ITEM_COUNT && !ours; i++) {
        ours = items[i].is_dir && has(kind, (tb_folder_item)i) &&
               strcmp(name, items[i].name) == 0;
    }
    return ours;
}

/* Makes dir itself; one that exists must be empty, or what we had begun. */
static tb_rc make_empty(const char *dir, tb_folder_kind kind, tb_err *err)
{
    tb_rc rc = tb_file_make_dir(dir, 0700, err);
    if (rc != TB_OK) {
        return rc;
    }
    DIR *entries = tb_spare_opendir(dir);
    if (entries == NULL) {
        return tb_fail_errno(err, errno, "%s", dir);
    }
    for (struct dirent *e; rc == TB_OK && (e = readdir(entries)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            !is_ours(e->d_name, kind)) {
            rc = tb_fail(err, TB_E_EXISTS,
                         "%s: is not empty; name a new folder", dir);
        }
    }
    (void)closedir(entries);
    return rc;
}

tb_rc tb_folder_create(const char *dir, tb_folder_kind kind, tb_err *err)
{
    tb_rc rc = make_empty(dir, kind, err);
    if (rc == TB_OK) {
        rc = make_sub(dir, "keys", err);
    }
    for (int i = 0; i < TB_ITEM_COUNT && rc == TB_OK; i++) {
        if (items[i].is_dir && has(kind, (tb_folder_item)i)) {
            rc = make_sub(dir, items[i].name, err);
        }
    }
    if (rc == TB_OK) {
        rc = write_format(dir, kinds[kind].format, err);
    }
    return rc;
}

static tb_rc check_format(const char *dir, tb_folder_kind kind, tb_err *err)
{
    char text[FORMAT_BYTES_MAX + 1] = {0};
    tb_buf buf;
    tb_buf_init(&buf, FORMAT_BYTES_MAX);
    char *path = tb_file_join(dir, "FORMAT");
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", dir);
    }
    tb_rc rc = tb_file_read(&buf, path, err);
    if (rc == TB_E_NOT_FOUND) {
        rc = tb_fail(err, rc, "%s: no folder of %s; make one with '%s'", dir,
                     kinds[kind].program, kinds[kind].make);
    }
    if (rc != TB_OK) {
        goto done;
    }
    memcpy(text, buf.data, buf.len);
    if (strcmp(text, kinds[kind].format) == 0) {
        goto done;
    }
    if (strncmp(text, kinds[kind].family, strlen(kinds[kind].family)) == 0) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "%s: was written by another version of %s (%s says so)",
                     dir, kinds[kind].program, path);
    } else {
        rc = tb_fail(err, TB_E_MISMATCH, "%s: is not a folder of %s", dir,
                     kinds[kind].program);
    }
done:
    tb_buf_release(&buf);
    tb_mem_free(path);
    return rc;
}

/* "<process> <program> <verb>", or the process alone: of an older version,
 * where it nearly always was the one that serves. */
static void read_holder(int fd, tb_folder_holder *out)
{
    static const char run[] = " run";
    char text[LOCK_BYTES_MAX + 1] = {0};
    *out = (tb_folder_holder){.serves = true};
    if (pread(fd, text, sizeof text - 1, 0) <= 0 ||
        sscanf(text, "%ld %47[a-z -]", &out->pid, out->work) < 1) {
        return;
    }
    size_t n = strlen(out->work);
    if (n > 0) {
        out->serves = n >= sizeof run &&
                      strcmp(out->work + n - (sizeof run - 1), run) == 0;
    }
}

_Static_assert(TB_HOLDER_BYTES == 48, "as sscanf reads it");

static tb_rc tell_holder(const tb_folder *folder, tb_folder_kind kind, int fd,
                         tb_err *err)
{
    tb_folder_holder h;
    read_holder(fd, &h);
    return h.serves
               ? tb_fail(err, TB_E_BUSY,
                         "%s: %s runs in this folder already (process %ld)",
                         folder->dir, kinds[kind].program, h.pid)
               : tb_fail(err, TB_E_BUSY,
                         "%s: `%s` is at work in this folder (process %ld): "
                         "wait until it has ended, and try again",
                         folder->dir, h.work, h.pid);
}

static tb_rc write_holder(int fd, const char *path, tb_err *err)
{
    char text[LOCK_BYTES_MAX];
    int n = snprintf(text, sizeof text, "%ld%s%s%s%s\n", (long)getpid(),
                     own_work.program[0] != '\0' ? " " : "", own_work.program,
                     own_work.verb[0] != '\0' ? " " : "", own_work.verb);
    n = n < (int)sizeof text ? n : (int)sizeof text - 1;
    return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n
               ? TB_OK
               : tb_fail_errno(err, errno, "%s", path);
}

static tb_rc lock(tb_folder *folder, tb_folder_kind kind, tb_err *err)
{
    char *path = tb_file_join(folder->dir, "LOCK");
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", folder->dir);
    }
    tb_rc rc = TB_OK;
    int fd =
        tb_spare_open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        rc = tb_fail_errno(err, errno, "%s", path);
        goto done;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        rc = errno == EWOULDBLOCK ? tell_holder(folder, kind, fd, err)
                                  : tb_fail_errno(err, errno, "%s", path);
        goto done;
    }
    rc = write_holder(fd, path, err);
    if (rc == TB_OK) {
        folder->lock_fd = fd;
        fd = -1;
    }
done:
    if (fd >= 0) {
        (void)close(fd);
    }
    tb_mem_free(path);
    return rc;
}

tb_rc tb_folder_open(tb_folder **out, const char *dir, tb_folder_kind kind,
                     tb_folder_use use, tb_err *err)
{
    *out = NULL;
    tb_rc rc = check_format(dir, kind, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_folder *folder = tb_mem_array(1, sizeof *folder);
    if (folder == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", dir);
    }
    folder->lock_fd = -1;
    folder->dir = tb_mem_text(dir);
    bool whole = folder->dir != NULL;
    for (int i = 0; i < TB_ITEM_COUNT && whole; i++) {
        if (has(kind, (tb_folder_item)i)) {
            folder->paths[i] = tb_file_join(dir, items[i].name);
            whole = folder->paths[i] != NULL;
        }
    }
    if (!whole) {
        rc = tb_fail(err, TB_E_NOMEM, "%s", dir);
    } else if (use == TB_FOLDER_LOCK) {
        rc = lock(folder, kind, err);
    }
    if (rc == TB_OK) {
        *out = folder;
        folder = NULL;
    }
    tb_folder_close(&folder);
    return rc;
}

void tb_folder_close(tb_folder **folder)
{
    tb_folder *f = *folder;
    *folder = NULL;
    if (f == NULL) {
        return;
    }
    if (f->lock_fd >= 0) {
        (void)close(f->lock_fd); /* gives the lock back */
    }
    for (int i = 0; i < TB_ITEM_COUNT; i++) {
        tb_mem_free(f->paths[i]);
    }
    tb_mem_free(f->dir);
    tb_mem_free(f);
}

const char *tb_folder_path(const tb_folder *folder, tb_folder_item item)
{
    return folder->paths[item];
}

const char *tb_folder_dir(const tb_folder *folder)
{
    return folder->dir;
}

bool tb_folder_locked(const tb_folder *folder)
{
    return folder->lock_fd >= 0;
}

/* The lock file to read, and what it says; -1: there is none. */
static int open_holder(const tb_folder *folder, tb_folder_holder *out)
{
    char *path = tb_file_join(folder->dir, "LOCK");
    int fd = path != NULL
                 ? tb_spare_open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0)
                 : -1;
    *out = (tb_folder_holder){0};
    if (fd >= 0) {
        read_holder(fd, out);
    }
    tb_mem_free(path);
    return fd;
}

void tb_folder_holder_get(const tb_folder *folder, tb_folder_holder *out)
{
    int fd = open_holder(folder, out);
    if (fd >= 0) {
        (void)close(fd);
    }
}

bool tb_folder_in_use(const tb_folder *folder)
{
    tb_folder_holder h;
    int fd = open_holder(folder, &h);
    /* The lock is tried only if its holder lives: trying it would stop a
     * program that starts just now. */
    bool in_use = h.pid > 0 && (kill((pid_t)h.pid, 0) == 0 || errno == EPERM) &&
                  flock(fd, LOCK_SH | LOCK_NB) != 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return in_use;
}

char *tb_folder_master_path(const char *dir)
{
    static const char suffix[] = ".master-key";
    size_t len = strlen(dir);
    while (len > 1 && dir[len - 1] == '/') {
        len--;
    }
    char *path = tb_mem_array(len + sizeof suffix, 1);
    if (path != NULL) {
        memcpy(path, dir, len);
        memcpy(path + len, suffix, sizeof suffix);
    }
    return path;
}
