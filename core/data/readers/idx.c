/* core/data/readers/idx.c - IDX, the format of MNIST and its relatives: one
 * array a file, plain or gzipped. A dataset is a pair of files of one folder,
 * NAME-images-idx<rank>-<type>[.gz] and NAME-labels-idx1-<type>[.gz]. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/folder.h"
#include "data/formats.h"

#define IMAGES      "-images-idx"
#define LABELS      "-labels-idx1-"
#define WRITTEN     "data"
#define NAMES_BYTES 256

static const struct {
    uint8_t code;
    tb_dtype dtype;
    const char *name; /* in file names */
} types[] = {{0x08, TB_U8, "ubyte"},  {0x09, TB_I8, "byte"},
             {0x0B, TB_I16, "short"}, {0x0C, TB_I32, "int"},
             {0x0D, TB_F32, "float"}, {0x0E, TB_F64, "double"}};

#define N_TYPES (sizeof types / sizeof *types)

tb_rc tb_idx_head(tb_array_head *out, tb_source *s, tb_err *err)
{
    uint8_t head[4];
    uint8_t dim[4];
    const char *name = tb_source_name(s);
    tb_rc rc = tb_source_read(s, head, sizeof head, err);
    if (rc != TB_OK) {
        return rc;
    }
    *out = (tb_array_head){.type.big_endian = true};
    for (size_t i = 0; i < N_TYPES; i++) {
        out->type.dtype =
            head[2] == types[i].code ? types[i].dtype : out->type.dtype;
    }
    if (head[0] != 0 || head[1] != 0 || out->type.dtype == TB_DTYPE_NONE) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: is no IDX file: it begins with %02x %02x %02x %02x "
                       "instead of 00 00, a type (08 to 0e) and a rank",
                       name, head[0], head[1], head[2], head[3]);
    }
    if (head[3] == 0 || head[3] > TB_RANK_MAX) {
        return tb_fail(err, TB_E_MALFORMED, "%s: rank %u, not 1 to %d", name,
                       head[3], TB_RANK_MAX);
    }
    out->shape.rank = head[3];
    for (size_t i = 0; rc == TB_OK && i < out->shape.rank; i++) {
        rc = tb_source_read(s, dim, sizeof dim, err);
        out->shape.dim[i] = (size_t)dim[0] << 24 | (size_t)dim[1] << 16 |
                            (size_t)dim[2] << 8 | dim[3];
    }
    return rc;
}

tb_rc tb_idx_decode(tb_dataset **out, tb_source *x, tb_source *y,
                    const tb_read_options *options, tb_err *err)
{
    tb_array_source xs = {.source = x};
    tb_array_source ys = {.source = y};
    *out = NULL;
    tb_rc rc = tb_idx_head(&xs.head, x, err);
    if (rc == TB_OK) {
        rc = tb_idx_head(&ys.head, y, err);
    }
    return rc == TB_OK ? tb_values_read_pair(out, &xs, &ys, options, err) : rc;
}

static bool is_images(const char *name, const void *arg)
{
    (void)arg;
    return strstr(name, IMAGES) != NULL;
}

/* Whether name is the labels file of the images file arg: the same text
 * before "-images-idx". */
static bool is_labels_of(const char *name, const void *arg)
{
    const char *images = arg;
    const char *at = strstr(images, IMAGES);
    size_t n = at == NULL ? 0 : (size_t)(at - images);
    return at != NULL && strncmp(name, images, n) == 0 &&
           strncmp(name + n, LABELS, strlen(LABELS)) == 0;
}

static tb_rc probe(bool *found, const char *path, tb_err *err)
{
    return tb_folder_probe(found, path, is_images, err);
}

