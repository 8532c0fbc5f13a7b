/* Models of token ids: int64 in, a label for each position. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/archive.h"
#include "data/read.h"
#include "support/check.h"
#include "support/folder.h"
#include "support/mlp.h"
#include "train/evaluate.h"
#include "train/local.h"

enum { N_ROWS = 60, LENGTH = 5, N_WORDS = 7, N_DIMS = 8 };

/* x int64 [n, 5] -> Gather from [7, 8] -> MatMul [8, 7] -> [n, 5, 7]. */
static tb_graph *new_model(bool classes_first)
{
    tb_err err;
    tb_stream s;
    tb_graph *g = NULL;
    tb_value_id x = TB_ID_NONE;
    tb_value_id y = TB_ID_NONE;
    const tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, LENGTH}};
    static const int64_t perm[3] = {0, 2, 1};
    const tb_attr turn = {
        .name = "perm", .kind = TB_ATTR_INTS, .ints = perm, .n = 3};
    tb_stream_init(&s, 9, 0, "test", "");
    CHECK_OK(tb_graph_new(&g, "words", TB_GRAPH_OPSET, &err), err);
    CHECK_OK(tb_graph_add_input(g, &x, "x", TB_I64, &dims, &err), err);
    const tb_value_id look[2] = {
        tb_test_data(g, "words", &TB_SHAPE(N_WORDS, N_DIMS), &s), x};
    tb_node_spec gather = {.op = "Gather", .in = look, .n_in = 2};
    CHECK_OK(tb_graph_apply(g, &y, &gather, &err), err);
    const tb_value_id product[2] = {
        y, tb_test_data(g, "out", &TB_SHAPE(N_DIMS, N_WORDS), &s)};
    tb_node_spec matmul = {.op = "MatMul", .in = product, .n_in = 2};
    CHECK_OK(tb_graph_apply(g, &y, &matmul, &err), err);
    if (classes_first) {
        tb_node_spec transpose = {.op = "Transpose",
                                  .attrs = &turn,
                                  .n_attrs = 1,
                                  .in = &y,
                                  .n_in = 1};
        tb_value_id turned = TB_ID_NONE;
        CHECK_OK(tb_graph_apply(g, &turned, &transpose, &err), err);
        y = turned;
    }
    CHECK_OK(tb_graph_add_output(g, y, &err), err);
    return g;
}

/* An archive as numpy.savez writes it: x int64 [60, 5], y int64 [60, 5] = the
 * next word; the last position of odd rows is -100. */
static void write_data(const char *path)
{
    tb_err err;
    tb_buf out;
    tb_archive_writer w;
    int64_t x[N_ROWS * LENGTH], y[N_ROWS * LENGTH];
    for (size_t i = 0; i < N_ROWS * LENGTH; i++) {
        x[i] = (int64_t)(i * 5 % N_WORDS);
        y[i] = i % LENGTH == LENGTH - 1 && i / LENGTH % 2 == 1
                   ? -100
                   : (x[i] + 1) % N_WORDS;
    }
    tb_tensor tx = tb_tensor_view(TB_I64, &TB_SHAPE(N_ROWS, LENGTH), x);
    tb_tensor ty = tb_tensor_view(TB_I64, &TB_SHAPE(N_ROWS, LENGTH), y);
    tb_buf_init(&out, 1 << 20);
    tb_archive_start(&w, &out);
    CHECK_OK(tb_archive_put(&w, "x.npy", &tx, &err), err);
    CHECK_OK(tb_archive_put(&w, "y.npy", &ty, &err), err);
    CHECK_OK(tb_archive_finish(&w, &err), err);
    CHECK_OK(tb_file_write(path, out.data, out.len, 0644, &err), err);
    tb_archive_release(&w);
    tb_buf_release(&out);
}

static tb_trainer *new_trainer(const tb_graph *g, size_t micro)
{
    tb_err err;
    tb_trainer *t = NULL;
    const tb_trainer_options o = {
        .loss = tb_loss_find("softmax_cross_entropy"),
        .loss_options = {.ignores = true, .ignore = -100},
        .n_labels = LENGTH,
        .optimiser = tb_optimiser_find("adam"),
        .config = {.lr = 0.05, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8},
        .batch = 16,
        .micro_batch = micro};
    CHECK_OK(tb_trainer_new(&t, g, &o, &err), err);
    return t;
}

