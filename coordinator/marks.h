/* coordinator/marks.h - which files the journal's rows name: models, manifests,
 * keys and spools of runs. Made from the rows in order, live or read; says what
 * must be there and what the retention lets go. One owner. */
#ifndef TB_COORDINATOR_MARKS_H
#define TB_COORDINATOR_MARKS_H

#include "fed/record.h"
#include "host/blob.h"
#include "host/folder.h"

typedef enum tb_mark_use {
    TB_MARK_START,    /* the model that a run began with */
    TB_MARK_ROUND,    /* what a round came to: a model */
    TB_MARK_RANGES,   /* what a calibration came to */
    TB_MARK_FINAL,    /* the model that a run ended with */
    TB_MARK_MANIFEST, /* of a version */
    TB_MARK_ARTEFACT  /* that a manifest names */
} tb_mark_use;

/* A row names a blob. Gone from the list when a later row sweeps it. */
typedef struct tb_mark {
    tb_hash raw; /* hash of the blob */
    tb_mark_use use;
    size_t run;     /* START to FINAL: which one of runs */
    uint32_t round; /* ROUND */
    tb_name model;  /* MANIFEST, ARTEFACT: of this version */
    uint64_t sequence;
    uint32_t role; /* ARTEFACT: tb_artefact_role */
    bool read;     /* MANIFEST: its artefacts are marked too */
} tb_mark;

typedef struct tb_mark_run {
    tb_run_id run;
    tb_name name;
    tb_hash job; /* hash of its text */
    uint8_t aggregation_key[TB_CURVE_PUBLIC_BYTES];
    tb_hash config;      /* hash of its newest configuration */
    uint32_t last_round; /* committed; 0: none */
    bool ended;
    bool kept;  /* ended, and runs/<id>.kept is there */
    bool swept; /* key and spool went on purpose */
    /* The models that may yet be published: of the best rounds so far. */
    tb_hash last, by_accuracy, by_loss;
    double accuracy, loss; /* of the last two; NaN: none yet */
} tb_mark_run;

typedef struct tb_marks {
    tb_mark *at; /* owned */
    size_t n, cap;
    tb_mark_run *runs; /* owned; in the order of their starts */
    size_t n_runs, cap_runs;
} tb_marks;

/* What is kept beyond what is in use; 0: all. */
typedef struct tb_retention {
    uint32_t versions;    /* of each model, the newest */
    uint32_t checkpoints; /* models of rounds, of each run, the newest */
    uint32_t spool;       /* ended runs that keep their updates, the newest */
} tb_retention;

/* Takes the next row. Errors: NOMEM. */
tb_rc tb_marks_note(tb_marks *marks, const tb_record *record, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Looks which ended runs the folder keeps. */
void tb_marks_look(tb_marks *marks, const tb_folder *folder) TB_NONNULL(1, 2);

/* The run of this id, or NULL. */
tb_mark_run *tb_marks_run(const tb_marks *marks, const tb_run_id *run)
    TB_NONNULL(1, 2);

/* Whether key and spool of an ended run stay under this retention. */
bool tb_marks_keeps_run(const tb_marks *marks, size_t run,
                        const tb_retention *retention) TB_NONNULL(1, 3);

void tb_marks_release(tb_marks *marks) TB_NONNULL(1);

/* A blob and one reason for it. */
typedef struct tb_named {
    tb_hash raw;
    tb_mark_use use;
    const tb_mark *mark; /* borrowed until the next row */
    bool kept;           /* it is in use, or the retention wants it */
} tb_named;

typedef struct tb_named_list {
    tb_named *at; /* owned; by raw hash */
    size_t n;
} tb_named_list;

/* Marks the artefacts of manifests that were not read yet. One that cannot be
 * read is an error of blobs (NOT_FOUND, MISMATCH, MALFORMED, ...); lenient: it
 * is left out. Errors: NOMEM too. */
tb_rc tb_marks_read(tb_marks *marks, tb_blobs *blobs, bool lenient, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Lists every blob that is marked, with what the retention says of it. Errors:
 * NOMEM. */
tb_rc tb_marks_list(tb_named_list *out, const tb_marks *marks,
                    const tb_retention *retention, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Whether a blob is on the list, and kept for one reason at least. */
bool tb_named_any(const tb_named_list *list, const tb_hash *raw)
    TB_NONNULL(1, 2);
bool tb_named_kept(const tb_named_list *list, const tb_hash *raw)
    TB_NONNULL(1, 2);

void tb_named_release(tb_named_list *list) TB_NONNULL(1);

/* "the model of round 3 of run 3f9a... of fashion" and so on, cut to size. */
void tb_mark_text(const tb_mark *mark, const tb_marks *marks, char *out,
                  size_t size) TB_NONNULL(1, 2, 3);

#endif