/* The one match in dir, joined to it; what: for the error. */
static tb_rc find_one(char **out, const char *dir, const tb_matches *m,
                      const char *what, tb_err *err)
{
    char names[NAMES_BYTES];
    if (m->n == 0) {
        return tb_fail(err, TB_E_NOT_FOUND, "%s: no %s in it", dir, what);
    }
    if (m->n > 1) {
        tb_matches_text(m, names, sizeof names);
        return tb_fail(err, TB_E_MISMATCH,
                       "%s: more than one %s (%s); name the images file itself",
                       dir, what, names);
    }
    *out = tb_file_join(dir, m->name[0]);
    return *out != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "%s", dir);
}

/* The labels file beside an images file. */
static tb_rc find_labels(char **out, const char *images, tb_err *err)
{
    tb_matches m = {0};
    const char *slash = strrchr(images, '/');
    const char *base = slash == NULL ? images : slash + 1;
    char *dir = tb_mem_text(images);
    if (dir == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", images);
    }
    dir[base - images] = '\0'; /* keeps the slash: "/x" is in "/" */
    tb_rc rc = tb_folder_match(&m, base == images ? "." : dir, is_labels_of,
                               base, err);
    if (rc == TB_OK) {
        rc = find_one(out, base == images ? "." : dir, &m,
                      "labels file NAME" LABELS "ubyte[.gz] for the images",
                      err);
    }
    tb_matches_release(&m);
    tb_mem_free(dir);
    return rc;
}

static tb_rc find_images(char **out, const char *path, tb_err *err)
{
    if (!tb_folder_is(path)) {
        *out = tb_mem_text(path);
        return *out != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    tb_matches m = {0};
    tb_rc rc = tb_folder_match(&m, path, is_images, NULL, err);
    if (rc == TB_OK) {
        rc = find_one(out, path, &m, "images file NAME" IMAGES "3-ubyte[.gz]",
                      err);
    }
    tb_matches_release(&m);
    return rc;
}

static tb_rc read_pair(tb_dataset **out, const char *path,
                       const tb_read_options *options, tb_err *err)
{
    char *images = NULL;
    char *labels = NULL;
    tb_source *x = NULL;
    tb_source *y = NULL;
    *out = NULL;
    tb_rc rc = find_images(&images, path, err);
    if (rc == TB_OK) {
        rc = tb_source_open(&x, images, err);
    }
    if (rc == TB_OK && options->labels == NULL) {
        rc = find_labels(&labels, images, err);
    }
    if (rc == TB_OK) {
        rc = tb_source_open(&y, labels != NULL ? labels : options->labels, err);
    }
    if (rc == TB_OK) {
        rc = tb_idx_decode(out, x, y, options, err);
    }
    tb_source_close(&x);
    tb_source_close(&y);
    tb_mem_free(images);
    tb_mem_free(labels);
    return rc;
}

static tb_rc put_u32_big(tb_buf *buf, size_t v, tb_err *err)
{
    const uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16),
                              (uint8_t)(v >> 8), (uint8_t)v};
    return tb_buf_put(buf, bytes, sizeof bytes, err);
}

/* Appends values, last byte first when they have more than one. */
static tb_rc put_values(tb_buf *buf, const uint8_t *from, size_t n, size_t size,
                        tb_err *err)
{
    tb_rc rc = tb_buf_reserve(buf, n * size, err);
    if (rc == TB_OK) {
        uint8_t *to = buf->data + buf->len;
        for (size_t i = 0; i < n * size; i++) {
            to[i] = from[i / size * size + (size - 1 - i % size)];
        }
        buf->len += n * size;
    }
    return rc;
}

static size_t type_of(tb_dtype dtype)
{
    size_t t = 0;
    while (t < N_TYPES && types[t].dtype != dtype) {
        t++;
    }
    return t;
}

