/* core/data/folder.h - which files of a folder look like data: names only. */
#ifndef TB_DATA_FOLDER_H
#define TB_DATA_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define TB_FOLDER_MAX_MATCHES 8 /* more are not needed to say "too many" */

typedef struct tb_matches {
    size_t n; /* names found, at most the maximum */
    char *name[TB_FOLDER_MAX_MATCHES + 1]; /* owned, sorted, NULL behind n */
} tb_matches;

/* Names in the folder dir that match(name, arg) accepts; the first ones in
 * sorted order when there are too many. Release always. Errors: NOT_FOUND,
 * NOMEM, IO. */
tb_rc tb_folder_match(tb_matches *out, const char *dir,
                      bool (*match)(const char *name, const void *arg),
                      const void *arg, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
void tb_matches_release(tb_matches *m) TB_NONNULL(1);

/* Whether the file path, or at least one file of the folder path, has a name
 * that match(name, NULL) accepts. Errors: as tb_folder_match. */
tb_rc tb_folder_probe(bool *found, const char *path,
                      bool (*match)(const char *name, const void *arg),
                      tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Their names as "a, b, c", cut when too long. */
void tb_matches_text(const tb_matches *m, char *out, size_t out_bytes)
    TB_NONNULL(1, 2);

/* Whether path is a folder; whether a text ends so. */
bool tb_folder_is(const char *path) TB_NONNULL(1);
bool tb_text_ends(const char *text, const char *end) TB_NONNULL(1, 2);

#endif
