/* Which of a member's keys an update may have been signed with; and the end of
 * a change of the coordinator's own. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "crypto/seal.h"
#include "daemon.h"
#include "home.h"
#include "support/check.h"

static void an_update_sealed_before_the_rotation_counts_for_a_time(void **state)
{
    static const uint8_t seeds[3][TB_KEY_SEED_BYTES] = {{1}, {2}, {3}};
    tb_sign_key *keys[3];
    tb_err err = {0};
    (void)state;
    CHECK_OK(tb_crypto_init(&err), err);
    for (size_t i = 0; i < 3; i++) {
        CHECK_OK(tb_sign_key_from_seed(&keys[i], seeds[i], &err), err);
    }
    uint64_t now = (uint64_t)tb_clock_unix_s();
    tb_member m = {.n_old = 2};
    memcpy(m.sign_key, tb_sign_key_public(keys[0]), 32);
    for (size_t i = 0; i < 2; i++) {
        memcpy(m.old[i].sign_key, tb_sign_key_public(keys[i + 1]), 32);
        m.old[i].until_s = now + 1000;
    }
    for (size_t i = 0; i < 3; i++) {
        tb_order order = {.update = {.bytes = {9}}};
        order.upload.config.bytes[0] = 7;
        tb_update_sign(order.signature, keys[i], &order.upload.config,
                       &order.update);
        CHECK(memcmp(tb_daemon_signer(&m, &order), tb_sign_key_public(keys[i]),
                     32) == 0);
        tb_member late = m;
        late.old[0].until_s = now;
        late.old[1].until_s = now;
        CHECK(memcmp(tb_daemon_signer(&late, &order),
                     tb_sign_key_public(keys[0]), 32) == 0);
    }
    for (size_t i = 0; i < 3; i++) {
        tb_sign_key_free(&keys[i]);
    }
}

/* --- the coordinator's own keys ------------------------------------------- */

/* A change whose last row is durable, with nothing in the folder but the next
 * keys. */
static tb_rec_coordinator_key finish_of(const tb_folder *folder)
{
    tb_err err = {0};
    tb_keys now = {0};
    tb_sign_key *root = NULL, *sign = NULL;
    tb_box_key *curve = NULL;
    tb_rec_coordinator_key r = {.step = TB_ROTATION_IN_USE,
                                .listen = "tcp://127.0.0.1:7001",
                                .enrol = "tcp://127.0.0.1:7002"};
    CHECK_OK(tb_keys_read_public(&now, folder, &err), err);
    CHECK_OK(
        tb_sign_key_read(&root, tb_folder_path(folder, TB_ITEM_ROOT_KEY), &err),
        err);
    CHECK_OK(tb_keys_draw_next(&sign, &curve, folder, &err), err);
    tb_certificate *c = &r.move.certificate;
    *c = now.certificate;
    c->serial++;
    memcpy(c->sign_key, tb_sign_key_public(sign), sizeof c->sign_key);
    memcpy(c->curve_key, tb_box_key_public(curve), sizeof c->curve_key);
    tb_certificate_sign(c, root);
    tb_sign_key_free(&root);
    tb_sign_key_free(&sign);
    tb_box_key_free(&curve);
    tb_keys_release(&now);
    return r;
}

static bool is_settled(const tb_daemon *d, const tb_rec_coordinator_key *r)
{
    tb_err err = {0};
    bool settled = false;
    CHECK_OK(
        tb_keys_settled(&settled, d->state.folder, &r->move.certificate, &err),
        err);
    return settled;
}

/* By the certificate a start knows that all is done: where the doors cannot be
 * written down it stays the old one, and the next start does it again. */
static void the_certificate_is_written_behind_the_doors(void **state)
{
    tb_err err = {0};
    tb_buf text;
    home h = make_home(*state);
    tb_daemon_settings settings = {.listen = "tcp://127.0.0.1:*",
                                   .listen_enrol = "tcp://127.0.0.1:*"};
    tb_daemon *d = tb_mem_array(1, sizeof *d);
    CHECK(d != NULL);
    d->settings = &settings;
    CHECK_OK(tb_folder_open(&d->state.folder, h.dir, TB_FOLDER_COORDINATOR,
                            TB_FOLDER_LOCK, &err),
             err);
    tb_rec_coordinator_key r = finish_of(d->state.folder);
    const char *doors = tb_folder_path(d->state.folder, TB_ITEM_ENDPOINTS);
    CHECK(mkdir(doors, 0700) == 0);
    CHECK(tb_daemon_settle_move(d, &r, &err) != TB_OK);
    CHECK(!is_settled(d, &r));
    CHECK(rmdir(doors) == 0);
    CHECK_OK(tb_daemon_settle_move(d, &r, &err), err);
    CHECK(is_settled(d, &r));
    tb_buf_init(&text, 4096);
    CHECK_OK(tb_file_read(&text, doors, &err), err);
    CHECK_OK(tb_buf_put(&text, "", 1, &err), err);
    assert_string_equal((const char *)text.data,
                        "tcp://127.0.0.1:* tcp://127.0.0.1:7001\n"
                        "tcp://127.0.0.1:* tcp://127.0.0.1:7002\n");
    tb_buf_release(&text);
    tb_folder_close(&d->state.folder);
    tb_mem_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            an_update_sealed_before_the_rotation_counts_for_a_time),
        cmocka_unit_test_setup_teardown(
            the_certificate_is_written_behind_the_doors, tb_test_folder_setup,
            tb_test_folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