static tb_rc put_head(tb_buf *buf, size_t type, const tb_shape *sample,
                      size_t n_rows, tb_err *err)
{
    const uint8_t head[4] = {0, 0, types[type].code,
                             (uint8_t)(sample->rank + 1)};
    tb_rc rc = tb_buf_put(buf, head, sizeof head, err);
    if (rc == TB_OK) {
        rc = put_u32_big(buf, n_rows, err);
    }
    for (size_t i = 0; rc == TB_OK && i < sample->rank; i++) {
        rc = put_u32_big(buf, sample->dim[i], err);
    }
    return rc;
}

static tb_rc write_file(const tb_buf *buf, const char *dir, const char *stem,
                        size_t rank, size_t type, tb_err *err)
{
    char name[64];
    (void)snprintf(name, sizeof name, WRITTEN "%s%zu-%s", stem, rank,
                   types[type].name);
    char *path = tb_file_join(dir, name);
    tb_rc rc = path == NULL
                   ? tb_fail(err, TB_E_NOMEM, "%s", dir)
                   : tb_file_write(path, buf->data, buf->len, 0644, err);
    tb_mem_free(path);
    return rc;
}

static tb_rc write_images(const tb_dataset *ds, const char *dir, tb_err *err)
{
    const tb_sample_spec *spec = tb_dataset_spec(ds);
    size_t type = type_of(spec->x_dtype);
    size_t size = tb_dtype_bytes(spec->x_dtype);
    tb_buf buf;
    tb_buf_init(&buf, TB_SOURCE_MAX_FILE_BYTES);
    tb_rc rc = put_head(&buf, type, &spec->x_shape, tb_dataset_rows(ds), err);
    for (size_t i = 0; rc == TB_OK && i < tb_dataset_rows(ds); i++) {
        rc = put_values(&buf, tb_dataset_x_row(ds, i),
                        tb_dataset_x_bytes(ds) / size, size, err);
    }
    if (rc == TB_OK) {
        rc = write_file(&buf, dir, IMAGES, spec->x_shape.rank + 1, type, err);
    }
    tb_buf_release(&buf);
    return rc;
}

static tb_rc write_labels(const tb_dataset *ds, const char *dir, tb_err *err)
{
    bool bytes = tb_dataset_spec(ds)->n_classes <= 256;
    size_t type = type_of(bytes ? TB_U8 : TB_I32);
    const tb_shape one = {0};
    tb_buf buf;
    tb_buf_init(&buf, TB_SOURCE_MAX_FILE_BYTES);
    tb_rc rc = put_head(&buf, type, &one, tb_dataset_rows(ds), err);
    for (size_t i = 0; rc == TB_OK && i < tb_dataset_rows(ds); i++) {
        int32_t label = tb_dataset_label(ds, i);
        rc = bytes ? tb_buf_put_u8(&buf, (uint8_t)label, err)
                   : put_u32_big(&buf, (size_t)label, err);
    }
    if (rc == TB_OK) {
        rc = write_file(&buf, dir, "-labels-idx", 1, type, err);
    }
    tb_buf_release(&buf);
    return rc;
}

static tb_rc write_pair(const tb_dataset *ds, const char *dir,
                        const tb_read_options *options, tb_err *err)
{
    (void)options;
    const tb_sample_spec *spec = tb_dataset_spec(ds);
    if (type_of(spec->x_dtype) == N_TYPES ||
        spec->x_shape.rank + 1 > TB_RANK_MAX ||
        spec->target != TB_TARGET_CLASS) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "%s: IDX cannot hold %s features with %s; write npy",
                       dir, tb_dtype_name(spec->x_dtype),
                       spec->target == TB_TARGET_CLASS ? "class labels"
                                                       : "float targets");
    }
    tb_rc rc = write_images(ds, dir, err);
    return rc == TB_OK ? write_labels(ds, dir, err) : rc;
}

const tb_reader tb_reader_idx = {
    .name = "idx",
    .takes = "a folder with one pair NAME-images-idx3-ubyte[.gz] and "
             "NAME-labels-idx1-ubyte[.gz], or the images file",
    .probe = probe,
    .read = read_pair,
    .write = write_pair,
};
