#include "host/descriptors.h"

#include "base/spare.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/resource.h>

#define RESERVED_MAX  256u
#define RESERVED_PART 4u
#define LIMIT_MAX     (1u << 24) /* more than any kernel gives one process */

tb_rc tb_descriptors_share(tb_descriptors *out, uint64_t limit, uint32_t wish,
                           tb_err *err)
{
    if (limit < TB_DESCRIPTORS_LEAST) {
        return tb_fail(
            err, TB_E_USAGE,
            "this process may open %" PRIu64
            " files, and needs %u and one a client: raise LimitNOFILE"
            " of the service, or `ulimit -n`",
            limit, TB_DESCRIPTORS_LEAST);
    }
    uint32_t n = limit < LIMIT_MAX ? (uint32_t)limit : LIMIT_MAX;
    uint32_t part = n / RESERVED_PART;
    out->limit = n;
    out->reserved = part < RESERVED_MAX ? part : RESERVED_MAX;
    out->connections = n - out->reserved;
    if (wish != 0 && wish < out->connections) {
        out->connections = wish;
    }
    return TB_OK;
}

tb_rc tb_descriptors_prepare(tb_descriptors *out, uint32_t wish, tb_err *err)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return tb_fail_errno(err, errno, "the limit of open files");
    }
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
        return tb_fail_errno(err, errno, "raising the limit of open files");
    }
    tb_rc rc = tb_descriptors_share(out, files.rlim_cur, wish, err);
    /* The other half is for what our own threads and libraries hold. */
    return rc == TB_OK ? tb_spare_keep(out->limit, out->reserved / 2, err) : rc;
}
