/* Where the coordinator is to be found: the root key's word moves a client to
 * new doors and keys. The place before stays written down until the new one has
 * welcomed us, and is tried in turn with it. */
#include <string.h>

#include "agent_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/rotate.h"

void agent_move_dial(const agent *a, tb_dial_options *options)
{
    const federation *fed = &a->options.home->fed;
    bool back = a->dial_before && fed->moved;
    options->endpoint = back ? fed->endpoint_before : fed->endpoint;
    options->server_key =
        back ? fed->certificate_before.curve_key : fed->certificate.curve_key;
}

tb_rc agent_move_take(agent *a, const tb_msg_move *msg, tb_err *err)
{
    home *h = a->options.home;
    tb_err why = {0};
    tb_move move;
    tb_rc rc = tb_move_decode(&move, msg->move.data, msg->move.len, &why);
    if (rc == TB_OK) {
        rc = tb_move_verify(&move, h->fed.root, (uint64_t)tb_clock_unix_s(),
                            &why);
    }
    if (rc != TB_OK) {
        tb_log(TB_LOG_WARN, "event=not_genuine kind=move why=\"%s\"", why.text);
        return TB_OK;
    }
    if (move.certificate.serial <= h->fed.certificate.serial) {
        return TB_OK; /* known, or older */
    }
    federation newer = h->fed;
    newer.moved = true;
    memcpy(newer.endpoint_before, h->fed.endpoint, sizeof h->fed.endpoint);
    newer.certificate_before = h->fed.certificate;
    memcpy(newer.endpoint, move.endpoint, sizeof newer.endpoint);
    newer.certificate = move.certificate;
    rc = federation_write(h->folder, &newer, err);
    if (rc != TB_OK) {
        return rc;
    }
    h->fed = newer;
    a->certificate = newer.certificate;
    a->dial_before = false;
    tb_log(TB_LOG_INFO, "event=moved to=%s serial=%llu", newer.endpoint,
           (unsigned long long)newer.certificate.serial);
    return agent_redial(a, err);
}

tb_rc agent_move_welcomed(agent *a, tb_err *err)
{
    home *h = a->options.home;
    if (!h->fed.moved || a->dial_before) {
        return TB_OK;
    }
    federation now = h->fed;
    now.moved = false;
    tb_rc rc = federation_write(h->folder, &now, err);
    if (rc == TB_OK) {
        h->fed = now;
    }
    return rc;
}

tb_rc agent_move_lost(agent *a, tb_err *err)
{
    if (!a->options.home->fed.moved) {
        a->dial_before = false;
        return TB_OK;
    }
    a->dial_before = !a->dial_before;
    return agent_hang_up(a, err);
}
