/* core/data/readers/npy.c - NumPy's array files: x.npy and y.npy of one
 * folder. The head is a Python dictionary with exactly the keys descr,
 * fortran_order and shape. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/folder.h"
#include "data/formats.h"

#define MAGIC      "\x93NUMPY"
#define MAGIC_LEN  6
#define ALIGN      64
#define DESCR_SIZE 16

static const struct {
    const char *descr; /* without the byte order */
    tb_dtype dtype;
} types[] = {{"u1", TB_U8},  {"i1", TB_I8},  {"b1", TB_BOOL}, {"i2", TB_I16},
             {"i4", TB_I32}, {"i8", TB_I64}, {"f4", TB_F32},  {"f8", TB_F64}};

#define N_TYPES (sizeof types / sizeof *types)

static void skip_blanks(const char **at)
{
    while (**at == ' ' || **at == '\n' || **at == '\t') {
        (*at)++;
    }
}

/* Skips blanks; then takes c (not NUL), or not. */
static bool take(const char **at, char c)
{
    skip_blanks(at);
    if (**at != c) {
        return false;
    }
    (*at)++;
    return true;
}

/* A quoted text of plain characters, without escapes, into out[size]. */
static bool take_text(const char **at, char *out, size_t size)
{
    char quote = take(at, '\'') ? '\'' : '"';
    if (quote == '"' && !take(at, '"')) {
        return false;
    }
    size_t n = strcspn(*at, "'\"\\");
    if ((*at)[n] != quote || n >= size) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = (*at)[i];
        if (out[i] < ' ' || out[i] > '~') {
            return false;
        }
    }
    out[n] = '\0';
    *at += n + 1;
    return true;
}

static bool take_word(const char **at, const char *word)
{
    skip_blanks(at);
    if (strncmp(*at, word, strlen(word)) != 0) {
        return false;
    }
    *at += strlen(word);
    return true;
}

static bool take_extent(const char **at, size_t *out)
{
    size_t v = 0;
    const char *begin = *at;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        if (tb_mem_mul(&v, v, 10) != 0 ||
            tb_mem_add(&v, v, (size_t)(**at - '0')) != 0) {
            return false;
        }
    }
    *out = v;
    return *at > begin;
}

/* "(60000, 28, 28)", "(3,)", "()". */
static bool take_shape(const char **at, tb_shape *out)
{
    *out = (tb_shape){0};
    if (!take(at, '(')) {
        return false;
    }
    while (!take(at, ')')) {
        if (out->rank == TB_RANK_MAX ||
            !take_extent(at, &out->dim[out->rank++])) {
            return false;
        }
        if (!take(at, ',')) {
            return out->rank > 1 && take(at, ')');
        }
    }
    return true;
}

typedef struct npy_dict {
    char descr[DESCR_SIZE];
    bool fortran;
    tb_shape shape;
    bool has_descr;
    bool has_order;
    bool has_shape;
} npy_dict;

/* One "key: value"; false when it is none of the three, or comes twice. */
static bool take_entry(const char **at, npy_dict *d)
{
    char key[DESCR_SIZE];
    if (!take_text(at, key, sizeof key) || !take(at, ':')) {
        return false;
    }
    if (strcmp(key, "descr") == 0 && !d->has_descr) {
        d->has_descr = take_text(at, d->descr, sizeof d->descr);
        return d->has_descr;
    }
    if (strcmp(key, "fortran_order") == 0 && !d->has_order) {
        d->fortran = take_word(at, "True");
        d->has_order = d->fortran || take_word(at, "False");
        return d->has_order;
    }
    if (strcmp(key, "shape") == 0 && !d->has_shape) {
        d->has_shape = take_shape(at, &d->shape);
        return d->has_shape;
    }
    return false;
}

static bool parse_dict(npy_dict *d, const char *text)
{
    *d = (npy_dict){0};
    const char *at = text;
    if (!take(&at, '{')) {
        return false;
    }
    while (!take(&at, '}')) {
        if (!take_entry(&at, d)) {
            return false;
        }
        if (!take(&at, ',')) {
            if (!take(&at, '}')) {
                return false;
            }
            break;
        }
    }
    skip_blanks(&at); /* the padding */
    return *at == '\0' && d->has_descr && d->has_order && d->has_shape;
}

static tb_rc type_of_descr(tb_file_type *out, const char *descr,
                           const char *name, tb_err *err)
{
    *out = (tb_file_type){.big_endian = descr[0] == '>'};
    if (descr[0] != '\0' && strchr("<>|=", descr[0]) != NULL) {
        for (size_t i = 0; i < N_TYPES; i++) {
            if (strcmp(descr + 1, types[i].descr) == 0) {
                out->dtype = types[i].dtype;
                return TB_OK;
            }
        }
    }
    return tb_fail(err, TB_E_UNSUPPORTED,
                   "%s: element type '%s'; save it as u1, i1, i2, i4, i8, f4 "
                   "or f8, for instance numpy.save(f, a.astype('f4'))",
                   name, descr);
}

