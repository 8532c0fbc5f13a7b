/* core/sim/sim_priv.h - the inside of the simulator, for its own files: sim.c
 * (doors and the clock), faults.c (what goes wrong), queue.c (what happens
 * when), net.c (messages), coord.c (the coordinator's driver), orders.c (what
 * it computes, and its spool), device.c (a client's driver), trace.c (what
 * happened). */
#ifndef TB_SIM_SIM_PRIV_H
#define TB_SIM_SIM_PRIV_H

#include <pthread.h>

#include "base/pool.h"
#include "base/stream.h"
#include "fed/update.h"
#include "sim/sim.h"

typedef enum tb_sim_kind {
    TB_SIM_TO_COORDINATOR, /* a message arrives */
    TB_SIM_TO_CLIENT,
    TB_SIM_CONNECTED, /* a client's connection stands */
    TB_SIM_WORKED,    /* a client's work is done */
    TB_SIM_ORDERED,   /* an order of the coordinator is done */
    TB_SIM_STORED,    /* its result is durable */
    TB_SIM_DURABLE,   /* the journal is synced up to a row */
    TB_SIM_COORDINATOR_UP,
    TB_SIM_CLIENT_UP,
    TB_SIM_WAKE_COORDINATOR,
    TB_SIM_WAKE_CLIENT
} tb_sim_kind;

/* Work of a client on the pool. */
typedef struct tb_sim_task {
    struct tb_sim *sim;
    tb_sim_work work;
    tb_round_config *config; /* owned: of the work */
    tb_rc rc;
    tb_err err;
    bool done; /* under sim->lock */
} tb_sim_task;

/* Something that will happen. */
typedef struct tb_sim_item {
    int64_t at_ms;
    uint64_t turn; /* among those of one time: first come, first served */
    tb_sim_kind kind;
    size_t client;
    uint64_t life;    /* of whom it is about: void when that one died since */
    uint64_t link;    /* connection that a message is on */
    tb_buf envelope;  /* owned: message */
    uint8_t *payload; /* owned: message */
    size_t payload_bytes;
    uint64_t seq;        /* DURABLE */
    tb_order *order;     /* owned: ORDERED */
    tb_verdict *verdict; /* owned: STORED */
    tb_sim_task *task;   /* owned: WORKED */
} tb_sim_item;

typedef struct tb_sim_queue {
    tb_sim_item *heap; /* owned; the first is the next */
    size_t n, cap;
    uint64_t turn;
} tb_sim_queue;

/* A row of the virtual journal. */
typedef struct tb_sim_row {
    uint32_t kind;
    tb_buf body; /* owned */
} tb_sim_row;

/* An upload in the virtual spool. */
typedef struct tb_sim_upload {
    struct tb_sim_upload *next;
    tb_hash config;
    tb_name client;
    tb_upload_id id;
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    uint32_t n_blocks, n_held, n_synced;
    tb_buf *blocks; /* [n_blocks], owned */
} tb_sim_upload;

/* A payload frame under a handle: the handle is its address. */
typedef struct tb_sim_payload {
    struct tb_sim_payload *next, *previous;
    uint8_t *bytes; /* owned */
    size_t len;
} tb_sim_payload;

/* A round whose updates come together. */
typedef struct tb_sim_round {
    struct tb_sim_round *next;
    tb_hash hash;
    tb_round_config *config; /* owned */
    tb_sum *sum;             /* owned; NULL: only its updates are taken */
} tb_sim_round;

/* A model that was offered. */
typedef struct tb_sim_blob {
    tb_hash stored;
    uint64_t bytes;
} tb_sim_blob;

typedef struct tb_sim_device {
    tb_name name;
    tb_client *machine; /* NULL: down */
    uint64_t life;      /* counts its starts */
    uint64_t link;      /* counts its connections */
    bool connected;
    bool known;              /* the coordinator has heard on this connection */
    uint32_t slow;           /* factor; 0: none */
    int64_t parted_until_ms; /* nothing passes */
    int64_t asleep_until_ms;
    int64_t last_in_ms, last_out_ms; /* deliveries, for fifo */
    tb_hash blob;                    /* of which `have` bytes are on its disk */
    uint64_t have;
    uint8_t state[TB_CLIENT_STATE_BYTES_MAX]; /* on its disk */
    size_t n_state;
    bool has_update; /* on its disk: */
    tb_sealed sealed;
    tb_hash sealed_for;
    tb_buf *blocks; /* [sealed.n_blocks], owned */
    uint64_t works; /* so far: makes upload ids */
    int64_t wake_ms;
} tb_sim_device;

