#include "wire/msg.h"

#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "samples.h"
#include "wire/receipt.h"

/* The sample of a kind, encoded. */
static tb_buf encoded(tb_msg_kind kind)
{
    tb_buf buf;
    tb_err err = {0};
    tb_msg msg = sample_msg(kind);
    tb_buf_init(&buf, TB_ENVELOPE_BYTES_MAX);
    CHECK_OK(tb_msg_encode(&msg, &buf, &err), err);
    return buf;
}

static void each_kind_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    for (int k = 1; k < TB_MSG_KIND_END; k++) {
        tb_msg_kind kind = (tb_msg_kind)k;
        tb_msg back;
        tb_err err = {0};
        tb_buf again;
        tb_buf buf = encoded(kind);
        tb_msg msg = sample_msg(kind);
        CHECK_OK(
            tb_msg_decode(&back, buf.data, buf.len, sample_payload(kind), &err),
            err);
        CHECK(back.kind == kind);
        tb_buf_init(&again, TB_ENVELOPE_BYTES_MAX);
        CHECK_OK(tb_msg_encode(&back, &again, &err), err);
        CHECK(again.len == buf.len);
        assert_memory_equal(again.data, buf.data, buf.len);
        if (back.owned == NULL) { /* without spans, equal bit for bit */
            assert_memory_equal(&back.u, &msg.u, sizeof msg.u);
        }
        tb_msg_release(&back);
        tb_msg_release(&back);
        tb_buf_release(&buf);
        tb_buf_release(&again);
    }
    CHECK(tb_mem_live() == 0);
}

static void the_bytes_are_those_of_protobuf(void **state)
{
    /* By hand after the encoding guide: field 8 (FETCH), length 42; 1: 32
     * bytes; 2: varint 300; 3: varint 1000. And BYE: field 22, length 0. */
    uint8_t fetch[2 + 40] = {0x42, 40, 0x0a, 32};
    static const uint8_t bye[] = {0xb2, 0x01, 0x00};
    uint8_t *at = fetch + 4;
    tb_msg msg = {.kind = TB_MSG_FETCH};
    tb_buf buf;
    tb_err err = {0};
    (void)state;
    memset(at, 0xab, 32);
    memcpy(at + 32, "\x10\xac\x02\x18\xe8\x07", 6);
    FILL(msg.u.fetch.blob.bytes, 0xab);
    msg.u.fetch.offset = 300;
    msg.u.fetch.length = 1000;
    tb_buf_init(&buf, 100);
    CHECK_OK(tb_msg_encode(&msg, &buf, &err), err);
    CHECK(buf.len == sizeof fetch);
    assert_memory_equal(buf.data, fetch, sizeof fetch);
    buf.len = 0;
    msg.kind = TB_MSG_BYE;
    CHECK_OK(tb_msg_encode(&msg, &buf, &err), err);
    CHECK(buf.len == sizeof bye);
    assert_memory_equal(buf.data, bye, sizeof bye);
    tb_buf_release(&buf);
}

static void each_kind_encoded_by_the_script_is_read(void **state)
{
    (void)state;
    for (int k = 1; k < TB_MSG_KIND_END; k++) {
        char path[256];
        tb_buf file;
        tb_msg msg;
        tb_err err = {0};
        (void)snprintf(path, sizeof path, TB_SOURCE_DIR "/tests/corpus/msg/%s",
                       tb_msg_kind_name((tb_msg_kind)k));
        tb_buf_init(&file, TB_ENVELOPE_BYTES_MAX);
        CHECK_OK(tb_file_read(&file, path, &err), err);
        size_t payload = (size_t)file.data[0] | (size_t)file.data[1] << 8;
        CHECK_OK(
            tb_msg_decode(&msg, file.data + 2, file.len - 2, payload, &err),
            err);
        CHECK((int)msg.kind == k);
        if (msg.kind == TB_MSG_RECEIPT) { /* and one looked at more closely */
            CHECK(msg.u.receipt.sequence == 77 &&
                  msg.u.receipt.head.bytes[31] == 4 &&
                  msg.u.receipt.signature[63] == 4);
        }
        tb_msg_release(&msg);
        tb_buf_release(&file);
    }
}

