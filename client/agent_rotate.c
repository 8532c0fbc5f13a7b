/* The agent's part of new keys: when to propose them, what to do with the
 * answer, and under which key to dial meanwhile. */
#include <string.h>

#include "agent_priv.h"
#include "base/clock.h"
#include "base/log.h"

enum { AGAIN_MS = 10000, PATIENCE_MS = 20000 };

void agent_rotate_only(agent *a)
{
    rotation *r = &a->rotate;
    r->phase = r->phase == ROTATION_NONE ? ROTATION_WANTED : r->phase;
    r->give_up_ms = tb_clock_ms() + PATIENCE_MS;
}

void agent_rotate_dial(const agent *a, tb_dial_options *options)
{
    const tb_box_key *key =
        a->rotate.dial_next ? a->rotate.curve : a->options.home->curve_key;
    options->curve_public = tb_box_key_public(key);
    options->curve_secret = tb_box_key_secret(key);
}

tb_rc agent_redial(agent *a, tb_err *err)
{
    const tb_cevent lost = {.kind = TB_CEV_DISCONNECTED};
    tb_rc rc = agent_hang_up(a, err);
    return rc == TB_OK ? agent_step(a, &lost, err) : rc;
}

/* Draws what is wanted, and says it. The key before the last one is still in
 * use while an update is being made with it: then this waits. */
static tb_rc propose(agent *a, tb_err *err)
{
    rotation *r = &a->rotate;
    tb_msg msg = {.kind = TB_MSG_ROTATE};
    tb_rc rc = TB_OK;
    if (r->phase == ROTATION_WANTED) {
        if (a->working && a->options.home->retired != NULL) {
            return TB_OK;
        }
        rc = rotation_draw(r, a->options.home, err);
        tb_log(TB_LOG_INFO, "event=rotate");
    }
    if (rc == TB_OK) {
        rotation_message(r, a->options.home, &msg.u.rotate);
        r->again_ms = tb_clock_ms() + AGAIN_MS;
        rc = agent_send(a, &msg, NULL, 0, err);
        rc = rc == TB_E_BUSY || rc == TB_E_FULL ? TB_OK : rc;
    }
    return rc;
}

tb_rc agent_rotate_tick(agent *a, tb_err *err)
{
    rotation *r = &a->rotate;
    uint64_t after_s = a->options.rotate_after_ms / 1000;
    bool idle = r->phase == ROTATION_NONE || r->phase == ROTATION_DONE;
    if (idle && after_s > 0 && r->asked_by == 0 &&
        tb_clock_ms() >= r->again_ms) {
        r->again_ms = tb_clock_ms() + AGAIN_MS;
        r->phase = rotation_age_s(a->options.home) >= after_s ? ROTATION_WANTED
                                                              : r->phase;
    }
    if (r->phase == ROTATION_IN_PLACE && agent_in_session(a)) {
        tb_log(TB_LOG_INFO, "event=rotated");
        r->phase = ROTATION_DONE;
    }
    if (r->give_up_ms > 0 && tb_clock_ms() >= r->give_up_ms &&
        r->phase != ROTATION_DONE) {
        r->phase = ROTATION_DONE; /* what was proposed stays on disk */
        r->rc = tb_fail(&r->err, TB_E_TIMEOUT,
                        "the coordinator has not answered for %d s: is it "
                        "running, and does it know this client? `tributary "
                        "run` or `rotate` goes on where this stopped",
                        PATIENCE_MS / 1000);
    }
    bool say = r->phase == ROTATION_WANTED ||
               (r->phase == ROTATION_PROPOSED && tb_clock_ms() >= r->again_ms);
    return say && agent_in_session(a) ? propose(a, err) : TB_OK;
}

static bool is_ours(const rotation *r, const tb_msg_rotated *msg)
{
    return r->phase == ROTATION_PROPOSED &&
           memcmp(msg->sign_key, tb_sign_key_public(r->sign), 32) == 0 &&
           memcmp(msg->curve_key, tb_box_key_public(r->curve), 32) == 0;
}

tb_rc agent_rotate_take(agent *a, const tb_msg *msg, bool *taken, tb_err *err)
{
    rotation *r = &a->rotate;
    *taken = false;
    if (msg->kind == TB_MSG_REFUSE && msg->u.refuse.about == TB_MSG_ROTATE) {
        *taken = true;
        if (r->phase == ROTATION_PROPOSED) {
            rotation_drop(r, a->options.home, TB_E_REFUSED, msg->u.refuse.why);
        }
        return TB_OK;
    }
    if (msg->kind != TB_MSG_ROTATED) {
        return TB_OK;
    }
    *taken = true;
    tb_rc rc = TB_OK;
    if (is_ours(r, &msg->u.rotated)) {
        rc = rotation_put_in_place(r, a->options.home, err);
        rc = rc == TB_OK ? agent_redial(a, err) : rc;
    }
    return rc;
}

/* The coordinator let the proposed key in, so it has the row: as good as its
 * answer. */
tb_rc agent_rotate_connected(agent *a, tb_err *err)
{
    return a->rotate.dial_next
               ? rotation_put_in_place(&a->rotate, a->options.home, err)
               : TB_OK;
}

/* Nobody can tell whether the answer was lost or the proposal: the other key
 * may be the one that is let in. */
tb_rc agent_rotate_lost(agent *a, tb_err *err)
{
    if (a->rotate.phase != ROTATION_PROPOSED) {
        return TB_OK;
    }
    a->rotate.dial_next = !a->rotate.dial_next;
    return agent_hang_up(a, err);
}
