/* CSV: the first byte chooses the options, the rest is the text. What is
 * accepted keeps its promises. */
#include <stdlib.h>

#include "data/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"a", "b"};
    static const tb_read_options options[] = {
        {0},
        {.target = TB_TARGET_VALUE},
        {.classes = names, .n_classes = 2},
        {.columns = names, .n_columns = 1, .label = "b"}};
    tb_dataset *ds = NULL;
    if (size == 0) {
        return 0;
    }
    if (tb_csv_decode(&ds, "t", (const char *)data + 1, size - 1,
                      &options[data[0] % 4], NULL) == TB_OK &&
        (tb_dataset_rows(ds) == 0 || tb_dataset_columns(ds) == NULL ||
         tb_dataset_seal(ds, NULL) != TB_OK)) {
        abort();
    }
    tb_dataset_free(&ds);
    return 0;
}
