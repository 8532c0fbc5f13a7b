#include <stdio.h>

#include "compress/after.h"
#include "files.h"
#include "model/params.h"
#include "verbs.h"

typedef struct options {
    char output[PATH_BYTES];
    bool structured;
    tb_prune_scope scope;
    tb_norm norm;
    double amount;
} options;

static const char *const kinds[] = {"unstructured", "structured", NULL};
static const char *const scopes[] = {"layer", "global", NULL};
static const char *const norms[] = {"l1", "l2", NULL};

static const tb_setting rows[] = {
    {.key = "output",
     .help = "file to write",
     .value = "FILE",
     .flags = TB_SETTING_REQUIRED,
     .type = TB_SETTING_PATH,
     .letter = 'o',
     TB_FIELD(options, output)},
    {.key = "amount",
     .help = "share of weights, or of neurons, to take out",
     .value = "SHARE",
     .preset = "0.5",
     .min = 0,
     .max = 1,
     .flags = TB_SETTING_ABOVE_MIN | TB_SETTING_BELOW_MAX,
     .type = TB_SETTING_FLOAT,
     TB_FIELD(options, amount)},
    {.key = "kind",
     .help = "unstructured (single weights become zero) or structured (neurons "
             "go, the model shrinks)",
     .value = "KIND",
     .preset = "unstructured",
     .choices = kinds,
     .type = TB_SETTING_ENUM,
     TB_FIELD(options, structured)},
    {.key = "scope",
     .help = "the share counts for each layer, or over all (global)",
     .value = "SCOPE",
     .preset = "layer",
     .choices = scopes,
     .type = TB_SETTING_ENUM,
     TB_FIELD(options, scope)},
    {.key = "norm",
     .help = "structured: neurons of the smallest l1 or l2 norm go",
     .value = "NORM",
     .preset = "l2",
     .choices = norms,
     .type = TB_SETTING_ENUM,
     TB_FIELD(options, norm)},
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    const tb_pass_options how = {
        .scope = o->scope, .norm = o->norm, .amount = o->amount};
    const tb_pass *pass = NULL;
    tb_graph *graph = NULL;
    tb_graph *pruned = NULL;
    model_file file = {0};
    tb_rc rc = tb_pass_find(&pass, kinds[o->structured ? 1 : 0], err);
    if (rc == TB_OK) {
        rc = read_model(&graph, call->args[0], NULL, err);
    }
    if (rc == TB_OK) {
        rc = tb_pass_run(&pruned, pass, graph, &how, err);
    }
    if (rc == TB_OK) {
        rc = write_model(pruned, o->output, &file, err);
    }
    if (rc == TB_OK) {
        print_written(o->output, &file);
        (void)printf("parameters %zu -> %zu, zero weights %.1f %%\n",
                     tb_params_count(graph), tb_params_count(pruned),
                     100.0 * tb_sparsity(pruned));
    }
    tb_graph_free(&pruned);
    tb_graph_free(&graph);
    return rc;
}

const tb_verb verb_model_prune = {
    .name = "model prune",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .help = "make a model smaller by taking out what matters least",
    .examples = "tributary model prune model.onnx --amount 0.8 -o pruned.onnx\n"
                "tributary model prune model.onnx --kind structured --norm l1 "
                "-o small.onnx\n",
    .tables = {&table},
    .run = run,
};
