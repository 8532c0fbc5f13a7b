#include "train/loss.h"

#include <string.h>

#include "train/loss_priv.h"

const tb_loss *const tb_loss_list[] = {
    &tb_loss_softmax_cross_entropy,
    &tb_loss_mse,
    NULL,
};

const tb_loss *tb_loss_find(const char *name)
{
    for (size_t i = 0; tb_loss_list[i] != NULL; i++) {
        if (strcmp(tb_loss_list[i]->name, name) == 0) {
            return tb_loss_list[i];
        }
    }
    return NULL;
}
