/* The page of metrics: names and units as Prometheus wants them. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/spare.h"
#include "daemon.h"

#define PAGE_TYPE "text/plain; version=0.0.4; charset=utf-8"

static void put_rounds(tb_prom *p, const tb_daemon *d)
{
    const tb_chronicle *c = &d->state.chronicle;
    tb_prom_family(p, "tributary_rounds_total", TB_PROM_COUNTER,
                   "Rounds that ended since the start, by outcome.");
    tb_prom_sample(p, "outcome", "committed", (double)c->n_committed);
    tb_prom_sample(p, "outcome", "abandoned", (double)c->n_abandoned);
    tb_prom_one(p, "tributary_updates_accepted_total", TB_PROM_COUNTER,
                "Updates that count in a round.", (double)c->n_accepted);
    tb_prom_one(p, "tributary_clients_expelled_total", TB_PROM_COUNTER,
                "Clients put out of a round for a bad update.",
                (double)c->n_expelled);
}

/* A name that breaks no line of the page: its own alphabet is narrower. */
static void put_runs(tb_prom *p, const tb_daemon *d)
{
    tb_run_status s;
    const tb_coordinator *m = d->state.machine;
    uint32_t phases[TB_PHASE_COUNT] = {0};
    for (size_t i = 0; tb_coordinator_run_status(m, i, &s); i++) {
        phases[s.phase]++;
    }
    tb_prom_family(p, "tributary_runs", TB_PROM_GAUGE,
                   "Runs that live, by the phase of their round.");
    for (int i = 0; i < TB_PHASE_COUNT; i++) {
        tb_prom_sample(p, "phase", tb_phase_name((tb_phase)i), phases[i]);
    }
    tb_prom_family(p, "tributary_run_round", TB_PROM_GAUGE,
                   "The round that a run is in.");
    for (size_t i = 0; tb_coordinator_run_status(m, i, &s); i++) {
        tb_prom_sample(p, "job", s.name.text, s.round);
    }
    tb_prom_family(p, "tributary_run_updates", TB_PROM_GAUGE,
                   "Updates in the open round of a run.");
    for (size_t i = 0; tb_coordinator_run_status(m, i, &s); i++) {
        tb_prom_sample(p, "job", s.name.text, s.n_accepted);
    }
}

static void put_fleet(tb_prom *p, const tb_daemon *d)
{
    tb_status s;
    tb_coordinator_status(d->state.machine, &s);
    tb_prom_family(p, "tributary_clients", TB_PROM_GAUGE,
                   "Clients, by state; one that is ready is connected too.");
    tb_prom_sample(p, "state", "enrolled", s.n_enrolled);
    tb_prom_sample(p, "state", "connected", s.n_connected);
    tb_prom_sample(p, "state", "ready", s.n_ready);
    tb_prom_family(p, "tributary_refusals_total", TB_PROM_COUNTER,
                   "Messages that were refused, by reason.");
    for (int i = 1; i < TB_REFUSE_END; i++) {
        tb_prom_sample(p, "reason", tb_refusal_name((tb_refusal)i),
                       s.n_refused[i]);
    }
    tb_prom_one(p, "tributary_upload_bytes_total", TB_PROM_COUNTER,
                "Sealed blocks of updates that came.", (double)s.bytes_in);
    tb_prom_one(p, "tributary_download_bytes_total", TB_PROM_COUNTER,
                "Parts of models that were asked for.", (double)s.bytes_out);
}

static void put_network(tb_prom *p, const tb_daemon *d)
{
    tb_transport_totals t;
    tb_transport_totals_get(d->net, &t);
    tb_prom_one(p, "tributary_network_receive_bytes_total", TB_PROM_COUNTER,
                "Messages that came, before CURVE.", (double)t.bytes_in);
    tb_prom_one(p, "tributary_network_transmit_bytes_total", TB_PROM_COUNTER,
                "Messages that went, before CURVE.", (double)t.bytes_out);
    tb_prom_one(p, "tributary_messages_received_total", TB_PROM_COUNTER,
                "Messages that came.", (double)t.messages_in);
    tb_prom_one(p, "tributary_messages_sent_total", TB_PROM_COUNTER,
                "Messages that went.", (double)t.messages_out);
    tb_prom_one(p, "tributary_messages_dropped_total", TB_PROM_COUNTER,
                "Messages that broke a rule of the transport.",
                (double)t.dropped);
    tb_prom_one(p, "tributary_connections", TB_PROM_GAUGE,
                "Connections that live, of both doors.", (double)t.connections);
    tb_prom_one(p, "tributary_connections_cut_total", TB_PROM_COUNTER,
                "Connections that were ended on purpose.", (double)t.cut);
    tb_prom_one(p, "tributary_handshakes_denied_total", TB_PROM_COUNTER,
                "Handshakes with a key that is not allowed.", (double)t.denied);
    tb_prom_one(p, "tributary_ingest_pool_bytes", TB_PROM_GAUGE,
                "Payload in memory that is not yet worked up.",
                (double)t.pool_bytes_held);
    tb_prom_one(p, "tributary_ingest_pool_limit_bytes", TB_PROM_GAUGE,
                "Most payload in memory: then nobody is read.",
                (double)TB_INGEST_POOL_BYTES);
}