static void a_frame_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    for (int k = 1; k < TB_MSG_KIND_END; k++) {
        tb_buf buf = encoded((tb_msg_kind)k);
        for (size_t len = 0; len < buf.len; len++) {
            tb_msg back;
            tb_err err = {0};
            tb_rc rc = tb_msg_decode(&back, buf.data, len,
                                     sample_payload((tb_msg_kind)k), &err);
            CHECK(rc == TB_E_MALFORMED);
            CHECK(back.kind == 0 && back.owned == NULL);
        }
        tb_buf_release(&buf);
    }
    CHECK(tb_mem_live() == 0);
}

/* Whatever a flipped bit makes, nothing leaks, and a closed kind that is still
 * accepted says exactly what its bytes say. */
static void any_flipped_bit_is_refused_or_another_message(void **state)
{
    (void)state;
    for (int k = 1; k < TB_MSG_KIND_END; k++) {
        tb_buf buf = encoded((tb_msg_kind)k);
        for (size_t i = 0; i < buf.len * 8; i++) {
            tb_msg back;
            tb_buf again;
            buf.data[i / 8] ^= (uint8_t)(1u << (i % 8));
            tb_buf_init(&again, TB_ENVELOPE_BYTES_MAX);
            if (tb_msg_decode(&back, buf.data, buf.len,
                              sample_payload((tb_msg_kind)k), NULL) == TB_OK &&
                back.kind != TB_MSG_HELLO && back.kind != TB_MSG_WELCOME &&
                back.kind != TB_MSG_REFUSE) {
                CHECK(tb_msg_encode(&back, &again, NULL) == TB_OK);
                CHECK(again.len == buf.len &&
                      memcmp(again.data, buf.data, buf.len) == 0);
            }
            tb_msg_release(&back);
            tb_buf_release(&again);
            buf.data[i / 8] ^= (uint8_t)(1u << (i % 8));
        }
        tb_buf_release(&buf);
    }
    CHECK(tb_mem_live() == 0);
}

static void only_four_kinds_have_a_payload(void **state)
{
    (void)state;
    for (int k = 1; k < TB_MSG_KIND_END; k++) {
        tb_msg_kind kind = (tb_msg_kind)k;
        tb_msg back;
        tb_buf buf = encoded(kind);
        bool has = kind == TB_MSG_CHUNK || kind == TB_MSG_BLOCK ||
                   kind == TB_MSG_PREDICT || kind == TB_MSG_PREDICTION;
        CHECK(tb_msg_has_payload(kind) == has);
        size_t wrong = has ? 0 : 1;
        CHECK(tb_msg_decode(&back, buf.data, buf.len, wrong, NULL) ==
              (has ? TB_E_MALFORMED : TB_E_LIMIT));
        CHECK(tb_msg_decode(&back, buf.data, buf.len, TB_PAYLOAD_BYTES_MAX + 1,
                            NULL) == TB_E_LIMIT);
        tb_buf_release(&buf);
    }
    CHECK(!tb_msg_has_payload(0) && !tb_msg_has_payload(TB_MSG_KIND_END));
}

static void a_payload_must_fit_what_its_envelope_says(void **state)
{
    tb_msg back;
    tb_err err = {0};
    (void)state;
    tb_buf chunk = encoded(TB_MSG_CHUNK); /* 10 of 110 bytes are left */
    CHECK_OK(tb_msg_decode(&back, chunk.data, chunk.len, 9, &err), err);
    CHECK_ERR(tb_msg_decode(&back, chunk.data, chunk.len, 11, &err),
              TB_E_MALFORMED, err, "passes the blob's end");
    tb_buf prediction = encoded(TB_MSG_PREDICTION);
    CHECK_ERR(tb_msg_decode(&back, prediction.data, prediction.len, 44, &err),
              TB_E_MALFORMED, err, "shape");
    tb_buf block = encoded(TB_MSG_BLOCK);
    CHECK_ERR(
        tb_msg_decode(&back, block.data, block.len, TB_SEAL_TAG_BYTES, &err),
        TB_E_MALFORMED, err, "payload of 16 bytes");
    tb_buf_release(&chunk);
    tb_buf_release(&prediction);
    tb_buf_release(&block);
}

/* One broken field of one kind, told by the part of the error it causes. */
static void refuses(tb_msg *msg, tb_rc want, const char *part)
{
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, TB_ENVELOPE_BYTES_MAX);
    CHECK_ERR(tb_msg_encode(msg, &buf, &err), want, err, part);
    CHECK(buf.len == 0);
    tb_buf_release(&buf);
}

