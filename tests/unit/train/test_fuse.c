/* Parameters that move where their gradient is made (fuse.h): the same step as
 * by a gradient that is kept. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "support/check.h"
#include "train/trainer_priv.h"

enum { N_WORDS = 7, WIDTH = 4, WORDS = 3, CLASSES = 2, BATCH = 4 };
enum { N_TABLE = N_WORDS * WIDTH, N_OUT = WORDS * WIDTH * CLASSES };
enum { N_MIX = WIDTH * WIDTH, N_PARAMS = N_TABLE + N_MIX + N_OUT };
enum { N_DATA = 1024 }; /* more than any tensor has */

/* Words 1, 2 and 6 (as -1) twice or more; 3 and 5 never. */
static const int64_t x[BATCH * WORDS] = {0, 1, 2, 2, 2, -1, 1, 1, 4, 6, 0, 1};
static const int32_t y[BATCH] = {0, 1, 1, 0};

static tb_value_id add(tb_graph *g, const char *name, const tb_shape *shape)
{
    float data[N_DATA];
    tb_value_id id = TB_ID_NONE;
    tb_err err;
    for (size_t i = 0; i < N_DATA; i++) {
        data[i] = (float)((i * 29 + shape->dim[1]) % 17) / 17 - 0.5f;
    }
    tb_tensor t = tb_tensor_view(TB_F32, shape, data);
    CHECK_OK(tb_graph_add_data(g, &id, name, TB_ROLE_PARAM, &t, &err), err);
    return id;
}

/* Words by Gather, each mixed by a MatMul, side by side to a layer of two. */
static tb_graph *words_net(void)
{
    const tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, WORDS}};
    tb_graph *g = NULL;
    tb_value_id at[3];
    tb_err err;
    CHECK_OK(tb_graph_new(&g, "words", 17, &err), err);
    CHECK_OK(tb_graph_add_input(g, &at[1], "x", TB_I64, &dims, &err), err);
    at[0] = add(g, "table", &TB_SHAPE(N_WORDS, WIDTH));
    CHECK_OK(tb_graph_apply(
                 g, &at[0],
                 &(tb_node_spec){.op = "Gather", .in = at, .n_in = 2}, &err),
             err);
    at[1] = add(g, "mix", &TB_SHAPE(WIDTH, WIDTH));
    CHECK_OK(tb_graph_apply(
                 g, &at[0],
                 &(tb_node_spec){.op = "MatMul", .in = at, .n_in = 2}, &err),
             err);
    CHECK_OK(tb_graph_apply(
                 g, &at[0],
                 &(tb_node_spec){.op = "Flatten", .in = at, .n_in = 1}, &err),
             err);
    at[1] = add(g, "out", &TB_SHAPE(WORDS * WIDTH, CLASSES));
    CHECK_OK(tb_graph_apply(g, &at[0],
                            &(tb_node_spec){.op = "Gemm", .in = at, .n_in = 2},
                            &err),
             err);
    CHECK_OK(tb_graph_add_output(g, at[0], &err), err);
    return g;
}

static tb_trainer *new_trainer(double weight_decay)
{
    tb_trainer *t = NULL;
    tb_graph *g = words_net();
    tb_err err;
    CHECK_OK(
        tb_trainer_new(&t, g,
                       &(tb_trainer_options){
                           .loss = tb_loss_find("softmax_cross_entropy"),
                           .optimiser = tb_optimiser_find("sgd"),
                           .config = {.lr = 0.5, .weight_decay = weight_decay},
                           .batch = BATCH},
                       &err),
        err);
    tb_graph_free(&g);
    CHECK(tb_trainer_n_params(t) == N_PARAMS);
    return t;
}

