/* Downloads in windows. */
#include "fed/fetch.h"

#include "support/check.h"

#define CHUNK TB_FETCH_BYTES_MAX

static tb_msg_chunk chunk_at(const tb_fetch *f, uint64_t offset)
{
    return (tb_msg_chunk){.blob = f->blob, .offset = offset, .total = f->total};
}

static void a_blob_is_asked_for_in_windows_until_it_is_whole(void **state)
{
    tb_hash blob = {.bytes = {1}};
    tb_fetch f;
    tb_msg msg;
    (void)state;
    tb_fetch_init(&f, &blob, 3 * CHUNK + 10, 0, 2 * CHUNK);
    CHECK(tb_fetch_next(&f, &msg) && msg.u.fetch.offset == 0);
    CHECK(tb_fetch_next(&f, &msg) && msg.u.fetch.offset == CHUNK);
    CHECK(!tb_fetch_next(&f, &msg));
    tb_msg_chunk c = chunk_at(&f, 0);
    CHECK(tb_fetch_take(&f, &c, CHUNK));
    CHECK(!tb_fetch_take(&f, &c, CHUNK)); /* twice */
    CHECK(tb_fetch_next(&f, &msg) && msg.u.fetch.offset == 2 * CHUNK);
    c = chunk_at(&f, 2 * CHUNK); /* out of order */
    CHECK(!tb_fetch_take(&f, &c, CHUNK));
    c = chunk_at(&f, CHUNK);
    CHECK(tb_fetch_take(&f, &c, CHUNK));
    c = chunk_at(&f, 2 * CHUNK);
    CHECK(tb_fetch_take(&f, &c, CHUNK));
    CHECK(tb_fetch_next(&f, &msg) && msg.u.fetch.length == 10);
    c = chunk_at(&f, 3 * CHUNK);
    CHECK(!tb_fetch_take(&f, &c, 11)); /* more than was asked for */
    CHECK(!tb_fetch_take(&f, &c, 0));
    CHECK(!tb_fetch_done(&f));
    CHECK(tb_fetch_take(&f, &c, 10));
    CHECK(tb_fetch_done(&f) && !tb_fetch_next(&f, &msg));
}

static void it_resumes_and_asks_again_for_what_did_not_come(void **state)
{
    tb_hash blob = {.bytes = {1}};
    tb_fetch f;
    tb_msg msg;
    (void)state;
    tb_fetch_init(&f, &blob, 1000, 900, 1);
    CHECK(tb_fetch_next(&f, &msg));
    CHECK(msg.u.fetch.offset == 900 && msg.u.fetch.length == 100);
    tb_msg_chunk c = chunk_at(&f, 900);
    CHECK(tb_fetch_take(&f, &c, 60)); /* a shorter chunk is fine */
    CHECK(!tb_fetch_next(&f, &msg));
    tb_fetch_again(&f);
    CHECK(tb_fetch_next(&f, &msg));
    CHECK(msg.u.fetch.offset == 960 && msg.u.fetch.length == 40);
}

static void chunks_of_another_blob_are_not_taken(void **state)
{
    tb_hash blob = {.bytes = {1}};
    tb_fetch f;
    tb_msg msg;
    (void)state;
    tb_fetch_init(&f, &blob, 100, 0, 100);
    CHECK(tb_fetch_next(&f, &msg));
    tb_msg_chunk c = chunk_at(&f, 0);
    c.blob.bytes[0] = 2;
    CHECK(!tb_fetch_take(&f, &c, 100));
    c = chunk_at(&f, 0);
    c.total = 101;
    CHECK(!tb_fetch_take(&f, &c, 100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blob_is_asked_for_in_windows_until_it_is_whole),
        cmocka_unit_test(it_resumes_and_asks_again_for_what_did_not_come),
        cmocka_unit_test(chunks_of_another_blob_are_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