static void put_work(tb_prom *p, const tb_daemon *d)
{
    const tb_meters *m = &d->meters;
    tb_prom_one(p, "tributary_orders_out", TB_PROM_GAUGE,
                "Orders at work or in the queue of the workers.",
                (double)m->orders_out);
    tb_prom_family(p, "tributary_order_duration_seconds", TB_PROM_HISTOGRAM,
                   "How long a worker took for an order, by its kind.");
    for (int i = TB_ORDER_OPEN_ROUND + 1; i < TB_ORDER_KIND_END; i++) {
        tb_prom_histogram(p, "kind", tb_order_kind_name((tb_order_kind)i),
                          &m->orders[i]);
    }
    tb_prom_one(p, "tributary_journal_sequence", TB_PROM_GAUGE,
                "Number of the last durable row.", (double)d->durable_seq);
    tb_prom_family(p, "tributary_journal_append_duration_seconds",
                   TB_PROM_HISTOGRAM,
                   "How long a transaction of rows took, with its fsync.");
    tb_prom_histogram(p, NULL, NULL, &m->append);
    tb_prom_one(p, "tributary_stalled", TB_PROM_GAUGE,
                "1 while rows wait for room on the disk.",
                d->stalled ? 1.0 : 0.0);
}

/* The second number of /proc/self/statm: resident pages. */
static double resident_bytes(void)
{
    double pages = 0.0;
    char text[128] = "";
    int fd = tb_spare_open("/proc/self/statm", O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) <= 0 ||
            sscanf(text, "%*u %lf", &pages) != 1) {
            pages = 0.0;
        }
        (void)close(fd);
    }
    return pages * (double)sysconf(_SC_PAGESIZE);
}

static double seconds_of(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static void put_process(tb_prom *p, const tb_daemon *d)
{
    struct rusage used;
    struct rlimit files;
    struct statvfs disk;
    tb_prom_family(p, "tributary_build_info", TB_PROM_GAUGE,
                   "Always 1; the label says which version runs.");
    tb_prom_sample(p, "version", TB_VERSION, 1.0);
    tb_prom_one(p, "process_resident_memory_bytes", TB_PROM_GAUGE,
                "Resident memory.", resident_bytes());
    tb_prom_one(p, "process_start_time_seconds", TB_PROM_GAUGE,
                "When the process started, in seconds since 1970.",
                (double)d->started_s);
    if (getrusage(RUSAGE_SELF, &used) == 0) {
        tb_prom_one(p, "process_cpu_seconds_total", TB_PROM_COUNTER,
                    "CPU time of user and system.",
                    seconds_of(&used.ru_utime) + seconds_of(&used.ru_stime));
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        tb_prom_one(p, "process_max_fds", TB_PROM_GAUGE,
                    "Most descriptors that may be open.",
                    (double)files.rlim_cur);
    }
    if (statvfs(tb_folder_dir(d->state.folder), &disk) == 0) {
        tb_prom_one(p, "tributary_disk_free_bytes", TB_PROM_GAUGE,
                    "Room that is left on the folder's disk.",
                    (double)disk.f_bavail * (double)disk.f_frsize);
    }
}

tb_rc tb_daemon_metrics(const tb_daemon *d, tb_buf *out, tb_err *err)
{
    tb_prom p = {.out = out, .err = err};
    put_rounds(&p, d);
    put_runs(&p, d);
    put_fleet(&p, d);
    put_network(&p, d);
    put_work(&p, d);
    put_process(&p, d);
    return p.rc;
}

static tb_rc write_page(void *arg, tb_buf *out, tb_err *err)
{
    return tb_daemon_metrics(arg, out, err);
}

tb_rc tb_daemon_open_metrics(tb_daemon *d, tb_err *err)
{
    const char *address = d->settings->metrics;
    if (address[0] == '\0') {
        return TB_OK;
    }
    tb_rc rc =
        tb_http_open(&d->meters.http, address, PAGE_TYPE, write_page, d, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "metrics");
    }
    (void)printf("metrics http://%s/metrics\n",
                 tb_http_address(d->meters.http));
    return TB_OK;
}
