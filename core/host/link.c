#include "host/link.h"

#include <unistd.h>

#include "base/mem.h"

tb_link *tb_link_new(int fd, tb_door_at at, const tb_door *door)
{
    tb_link *link = tb_mem_array(1, sizeof *link);
    if (link != NULL) {
        link->fd = fd;
        link->at = at;
        link->writable = true;
        tb_zmtp_init(&link->zmtp, door->curve, door->limits);
    }
    return link;
}

void tb_link_close(tb_link *link)
{
    (void)close(link->fd);
    link->fd = -1;
    for (int kind = 0; kind < TB_CHAIN_KINDS; kind++) {
        tb_chain_remove((tb_chain_kind)kind, link);
    }
    tb_zmtp_release(&link->zmtp);
    tb_mem_free(link->first.memory);
    tb_mem_free(link->out.rest);
    tb_outgoing_free(&link->out.message);
    link->first = (tb_frame){NULL, NULL, 0};
    link->out = (tb_sending){.message = NULL};
}

void tb_link_free(tb_link **link)
{
    tb_mem_free(*link);
    *link = NULL;
}

void tb_chain_add(tb_chain *chain, tb_chain_kind kind, tb_link *link)
{
    tb_chain_remove(kind, link);
    link->in[kind].chain = chain;
    link->in[kind].before = chain->last;
    link->in[kind].after = NULL;
    if (chain->last != NULL) {
        chain->last->in[kind].after = link;
    } else {
        chain->first = link;
    }
    chain->last = link;
    chain->n++;
}

void tb_chain_remove(tb_chain_kind kind, tb_link *link)
{
    tb_chain *chain = link->in[kind].chain;
    tb_link *before = link->in[kind].before;
    tb_link *after = link->in[kind].after;
    if (chain == NULL) {
        return;
    }
    if (before != NULL) {
        before->in[kind].after = after;
    } else {
        chain->first = after;
    }
    if (after != NULL) {
        after->in[kind].before = before;
    } else {
        chain->last = before;
    }
    chain->n--;
    link->in[kind].chain = NULL;
}
