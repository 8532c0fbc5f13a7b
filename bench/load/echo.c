/* The clients of a bare ROUTER, which sends small messages back and answers a
 * large one with a byte. */
#include <string.h>

#include "load.h"

#define BLOCK_BYTES (TB_BLOCK_BYTES_MAX + 16)
#define WINDOW      4
#define TALKS       5 /* answered messages of a round beside model and update */

static const uint8_t block[BLOCK_BYTES];

static void say_small(load_client *c)
{
    load_send(c, &(tb_span){block, LOAD_SMALL_BYTES}, NULL);
}

static tb_rc start(load *l, load_client *c, tb_err *err)
{
    tb_rc rc = load_connect(l, c, err);
    if (rc == TB_OK) {
        say_small(c);
    }
    return rc;
}

static void push_more(load_client *c)
{
    while (c->left > 0 && c->unacked < WINDOW) {
        size_t n = c->left < sizeof block ? (size_t)c->left : sizeof block;
        tb_span payload = {block, n};
        load_send(c, &(tb_span){block, LOAD_SMALL_BYTES}, &payload);
        c->left -= n;
        c->unacked++;
    }
}

/* The next step of a round. False: there is none, the update is next. */
static bool step_round(load_client *c)
{
    if (c->fetches > 0) {
        c->fetches--;
        load_send(c, &(tb_span){block, LOAD_FETCH_BYTES}, NULL);
        return true;
    }
    if (c->talks > 0) {
        c->talks--;
        say_small(c);
        return true;
    }
    return false;
}

static tb_rc hear(load *l, load_client *c, zmq_msg_t *frames, int n,
                  tb_err *err)
{
    (void)n;
    (void)err;
    bool answer = zmq_msg_size(&frames[0]) == 1;
    if (c->in_round && !answer) {
        if (!step_round(c)) {
            c->in_round = false;
            push_more(c);
        }
    } else if (answer) {
        c->unacked--;
        push_more(c);
        if (c->unacked == 0 && c->left == 0) {
            load_count(&l->update);
        }
    } else if (!c->greeted) {
        c->greeted = true;
        load_count(&l->connect);
    } else if (c->asked) {
        c->asked = false;
        load_count(&l->probe);
    }
    return TB_OK;
}

static tb_rc probe(load *l, load_client *c, tb_err *err)
{
    (void)l;
    (void)err;
    c->asked = true;
    say_small(c);
    return TB_OK;
}

static tb_rc push(load *l, load_client *c, uint64_t bytes, tb_err *err)
{
    (void)l;
    (void)err;
    c->left = bytes;
    push_more(c);
    return TB_OK;
}

static tb_rc do_round(load *l, load_client *c, uint64_t bytes, tb_err *err)
{
    (void)l;
    (void)err;
    c->in_round = true;
    c->fetches =
        (uint32_t)((bytes + TB_FETCH_BYTES_MAX - 1) / TB_FETCH_BYTES_MAX);
    c->talks = TALKS;
    c->left = bytes;
    (void)step_round(c);
    return TB_OK;
}

static tb_rc tick(load *l, load_client *c, int64_t now_ms, tb_err *err)
{
    (void)l;
    (void)c;
    (void)now_ms;
    (void)err;
    return TB_OK;
}

static void end(load_client *c)
{
    (void)c;
}

const load_protocol load_echo = {.name = "echo",
                                 .start = start,
                                 .hear = hear,
                                 .probe = probe,
                                 .push = push,
                                 .round = do_round,
                                 .tick = tick,
                                 .end = end};
