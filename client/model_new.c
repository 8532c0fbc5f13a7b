#include "files.h"
#include "model/build.h"
#include "verbs.h"

typedef struct options {
    char output[PATH_BYTES];
    uint64_t seed;
    bool external;
} options;

static const tb_setting rows[] = {
    {.key = "output",
     .help = "file to write",
     .value = "FILE",
     .preset = "model.onnx",
     .type = TB_SETTING_PATH,
     .letter = 'o',
     TB_FIELD(options, output)},
    {.key = "seed",
     .help = "decides the first weights",
     .value = "N",
     .preset = "1",
     .type = TB_SETTING_INT,
     TB_FIELD(options, seed)},
    EXTERNAL_ROW(options),
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_graph *graph = NULL;
    model_file file = {0};
    tb_rc rc = tb_build_new(&graph, call->args[0], o->seed, NULL, err);
    if (rc == TB_OK) {
        rc = write_model_apart(graph, o->output, o->external, &file, err);
    }
    if (rc == TB_OK) {
        print_written(o->output, &file);
    }
    tb_graph_free(&graph);
    return rc;
}

const tb_verb verb_model_new = {
    .name = "model new",
    .args = "SPEC",
    .min_args = 1,
    .max_args = 1,
    .help = "make a model with fresh weights",
    .examples = "tributary model new mlp:784-200-200-10\n"
                "tributary model new mlp:10-20-10 -o small.onnx --seed 7\n",
    .notes = "SPEC: mlp:INPUTS-HIDDEN-...-OUTPUTS, Relu between the layers.\n",
    .tables = {&table},
    .run = run,
};
