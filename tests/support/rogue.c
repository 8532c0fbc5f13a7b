/* tests/support/rogue.c - a member that breaks one rule of an update:
 *   rogue HOME DATA_SET TRICK
 * takes part in one round, does the trick, and ends with 0 when it was refused
 * with the code that the trick deserves. Its values are made up: what it is
 * asked to train is not its concern. */
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "fed/update.h"
#include "support/member.h"

#define HEAR_MS     60000
#define WEIGHT      10u
#define WEIGHT_AT   8  /* in the head: fed/update.h */
#define UPLOAD_AT   36 /* in the header: crypto/seal.h */
#define BLOCK_BYTES (TB_BLOCK_BYTES_MAX + TB_SEAL_TAG_BYTES)

/* What an update is bound to, or announced for. */
typedef enum target { THIS_ROUND, OTHER_ROUND, OTHER_MODEL } target;

typedef struct trick {
    const char *name;
    tb_refusal expect;  /* 0: a receipt */
    target begin;       /* the round that UPLOAD_BEGIN names */
    target seal;        /* the round that the blocks are sealed for */
    const char *client; /* name that they are sealed for; NULL: own */
    int blocks;         /* more or fewer than there are */
    bool set_weight;    /* to this: */
    uint32_t weight;
    uint32_t at_block; /* of the value, the flip or the cut */
    bool set_value;    /* the block's last value, to this: */
    float value;
    bool flip;            /* a bit of the sealed block */
    int bytes;            /* more or fewer in the sealed block */
    bool hash, signature; /* of UPLOAD_END: wrong */
} trick;

static const trick tricks[] = {
    {.name = "honest"},
    {.name = "other-round",
     .expect = TB_REFUSE_WRONG_ROUND,
     .begin = OTHER_ROUND,
     .seal = OTHER_ROUND},
    {.name = "other-model",
     .expect = TB_REFUSE_WRONG_ROUND,
     .begin = OTHER_MODEL,
     .seal = OTHER_MODEL},
    {.name = "sealed-for-other-round",
     .expect = TB_REFUSE_SEAL,
     .seal = OTHER_ROUND},
    {.name = "sealed-for-other-model",
     .expect = TB_REFUSE_SEAL,
     .seal = OTHER_MODEL},
    {.name = "sealed-as-other-client",
     .expect = TB_REFUSE_SEAL,
     .client = "client-00"},
    {.name = "too-many-blocks", .expect = TB_REFUSE_SIZE, .blocks = 1},
    {.name = "too-few-blocks", .expect = TB_REFUSE_SIZE, .blocks = -1},
    {.name = "no-weight", .expect = TB_REFUSE_WEIGHT, .set_weight = true},
    {.name = "much-weight",
     .expect = TB_REFUSE_WEIGHT,
     .set_weight = true,
     .weight = UINT32_MAX},
    {.name = "not-a-number",
     .expect = TB_REFUSE_VALUES,
     .at_block = 2,
     .set_value = true,
     .value = NAN},
    {.name = "infinite",
     .expect = TB_REFUSE_VALUES,
     .at_block = 1,
     .set_value = true,
     .value = INFINITY},
    {.name = "too-large",
     .expect = TB_REFUSE_VALUES,
     .at_block = 2,
     .set_value = true,
     .value = 3e38f},
    {.name = "flipped-bit",
     .expect = TB_REFUSE_SEAL,
     .at_block = 2,
     .flip = true},
    {.name = "flipped-bit-in-head", .expect = TB_REFUSE_SEAL, .flip = true},
    {.name = "long-block", .expect = TB_REFUSE_SIZE, .at_block = 1, .bytes = 1},
    {.name = "short-block",
     .expect = TB_REFUSE_SIZE,
     .at_block = 2,
     .bytes = -1},
    {.name = "wrong-hash", .expect = TB_REFUSE_HASH, .hash = true},
    {.name = "wrong-signature",
     .expect = TB_REFUSE_IDENTITY,
     .signature = true},
};

typedef struct rogue {
    member member;
    tb_round_config config; /* of the round that was offered */
    tb_hash hash;           /* its name */
} rogue;

/* An update, sealed. */
typedef struct update {
    tb_hash round; /* that UPLOAD_BEGIN names */
    uint32_t n_blocks;
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    tb_upload_id upload;
    uint8_t *sealed; /* owned [n_blocks][BLOCK_BYTES] */
    size_t *bytes;   /* owned [n_blocks] */
    tb_hash hash;
    uint8_t signature[TB_SIGNATURE_BYTES];
} update;

