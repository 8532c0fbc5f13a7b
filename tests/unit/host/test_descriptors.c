#include <string.h>
#include <sys/resource.h>

#include "host/descriptors.h"
#include "support/check.h"

static void a_quarter_at_most_256_is_kept_back(void **state)
{
    (void)state;
    static const struct {
        uint64_t limit;
        uint32_t wish, reserved, connections;
    } cases[] = {{20000, 0, 256, 19744},
                 {1024, 0, 256, 768},
                 {512, 0, 128, 384},
                 {128, 0, 32, 96},
                 {20000, 100, 256, 100},
                 {1024, 5000, 256, 768},
                 {UINT64_MAX, 0, 256, (1u << 24) - 256}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tb_descriptors d;
        tb_err err;
        CHECK_OK(tb_descriptors_share(&d, cases[i].limit, cases[i].wish, &err),
                 err);
        CHECK(d.reserved == cases[i].reserved);
        CHECK(d.connections == cases[i].connections);
    }
}

static void too_low_a_limit_is_refused_with_what_helps(void **state)
{
    (void)state;
    tb_descriptors d;
    tb_err err;
    CHECK(tb_descriptors_share(&d, 127, 0, &err) == TB_E_USAGE);
    CHECK(strstr(err.text, "LimitNOFILE") != NULL);
}

static void the_soft_limit_is_raised_to_the_hard_one(void **state)
{
    (void)state;
    struct rlimit files;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    rlim_t hard = files.rlim_max;
    files.rlim_cur = 256;
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
    tb_descriptors d;
    tb_err err;
    CHECK_OK(tb_descriptors_prepare(&d, 0, &err), err);
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    CHECK(files.rlim_cur == hard);
    CHECK(d.connections > 256 - 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quarter_at_most_256_is_kept_back),
        cmocka_unit_test(too_low_a_limit_is_refused_with_what_helps),
        cmocka_unit_test(the_soft_limit_is_raised_to_the_hard_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
