/* coordinator/meters.h - what the daemon measures, and the page of metrics that
 * a scraper gets when `metrics` names an address. Off by default. One owner. */
#ifndef TB_COORDINATOR_METERS_H
#define TB_COORDINATOR_METERS_H

#include "fed/event.h"
#include "host/prom.h"
#include "web/http.h"

typedef struct tb_meters {
    tb_http *http;                           /* NULL: off */
    tb_prom_times orders[TB_ORDER_KIND_END]; /* from start to end of each */
    tb_prom_times append;                    /* of rows, with their fsync */
    uint64_t orders_out;                     /* given and not yet back */
} tb_meters;

#endif