static void *array(size_t n, size_t size)
{
    void *p = tb_mem_array(n, size);
    if (p == NULL) {
        die("no memory for %zu of %zu bytes", n, size);
    }
    return p;
}

static void must(tb_rc rc, const tb_err *err)
{
    if (rc != TB_OK) {
        die("%s", err->text);
    }
}

/* --- talking -------------------------------------------------------------- */

/* The next message of one of these kinds (0: none); others are passed over. */
static void hear(rogue *r, tb_msg *out, tb_msg_kind a, tb_msg_kind b)
{
    while (member_hear(&r->member, out, HEAR_MS)) {
        if (out->kind == a || out->kind == b || out->kind == TB_MSG_REFUSE) {
            return;
        }
        tb_msg_release(out);
    }
    die("no %s came", tb_msg_kind_name(a));
}

static void say_kind(rogue *r, tb_msg_kind kind)
{
    tb_msg msg = {.kind = kind};
    member_say(&r->member, &msg, NULL, 0);
}

static void say_answer(rogue *r, tb_msg_kind kind)
{
    tb_msg msg = {.kind = kind, .u.answer.config = r->hash};
    (void)snprintf(msg.u.answer.why, sizeof msg.u.answer.why, "%s",
                   kind == TB_MSG_DECLINE ? "enough mischief" : "");
    member_say(&r->member, &msg, NULL, 0);
}

static void say_hello(rogue *r, const char *name, const char *data_set)
{
    tb_msg msg = {.kind = TB_MSG_HELLO,
                  .u.hello = {.protocol_min = TB_PROTOCOL_MIN,
                              .protocol_max = TB_PROTOCOL_MAX,
                              .software = "rogue",
                              .n_data_sets = 1}};
    if (!tb_name_set(&msg.u.hello.client, name) ||
        !tb_name_set(&msg.u.hello.data_sets[0], data_set)) {
        die("%s, %s: not names", name, data_set);
    }
    member_say(&r->member, &msg, NULL, 0);
}

/* Says it again after the time it is told, when it came too often. */
static void begin_session(rogue *r, const char *data_set)
{
    for (bool early = true; early;) {
        tb_msg msg;
        say_hello(r, r->member.home.fed.client.text, data_set);
        hear(r, &msg, TB_MSG_WELCOME, 0);
        early =
            msg.kind == TB_MSG_REFUSE && msg.u.refuse.code == TB_REFUSE_RATE;
        if (early) {
            uint64_t ms = msg.u.refuse.retry_ms;
            struct timespec pause = {(time_t)(ms / 1000),
                                     (long)(ms % 1000) * 1000000};
            (void)nanosleep(&pause, NULL);
        }
        tb_msg_release(&msg);
    }
}

static void take_part(rogue *r, const char *data_set)
{
    tb_msg msg;
    tb_err err;
    begin_session(r, data_set);
    say_kind(r, TB_MSG_CHECK_IN);
    hear(r, &msg, TB_MSG_OFFER, 0);
    if (msg.kind != TB_MSG_OFFER) {
        die("refused before it did anything: %s", msg.u.refuse.why);
    }
    const tb_span *bytes = &msg.u.offer.config;
    must(tb_round_config_decode(&r->config, bytes->data, bytes->len, &err),
         &err);
    r->hash = tb_hash_of(bytes->data, bytes->len);
    tb_msg_release(&msg);
    say_answer(r, TB_MSG_ACCEPT);
}

/* --- an update ------------------------------------------------------------ */

static tb_hash name_round(const rogue *r, target t)
{
    tb_err err;
    tb_buf bytes;
    tb_round_config config = r->config;
    config.round += t == OTHER_ROUND;
    config.model.bytes[0] ^= (uint8_t)(t == OTHER_MODEL);
    tb_buf_init(&bytes, TB_CONFIG_BYTES_MAX);
    must(tb_round_config_encode(&config, &bytes, &err), &err);
    tb_hash hash = tb_hash_of(bytes.data, bytes.len);
    tb_buf_release(&bytes);
    return hash;
}

/* Plain block i, made up, in a codec whose values we can break: f32. */
static size_t make_block(const rogue *r, const trick *t, uint32_t i,
                         const float *values, uint8_t *out)
{
    tb_err err;
    size_t n = tb_update_block_bytes(&r->config, i);
    must(tb_update_block_encode(&r->config, i, values, WEIGHT, out, &err),
         &err);
    if (i == 0 && t->set_weight) {
        tb_le32_put(out + WEIGHT_AT, t->weight);
    }
    if (i == t->at_block && t->set_value) {
        memcpy(out + n - sizeof t->value, &t->value, sizeof t->value);
    }
    return n;
}

