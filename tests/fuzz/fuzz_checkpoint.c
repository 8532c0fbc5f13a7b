/* Any bytes as a checkpoint of a training: refused, or its model is bound and
 * its states are as many as it says. */
#include <stdlib.h>

#include "base/mem.h"
#include "train/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tb_checkpoint c;
    size_t live = tb_mem_live();
    if (tb_checkpoint_decode(&c, "fuzz", data, size, NULL) == TB_OK) {
        if (c.graph == NULL || c.n_states > TB_OPT_STATES_MAX) {
            abort();
        }
        for (size_t i = 0; i < c.n_states; i++) {
            for (size_t k = 0; k < c.n_params; k++) {
                volatile float touched = c.states[i][k];
                (void)touched;
            }
        }
        tb_checkpoint_release(&c);
    }
    if (tb_mem_live() != live) {
        abort();
    }
    return 0;
}
