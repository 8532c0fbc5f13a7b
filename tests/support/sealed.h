/* tests/support/sealed.h - a round at the coordinator with real keys and a real
 * spool, and updates as clients seal them: a head and two blocks of values.
 * What fails ends the test. */
#ifndef TB_TESTS_SUPPORT_SEALED_H
#define TB_TESTS_SUPPORT_SEALED_H

#include "work/intake.h"

#define SEALED_VALUES                                                          \
    (TB_BLOCK_VALUES + 10u) /* two blocks of values, and the head */
#define SEALED_BLOCKS 3u

typedef struct sealed_round {
    tb_round_config config;
    tb_hash hash;
    tb_box_key *key;
    tb_sign_key *client_key;
    tb_intake *intake;
    const char *dir; /* borrowed */
} sealed_round;

/* A client's update: what it sends. */
typedef struct sealed_update {
    tb_order order; /* with header, ids and signature */
    uint8_t *block[SEALED_BLOCKS];
    size_t len[SEALED_BLOCKS];
} sealed_update;

/* A round whose spool lies below dir, with an empty sum. */
void sealed_setup(sealed_round *f, const char *dir);
void sealed_teardown(sealed_round *f);

/* Its intake with an empty sum, also after a restart: then the old one was
 * freed. */
void sealed_open(sealed_round *f);

/* Seals as a client would, but without its own checks: every value is `value`,
 * but for the first of the last block, which may be NaN. */
sealed_update sealed_make(const sealed_round *f, const char *client,
                          uint32_t weight, float value, float odd);
void sealed_release(sealed_update *s);

/* What the orders of one block, of the end, and of all of them come to. */
tb_verdict sealed_add(sealed_round *f, sealed_update *s, uint32_t index);
tb_verdict sealed_end(sealed_round *f, sealed_update *s);
void sealed_send(sealed_round *f, sealed_update *s);

#endif
