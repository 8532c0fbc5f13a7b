/* NPY and NPZ: the bytes as an archive, and as the features of a pair whose
 * targets are three classes. What is accepted keeps its promises. */
#include <stdlib.h>
#include <string.h>

#include "data/formats.h"

static void check(tb_rc rc, tb_dataset **ds)
{
    if ((rc == TB_OK) != (*ds != NULL)) {
        abort();
    }
    if (*ds != NULL &&
        (tb_dataset_rows(*ds) == 0 || tb_dataset_seal(*ds, NULL) != TB_OK)) {
        abort();
    }
    tb_dataset_free(ds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const tb_read_options none = {0};
    static const char head[] =
        "\x93NUMPY\x01\x00\x3b\x00"
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }  \x02\x00"
        "\x01";
    tb_source *x = NULL;
    tb_source *y = NULL;
    tb_dataset *ds = NULL;
    check(tb_npz_decode(&ds, "z", data, size, &none, NULL), &ds);
    if (tb_source_open_bytes(&x, "x", data, size, TB_PACKING_AUTO, NULL) !=
            TB_OK ||
        tb_source_open_bytes(&y, "y", (const uint8_t *)head, sizeof head - 1,
                             TB_PACKING_NONE, NULL) != TB_OK) {
        abort(); /* opening bytes reads nothing */
    }
    check(tb_npy_decode(&ds, x, y, &none, NULL), &ds);
    tb_source_close(&x);
    tb_source_close(&y);
    return 0;
}
