#include "members.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "fed/record.h"
#include "host/store.h"

#define SEED      1
#define BATCH     500 /* clients of one transaction */
#define VALID_S   (1ull << 40)
#define FILE_SIZE (TB_SIGN_PUBLIC_BYTES + TB_CERTIFICATE_BYTES)

void load_name(tb_name *out, uint32_t number)
{
    *out = (tb_name){{0}};
    (void)snprintf(out->text, sizeof out->text, "load-%05u", number);
}

void load_seed(uint8_t out[static TB_KEY_SEED_BYTES], uint32_t number,
               const char *purpose)
{
    char text[96];
    int n =
        snprintf(text, sizeof text, "bench %d %s %u", SEED, purpose, number);
    tb_hash hash = tb_hash_of(text, (size_t)n);
    memcpy(out, hash.bytes, TB_KEY_SEED_BYTES);
}

/* --- what clients know ---------------------------------------------------- */

static tb_rc read_endpoint(load_federation *out, const tb_folder *folder,
                           tb_err *err)
{
    const char *path = tb_folder_path(folder, TB_ITEM_ENDPOINTS);
    tb_buf text;
    tb_buf_init(&text, 8192);
    tb_rc rc = tb_file_read(&text, path, err);
    if (rc == TB_OK) {
        rc = tb_buf_put_u8(&text, 0, err);
    }
    if (rc == TB_OK &&
        sscanf((const char *)text.data, "%*s %255s", out->endpoint) != 1) {
        rc = tb_fail(err, TB_E_MALFORMED, "%s", path);
    }
    tb_buf_release(&text);
    return rc;
}

static tb_rc read_certificate(load_federation *out, const tb_folder *folder,
                              tb_err *err)
{
    const char *path = tb_folder_path(folder, TB_ITEM_CERTIFICATE);
    tb_buf bytes;
    tb_buf_init(&bytes, FILE_SIZE);
    tb_rc rc = tb_file_read(&bytes, path, err);
    if (rc == TB_OK && bytes.len != FILE_SIZE) {
        rc = tb_fail(err, TB_E_MALFORMED, "%s", path);
    }
    if (rc == TB_OK) {
        memcpy(out->root, bytes.data, sizeof out->root);
        memcpy(out->certificate_bytes, bytes.data + sizeof out->root,
               sizeof out->certificate_bytes);
        out->id = tb_federation_of(out->root);
        rc = tb_certificate_decode(&out->certificate, out->certificate_bytes,
                                   sizeof out->certificate_bytes, err);
    }
    tb_buf_release(&bytes);
    return rc;
}

tb_rc load_federation_read(load_federation *out, const char *dir, tb_err *err)
{
    tb_folder *folder = NULL;
    *out = (load_federation){0};
    tb_rc rc = tb_folder_open(&folder, dir, TB_FOLDER_COORDINATOR,
                              TB_FOLDER_READ, err);
    if (rc == TB_OK) {
        rc = read_certificate(out, folder, err);
    }
    if (rc == TB_OK) {
        rc = read_endpoint(out, folder, err);
    }
    tb_folder_close(&folder);
    return rc;
}

/* --- members -------------------------------------------------------------- */

static tb_rc keys_of(tb_rec_enrolled *out, uint32_t number, tb_err *err)
{
    uint8_t seed[TB_KEY_SEED_BYTES];
    tb_sign_key *sign = NULL;
    tb_box_key *curve = NULL;
    load_seed(seed, number, "sign");
    tb_rc rc = tb_sign_key_from_seed(&sign, seed, err);
    if (rc == TB_OK) {
        load_seed(seed, number, "curve");
        rc = tb_box_key_from_seed(&curve, seed, err);
    }
    if (rc == TB_OK) {
        memcpy(out->sign_key, tb_sign_key_public(sign), sizeof out->sign_key);
        memcpy(out->curve_key, tb_box_key_public(curve), sizeof out->curve_key);
    }
    tb_sign_key_free(&sign);
    tb_box_key_free(&curve);
    return rc;
}

/* The two records of one client. */
static tb_rc records_of(tb_record out[static 2], uint32_t number, tb_err *err)
{
    uint8_t id[TB_KEY_SEED_BYTES];
    load_seed(id, number, "invite");
    memset(out, 0, 2 * sizeof *out);
    tb_rec_invited *invited = &out[0].u.invited;
    tb_rec_enrolled *enrolled = &out[1].u.enrolled;
    out[0].kind = TB_REC_INVITED;
    memcpy(invited->invite, id, sizeof invited->invite);
    load_name(&invited->client, number);
    invited->expires_s = VALID_S;
    out[1].kind = TB_REC_ENROLLED;
    memcpy(enrolled->invite, id, sizeof enrolled->invite);
    enrolled->client = invited->client;
    return keys_of(enrolled, number, err);
}

/* Appends the rows of clients [from, until) in one transaction. */
static tb_rc append(tb_store *store, uint32_t from, uint32_t until, tb_err *err)
{
    tb_row rows[2 * BATCH];
    tb_buf body[2 * BATCH];
    uint64_t seq = tb_store_head(store, NULL);
    size_t n = 0;
    tb_rc rc = TB_OK;
    for (uint32_t i = from; i < until && rc == TB_OK; i++) {
        tb_record record[2];
        rc = records_of(record, i, err);
        for (int k = 0; k < 2 && rc == TB_OK; k++, n++) {
            tb_buf_init(&body[n], TB_RECORD_BYTES_MAX);
            rc = tb_record_encode(&record[k], &body[n], err);
            rows[n] = (tb_row){.seq = seq + n + 1,
                               .kind = record[k].kind,
                               .body = body[n].data,
                               .body_bytes = body[n].len};
        }
    }
    if (rc == TB_OK) {
        rc = tb_store_append(store, rows, n, err);
    }
    for (size_t i = 0; i < n; i++) {
        tb_buf_release(&body[i]);
    }
    return rc;
}

tb_rc load_enrol(const char *dir, uint32_t n, tb_err *err)
{
    tb_folder *folder = NULL;
    tb_store *store = NULL;
    tb_rc rc = tb_folder_open(&folder, dir, TB_FOLDER_COORDINATOR,
                              TB_FOLDER_LOCK, err);
    if (rc == TB_OK) {
        rc = tb_store_open(&store, folder, err);
    }
    for (uint32_t i = 0; i < n && rc == TB_OK; i += BATCH) {
        rc = append(store, i, n - i < BATCH ? n : i + BATCH, err);
    }
    tb_store_close(&store);
    tb_folder_close(&folder);
    return rc;
}