static void seal(const rogue *r, const trick *t, update *u)
{
    tb_err err;
    tb_sealer *sealer = NULL;
    uint64_t n_values = tb_round_config_values(&r->config);
    float *values = array(n_values, sizeof *values);
    uint32_t n = tb_round_config_blocks(&r->config);
    tb_seal_binding to = {name_round(r, t->seal),
                          t->client != NULL ? t->client
                                            : r->member.home.fed.client.text};
    for (uint64_t i = 0; i < n_values; i++) {
        values[i] = (float)(i % 7) * 0.001f;
    }
    *u = (update){.round = name_round(r, t->begin),
                  .n_blocks = (uint32_t)((int)n + t->blocks)};
    u->sealed = array(u->n_blocks, BLOCK_BYTES);
    u->bytes = array(u->n_blocks, sizeof *u->bytes);
    must(tb_sealer_new(&sealer, r->config.aggregation_key, &to, u->n_blocks,
                       &err),
         &err);
    memcpy(u->header, tb_sealer_header(sealer), sizeof u->header);
    memcpy(u->upload.bytes, u->header + UPLOAD_AT, sizeof u->upload.bytes);
    for (uint32_t i = 0; i < u->n_blocks; i++) {
        uint8_t *at = u->sealed + (size_t)i * BLOCK_BYTES;
        size_t len = make_block(r, t, i < n ? i : n - 1, values, at);
        must(tb_sealer_next(sealer, at, len, at, &err), &err);
        u->bytes[i] = len + TB_SEAL_TAG_BYTES;
    }
    must(tb_sealer_end(sealer, &u->hash, &err), &err);
    tb_sealer_free(&sealer);
    tb_mem_free(values);
}

static void make_update(const rogue *r, const trick *t, update *u)
{
    seal(r, t, u);
    uint8_t *broken = u->sealed + (size_t)t->at_block * BLOCK_BYTES;
    broken[u->bytes[t->at_block] / 2] ^= (uint8_t)t->flip;
    u->bytes[t->at_block] += (size_t)t->bytes;
    u->hash.bytes[0] ^= (uint8_t)t->hash;
    tb_update_sign(u->signature, r->member.home.sign_key, &u->round, &u->hash);
    u->signature[0] ^= (uint8_t)t->signature;
}

static void free_update(update *u)
{
    tb_mem_free(u->sealed);
    tb_mem_free(u->bytes);
}

/* --- sending it ----------------------------------------------------------- */

static void say_begin(rogue *r, const update *u)
{
    tb_msg msg = {.kind = TB_MSG_UPLOAD_BEGIN,
                  .u.upload_begin = {.config = u->round,
                                     .upload = u->upload,
                                     .n_blocks = u->n_blocks}};
    memcpy(msg.u.upload_begin.header, u->header, sizeof u->header);
    member_say(&r->member, &msg, NULL, 0);
}

static void say_block(rogue *r, const update *u, uint32_t i)
{
    tb_msg msg = {.kind = TB_MSG_BLOCK,
                  .u.block = {.upload = u->upload, .index = i}};
    member_say(&r->member, &msg, u->sealed + (size_t)i * BLOCK_BYTES,
               u->bytes[i]);
}

static void say_end(rogue *r, const update *u)
{
    tb_msg msg = {.kind = TB_MSG_UPLOAD_END,
                  .u.upload_end = {.upload = u->upload, .update = u->hash}};
    memcpy(msg.u.upload_end.signature, u->signature, sizeof u->signature);
    member_say(&r->member, &msg, NULL, 0);
}

/* Sends all of it as credit comes. 0: a receipt came, of journal row *row;
 * otherwise why it was refused. */
static tb_refusal upload(rogue *r, const update *u, uint64_t *row)
{
    uint32_t sent = 0;
    tb_msg msg;
    say_begin(r, u);
    for (;;) {
        hear(r, &msg, TB_MSG_CREDIT, TB_MSG_RECEIPT);
        if (msg.kind == TB_MSG_REFUSE) {
            (void)printf("refused %s: %s\n", tb_refusal_name(msg.u.refuse.code),
                         msg.u.refuse.why);
            return msg.u.refuse.code;
        }
        if (msg.kind == TB_MSG_RECEIPT) {
            *row = msg.u.receipt.sequence;
            return 0;
        }
        if (sent == u->n_blocks) {
            continue;
        }
        for (; sent < msg.u.credit.until && sent < u->n_blocks; sent++) {
            say_block(r, u, sent);
        }
        if (sent == u->n_blocks) {
            say_end(r, u);
        }
    }
}

