/* Models that were pulled: nothing is used that was not checked. */
#include "base/file.h"
#include "base/mem.h"
#include "client/registry.h"
#include "member_home.h"

static tb_name small(void)
{
    tb_name name;
    CHECK(tb_name_set(&name, "small"));
    return name;
}

static tb_rc take(member_home *m, tb_err *err)
{
    tb_manifest manifest;
    tb_name name = small();
    tb_rc rc = registry_take(&m->home, &m->msg, &name, &manifest, err);
    if (rc == TB_OK) {
        tb_manifest_release(&manifest);
    }
    return rc;
}

static void a_signed_manifest_is_kept_and_read_back(void **state)
{
    tb_err err;
    member_home m;
    tb_manifest manifest;
    tb_name name = small();
    member_home_open(&m, *state);
    CHECK(registry_sequence(&m.home, &name) == 0);
    member_home_sign(&m, "small", 3);
    CHECK_OK(take(&m, &err), err);
    CHECK_OK(registry_manifest(&m.home, &name, &manifest, &err), err);
    CHECK(manifest.sequence == 3 && manifest.n_artefacts == 1);
    CHECK(registry_sequence(&m.home, &name) == 3);
    tb_manifest_release(&manifest);
    member_home_close(&m);
}

static void a_sequence_never_falls(void **state)
{
    tb_err err;
    member_home m;
    member_home_open(&m, *state);
    member_home_sign(&m, "small", 3);
    CHECK_OK(take(&m, &err), err);
    CHECK_OK(take(&m, &err), err); /* the same again is fine */
    member_home_sign(&m, "small", 2);
    CHECK_ERR(take(&m, &err), TB_E_DENIED, err, "older");
    member_home_sign(&m, "small", 4);
    CHECK_OK(take(&m, &err), err);
    member_home_close(&m);
}

static void a_restored_coordinator_counts_on_from_what_it_has(void **state)
{
    tb_err err;
    member_home m;
    member_home_open(&m, *state);
    member_home_sign(&m, "small", 3); /* lost with the old coordinator */
    CHECK_OK(take(&m, &err), err);
    m.epoch = 1;
    member_home_sign(&m, "small", 2);
    CHECK_OK(take(&m, &err), err);
    m.epoch = 0;
    member_home_sign(&m, "small", 4); /* of a copy that was left running */
    CHECK_ERR(take(&m, &err), TB_E_DENIED, err, "older");
    member_home_close(&m);
}

static void what_the_coordinator_did_not_sign_is_denied(void **state)
{
    tb_err err;
    member_home m;
    member_home_open(&m, *state);
    member_home_sign(&m, "small", 1);
    m.bytes.data[m.bytes.len / 2] ^= 1;
    CHECK_ERR(take(&m, &err), TB_E_DENIED, err, "small");
    member_home_sign(&m, "small", 1);
    tb_sign(m.msg.signature, m.root, TB_SIGN_MANIFEST, m.bytes.data,
            m.bytes.len);
    CHECK_ERR(take(&m, &err), TB_E_DENIED, err, "small");
    member_home_sign(&m, "other", 1);
    CHECK_ERR(take(&m, &err), TB_E_DENIED, err, "other");
    member_home_close(&m);
}

static void a_manifest_file_cut_or_changed_anywhere_is_refused(void **state)
{
    tb_err err;
    member_home m;
    tb_manifest manifest;
    tb_name name = small();
    tb_buf whole;
    char *path = NULL;
    tb_buf_init(&whole, 1 << 16);
    member_home_open(&m, *state);
    member_home_sign(&m, "small", 3);
    CHECK_OK(take(&m, &err), err);
    CHECK_OK(home_path(&path, &m.home, TB_ITEM_MODELS, "small/manifest", &err),
             err);
    CHECK_OK(tb_file_read(&whole, path, &err), err);
    for (size_t n = 0; n < whole.len; n++) {
        CHECK_OK(tb_file_write(path, whole.data, n, 0600, &err), err);
        CHECK(registry_manifest(&m.home, &name, &manifest, &err) != TB_OK);
        whole.data[n] ^= 0x20;
        CHECK_OK(tb_file_write(path, whole.data, whole.len, 0600, &err), err);
        CHECK(registry_manifest(&m.home, &name, &manifest, &err) != TB_OK);
        whole.data[n] ^= 0x20;
    }
    tb_mem_free(path);
    tb_buf_release(&whole);
    member_home_close(&m);
}

static void
an_artefact_is_checked_when_it_comes_and_when_it_is_used(void **state)
{
    tb_err err;
    member_home m;
    tb_manifest manifest;
    tb_name name = small();
    registry_item item;
    member_home_open(&m, *state);
    member_home_sign(&m, "small", 1);
    CHECK_OK(registry_take(&m.home, &m.msg, &name, &manifest, &err), err);
    const tb_artefact *a = &manifest.artefacts[0];
    const uint8_t *stored = tb_shared_data(m.stored);
    size_t n = tb_shared_bytes(m.stored);
    uint8_t wrong = stored[n - 1] ^ 1;
    CHECK_ERR(registry_check(&m.home, &manifest, a, &err), TB_E_NOT_FOUND, err,
              "tributary pull small");
    CHECK_OK(registry_item_at(&item, &m.home, &manifest, a, 0, &err), err);
    CHECK(registry_part_bytes(&item) == 0);
    CHECK_OK(registry_part_write(&item, 0, stored, n - 1, &err), err);
    CHECK(registry_part_bytes(&item) == n - 1); /* to go on from there */
    CHECK_OK(registry_part_write(&item, n - 1, &wrong, 1, &err), err);
    CHECK(registry_part_finish(&item, &err) != TB_OK);
    CHECK(registry_part_bytes(&item) == 0 && !tb_file_exists(item.path));
    CHECK_OK(registry_part_write(&item, 0, stored, n, &err), err);
    CHECK_OK(registry_part_finish(&item, &err), err);
    CHECK(!tb_file_exists(item.part));
    CHECK_OK(registry_check(&m.home, &manifest, a, &err), err);
    CHECK_OK(tb_file_write(item.path, "other", 5, 0600, &err), err);
    CHECK_ERR(registry_check(&m.home, &manifest, a, &err), TB_E_MISMATCH, err,
              "pull it again");
    registry_item_release(&item);
    tb_manifest_release(&manifest);
    member_home_close(&m);
}

#define TEST(f)                                                                \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_signed_manifest_is_kept_and_read_back),
        TEST(a_sequence_never_falls),
        TEST(a_restored_coordinator_counts_on_from_what_it_has),
        TEST(what_the_coordinator_did_not_sign_is_denied),
        TEST(a_manifest_file_cut_or_changed_anywhere_is_refused),
        TEST(an_artefact_is_checked_when_it_comes_and_when_it_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
