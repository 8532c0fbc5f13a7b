/* Guarded memory that is used again, by libzmq too. */
#include "crypto/guarded.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sodium.h>
#include <zmq.h>

#include "support/check.h"

#define MANY 40 /* more than are kept */

static bool is_mapped(void *piece)
{
    unsigned char in_memory;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    return mincore((void *)((uintptr_t)piece & ~(page - 1)), 1, &in_memory) ==
           0;
}

static bool is_all(const uint8_t *bytes, size_t n, uint8_t value)
{
    size_t i = 0;
    while (i < n && bytes[i] == value) {
        i++;
    }
    return i == n;
}

static void nothing_is_kept_before_it_is_asked_for(void **state)
{
    (void)state;
    uint8_t *piece = sodium_allocarray(4, 25);
    CHECK(piece != NULL && tb_guarded_pieces() == 0);
    memset(piece, 7, 100);
    sodium_free(piece);
    CHECK(!is_mapped(piece));
    tb_guarded_reuse();
}

static void a_piece_is_wiped_and_used_again(void **state)
{
    (void)state;
    size_t before = tb_guarded_pieces(); /* one that handshakes left, or more */
    uint8_t *piece = sodium_allocarray(1, 100);
    CHECK(piece != NULL && is_all(piece, 100, 0xdb));
    memset(piece, 7, 100);
    sodium_free(piece);
    CHECK(is_mapped(piece) && is_all(piece, 100, 0));
    CHECK(sodium_allocarray(10, 51) == piece && is_all(piece, 510, 0xdb));
    sodium_free(piece);
    CHECK(tb_guarded_pieces() == before);
}

static void what_is_large_or_too_many_is_libsodiums_own(void **state)
{
    (void)state;
    uint8_t *pieces[MANY];
    uint8_t *large = sodium_allocarray(1, 513);
    CHECK(large != NULL);
    sodium_free(large);
    CHECK(!is_mapped(large));
    CHECK(sodium_allocarray(SIZE_MAX, SIZE_MAX) == NULL);
    for (size_t i = 0; i < MANY; i++) {
        pieces[i] = sodium_allocarray(1, 64);
        CHECK(pieces[i] != NULL);
        for (size_t k = 0; k < i; k++) {
            CHECK(pieces[i] != pieces[k]);
        }
    }
    CHECK(tb_guarded_pieces() == 32);
    for (size_t i = 0; i < MANY; i++) {
        sodium_free(pieces[i]);
    }
    CHECK(!is_mapped(pieces[MANY - 1]) && is_mapped(pieces[0]));
    sodium_free(NULL);
}

/* One client says a word, which takes a whole handshake. */
static void shake_hands(void *context, const char *endpoint, const char *key)
{
    char public_key[41];
    char secret_key[41];
    void *client = zmq_socket(context, ZMQ_REQ);
    CHECK(client != NULL && zmq_curve_keypair(public_key, secret_key) == 0);
    CHECK(zmq_setsockopt(client, ZMQ_CURVE_SERVERKEY, key, 40) == 0);
    CHECK(zmq_setsockopt(client, ZMQ_CURVE_PUBLICKEY, public_key, 40) == 0);
    CHECK(zmq_setsockopt(client, ZMQ_CURVE_SECRETKEY, secret_key, 40) == 0);
    CHECK(zmq_connect(client, endpoint) == 0);
    CHECK(zmq_send(client, "a", 1, 0) == 1);
    CHECK(zmq_close(client) == 0);
}

static void shake_hands_often(void)
{
    char public_key[41];
    char secret_key[41];
    char endpoint[256];
    char word[8];
    int yes = 1;
    size_t len = sizeof endpoint;
    void *context = zmq_ctx_new();
    void *server = zmq_socket(context, ZMQ_ROUTER);
    CHECK(server != NULL && zmq_curve_keypair(public_key, secret_key) == 0);
    CHECK(zmq_setsockopt(server, ZMQ_CURVE_SERVER, &yes, sizeof yes) == 0);
    CHECK(zmq_setsockopt(server, ZMQ_CURVE_SECRETKEY, secret_key, 40) == 0);
    CHECK(zmq_bind(server, "tcp://127.0.0.1:*") == 0);
    CHECK(zmq_getsockopt(server, ZMQ_LAST_ENDPOINT, endpoint, &len) == 0);
    for (int i = 0; i < 5; i++) {
        shake_hands(context, endpoint, public_key);
        for (int more = 1; more != 0;) {
            size_t more_len = sizeof more;
            CHECK(zmq_recv(server, word, sizeof word, 0) >= 0);
            CHECK(zmq_getsockopt(server, ZMQ_RCVMORE, &more, &more_len) == 0);
        }
    }
    CHECK(zmq_close(server) == 0 && zmq_ctx_term(context) == 0);
}

/* First of all: pieces of others would serve as well. */
static void handshakes_of_libzmq_share_a_few_pieces(void **state)
{
    (void)state;
    size_t before = tb_guarded_pieces();
    shake_hands_often();
    size_t taken = tb_guarded_pieces() - before;
    print_message("5 handshakes of both sides: %zu pieces\n", taken);
    CHECK(taken >= 1 && taken <= 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_kept_before_it_is_asked_for),
        cmocka_unit_test(handshakes_of_libzmq_share_a_few_pieces),
        cmocka_unit_test(a_piece_is_wiped_and_used_again),
        cmocka_unit_test(what_is_large_or_too_many_is_libsodiums_own),
    };
    CHECK(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
