#include "fed/event.h"

#include <string.h>

#include "base/mem.h"

void tb_action_release(tb_action *action)
{
    switch (action->kind) {
    case TB_ACT_JOURNAL:
        tb_buf_release(&action->u.journal.body);
        break;
    case TB_ACT_SEND:
        tb_mem_free(action->u.msg);
        break;
    case TB_ACT_ORDER:
        tb_mem_free(action->u.order);
        break;
    case TB_ACT_CHUNK:
    case TB_ACT_DISCARD:
    case TB_ACT_FORGET:
    case TB_ACT_SUMMED:
    case TB_ACT_CUT:
    case TB_ACT_RUN_ENDED:
    case TB_ACT_KIND_END:
        break;
    }
    memset(action, 0, sizeof *action);
}

void tb_actions_release(tb_actions *actions)
{
    for (size_t i = 0; i < actions->n; i++) {
        tb_action_release(&actions->at[i]);
    }
    tb_mem_free(actions->at);
    *actions = (tb_actions){0};
}

void tb_action_take(tb_action *out, tb_action *from)
{
    *out = *from;
    memset(from, 0, sizeof *from);
}

const char *tb_order_kind_name(tb_order_kind kind)
{
    static const char *const names[TB_ORDER_KIND_END] = {
        "none",       "open_round",  "find_blocks", "add_block",
        "end_upload", "drop_upload", "add_stored",  "drop_stored",
        "aggregate",  "evaluate",    "finish"};
    return kind < TB_ORDER_KIND_END ? names[kind] : "unknown";
}
