/* core/base/spare.h - descriptors that only our own opens may take. A library
 * that accepts connections takes descriptors until the soft limit stops it; it
 * is kept below the limit that we have, and an open of ours that finds none
 * raises it for the moment of that call. Any thread. */
#ifndef TB_BASE_SPARE_H
#define TB_BASE_SPARE_H

#include <dirent.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* From now on `spare` of the process's `limit` descriptors are for the calls
 * below. 0: for everybody. Errors: IO. */
tb_rc tb_spare_keep(uint64_t limit, uint64_t spare, tb_err *err) TB_MUST_CHECK;

/* open(2), openat(2): a descriptor, or -1 and errno. */
int tb_spare_open(const char *path, int flags, mode_t mode) TB_NONNULL(1);
int tb_spare_openat(int dir, const char *path, int flags, mode_t mode)
    TB_NONNULL(2);

/* mkostemp(3), closed on exec. path ends in XXXXXX, and is written to. */
int tb_spare_temporary(char *path) TB_NONNULL(1);

/* opendir(3). */
DIR *tb_spare_opendir(const char *path) TB_NONNULL(1);

/* accept4(2) of a peer whose address does not matter. */
int tb_spare_accept(int fd, int flags);

#endif
