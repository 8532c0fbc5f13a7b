#include "disk.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "base/text.h"
#include "crypto/seal.h"
#include "fed/codec.h"
#include "fed/update.h"
#include "host/spool_record.h"

#define STAGES    4u   /* fp32, pruned, int8, pow2 */
#define ROW_BYTES 512u /* of one update, or of a round beside its parts */
#define WAL_BYTES (8u << 20)
#define SCALARS   1024u /* values of an update beside the model's */

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

/* One sealed update as records of a segment. */
static uint64_t update_bytes(const tb_run_params *p)
{
    const tb_codec *codec = tb_codec_find(p->codec.text);
    uint64_t values = add(p->n_params, p->n_statistics);
    uint64_t blocks = add(values, SCALARS) / TB_BLOCK_VALUES + 1;
    uint64_t block =
        (codec != NULL ? codec->bytes(TB_BLOCK_VALUES) : TB_BLOCK_BYTES_MAX) +
        TB_SEAL_TAG_BYTES + TB_SPOOL_RECORD_BYTES;
    uint64_t head = TB_SPOOL_RECORD_BYTES + TB_SPOOL_ANNOUNCE_BYTES + ROW_BYTES;
    if (blocks == 1) { /* small models are not a whole block */
        block = times(add(values, SCALARS), sizeof(float));
    }
    return add(head, times(blocks, block));
}

tb_disk_need tb_disk_need_of(const tb_run_params *p,
                             const tb_daemon_settings *settings)
{
    uint64_t n = tb_run_updates_max(p, TB_TASK_TRAIN);
    uint64_t checkpoints = settings->keep.checkpoints;
    uint64_t kept =
        checkpoints == 0 || checkpoints > p->rounds ? p->rounds : checkpoints;
    uint64_t round = add(add(p->n_job, ROW_BYTES), times(n, ROW_BYTES));
    return (tb_disk_need){
        /* start, best by either measure, the one in the making */
        .models = times(kept + 4 + STAGES, p->model.raw_bytes),
        .updates = times(times(n, update_bytes(p)),
                         settings->keep_updates ? p->rounds : 1),
        .journal = add(times(round, p->rounds), WAL_BYTES)};
}

tb_rc tb_disk_check(const char *dir, const tb_disk_need *need, uint64_t others,
                    const tb_daemon_settings *settings, tb_err *err)
{
    struct statvfs fs;
    return statvfs(dir, &fs) == 0
               ? tb_disk_fits(dir, times(fs.f_bavail, fs.f_frsize), need,
                              others, settings, err)
               : tb_fail_errno(err, errno, "%s", dir);
}

tb_rc tb_disk_fits(const char *dir, uint64_t room, const tb_disk_need *need,
                   uint64_t others, const tb_daemon_settings *settings,
                   tb_err *err)
{
    char all[32], have[32], models[32], updates[32], rest[32];
    uint64_t beside = add(add(need->journal, others), settings->keep_free);
    uint64_t total = add(add(need->models, need->updates), beside);
    if (total <= room) {
        return TB_OK;
    }
    tb_text_bytes(total, all, sizeof all);
    tb_text_bytes(room, have, sizeof have);
    tb_text_bytes(need->models, models, sizeof models);
    tb_text_bytes(need->updates, updates, sizeof updates);
    tb_text_bytes(beside, rest, sizeof rest);
    return tb_fail(err, TB_E_FULL,
                   "the job may need %s on the coordinator's disk (models %s, "
                   "updates %s, journal, other runs and reserve %s), %s has "
                   "%s: free some space (tributaryd gc), lower cohort.target, "
                   "keep.checkpoints or keep.free%s, or start it with --force",
                   all, models, updates, rest, dir, have,
                   settings->keep_updates ? ", keep no updates" : "");
}
