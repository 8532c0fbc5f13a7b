#include "crypto/keys.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/crypto.h"
#include "crypto/keyfile.h"
#include "support/folder.h"
#include "vectors.h"

static void ed25519_public_key_is_the_one_of_rfc_8032(void **state)
{
    /* RFC 8032, 7.1, TEST 1 */
    uint8_t seed[32];
    uint8_t want[32];
    tb_sign_key *key = NULL;
    tb_err err = {0};
    (void)state;
    unhex(seed, 32,
          "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    unhex(want, 32,
          "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    CHECK_OK(tb_sign_key_from_seed(&key, seed, &err), err);
    assert_memory_equal(tb_sign_key_public(key), want, 32);
    tb_sign_key_free(&key);
}

static void x25519_public_key_is_the_one_of_rfc_7748(void **state)
{
    /* RFC 7748, 6.1, Alice */
    uint8_t secret[32];
    uint8_t want[32];
    tb_box_key *key = NULL;
    tb_err err = {0};
    (void)state;
    unhex(secret, 32,
          "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    unhex(want, 32,
          "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    CHECK_OK(tb_box_key_from_seed(&key, secret, &err), err);
    assert_memory_equal(tb_box_key_public(key), want, 32);
    assert_memory_equal(tb_box_key_secret(key), secret, 32);
    tb_box_key_free(&key);
}

static void each_kind_comes_back_from_its_file(void **state)
{
    const char *path = tb_test_folder_path(*state, "key");
    tb_err err = {0};
    tb_sign_key *sign = NULL;
    tb_sign_key *sign2 = NULL;
    tb_box_key *box = NULL;
    tb_box_key *box2 = NULL;
    tb_master_key *master = NULL;
    tb_master_key *master2 = NULL;
    CHECK_OK(tb_sign_key_new(&sign, &err), err);
    CHECK_OK(tb_sign_key_write(sign, path, &err), err);
    struct stat st;
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
    CHECK(st.st_size == TB_KEY_FILE_BYTES);
    CHECK_OK(tb_sign_key_read(&sign2, path, &err), err);
    assert_memory_equal(tb_sign_key_secret(sign), tb_sign_key_secret(sign2),
                        64);
    CHECK(unlink(path) == 0);

    CHECK_OK(tb_box_key_new(&box, &err), err);
    CHECK_OK(tb_box_key_write(box, path, &err), err);
    CHECK_OK(tb_box_key_read(&box2, path, &err), err);
    assert_memory_equal(tb_box_key_public(box), tb_box_key_public(box2), 32);
    CHECK(unlink(path) == 0);

    CHECK_OK(tb_master_key_new(&master, &err), err);
    CHECK_OK(tb_master_key_write(master, path, &err), err);
    CHECK_OK(tb_master_key_read(&master2, path, &err), err);
    assert_memory_equal(tb_master_key_secret(master),
                        tb_master_key_secret(master2), 32);

    tb_sign_key_free(&sign);
    tb_sign_key_free(&sign2);
    tb_box_key_free(&box);
    tb_box_key_free(&box2);
    tb_master_key_free(&master);
    tb_master_key_free(&master2);
    CHECK(tb_secret_live() == 0);
}

/* A key file of some secret, its path, and its bytes. */
static const char *key_file(const char *folder, uint8_t bytes[static 80])
{
    const char *path = tb_test_folder_path(folder, "key");
    uint8_t secret[32];
    tb_err err = {0};
    memset(secret, 7, sizeof secret);
    CHECK_OK(tb_keyfile_write(secret, TB_KEYFILE_SIGN, path, &err), err);
    tb_buf buf;
    tb_buf_init(&buf, 1000);
    CHECK_OK(tb_file_read(&buf, path, &err), err);
    CHECK(buf.len == TB_KEY_FILE_BYTES);
    memcpy(bytes, buf.data, buf.len);
    tb_buf_release(&buf);
    return path;
}

static void a_file_that_others_may_read_is_refused(void **state)
{
    uint8_t bytes[80];
    const char *path = key_file(*state, bytes);
    tb_sign_key *key = NULL;
    for (unsigned bit = 0; bit < 6; bit++) {
        tb_err err = {0};
        CHECK(chmod(path, 0600 | 1u << bit) == 0);
        CHECK_ERR(tb_sign_key_read(&key, path, &err), TB_E_DENIED, err,
                  "chmod 600");
        assert_null(key);
    }
}

static void a_symbolic_link_or_a_folder_is_refused(void **state)
{
    uint8_t bytes[80];
    const char *path = key_file(*state, bytes);
    const char *link = tb_test_folder_path(*state, "link");
    tb_sign_key *key = NULL;
    tb_err err = {0};
    CHECK(symlink(path, link) == 0);
    CHECK_ERR(tb_sign_key_read(&key, link, &err), TB_E_DENIED, err, "symbolic");
    CHECK_ERR(tb_sign_key_read(&key, *state, &err), TB_E_DENIED, err,
              "regular file");
    CHECK_ERR(tb_sign_key_read(&key, tb_test_folder_path(*state, "none"), &err),
              TB_E_NOT_FOUND, err, "none");
}

static void a_file_of_another_user_is_refused(void **state)
{
    if (geteuid() != 0) {
        skip(); /* only root can give a file away */
    }
    uint8_t bytes[80];
    const char *path = key_file(*state, bytes);
    tb_sign_key *key = NULL;
    tb_err err = {0};
    CHECK(chown(path, 1234, (gid_t)-1) == 0);
    CHECK_ERR(tb_sign_key_read(&key, path, &err), TB_E_DENIED, err, "1234");
}

static void a_key_is_never_overwritten(void **state)
{
    uint8_t bytes[80];
    const char *path = key_file(*state, bytes);
    tb_box_key *key = NULL;
    tb_err err = {0};
    CHECK_OK(tb_box_key_new(&key, &err), err);
    CHECK_ERR(tb_box_key_write(key, path, &err), TB_E_EXISTS, err,
              "never overwritten");
    tb_box_key_free(&key);
}

static void a_key_of_another_kind_is_a_mismatch(void **state)
{
    uint8_t bytes[80];
    const char *path = key_file(*state, bytes);
    tb_box_key *key = NULL;
    tb_err err = {0};
    CHECK_ERR(tb_box_key_read(&key, path, &err), TB_E_MISMATCH, err,
              "of a signing key, not of a CURVE key");
}

static void rewrite(const char *path, const uint8_t *bytes, size_t len)
{
    tb_err err = {0};
    CHECK_OK(tb_file_write(path, bytes, len, 0600, &err), err);
}

static void a_file_cut_at_any_byte_is_malformed(void **state)
{
    uint8_t bytes[80];
    const char *path = key_file(*state, bytes);
    tb_sign_key *key = NULL;
    for (size_t len = 0; len < sizeof bytes; len++) {
        tb_err err = {0};
        rewrite(path, bytes, len);
        CHECK(tb_sign_key_read(&key, path, &err) == TB_E_MALFORMED);
    }
    uint8_t longer[81] = {0};
    memcpy(longer, bytes, sizeof bytes);
    rewrite(path, longer, sizeof longer);
    tb_err err = {0};
    CHECK_ERR(tb_sign_key_read(&key, path, &err), TB_E_MALFORMED, err, "more");
}

static void a_bit_flipped_in_any_byte_is_seen(void **state)
{
    uint8_t bytes[80];
    const char *path = key_file(*state, bytes);
    tb_sign_key *key = NULL;
    for (size_t i = 0; i < sizeof bytes; i++) {
        tb_err err = {0};
        uint8_t bad[80];
        memcpy(bad, bytes, sizeof bad);
        bad[i] ^= (uint8_t)(1u << (i % 8));
        rewrite(path, bad, sizeof bad);
        tb_rc rc = tb_sign_key_read(&key, path, &err);
        /* bytes 4 to 7 are the version, and only it may be newer */
        CHECK(rc == (i >= 4 && i < 8 ? TB_E_UNSUPPORTED : TB_E_MALFORMED));
    }
}

static tb_rc make_keys(void *arg, tb_err *err)
{
    tb_sign_key *sign = NULL;
    tb_box_key *box = NULL;
    tb_master_key *master = NULL;
    (void)arg;
    tb_rc rc = tb_sign_key_new(&sign, err);
    if (rc == TB_OK) {
        rc = tb_box_key_new(&box, err);
    }
    if (rc == TB_OK) {
        rc = tb_master_key_new(&master, err);
    }
    tb_sign_key_free(&sign);
    tb_box_key_free(&box);
    tb_master_key_free(&master);
    CHECK(tb_secret_live() == 0);
    return rc;
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    CHECK(tb_check_each_allocation(make_keys, NULL) == 3);
}

#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ed25519_public_key_is_the_one_of_rfc_8032),
        cmocka_unit_test(x25519_public_key_is_the_one_of_rfc_7748),
        IN_FOLDER(each_kind_comes_back_from_its_file),
        IN_FOLDER(a_file_that_others_may_read_is_refused),
        IN_FOLDER(a_symbolic_link_or_a_folder_is_refused),
        IN_FOLDER(a_file_of_another_user_is_refused),
        IN_FOLDER(a_key_is_never_overwritten),
        IN_FOLDER(a_key_of_another_kind_is_a_mismatch),
        IN_FOLDER(a_file_cut_at_any_byte_is_malformed),
        IN_FOLDER(a_bit_flipped_in_any_byte_is_seen),
        cmocka_unit_test(each_allocation_may_fail),
    };
    tb_err err = {0};
    return tb_crypto_init(&err) == TB_OK
               ? cmocka_run_group_tests(tests, NULL, NULL)
               : 1;
}