/* w' = w - lr (g + decay w), by hand from the gradient that was kept. */
static void a_step_of_rows_is_the_step_of_the_whole_table(void **state)
{
    (void)state;
    for (int decays = 0; decays < 2; decays++) {
        float before[N_PARAMS], grad[N_PARAMS];
        const float decay = 0.25f * (float)decays;
        tb_trainer *t = new_trainer((double)decay);
        tb_err err;
        memcpy(before, tb_trainer_params(t), sizeof before);
        CHECK_OK(tb_trainer_gradient(t, x, y, BATCH, grad, &err), err);
        CHECK_OK(tb_trainer_step(t, x, y, BATCH, NULL, &err), err);
        const float *w = tb_trainer_params(t);
        for (size_t i = 0; i < N_PARAMS; i++) {
            float want = before[i] - 0.5f * (grad[i] + decay * before[i]);
            CHECK(fabsf(w[i] - want) < 1e-6f);
        }
        for (size_t i = 0; i < WIDTH; i++) { /* words that nobody said */
            CHECK(grad[3 * WIDTH + i] == 0 && grad[5 * WIDTH + i] == 0);
            CHECK(decays != 0 || w[3 * WIDTH + i] == before[3 * WIDTH + i]);
            CHECK(grad[1 * WIDTH + i] != 0 && grad[6 * WIDTH + i] != 0);
        }
        tb_trainer_free(&t);
    }
    CHECK(tb_mem_live() == 0);
}

/* A word of no row is found before anything has moved. */
static void an_unknown_word_moves_nothing(void **state)
{
    float before[N_PARAMS];
    int64_t bad[BATCH * WORDS];
    tb_trainer *t = new_trainer(0.0);
    tb_err err;
    (void)state;
    memcpy(bad, x, sizeof bad);
    bad[5] = N_WORDS;
    memcpy(before, tb_trainer_params(t), sizeof before);
    CHECK_ERR(tb_trainer_step(t, bad, y, BATCH, NULL, &err), TB_E_MISMATCH, err,
              "index 7 where Gather");
    CHECK(memcmp(before, tb_trainer_params(t), sizeof before) == 0);
    CHECK_OK(tb_trainer_step(t, x, y, BATCH, NULL, &err), err);
    CHECK(memcmp(before, tb_trainer_params(t), sizeof before) != 0);
    tb_trainer_free(&t);
}

/* --- convolutions --------------------------------------------------------- */

enum { CHANNELS = 8, SIDE = 8, N_IMAGE = CHANNELS * SIDE * SIDE };

/* Another node on top of *at: weights, and a bias of n_bias. */
static void stack(tb_graph *g, tb_value_id *at, const char *op,
                  const tb_shape *weights, size_t n_bias, int64_t group)
{
    const int64_t pads[4] = {1, 1, 1, 1};
    const tb_attr attrs[2] = {
        TB_ATTR_I("group", group),
        {.name = "pads", .kind = TB_ATTR_INTS, .n = 4, .ints = pads}};
    char name[32];
    tb_value_id in[3] = {*at};
    tb_err err;
    (void)snprintf(name, sizeof name, "w%zu", g->n_values);
    in[1] = add(g, name, weights);
    name[0] = 'b';
    tb_tensor b = tb_tensor_view(TB_F32, &TB_SHAPE(n_bias),
                                 (float[16]){0.1f, -0.2f, 0.3f});
    CHECK_OK(tb_graph_add_data(g, &in[2], name, TB_ROLE_PARAM, &b, &err), err);
    CHECK_OK(
        tb_graph_apply(
            g, at,
            &(tb_node_spec){
                .op = op, .attrs = attrs, .n_attrs = 2, .in = in, .n_in = 3},
            &err),
        err);
}

