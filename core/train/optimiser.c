#include "train/optimiser.h"

#include <string.h>

#include "train/optimiser_priv.h"

const tb_optimiser *const tb_optimiser_list[] = {
    &tb_optimiser_sgd,
    NULL,
};

const tb_optimiser *tb_optimiser_find(const char *name)
{
    for (size_t i = 0; tb_optimiser_list[i] != NULL; i++) {
        if (strcmp(tb_optimiser_list[i]->name, name) == 0) {
            return tb_optimiser_list[i];
        }
    }
    return NULL;
}