static void a_value_that_would_be_refused_is_not_sent(void **state)
{
    tb_msg m;
    (void)state;
    m = sample_msg(TB_MSG_HELLO);
    m.u.hello.protocol_min = 4;
    refuses(&m, TB_E_MALFORMED, "protocol_min over");
    m = sample_msg(TB_MSG_HELLO);
    m.u.hello.n_data_sets = TB_DATA_SETS_MAX + 1;
    refuses(&m, TB_E_LIMIT, "65 data sets");
    m = sample_msg(TB_MSG_HELLO);
    m.u.hello.data_sets[1].text[0] = '.';
    refuses(&m, TB_E_MALFORMED, "data_sets: not a name");
    m = sample_msg(TB_MSG_HELLO);
    m.u.hello.software[3] = '\n';
    refuses(&m, TB_E_MALFORMED, "software: not UTF-8");
    m = sample_msg(TB_MSG_HELLO);
    m.u.hello.software[0] = '\0';
    refuses(&m, TB_E_MALFORMED, "software: empty");
    m = sample_msg(TB_MSG_HELLO);
    memset(m.u.hello.client.text, 'a', TB_NAME_BYTES); /* no closing NUL */
    refuses(&m, TB_E_MALFORMED, "client: not a name");
    m = sample_msg(TB_MSG_WELCOME);
    m.u.welcome.certificate.len--;
    refuses(&m, TB_E_LIMIT, "certificate=191");
    m = sample_msg(TB_MSG_FETCH);
    m.u.fetch.length = 0;
    refuses(&m, TB_E_LIMIT, "length=0 outside 1 to 32768");
    m = sample_msg(TB_MSG_FETCH);
    m.u.fetch.length = TB_FETCH_BYTES_MAX + 1;
    refuses(&m, TB_E_LIMIT, "length=32769");
    m = sample_msg(TB_MSG_UPLOAD_BEGIN);
    m.u.upload_begin.n_blocks = 0;
    refuses(&m, TB_E_LIMIT, "n_blocks=0");
    m = sample_msg(TB_MSG_CREDIT);
    m.u.credit.next = 13;
    refuses(&m, TB_E_MALFORMED, "next over until");
    m = sample_msg(TB_MSG_BLOCK);
    m.u.block.index = TB_BLOCKS_MAX;
    refuses(&m, TB_E_LIMIT, "index=131072");
    m = sample_msg(TB_MSG_REFUSE);
    m.u.refuse.code = TB_REFUSE_END;
    refuses(&m, TB_E_LIMIT, "code=");
    m = sample_msg(TB_MSG_PREDICT);
    m.u.predict.n_rows = 0;
    refuses(&m, TB_E_LIMIT, "n_rows=0");
    m = sample_msg(TB_MSG_KIND_END);
    refuses(&m, TB_E_BUG, "kind");
}

/* Decodes envelope bytes written by hand. */
static tb_rc decode(const char *bytes, size_t len, tb_err *err)
{
    tb_msg back;
    tb_rc rc = tb_msg_decode(&back, (const uint8_t *)bytes, len, 0, err);
    tb_msg_release(&back);
    return rc;
}

static void a_kind_of_a_newer_protocol_is_told_from_garbage(void **state)
{
    tb_err err = {0};
    (void)state;
    CHECK_ERR(decode("\xfa\x01\x00", 3, &err), TB_E_UNSUPPORTED, err,
              "kind 31");
    CHECK_ERR(decode("", 0, &err), TB_E_MALFORMED, err, "without a kind");
    CHECK_ERR(decode("\xff\xff\xff", 3, &err), TB_E_MALFORMED, err,
              "not a protobuf");
}

static void
only_what_comes_before_a_common_version_may_hold_unknown_fields(void **state)
{
    tb_err err = {0};
    (void)state;
    /* HELLO {1: 1, 2: 1, 3: "a", 4: "s"} and an unknown field 30 */
    static const char hello[] = "\x0a\x0d\x08\x01\x10\x01\x1a\x01"
                                "a\x22\x01s\xf0\x01\x07";
    CHECK_OK(decode(hello, sizeof hello - 1, &err), err);
    /* WAIT {1: 5} is well, with an unknown field it is not */
    CHECK_OK(decode("\x22\x02\x08\x05", 4, &err), err);
    CHECK_ERR(decode("\x22\x05\x08\x05\xf0\x01\x07", 7, &err), TB_E_MALFORMED,
              err, "wait: unknown, repeated or badly encoded");
}

