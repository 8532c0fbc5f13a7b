#include "host/zap.h"

#include <sys/resource.h>

#include <zmq.h>

#include "support/check.h"

#define LONG_MS 1000000000 /* until the socket is due to be replaced */

/* As when strangers hold every descriptor with half a handshake. */
static void without_a_descriptor_the_access_check_stays_as_it_is(void **state)
{
    (void)state;
    tb_err err;
    tb_zap zap;
    struct rlimit files;
    struct rlimit none;
    void *context = zmq_ctx_new();
    CHECK(context != NULL);
    CHECK_OK(tb_zap_open(&zap, context, 0, &err), err);
    const void *first = zap.socket;
    zap.n_answers = 1;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = files.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_OK(tb_zap_turn(&zap, LONG_MS, &err), err);
    CHECK(zap.socket == first && zap.old == NULL);
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
    CHECK_OK(tb_zap_turn(&zap, 2LL * LONG_MS, &err), err);
    CHECK(zap.socket != first && zap.old == first);
    tb_zap_close(&zap);
    CHECK(zmq_ctx_term(context) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_descriptor_the_access_check_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
