/* What goes out of the coordinator machine. The first failure of a step sticks
 * and the rest of the step goes to a dummy: the process stops then anyway. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator_priv.h"

void tb_co_fail(tb_coordinator *co, tb_rc rc, const char *what)
{
    if (co->rc == TB_OK) {
        co->rc = tb_fail(co->err, rc, "coordinator: %s", what);
    }
}

static tb_action *append(tb_actions *list)
{
    if (list->n == list->cap) {
        size_t cap = list->cap == 0 ? 16 : 2 * list->cap;
        tb_action *at = tb_mem_resize(list->at, cap, sizeof *at);
        if (at == NULL) {
            return NULL;
        }
        list->at = at;
        list->cap = cap;
    }
    tb_action *action = &list->at[list->n++];
    memset(action, 0, sizeof *action);
    return action;
}

tb_action *tb_co_action(tb_coordinator *co, tb_action_kind kind, uint64_t after)
{
    tb_action *action = co->rc == TB_OK ? append(co->out) : NULL;
    if (action == NULL) {
        tb_co_fail(co, TB_E_NOMEM, "an action");
        return &co->no_action;
    }
    action->kind = kind;
    action->after_seq = after;
    return action;
}

uint64_t tb_co_journal(tb_coordinator *co, const tb_record *record)
{
    tb_buf body;
    tb_buf_init(&body, TB_RECORD_BYTES_MAX);
    if (co->rc == TB_OK) {
        co->rc = tb_record_encode(record, &body, co->err);
    }
    if (co->rc == TB_OK) {
        co->rc = tb_co_apply(co, record, co->seq + 1, co->err);
    }
    if (co->rc != TB_OK) {
        tb_buf_release(&body);
        return co->seq;
    }
    tb_action *action = tb_co_action(co, TB_ACT_JOURNAL, 0);
    if (co->rc != TB_OK) {
        tb_buf_release(&body);
        return co->seq;
    }
    action->u.journal.seq = co->seq;
    action->u.journal.kind = record->kind;
    action->u.journal.body = body;
    return co->seq;
}

tb_msg *tb_co_send(tb_coordinator *co, const tb_name *to, tb_msg_kind kind,
                   uint64_t after)
{
    tb_msg *msg = co->rc == TB_OK ? tb_mem_array(1, tb_msg_bytes(kind)) : NULL;
    if (msg == NULL) {
        tb_co_fail(co, TB_E_NOMEM, "a message");
        return &co->no_msg;
    }
    tb_action *action = tb_co_action(co, TB_ACT_SEND, after);
    if (co->rc != TB_OK) {
        tb_mem_free(msg);
        return &co->no_msg;
    }
    msg->kind = kind;
    action->client = *to;
    action->u.msg = msg;
    return msg;
}

tb_msg_refuse *tb_co_refuse(tb_coordinator *co, const tb_name *to,
                            tb_msg_kind about, tb_refusal code,
                            uint64_t retry_ms, const char *why)
{
    co->n_refused[code]++;
    tb_msg_refuse *refuse =
        &tb_co_send(co, to, TB_MSG_REFUSE, co->seq)->u.refuse;
    refuse->code = code;
    refuse->about = about;
    refuse->retry_ms = retry_ms;
    tb_co_text(refuse->why, why);
    return refuse;
}

tb_order *tb_co_order(tb_coordinator *co, const tb_run *run, tb_order_kind kind,
                      uint64_t after)
{
    tb_order *order = co->rc == TB_OK ? tb_mem_array(1, sizeof *order) : NULL;
    if (order == NULL) {
        tb_co_fail(co, TB_E_NOMEM, "an order");
        return &co->no_order;
    }
    tb_action *action = tb_co_action(co, TB_ACT_ORDER, after);
    if (co->rc != TB_OK) {
        tb_mem_free(order);
        return &co->no_order;
    }
    order->id = ++co->next_order;
    order->kind = kind;
    order->run = run->params->run;
    order->metrics = tb_metrics_none();
    action->u.order = order;
    return order;
}

void tb_co_discard(tb_coordinator *co, uint64_t payload)
{
    if (payload != 0) {
        tb_co_action(co, TB_ACT_DISCARD, 0)->u.payload = payload;
    }
}

void tb_co_text(char out[static TB_TEXT_BYTES], const char *text)
{
    (void)snprintf(out, TB_TEXT_BYTES, "%s", text);
    for (char *c = out; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = '?';
        }
    }
}
