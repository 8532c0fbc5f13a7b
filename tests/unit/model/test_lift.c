/* Models as streams: a file of any size is read, written and looked at without
 * being in memory, and comes to the same bytes as one that was. */
#include "support/check.h"

#include <fcntl.h>
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

/* 4 tensors: two of 160,000 bytes and more, two biases. */
#define MODEL "mlp:100-400-100"

/* A model, the bytes that it is written as in memory, and a file of them. */
typedef struct made {
    tb_graph *graph;
    tb_buf bytes;
    FILE *file;
    tb_onnx_files files; /* that alone */
} made;

static void make(made *m)
{
    tb_err err;
    *m = (made){.file = tmpfile()};
    tb_buf_init(&m->bytes, 1 << 20);
    CHECK(m->file != NULL);
    m->files.fd = fileno(m->file);
    CHECK_OK(tb_build_new(&m->graph, MODEL, 3, NULL, &err), err);
    CHECK_OK(tb_onnx_write(&m->bytes, m->graph, &err), err);
    CHECK_OK(tb_file_write_fd(m->files.fd, m->bytes.data, m->bytes.len, &err),
             err);
}

static void drop(made *m)
{
    CHECK(fclose(m->file) == 0);
    tb_graph_free(&m->graph);
    tb_buf_release(&m->bytes);
}

/* Whether the graph is written as these bytes. */
static bool writes(const tb_graph *graph, const tb_buf *want)
{
    tb_err err;
    tb_buf bytes;
    tb_buf_init(&bytes, 1 << 20);
    CHECK_OK(tb_onnx_write(&bytes, graph, &err), err);
    bool same = bytes.len == want->len &&
                memcmp(bytes.data, want->data, want->len) == 0;
    tb_buf_release(&bytes);
    return same;
}

static void a_model_is_streamed_as_it_is_written_in_memory(void **state)
{
    (void)state;
    tb_err err;
    made m;
    make(&m);
    FILE *file = tmpfile();
    CHECK(file != NULL);
    size_t before = tb_mem_bytes();
    tb_mem_peak_reset();
    CHECK_OK(tb_onnx_write_fd(fileno(file), m.graph, &err), err);
    CHECK(tb_mem_peak_bytes() - before < (size_t)128 << 10);
    CHECK(tb_mem_bytes() == before);
    rewind(file);
    for (size_t i = 0; i < m.bytes.len; i++) {
        CHECK(fgetc(file) == m.bytes.data[i]);
    }
    CHECK(fgetc(file) == EOF);
    CHECK(fclose(file) == 0);
    drop(&m);
}

static void a_streamed_model_is_the_one_that_was_written(void **state)
{
    (void)state;
    tb_err err;
    made m;
    tb_graph *back = NULL;
    make(&m);
    for (int values = 0; values < TB_ONNX_VALUES_NONE; values++) {
        CHECK_OK(
            tb_onnx_read_files(&back, &m.files, (tb_onnx_values)values, &err),
            err);
        CHECK(writes(back, &m.bytes));
        tb_graph_free(&back);
    }
    drop(&m);
}

static void without_values_it_takes_no_memory_for_them(void **state)
{
    (void)state;
    tb_err err;
    made m;
    tb_graph *back = NULL;
    make(&m);
    size_t live = tb_mem_live();
    size_t before = tb_mem_bytes();
    tb_mem_peak_reset();
    CHECK_OK(tb_onnx_read_files(&back, &m.files, TB_ONNX_VALUES_NONE, &err),
             err);
    CHECK(tb_mem_peak_bytes() - before < (size_t)160 << 10);
    CHECK(tb_params_count(back) == tb_params_count(m.graph));
    for (size_t i = 0; i < back->n_values; i++) {
        const tb_tensor *data = &back->values[i]->data;
        if (data->data != NULL && tb_tensor_bytes(data) >= 100000) {
            CHECK(((const float *)data->data)[7] == 0.0F);
        }
    }
    tb_graph_free(&back);
    CHECK(tb_mem_live() == live);
    drop(&m);
}

/* What tb_onnx_locate is held against. */
typedef struct witness {
    const made *m;
    size_t n;
} witness;

static tb_rc check_place(void *arg, const char *name, uint64_t offset,
                         uint64_t bytes, tb_err *err)
{
    (void)err;
    witness *w = arg;
    const tb_tensor *data =
        &w->m->graph->values[tb_graph_find(w->m->graph, name)]->data;
    const tb_buf *file = &w->m->bytes;
    CHECK(bytes == tb_tensor_bytes(data) && offset + bytes <= file->len);
    CHECK(memcmp(file->data + offset, data->data, (size_t)bytes) == 0);
    w->n++;
    return TB_OK;
}

static void each_initialiser_is_found_in_its_file(void **state)
{
    (void)state;
    tb_err err;
    made m;
    make(&m);
    witness w = {.m = &m};
    CHECK_OK(tb_onnx_locate(m.files.fd, check_place, &w, &err), err);
    CHECK(w.n == 4);
    drop(&m);
}

