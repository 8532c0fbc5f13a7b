#include "data/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/spare.h"

bool tb_folder_is(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool tb_text_ends(const char *text, const char *end)
{
    size_t n = strlen(text);
    size_t k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

/* Puts name into its sorted place; the last one falls out of a full list. */
static tb_rc insert(tb_matches *m, const char *name, tb_err *err)
{
    size_t at = m->n;
    while (at > 0 && strcmp(m->name[at - 1], name) > 0) {
        at--;
    }
    if (at == TB_FOLDER_MAX_MATCHES) {
        return TB_OK;
    }
    char *copy = tb_mem_text(name);
    if (copy == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", name);
    }
    memmove(m->name + at + 1, m->name + at, (m->n - at) * sizeof *m->name);
    m->name[at] = copy;
    if (m->n < TB_FOLDER_MAX_MATCHES) {
        m->n++;
    } else {
        tb_mem_free(m->name[TB_FOLDER_MAX_MATCHES]);
        m->name[TB_FOLDER_MAX_MATCHES] = NULL;
    }
    return TB_OK;
}

tb_rc tb_folder_match(tb_matches *out, const char *dir,
                      bool (*match)(const char *name, const void *arg),
                      const void *arg, tb_err *err)
{
    *out = (tb_matches){0};
    DIR *d = tb_spare_opendir(dir);
    if (d == NULL) {
        return tb_fail_errno(err, errno, "%s", dir);
    }
    tb_rc rc = TB_OK;
    errno = 0;
    for (struct dirent *e; rc == TB_OK && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] != '.' && match(e->d_name, arg)) {
            rc = insert(out, e->d_name, err);
        }
        errno = rc == TB_OK ? 0 : errno;
    }
    if (rc == TB_OK && errno != 0) {
        rc = tb_fail_errno(err, errno, "%s", dir);
    }
    (void)closedir(d);
    return rc;
}

tb_rc tb_folder_probe(bool *found, const char *path,
                      bool (*match)(const char *name, const void *arg),
                      tb_err *err)
{
    const char *slash = strrchr(path, '/');
    *found = false;
    if (!tb_folder_is(path)) {
        *found = match(slash == NULL ? path : slash + 1, NULL);
        return TB_OK;
    }
    tb_matches m = {0};
    tb_rc rc = tb_folder_match(&m, path, match, NULL, err);
    *found = rc == TB_OK && m.n > 0;
    tb_matches_release(&m);
    return rc;
}

void tb_matches_release(tb_matches *m)
{
    for (size_t i = 0; i < m->n; i++) {
        tb_mem_free(m->name[i]);
    }
    *m = (tb_matches){0};
}

void tb_matches_text(const tb_matches *m, char *out, size_t out_bytes)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < m->n && at < out_bytes; i++) {
        int n = snprintf(out + at, out_bytes - at, "%s%s", i > 0 ? ", " : "",
                         m->name[i]);
        at += n > 0 ? (size_t)n : 0;
    }
}
