/* The C library as its users see it. */
#include <tributary.h>

#include "support/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "support/folder.h"

#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

#define PARAMS TRIBUTARY_PARAMETER

static void ok(tributary_status status, const tributary_error *error)
{
    if (status != TRIBUTARY_OK) {
        fail_msg("%s", error->text);
    }
    CHECK(error->status == TRIBUTARY_OK && error->text[0] == '\0');
}

static void refused(tributary_status status, tributary_status want,
                    const tributary_error *error, const char *part)
{
    if (status != want || error->status != want ||
        strstr(error->text, part) == NULL) {
        fail_msg("%d, not %d: \"%s\" without \"%s\"", (int)status, (int)want,
                 error->text, part);
    }
}

/* Two inputs, three outputs: y = W x + b, parameters W [3, 2] and b [3]. */
static tributary_model *linear(const float params[9])
{
    tributary_error error;
    tributary_model *model = NULL;
    ok(tributary_model_make(&model, "mlp:2-3", 1, &error), &error);
    CHECK(tributary_model_n_floats(model, PARAMS) == 9);
    ok(tributary_model_set(model, PARAMS, params, 9, &error), &error);
    return model;
}

static void a_model_tells_what_it_takes_gives_and_learns(void **state)
{
    tributary_error error;
    tributary_value v;
    tributary_model *model = NULL;
    (void)state;
    ok(tributary_model_make(&model, "mlp:4-7-3", 1, &error), &error);
    CHECK(tributary_model_count(model, TRIBUTARY_INPUT) == 1);
    CHECK(tributary_model_count(model, TRIBUTARY_OUTPUT) == 1);
    CHECK(tributary_model_count(model, PARAMS) == 4);
    CHECK(tributary_model_count(model, TRIBUTARY_STATISTIC) == 0);
    ok(tributary_model_value(model, TRIBUTARY_INPUT, 0, &v, &error), &error);
    CHECK(v.type == TRIBUTARY_FLOAT && v.rank == 2);
    CHECK(v.dim[0] == TRIBUTARY_ANY && v.dim[1] == 4);
    ok(tributary_model_value(model, TRIBUTARY_OUTPUT, 0, &v, &error), &error);
    CHECK(v.type == TRIBUTARY_FLOAT && v.rank == 2);
    CHECK(v.dim[0] == TRIBUTARY_ANY && v.dim[1] == 3);
    ok(tributary_model_value(model, PARAMS, 3, &v, &error), &error);
    CHECK(v.rank == 1 && v.dim[0] == 3 && v.n == 3);
    CHECK(v.offset == 4 * 7 + 7 + 7 * 3);
    refused(tributary_model_value(model, PARAMS, 4, &v, &error),
            TRIBUTARY_NOT_FOUND, &error, "parameter 4 of 4");
    refused(tributary_model_value(model, TRIBUTARY_INPUT, 1, &v, &error),
            TRIBUTARY_NOT_FOUND, &error, "input 1 of 1");
    tributary_model_free(&model);
    CHECK(model == NULL && tb_mem_live() == 0);
}

static void a_session_computes_and_sees_new_parameters(void **state)
{
    const float params[9] = {1, 2, 3, 4, 5, 6, 10, 20, 30};
    const float zero[9] = {0, 0, 0, 0, 0, 0, 7, 8, 9};
    const float x[4] = {1, 1, 2, -1};
    /* by hand: [1+2+10, 3+4+20, 5+6+30] and [2-2+10, 6-4+20, 10-6+30] */
    const float want[6] = {13, 27, 41, 10, 22, 34};
    tributary_error error;
    tributary_session *session = NULL;
    size_t n = 0;
    (void)state;
    tributary_model *model = linear(params);
    ok(tributary_session_new(&session, model, 2, &error), &error);
    ok(tributary_session_bind(session, 0, x, sizeof x, &error), &error);
    ok(tributary_session_run(session, &error), &error);
    const float *y = tributary_session_output(session, 0, &n);
    CHECK(n == sizeof want && memcmp(y, want, n) == 0);
    ok(tributary_model_set(model, PARAMS, zero, 9, &error), &error);
    ok(tributary_session_run(session, &error), &error);
    y = tributary_session_output(session, 0, NULL);
    CHECK(y[0] == 7 && y[1] == 8 && y[5] == 9);
    CHECK(tributary_session_input(session, 1, &n) == NULL && n == 0);
    CHECK(tributary_session_output(session, 1, &n) == NULL && n == 0);
    refused(tributary_session_bind(session, 0, x, 8, &error),
            TRIBUTARY_MISMATCH, &error, "8 bytes for input 0 of 16 bytes");
    refused(tributary_session_bind(session, 1, x, 8, &error),
            TRIBUTARY_NOT_FOUND, &error, "input 1 of 1");
    tributary_session_free(&session);
    tributary_model_free(&model);
    CHECK(tb_mem_live() == 0);
}