/* One way of each kind: Winograd's, direct, by columns, and turned round. */
static tb_graph *convolutions(void)
{
    const tb_dims dims = {.rank = 4, .dim = {TB_DIM_ANY, CHANNELS, SIDE, SIDE}};
    tb_graph *g = NULL;
    tb_value_id at = TB_ID_NONE;
    tb_err err;
    CHECK_OK(tb_graph_new(&g, "convolutions", 17, &err), err);
    CHECK_OK(tb_graph_add_input(g, &at, "x", TB_F32, &dims, &err), err);
    stack(g, &at, "Conv", &TB_SHAPE(CHANNELS, CHANNELS, 3, 3), CHANNELS, 1);
    stack(g, &at, "Conv", &TB_SHAPE(CHANNELS, 1, 3, 3), CHANNELS, CHANNELS);
    stack(g, &at, "Conv", &TB_SHAPE(4, 2, 3, 3), 4, 4);
    stack(g, &at, "ConvTranspose", &TB_SHAPE(4, 3, 3, 3), 3, 1);
    CHECK_OK(tb_graph_apply(
                 g, &at, &(tb_node_spec){.op = "Flatten", .in = &at, .n_in = 1},
                 &err),
             err);
    CHECK_OK(tb_graph_add_output(g, at, &err), err);
    return g;
}

/* A limit that nothing reaches keeps every gradient. */
static tb_trainer *new_conv_trainer(double weight_decay, double clip)
{
    tb_trainer *t = NULL;
    tb_graph *g = convolutions();
    tb_err err;
    CHECK_OK(
        tb_trainer_new(&t, g,
                       &(tb_trainer_options){
                           .loss = tb_loss_find("softmax_cross_entropy"),
                           .optimiser = tb_optimiser_find("sgd"),
                           .config = {.lr = 0.25, .weight_decay = weight_decay},
                           .clip = {.norm = clip},
                           .batch = BATCH},
                       &err),
        err);
    tb_graph_free(&g);
    return t;
}

/* Bit for bit, w' = keep w - lr g of the gradient that was kept. */
static void a_step_of_a_convolution_has_the_bits_of_its_gradient(void **state)
{
    static float image[BATCH * N_IMAGE], before[8192], grad[8192];
    (void)state;
    for (size_t i = 0; i < BATCH * N_IMAGE; i++) {
        image[i] = (float)(i * 31 % 23) / 23 - 0.5f;
    }
    for (int decays = 0; decays < 2; decays++) {
        const double decay = 0.5 * decays;
        tb_trainer *t = new_conv_trainer(decay, 0);
        size_t n = tb_trainer_n_params(t);
        const float keep = (float)(1 - 0.25 * decay);
        tb_err err;
        CHECK(n <= 8192);
        memcpy(before, tb_trainer_params(t), n * sizeof before[0]);
        CHECK_OK(tb_trainer_gradient(t, image, y, BATCH, grad, &err), err);
        CHECK_OK(tb_trainer_step(t, image, y, BATCH, NULL, &err), err);
        for (size_t i = 0; i < n; i++) {
            float kept = keep * before[i];
            float step = -0.25f * grad[i];
            CHECK(grad[i] != 0 && tb_trainer_params(t)[i] == kept + step);
        }
        tb_trainer_free(&t);
    }
    CHECK(tb_mem_live() == 0);
}

static void a_moved_convolution_keeps_no_gradient(void **state)
{
    tb_trainer *moved = new_conv_trainer(0, 0);
    tb_trainer *kept = new_conv_trainer(0, 1e30);
    size_t n = tb_trainer_n_params(moved) * sizeof(float);
    (void)state;
    CHECK(tb_trainer_bytes(moved) < tb_trainer_bytes(kept));
    CHECK(tb_trainer_bytes(kept) >= n);
    for (size_t i = 0; i < tb_trainer_slots(moved)->n; i++) {
        CHECK(moved->train.fused[i] && !kept->train.fused[i]);
    }
    tb_trainer_free(&moved);
    tb_trainer_free(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_of_rows_is_the_step_of_the_whole_table),
        cmocka_unit_test(an_unknown_word_moves_nothing),
        cmocka_unit_test(a_step_of_a_convolution_has_the_bits_of_its_gradient),
        cmocka_unit_test(a_moved_convolution_keeps_no_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
