/* Whole networks that PyTorch exported, narrow ones, against its gradients, its
 * losses and its parameters after 20 steps, all in float64
 * (tests/golden/models/make.py; full ones: scripts/interop gradients). */
#include "support/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/sgd_run.h"

#define DIR_MODELS TB_SOURCE_DIR "/tests/golden/models/"
#define LOSSES     1e-5 /* relative, at the start */
#define GRADIENTS  1e-5 /* of the norm of a tensor, or 1e-3 of all */
#define STEPPED    1e-3 /* the same for tensors and losses after the steps */
#define N_TENSORS  200

/* What PyTorch says of one tensor. */
typedef struct tensor_ref {
    char name[128];
    double gradient; /* norms */
    double end;
    size_t n_samples;
    const uint8_t *samples;
} tensor_ref;

typedef struct model_ref {
    tb_buf bytes;
    double losses[SGD_STEPS + 1];
    tensor_ref tensors[N_TENSORS];
    size_t n_tensors;
    double all; /* norm of the whole gradient */
    const uint8_t *feed;
    size_t n_feed;
} model_ref;

/* --- reading -------------------------------------------------------------- */

static const uint8_t *take(tb_cursor *c, size_t n)
{
    const uint8_t *at = NULL;
    tb_err err;
    CHECK_OK(tb_cursor_take(c, &at, n, &err), err);
    return at;
}

static uint32_t take_u32(tb_cursor *c)
{
    return tb_le32_get(take(c, 4));
}

static double take_f64(tb_cursor *c)
{
    double v = 0;
    memcpy(&v, take(c, sizeof v), sizeof v);
    return v;
}

static float f32_at(const uint8_t *at)
{
    float v = 0;
    memcpy(&v, at, sizeof v);
    return v;
}

static void load(model_ref *ref, const char *name)
{
    char path[512];
    tb_err err;
    (void)snprintf(path, sizeof path, "%s%s.ref", DIR_MODELS, name);
    *ref = (model_ref){0};
    tb_buf_init(&ref->bytes, SGD_MAX_BYTES);
    CHECK_OK(tb_file_read(&ref->bytes, path, &err), err);
    tb_cursor c = {ref->bytes.data, ref->bytes.len};
    for (size_t i = 0; i <= SGD_STEPS; i++) {
        ref->losses[i] = take_f64(&c);
    }
    ref->n_tensors = take_u32(&c);
    CHECK(ref->n_tensors <= N_TENSORS);
    for (size_t i = 0; i < ref->n_tensors; i++) {
        tensor_ref *t = &ref->tensors[i];
        size_t n_name = take_u32(&c);
        CHECK(n_name < sizeof t->name);
        memcpy(t->name, take(&c, n_name), n_name);
        (void)take_u32(&c);
        t->gradient = take_f64(&c);
        t->end = take_f64(&c);
        t->n_samples = take_u32(&c);
        t->samples = take(&c, 12 * t->n_samples);
        ref->all += t->gradient * t->gradient;
    }
    ref->all = sqrt(ref->all);
    ref->feed = c.at;
    ref->n_feed = c.left;
}

static const tensor_ref *find(const model_ref *ref, const char *name)
{
    for (size_t i = 0; i < ref->n_tensors; i++) {
        if (strcmp(ref->tensors[i].name, name) == 0) {
            return &ref->tensors[i];
        }
    }
    fail_msg("PyTorch knows no \"%s\"", name);
    return &ref->tensors[0];
}

/* --- comparing ------------------------------------------------------------ */

static double norm(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sqrt(sum);
}

static void check_near(const char *what, double is, double want, double most)
{
    if (!(fabs(is - want) <= most)) {
        fail_msg("%s: %.9g, PyTorch says %.9g (may differ by %.2g)", what, is,
                 want, most);
    }
}

/* Norm and samples of x: column 4 of a sample is the gradient, 8 the end. */
static void check_tensor(const tensor_ref *t, const tb_slot *slot,
                         const float *x, size_t column, double most)
{
    char what[256];
    (void)snprintf(what, sizeof what, "%s of %s",
                   column == 4 ? "gradient" : "end", t->name);
    x += slot->offset;
    check_near(what, norm(x, slot->n), column == 4 ? t->gradient : t->end,
               most);
    for (size_t i = 0; i < t->n_samples; i++) {
        const uint8_t *sample = t->samples + 12 * i;
        size_t at = tb_le32_get(sample);
        CHECK(at < slot->n);
        check_near(what, (double)x[at], (double)f32_at(sample + column), most);
    }
}

