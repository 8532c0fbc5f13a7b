/* Tensor data in files beside the model (tests/corpus/make_onnx.py makes the
 * models): what is read, and what never is. */
#include "support/check.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/build.h"
#include "model/onnx_external.h"
#include "model/params.h"
#include "support/folder.h"

#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

/* 8 bytes of something else, then the weights 1 to 6. */
static const float data[8] = {-1, -1, 1, 2, 3, 4, 5, 6};

/* folder/model/m.onnx from the seed of that name. */
static const char *place_model(const char *folder, const char *stem)
{
    char path[512];
    tb_buf bytes;
    tb_err err;
    (void)snprintf(path, sizeof path, "%s/tests/corpus/onnx/external_%s.onnx",
                   TB_SOURCE_DIR, stem);
    tb_buf_init(&bytes, 4096);
    CHECK_OK(tb_file_read(&bytes, path, &err), err);
    CHECK_OK(tb_file_make_dir(tb_test_folder_path(folder, "model"), 0755, &err),
             err);
    const char *to =
        tb_test_folder_write(folder, "model/m.onnx", bytes.data, bytes.len);
    tb_buf_release(&bytes);
    return to;
}

static void check_weights(const char *path, float first)
{
    tb_graph *graph = NULL;
    tb_err err;
    CHECK_OK(tb_onnx_read_file(&graph, path, NULL, NULL, &err), err);
    const float *w = graph->values[tb_graph_find(graph, "w")]->data.data;
    for (size_t i = 0; i < 6; i++) {
        CHECK(w[i] == first + (float)i);
    }
    tb_graph_free(&graph);
}

static void data_beside_or_below_the_model_are_read(void **state)
{
    const char *path = place_model(*state, "part");
    (void)tb_test_folder_write(*state, "model/w.bin", data, sizeof data);
    check_weights(path, 1);
    check_weights(place_model(*state, "attribute"), 1);
    (void)tb_test_folder_write(*state, "model/w.bin", data + 2, 24);
    check_weights(place_model(*state, "whole"), 1);
    path = place_model(*state, "below");
    tb_err err;
    const char *below = tb_test_folder_path(*state, "model/a/b");
    CHECK_OK(tb_file_make_dir(below, 0755, &err), err);
    (void)tb_test_folder_write(*state, "model/a/b/w.bin", data, sizeof data);
    check_weights(path, 1);
}

static void a_model_named_without_a_folder_is_read_too(void **state)
{
    char here[4096];
    (void)place_model(*state, "part");
    (void)tb_test_folder_write(*state, "model/w.bin", data, sizeof data);
    CHECK(getcwd(here, sizeof here) != NULL);
    CHECK(chdir(tb_test_folder_path(*state, "model")) == 0);
    check_weights("m.onnx", 1);
    CHECK(chdir(here) == 0);
}

static const struct {
    const char *stem;
    tb_rc rc;
    const char *text;
} bad[] = {
    {"absolute", TB_E_MALFORMED, "a file beside the model is expected"},
    {"up", TB_E_MALFORMED, "\"../w.bin\": the name leads out"},
    {"up_and_down", TB_E_MALFORMED, "leads out of the model's folder"},
    {"dot", TB_E_MALFORMED, "leads out"},
    {"empty", TB_E_MALFORMED, "a file beside the model is expected"},
    {"control", TB_E_MALFORMED, "control character"},
    {"nowhere", TB_E_MALFORMED, "without a location"},
    {"beyond", TB_E_MALFORMED, "bytes 9 to 9 + 24 of 32"},
    {"far", TB_E_MALFORMED, "of 32"},
    {"negative", TB_E_MALFORMED, "offset is \"-8\""},
    {"words", TB_E_MALFORMED, "length is \"24x\""},
    {"short", TB_E_MALFORMED, "23 bytes, its shape says 24"},
    {"long", TB_E_MALFORMED, "4000000000 bytes, its shape says 24"},
    {"10gb", TB_E_MALFORMED, "bytes 0 to 0 + 10000000000 of 32"},
    {"twice", TB_E_MALFORMED, "overlap"},
};

static void each_bad_place_is_refused_with_its_reason(void **state)
{
    (void)tb_test_folder_write(*state, "w.bin", data, sizeof data);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tb_graph *graph = NULL;
        tb_err err = {0};
        const char *path = place_model(*state, bad[i].stem);
        (void)tb_test_folder_write(*state, "model/w.bin", data, sizeof data);
        tb_mem_peak_reset();
        size_t before = tb_mem_bytes();
        tb_rc rc = tb_onnx_read_file(&graph, path, NULL, NULL, &err);
        if (rc != bad[i].rc || strstr(err.text, bad[i].text) == NULL) {
            fail_msg("%s: %s: %s", bad[i].stem, tb_rc_name(rc),
                     rc != TB_OK ? err.text : "accepted");
        }
        CHECK(graph == NULL && tb_mem_bytes() == before);
        CHECK(tb_mem_peak_bytes() - before < (size_t)1 << 20);
    }
}

static void check_refused(const char *path, tb_rc rc, const char *part)
{
    tb_graph *graph = NULL;
    tb_err err = {0};
    size_t before = tb_mem_live();
    CHECK_ERR(tb_onnx_read_file(&graph, path, NULL, NULL, &err), rc, err, part);
    CHECK(graph == NULL && tb_mem_live() == before);
}

