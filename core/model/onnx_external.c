#include "model/onnx_external.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <generated/onnx.pb-c.h>

#include "base/mem.h"
#include "base/spare.h"
#include "base/text.h"

/* --- folder --------------------------------------------------------------- */

tb_rc tb_onnx_folder_open(tb_onnx_folder *folder, const char *path, tb_err *err)
{
    *folder = (tb_onnx_folder){.fd = -1, .open_fd = -1};
    char *dir = tb_file_folder(path);
    if (dir == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    folder->fd = tb_spare_open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    tb_rc rc = folder->fd >= 0 ? TB_OK : tb_fail_errno(err, errno, "%s", dir);
    tb_mem_free(dir);
    return rc;
}

static void close_data(tb_onnx_folder *folder)
{
    if (folder->open_fd >= 0 && !folder->files[folder->open].given) {
        (void)close(folder->open_fd);
    }
    folder->open_fd = -1;
    folder->open = folder->n_files;
}

void tb_onnx_folder_close(tb_onnx_folder *folder)
{
    close_data(folder);
    if (folder->fd >= 0) {
        (void)close(folder->fd);
    }
    for (size_t i = 0; i < folder->n_files; i++) {
        tb_mem_free(folder->files[i].location);
    }
    tb_mem_free(folder->files);
    *folder = (tb_onnx_folder){.fd = -1, .open_fd = -1};
}

/* --- names ---------------------------------------------------------------- */

/* A name must stay below the folder, whatever lies there. */
static tb_rc check_location(const char *location, tb_err *err)
{
    const char *at = location;
    if (strcmp(location, TB_ONNX_EXTERNAL_SELF) == 0) {
        return TB_OK; /* of no use, unless such a file was given */
    }
    if (location[0] == '\0' || location[0] == '/') {
        return tb_fail(err, TB_E_MALFORMED,
                       "external data at \"%s\": the name of a file beside "
                       "the model is expected",
                       location);
    }
    for (const char *c = location; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return tb_fail(err, TB_E_MALFORMED,
                           "external data: a control character in the name");
        }
    }
    while (at != NULL) {
        size_t n = strcspn(at, "/");
        if (n == 0 || (n == 1 && at[0] == '.') ||
            (n == 2 && at[0] == '.' && at[1] == '.')) {
            return tb_fail(err, TB_E_MALFORMED,
                           "external data at \"%s\": the name leads out of "
                           "the model's folder",
                           location);
        }
        at = at[n] == '/' ? at + n + 1 : NULL;
    }
    return TB_OK;
}

/* Opens folder/location one name at a time, so that no link is followed. */
static tb_rc open_below(int *out, int folder, const char *location, tb_err *err)
{
    char *path = tb_mem_text(location);
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "external data");
    }
    int dir = folder;
    int fd = -1;
    char *at = path;
    for (char *slash = strchr(at, '/'); slash != NULL;
         slash = strchr(at, '/')) {
        *slash = '\0';
        fd = tb_spare_openat(dir, at,
                             O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        if (dir != folder) {
            (void)close(dir);
        }
        dir = fd;
        at = slash + 1;
        if (fd < 0) {
            goto done;
        }
    }
    fd = tb_spare_openat(dir, at,
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
done:;
    int error = errno;
    if (dir != folder && dir >= 0) {
        (void)close(dir);
    }
    tb_mem_free(path);
    *out = fd;
    if (fd >= 0) {
        return TB_OK;
    }
    if (error == ELOOP || error == ENOTDIR) {
        return tb_fail(err, TB_E_MALFORMED,
                       "external data at \"%s\": a link is not followed",
                       location);
    }
    return tb_fail_errno(err, error, "external data at \"%s\"", location);
}

/* --- files ---------------------------------------------------------------- */

static tb_rc add_file(tb_onnx_folder *folder, const char *location, tb_err *err)
{
    if (folder->n_files == TB_ONNX_EXTERNAL_FILES) {
        return tb_fail(err, TB_E_LIMIT, "external data in over %d files",
                       TB_ONNX_EXTERNAL_FILES);
    }
    if (folder->files == NULL) {
        folder->files =
            tb_mem_array(TB_ONNX_EXTERNAL_FILES, sizeof folder->files[0]);
    }
    char *copy = folder->files != NULL ? tb_mem_text(location) : NULL;
    if (copy == NULL) {
        return tb_fail(err, TB_E_NOMEM, "external data");
    }
    folder->files[folder->n_files++] = (tb_onnx_data_file){.location = copy};
    return TB_OK;
}

/* Opens file i of the folder, unless it is the one that is open. */
static tb_rc open_file(tb_onnx_folder *folder, size_t i, tb_err *err)
{
    struct stat st;
    tb_onnx_data_file *file = &folder->files[i];
    if (folder->open_fd >= 0 && folder->open == i) {
        return TB_OK;
    }
    close_data(folder);
    tb_rc rc = TB_OK;
    if (file->given) {
        folder->open_fd = file->fd;
    } else if (strcmp(file->location, TB_ONNX_EXTERNAL_SELF) == 0) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "external data at \"%s\": the name of a file beside the "
                     "model is expected",
                     file->location);
    } else if (folder->fd < 0) {
        rc = tb_fail(err, TB_E_NOT_FOUND,
                     "external data at \"%s\": no such file came with the "
                     "model",
                     file->location);
    } else {
        rc = open_below(&folder->open_fd, folder->fd, file->location, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    folder->open = i;
    if (fstat(folder->open_fd, &st) != 0) {
        return tb_fail_errno(err, errno, "external data at \"%s\"",
                             file->location);
    }
    if (!S_ISREG(st.st_mode)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "external data at \"%s\": not a file", file->location);
    }
    file->bytes = (size_t)st.st_size;
    return TB_OK;
}