static void check_run(const model_ref *ref, const sgd_run *run)
{
    const tb_slots *slots = tb_trainer_slots(run->trainer);
    CHECK(slots->n + run->buffers.n == ref->n_tensors);
    check_near("loss", run->losses[0], ref->losses[0], LOSSES * ref->losses[0]);
    for (size_t i = 0; i < slots->n; i++) {
        const tb_slot *slot = &slots->slot[i];
        const tensor_ref *t = find(ref, slot->name);
        double most = fmax(t->gradient, 1e-3 * ref->all);
        check_tensor(t, slot, run->first, 4, GRADIENTS * most);
        check_tensor(t, slot, run->last, 8, STEPPED * t->end);
    }
    for (size_t i = 0; i < run->buffers.n; i++) {
        const tb_slot *slot = &run->buffers.slot[i];
        const tensor_ref *t = find(ref, slot->name);
        check_tensor(t, slot, run->statistics, 8, STEPPED * t->end);
    }
    for (size_t i = 1; i <= SGD_STEPS; i++) {
        check_near("loss of a step", run->losses[i], ref->losses[i],
                   STEPPED * ref->losses[i]);
    }
}

static void check_model(const char *name, size_t n_rows, double rate)
{
    static model_ref ref;
    char path[512];
    sgd_run run;
    tb_err err;
    load(&ref, name);
    (void)snprintf(path, sizeof path, "%s%s.onnx", DIR_MODELS, name);
    CHECK_OK(sgd_run_init(&run, path, n_rows, rate, &err), err);
    size_t n_x = tb_tensor_bytes(tb_trainer_input(run.trainer));
    CHECK(ref.n_feed == n_x + n_rows * sizeof(int32_t));
    /* Copies, since the file's bytes may be unaligned. */
    uint8_t *x = tb_mem_array(n_x, 1);
    int32_t *y = tb_mem_array(n_rows, sizeof *y);
    CHECK(x != NULL && y != NULL);
    memcpy(x, ref.feed, n_x);
    memcpy(y, ref.feed + n_x, n_rows * sizeof *y);
    CHECK_OK(sgd_run_go(&run, x, y, n_rows, &err), err);
    check_run(&ref, &run);
    tb_mem_free(x);
    tb_mem_free(y);
    sgd_run_release(&run);
    tb_buf_release(&ref.bytes);
    CHECK(tb_mem_live() == 0);
}

/* Rows and rate: as NETS of make.py says. */
#define MODEL(name, n_rows, rate)                                              \
    static void name##_steps_as_in_pytorch(void **state)                       \
    {                                                                          \
        (void)state;                                                           \
        check_model(#name, n_rows, rate);                                      \
    }
MODEL(logreg, 5, 0.1)
MODEL(mlp, 5, 0.1)
MODEL(lenet5, 5, 0.1)
MODEL(mcmahan, 5, 0.05)
MODEL(resnet_gn, 4, 0.01)
MODEL(resnet_bn, 4, 0.01)
MODEL(mobilenet, 4, 0.01)
MODEL(char_lstm, 4, 0.5)
MODEL(gru, 4, 0.2)
MODEL(transformer, 4, 0.05)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logreg_steps_as_in_pytorch),
        cmocka_unit_test(mlp_steps_as_in_pytorch),
        cmocka_unit_test(lenet5_steps_as_in_pytorch),
        cmocka_unit_test(mcmahan_steps_as_in_pytorch),
        cmocka_unit_test(resnet_gn_steps_as_in_pytorch),
        cmocka_unit_test(resnet_bn_steps_as_in_pytorch),
        cmocka_unit_test(mobilenet_steps_as_in_pytorch),
        cmocka_unit_test(char_lstm_steps_as_in_pytorch),
        cmocka_unit_test(gru_steps_as_in_pytorch),
        cmocka_unit_test(transformer_steps_as_in_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
