/* What the ONNX reader does with bad files (tests/corpus/make_onnx.py). */
#include "support/check.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/build.h"
#include "model/onnx.h"
#include "model/op.h"
#include "model/params.h"
#include "model/preprocess.h"

#define DIR_SEEDS TB_SOURCE_DIR "/tests/corpus/onnx/"

static void load(tb_buf *out, const char *stem)
{
    char path[512];
    tb_err err;
    (void)snprintf(path, sizeof path, "%s%s.onnx", DIR_SEEDS, stem);
    tb_buf_init(out, (size_t)1 << 20);
    CHECK_OK(tb_file_read(out, path, &err), err);
}

static const struct {
    const char *stem;
    tb_rc rc;
    const char *text; /* part of the error */
} bad[] = {
    {"bad_10gb", TB_E_LIMIT, "2500000000 elements"},
    {"bad_10gb_raw", TB_E_LIMIT, "2500000000 elements"},
    {"bad_overflow", TB_E_LIMIT, "too many elements"},
    {"bad_overflow_zero", TB_E_LIMIT, "too many elements"},
    {"bad_rank", TB_E_LIMIT, "9 dimensions"},
    {"bad_negative_dim", TB_E_MALFORMED, "below 0"},
    {"bad_raw_length", TB_E_MALFORMED, "its shape says 24"},
    {"bad_raw_long", TB_E_MALFORMED, "28 bytes of raw data"},
    {"bad_typed_length", TB_E_MALFORMED, "its shape says 6"},
    {"bad_int8_range", TB_E_MALFORMED, "element 0 is 200"},
    {"bad_bool", TB_E_MALFORMED, "not bool"},
    {"bad_element_type", TB_E_UNSUPPORTED, "\"w\": element type"},
    {"external_part", TB_E_UNSUPPORTED, "another file, \"w.bin\""},
    {"external_attribute", TB_E_UNSUPPORTED, "another file"},
    {"external_nowhere", TB_E_MALFORMED, "without a location"},
    {"bad_sparse", TB_E_UNSUPPORTED, "sparse"},
    {"bad_operator", TB_E_UNSUPPORTED,
     "operator Det (node \"det1\", opset 17)"},
    {"bad_domain", TB_E_UNSUPPORTED, "com.example.Gemm"},
    {"bad_backward", TB_E_UNSUPPORTED, "no operator of ONNX"},
    {"bad_cycle", TB_E_MALFORMED, "\"second\" needs its own output"},
    {"bad_self", TB_E_MALFORMED, "\"loop\" needs its own output"},
    {"bad_missing", TB_E_MALFORMED, "reads \"b\", which nothing makes"},
    {"bad_twice_node", TB_E_MALFORMED, "\"y\" is taken"},
    {"bad_twice_init", TB_E_MALFORMED, "\"w\" is taken"},
    {"bad_makes_input", TB_E_MALFORMED, "\"x\" is taken"},
    {"bad_attribute", TB_E_UNSUPPORTED, "\"speed\" is not known"},
    {"bad_attribute_type", TB_E_MALFORMED, "\"alpha\" has the wrong type"},
    {"bad_attribute_twice", TB_E_MALFORMED, "\"transB\" twice"},
    {"bad_arity", TB_E_MALFORMED, "1 inputs, 2 to 3 expected"},
    {"bad_control_flow", TB_E_UNSUPPORTED, "If (node \"\", opset 17)"},
    {"bad_name", TB_E_MALFORMED, "control character"},
    {"bad_no_output", TB_E_MALFORMED, "first output has no name"},
    {"bad_opset_low", TB_E_UNSUPPORTED, "opset 6"},
    {"bad_opset_high", TB_E_UNSUPPORTED, "opset 99"},
    {"bad_ir", TB_E_UNSUPPORTED, "IR version 99"},
    {"bad_no_ir", TB_E_MALFORMED, "no ir_version"},
    {"bad_no_graph", TB_E_MALFORMED, "no graph"},
    {"bad_outputs", TB_E_MALFORMED, "no output"},
    {"bad_output_missing", TB_E_MALFORMED, "\"y\" is made by nothing"},
    {"bad_input_type", TB_E_UNSUPPORTED, "element type string"},
    {"bad_input_rank", TB_E_LIMIT, "9 dimensions"},
    {"bad_input_sequence", TB_E_UNSUPPORTED, "is no tensor"},
    {"bad_deep", TB_E_LIMIT, "nested too deep"},
    {"bad_bomb", TB_E_LIMIT, "too much memory"},
    {"bad_text", TB_E_MALFORMED, "not a model"},
    {"bad_varint", TB_E_MALFORMED, "over 64 bits"},
    {"bad_length", TB_E_MALFORMED, "cut off"},
};

