/* core/base/file.h - whole files: read under a limit, written atomically.
 * Blocking; for the drivers, never for core/fed. */
#ifndef TB_BASE_FILE_H
#define TB_BASE_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"

/* Appends the whole file to out (whose max bounds it). Errors: NOT_FOUND,
 * LIMIT (names the size), USAGE (is a folder), NOMEM, IO. */
tb_rc tb_file_read(tb_buf *out, const char *path, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The same of a file that is open, from where it stands. */
tb_rc tb_file_read_fd(tb_buf *out, int fd, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Writes path.tmp-<pid>-<count>, syncs it, renames it over path and syncs the
 * folder: after TB_OK the bytes survive a power cut, and no reader ever sees
 * half. On failure path is as it was, unless it was the folder that would not
 * sync. Several threads may write one path: the last wins. Errors: FULL, IO. */
tb_rc tb_file_write(const char *path, const void *bytes, size_t len,
                    mode_t mode, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* The same from several pieces of memory, one behind the other. */
typedef struct tb_file_part {
    const void *bytes; /* NULL: zeros */
    size_t len;
} tb_file_part;
tb_rc tb_file_write_parts(const char *path, const tb_file_part *parts,
                          size_t n_parts, mode_t mode, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Writes all of len bytes to fd, through EINTR and short writes. Errors: FULL,
 * IO. */
tb_rc tb_file_write_fd(int fd, const void *bytes, size_t len,
                       tb_err *err) TB_MUST_CHECK;
tb_rc tb_file_write_part(int fd, const tb_file_part *part, tb_err *err)
    TB_NONNULL(2) TB_MUST_CHECK;

/* fsync of a folder, after a rename or unlink in it. */
tb_rc tb_file_sync_dir(const char *dir, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Makes a folder and its missing parents, and syncs the folders they came into;
 * one that exists is fine. Errors: USAGE (empty name), FULL, IO. */
tb_rc tb_file_make_dir(const char *dir, mode_t mode, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Whether there is something at path that we may see. */
bool tb_file_exists(const char *path) TB_NONNULL(1);

/* A path "dir/name" for the caller to free, or NULL when out of memory. */
char *tb_file_join(const char *dir, const char *name)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The folder that path lies in, and the path of another name there; the same.
 */
char *tb_file_folder(const char *path) TB_NONNULL(1) TB_MUST_CHECK;
char *tb_file_beside(const char *path, const char *name)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
