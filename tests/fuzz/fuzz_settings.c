/* Any bytes as a job file: refused, or taken; and what is taken has a canonical
 * text that is taken again and gives the same text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static tb_job job;
    tb_buf first;
    tb_buf second;
    tb_err err = {0};
    tb_buf_init(&first, (size_t)1 << 24);
    tb_buf_init(&second, (size_t)1 << 24);
    if (tb_job_decode(&job, (const char *)data, size, &err) != TB_OK) {
        if (err.text[0] == '\0') {
            abort();
        }
        goto done;
    }
    if (tb_job_encode(&job, TB_JOB_ALL, &first, &err) != TB_OK ||
        first.len > TB_SETTINGS_FILE_BYTES_MAX) {
        tb_job_release(&job);
        goto done;
    }
    tb_job_release(&job);
    if (tb_job_decode(&job, (const char *)first.data, first.len, &err) !=
            TB_OK ||
        tb_job_encode(&job, TB_JOB_ALL, &second, &err) != TB_OK ||
        first.len != second.len ||
        memcmp(first.data, second.data, first.len) != 0) {
        abort();
    }
    tb_job_release(&job);
done:
    tb_buf_release(&first);
    tb_buf_release(&second);
    return 0;
}