static void each_bad_file_is_refused_with_its_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tb_buf bytes;
        tb_graph *graph = NULL;
        tb_err err;
        load(&bytes, bad[i].stem);
        tb_rc rc = tb_onnx_read(&graph, bytes.data, bytes.len, NULL, &err);
        if (rc != bad[i].rc || strstr(err.text, bad[i].text) == NULL) {
            fail_msg("%s: %s: %s", bad[i].stem, tb_rc_name(rc),
                     rc != TB_OK ? err.text : "accepted");
        }
        CHECK(graph == NULL && tb_mem_live() == 1); /* the file's bytes */
        tb_buf_release(&bytes);
    }
}

static const char *const good[] = {"good_gemm", "good_typed", "good_int8",
                                   "good_constant", "good_unordered"};
#define N_GOOD (sizeof good / sizeof good[0])

static void a_file_cut_anywhere_is_refused_or_whole(void **state)
{
    (void)state;
    for (size_t g = 0; g < N_GOOD; g++) {
        tb_buf bytes;
        load(&bytes, good[g]);
        for (size_t n = 0; n < bytes.len; n++) {
            tb_graph *graph = NULL;
            tb_err err = {0};
            tb_rc rc = tb_onnx_read(&graph, bytes.data, n, NULL, &err);
            CHECK(rc == TB_OK || err.text[0] != '\0');
            /* Behind the graph only the opset and metadata follow. */
            CHECK(rc != TB_OK || n > bytes.len / 2);
            tb_graph_free(&graph);
        }
        tb_buf_release(&bytes);
    }
}

static void any_byte_changed_never_harms(void **state)
{
    (void)state;
    for (size_t g = 0; g < N_GOOD; g++) {
        tb_buf bytes;
        load(&bytes, good[g]);
        for (size_t i = 0; i < bytes.len; i++) {
            uint8_t was = bytes.data[i];
            for (unsigned k = 0; k < 8; k++) {
                tb_graph *graph = NULL;
                tb_err err;
                bytes.data[i] = was ^ (uint8_t)(1u << k);
                tb_rc rc =
                    tb_onnx_read(&graph, bytes.data, bytes.len, NULL, &err);
                CHECK((rc == TB_OK) == (graph != NULL));
                tb_graph_free(&graph);
            }
            bytes.data[i] = was;
        }
        tb_buf_release(&bytes);
        CHECK(tb_mem_live() == 0);
    }
}

static tb_rc read_and_write(void *arg, tb_err *err)
{
    const tb_buf *bytes = arg;
    tb_graph *graph = NULL;
    tb_buf out;
    tb_buf_init(&out, (size_t)1 << 20);
    tb_rc rc = tb_onnx_read(&graph, bytes->data, bytes->len, NULL, err);
    if (rc == TB_OK) {
        rc = tb_onnx_write(&out, graph, err);
    }
    CHECK(rc == TB_OK || out.len == 0);
    tb_graph_free(&graph);
    tb_buf_release(&out);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    for (size_t g = 0; g < N_GOOD; g++) {
        tb_buf bytes;
        load(&bytes, good[g]);
        CHECK(tb_check_each_allocation(read_and_write, &bytes) > 20);
        tb_buf_release(&bytes);
    }
}