/* The dictionary's text, NUL-terminated, for the caller to free. */
static tb_rc read_head_text(char **out, tb_source *s, tb_err *err)
{
    uint8_t head[MAGIC_LEN + 2];
    uint8_t len[4] = {0};
    const char *name = tb_source_name(s);
    tb_rc rc = tb_source_read(s, head, sizeof head, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (memcmp(head, MAGIC, MAGIC_LEN) != 0) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: is no NPY file: it does not begin with \\x93NUMPY",
                       name);
    }
    if (head[MAGIC_LEN] < 1 || head[MAGIC_LEN] > 3) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "%s: NPY version %u.%u; 1.0 to 3.0 are read", name,
                       head[MAGIC_LEN], head[MAGIC_LEN + 1]);
    }
    rc = tb_source_read(s, len, head[MAGIC_LEN] == 1 ? 2 : 4, err);
    size_t n = tb_le32_get(len);
    if (rc == TB_OK && n > TB_NPY_MAX_HEADER_BYTES) {
        rc = tb_fail(err, TB_E_LIMIT, "%s: a head of %zu bytes, at most %zu",
                     name, n, TB_NPY_MAX_HEADER_BYTES);
    }
    if (rc != TB_OK) {
        return rc;
    }
    char *text = tb_mem_array(n + 1, 1);
    if (text == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", name);
    }
    rc = tb_source_read(s, text, n, err);
    if (rc == TB_OK) {
        *out = text;
        text = NULL;
    }
    tb_mem_free(text);
    return rc;
}

tb_rc tb_npy_head(tb_array_head *out, tb_source *s, tb_err *err)
{
    char *text = NULL;
    npy_dict d;
    const char *name = tb_source_name(s);
    tb_rc rc = read_head_text(&text, s, err);
    if (text == NULL) {
        return rc;
    }
    if (!parse_dict(&d, text)) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "%s: its head is not {'descr': '<f4', 'fortran_order': "
                     "False, 'shape': (n, ...)}; records and more than %d axes "
                     "are not read",
                     name, TB_RANK_MAX);
    } else if (d.fortran) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "%s: the array lies in Fortran order; save it as "
                     "numpy.ascontiguousarray(a)",
                     name);
    } else {
        out->shape = d.shape;
        rc = type_of_descr(&out->type, d.descr, name, err);
    }
    tb_mem_free(text);
    return rc;
}

tb_rc tb_npy_decode(tb_dataset **out, tb_source *x, tb_source *y,
                    const tb_read_options *options, tb_err *err)
{
    tb_array_source xs = {.source = x};
    tb_array_source ys = {.source = y};
    *out = NULL;
    tb_rc rc = tb_npy_head(&xs.head, x, err);
    if (rc == TB_OK) {
        rc = tb_npy_head(&ys.head, y, err);
    }
    return rc == TB_OK ? tb_values_read_pair(out, &xs, &ys, options, err) : rc;
}

static bool is_features(const char *name, const void *arg)
{
    (void)arg;
    return strcmp(name, "x.npy") == 0;
}

static tb_rc probe(bool *found, const char *path, tb_err *err)
{
    *found = tb_text_ends(path, ".npy");
    return tb_folder_is(path) ? tb_folder_probe(found, path, is_features, err)
                              : TB_OK;
}

static tb_rc open_in(tb_source **out, const char *dir, const char *name,
                     tb_err *err)
{
    char *path = tb_file_join(dir, name);
    tb_rc rc = path == NULL ? tb_fail(err, TB_E_NOMEM, "%s", dir)
                            : tb_source_open(out, path, err);
    tb_mem_free(path);
    return rc;
}

/* x.npy of a folder, or the one file. */
static tb_rc read_features(tb_dataset **out, const char *path, tb_err *err)
{
    tb_source *x = NULL;
    tb_array_source xs = {0};
    tb_rc rc = tb_folder_is(path) ? open_in(&x, path, "x.npy", err)
                                  : tb_source_open(&x, path, err);
    if (rc == TB_OK) {
        xs.source = x;
        rc = tb_npy_head(&xs.head, x, err);
    }
    if (rc == TB_OK) {
        rc = tb_values_read_features(out, &xs, err);
    }
    tb_source_close(&x);
    return rc;
}

