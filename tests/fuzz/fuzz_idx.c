/* IDX: the first half of the bytes as images, the rest as labels; the first
 * byte says where the halves meet. What is accepted keeps its promises. */
#include <stdlib.h>

#include "data/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const tb_read_options none = {0};
    tb_source *x = NULL;
    tb_source *y = NULL;
    tb_dataset *ds = NULL;
    if (size == 0) {
        return 0;
    }
    size_t cut = 1 + (size - 1) * data[0] / 255;
    if (tb_source_open_bytes(&x, "x", data + 1, cut - 1, TB_PACKING_AUTO,
                             NULL) != TB_OK ||
        tb_source_open_bytes(&y, "y", data + cut, size - cut, TB_PACKING_AUTO,
                             NULL) != TB_OK) {
        abort(); /* opening bytes reads nothing */
    }
    if (tb_idx_decode(&ds, x, y, &none, NULL) == TB_OK &&
        (tb_dataset_rows(ds) == 0 || tb_dataset_seal(ds, NULL) != TB_OK)) {
        abort();
    }
    tb_dataset_free(&ds);
    tb_source_close(&x);
    tb_source_close(&y);
    return 0;
}