tb_rc tb_onnx_folder_give(tb_onnx_folder *folder, const char *location, int fd,
                          tb_err *err)
{
    tb_rc rc = check_location(location, err);
    if (rc == TB_OK) {
        rc = add_file(folder, location, err);
    }
    if (rc == TB_OK) {
        folder->files[folder->n_files - 1].given = true;
        folder->files[folder->n_files - 1].fd = fd;
    }
    return rc;
}

/* --- ranges --------------------------------------------------------------- */

typedef struct place {
    const char *location;
    uint64_t offset;
    uint64_t length; /* UINT64_MAX: not said */
} place;

static tb_rc read_number(uint64_t *out, const char *key, const char *text,
                         tb_err *err)
{
    tb_rc rc = tb_text_u64(text, out, err);
    if (rc == TB_E_USAGE) {
        rc = tb_fail(err, TB_E_MALFORMED, "external data: %s is \"%.40s\"", key,
                     text);
    }
    return rc;
}

static tb_rc read_place(place *out, const Onnx__TensorProto *tensor,
                        tb_err *err)
{
    *out = (place){.length = UINT64_MAX};
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < tensor->n_external_data; i++) {
        const Onnx__StringStringEntryProto *entry = tensor->external_data[i];
        const char *key = entry->key != NULL ? entry->key : "";
        const char *value = entry->value != NULL ? entry->value : "";
        if (strcmp(key, "location") == 0) {
            out->location = value;
        } else if (strcmp(key, "offset") == 0) {
            rc = read_number(&out->offset, key, value, err);
        } else if (strcmp(key, "length") == 0) {
            rc = read_number(&out->length, key, value, err);
        } /* a checksum, or what others may write */
    }
    if (rc == TB_OK && out->location == NULL) {
        rc = tb_fail(err, TB_E_MALFORMED, "external data without a location");
    }
    return rc;
}

bool tb_onnx_is_external(const Onnx__TensorProto *tensor)
{
    return tensor->n_external_data > 0 ||
           (tensor->has_data_location &&
            tensor->data_location !=
                ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT);
}

/* Whether the tensor's bytes lie in the file, and were not taken before. */
static tb_rc check_range(const tb_onnx_data_file *file, const place *at,
                         size_t bytes, tb_err *err)
{
    if (at->length != UINT64_MAX && at->length != bytes) {
        return tb_fail(err, TB_E_MALFORMED,
                       "external data of %llu bytes, its shape says %zu",
                       (unsigned long long)at->length, bytes);
    }
    if (at->offset > file->bytes || bytes > file->bytes - at->offset) {
        return tb_fail(err, TB_E_MALFORMED,
                       "external data at \"%s\": bytes %llu to %llu + %zu of "
                       "%zu",
                       file->location, (unsigned long long)at->offset,
                       (unsigned long long)at->offset, bytes, file->bytes);
    }
    if (file->taken > file->bytes || bytes > file->bytes - file->taken) {
        return tb_fail(err, TB_E_MALFORMED,
                       "external data at \"%s\": its tensors overlap",
                       file->location);
    }
    return TB_OK;
}

tb_rc tb_onnx_external_find(tb_onnx_range *out, tb_onnx_folder *folder,
                            const Onnx__TensorProto *tensor, size_t bytes,
                            tb_err *err)
{
    place at;
    tb_rc rc = read_place(&at, tensor, err);
    if (rc == TB_OK) {
        rc = check_location(at.location, err);
    }
    if (rc == TB_OK && folder == NULL) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "its data lie in another file, \"%s\", and here is but "
                     "the model's own; save the model as one file",
                     at.location);
    }
    if (rc != TB_OK) {
        return rc;
    }
    size_t i = 0;
    while (i < folder->n_files &&
           strcmp(folder->files[i].location, at.location) != 0) {
        i++;
    }
    if (i == folder->n_files) {
        rc = add_file(folder, at.location, err);
    }
    if (rc == TB_OK) {
        rc = open_file(folder, i, err);
    }
    if (rc == TB_OK) {
        rc = check_range(&folder->files[i], &at, bytes, err);
    }
    if (rc == TB_OK) {
        folder->files[i].taken += bytes;
        *out = (tb_onnx_range){i, (size_t)at.offset};
    }
    return rc;
}

tb_rc tb_onnx_external_read(void *to, tb_onnx_folder *folder,
                            const tb_onnx_range *range, size_t bytes,
                            tb_err *err)
{
    uint8_t *at = to;
    size_t offset = range->offset;
    tb_rc rc = open_file(folder, range->file, err);
    while (rc == TB_OK && bytes > 0) {
        ssize_t n = pread(folder->open_fd, at, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            const char *name = folder->files[range->file].location;
            return n < 0 ? tb_fail_errno(err, errno, "external data at \"%s\"",
                                         name)
                         : tb_fail(err, TB_E_MALFORMED,
                                   "external data at \"%s\": cut off", name);
        }
        at += n;
        offset += (size_t)n;
        bytes -= (size_t)n;
    }
    return rc;
}