static void expect(const char *what, tb_refusal want, tb_refusal got)
{
    if (got != want) {
        die("%s: %s instead of %s", what,
            got != 0 ? tb_refusal_name(got) : "a receipt",
            want != 0 ? tb_refusal_name(want) : "a receipt");
    }
}

/* --- tricks --------------------------------------------------------------- */

static void do_trick(rogue *r, const trick *t)
{
    update u;
    uint64_t row = 0;
    make_update(r, t, &u);
    expect(t->name, t->expect, upload(r, &u, &row));
    free_update(&u);
}

/* The same update again gets its receipt again; another one does not count. */
static void do_twice(rogue *r)
{
    update u;
    update other;
    uint64_t first = 0;
    uint64_t again = 0;
    tb_msg msg;
    make_update(r, &tricks[0], &u);
    make_update(r, &tricks[0], &other);
    expect("first", 0, upload(r, &u, &first));
    expect("begin again", 0, upload(r, &u, &again));
    say_end(r, &u);
    hear(r, &msg, TB_MSG_RECEIPT, 0);
    expect("end again", 0, msg.kind == TB_MSG_REFUSE ? msg.u.refuse.code : 0);
    if (again != first || msg.u.receipt.sequence != first) {
        die("the receipt names another row");
    }
    expect("another", TB_REFUSE_DUPLICATE, upload(r, &other, &again));
    free_update(&u);
    free_update(&other);
}

/* Blocks that nobody granted, then the update as it should be. */
static void do_ungranted(rogue *r)
{
    update u;
    uint64_t row;
    tb_msg msg;
    make_update(r, &tricks[0], &u);
    say_block(r, &u, 0);
    hear(r, &msg, TB_MSG_CREDIT, 0);
    expect("ungranted", TB_REFUSE_STATE,
           msg.kind == TB_MSG_REFUSE ? msg.u.refuse.code : 0);
    expect("granted", 0, upload(r, &u, &row));
    free_update(&u);
}

/* Waits until the round has closed without it. */
static void do_late(rogue *r)
{
    update u;
    uint64_t row;
    tb_msg msg;
    make_update(r, &tricks[0], &u);
    for (bool over = false; !over;) {
        say_kind(r, TB_MSG_CHECK_IN);
        hear(r, &msg, TB_MSG_OFFER, TB_MSG_WAIT);
        over = msg.kind == TB_MSG_WAIT;
        tb_msg_release(&msg);
        (void)poll(NULL, 0, over ? 0 : 20);
    }
    expect("late", TB_REFUSE_LATE, upload(r, &u, &row));
    free_update(&u);
}

static void do_other_name(rogue *r, const char *data_set)
{
    tb_msg msg;
    say_hello(r, "client-00", data_set);
    hear(r, &msg, TB_MSG_WELCOME, 0);
    expect("other-name", TB_REFUSE_IDENTITY,
           msg.kind == TB_MSG_REFUSE ? msg.u.refuse.code : 0);
}

static void perform(rogue *r, const char *data_set, const char *name)
{
    if (strcmp(name, "other-name") == 0) {
        do_other_name(r, data_set);
    }
    take_part(r, data_set);
    if (strcmp(name, "twice") == 0) {
        do_twice(r);
    } else if (strcmp(name, "ungranted") == 0) {
        do_ungranted(r);
    } else if (strcmp(name, "late") == 0) {
        do_late(r);
    } else if (strcmp(name, "other-name") != 0) {
        const trick *t = NULL;
        for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++) {
            t = strcmp(tricks[i].name, name) == 0 ? &tricks[i] : t;
        }
        if (t == NULL) {
            die("no trick %s", name);
        }
        do_trick(r, t);
    }
    say_answer(r, TB_MSG_DECLINE); /* nobody waits for it any more */
}

int main(int argc, char **argv)
{
    static rogue r;
    if (argc == 2 && strcmp(argv[1], "tricks") == 0) {
        for (size_t i = 1; i < sizeof tricks / sizeof *tricks; i++) {
            (void)printf("%s %s\n", tricks[i].name,
                         tb_refusal_name(tricks[i].expect));
        }
        return 0;
    }
    if (argc != 4) {
        die("usage: rogue HOME DATA_SET TRICK | rogue tricks");
    }
    member_open(&r.member, argv[1]);
    member_dial(&r.member);
    perform(&r, argv[2], argv[3]);
    member_close(&r.member);
    return 0;
}
