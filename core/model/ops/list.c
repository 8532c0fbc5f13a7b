/* core/model/ops/list.c - the list of all operators as an array. */
#include "model/ops/op_priv.h"

const tb_op *const tb_op_list[] = {
#define TB_OP(name) &tb_op_##name,
#include "model/ops/list.def"
#undef TB_OP
    NULL,
};