static void typed_and_raw_data_mean_the_same(void **state)
{
    tb_buf raw, typed, out[2];
    tb_graph *graph = NULL;
    tb_err err;
    (void)state;
    load(&raw, "good_gemm");
    load(&typed, "good_typed");
    for (int i = 0; i < 2; i++) {
        const tb_buf *in = i == 0 ? &raw : &typed;
        tb_buf_init(&out[i], 4096);
        CHECK_OK(tb_onnx_read(&graph, in->data, in->len, NULL, &err), err);
        CHECK_OK(tb_graph_set_meta(graph, "classes", NULL, &err), err);
        CHECK_OK(tb_onnx_write(&out[i], graph, &err), err);
        tb_graph_free(&graph);
    }
    CHECK(out[0].len == out[1].len);
    CHECK(memcmp(out[0].data, out[1].data, out[0].len) == 0);
    tb_buf_release(&raw);
    tb_buf_release(&typed);
    tb_buf_release(&out[0]);
    tb_buf_release(&out[1]);
}

static void a_quantised_model_has_only_its_bias_to_train(void **state)
{
    tb_buf bytes;
    tb_graph *graph = NULL;
    tb_err err;
    (void)state;
    load(&bytes, "good_int8");
    CHECK_OK(tb_onnx_read(&graph, bytes.data, bytes.len, NULL, &err), err);
    const int8_t want[6] = {0, 1, 2, -3, 4, -128};
    const tb_value *q = graph->values[tb_graph_find(graph, "q")];
    CHECK(q->dtype == TB_I8 && memcmp(q->data.data, want, 6) == 0);
    CHECK(tb_params_count(graph) == 3);
    tb_graph_free(&graph);
    tb_buf_release(&bytes);
}

static void limits_are_kept(void **state)
{
    const tb_onnx_limits d = tb_onnx_limits_default;
    tb_onnx_limits limits[6] = {d, d, d, d, d, d};
    tb_buf bytes;
    (void)state;
    load(&bytes, "good_unordered");
    limits[0].bytes = bytes.len - 1;
    limits[1].nodes = 1;
    limits[2].values = 3;
    limits[3].tensor_bytes = 23;
    limits[4].total_bytes = 35;
    limits[5].name_bytes = 0;
    for (size_t i = 0; i < 6; i++) {
        tb_graph *graph = NULL;
        tb_err err;
        CHECK_ERR(tb_onnx_read(&graph, bytes.data, bytes.len, &limits[i], &err),
                  TB_E_LIMIT, err, "onnx");
        CHECK(graph == NULL);
    }
    tb_buf_release(&bytes);
}

static void a_backward_node_is_never_written(void **state)
{
    tb_graph *graph = NULL;
    tb_value_id y = TB_ID_NONE;
    tb_buf out;
    tb_err err;
    (void)state;
    tb_buf_init(&out, 4096);
    CHECK_OK(tb_build_new(&graph, "mlp:2-3", 1, NULL, &err), err);
    const tb_value_id in[2] = {graph->outputs[0], graph->outputs[0]};
    CHECK_OK(tb_graph_apply(graph, &y,
                            &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                            .op = "ReluGrad",
                                            .in = in,
                                            .n_in = 2},
                            &err),
             err);
    CHECK_ERR(tb_onnx_write(&out, graph, &err), TB_E_UNSUPPORTED, err,
              "ReluGrad");
    CHECK(out.len == 0);
    tb_graph_free(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bad_file_is_refused_with_its_reason),
        cmocka_unit_test(a_file_cut_anywhere_is_refused_or_whole),
        cmocka_unit_test(any_byte_changed_never_harms),
        cmocka_unit_test(survives_each_allocation_failing),
        cmocka_unit_test(typed_and_raw_data_mean_the_same),
        cmocka_unit_test(a_quantised_model_has_only_its_bias_to_train),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(a_backward_node_is_never_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
