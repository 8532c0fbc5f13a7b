#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/partition.h"
#include "data/read.h"
#include "files.h"
#include "host/json.h"
#include "host/table.h"
#include "verbs.h"

typedef struct options {
    data_options data; /* path: of the argument */
    uint32_t clients, shards, hold_out, min_rows;
    double dirichlet;
    bool iid;
    uint64_t seed;
    char output[PATH_BYTES];
    char format[WORD_BYTES];
} options;

static const tb_setting rows[] = {
    {.key = "clients",
     .help = "number of parts",
     .value = "N",
     .min = 1,
     .max = 100000,
     .flags = TB_SETTING_REQUIRED,
     .type = TB_SETTING_INT,
     TB_FIELD(options, clients)},
    {.key = "output",
     .help = "folder for the parts: client-00, client-01, ..., held-out",
     .value = "DIR",
     .flags = TB_SETTING_REQUIRED,
     .type = TB_SETTING_PATH,
     .letter = 'o',
     TB_FIELD(options, output)},
    {.key = "iid",
     .help = "equal parts at random (the default)",
     .type = TB_SETTING_BOOL,
     TB_FIELD(options, iid)},
    {.key = "dirichlet",
     .help = "skewed by label: shares of each class ~ Dirichlet(ALPHA)",
     .value = "ALPHA",
     .min = 0,
     .max = 1e6,
     .type = TB_SETTING_FLOAT,
     TB_FIELD(options, dirichlet)},
    {.key = "shards",
     .help = "sorted by label, K shards a client",
     .value = "K",
     .min = 0,
     .max = 10000,
     .type = TB_SETTING_INT,
     TB_FIELD(options, shards)},
    {.key = "min-rows",
     .help = "with --dirichlet: no client has fewer",
     .value = "N",
     .preset = "10",
     .type = TB_SETTING_INT,
     TB_FIELD(options, min_rows)},
    {.key = "hold-out",
     .help = "rows to take out first, spread over the classes",
     .value = "N",
     .preset = "0",
     .type = TB_SETTING_INT,
     TB_FIELD(options, hold_out)},
    {.key = "seed",
     .help = "decides who gets which rows",
     .value = "N",
     .preset = "1",
     .type = TB_SETTING_INT,
     TB_FIELD(options, seed)},
    {.key = "format",
     .help = "of the parts: idx, csv, npy or npz",
     .value = "FORMAT",
     .preset = "idx",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, format)},
    DATA_FORMAT_ROWS(options),
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static tb_rc choose(tb_partition_options *out, const options *o, tb_err *err)
{
    *out = (tb_partition_options){.kind = TB_PARTITION_IID,
                                  .n_clients = o->clients,
                                  .min_rows = o->min_rows,
                                  .seed = o->seed};
    if ((o->iid ? 1 : 0) + (o->dirichlet > 0.0 ? 1 : 0) +
            (o->shards > 0 ? 1 : 0) >
        1) {
        return tb_fail(err, TB_E_USAGE,
                       "--iid, --dirichlet and --shards: give one of them");
    }
    if (o->dirichlet > 0.0) {
        out->kind = TB_PARTITION_DIRICHLET;
        out->alpha = o->dirichlet;
    } else if (o->shards > 0) {
        out->kind = TB_PARTITION_SHARDS;
        out->n_shards = o->shards;
    }
    return TB_OK;
}

