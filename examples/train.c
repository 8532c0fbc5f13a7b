/* Trains a small network to tell three spirals apart, and keeps it. */
#include <math.h>
#include <stdio.h>

#include <tributary.h>

int main(void)
{
    static float x[600][2];
    static int32_t y[600];
    for (int i = 0; i < 600; i++) {
        float r = (float)(i * 7 % 600) / 600; /* in mixed order */
        x[i][0] = r * sinf(4 * r + 2.1F * (float)(i % 3));
        x[i][1] = r * cosf(4 * r + 2.1F * (float)(i % 3));
        y[i] = i % 3;
    }
    tributary_model *model = NULL;
    tributary_trainer *t = NULL;
    tributary_error e = {0};
    double loss = 0;
    const char *how = "batch=30 lr=0.2 momentum=0.9";
    int bad = tributary_model_make(&model, "mlp:2-64-3", 1, &e) ||
              tributary_trainer_new(&t, model, how, &e);
    for (int i = 0; !bad && i < 2000; i++) { /* 100 times over the data */
        int at = i * 30 % 600;
        bad = tributary_trainer_step(t, x[at], y + at, 30, &loss, &e) > 0;
        if (i % 400 == 399) {
            (void)printf("step %d: loss %.4f\n", i + 1, loss);
        }
    }
    bad = bad || tributary_trainer_store(t, model, &e) ||
          tributary_model_save(model, "spirals.onnx", 0, &e);
    tributary_trainer_free(&t);
    tributary_model_free(&model);
    return bad ? fprintf(stderr, "%s\n", e.text) > 0 : 0;
}
