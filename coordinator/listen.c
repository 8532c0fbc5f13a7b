/* Where the daemon listens. A port that the system chose stays ours over
 * restarts, so that a fleet that knows it finds us again. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "daemon.h"

#define BUSY_TRIES 25
#define BUSY_MS    200

/* "tcp://HOST:PORT" with another host, unless that is "". */
static tb_rc advertise(char out[static TB_ENDPOINT_BYTES], const char *endpoint,
                       const char *host, tb_err *err)
{
    const char *port = strrchr(endpoint, ':');
    bool as_bound = host[0] == '\0' || port == NULL;
    int n = as_bound
                ? snprintf(out, TB_ENDPOINT_BYTES, "%s", endpoint)
                : snprintf(out, TB_ENDPOINT_BYTES, "tcp://%s%s", host, port);
    return n > 0 && n < TB_ENDPOINT_BYTES
               ? TB_OK
               : tb_fail(err, TB_E_USAGE,
                         "advertise: over %d bytes of host and port",
                         TB_ENDPOINT_BYTES - 1);
}

/* Where to listen: as asked, or as at the last start. */
typedef struct endpoints {
    char listen[TB_PATH_BYTES];
    char enrol[TB_PATH_BYTES];
} endpoints;

/* The same wish as at the last start gets what that was bound to: a port that
 * the system chose stays ours, and a fleet that knows it finds us again. File:
 * for each of the two, what was asked and what was bound. */
static void remembered(const tb_daemon *d, endpoints *at)
{
    tb_err err;
    tb_buf text;
    endpoints asked = {0};
    endpoints bound = {0};
    tb_buf_init(&text, 4 * TB_PATH_BYTES);
    if (tb_file_read(&text, tb_folder_path(d->state.folder, TB_ITEM_ENDPOINTS),
                     &err) == TB_OK &&
        tb_buf_put_u8(&text, 0, &err) == TB_OK &&
        sscanf((const char *)text.data, "%1023s %1023s %1023s %1023s",
               asked.listen, bound.listen, asked.enrol, bound.enrol) == 4) {
        if (strcmp(asked.listen, at->listen) == 0) {
            memcpy(at->listen, bound.listen, sizeof at->listen);
        }
        if (strcmp(asked.enrol, at->enrol) == 0) {
            memcpy(at->enrol, bound.enrol, sizeof at->enrol);
        }
    }
    tb_buf_release(&text);
}

tb_rc tb_daemon_remember_doors(const tb_daemon *d, const char *listen,
                               const char *enrol, tb_err *err)
{
    char text[4 * TB_PATH_BYTES];
    int n = snprintf(text, sizeof text, "%s %s\n%s %s\n", d->settings->listen,
                     listen, d->settings->listen_enrol, enrol);
    return tb_file_write(tb_folder_path(d->state.folder, TB_ITEM_ENDPOINTS),
                         text, (size_t)n, 0600, err);
}

tb_rc tb_daemon_advertised(const tb_daemon *d, const char *bound,
                           char out[static TB_ENDPOINT_BYTES], tb_err *err)
{
    return advertise(out, bound, d->settings->advertise, err);
}

tb_rc tb_daemon_advertise(tb_daemon *d, tb_err *err)
{
    tb_rc rc = tb_daemon_advertised(
        d, tb_transport_pair_endpoint(d->net, d->pair), d->endpoint, err);
    return rc == TB_OK
               ? tb_daemon_advertised(
                     d, tb_transport_pair_enrol_endpoint(d->net, d->pair),
                     d->enrol_endpoint, err)
               : rc;
}

static tb_rc bind_endpoints(tb_daemon *d, const endpoints *at, tb_err *err)
{
    tb_transport_options options = {
        .endpoint = at->listen,
        .enrol_endpoint = at->enrol,
        .curve_public = tb_box_key_public(d->keys.curve),
        .curve_secret = tb_box_key_secret(d->keys.curve),
        .max_connections = d->settings->max_connections,
        .shut = true};
    return tb_transport_start(&d->net, &options, err);
}

/* The ports of the last start. Between a kill and this start the system may
 * have lent one for somebody's short connection: the fleet looks for us there,
 * so that is waited for. */
static tb_rc bind_again(tb_daemon *d, const endpoints *at, tb_err *err)
{
    tb_rc rc = bind_endpoints(d, at, err);
    if (rc == TB_E_BUSY) {
        tb_log(TB_LOG_WARN, "event=listen endpoint=%s error=\"%s\"", at->listen,
               "in use by another program: waiting for it");
    }
    for (int i = 0; i < BUSY_TRIES && rc == TB_E_BUSY; i++) {
        (void)poll(NULL, 0, BUSY_MS);
        rc = bind_endpoints(d, at, err);
    }
    return rc;
}

static void tell_room(const tb_daemon *d)
{
    const tb_descriptors *room = tb_transport_descriptors(d->net);
    tb_status status;
    tb_coordinator_status(d->state.machine, &status);
    bool few = room->connections < status.n_enrolled;
    tb_log(few ? TB_LOG_WARN : TB_LOG_INFO,
           "event=room clients=%u open_files=%u kept_for_the_store=%u "
           "members=%u%s",
           room->connections, room->limit, room->reserved, status.n_enrolled,
           few ? " fix=\"raise max_connections, or LimitNOFILE of the service\""
               : "");
}

tb_rc tb_daemon_listen(tb_daemon *d, tb_err *err)
{
    endpoints asked = {0};
    (void)snprintf(asked.listen, sizeof asked.listen, "%s",
                   d->settings->listen);
    (void)snprintf(asked.enrol, sizeof asked.enrol, "%s",
                   d->settings->listen_enrol);
    endpoints at = asked;
    remembered(d, &at);
    bool kept = strcmp(at.listen, asked.listen) != 0 ||
                strcmp(at.enrol, asked.enrol) != 0;
    tb_rc rc = kept ? bind_again(d, &at, err) : bind_endpoints(d, &at, err);
    if (rc == TB_E_BUSY && kept) {
        tb_log(TB_LOG_WARN, "event=listen endpoint=%s error=\"%s\"", at.listen,
               "still in use by another program: clients must join again");
        rc = bind_endpoints(d, &asked, err);
    }
    if (rc == TB_OK) {
        tell_room(d);
        rc = tb_daemon_advertise(d, err);
    }
    return rc == TB_OK
               ? tb_daemon_remember_doors(
                     d, tb_transport_pair_endpoint(d->net, d->pair),
                     tb_transport_pair_enrol_endpoint(d->net, d->pair), err)
               : rc;
}
