/* client/agent_priv.h - what the agent's own files share. */
#ifndef TB_CLIENT_AGENT_PRIV_H
#define TB_CLIENT_AGENT_PRIV_H

#include "agent.h"
#include "base/pace.h"
#include "host/control.h"
#include "host/dial.h"
#include "host/notify.h"
#include "rotate.h"

enum { AGENT_REQUESTS_MAX = 8 };

/* A request that came over the control socket. */
typedef struct asked {
    uint64_t connection; /* to reply to; 0: this place is free */
    request request;
} asked;

struct agent {
    agent_options options;
    tb_client *machine;
    tb_cactions actions; /* of the step at hand */
    size_t at;           /* the next one to carry out */
    tb_dial *dial;       /* NULL: not connected, and not trying */
    worker *worker;      /* NULL: no data sets */
    chores *chores;      /* of the requests */
    tb_control *control; /* NULL: not asked for */
    int stop_fd;         /* of base/stop.h */
    int reload_fd;       /* the same; -1: settings stay */
    tb_notify notify;
    tb_pace pace_in, pace_out; /* of all that came and went */
    bool stopping;
    tb_certificate certificate;   /* the newest one */
    const tb_inbound *inbound;    /* the message at hand, for STORE */
    uint64_t bytes_in, bytes_out; /* of connections that are closed */
    uint64_t trained_rows;
    bool working; /* the worker has a job */
    rotation rotate;
    char lost_why[256];                /* not connected: why; "": not known */
    bool dial_before;                  /* dial the place before the last move */
    uint64_t jobs;                     /* that it worked for */
    char job[2 * TB_RUN_ID_BYTES + 1]; /* run of the last one; "": none */
    uint32_t round;                    /* of that run, worked for last */
    uint64_t accepted_before, refused_before; /* by agents before this one */
    asked asked[AGENT_REQUESTS_MAX];
};

/* Takes an event and carries out what comes of it. */
tb_rc agent_step(agent *a, const tb_cevent *event, tb_err *err) TB_MUST_CHECK;

/* Sends a message with a payload that may be empty; arg: the agent. Errors:
 * BUSY (not connected), FULL, LIMIT, NOMEM. */
tb_rc agent_send(void *arg, const tb_msg *msg, const uint8_t *payload,
                 size_t n_payload, tb_err *err) TB_MUST_CHECK;

/* Closes the connection without a word to the machine; agent_redial: and tells
 * it, so that it connects again. Errors: TIMEOUT. */
tb_rc agent_hang_up(agent *a, tb_err *err) TB_MUST_CHECK;
tb_rc agent_redial(agent *a, tb_err *err) TB_MUST_CHECK;

/* agent_rotate.c: new keys. The start of an agent for them alone; under which
 * to dial; what is due; a message, which may be taken; the connection stands,
 * or was lost. */
void agent_rotate_only(agent *a);
void agent_rotate_dial(const agent *a, tb_dial_options *options);
tb_rc agent_rotate_tick(agent *a, tb_err *err) TB_MUST_CHECK;
tb_rc agent_rotate_take(agent *a, const tb_msg *msg, bool *taken,
                        tb_err *err) TB_MUST_CHECK;
tb_rc agent_rotate_connected(agent *a, tb_err *err) TB_MUST_CHECK;
tb_rc agent_rotate_lost(agent *a, tb_err *err) TB_MUST_CHECK;

/* agent_move.c: the coordinator's new place and keys. Where to dial; a MOVE; a
 * genuine WELCOME has come; the connection was lost. */
void agent_move_dial(const agent *a, tb_dial_options *options);
tb_rc agent_move_take(agent *a, const tb_msg_move *msg,
                      tb_err *err) TB_MUST_CHECK;
tb_rc agent_move_welcomed(agent *a, tb_err *err) TB_MUST_CHECK;
tb_rc agent_move_lost(agent *a, tb_err *err) TB_MUST_CHECK;

/* One action of the machine. */
tb_rc agent_act(agent *a, const tb_caction *action, tb_err *err) TB_MUST_CHECK;

/* At start: drops sealed updates that a crash left behind. */
void agent_drop_leftovers(const agent *a);

/* Whether the coordinator has welcomed us on this connection. */
bool agent_in_session(const agent *a);

/* Counters and state, for `status`. */
tb_rc agent_status(const agent *a, tb_json **out, tb_err *err) TB_MUST_CHECK;

/* Writes them beside the keys, for when no agent runs. */
tb_rc agent_save_status(const agent *a, tb_err *err) TB_MUST_CHECK;

/* Goes on counting where the last agent of this folder stopped. */
void agent_load_counts(agent *a);

/* Counts the job of a round that work begins for. */
void agent_count_job(agent *a, const tb_run_id *run);

/* Runs `fn` for the agent's own request and for each that was asked. */
typedef void agent_request_fn(agent *a, request *r, const request_context *c,
                              void *arg);
void agent_each_request(agent *a, agent_request_fn *fn, void *arg);

/* agent_reload.c: signals to a long-lived agent and its service manager. Errors
 * of the first: IO. */
tb_rc agent_open_signals(agent *a, tb_err *err) TB_MUST_CHECK;
void agent_reload(agent *a);

/* Begins to count by the bandwidth that is set. */
void agent_set_pace(agent *a);
void agent_tell_manager(agent *a);

/* Control requests: takes new ones, answers those that are done. */
tb_rc agent_serve_control(agent *a, tb_err *err) TB_MUST_CHECK;

#endif
