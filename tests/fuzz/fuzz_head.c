/* Any bytes as the head of a journal: two slots of 80 bytes, the second at byte
 * 4096 of the file. Refused, or the newer whole slot is read, a row is written
 * behind it, and read again. The hash of each slot is made to fit too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "host/head.h"

#define SLOT_BYTES   80
#define SIGNED_BYTES 48
#define SLOT_AT      4096

static void open_and_write(const char *path)
{
    tb_head head, again;
    tb_hash chain = {{1}};
    if (tb_head_open(&head, path, true, NULL) != TB_OK) {
        if (tb_head_check(path, NULL) == TB_OK) {
            abort(); /* whole, but it cannot be opened */
        }
        return;
    }
    uint64_t next = head.seq + 1;
    tb_rc rc = tb_head_write(&head, next, &chain, NULL);
    tb_head_close(&head);
    if (rc == TB_OK && next > 0 &&
        (tb_head_open(&again, path, false, NULL) != TB_OK ||
         again.seq != next || !tb_hash_equal(&again.chain, &chain))) {
        abort();
    }
    if (rc == TB_OK && next > 0) {
        tb_head_close(&again);
    }
}

static void take(const uint8_t *data, size_t size, bool fit)
{
    uint8_t file[SLOT_AT + SLOT_BYTES] = {0};
    char path[64];
    size_t n = size < SLOT_BYTES ? size : SLOT_BYTES;
    memcpy(file, data, n);
    memcpy(file + SLOT_AT, data + n,
           size - n < SLOT_BYTES ? size - n : SLOT_BYTES);
    for (size_t at = 0; fit && at <= SLOT_AT; at += SLOT_AT) {
        tb_hash hash = tb_hash_of(file + at, SIGNED_BYTES);
        memcpy(file + at + SIGNED_BYTES, hash.bytes, TB_HASH_BYTES);
    }
    (void)snprintf(path, sizeof path, "/dev/shm/tb-fuzz-head-%ld",
                   (long)getpid());
    size_t len = size > 2 * SLOT_BYTES || size < n + 1 ? n : sizeof file;
    if (tb_file_write(path, file, len, 0600, NULL) == TB_OK) {
        open_and_write(path);
        (void)unlink(path);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    take(data, size, false);
    take(data, size, true);
    return 0;
}
