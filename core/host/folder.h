/* core/host/folder.h - the data folders of a coordinator and of a client: where
 * each thing lies, the format version, and the lock that keeps two programs
 * out of one folder. Folders have mode 0700, files 0600. */
#ifndef TB_HOST_FOLDER_H
#define TB_HOST_FOLDER_H

#include <stdbool.h>

#include "base/err.h"

typedef enum tb_folder_kind {
    TB_FOLDER_COORDINATOR, /* FORMAT says "tributary-coordinator 1" */
    TB_FOLDER_CLIENT       /* FORMAT says "tributary-client 1" */
} tb_folder_kind;

typedef enum tb_folder_use {
    TB_FOLDER_READ, /* no lock; the daemon may be at work */
    TB_FOLDER_LOCK  /* alone, until closed */
} tb_folder_use;

typedef enum tb_folder_item {
    /* both */
    TB_ITEM_CONFIG,         /* settings.yaml */
    TB_ITEM_SIGN_KEY,       /* keys/sign.key */
    TB_ITEM_CURVE_KEY,      /* keys/curve.key */
    TB_ITEM_NEXT_SIGN_KEY,  /* keys/next-sign.key: that will take its place */
    TB_ITEM_NEXT_CURVE_KEY, /* keys/next-curve.key */
    TB_ITEM_CONTROL,        /* control: the Unix socket */
    TB_ITEM_BLOBS,          /* blobs/ */
    /* coordinator */
    TB_ITEM_ROOT_KEY,    /* keys/root.key; may be moved away */
    TB_ITEM_CERTIFICATE, /* certificate: of the working keys, by the root */
    TB_ITEM_JOURNAL,     /* journal.sqlite */
    TB_ITEM_HEAD,        /* HEAD */
    TB_ITEM_SPOOL,       /* spool/ */
    TB_ITEM_CHECKPOINTS, /* checkpoints/ */
    TB_ITEM_RUNS,        /* runs/: wrapped run keys, job files */
    TB_ITEM_ENDPOINTS,   /* endpoints: of the listeners, asked and bound */
    /* client */
    TB_ITEM_FEDERATION, /* federation: what the invite pinned */
    TB_ITEM_STATE,      /* state: of the client machine */
    TB_ITEM_SEALED,     /* sealed/: updates not yet acknowledged */
    TB_ITEM_MODELS,     /* models/: manifests, highest sequence seen */
    TB_ITEM_COUNT
} tb_folder_item;

typedef struct tb_folder tb_folder;

/* Who has locked a folder, as its lock file says. */
#define TB_HOLDER_BYTES 48u
typedef struct tb_folder_holder {
    long pid;                   /* 0: the file does not say */
    char work[TB_HOLDER_BYTES]; /* "tributaryd gc"; "": it does not say */
    bool serves;                /* it is the daemon, or the agent: `run` */
} tb_folder_holder;

/* What lock files will call this process, "tributaryd", "gc". Before the first
 * folder is opened; both words live as long as the process. */
void tb_folder_set_work(const char *program, const char *verb) TB_NONNULL(1, 2);

/* Makes a new folder with all its parts, or says why not; one that a kill left
 * half made is finished. Errors: EXISTS (there is a tributary folder, or
 * anything else, in dir), FULL, IO, NOMEM. */
tb_rc tb_folder_create(const char *dir, tb_folder_kind kind, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Opens a folder. Errors: NOT_FOUND (no folder, or not one of ours: says how to
 * make it), MISMATCH (of the other kind), UNSUPPORTED (newer format), BUSY
 * (locked: says by whom, and what to do), IO, NOMEM. */
tb_rc tb_folder_open(tb_folder **out, const char *dir, tb_folder_kind kind,
                     tb_folder_use use, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Gives the lock back and nulls *folder. NULL is fine. */
void tb_folder_close(tb_folder **folder) TB_NONNULL(1);

/* The path of an item of this kind of folder; owned by the folder. */
const char *tb_folder_path(const tb_folder *folder, tb_folder_item item)
    TB_NONNULL(1);

/* The folder itself, as it was opened. */
const char *tb_folder_dir(const tb_folder *folder) TB_NONNULL(1);

/* Whether it was opened with its lock. */
bool tb_folder_locked(const tb_folder *folder) TB_NONNULL(1);

/* Whether another program has locked it: its files may change meanwhile. */
bool tb_folder_in_use(const tb_folder *folder) TB_NONNULL(1);

/* Reads who locked it last. It may be gone. */
void tb_folder_holder_get(const tb_folder *folder, tb_folder_holder *out)
    TB_NONNULL(1, 2);

/* Where the master key lies unless the user says otherwise: beside the folder,
 * "<dir>.master-key". For the caller to free; NULL when out of memory. */
char *tb_folder_master_path(const char *dir) TB_NONNULL(1) TB_MUST_CHECK;

#endif
