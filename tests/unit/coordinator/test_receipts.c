/* What clients hold against a journal: receipts of rows that were rolled back
 * together with HEAD, which nothing else would tell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"
#include "fed/client_priv.h"
#include "small_fleet.h"
#include "wire/receipt.h"

/* The folder of a client that holds a receipt of a row; 0: of none. */
typedef struct holder {
    char dir[600];
    uint64_t row;
    tb_hash head;
    uint32_t epoch;
    uint8_t id; /* first byte of the epoch's id */
} holder;

static void hold(const home *at, holder *h, const tb_sign_key *key)
{
    static tb_client cl;
    tb_err err;
    char path[700];
    uint8_t bytes[TB_CLIENT_STATE_BYTES_MAX];
    cl.receipt = (tb_msg_receipt){.sequence = h->row, .head = h->head};
    cl.epoch = h->epoch;
    cl.epoch_id[0] = h->id;
    tb_receipt_sign(&cl.receipt, key);
    if (h->dir[0] == '\0') {
        (void)snprintf(h->dir, sizeof h->dir, "%s.clients/anna", at->dir);
        CHECK_OK(tb_file_make_dir(h->dir, 0700, &err), err);
    }
    (void)snprintf(path, sizeof path, "%s/state", h->dir);
    CHECK_OK(
        tb_file_write(path, bytes, tb_cl_state_encode(&cl, bytes), 0600, &err),
        err);
}

/* Of the newest row. */
static holder holder_of(fleet *f)
{
    holder h = {.dir = ""};
    h.row = tb_store_head(f->store, &h.head);
    hold(&f->at, &h, f->keys.sign);
    return h;
}

/* What check says with receipts, or without (NULL). */
static size_t said_with(const home *at, const char *receipts, tb_check *counts,
                        char said[static 2048])
{
    tb_err err;
    tb_check_options o = {.dir = at->dir,
                          .master_key = at->master,
                          .parts = TB_CHECK_ALL,
                          .receipts = receipts};
    tb_check check;
    CHECK_OK(tb_check_run(&check, &o, &err), err);
    *counts = check;
    size_t n = check.n;
    said[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        size_t used = strlen(said);
        (void)snprintf(said + used, 2048 - used, "%s: %s: %s\n",
                       tb_finding_kind_name(check.at[i].kind), check.at[i].what,
                       check.at[i].means);
    }
    tb_check_release(&check);
    return n;
}

static void copy(const home *at, const char *from, const char *to)
{
    char command[4096];
    (void)snprintf(command, sizeof command,
                   "cp %s/%sjournal.sqlite %s/%sHEAD %s/%s", at->dir, from,
                   at->dir, from, at->dir, to);
    CHECK(system(command) == 0);
}

static void set_aside(const home *at)
{
    char dir[600];
    (void)snprintf(dir, sizeof dir, "%s/aside", at->dir);
    CHECK(mkdir(dir, 0700) == 0);
    copy(at, "", "aside/");
}

/* A fleet whose last two rows, of which a client holds the later one's receipt,
 * were rolled back with HEAD. */
static holder roll_back(fleet *f, const char *folder, uint64_t *rows)
{
    fleet_make(f, folder);
    *rows = tb_store_head(f->store, NULL);
    fleet_close(f);
    set_aside(&f->at);
    fleet_open(f);
    fleet_member(f, "carl");
    holder h = holder_of(f);
    fleet_close(f);
    return h;
}

static void rows_rolled_back_with_head_are_known_by_a_receipt(void **state)
{
    fleet f;
    tb_check c;
    char said[2048];
    char want[128];
    uint64_t rows = 0;
    holder h = roll_back(&f, *state, &rows);
    CHECK(said_with(&f.at, h.dir, &c, said) == 0);
    CHECK(c.n_receipts == 1 && c.n_outdated == 0);
    copy(&f.at, "aside/", "");
    (void)said_with(&f.at, NULL, &c, said);
    assert_string_equal(said, ""); /* it is sound in itself */
    CHECK(said_with(&f.at, h.dir, &c, said) == 1);
    (void)snprintf(want, sizeof want, "rows %llu to %llu at least are lost",
                   (unsigned long long)rows + 1, (unsigned long long)h.row);
    CHECK(strstr(said, "lost: ") == said && strstr(said, want) != NULL);
    CHECK(strstr(said, "signed it") == NULL);
}

static void a_journal_that_went_on_from_there_is_known_too(void **state)
{
    fleet f;
    tb_check c;
    char said[2048];
    uint64_t rows = 0;
    holder h = roll_back(&f, *state, &rows);
    copy(&f.at, "aside/", "");
    fleet_open(&f);
    fleet_member(&f, "dora");
    fleet_close(&f);
    CHECK(said_with(&f.at, NULL, &c, said) == 0);
    CHECK(said_with(&f.at, h.dir, &c, said) == 1);
    CHECK(strstr(said, "names another row") != NULL);
}

