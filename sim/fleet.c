#include "fleet.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "work/model.h"

static const char prefix[] = "client-";

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tb_name *)a)->text, ((const tb_name *)b)->text);
}

static bool is_client(const struct dirent *e)
{
    return strncmp(e->d_name, prefix, sizeof prefix - 1) == 0 &&
           tb_name_valid(e->d_name);
}

static tb_rc add_name(fleet *f, const char *name, tb_err *err)
{
    tb_name *names = tb_mem_resize(f->names, f->n + 1, sizeof *names);
    if (names == NULL) {
        return tb_fail(err, TB_E_NOMEM, "fleet: no memory");
    }
    f->names = names;
    (void)tb_name_set(&f->names[f->n++], name);
    return f->n <= TB_COHORT_MAX
               ? TB_OK
               : tb_fail(err, TB_E_LIMIT, "over %u clients", TB_COHORT_MAX);
}

static tb_rc find_names(fleet *f, const char *dir, tb_err *err)
{
    DIR *d = opendir(dir);
    tb_rc rc = TB_OK;
    if (d == NULL) {
        return tb_fail_errno(err, errno, "cannot read the folder %s", dir);
    }
    for (struct dirent *e = readdir(d); rc == TB_OK && e != NULL;
         e = readdir(d)) {
        if (is_client(e)) {
            rc = add_name(f, e->d_name, err);
        }
    }
    (void)closedir(d);
    if (rc == TB_OK && f->n == 0) {
        rc = tb_fail(err, TB_E_NOT_FOUND,
                     "%s has no folders client-...: make them with `tributary "
                     "data split`",
                     dir);
    }
    return rc;
}

tb_rc fleet_open(fleet *out, const char *dir, tb_err *err)
{
    *out = (fleet){0};
    tb_rc rc = find_names(out, dir, err);
    if (rc == TB_OK) {
        qsort(out->names, out->n, sizeof *out->names, by_name);
        out->paths = tb_mem_array(out->n, sizeof *out->paths);
        out->data = tb_mem_array(out->n, sizeof *out->data);
        if (out->paths == NULL || out->data == NULL) {
            rc = tb_fail(err, TB_E_NOMEM, "fleet: no memory");
        }
    }
    for (size_t i = 0; rc == TB_OK && i < out->n; i++) {
        out->paths[i] = tb_file_join(dir, out->names[i].text);
        if (out->paths[i] == NULL) {
            rc = tb_fail(err, TB_E_NOMEM, "fleet: no memory");
        }
    }
    if (rc != TB_OK) {
        fleet_close(out);
    }
    return rc;
}

void fleet_close(fleet *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->data != NULL) {
            tb_dataset_free(&f->data[i]);
        }
        if (f->paths != NULL) {
            tb_mem_free(f->paths[i]);
        }
    }
    tb_mem_free(f->names);
    tb_mem_free(f->paths);
    tb_mem_free(f->data);
    *f = (fleet){0};
}

tb_rc fleet_data(fleet *f, size_t i, const tb_job *job, const tb_dataset **out,
                 tb_err *err)
{
    tb_rc rc = TB_OK;
    if (f->data[i] == NULL) {
        rc = tb_work_dataset(&f->data[i], job, f->paths[i], err);
    }
    *out = f->data[i];
    return rc;
}