static void no_link_is_followed_and_only_files_are_read(void **state)
{
    tb_err err;
    const char *outside =
        tb_test_folder_write(*state, "w.bin", data, sizeof data);
    const char *path = place_model(*state, "part");
    const char *at = tb_test_folder_path(*state, "model/w.bin");
    check_refused(path, TB_E_NOT_FOUND, "external data at \"w.bin\"");
    CHECK(symlink(outside, at) == 0);
    check_refused(path, TB_E_MALFORMED, "a link is not followed");
    CHECK(unlink(at) == 0 && mkdir(at, 0755) == 0);
    check_refused(path, TB_E_MALFORMED, "not a file");
    CHECK(rmdir(at) == 0 && mkfifo(at, 0644) == 0);
    check_refused(path, TB_E_MALFORMED, "not a file"); /* and does not hang */
    path = place_model(*state, "below");
    const char *b = tb_test_folder_path(*state, "model/a/b");
    CHECK_OK(
        tb_file_make_dir(tb_test_folder_path(*state, "model/a"), 0755, &err),
        err);
    CHECK(symlink(*state, b) == 0);
    check_refused(path, TB_E_MALFORMED, "a link is not followed");
}

static float *params_of(const tb_graph *graph, size_t *n)
{
    tb_err err;
    *n = tb_params_count(graph);
    float *w = tb_mem_array(*n, sizeof *w);
    CHECK_OK(tb_params_get(graph, w, *n, &err), err);
    return w;
}

static void a_model_written_in_two_files_reads_back_the_same(void **state)
{
    tb_graph *graph = NULL;
    tb_graph *back = NULL;
    tb_buf one, two;
    tb_err err;
    size_t n = 0;
    struct stat st;
    const char *path = tb_test_folder_path(*state, "m.onnx");
    tb_buf_init(&one, (size_t)1 << 20);
    tb_buf_init(&two, (size_t)1 << 20);
    CHECK_OK(tb_build_new(&graph, "mlp:51-30-10", 3, NULL, &err), err);
    CHECK_OK(tb_onnx_write_file(path, graph, 1, &one, &err), err);
    /* 51 x 30 floats, up to the next border of 64 bytes, and 30 x 10; biases
     * stay inside. */
    CHECK(stat(tb_test_folder_path(*state, "m.onnx.data"), &st) == 0);
    CHECK(st.st_size == 6144 + 1200 && one.len < 2000);
    CHECK_OK(tb_onnx_read_file(&back, path, NULL, &two, &err), err);
    CHECK(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    float *w = params_of(graph, &n);
    float *v = params_of(back, &n);
    CHECK(n == 51 * 30 + 30 + 300 + 10);
    CHECK(memcmp(w, v, n * sizeof *w) == 0);
    tb_mem_free(w);
    tb_mem_free(v);
    tb_graph_free(&back);
    /* Small enough for one file: no second one is looked at. */
    CHECK_OK(tb_onnx_write_file(path, graph, TB_ONNX_INLINE_MAX, NULL, &err),
             err);
    CHECK(unlink(tb_test_folder_path(*state, "m.onnx.data")) == 0);
    CHECK_OK(tb_onnx_read_file(&back, path, NULL, NULL, &err), err);
    tb_graph_free(&back);
    tb_graph_free(&graph);
    tb_buf_release(&one);
    tb_buf_release(&two);
}

static void data_cut_off_at_any_byte_are_refused(void **state)
{
    tb_graph *graph = NULL;
    tb_err err;
    const char *path = tb_test_folder_path(*state, "m.onnx");
    const char *beside = tb_test_folder_path(*state, "m.onnx.data");
    CHECK_OK(tb_build_new(&graph, "mlp:30-30-10", 3, NULL, &err), err);
    CHECK_OK(tb_onnx_write_file(path, graph, 1, NULL, &err), err);
    tb_graph_free(&graph);
    for (off_t n = 4800; n-- > 0; n -= n % 7) {
        CHECK(truncate(beside, n) == 0);
        check_refused(path, TB_E_MALFORMED, "external data at");
    }
}

static tb_rc write_and_read(void *arg, tb_err *err)
{
    const char *path = arg;
    tb_graph *graph = NULL;
    tb_graph *back = NULL;
    tb_rc rc = tb_build_new(&graph, "mlp:30-30-10", 3, NULL, err);
    if (rc == TB_OK) {
        rc = tb_onnx_write_file(path, graph, 1, NULL, err);
    }
    if (rc == TB_OK) {
        rc = tb_onnx_read_file(&back, path, NULL, NULL, err);
    }
    tb_graph_free(&graph);
    tb_graph_free(&back);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s",
                   tb_test_folder_path(*state, "m.onnx"));
    CHECK(tb_check_each_allocation(write_and_read, path) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(data_beside_or_below_the_model_are_read),
        IN_FOLDER(a_model_named_without_a_folder_is_read_too),
        IN_FOLDER(each_bad_place_is_refused_with_its_reason),
        IN_FOLDER(no_link_is_followed_and_only_files_are_read),
        IN_FOLDER(a_model_written_in_two_files_reads_back_the_same),
        IN_FOLDER(data_cut_off_at_any_byte_are_refused),
        IN_FOLDER(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
