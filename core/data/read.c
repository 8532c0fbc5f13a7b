#include "data/read.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "data/formats.h"

static const tb_reader *const readers[] = {&tb_reader_idx, &tb_reader_csv,
                                           &tb_reader_npy, &tb_reader_npz};

#define N_READERS (sizeof readers / sizeof *readers)

const tb_reader *const *tb_readers(size_t *n)
{
    *n = N_READERS;
    return readers;
}

static tb_rc by_name(const tb_reader **out, const char *name, tb_err *err)
{
    const char *names[N_READERS];
    for (size_t i = 0; i < N_READERS; i++) {
        names[i] = readers[i]->name;
        if (strcmp(name, readers[i]->name) == 0) {
            *out = readers[i];
            return TB_OK;
        }
    }
    const char *near = tb_text_nearest(name, names, N_READERS);
    return tb_fail(
        err, TB_E_USAGE,
        "no data format \"%.64s\"; there are idx, csv, npy, npz%s%s%s", name,
        near != NULL ? " (did you mean " : "", near != NULL ? near : "",
        near != NULL ? "?)" : "");
}

static tb_rc by_path(const tb_reader **out, const char *path, tb_err *err)
{
    if (!tb_file_exists(path)) {
        return tb_fail(err, TB_E_NOT_FOUND, "%s: no such file or folder", path);
    }
    bool found = false;
    for (size_t i = 0; i < N_READERS; i++) {
        tb_rc rc = readers[i]->probe(&found, path, err);
        if (rc != TB_OK) {
            return rc;
        }
        if (found) {
            *out = readers[i];
            return TB_OK;
        }
    }
    return tb_fail(err, TB_E_UNSUPPORTED,
                   "%s: no data that is known; give %s; or %s; or %s; or %s",
                   path, readers[0]->takes, readers[1]->takes,
                   readers[2]->takes, readers[3]->takes);
}

tb_rc tb_dataset_read(tb_dataset **out, const char *path,
                      const tb_read_options *options, tb_err *err)
{
    static const tb_read_options none = {0};
    const tb_reader *reader = NULL;
    *out = NULL;
    options = options != NULL ? options : &none;
    tb_rc rc = options->reader != NULL ? by_name(&reader, options->reader, err)
                                       : by_path(&reader, path, err);
    return rc == TB_OK ? reader->read(out, path, options, err) : rc;
}

tb_rc tb_dataset_write(const tb_dataset *ds, const char *dir,
                       const char *format, const tb_read_options *options,
                       tb_err *err)
{
    static const tb_read_options none = {0};
    const tb_reader *reader = NULL;
    tb_rc rc = by_name(&reader, format, err);
    if (rc == TB_OK && reader->write == NULL) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "%s is read only; write npy instead", format);
    }
    if (rc == TB_OK) {
        rc = tb_file_make_dir(dir, 0755, err);
    }
    return rc == TB_OK
               ? reader->write(ds, dir, options != NULL ? options : &none, err)
               : rc;
}
