#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/spare.h"
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

static void the_soft_limit_is_raised_to_near_the_hard_one(void **state)
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
    rlim_t expected = hard < 1u << 24 ? hard : 1u << 24;
    CHECK(files.rlim_cur == expected - d.reserved / 2);
    CHECK(d.connections > 256 - 64);
}

static void our_opens_find_a_descriptor_when_all_others_are_gone(void **state)
{
    (void)state;
    struct rlimit files;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max = 128; /* of which 32 are kept back */
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
    tb_descriptors d;
    tb_err err;
    CHECK_OK(tb_descriptors_prepare(&d, 0, &err), err);
    int last = -1;
    for (int fd; (fd = dup(0)) >= 0;) {
        last = fd;
    }
    CHECK(errno == EMFILE && last == 111);
    int pair[2] = {-1, -1};
    CHECK(pipe(pair) != 0);
    DIR *dir = tb_spare_opendir("/");
    CHECK(dir != NULL);
    char path[] = "/tmp/spare-XXXXXX";
    CHECK(tb_spare_temporary(path) == 113 && unlink(path) == 0);
    for (int i = 1; i < 15; i++) {
        int fd = i % 2 != 0
                     ? tb_spare_open("/dev/null", O_RDONLY, 0)
                     : tb_spare_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0);
        CHECK(fd == 113 + i);
        CHECK(dup(0) < 0); /* still none for others */
    }
    CHECK(tb_spare_open("/dev/null", O_RDONLY, 0) < 0 && errno == EMFILE);
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur == 112);
    if (dir != NULL) {
        (void)closedir(dir);
    }
    for (int fd = 3; fd < 128; fd++) {
        (void)close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quarter_at_most_256_is_kept_back),
        cmocka_unit_test(too_low_a_limit_is_refused_with_what_helps),
        cmocka_unit_test(the_soft_limit_is_raised_to_near_the_hard_one),
        cmocka_unit_test(our_opens_find_a_descriptor_when_all_others_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