static void a_message_has_one_encoding(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"\x22\x03\x08\x85\x00", 5},          /* an overlong varint */
        {"\x22\x04\x08\x05\x08\x05", 6},      /* a field twice */
        {"\x22\x05\x12\x01x\x08\x05", 7},     /* fields out of order */
        {"\x22\x04\x08\x05\x12\x00", 6},      /* an empty field */
        {"\x22\x06\x08\x05\x12\x02x\x00", 8}, /* a hidden NUL */
        {"\x22\x02\x08\x05\x22\x00", 6},      /* a kind twice */
        {"\xa2\x00\x02\x08\x05", 5},          /* an overlong tag */
    };
    tb_err err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_ERR(decode(cases[i].bytes, cases[i].len, &err), TB_E_MALFORMED,
                  err, "badly encoded");
    }
}

static void text_must_be_clean_utf_8(void **state)
{
    static const struct {
        const char *text;
        bool clean;
    } cases[] = {
        {"plain", true},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x8a", true},
        {"tab\t", false},
        {"escape \x1b[31m", false},
        {"\x7f", false},
        {"\xc2\x9b", false},         /* C1 control: CSI */
        {"\xc0\xaf", false},         /* overlong */
        {"\xe0\x80\x80", false},     /* overlong */
        {"\xed\xa0\x80", false},     /* surrogate */
        {"\xf4\x90\x80\x80", false}, /* beyond U+10FFFF */
        {"\xe2\x82", false},         /* cut */
        {"\x80", false},
    };
    tb_err err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char frame[64] = {0x22, 0, 0x12, 0};
        size_t n = strlen(cases[i].text);
        frame[1] = (char)(n + 2);
        frame[3] = (char)n;
        memcpy(frame + 4, cases[i].text, n);
        CHECK(decode(frame, n + 4, &err) ==
              (cases[i].clean ? TB_OK : TB_E_MALFORMED));
    }
}

static void a_text_of_255_bytes_is_the_longest(void **state)
{
    char frame[400] = {0x22, 0, 0, 0x12, 0, 0};
    tb_err err = {0};
    (void)state;
    for (size_t n = 255; n <= 256; n++) {
        size_t inner = n + 3; /* tag, two bytes of length */
        frame[1] = (char)(0x80 | (inner & 0x7f));
        frame[2] = (char)(inner >> 7);
        frame[4] = (char)(0x80 | (n & 0x7f));
        frame[5] = (char)(n >> 7);
        memset(frame + 6, 'x', n);
        CHECK(decode(frame, n + 6, &err) == (n == 255 ? TB_OK : TB_E_LIMIT));
    }
}

static void memory_stays_within_the_budget(void **state)
{
    /* 32,000 empty strings in one HELLO would cost over a megabyte. */
    static char frame[65536];
    tb_err err = {0};
    (void)state;
    size_t inner = 64000;
    frame[0] = 0x0a;
    frame[1] = (char)(0x80 | (inner & 0x7f));
    frame[2] = (char)(0x80 | (inner >> 7 & 0x7f));
    frame[3] = (char)(inner >> 14);
    for (size_t i = 0; i < inner; i += 2) {
        frame[4 + i] = 0x2a; /* field 5, length 0 */
    }
    CHECK_ERR(decode(frame, inner + 4, &err), TB_E_LIMIT, err,
              "too many fields");
    static char longer[TB_ENVELOPE_BYTES_MAX + 1];
    CHECK_ERR(decode(longer, sizeof longer, &err), TB_E_LIMIT, err,
              "at most 65536");
    CHECK(tb_mem_live() == 0);
}

/* Encodes the sample of a kind behind other bytes, and reads it. What fails
 * leaves the buffer as it was, and the message empty. */
static tb_rc send_and_read(void *arg, tb_err *err)
{
    static const tb_msg empty;
    uint8_t first[200];
    tb_msg_kind kind = *(const tb_msg_kind *)arg;
    tb_msg msg = sample_msg(kind);
    tb_msg back;
    tb_buf buf;
    FILL(first, 0x5a);
    memset(&back, 0x5a, sizeof back);
    tb_buf_init(&buf, sizeof first + TB_ENVELOPE_BYTES_MAX);
    tb_rc rc = tb_buf_put(&buf, first, sizeof first, err);
    size_t before = buf.len;
    if (rc == TB_OK) {
        rc = tb_msg_encode(&msg, &buf, err);
        CHECK(memcmp(buf.data, first, before) == 0);
        CHECK(rc == TB_OK || buf.len == before);
    }
    if (rc == TB_OK) {
        rc = tb_msg_decode(&back, buf.data + before, buf.len - before,
                           sample_payload(kind), err);
        CHECK(rc == TB_OK || memcmp(&back, &empty, sizeof back) == 0);
        tb_msg_release(&back);
    }
    tb_buf_release(&buf);
    return rc;
}

