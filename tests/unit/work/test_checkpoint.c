/* The sum of a round on its way over a restart. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "support/check.h"
#include "support/folder.h"
#include "support/sealed.h"
#include "work/checkpoint.h"

/* --- the checkpoint ------------------------------------------------------- */

static tb_master_key *master;

static tb_checkpoint place(const sealed_round *f)
{
    static char path[1024]; /* outlives those of tb_test_folder_path */
    (void)snprintf(path, sizeof path, "%s/c.sum", f->dir);
    tb_checkpoint c = {.path = path,
                       .master = master,
                       .run = f->config.run,
                       .config = f->hash,
                       .row = 17};
    c.chain = tb_hash_of("row 17", 6);
    return c;
}

/* What fits is told, and what it answers. */
typedef struct asked {
    size_t n;
    uint64_t row;
    tb_rc answer;
} asked;

static tb_rc fits(void *arg, const tb_checkpoint *c, const tb_counted *counted,
                  size_t n, tb_err *err)
{
    asked *a = arg;
    tb_hash chain = tb_hash_of("row 17", 6);
    a->n = n;
    a->row = c->row;
    CHECK(tb_hash_equal(&c->chain, &chain));
    CHECK(n == 0 || counted[0].weight == 300);
    return a->answer == TB_OK ? TB_OK : tb_fail(err, a->answer, "fits not");
}

static tb_hash hash_of(const sealed_round *f)
{
    return tb_sum_hash(tb_intake_sum(f->intake));
}

static bool is_empty(const sealed_round *f)
{
    size_t n = 0;
    uint8_t value[8];
    uint8_t any = 0;
    tb_err err;
    (void)tb_intake_counted(f->intake, &n);
    for (size_t i = 0; i < SEALED_VALUES; i += 1000) {
        CHECK_OK(tb_sum_values_get(tb_intake_sum(f->intake), i, value, 1, &err),
                 err);
        for (size_t j = 0; j < sizeof value; j++) {
            any |= value[j];
        }
    }
    return n == 0 && any == 0 && tb_sum_updates(tb_intake_sum(f->intake)) == 0;
}

/* An intake after a restart. */
static void reopen(sealed_round *f)
{
    tb_intake_free(&f->intake);
    sealed_open(f);
}

/* Two updates in and two blocks of a third; settled and written. */
static tb_hash write_two(sealed_round *f, sealed_update *a, sealed_update *b)
{
    tb_err err = {0};
    sealed_setup(f, f->dir);
    *a = sealed_make(f, "a", 300, 1.0F, 3.0F);
    *b = sealed_make(f, "b", 100, -1.0F, 1.0F);
    sealed_update half = sealed_make(f, "c", 50, 2.0F, 2.0F);
    sealed_send(f, a);
    sealed_send(f, b);
    tb_hash two = hash_of(f);
    CHECK(sealed_add(f, &half, 0).rc == TB_OK);
    CHECK(sealed_add(f, &half, 1).rc == TB_OK);
    tb_hash with_half = hash_of(f);
    CHECK(!tb_hash_equal(&two, &with_half));
    CHECK_OK(tb_intake_settle(f->intake, &err), err);
    tb_hash settled = hash_of(f);
    CHECK(tb_hash_equal(&two, &settled));
    tb_checkpoint c = place(f);
    CHECK_OK(tb_checkpoint_write(&c, f->intake, INT64_MAX, &err), err);
    sealed_release(&half);
    return two;
}

static void begin_test(sealed_round *f, void **state)
{
    tb_err err = {0};
    memset(f, 0, sizeof *f);
    f->dir = *state;
    CHECK_OK(tb_crypto_init(&err), err);
    CHECK_OK(tb_master_key_new(&master, &err), err);
}

static void end_test(sealed_round *f, sealed_update *a, sealed_update *b)
{
    sealed_release(a);
    sealed_release(b);
    sealed_teardown(f);
    tb_master_key_free(&master);
}

static void a_restart_has_the_same_sum_without_the_spool(void **state)
{
    sealed_round f;
    sealed_update a, b;
    tb_err err = {0};
    asked q = {.answer = TB_OK};
    begin_test(&f, state);
    tb_hash two = write_two(&f, &a, &b);
    reopen(&f);
    tb_checkpoint c = place(&f);
    c.row = 0;
    CHECK_OK(tb_checkpoint_read(&c, f.intake, fits, &q, &err), err);
    tb_hash now = hash_of(&f);
    CHECK(q.n == 2 && q.row == 17 && tb_hash_equal(&two, &now));
    /* what the machine orders then adds nothing, and a third does */
    tb_verdict v = {0};
    tb_intake_add_stored(f.intake, f.intake, &a.order, &v);
    tb_intake_add_stored(f.intake, f.intake, &b.order, &v);
    now = hash_of(&f);
    CHECK(v.rc == TB_OK && tb_hash_equal(&two, &now));
    tb_intake_drop_stored(f.intake, f.intake, &b.order, &v);
    size_t n = 0;
    (void)tb_intake_counted(f.intake, &n);
    CHECK(v.rc == TB_OK && n == 1); /* purged: it is not in it any more */
    tb_intake_add_stored(f.intake, f.intake, &b.order, &v);
    now = hash_of(&f);
    CHECK(v.rc == TB_OK && tb_hash_equal(&two, &now));
    sealed_update third = sealed_make(&f, "d", 10, 1.0F, 1.0F);
    sealed_send(&f, &third);
    CHECK(tb_sum_updates(tb_intake_sum(f.intake)) == 3);
    sealed_release(&third);
    end_test(&f, &a, &b);
}

