#include "own.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define MAGIC      "TBRS"
#define VERSION    1u
#define RUN_AT     8
#define CONFIG_AT  (RUN_AT + 16)
#define HEAD_BYTES (CONFIG_AT + TB_HASH_BYTES)
#define BYTES_MAX  ((size_t)1 << 30)

/* Names with a dot stay when left-over updates are cleaned away. */
static const char kept[] = ".statistics";
static const char pending[] = ".statistics-next";

_Static_assert(sizeof(tb_run_id) == 16, "the run in the head");

/* Appends a whole file, if it is there and well formed. */
static tb_rc read_file(tb_buf *out, const home *h, const char *name,
                       tb_err *err)
{
    char *path = NULL;
    tb_rc rc = home_path(&path, h, TB_ITEM_SEALED, name, err);
    if (rc == TB_OK) {
        rc = tb_file_read(out, path, err);
        rc = rc == TB_E_NOT_FOUND ? TB_OK : rc;
    }
    if (rc == TB_OK &&
        (out->len < HEAD_BYTES || memcmp(out->data, MAGIC, 4) != 0 ||
         tb_le32_get(out->data + 4) != VERSION)) {
        out->len = 0;
    }
    tb_mem_free(path);
    return rc;
}

static tb_rc write_file(const home *h, const char *name, const tb_buf *bytes,
                        tb_err *err)
{
    char *path = NULL;
    tb_rc rc = home_path(&path, h, TB_ITEM_SEALED, name, err);
    if (rc == TB_OK) {
        rc = tb_file_write(path, bytes->data, bytes->len, 0600, err);
    }
    tb_mem_free(path);
    return rc;
}

tb_rc own_read(tb_buf *values, const home *h, const tb_run_id *run, tb_err *err)
{
    tb_buf file;
    tb_buf_init(&file, BYTES_MAX);
    tb_rc rc = read_file(&file, h, kept, err);
    if (rc == TB_OK && file.len > HEAD_BYTES &&
        memcmp(file.data + RUN_AT, run->bytes, sizeof run->bytes) == 0) {
        rc = tb_buf_put(values, file.data + HEAD_BYTES, file.len - HEAD_BYTES,
                        err);
    }
    tb_buf_release(&file);
    return rc;
}

tb_rc own_prepare(const home *h, const tb_run_id *run, const tb_hash *config,
                  const tb_buf *values, tb_err *err)
{
    tb_buf file;
    tb_buf_init(&file, BYTES_MAX);
    tb_rc rc = tb_buf_put(&file, MAGIC, 4, err);
    if (rc == TB_OK) {
        rc = tb_buf_put_u32(&file, VERSION, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(&file, run->bytes, sizeof run->bytes, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(&file, config->bytes, sizeof config->bytes, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(&file, values->data, values->len, err);
    }
    if (rc == TB_OK) {
        rc = write_file(h, pending, &file, err);
    }
    tb_buf_release(&file);
    return rc;
}

tb_rc own_settle(const home *h, const tb_hash *config, bool accepted,
                 tb_err *err)
{
    tb_buf file;
    char *path = NULL;
    tb_buf_init(&file, BYTES_MAX);
    tb_rc rc = read_file(&file, h, pending, err);
    bool same =
        rc == TB_OK && file.len > 0 &&
        memcmp(file.data + CONFIG_AT, config->bytes, sizeof config->bytes) == 0;
    if (same && accepted) {
        rc = write_file(h, kept, &file, err);
    }
    if (same && rc == TB_OK) {
        rc = home_path(&path, h, TB_ITEM_SEALED, pending, err);
    }
    if (path != NULL) {
        (void)unlink(path);
    }
    tb_mem_free(path);
    tb_buf_release(&file);
    return rc;
}