static void each_allocation_of_each_kind_may_fail(void **state)
{
    (void)state;
    for (int k = 1; k < TB_MSG_KIND_END; k++) {
        tb_msg_kind kind = (tb_msg_kind)k;
        /* the buffer, the envelope, the kind's own part */
        CHECK(tb_check_each_allocation(send_and_read, &kind) >= 3);
    }
    tb_msg_kind offer = TB_MSG_OFFER;
    /* the buffer twice, envelope, offer, its two fields of bytes */
    CHECK(tb_check_each_allocation(send_and_read, &offer) == 6);
}

static void every_kind_and_refusal_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = 1; i < TB_MSG_KIND_END; i++) {
        for (int j = 1; j < i; j++) {
            assert_string_not_equal(tb_msg_kind_name((tb_msg_kind)i),
                                    tb_msg_kind_name((tb_msg_kind)j));
        }
    }
    for (int i = 1; i < TB_REFUSE_END; i++) {
        for (int j = 1; j < i; j++) {
            assert_string_not_equal(tb_refusal_name((tb_refusal)i),
                                    tb_refusal_name((tb_refusal)j));
        }
    }
    assert_string_equal(tb_msg_kind_name(0), "unknown");
    assert_string_equal(tb_refusal_name(TB_REFUSE_END), "unknown");
}

static void names_are_what_the_rule_says(void **state)
{
    static const char *const good[] = {"a", "edge-01", "A.b_c-9", "_x"};
    static const char *const bad[] = {"",    ".a",       "-a", "a b",
                                      "a/b", "\xc3\xa9", "a\n"};
    char longest[65];
    tb_name name;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK(tb_name_set(&name, good[i]));
        assert_string_equal(name.text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(!tb_name_set(&name, bad[i]));
        assert_string_equal(name.text, "");
    }
    memset(longest, 'n', sizeof longest);
    longest[64] = '\0';
    CHECK(!tb_name_valid(longest));
    longest[63] = '\0';
    CHECK(tb_name_set(&name, longest));
}

static void a_receipt_holds_for_all_its_fields(void **state)
{
    tb_sign_key *key = NULL;
    tb_err err = {0};
    (void)state;
    CHECK_OK(tb_crypto_init(&err), err);
    CHECK_OK(tb_sign_key_new(&key, &err), err);
    tb_msg_receipt receipt = sample_msg(TB_MSG_RECEIPT).u.receipt;
    tb_receipt_sign(&receipt, key);
    const uint8_t *pub = tb_sign_key_public(key);
    CHECK_OK(tb_receipt_verify(&receipt, pub, &err), err);
    for (size_t i = 0; i < sizeof receipt; i++) {
        tb_msg_receipt bad = receipt;
        ((uint8_t *)&bad)[i] ^= 1;
        CHECK(tb_receipt_verify(&bad, pub, NULL) == TB_E_DENIED);
    }
    tb_sign_key_free(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_comes_back_as_it_was_sent),
        cmocka_unit_test(the_bytes_are_those_of_protobuf),
        cmocka_unit_test(each_kind_encoded_by_the_script_is_read),
        cmocka_unit_test(a_frame_cut_at_any_byte_is_refused),
        cmocka_unit_test(any_flipped_bit_is_refused_or_another_message),
        cmocka_unit_test(only_four_kinds_have_a_payload),
        cmocka_unit_test(a_payload_must_fit_what_its_envelope_says),
        cmocka_unit_test(a_value_that_would_be_refused_is_not_sent),
        cmocka_unit_test(a_kind_of_a_newer_protocol_is_told_from_garbage),
        cmocka_unit_test(
            only_what_comes_before_a_common_version_may_hold_unknown_fields),
        cmocka_unit_test(a_message_has_one_encoding),
        cmocka_unit_test(text_must_be_clean_utf_8),
        cmocka_unit_test(a_text_of_255_bytes_is_the_longest),
        cmocka_unit_test(memory_stays_within_the_budget),
        cmocka_unit_test(each_allocation_of_each_kind_may_fail),
        cmocka_unit_test(every_kind_and_refusal_has_a_name_of_its_own),
        cmocka_unit_test(names_are_what_the_rule_says),
        cmocka_unit_test(a_receipt_holds_for_all_its_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