static void an_update_with_other_weights_is_not_the_one_in_it(void **state)
{
    sealed_round f;
    sealed_update a, b;
    tb_err err = {0};
    asked q = {.answer = TB_OK};
    begin_test(&f, state);
    tb_hash two = write_two(&f, &a, &b);
    reopen(&f);
    tb_checkpoint c = place(&f);
    CHECK_OK(tb_checkpoint_read(&c, f.intake, fits, &q, &err), err);
    tb_verdict v = {0};
    a.order.weight = 299;
    a.order.full = 299;
    tb_intake_add_stored(f.intake, f.intake, &a.order, &v);
    tb_hash now = hash_of(&f);
    CHECK(v.rc != TB_OK || !tb_hash_equal(&two, &now)); /* not passed over */
    end_test(&f, &a, &b);
}

static void each_altered_byte_and_each_cut_is_found(void **state)
{
    sealed_round f;
    sealed_update a, b;
    tb_err err = {0};
    tb_buf file;
    begin_test(&f, state);
    (void)write_two(&f, &a, &b);
    tb_checkpoint c = place(&f);
    tb_buf_init(&file, 1 << 20);
    CHECK_OK(tb_file_read(&file, c.path, &err), err);
    CHECK(file.len > 8 * SEALED_VALUES && file.len < 8 * SEALED_VALUES + 1024);
    reopen(&f);
    for (size_t i = 0; i < file.len; i += i < 512 ? 1 : 20011) {
        asked q = {.answer = TB_OK};
        file.data[i] ^= 0x10;
        (void)tb_test_folder_write(f.dir, "c.sum", file.data, file.len);
        CHECK(tb_checkpoint_read(&c, f.intake, fits, &q, &err) != TB_OK);
        CHECK(is_empty(&f));
        file.data[i] ^= 0x10;
    }
    for (size_t len = 0; len < file.len; len += len < 64 ? 1 : 30011) {
        asked q = {.answer = TB_OK};
        (void)tb_test_folder_write(f.dir, "c.sum", file.data, len);
        CHECK(tb_checkpoint_read(&c, f.intake, fits, &q, &err) != TB_OK);
        CHECK(is_empty(&f));
    }
    CHECK(tb_buf_put_u8(&file, 0, &err) == TB_OK);
    (void)tb_test_folder_write(f.dir, "c.sum", file.data, file.len);
    asked q = {.answer = TB_OK};
    CHECK_ERR(tb_checkpoint_read(&c, f.intake, fits, &q, &err), TB_E_MALFORMED,
              err, "more than");
    CHECK(is_empty(&f));
    tb_buf_release(&file);
    end_test(&f, &a, &b);
}

static void what_does_not_fit_is_not_used(void **state)
{
    sealed_round f;
    sealed_update a, b;
    tb_err err = {0};
    asked q = {.answer = TB_E_MISMATCH};
    tb_master_key *other = NULL;
    begin_test(&f, state);
    (void)write_two(&f, &a, &b);
    reopen(&f);
    tb_checkpoint c = place(&f);
    CHECK_ERR(tb_checkpoint_read(&c, f.intake, fits, &q, &err), TB_E_MISMATCH,
              err, "fits not");
    c = place(&f);
    c.config.bytes[0] ^= 1; /* of another round */
    CHECK_ERR(tb_checkpoint_read(&c, f.intake, fits, &q, &err), TB_E_DENIED,
              err, "does not open");
    c = place(&f);
    CHECK_OK(tb_master_key_new(&other, &err), err);
    c.master = other;
    CHECK_ERR(tb_checkpoint_read(&c, f.intake, fits, &q, &err), TB_E_DENIED,
              err, "does not open");
    c = place(&f);
    c.path = tb_test_folder_path(f.dir, "none.sum");
    CHECK_ERR(tb_checkpoint_read(&c, f.intake, fits, &q, &err), TB_E_NOT_FOUND,
              err, "none.sum");
    CHECK(is_empty(&f));
    tb_master_key_free(&other);
    end_test(&f, &a, &b);
}

static void no_time_leaves_no_file(void **state)
{
    sealed_round f;
    sealed_update a, b;
    tb_err err = {0};
    begin_test(&f, state);
    (void)write_two(&f, &a, &b);
    tb_checkpoint c = place(&f);
    c.path = tb_test_folder_path(f.dir, "late.sum");
    CHECK_ERR(tb_checkpoint_write(&c, f.intake, tb_clock_ms(), &err),
              TB_E_TIMEOUT, err, "no time");
    CHECK(!tb_file_exists(c.path));
    CHECK(!tb_file_exists(tb_test_folder_path(f.dir, "late.sum.tmp")));
    end_test(&f, &a, &b);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_restart_has_the_same_sum_without_the_spool),
        TEST(an_update_with_other_weights_is_not_the_one_in_it),
        TEST(each_altered_byte_and_each_cut_is_found),
        TEST(what_does_not_fit_is_not_used),
        TEST(no_time_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
