#include "compress/pass.h"
#include "files.h"
#include "model/preprocess.h"
#include "verbs.h"

typedef struct options {
    data_options data;
    char output[PATH_BYTES];
    char scheme[WORD_BYTES];
    double percentile;
    uint32_t bits;
} options;

static const tb_setting rows[] = {
    {.key = "output",
     .help = "file to write",
     .value = "FILE",
     .flags = TB_SETTING_REQUIRED,
     .type = TB_SETTING_PATH,
     .letter = 'o',
     TB_FIELD(options, output)},
    {.key = "scheme",
     .help = "int8 (weights and activations) or pow2 (weights, fixed point)",
     .value = "NAME",
     .preset = "int8",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, scheme)},
    {.key = "data",
     .help = "int8: samples to calibrate with",
     .value = "PATH",
     .type = TB_SETTING_PATH,
     TB_FIELD(options, data.path)},
    DATA_FORMAT_ROWS(options),
    {.key = "percentile",
     .help = "int8: share of activations within the scale; 100: all",
     .value = "P",
     .preset = "100",
     .min = 50,
     .max = 100,
     .flags = TB_SETTING_ABOVE_MIN,
     .type = TB_SETTING_FLOAT,
     TB_FIELD(options, percentile)},
    {.key = "bits",
     .help = "pow2: bits of a weight",
     .value = "N",
     .preset = "8",
     .min = 2,
     .max = 8,
     .type = TB_SETTING_INT,
     TB_FIELD(options, bits)},
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static tb_rc calibrate(tb_ranges *ranges, const tb_graph *graph, options *o,
                       tb_err *err)
{
    tb_dataset *data = NULL;
    if (o->data.path[0] == '\0') {
        return tb_fail(err, TB_E_USAGE,
                       "--scheme %s needs samples to calibrate with: give "
                       "--data PATH",
                       o->scheme);
    }
    tb_rc rc = name_classes(&o->data, graph, err);
    if (rc == TB_OK) {
        rc = read_data(&data, &o->data, err);
    }
    if (rc == TB_OK) {
        rc = tb_ranges_init(ranges, graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_calibrate(ranges, graph, data, o->percentile, err);
    }
    tb_dataset_free(&data);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    options *o = call->values[0];
    tb_ranges ranges = {0};
    tb_pass_options how = {.bits = o->bits, .ranges = &ranges};
    const tb_pass *pass = NULL;
    tb_graph *graph = NULL;
    tb_graph *small = NULL;
    model_file file = {0};
    tb_rc rc = tb_pass_find(&pass, o->scheme, err);
    if (rc == TB_OK) {
        rc = read_model(&graph, call->args[0], NULL, err);
    }
    if (rc == TB_OK) {
        rc = tb_preprocess_open_batch(graph, err);
    }
    if (rc == TB_OK && pass->needs_ranges) {
        rc = calibrate(&ranges, graph, o, err);
    }
    if (rc == TB_OK) {
        rc = tb_pass_run(&small, pass, graph, &how, err);
    }
    if (rc == TB_OK) {
        rc = write_model(small, o->output, &file, err);
    }
    if (rc == TB_OK) {
        print_written(o->output, &file);
    }
    tb_ranges_release(&ranges);
    tb_graph_free(&small);
    tb_graph_free(&graph);
    return rc;
}

const tb_verb verb_model_quantize = {
    .name = "model quantize",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .help = "make a model small and fast with integers of 8 bits",
    .examples = "tributary model quantize model.onnx --data held-out/ "
                "-o int8.onnx\n"
                "tributary model quantize model.onnx --scheme pow2 "
                "-o pow2.onnx\n",
    .tables = {&table},
    .run = run,
};
