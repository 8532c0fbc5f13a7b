/* core/data/readers/npz.c - NumPy's archives with the members x.npy and
 * y.npy. */
#include <string.h>

#include "base/file.h"
#include "data/archive.h"
#include "data/folder.h"

tb_rc tb_npz_decode(tb_dataset **out, const char *name, const uint8_t *bytes,
                    size_t len, const tb_read_options *options, tb_err *err)
{
    tb_archive a;
    tb_archive_member x = {0};
    tb_archive_member y = {0};
    tb_dataset *ds = NULL;
    *out = NULL;
    tb_rc rc = tb_archive_read(&a, name, bytes, len, err);
    if (rc == TB_OK) {
        rc = tb_archive_open(&x, &a, "x.npy", err);
    }
    if (rc == TB_OK) {
        rc = tb_archive_open(&y, &a, "y.npy", err);
    }
    if (rc == TB_E_NOT_FOUND) {
        (void)tb_err_prefix(err, rc, "save it with numpy.savez(f, x=x, y=y)");
    }
    if (rc == TB_OK) {
        rc = tb_npy_decode(&ds, x.source, y.source, options, err);
    }
    if (rc == TB_OK) {
        rc = tb_archive_check(&x, err);
    }
    if (rc == TB_OK) {
        rc = tb_archive_check(&y, err);
    }
    if (rc == TB_OK) {
        *out = ds;
        ds = NULL;
    }
    tb_dataset_free(&ds);
    tb_archive_close(&x);
    tb_archive_close(&y);
    return rc;
}

static tb_rc probe(bool *found, const char *path, tb_err *err)
{
    (void)err;
    *found = tb_text_ends(path, ".npz");
    return TB_OK;
}

static tb_rc read_file(tb_dataset **out, const char *path,
                       const tb_read_options *options, tb_err *err)
{
    tb_buf buf;
    tb_buf_init(&buf, TB_SOURCE_MAX_FILE_BYTES);
    *out = NULL;
    tb_rc rc = tb_file_read(&buf, path, err);
    if (rc == TB_OK) {
        rc = tb_npz_decode(out, path, buf.data, buf.len, options, err);
    }
    tb_buf_release(&buf);
    return rc;
}

const tb_reader tb_reader_npz = {
    .name = "npz",
    .takes = "a file NAME.npz with the arrays x and y",
    .probe = probe,
    .read = read_file,
};
