#include "settings.h"

#include "fed/coordinator.h"

#define DIR_ROWS(dir_flags)                                                    \
    {.key = "dir",                                                             \
     .help = "the coordinator's folder",                                       \
     .value = "DIR",                                                           \
     .preset = ".",                                                            \
     .type = TB_SETTING_PATH,                                                  \
     .flags = (dir_flags),                                                     \
     TB_FIELD(tb_dir_settings, dir)},                                          \
    {                                                                          \
        .key = "master_key",                                                   \
        .help = "file of the key that wraps the keys of runs (default: "       \
                "DIR.master-key, beside the folder)",                          \
        .value = "FILE", .type = TB_SETTING_PATH,                              \
        TB_FIELD(tb_dir_settings, master_key)                                  \
    }

static const tb_setting dir_rows[] = {DIR_ROWS(0)};

const tb_setting_table tb_dir_table = {.env = "TRIBUTARY_",
                                       .rows = dir_rows,
                                       .n_rows =
                                           sizeof dir_rows / sizeof *dir_rows,
                                       .bytes = sizeof(tb_dir_settings)};

static const tb_setting daemon_rows[] = {
    DIR_ROWS(TB_SETTING_FOLDER),
    {.key = "config",
     .help = "file of settings, read again at SIGHUP (default: settings.yaml "
             "in the folder, where it is there)",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     .flags = TB_SETTING_CONFIG,
     TB_FIELD(tb_daemon_settings, config)},
    {.key = "listen",
     .help = "where clients connect; port 0 lets the system choose, and keeps "
             "its choice for the next start",
     .value = "ENDPOINT",
     .preset = "tcp://127.0.0.1:0",
     .type = TB_SETTING_TEXT,
     TB_FIELD(tb_daemon_settings, listen)},
    {.key = "listen_enrol",
     .help = "where invites are taken",
     .value = "ENDPOINT",
     .preset = "tcp://127.0.0.1:0",
     .type = TB_SETTING_TEXT,
     TB_FIELD(tb_daemon_settings, listen_enrol)},
    {.key = "advertise",
     .help = "host name or address that clients are told (default: the one "
             "that was bound)",
     .value = "HOST",
     .type = TB_SETTING_TEXT,
     TB_FIELD(tb_daemon_settings, advertise)},
    {.key = "metrics",
     .help = "address of a page of metrics for Prometheus, /metrics; port 0 "
             "lets the system choose (default: none)",
     .value = "HOST:PORT",
     .type = TB_SETTING_TEXT,
     TB_FIELD(tb_daemon_settings, metrics)},
    {.key = "workers",
     .help = "threads that open updates and compute; 0: one a processor",
     .value = "N",
     .preset = "0",
     .max = 256,
     .type = TB_SETTING_INT,
     TB_FIELD(tb_daemon_settings, workers)},
    {.key = "max_connections",
     .help = "clients that may be connected at one time; 0: as many as the "
             "limit of open files allows",
     .value = "N",
     .preset = "0",
     .max = 1000000,
     .type = TB_SETTING_INT,
     TB_FIELD(tb_daemon_settings, max_connections)},
    {.key = "keep_updates",
     .help = "keep every sealed update and the keys of runs, so that `replay` "
             "can prove a finished run; off: both are destroyed",
     .preset = "false",
     .type = TB_SETTING_BOOL,
     .flags = TB_SETTING_LIVE,
     TB_FIELD(tb_daemon_settings, keep_updates)},
    {.key = "keep.versions",
     .help = "versions of each model that stay, the newest; 0: all",
     .value = "N",
     .preset = "0",
     .max = UINT32_MAX,
     .type = TB_SETTING_INT,
     .flags = TB_SETTING_LIVE,
     TB_FIELD(tb_daemon_settings, keep.versions)},
    {.key = "keep.checkpoints",
     .help = "models of rounds that stay for each run, the newest, beside "
             "those it needs itself; 0: all",
     .value = "N",
     .preset = "3",
     .max = UINT32_MAX,
     .type = TB_SETTING_INT,
     .flags = TB_SETTING_LIVE,
     TB_FIELD(tb_daemon_settings, keep.checkpoints)},
    {.key = "keep.spool",
     .help = "ended runs whose updates stay under keep_updates, the newest; "
             "0: all",
     .value = "N",
     .preset = "0",
     .max = UINT32_MAX,
     .type = TB_SETTING_INT,
     .flags = TB_SETTING_LIVE,
     TB_FIELD(tb_daemon_settings, keep.spool)},
    {.key = "keep.free",
     .help = "room on the disk that the start of a job must leave",
     .value = "BYTES",
     .preset = "64MB",
     .max = 9.0e18,
     .type = TB_SETTING_BYTES,
     .flags = TB_SETTING_LIVE,
     TB_FIELD(tb_daemon_settings, keep_free)},
    {.key = "key_overlap",
     .help = "how long a member's old keys count beside its new ones",
     .value = "TIME",
     .preset = "1d",
     .min = 1000,
     .max = 365.0 * 24 * 3600 * 1000,
     .type = TB_SETTING_DURATION,
     TB_FIELD(tb_daemon_settings, key_overlap_ms)},
    {.key = "jobs.running",
     .help = "jobs that run side by side; further ones are queued in the order "
             "of their start",
     .value = "N",
     .preset = "4",
     .min = 1,
     .max = TB_RUNS_MAX,
     .type = TB_SETTING_INT,
     .flags = TB_SETTING_LIVE,
     TB_FIELD(tb_daemon_settings, jobs_running)},
    {.key = "predict.max_rows",
     .help = "rows of one remote prediction",
     .value = "N",
     .preset = "256",
     .min = 1,
     .max = 4096,
     .type = TB_SETTING_INT,
     .flags = TB_SETTING_LIVE,
     TB_FIELD(tb_daemon_settings, predict_max_rows)},
    {.key = "predict.per_second",
     .help = "remote predictions that one client may ask for in a second",
     .value = "N",
     .preset = "50",
     .min = 1,
     .max = 100000,
     .type = TB_SETTING_INT,
     .flags = TB_SETTING_LIVE,
     TB_FIELD(tb_daemon_settings, predict_per_second)},
    TB_LOG_ROWS(tb_daemon_settings)};

const tb_setting_table tb_daemon_table = {.env = "TRIBUTARY_",
                                          .rows = daemon_rows,
                                          .n_rows = sizeof daemon_rows /
                                                    sizeof *daemon_rows,
                                          .bytes = sizeof(tb_daemon_settings)};