static void a_step_moves_the_parameters_as_the_formula_says(void **state)
{
    const float zero[9] = {0};
    const float x[2] = {1, 2};
    const int32_t y[1] = {0};
    float w[9];
    double loss = 0;
    tributary_error error;
    tributary_trainer *trainer = NULL;
    (void)state;
    tributary_model *model = linear(zero);
    ok(tributary_trainer_new(&trainer, model, " lr=0.3\tbatch=4 ", &error),
       &error);
    ok(tributary_trainer_step(trainer, x, y, 1, &loss, &error), &error);
    /* All outputs are 0: p = 1/3 each, so the loss is ln 3 and d = p - [1, 0,
     * 0]; W -= 0.3 d x^T, b -= 0.3 d. */
    CHECK(fabs(loss - log(3.0)) < 1e-6);
    ok(tributary_model_get(model, PARAMS, w, 9, &error), &error);
    CHECK(memcmp(w, zero, sizeof w) == 0); /* until it is stored */
    ok(tributary_trainer_store(trainer, model, &error), &error);
    ok(tributary_model_get(model, PARAMS, w, 9, &error), &error);
    const float want[9] = {0.2F,  0.4F, -0.1F, -0.2F, -0.1F,
                           -0.2F, 0.2F, -0.1F, -0.1F};
    for (size_t i = 0; i < 9; i++) {
        CHECK(fabsf(w[i] - want[i]) < 1e-6F);
    }
    ok(tributary_trainer_set_lr(trainer, 1e-3, &error), &error);
    refused(tributary_trainer_set_lr(trainer, 0, &error), TRIBUTARY_USAGE,
            &error, "over 0");
    const int32_t bad[1] = {3};
    refused(tributary_trainer_step(trainer, x, bad, 1, NULL, &error),
            TRIBUTARY_MISMATCH, &error, "");
    tributary_trainer_free(&trainer);
    tributary_model_free(&model);
    CHECK(tb_mem_live() == 0);
}

static void what_is_frozen_stays_and_thaws_again(void **state)
{
    const float zero[9] = {0};
    const float x[2] = {1, 2};
    const int32_t y[1] = {0};
    float b[3];
    tributary_error error;
    tributary_value value;
    tributary_trainer *trainer = NULL;
    (void)state;
    tributary_model *model = linear(zero);
    ok(tributary_model_value(model, PARAMS, 0, &value, &error), &error);
    const char *const weight = value.name;
    ok(tributary_model_freeze(model, &weight, 1, &error), &error);
    CHECK(tributary_model_n_floats(model, PARAMS) == 3);
    ok(tributary_trainer_new(&trainer, model, NULL, &error), &error);
    ok(tributary_trainer_step(trainer, x, y, 1, NULL, &error), &error);
    ok(tributary_trainer_store(trainer, model, &error), &error);
    ok(tributary_model_get(model, PARAMS, b, 3, &error), &error);
    CHECK(b[0] > 0 && b[1] < 0);
    ok(tributary_model_freeze(model, NULL, 0, &error), &error);
    CHECK(tributary_model_n_floats(model, PARAMS) == 9);
    refused(tributary_trainer_store(trainer, model, &error), TRIBUTARY_MISMATCH,
            &error, "3 numbers for a model of");
    const char *const unknown = "fc1.weigth";
    refused(tributary_model_freeze(model, &unknown, 1, &error),
            TRIBUTARY_NOT_FOUND, &error, "did you mean \"fc1.weight\"?");
    tributary_trainer_free(&trainer);
    tributary_model_free(&model);
}

