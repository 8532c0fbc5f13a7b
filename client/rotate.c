#include "rotate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/rotate.h"

static const char *path(const tb_folder *folder, tb_folder_item item)
{
    return tb_folder_path(folder, item);
}

static tb_rc sync_keys(const tb_folder *folder, tb_err *err)
{
    char *keys = tb_file_join(tb_folder_dir(folder), "keys");
    tb_rc rc = keys != NULL ? tb_file_sync_dir(keys, err)
                            : tb_fail(err, TB_E_NOMEM, "keys: no memory");
    tb_mem_free(keys);
    return rc;
}

static tb_rc move_key(const tb_folder *folder, tb_folder_item from,
                      tb_folder_item to, tb_err *err)
{
    if (rename(path(folder, from), path(folder, to)) != 0) {
        return tb_fail_errno(err, errno, "%s", path(folder, from));
    }
    return sync_keys(folder, err);
}

tb_rc rotation_mend(const tb_folder *folder, tb_err *err)
{
    bool sign = tb_file_exists(path(folder, TB_ITEM_NEXT_SIGN_KEY));
    bool curve = tb_file_exists(path(folder, TB_ITEM_NEXT_CURVE_KEY));
    if (sign && !curve) {
        (void)unlink(path(folder, TB_ITEM_NEXT_SIGN_KEY));
        return sync_keys(folder, err);
    }
    return curve && !sign ? move_key(folder, TB_ITEM_NEXT_CURVE_KEY,
                                     TB_ITEM_CURVE_KEY, err)
                          : TB_OK;
}

tb_rc rotation_load(rotation *r, const home *h, tb_err *err)
{
    const char *sign = path(h->folder, TB_ITEM_NEXT_SIGN_KEY);
    const char *curve = path(h->folder, TB_ITEM_NEXT_CURVE_KEY);
    if (!tb_file_exists(sign)) {
        return TB_OK;
    }
    tb_rc rc = tb_sign_key_read(&r->sign, sign, err);
    if (rc == TB_OK) {
        rc = tb_box_key_read(&r->curve, curve, err);
    }
    if (rc == TB_OK) {
        r->phase = ROTATION_PROPOSED;
    } else {
        rotation_release(r);
    }
    return rc;
}

void rotation_release(rotation *r)
{
    tb_sign_key_free(&r->sign);
    tb_box_key_free(&r->curve);
}

tb_rc rotation_draw(rotation *r, const home *h, tb_err *err)
{
    tb_rc rc = tb_sign_key_new(&r->sign, err);
    if (rc == TB_OK) {
        rc = tb_box_key_new(&r->curve, err);
    }
    if (rc == TB_OK) { /* in this order: see the head of rotate.h */
        rc = tb_sign_key_write(r->sign, path(h->folder, TB_ITEM_NEXT_SIGN_KEY),
                               err);
    }
    if (rc == TB_OK) {
        rc = tb_box_key_write(r->curve, path(h->folder, TB_ITEM_NEXT_CURVE_KEY),
                              err);
    }
    if (rc == TB_OK) {
        r->phase = ROTATION_PROPOSED;
    } else {
        rotation_drop(r, h, rc, err != NULL ? err->text : "no room for keys");
    }
    return rc;
}

void rotation_message(const rotation *r, const home *h, tb_msg_rotate *out)
{
    tb_rotation proof = {.federation = tb_federation_of(h->fed.root)};
    memcpy(proof.name, h->fed.client.text, sizeof proof.name);
    memcpy(proof.curve_key, tb_box_key_public(r->curve),
           sizeof proof.curve_key);
    tb_rotation_sign(&proof, h->sign_key, r->sign);
    memcpy(out->sign_key, proof.sign_key, sizeof out->sign_key);
    memcpy(out->curve_key, proof.curve_key, sizeof out->curve_key);
    memcpy(out->by_old, proof.by_old, sizeof out->by_old);
    memcpy(out->by_new, proof.by_new, sizeof out->by_new);
}

tb_rc rotation_put_in_place(rotation *r, home *h, tb_err *err)
{
    tb_rc rc =
        move_key(h->folder, TB_ITEM_NEXT_SIGN_KEY, TB_ITEM_SIGN_KEY, err);
    if (rc == TB_OK) {
        rc =
            move_key(h->folder, TB_ITEM_NEXT_CURVE_KEY, TB_ITEM_CURVE_KEY, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    tb_sign_key_free(&h->retired);
    tb_box_key_free(&h->curve_key);
    h->retired = h->sign_key;
    h->sign_key = r->sign;
    h->curve_key = r->curve;
    r->sign = NULL;
    r->curve = NULL;
    r->dial_next = false;
    r->phase = ROTATION_IN_PLACE;
    return TB_OK;
}

void rotation_drop(rotation *r, const home *h, tb_rc rc, const char *why)
{
    (void)unlink(path(h->folder, TB_ITEM_NEXT_CURVE_KEY));
    (void)unlink(path(h->folder, TB_ITEM_NEXT_SIGN_KEY));
    rotation_release(r);
    r->dial_next = false;
    r->phase = ROTATION_DONE;
    r->rc = tb_fail(&r->err, rc, "%.200s", why);
}

uint64_t rotation_age_s(const home *h)
{
    struct stat st;
    int64_t now = tb_clock_unix_s();
    if (stat(path(h->folder, TB_ITEM_SIGN_KEY), &st) != 0 ||
        st.st_mtime > now) {
        return 0;
    }
    return (uint64_t)(now - st.st_mtime);
}
