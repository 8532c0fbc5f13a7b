/* client/request.h - what a user wants from the coordinator besides rounds:
 * a model (its manifest, then its blobs) or answers of one. A small machine of
 * its own, driven by the agent; no sockets here. */
#ifndef TB_CLIENT_REQUEST_H
#define TB_CLIENT_REQUEST_H

#include <stdatomic.h>

#include "chores.h"
#include "fed/fetch.h"
#include "home.h"
#include "host/json.h"
#include "registry.h"

typedef enum request_kind { REQUEST_PULL, REQUEST_PREDICT } request_kind;

typedef enum request_phase {
    REQUEST_NEW,
    REQUEST_MANIFEST, /* asked for the manifest */
    REQUEST_FETCH,    /* pull: fetching a blob */
    REQUEST_CHORE,    /* pull: a file is looked at, or unpacked */
    REQUEST_ANSWERS,  /* predict: sent rows, waits for the answer */
    REQUEST_DONE
} request_phase;

typedef struct request {
    request_kind kind;
    tb_name model;
    tb_artefact_role role; /* 0: the standard one; then the one that was used */
    tb_buf rows;           /* PREDICT: raw, owned */
    size_t n_rows;
    uint64_t bandwidth; /* of an agent of its own; 0: no limit */
    request_phase phase;
    tb_manifest manifest; /* owned, once it came */
    tb_fetch fetch;
    uint32_t n_items;   /* PULL: files of the form that are here */
    registry_item item; /* PULL: the one that is fetched, owned */
    struct {
        bool unpacks;  /* else it looks whether the item is here */
        chores *where; /* it runs, borrowed */
        atomic_bool done;
        tb_rc rc;
        tb_err err;
    } chore;
    tb_buf answers;   /* PREDICT: float32 [n_rows, n_outputs] so far, owned */
    size_t n_done;    /* PREDICT: rows answered */
    size_t n_pending; /* PREDICT: rows asked for */
    uint64_t n_outputs;
    uint64_t id;         /* of the last PREDICT */
    int64_t deadline_ms; /* for the next sign of life */
    tb_rc rc;            /* when DONE */
    tb_err err;
} request;

/* How a request sends: the message, and a payload that may be empty. */
typedef tb_rc request_send_fn(void *arg, const tb_msg *msg,
                              const uint8_t *payload, size_t n_payload,
                              tb_err *err);

typedef struct request_context {
    const home *home;
    request_send_fn *send;
    void *arg;
    int64_t now_ms;
    chores *chores; /* NULL: what takes long is done at once */
} request_context;

/* An empty request for a model. One with a chore stays where it is until that
 * is done. */
void request_init(request *r, request_kind kind, const tb_name *model);
void request_release(request *r);

/* "fp32", "int8", ...: the form to pull. Errors: USAGE (lists them). */
tb_rc request_set_role(request *r, const char *role, tb_err *err) TB_MUST_CHECK;

/* What came of a request that is done and OK: version, and for PULL role, hash
 * and path; for PREDICT the outputs, row by row. Errors: NOMEM. */
tb_rc request_result(const request *r, const home *h, tb_json **out,
                     tb_err *err) TB_MUST_CHECK;

/* Begins (again): after the session is up, and after each reconnect. */
void request_begin(request *r, const request_context *c);

/* Whether the message was for this request; if so it was taken. */
bool request_take(request *r, const request_context *c, const tb_msg *msg,
                  const uint8_t *payload, size_t n_payload);

/* Goes on where a chore is done. */
void request_go_on(request *r, const request_context *c);

/* Ends a request that has waited too long. */
void request_tick(request *r, int64_t now_ms);

#endif
