/* bench-limits: what the parts of taking an update in cost at least, in
 * nanoseconds a byte of one core, on blocks of 256 KB that are not in a cache:
 *   hash   BLAKE2b-256 of a sealed block
 *   open   XChaCha20-Poly1305 of it
 *   add    its float32 values into the exact sum
 *   write  it to a file, and one fdatasync for 16 MB: wall time and CPU
 * usage: bench-limits FOLDER */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "crypto/seal.h"
#include "fed/update.h"

#define BLOCKS 64 /* 16 MB */
#define ROUNDS 7
#define SEALED (TB_BLOCK_BYTES_MAX + TB_SEAL_TAG_BYTES)

typedef struct bench {
    tb_round_config config;
    tb_sum *sum;
    tb_opener *opener;
    uint8_t *sealed; /* [BLOCKS][SEALED] */
    uint8_t *plain;
    float *scratch;
    int fd;
} bench;

static void need(bool good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "bench-limits: %s\n", what);
        exit(1);
    }
}

static double cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void hash_block(bench *b, uint32_t i)
{
    tb_hash hash = tb_hash_of(b->sealed + (size_t)i * SEALED, SEALED);
    b->scratch[0] = hash.bytes[0];
}

static void open_block(bench *b, uint32_t i)
{
    need(tb_opener_block(b->opener, i, b->sealed + (size_t)i * SEALED, SEALED,
                         b->plain, NULL) == TB_OK,
         "a block does not open");
}

static void add_block(bench *b, uint32_t i)
{
    tb_update_sink sink = {&b->config, b->sum, b->scratch};
    need(tb_update_block_add(&sink, i + 1, b->plain, TB_BLOCK_BYTES_MAX, 100,
                             NULL) == TB_OK,
         "a block does not add");
}

static void write_block(bench *b, uint32_t i)
{
    need(tb_file_write_fd(b->fd, b->sealed + (size_t)i * SEALED, SEALED,
                          NULL) == TB_OK,
         "cannot write");
    if (i == BLOCKS - 1) {
        need(fdatasync(b->fd) == 0, "cannot sync");
        need(lseek(b->fd, 0, SEEK_SET) == 0 && ftruncate(b->fd, 0) == 0,
             "cannot cut");
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Prints medians of some rounds over all blocks. */
static void measure(bench *b, const char *name,
                    void (*fn)(bench *b, uint32_t i))
{
    double cpu[ROUNDS];
    double wall[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        double c = cpu_ns();
        int64_t t = tb_clock_ns();
        for (uint32_t i = 0; i < BLOCKS; i++) {
            fn(b, i);
        }
        cpu[r] = (cpu_ns() - c) / (BLOCKS * (double)SEALED);
        wall[r] = (double)(tb_clock_ns() - t) / (BLOCKS * (double)SEALED);
    }
    qsort(cpu, ROUNDS, sizeof *cpu, by_value);
    qsort(wall, ROUNDS, sizeof *wall, by_value);
    (void)printf("%s %.4f %.4f\n", name, cpu[ROUNDS / 2], wall[ROUNDS / 2]);
}

static void seal_all(bench *b, const tb_box_key *key)
{
    tb_sealer *sealer = NULL;
    tb_seal_binding to = {.client = "bench"};
    need(tb_sealer_new(&sealer, tb_box_key_public(key), &to, BLOCKS, NULL) ==
             TB_OK,
         "no sealer");
    for (uint32_t i = 0; i < BLOCKS; i++) {
        need(tb_sealer_next(sealer, b->plain, TB_BLOCK_BYTES_MAX,
                            b->sealed + (size_t)i * SEALED, NULL) == TB_OK,
             "cannot seal");
    }
    need(tb_opener_new(&b->opener, key, &to, tb_sealer_header(sealer), NULL) ==
             TB_OK,
         "no opener");
    tb_sealer_free(&sealer);
}

static void open_bench(bench *b, const char *folder)
{
    tb_box_key *key = NULL;
    char path[1024];
    b->config = (tb_round_config){.max_abs = 16.0F,
                                  .max_weight = 60000,
                                  .fraction_bits = 20,
                                  .n_sections = 1};
    (void)tb_name_set(&b->config.codec, "f32");
    b->config.sections[0] = (tb_section){
        .n_values = (uint64_t)BLOCKS * TB_BLOCK_VALUES, .weighted = true};
    b->sealed = tb_mem_array(BLOCKS, SEALED);
    b->plain = tb_mem_aligned(TB_BLOCK_BYTES_MAX, 1);
    b->scratch = tb_mem_aligned(TB_BLOCK_VALUES, sizeof *b->scratch);
    need(b->sealed != NULL && b->plain != NULL && b->scratch != NULL &&
             tb_sum_new(&b->sum, &b->config, 1000, NULL) == TB_OK &&
             tb_box_key_new(&key, NULL) == TB_OK,
         "no memory");
    seal_all(b, key);
    tb_box_key_free(&key);
    (void)snprintf(path, sizeof path, "%s/bench-limits", folder);
    b->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    need(b->fd >= 0 && unlink(path) == 0, "no file there");
}

int main(int argc, char **argv)
{
    bench b = {0};
    need(argc == 2, "usage: bench-limits FOLDER");
    need(tb_crypto_init(NULL) == TB_OK, "no crypto");
    open_bench(&b, argv[1]);
    measure(&b, "hash", hash_block);
    measure(&b, "open", open_block);
    measure(&b, "add", add_block);
    measure(&b, "write", write_block);
    tb_opener_free(&b.opener);
    tb_sum_free(&b.sum);
    tb_mem_free(b.sealed);
    tb_mem_free(b.plain);
    tb_mem_free(b.scratch);
    return close(b.fd);
}
