/* Runs a fuzz target once over each file named on the command line, or over
 * each file of each folder named there: how ctest replays a corpus. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"

#define INPUT_MAX_BYTES ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    tb_buf input;
    tb_err err = {0};
    tb_buf_init(&input, INPUT_MAX_BYTES);
    uint8_t *exact = NULL;
    tb_rc rc = tb_file_read(&input, path, &err);
    if (rc == TB_OK && (exact = tb_mem_array(input.len, 1)) == NULL) {
        rc = tb_fail(&err, TB_E_NOMEM, "%s", path);
    }
    if (rc == TB_OK) {
        printf("%s: %zu bytes\n", path, input.len);
        (void)fflush(stdout); /* so that a crash has a name */
        /* A copy of the exact size: a read one byte too far is caught. */
        if (input.len > 0) {
            memcpy(exact, input.data, input.len);
        }
        (void)LLVMFuzzerTestOneInput(exact, input.len);
    } else {
        (void)fprintf(stderr, "%s\n", err.text);
    }
    tb_mem_free(exact);
    tb_buf_release(&input);
    return rc == TB_OK ? 0 : 1;
}

static int replay_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        perror(folder);
        return 1;
    }
    int failed = 0;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char *path =
            e->d_name[0] != '.' ? tb_file_join(folder, e->d_name) : NULL;
        if (path != NULL) {
            failed |= replay_file(path);
        }
        tb_mem_free(path);
    }
    (void)closedir(dir);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
            failed |= replay_folder(argv[i]);
        } else {
            failed |= replay_file(argv[i]);
        }
    }
    return failed;
}
