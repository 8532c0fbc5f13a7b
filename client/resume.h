/* client/resume.h - the checkpoint file of `model train`: when it is written,
 * where it lies, and what a resumed training must have in common with it. */
#ifndef TB_CLIENT_RESUME_H
#define TB_CLIENT_RESUME_H

#include "files.h"
#include "train/checkpoint.h"

typedef struct checkpoint_flags {
    char path[PATH_BYTES]; /* "": beside the output, until the end */
    uint64_t every;        /* steps; 0: each epoch */
    bool resume;
} checkpoint_flags;

/* The rows of a settings table for a member `checkpoint` of struct `owner`. */
#define CHECKPOINT_ROWS(owner)                                                 \
    {.key = "checkpoint",                                                      \
     .help = "file to resume from; else OUTPUT.checkpoint.npz, which is "      \
             "removed at the end",                                             \
     .value = "FILE",                                                          \
     .flags = TB_SETTING_LOCAL,                                                \
     .type = TB_SETTING_PATH,                                                  \
     TB_FIELD(owner, checkpoint.path)},                                        \
        {.key = "checkpoint-every",                                            \
         .help = "steps between checkpoints; else each epoch",                 \
         .value = "N",                                                         \
         .max = 1e12,                                                          \
         .flags = TB_SETTING_LOCAL,                                            \
         .type = TB_SETTING_INT,                                               \
         TB_FIELD(owner, checkpoint.every)},                                   \
    {                                                                          \
        .key = "resume", .help = "go on from the checkpoint",                  \
        .flags = TB_SETTING_LOCAL, .type = TB_SETTING_BOOL,                    \
        TB_FIELD(owner, checkpoint.resume)                                     \
    }

/* Writes and reads the checkpoints of one training. */
typedef struct saver {
    char path[PATH_BYTES + 32];
    bool own;     /* nobody named the file: it goes when it is not needed */
    bool written; /* or read: it is there */
    uint64_t every;
    int64_t next_ms; /* not again before, when every epoch would do */
    tb_buf settings; /* text; owned */
    int stop_fd;
} saver;

/* settings: those of the training. Its rows with the flag LOCAL may differ when
 * it is resumed. Ctrl-C and SIGTERM become something to ask for. Errors: USAGE
 * (a path too long), LIMIT, NOMEM, IO. */
tb_rc saver_init(saver *s, const checkpoint_flags *flags, const char *output,
                 const tb_settings *settings, tb_err *err) TB_MUST_CHECK;
void saver_release(saver *s);

/* Whether a checkpoint is due after so many steps. */
bool saver_is_due(const saver *s, uint64_t steps, bool epoch_ends);

/* Replaces the file, atomically. Errors: as tb_checkpoint_encode,
 * tb_file_write. */
tb_rc saver_write(saver *s, tb_trainer *t, tb_graph *graph,
                  const tb_progress *progress, tb_err *err) TB_MUST_CHECK;

/* Reads the file, which must be of the same settings, seed and number of rows;
 * on TB_OK the caller releases *out. Errors: NOT_FOUND, MISMATCH (says which
 * flag differs), as tb_checkpoint_decode. */
tb_rc saver_read(saver *s, tb_checkpoint *out, uint64_t seed, uint64_t n_rows,
                 tb_err *err) TB_MUST_CHECK;

/* Whether Ctrl-C or SIGTERM came. */
bool saver_asked_to_stop(const saver *s);

/* rc, with a text that says how to go on. */
tb_rc saver_explain_stop(const saver *s, tb_rc rc, tb_err *err);

/* The output was written: removes a file that nobody named. */
void saver_done(saver *s);

#endif