/* Adds {"part", "rows", "classes": present} of a part to the report. */
static tb_rc report_part(tb_json *report, const char *name,
                         const tb_dataset *part, tb_err *err)
{
    size_t n_classes = tb_dataset_spec(part)->n_classes;
    size_t n_present = 0;
    uint8_t *seen = tb_mem_array(n_classes + 1, 1);
    tb_json *one = tb_json_object();
    if (seen == NULL) {
        tb_json_free(&one);
        return tb_fail(err, TB_E_NOMEM, "split: no memory");
    }
    for (size_t i = 0; n_classes > 0 && i < tb_dataset_rows(part); i++) {
        size_t label = (size_t)tb_dataset_label(part, i);
        n_present += seen[label] == 0 ? 1 : 0;
        seen[label] = 1;
    }
    tb_rc rc = tb_json_put_text(one, "part", name, err);
    if (rc == TB_OK) {
        rc = tb_json_put_int(one, "rows", (int64_t)tb_dataset_rows(part), err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_int(one, "classes", (int64_t)n_present, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_append(report, &one, err);
    }
    tb_json_free(&one);
    tb_mem_free(seen);
    return rc;
}

/* Where parts come from and go to. */
typedef struct splitting {
    const tb_dataset *from;
    const options *o;
    tb_json *report;
} splitting;

/* Writes rows of s->from into the folder `name` of the output. */
static tb_rc write_part(const splitting *s, const char *name,
                        const uint32_t *part_rows, size_t n, tb_err *err)
{
    char *dir = tb_file_join(s->o->output, name);
    tb_dataset *part = NULL;
    tb_rc rc =
        dir != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "split: no memory");
    if (rc == TB_OK) {
        rc = tb_dataset_subset(&part, s->from, part_rows, n, err);
    }
    if (rc == TB_OK) {
        rc = tb_dataset_write(part, dir, s->o->format, NULL, err);
    }
    if (rc == TB_OK) {
        rc = report_part(s->report, name, part, err);
    }
    tb_dataset_free(&part);
    tb_mem_free(dir);
    return rc;
}

static tb_rc write_clients(const splitting *s, tb_err *err)
{
    tb_partition_options how;
    tb_partition *parts = NULL;
    tb_rc rc = choose(&how, s->o, err);
    if (rc == TB_OK) {
        rc = tb_partition_new(&parts, s->from, &how, err);
    }
    for (size_t c = 0; rc == TB_OK && c < how.n_clients; c++) {
        char name[TB_PARTITION_NAME_BYTES];
        size_t n = 0;
        const uint32_t *part_rows = tb_partition_rows(parts, c, &n);
        tb_partition_name(how.n_clients, c, name);
        rc = write_part(s, name, part_rows, n, err);
    }
    tb_partition_free(&parts);
    return rc;
}

static tb_rc split(const tb_dataset *all, const options *o, tb_json *report,
                   tb_err *err)
{
    splitting s = {.from = all, .o = o, .report = report};
    tb_partition *held = NULL;
    tb_dataset *rest = NULL;
    size_t n = 0;
    if (o->hold_out == 0) {
        return write_clients(&s, err);
    }
    tb_rc rc = tb_partition_hold_out(&held, all, o->hold_out, o->seed, err);
    if (rc == TB_OK) {
        const uint32_t *held_rows = tb_partition_rows(held, 1, &n);
        rc = write_part(&s, "held-out", held_rows, n, err);
    }
    if (rc == TB_OK) {
        const uint32_t *rest_rows = tb_partition_rows(held, 0, &n);
        rc = tb_dataset_subset(&rest, all, rest_rows, n, err);
    }
    if (rc == TB_OK) {
        s.from = rest;
        rc = write_clients(&s, err);
    }
    tb_dataset_free(&rest);
    tb_partition_free(&held);
    return rc;
}

static tb_rc print(const tb_json *report, bool json, tb_err *err)
{
    static const tb_column columns[] = {
        {.key = "part", .title = "part", .cell = TB_CELL_TEXT},
        {.key = "rows", .title = "rows", .cell = TB_CELL_INT},
        {.key = "classes", .title = "classes", .cell = TB_CELL_INT},
    };
    return json ? tb_json_print(report, err)
                : tb_table_print(columns, sizeof columns / sizeof columns[0],
                                 report, err);
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    data_options from = o->data;
    tb_dataset *all = NULL;
    tb_json *report = tb_json_array();
    (void)snprintf(from.path, sizeof from.path, "%s", call->args[0]);
    tb_rc rc = read_data(&all, &from, err);
    if (rc == TB_OK) {
        rc = split(all, o, report, err);
    }
    if (rc == TB_OK) {
        rc = print(report, call->json, err);
    }
    tb_dataset_free(&all);
    tb_json_free(&report);
    return rc;
}

const tb_verb verb_data_split = {
    .name = "data split",
    .args = "PATH",
    .min_args = 1,
    .max_args = 1,
    .help = "split a data set over clients, one folder each",
    .examples = "tributary data split train-images-idx3-ubyte.gz --clients 10 "
                "--dirichlet 0.5 \\\n    --hold-out 2000 -o parts\n"
                "tributary data split table.csv --clients 4 --format csv "
                "-o parts\n",
    .notes = "The same options give the same parts on every machine.\n",
    .json = true,
    .tables = {&table},
    .run = run,
};