static void files_and_memory_give_the_model_back(void **state)
{
    float w[2][500];
    void *bytes = NULL;
    size_t n_bytes = 0;
    tributary_error error;
    tributary_model *model = NULL;
    tributary_model *back = NULL;
    size_t live = tb_mem_live();
    const char *path = tb_test_folder_path(*state, "m.onnx");
    ok(tributary_model_make(&model, "mlp:20-20-3", 1, &error), &error);
    size_t n = tributary_model_n_floats(model, PARAMS);
    CHECK(n == 20 * 20 + 20 + 60 + 3);
    ok(tributary_model_get(model, PARAMS, w[0], n, &error), &error);
    ok(tributary_model_write(model, &bytes, &n_bytes, &error), &error);
    ok(tributary_model_read(&back, bytes, n_bytes, &error), &error);
    tributary_free(bytes);
    ok(tributary_model_get(back, PARAMS, w[1], n, &error), &error);
    CHECK(memcmp(w[0], w[1], n * sizeof(float)) == 0);
    tributary_model_free(&back);
    for (int apart = 0; apart < 2; apart++) {
        const char *data = tb_test_folder_path(*state, "m.onnx.data");
        ok(tributary_model_save(model, path, apart, &error), &error);
        CHECK((access(data, F_OK) == 0) == (apart == 1));
        ok(tributary_model_open(&back, path, &error), &error);
        ok(tributary_model_get(back, PARAMS, w[1], n, &error), &error);
        CHECK(memcmp(w[0], w[1], n * sizeof(float)) == 0);
        tributary_model_free(&back);
    }
    tributary_model_free(&model);
    CHECK(tb_mem_live() == live);
}

static const struct {
    const char *options;
    const char *text;
} bad_options[] = {
    {"lr", "key=value is expected"},
    {"=3", "key=value is expected"},
    {"lr=", "key=value is expected"},
    {"lr=fast", "option lr"},
    {"lr=-1", "lr"},
    {"lr=nan", "option lr"},
    {"momentum=1.5", "momentum"},
    {"nesterov=1", "momentum"},
    {"batch=0", "batch 0"},
    {"batch=2.5", "a whole number"},
    {"piece=-1", "a whole number from 0"},
    {"smoothing=2", "smoothing"},
    {"optimiser=adam momentum=0.5", "momentum"},
    {"clip_norm=-1", "clip"},
    {"ignore_index=3e9", "a whole number"},
    {"batch=1e9", "a whole number from 0 to 1048576"},
    {"loss=hinge", "no loss \"hinge\": "},
    {"optimiser=genetic", "no optimiser \"genetic\": "},
    {"momentun=0.9", "did you mean \"momentum\"?"},
};

static void each_bad_option_is_named(void **state)
{
    const float zero[9] = {0};
    tributary_error error;
    tributary_trainer *trainer = NULL;
    (void)state;
    tributary_model *model = linear(zero);
    for (size_t i = 0; i < sizeof bad_options / sizeof bad_options[0]; i++) {
        refused(tributary_trainer_new(&trainer, model, bad_options[i].options,
                                      &error),
                TRIBUTARY_USAGE, &error, bad_options[i].text);
        CHECK(trainer == NULL);
    }
    tributary_model_free(&model);
}

/* Adam's first step moves each parameter by lr against its gradient's sign. */
static void options_reach_loss_optimiser_and_pieces(void **state)
{
    const float zero[9] = {0};
    const float x[6] = {1, 2, 3, 4, 5, 6};
    const int32_t y[3] = {0, -7, 0};
    float w[9];
    double loss = 0;
    tributary_error error;
    tributary_trainer *trainer = NULL;
    (void)state;
    tributary_model *model = linear(zero);
    ok(tributary_trainer_new(&trainer, model,
                             "optimiser=adam lr=0.25 ignore_index=-7 batch=3 "
                             "piece=1 clip_norm=1",
                             &error),
       &error);
    ok(tributary_trainer_step(trainer, x, y, 3, &loss, &error), &error);
    CHECK(fabs(loss - log(3.0)) < 1e-6);
    ok(tributary_trainer_store(trainer, model, &error), &error);
    ok(tributary_model_get(model, PARAMS, w, 9, &error), &error);
    for (size_t i = 0; i < 9; i++) {
        int first = i < 2 || i == 6; /* of the class that the rows have */
        CHECK(fabsf(w[i] - (first ? 0.25F : -0.25F)) < 1e-4F);
    }
    tributary_trainer_free(&trainer);
    tributary_model_free(&model);
}