/* The same with its data in a second file: mapped, since it lies well there. */
static void a_model_of_two_open_files_is_left_in_them(void **state)
{
    tb_err err;
    made m;
    tb_graph *back = NULL;
    make(&m);
    const char *path = tb_test_folder_path(*state, "m.onnx");
    CHECK_OK(tb_onnx_write_file(path, m.graph, 0, NULL, &err), err);
    const char *names[] = {"m.onnx.data"};
    const int fds[] = {
        open(tb_test_folder_path(*state, "m.onnx.data"), O_RDONLY)};
    tb_onnx_files files = {
        open(tb_test_folder_path(*state, "m.onnx"), O_RDONLY), 1, names, fds};
    CHECK(files.fd >= 0 && fds[0] >= 0);
    size_t live = tb_mem_live();
    size_t before = tb_mem_bytes();
    CHECK_OK(tb_onnx_read_files(&back, &files, TB_ONNX_VALUES_MAPPED, &err),
             err);
    CHECK(tb_mem_bytes() - before < (size_t)64 << 10);
    CHECK(writes(back, &m.bytes));

    /* What is written to it stays in memory. */
    size_t n = tb_params_count(back);
    float *zeros = tb_mem_array(n, sizeof *zeros);
    CHECK(zeros != NULL);
    CHECK_OK(tb_params_set(back, zeros, n, &err), err);
    tb_mem_free(zeros);
    CHECK(!writes(back, &m.bytes));
    tb_graph_free(&back);
    CHECK_OK(tb_onnx_read_files(&back, &files, TB_ONNX_VALUES_READ, &err), err);
    CHECK(writes(back, &m.bytes));
    tb_graph_free(&back);
    CHECK(tb_mem_live() == live);

    files.n_beside = 0;
    CHECK_ERR(tb_onnx_read_files(&back, &files, TB_ONNX_VALUES_READ, &err),
              TB_E_NOT_FOUND, err, "no such file came with the model");
    CHECK(close(files.fd) == 0 && close(fds[0]) == 0);
    drop(&m);
}

static void a_file_that_is_cut_anywhere_is_refused(void **state)
{
    (void)state;
    tb_err err;
    made m;
    tb_graph *back = NULL;
    make(&m);
    size_t live = tb_mem_live();
    for (size_t n = m.bytes.len; n-- > 0;) {
        n -= n > 4000 && n < m.bytes.len - 4000 ? 1999 : 0;
        CHECK(ftruncate(m.files.fd, (off_t)n) == 0);
        tb_rc rc =
            tb_onnx_read_files(&back, &m.files, TB_ONNX_VALUES_NONE, &err);
        CHECK(tb_rc_fault(rc) == TB_FAULT_PEER && back == NULL);
        CHECK(tb_mem_live() == live);
    }
    drop(&m);
}

static void a_model_cannot_name_itself(void **state)
{
    tb_err err;
    tb_buf bytes;
    tb_graph *graph = NULL;
    tb_graph *back = NULL;
    tb_onnx_layout layout = {.location = TB_ONNX_EXTERNAL_SELF};
    tb_buf_init(&bytes, 1 << 20);
    CHECK_OK(tb_build_new(&graph, MODEL, 3, NULL, &err), err);
    layout.parts = tb_mem_array(2 * graph->n_values, sizeof *layout.parts);
    CHECK(layout.parts != NULL);
    CHECK_OK(tb_onnx_write_layout(&bytes, graph, &layout, &err), err);
    const char *path =
        tb_test_folder_write(*state, "m.onnx", bytes.data, bytes.len);
    CHECK_ERR(tb_onnx_read_file(&back, path, NULL, NULL, &err), TB_E_MALFORMED,
              err, "a file beside the model is expected");
    tb_mem_free(layout.parts);
    tb_graph_free(&graph);
    tb_buf_release(&bytes);
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    made m;
    tb_graph *back = NULL;
    make(&m);
    size_t live = tb_mem_live();
    tb_rc rc = TB_E_NOMEM;
    long k = 0;
    for (; rc == TB_E_NOMEM; k++) {
        tb_mem_fail_after(k);
        rc = tb_onnx_read_files(&back, &m.files, TB_ONNX_VALUES_NONE, NULL);
        tb_mem_fail_after(-1);
        tb_graph_free(&back);
        CHECK(tb_mem_live() == live);
    }
    CHECK(rc == TB_OK && k > 20);
    rc = TB_E_NOMEM;
    for (k = 0; rc == TB_E_NOMEM; k++) {
        CHECK(lseek(m.files.fd, 0, SEEK_SET) == 0);
        tb_mem_fail_after(k);
        rc = tb_onnx_write_fd(m.files.fd, m.graph, NULL);
        tb_mem_fail_after(-1);
        CHECK(tb_mem_live() == live);
    }
    CHECK(rc == TB_OK && k > 5);
    drop(&m);
}

#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_streamed_as_it_is_written_in_memory),
        cmocka_unit_test(a_streamed_model_is_the_one_that_was_written),
        cmocka_unit_test(without_values_it_takes_no_memory_for_them),
        cmocka_unit_test(each_initialiser_is_found_in_its_file),
        IN_FOLDER(a_model_of_two_open_files_is_left_in_them),
        cmocka_unit_test(a_file_that_is_cut_anywhere_is_refused),
        IN_FOLDER(a_model_cannot_name_itself),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