static void labels_per_position_are_learnt_from_an_archive(void **state)
{
    tb_err err;
    tb_dataset *ds = NULL;
    float params[2][N_WORDS * N_DIMS * 2];
    const char *path = tb_test_folder_path(*state, "words.npz");
    write_data(path);
    const tb_read_options read = {.ignores = true, .ignore = -100};
    CHECK_OK(tb_dataset_read(&ds, path, &read, &err), err);
    CHECK(tb_dataset_spec(ds)->x_dtype == TB_I64);
    CHECK(tb_dataset_spec(ds)->n_targets == LENGTH);
    CHECK(tb_dataset_spec(ds)->n_classes == N_WORDS);
    for (size_t first = 0; first < 2; first++) {
        tb_score score;
        tb_graph *g = new_model(first == 1);
        tb_trainer *t = new_trainer(g, first == 1 ? 7 : 0);
        const tb_local_options o = {.epochs = 30, .seed = 3, .client = ""};
        CHECK_OK(tb_train_local(t, ds, &o, &score, &err), err);
        CHECK(score.n_rows == 30 * N_ROWS);
        CHECK(score.n_counted == 30 * (N_ROWS * LENGTH - N_ROWS / 2));
        tb_evaluator *e = NULL;
        const tb_evaluator_options objective = {
            .loss = tb_loss_find("softmax_cross_entropy"),
            .loss_options = {.ignores = true, .ignore = -100},
            .n_labels = LENGTH};
        CHECK_OK(tb_evaluator_new(&e, g, &objective, &err), err);
        CHECK_OK(
            tb_evaluate(e, tb_trainer_params(t), ds, 0, N_ROWS, &score, &err),
            err);
        CHECK(tb_score_accuracy(&score) == 1.0);
        memcpy(params[first], tb_trainer_params(t), sizeof params[first]);
        tb_evaluator_free(&e);
        tb_trainer_free(&t);
        tb_graph_free(&g);
    }
    /* classes first or last, in pieces or not: the same up to rounding */
    for (size_t i = 0; i < N_WORDS * N_DIMS * 2; i++) {
        CHECK(fabsf(params[0][i] - params[1][i]) < 2e-2f);
    }
    tb_dataset_free(&ds);
}

static void data_of_one_label_does_not_fit_a_loss_of_many(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = new_model(false);
    tb_trainer *t = new_trainer(g, 0);
    tb_sample_spec spec = {.x_dtype = TB_I64,
                           .x_shape = TB_SHAPE(LENGTH),
                           .target = TB_TARGET_CLASS,
                           .n_targets = 1,
                           .n_classes = N_WORDS};
    CHECK_ERR(tb_fit_check(&spec, tb_trainer_input(t), tb_trainer_layout(t),
                           tb_trainer_loss(t), &err),
              TB_E_MISMATCH, err, "1 labels a row");
    tb_trainer_free(&t);
    tb_graph_free(&g);
}

/* An id outside the table is an error that names it, and nothing moves. */
static void ids_out_of_range_are_refused(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = new_model(false);
    tb_trainer *t = new_trainer(g, 0);
    const int64_t x[LENGTH] = {0, 1, 2, N_WORDS, 3};
    const int32_t y[LENGTH] = {0, 0, 0, 0, 0};
    float before[N_WORDS * N_DIMS * 2];
    memcpy(before, tb_trainer_params(t), sizeof before);
    CHECK_ERR(tb_trainer_step(t, x, y, 1, NULL, &err), TB_E_MISMATCH, err,
              "Gather");
    CHECK(memcmp(before, tb_trainer_params(t), sizeof before) == 0);
    tb_trainer_free(&t);
    tb_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            labels_per_position_are_learnt_from_an_archive,
            tb_test_folder_setup, tb_test_folder_teardown),
        cmocka_unit_test(data_of_one_label_does_not_fit_a_loss_of_many),
        cmocka_unit_test(ids_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