static void what_is_missing_is_an_error_and_no_crash(void **state)
{
    tributary_error error;
    tributary_model *model = NULL;
    tributary_session *session = NULL;
    tributary_trainer *trainer = NULL;
    tributary_value value;
    void *bytes = NULL;
    size_t n = 0;
    (void)state;
    refused(tributary_model_open(NULL, "x", &error), TRIBUTARY_USAGE, &error,
            "tributary_model_open: no out");
    refused(tributary_model_open(&model, NULL, &error), TRIBUTARY_USAGE, &error,
            "no path");
    refused(tributary_model_open(&model, "/no/such.onnx", &error),
            TRIBUTARY_NOT_FOUND, &error, "/no");
    refused(tributary_model_read(&model, NULL, 3, &error), TRIBUTARY_USAGE,
            &error, "no bytes");
    refused(tributary_model_read(&model, "abc", 3, &error), TRIBUTARY_INVALID,
            &error, "onnx");
    refused(tributary_model_make(&model, "mlp:0", 1, &error), TRIBUTARY_USAGE,
            &error, "mlp");
    refused(tributary_model_save(NULL, "x", 0, &error), TRIBUTARY_USAGE, &error,
            "no model");
    refused(tributary_model_write(NULL, &bytes, &n, &error), TRIBUTARY_USAGE,
            &error, "no model");
    refused(tributary_model_value(NULL, PARAMS, 0, &value, &error),
            TRIBUTARY_USAGE, &error, "no model");
    refused(tributary_model_get(NULL, PARAMS, NULL, 0, &error), TRIBUTARY_USAGE,
            &error, "no model");
    refused(tributary_session_new(&session, NULL, 1, &error), TRIBUTARY_USAGE,
            &error, "no model");
    refused(tributary_session_run(NULL, &error), TRIBUTARY_USAGE, &error,
            "no session");
    refused(tributary_session_bind(NULL, 0, &n, 1, &error), TRIBUTARY_USAGE,
            &error, "no session");
    refused(tributary_trainer_new(&trainer, NULL, NULL, &error),
            TRIBUTARY_USAGE, &error, "no model");
    refused(tributary_trainer_step(NULL, &n, &n, 1, NULL, &error),
            TRIBUTARY_USAGE, &error, "no trainer");
    CHECK(tributary_model_open(&model, "/no/such.onnx", NULL) ==
          TRIBUTARY_NOT_FOUND);
    CHECK(tributary_model_count(NULL, PARAMS) == 0);
    CHECK(tributary_model_n_floats(NULL, PARAMS) == 0);
    tributary_model_free(NULL);
    tributary_model_free(&model);
    tributary_session_free(&session);
    tributary_trainer_free(&trainer);
    tributary_free(NULL);
    CHECK(tb_mem_live() == 0);
}

static tb_rc use_it_all(void *arg, tb_err *err)
{
    const float x[4] = {1, 2, 3, 4};
    const int32_t y[2] = {0, 1};
    tributary_error error;
    tributary_model *model = NULL;
    tributary_session *session = NULL;
    tributary_trainer *trainer = NULL;
    tributary_value value;
    void *bytes = NULL;
    size_t n = 0;
    (void)arg;
    tributary_status status =
        tributary_model_make(&model, "mlp:2-3-2", 1, &error);
    status = status != 0 ? status
                         : tributary_model_value(model, TRIBUTARY_OUTPUT, 0,
                                                 &value, &error);
    status = status != 0 ? status
                         : tributary_session_new(&session, model, 2, &error);
    status = status != 0 ? status : tributary_session_run(session, &error);
    status = status != 0 ? status
                         : tributary_trainer_new(&trainer, model, NULL, &error);
    status = status != 0
                 ? status
                 : tributary_trainer_step(trainer, x, y, 2, NULL, &error);
    status =
        status != 0 ? status : tributary_trainer_store(trainer, model, &error);
    status =
        status != 0 ? status : tributary_model_write(model, &bytes, &n, &error);
    tributary_free(bytes);
    tributary_trainer_free(&trainer);
    tributary_session_free(&session);
    tributary_model_free(&model);
    if (status == TRIBUTARY_OK) {
        return TB_OK;
    }
    CHECK(status == TRIBUTARY_NO_MEMORY);
    return tb_fail(err, TB_E_NOMEM, "%s", error.text);
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    CHECK(tb_check_each_allocation(use_it_all, NULL) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_tells_what_it_takes_gives_and_learns),
        cmocka_unit_test(a_session_computes_and_sees_new_parameters),
        cmocka_unit_test(a_step_moves_the_parameters_as_the_formula_says),
        cmocka_unit_test(what_is_frozen_stays_and_thaws_again),
        IN_FOLDER(files_and_memory_give_the_model_back),
        cmocka_unit_test(each_bad_option_is_named),
        cmocka_unit_test(options_reach_loss_optimiser_and_pieces),
        cmocka_unit_test(what_is_missing_is_an_error_and_no_crash),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
