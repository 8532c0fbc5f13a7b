/* client/run.h - what `tributary run` can be told: for itself, and for doctor,
 * which reads the same file. */
#ifndef TB_CLIENT_RUN_H
#define TB_CLIENT_RUN_H

#include "home.h"
#include "host/log_settings.h"

typedef struct run_options {
    char home[HOME_BYTES];
    char config[HOME_BYTES];
    tb_text_list data;
    uint64_t bandwidth; /* bytes a second, each way; 0: no limit */
    uint64_t rotate_after;
    tb_log_settings log;
} run_options;

extern const tb_setting_table run_table;

#endif
