/* coordinator/settings.h - what `tributaryd run` and the other verbs can be
 * told: one table for flags, environment, settings.yaml and help. */
#ifndef TB_COORDINATOR_SETTINGS_H
#define TB_COORDINATOR_SETTINGS_H

#include "host/log_settings.h"
#include "host/settings.h"
#include "marks.h"

#define TB_PATH_BYTES 1024

/* Where the folder is: every verb takes it. (The settings file in it is for the
 * daemon.) */
typedef struct tb_dir_settings {
    char dir[TB_PATH_BYTES];
    char master_key[TB_PATH_BYTES]; /* "": beside the folder */
} tb_dir_settings;

typedef struct tb_daemon_settings {
    tb_dir_settings at; /* first: the rows are shared */
    char listen[TB_PATH_BYTES];
    char listen_enrol[TB_PATH_BYTES];
    char advertise[TB_PATH_BYTES]; /* host that invites name; "": as bound */
    char metrics[TB_PATH_BYTES];   /* HOST:PORT of the page; "": none */
    uint32_t workers;
    uint32_t max_connections; /* 0: as file descriptors allow */
    bool keep_updates;
    tb_retention keep;  /* keep.* */
    uint64_t keep_free; /* bytes that a start leaves free */
    uint64_t key_overlap_ms;
    uint32_t jobs_running;
    uint32_t predict_max_rows;
    uint32_t predict_per_second;
    tb_log_settings log;
    char config[TB_PATH_BYTES]; /* "": settings.yaml in the folder */
} tb_daemon_settings;

extern const tb_setting_table tb_dir_table;
extern const tb_setting_table tb_daemon_table;

#endif
