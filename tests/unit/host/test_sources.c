#include "host/sources.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "support/check.h"

#define NOW 1000000 /* ms; any */

static tb_sources sources;

static uint64_t net(unsigned i)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(0x0a000000u + i)}};
    return tb_source_of((struct sockaddr *)&at);
}

static unsigned admitted(unsigned source, unsigned n, size_t n_expected,
                         int64_t now)
{
    unsigned in = 0;
    for (unsigned i = 0; i < n; i++) {
        in += tb_sources_admit(&sources, net(source), n_expected, now);
    }
    return in;
}

static void one_address_gets_its_burst_and_then_its_rate(void **state)
{
    (void)state;
    sources = (tb_sources){.seed = 1};
    CHECK(admitted(1, 1000, 0, NOW) == 256);
    CHECK(admitted(2, 10, 0, NOW) == 10); /* another has its own */
    CHECK(admitted(1, 1000, 0, NOW + 100) == 25);
    CHECK(admitted(1, 1000, 0, NOW + 60000) == 256); /* no more is saved up */
}

static void many_addresses_get_no_more_than_a_few(void **state)
{
    (void)state;
    unsigned in = 0;
    sources = (tb_sources){.seed = 2};
    for (unsigned i = 0; i < 5000; i++) {
        in += admitted(i, 1, 0, NOW);
    }
    CHECK(in == 1024 + 256); /* and the reserve, for each was new */
    CHECK(admitted(9999, 1, 0, NOW) == 0);
}

static void few_addresses_that_flood_keep_no_new_one_out(void **state)
{
    (void)state;
    enum { FLOODING = 40, NEW = 100 };
    sources = (tb_sources){.seed = 6};
    for (int64_t ms = 0; ms < 20000; ms += 10) {
        for (unsigned i = 0; i < FLOODING; i++) {
            (void)admitted(i, 10, 0, NOW + ms);
        }
        if (ms % 200 == 0) { /* one comes, and then its second connection */
            unsigned who = NEW + (unsigned)(ms / 200);
            CHECK(admitted(who, 2, 0, NOW + ms) == 2);
        }
    }
    for (unsigned i = 0; i < FLOODING; i++) {
        (void)admitted(i, 10, 0, NOW + 20000);
    }
    CHECK(admitted(NEW, 1000, 0, NOW + 20000) ==
          4);                                     /* then it is new no more */
    CHECK(admitted(NEW, 1, 0, NOW + 25000) == 1); /* the flood is over */
}

static void an_address_with_a_known_key_does_not_wait_for_others(void **state)
{
    (void)state;
    sources = (tb_sources){.seed = 3};
    CHECK(admitted(1, 1, 0, NOW) == 1);
    tb_sources_clear(&sources, net(1), NOW);
    for (unsigned i = 100; i < 5000; i++) {
        (void)admitted(i, 1, 0, NOW);
    }
    CHECK(admitted(2, 1, 0, NOW) == 0);
    CHECK(admitted(1, 1000, 0, NOW) == 256); /* what it owed was cleared */
}

static void clients_that_are_awaited_may_come_all_at_once(void **state)
{
    (void)state;
    sources = (tb_sources){.seed = 4};
    CHECK(admitted(1, 20000, 10000, NOW) == 10256);
    sources = (tb_sources){.seed = 4};
    for (unsigned i = 0; i < 10000; i++) { /* one after the other */
        CHECK(admitted(1, 1, 0, NOW) == 1);
        tb_sources_clear(&sources, net(1), NOW);
    }
}

static void a_failed_handshake_costs_as_much_as_eight_connections(void **state)
{
    (void)state;
    sources = (tb_sources){.seed = 5};
    for (int i = 0; i < 20; i++) {
        CHECK(admitted(1, 1, 0, NOW) == 1);
        tb_sources_charge(&sources, net(1), NOW);
    }
    CHECK(admitted(1, 1000, 0, NOW) == 256 - 20 * 9);
    for (int i = 0; i < 100000; i++) {
        tb_sources_charge(&sources, net(1), NOW);
    }
    CHECK(admitted(1, 1, 0, NOW) == 0);
    CHECK(admitted(1, 1, 0, NOW + 2000) == 1); /* nobody is out for long */
}

static uint64_t of_text(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        return tb_source_of((struct sockaddr *)&v4);
    }
    CHECK(inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
    return tb_source_of((struct sockaddr *)&v6);
}

static void addresses_are_told_apart_by_what_their_owner_holds(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true},
        {"2001:db8::1", "2001:db8::ffff:2", true}, /* one /64 */
        {"2001:db8::1", "2001:db8:0:1::1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t a = of_text(cases[i].a);
        uint64_t b = of_text(cases[i].b);
        CHECK(a != 0 && b != 0 && (a == b) == cases[i].same);
    }
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    CHECK(inet_pton(AF_INET6, "2001:db8::7", &v6.sin6_addr) == 1);
    CHECK(tb_source_of((struct sockaddr *)&v6) == of_text("2001:db8::1"));
    CHECK(of_text("10.0.0.1") == net(1));
    struct sockaddr other = {.sa_family = AF_UNIX};
    CHECK(tb_source_of(&other) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_address_gets_its_burst_and_then_its_rate),
        cmocka_unit_test(many_addresses_get_no_more_than_a_few),
        cmocka_unit_test(few_addresses_that_flood_keep_no_new_one_out),
        cmocka_unit_test(an_address_with_a_known_key_does_not_wait_for_others),
        cmocka_unit_test(clients_that_are_awaited_may_come_all_at_once),
        cmocka_unit_test(a_failed_handshake_costs_as_much_as_eight_connections),
        cmocka_unit_test(addresses_are_told_apart_by_what_their_owner_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