/* What a client may be given as, and what no client's folder is. */
static void a_client_its_file_or_all_of_them_may_be_named(void **state)
{
    fleet f;
    tb_err err;
    tb_check c;
    char said[2048];
    char path[700];
    char other[700];
    fleet_make(&f, *state);
    holder h = holder_of(&f);
    tb_sign_key *foreign = NULL;
    CHECK_OK(tb_sign_key_new(&foreign, &err), err);
    fleet_close(&f);
    (void)snprintf(path, sizeof path, "%s/state", h.dir);
    (void)snprintf(other, sizeof other, "%s.clients", f.at.dir);
    CHECK(said_with(&f.at, path, &c, said) == 0 && c.n_receipts == 1);
    CHECK(said_with(&f.at, other, &c, said) == 0 && c.n_receipts == 1);
    tb_check_options o = {.dir = f.at.dir,
                          .master_key = f.at.master,
                          .parts = TB_CHECK_ALL,
                          .receipts = f.at.dir};
    CHECK_ERR(tb_check_run(&c, &o, &err), TB_E_NOT_FOUND, err,
              "name a client's folder");
    h.head.bytes[5] ^= 1; /* of another federation */
    hold(&f.at, &h, foreign);
    CHECK(said_with(&f.at, other, &c, said) == 1);
    CHECK(strstr(said, "none of the keys of now signed it") != NULL);
    CHECK(truncate(path, 100) == 0);
    CHECK(said_with(&f.at, other, &c, said) == 1);
    CHECK(strstr(said, "damaged: ") == said && strstr(said, path) != NULL);
    tb_sign_key_free(&foreign);
}

static void restored(fleet *f, uint32_t epoch, uint8_t id)
{
    fleet_row(f, &(tb_record){.kind = TB_REC_RESTORED,
                              .u.restored = {.epoch = epoch, .id = {id}}});
}

/* The rows behind a restore are not those that a client of the time before it
 * was told of, and that is as it was announced. */
static void what_a_restore_gave_up_is_no_finding(void **state)
{
    fleet f;
    tb_check c;
    char said[2048];
    fleet_make(&f, *state);
    holder before = holder_of(&f);
    restored(&f, 1, 7);
    holder lost = before;
    lost.row++;
    hold(&f.at, &lost, f.keys.sign);
    CHECK(said_with(&f.at, lost.dir, &c, said) == 0);
    CHECK(c.n_receipts == 0 && c.n_outdated == 1);
    hold(&f.at, &before, f.keys.sign); /* a row that the backup had */
    CHECK(said_with(&f.at, lost.dir, &c, said) == 0 && c.n_receipts == 1);
    before.head.bytes[0] ^= 1;
    hold(&f.at, &before, f.keys.sign);
    CHECK(said_with(&f.at, lost.dir, &c, said) == 1);
    lost.epoch = 1; /* it follows the restored one, and still holds that */
    lost.id = 7;
    hold(&f.at, &lost, f.keys.sign);
    CHECK(said_with(&f.at, lost.dir, &c, said) == 1);
    fleet_close(&f);
}

static void a_client_of_a_later_or_another_epoch_is_known(void **state)
{
    fleet f;
    tb_check c;
    char said[2048];
    fleet_make(&f, *state);
    restored(&f, 1, 7);
    holder h = {.epoch = 2, .id = 9}; /* no receipt yet */
    hold(&f.at, &h, f.keys.sign);
    CHECK(said_with(&f.at, h.dir, &c, said) == 1);
    CHECK(strstr(said, "follows a coordinator of epoch 2") != NULL);
    h.epoch = 1;
    hold(&f.at, &h, f.keys.sign);
    CHECK(said_with(&f.at, h.dir, &c, said) == 1);
    CHECK(strstr(said, "follows another epoch 1") != NULL);
    h.id = 7;
    hold(&f.at, &h, f.keys.sign);
    CHECK(said_with(&f.at, h.dir, &c, said) == 0 && c.n_receipts == 0);
    fleet_close(&f);
}

#define IN_FOLDER(f)                                                           \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(rows_rolled_back_with_head_are_known_by_a_receipt),
        IN_FOLDER(a_journal_that_went_on_from_there_is_known_too),
        IN_FOLDER(a_client_its_file_or_all_of_them_may_be_named),
        IN_FOLDER(what_a_restore_gave_up_is_no_finding),
        IN_FOLDER(a_client_of_a_later_or_another_epoch_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