struct tb_sim {
    tb_sim_world world;
    tb_sim_jobs jobs;
    tb_coordinator_params coordinator_params;
    tb_client_params client_params;
    tb_stream chance;
    tb_sim_queue queue;
    int64_t now;
    tb_pool *pool;
    pthread_mutex_t lock; /* for done flags of tasks */
    pthread_cond_t done;
    bool *busy; /* owned [threads], under lock: worker numbers in use */

    tb_coordinator *co; /* NULL: down */
    uint64_t life;      /* counts its starts */
    int64_t co_wake_ms;
    int64_t asleep_until_ms; /* the coordinator */
    tb_sim_row *rows;        /* owned */
    size_t n_rows, cap_rows;
    uint64_t durable; /* rows that survive a kill */
    uint64_t shown;   /* rows that the test has seen */
    tb_actions held;  /* wait for a row */
    tb_sim_payload *payloads;
    tb_sim_upload *spool;
    int64_t full_until_ms;
    tb_sim_round *rounds; /* owned */
    float *scratch;       /* owned [TB_BLOCK_VALUES] */
    tb_sim_blob *blobs;   /* owned; survive a kill */
    size_t n_blobs, cap_blobs;
    uint64_t kill_row;
    bool kill_durable;
    size_t n_live; /* runs, as durable rows say */
    bool over;
    tb_rec_run_ended ended;

    tb_sim_device *devices; /* owned */
    size_t n_devices;
};

/* queue.c. The item is taken (zeroed). */
tb_rc tb_sim_push(tb_sim *sim, tb_sim_item *item, uint64_t in_ms, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
bool tb_sim_pop(tb_sim *sim, int64_t until_ms, tb_sim_item *out)
    TB_NONNULL(1, 3);
void tb_sim_item_release(tb_sim_item *item) TB_NONNULL(1);
void tb_sim_queue_release(tb_sim_queue *queue) TB_NONNULL(1);

/* net.c: sends a message; the payload is copied, and may be empty. */
tb_rc tb_sim_send(tb_sim *sim, size_t client, bool to_coordinator,
                  const tb_msg *msg, tb_span payload, tb_err *err)
    TB_NONNULL(1, 4) TB_MUST_CHECK;
tb_rc tb_sim_arrive(tb_sim *sim, tb_sim_item *item, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
/* Breaks a connection; the coordinator hears of it, and the client if told. */
tb_rc tb_sim_break(tb_sim *sim, size_t client, bool tell, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* coord.c */
tb_rc tb_sim_coordinator_up(tb_sim *sim, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_sim_show_rows(tb_sim *sim, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_sim_coordinator_step(tb_sim *sim, const tb_event *event, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_sim_durable(tb_sim *sim, uint64_t seq, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
/* payload may be NULL; it is taken. */
tb_rc tb_sim_heard(tb_sim *sim, size_t client, const tb_msg *msg,
                   uint8_t *payload, size_t len, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;
void tb_sim_coordinator_drop(tb_sim *sim) TB_NONNULL(1);

/* orders.c */
tb_rc tb_sim_ordered(tb_sim *sim, const tb_order *order, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_sim_stored(tb_sim *sim, const tb_verdict *verdict, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_sim_discard(tb_sim *sim, uint64_t payload) TB_NONNULL(1);
/* Drops the uploads of a round; what a kill leaves of those not synced. */
void tb_sim_spool_drop(tb_sim *sim, const tb_hash *config) TB_NONNULL(1, 2);
void tb_sim_spool_crash(tb_sim *sim) TB_NONNULL(1);
/* Drops the sum of a round, or (NULL) all. */
void tb_sim_summed(tb_sim *sim, const tb_hash *config) TB_NONNULL(1, 2);
void tb_sim_sum_drop(tb_sim *sim, const tb_hash *config) TB_NONNULL(1);
/* The check that stands for a block's tag. */
void tb_sim_tag(uint8_t tag[static 16], const tb_hash *config,
                const tb_name *client, const tb_upload_id *id, uint32_t index,
                const tb_buf *plain) TB_NONNULL(1, 2, 3, 4, 6);
tb_hash tb_sim_update_hash(const uint8_t header[static TB_UPLOAD_HEADER_BYTES],
                           const tb_buf *blocks, uint32_t n) TB_NONNULL(1, 2);

/* trace.c: one line about an item that is about to happen. */
void tb_sim_tell(const tb_sim *sim, const tb_sim_item *item) TB_NONNULL(1, 2);

/* device.c */
tb_rc tb_sim_device_up(tb_sim *sim, size_t i, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_sim_device_step(tb_sim *sim, size_t i, tb_cevent *event,
                         const uint8_t *payload, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;
tb_rc tb_sim_worked(tb_sim *sim, tb_sim_item *item, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_sim_task_free(tb_sim_task **task) TB_NONNULL(1);
void tb_sim_device_release(tb_sim_device *device) TB_NONNULL(1);

#endif
