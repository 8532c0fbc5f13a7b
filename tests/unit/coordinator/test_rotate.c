/* Which of a member's keys an update may have been signed with. */
#include <string.h>

#include "base/clock.h"
#include "crypto/crypto.h"
#include "crypto/seal.h"
#include "daemon.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            an_update_sealed_before_the_rotation_counts_for_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
