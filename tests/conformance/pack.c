#include "conformance/pack.h"

#include <string.h>

#include "base/mem.h"
#include "data/source.h"

#define MAGIC     "TBNODES1"
#define MAX_BYTES ((size_t)64 << 20)
#define MAX_CASES 100000

typedef struct blob {
    const uint8_t *at;
    size_t len;
} blob;

typedef struct reader {
    tb_cursor c;
    blob *blobs;
    uint32_t n_blobs;
    tb_rc rc; /* sticky */
    tb_err *err;
} reader;

static uint32_t take_u32(reader *r)
{
    uint32_t v = 0;
    if (r->rc == TB_OK) {
        r->rc = tb_cursor_u32(&r->c, &v, r->err);
    }
    return v;
}

static uint8_t take_u8(reader *r)
{
    uint8_t v = 0;
    if (r->rc == TB_OK) {
        r->rc = tb_cursor_u8(&r->c, &v, r->err);
    }
    return v;
}

static double take_f64(reader *r)
{
    uint64_t bits = 0;
    double v = 0;
    if (r->rc == TB_OK) {
        r->rc = tb_cursor_u64(&r->c, &bits, r->err);
    }
    memcpy(&v, &bits, sizeof v);
    return v;
}

static blob take_bytes(reader *r)
{
    blob b = {NULL, take_u32(r)};
    if (r->rc == TB_OK) {
        r->rc = tb_cursor_take(&r->c, &b.at, b.len, r->err);
    }
    return b;
}

static blob take_blob(reader *r)
{
    uint32_t at = take_u32(r);
    if (r->rc == TB_OK && at >= r->n_blobs) {
        r->rc =
            tb_fail(r->err, TB_E_MALFORMED, "blob %u of %u", at, r->n_blobs);
    }
    return r->rc == TB_OK ? r->blobs[at] : (blob){0};
}

static tb_tensor take_tensor(reader *r)
{
    tb_tensor t = {0};
    int64_t dims[256] = {0};
    blob data = take_blob(r);
    t.dtype = (tb_dtype)take_u8(r);
    size_t rank = take_u8(r);
    for (size_t i = 0; i < rank; i++) {
        dims[i] = take_u32(r);
    }
    if (r->rc == TB_OK) {
        r->rc = tb_shape_from(&t.shape, dims, rank, r->err);
    }
    if (tb_dtype_bytes(t.dtype) == 0) {
        t.dtype = TB_DTYPE_NONE;
    } else if (r->rc == TB_OK && tb_tensor_bytes(&t) != data.len) {
        r->rc = tb_fail(r->err, TB_E_MALFORMED, "%zu bytes in a tensor of %zu",
                        data.len, tb_tensor_bytes(&t));
    }
    t.data = (void *)(uintptr_t)data.at;
    return t;
}

static void take_case(reader *r, pack_case *out)
{
    blob name = take_bytes(r);
    if (r->rc == TB_OK && name.len >= sizeof out->name) {
        r->rc = tb_fail(r->err, TB_E_MALFORMED, "a name of %zu", name.len);
    }
    if (r->rc == TB_OK) {
        memcpy(out->name, name.at, name.len);
    }
    out->rtol = take_f64(r);
    out->atol = take_f64(r);
    blob model = take_blob(r);
    out->model = model.at;
    out->n_model = model.len;
    out->n_in = take_u32(r);
    out->n_out = take_u32(r);
    if (r->rc != TB_OK || out->n_in > 1000 || out->n_out > 1000) {
        return;
    }
    out->ends = tb_mem_array(out->n_in + out->n_out, sizeof out->ends[0]);
    for (size_t i = 0; out->ends != NULL && i < out->n_in + out->n_out; i++) {
        out->ends[i] = take_tensor(r);
    }
    if (out->ends == NULL) {
        r->rc = tb_fail(r->err, TB_E_NOMEM, "%zu tensors", out->n_in);
    }
}

static tb_rc load(tb_buf *out, const char *path, tb_err *err)
{
    tb_source *s = NULL;
    size_t got = 1;
    tb_rc rc = tb_source_open(&s, path, err);
    while (rc == TB_OK && got > 0) {
        uint8_t piece[65536];
        rc = tb_source_read_some(s, piece, sizeof piece, &got, err);
        if (rc == TB_OK) {
            rc = tb_buf_put(out, piece, got, err);
        }
    }
    tb_source_close(&s);
    return rc;
}

tb_rc pack_open(pack *out, const char *path, tb_err *err)
{
    reader r = {.err = err};
    const uint8_t *magic = NULL;
    *out = (pack){0};
    tb_buf_init(&out->bytes, MAX_BYTES);
    r.rc = load(&out->bytes, path, err);
    r.c = (tb_cursor){out->bytes.data, out->bytes.len};
    if (r.rc == TB_OK) {
        r.rc = tb_cursor_take(&r.c, &magic, strlen(MAGIC), err);
    }
    if (r.rc == TB_OK && memcmp(magic, MAGIC, strlen(MAGIC)) != 0) {
        r.rc = tb_fail(err, TB_E_MALFORMED, "%s: no node tests", path);
    }
    uint32_t n_blobs = take_u32(&r);
    r.blobs = tb_mem_array(n_blobs % MAX_CASES, sizeof r.blobs[0]);
    for (; r.rc == TB_OK && r.n_blobs < n_blobs % MAX_CASES; r.n_blobs++) {
        r.blobs[r.n_blobs] = take_bytes(&r);
    }
    size_t n = take_u32(&r) % MAX_CASES;
    out->cases = tb_mem_array(n, sizeof out->cases[0]);
    if (r.rc == TB_OK && (r.blobs == NULL || out->cases == NULL)) {
        r.rc = tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    for (; r.rc == TB_OK && out->n < n; out->n++) {
        take_case(&r, &out->cases[out->n]);
    }
    tb_mem_free(r.blobs);
    if (r.rc != TB_OK) {
        pack_close(out);
    }
    return r.rc;
}

void pack_close(pack *p)
{
    for (size_t i = 0; i < p->n; i++) {
        tb_mem_free(p->cases[i].ends);
    }
    tb_mem_free(p->cases);
    tb_buf_release(&p->bytes);
    *p = (pack){0};
}
