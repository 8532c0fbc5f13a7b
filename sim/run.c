#include <stdio.h>

#include "base/file.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "verbs.h"
#include "wire/manifest.h"
#include "world.h"

enum {
    PATH_BYTES = 1024,
    UNTIL_MS_A_ROUND = 3600000 /* virtual: a run that hangs is a bug */
};

typedef struct options {
    char clients_data[PATH_BYTES];
    uint32_t workers;
    char output[PATH_BYTES];
} options;

static const tb_setting rows[] = {
    {.key = "clients-data",
     .help = "folder with one folder of samples a client: client-00, ...",
     .value = "DIR",
     .flags = TB_SETTING_REQUIRED,
     .type = TB_SETTING_PATH,
     TB_FIELD(options, clients_data)},
    {.key = "workers",
     .help = "threads that train clients; changes no result",
     .value = "N",
     .preset = "2",
     .min = 1,
     .max = 256,
     .type = TB_SETTING_INT,
     TB_FIELD(options, workers)},
    {.key = "output",
     .help = "write the final fp32 model here",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     .letter = 'o',
     TB_FIELD(options, output)},
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static tb_rc simulate(world *w, size_t workers, tb_rec_run_ended *ended,
                      tb_err *err)
{
    tb_sim_params params = {.world = tb_sim_world_quiet(),
                            .jobs = world_jobs(w),
                            .coordinator = tb_coordinator_defaults(),
                            .client = tb_client_defaults(),
                            .names = w->fleet.names,
                            .n_clients = w->fleet.n,
                            .n_workers = workers};
    tb_sim *sim = NULL;
    bool over = false;
    params.client.n_data_sets = 1;
    params.client.data_sets[0] = w->params.data_set;
    params.coordinator.federation = w->params.federation;
    params.client.federation = w->params.federation;
    tb_rc rc = tb_sim_new(&sim, &params, err);
    if (rc == TB_OK) {
        rc = tb_sim_start(sim, &w->params, err);
    }
    if (rc == TB_OK) {
        rc = tb_sim_run(sim, (int64_t)UNTIL_MS_A_ROUND * w->params.rounds,
                        &over, ended, err);
    }
    tb_sim_free(&sim);
    return rc;
}

/* {"outcome", "model", "accuracy", "artefacts", "rounds"} */
static tb_rc print_json(world *w, const tb_rec_run_ended *ended, tb_err *err)
{
    char hex[TB_HASH_HEX_BYTES];
    tb_json *o = tb_json_object();
    tb_hash_hex(&ended->model.raw, hex);
    tb_rc rc =
        tb_json_put_text(o, "outcome", tb_outcome_name(ended->outcome), err);
    if (rc == TB_OK) {
        rc = tb_json_put_text(o, "model", hex, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(o, "rounds", &w->lines, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_print(o, err);
    }
    tb_json_free(&o);
    return rc;
}

static void print_artefact(const tb_manifest *m, const tb_artefact *a)
{
    char size[32];
    tb_text_bytes(a->raw_bytes, size, sizeof size);
    (void)printf("%-7s %10s", tb_artefact_role_name(a->role), size);
    if (m->metrics.n_samples > 0) {
        (void)printf("  accuracy %.4f", (double)a->accuracy);
    }
    (void)printf("\n");
}

static tb_rc print_artefacts(const world *w, tb_err *err)
{
    tb_manifest m;
    if (w->manifest.len == 0) {
        return TB_OK;
    }
    tb_rc rc = tb_manifest_decode(&m, w->manifest.data, w->manifest.len, err);
    for (uint32_t i = 0; rc == TB_OK && i < m.n_artefacts; i++) {
        print_artefact(&m, &m.artefacts[i]);
    }
    if (rc == TB_OK) {
        tb_manifest_release(&m);
    }
    return rc;
}

static tb_rc write_output(world *w, const tb_hash *model, const char *path,
                          tb_err *err)
{
    const tb_buf *onnx = NULL;
    tb_rc rc = world_find(w, model, &onnx, err);
    if (rc != TB_OK || onnx == NULL) {
        return rc;
    }
    return tb_file_write(path, onnx->data, onnx->len, 0644, err);
}

static tb_rc report(world *w, const tb_rec_run_ended *ended, const options *o,
                    tb_err *err)
{
    char hex[TB_HASH_HEX_BYTES];
    tb_rc rc = TB_OK;
    if (o->output[0] != '\0') {
        rc = write_output(w, &ended->model.raw, o->output, err);
    }
    if (rc == TB_OK && w->lines != NULL) {
        rc = print_json(w, ended, err);
    } else if (rc == TB_OK) {
        tb_hash_hex(&ended->model.raw, hex);
        rc = print_artefacts(w, err);
        (void)printf("model %s\n", hex);
    }
    if (rc == TB_OK && ended->outcome != TB_OUTCOME_DONE) {
        rc = tb_fail(err, TB_E_REFUSED, "the run ended as %s: %s",
                     tb_outcome_name(ended->outcome), ended->why);
    }
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_rec_run_ended ended = {0};
    world w = {0};
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = tb_settings_read_file(&call->settings[1], call->args[0], err);
    }
    if (rc == TB_OK) {
        rc = tb_job_finish(&call->settings[1], err);
        rc = rc != TB_OK ? tb_err_prefix(err, rc, "%s", call->args[0]) : TB_OK;
    }
    if (rc != TB_OK) {
        return rc;
    }
    w.lines = call->json ? tb_json_array() : NULL;
    rc = world_open(&w, call->values[1], o->clients_data, err);
    if (rc == TB_OK) {
        rc = simulate(&w, o->workers, &ended, err);
    }
    if (rc == TB_OK) {
        rc = report(&w, &ended, o, err);
    }
    world_close(&w);
    return rc;
}

const tb_verb verb_run = {
    .name = "run",
    .args = "JOB",
    .min_args = 1,
    .max_args = 1,
    .help = "run a job over simulated clients",
    .examples = "tributary-sim run examples/fashion.yaml --clients-data "
                "parts\n"
                "tributary-sim run job.yaml --clients-data parts --rounds 5 "
                "--workers 1 -o model.onnx\n",
    .notes = "The same job, data and seed give the same model here, with any "
             "number of workers,\nand over the network. Every key of the job "
             "file is a flag too.\n",
    .json = true,
    .tables = {&table, &tb_job_table},
    .run = run,
};