static tb_rc read_path(tb_dataset **out, const char *path,
                       const tb_read_options *options, tb_err *err)
{
    tb_source *x = NULL;
    tb_source *y = NULL;
    *out = NULL;
    if (options->unlabelled) {
        return read_features(out, path, err);
    }
    if (!tb_folder_is(path)) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "%s: is no folder; give the one that holds x.npy and "
                       "y.npy, or predict with --unlabelled",
                       path);
    }
    tb_rc rc = open_in(&x, path, "x.npy", err);
    if (rc == TB_OK) {
        rc = open_in(&y, path, "y.npy", err);
    }
    if (rc == TB_OK) {
        rc = tb_npy_decode(out, x, y, options, err);
    }
    tb_source_close(&x);
    tb_source_close(&y);
    return rc;
}

static const char *descr_of(tb_dtype dtype)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        if (types[i].dtype == dtype) {
            return types[i].descr;
        }
    }
    return NULL;
}

tb_rc tb_npy_put_head(tb_buf *buf, tb_dtype dtype, const tb_shape *shape,
                      tb_err *err)
{
    char dict[512];
    size_t size = sizeof dict;
    const char *descr = descr_of(dtype);
    if (descr == NULL) {
        return tb_fail(err, TB_E_UNSUPPORTED, "NPY of %s",
                       tb_dtype_name(dtype));
    }
    size_t n = (size_t)snprintf(
        dict, size, "{'descr': '%s%s', 'fortran_order': False, 'shape': (",
        tb_dtype_bytes(dtype) > 1 ? "<" : "|", descr);
    for (size_t i = 0; i < shape->rank; i++) {
        bool comma = i + 1 < shape->rank || shape->rank == 1;
        n += (size_t)snprintf(dict + n, size - n, "%s%zu%s", i > 0 ? " " : "",
                              shape->dim[i], comma ? "," : "");
    }
    n += (size_t)snprintf(dict + n, size - n, "), }");
    size_t head = MAGIC_LEN + 4;
    size_t padded = (head + n + ALIGN) / ALIGN * ALIGN - head;
    memset(dict + n, ' ', padded - 1 - n);
    dict[padded - 1] = '\n';
    const uint8_t len[4] = {1, 0, (uint8_t)padded, (uint8_t)(padded >> 8)};
    tb_rc rc = tb_buf_put(buf, MAGIC, MAGIC_LEN, err);
    if (rc == TB_OK) {
        rc = tb_buf_put(buf, len, sizeof len, err);
    }
    return rc == TB_OK ? tb_buf_put(buf, dict, padded, err) : rc;
}

static tb_rc write_array(const tb_dataset *ds, const char *dir, bool is_x,
                         tb_err *err)
{
    const tb_sample_spec *spec = tb_dataset_spec(ds);
    bool values = spec->target == TB_TARGET_VALUE;
    tb_shape shape = {.rank = 1, .dim = {tb_dataset_rows(ds)}};
    tb_dtype dtype = is_x ? spec->x_dtype : values ? TB_F32 : TB_I32;
    if (is_x) {
        shape.rank += spec->x_shape.rank;
        memcpy(shape.dim + 1, spec->x_shape.dim,
               spec->x_shape.rank * sizeof *shape.dim);
    } else if (values || spec->n_targets > 1) {
        shape.dim[shape.rank++] = spec->n_targets;
    }
    char *path = tb_file_join(dir, is_x ? "x.npy" : "y.npy");
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", dir);
    }
    tb_buf buf;
    tb_buf_init(&buf, TB_SOURCE_MAX_FILE_BYTES);
    tb_rc rc = tb_npy_put_head(&buf, dtype, &shape, err);
    for (size_t i = 0; rc == TB_OK && i < tb_dataset_rows(ds); i++) {
        rc = is_x ? tb_buf_put(&buf, tb_dataset_x_row(ds, i),
                               tb_dataset_x_bytes(ds), err)
                  : tb_buf_put(&buf, tb_dataset_y_row(ds, i),
                               tb_dataset_y_bytes(ds), err);
    }
    if (rc == TB_OK) {
        rc = tb_file_write(path, buf.data, buf.len, 0644, err);
    }
    tb_buf_release(&buf);
    tb_mem_free(path);
    return rc;
}

static tb_rc write_folder(const tb_dataset *ds, const char *dir,
                          const tb_read_options *options, tb_err *err)
{
    (void)options;
    const tb_sample_spec *spec = tb_dataset_spec(ds);
    if (descr_of(spec->x_dtype) == NULL ||
        spec->x_shape.rank + 1 > TB_RANK_MAX) {
        return tb_fail(err, TB_E_UNSUPPORTED, "%s: NPY of %s samples", dir,
                       tb_dtype_name(spec->x_dtype));
    }
    tb_rc rc = write_array(ds, dir, true, err);
    return rc == TB_OK ? write_array(ds, dir, false, err) : rc;
}

const tb_reader tb_reader_npy = {
    .name = "npy",
    .takes = "a folder with x.npy and y.npy",
    .probe = probe,
    .read = read_path,
    .write = write_folder,
};
