/* Trains a small network to tell three spirals apart. */
#include <math.h>
#include <stdio.h>

#include <tributary.h>

enum { ROWS = 600, BATCH = 30 };

int main(void)
{
    static float x[ROWS][2];
    static int32_t y[ROWS];
    tributary_model *model = NULL;
    tributary_trainer *trainer = NULL;
    tributary_error error = {0};
    for (int i = 0; i < ROWS; i++) { /* mixed, so that batches are alike */
        float r = (float)(i * 7 % ROWS) / ROWS;
        float angle = 4 * r + 2.1F * (float)(i % 3);
        x[i][0] = r * sinf(angle);
        x[i][1] = r * cosf(angle);
        y[i] = i % 3;
    }
    int bad = tributary_model_make(&model, "mlp:2-64-3", 1, &error) ||
              tributary_trainer_new(&trainer, model,
                                    "batch=30 lr=0.2 momentum=0.9", &error);
    for (int epoch = 1; !bad && epoch <= 100; epoch++) {
        double loss = 0, sum = 0;
        for (int i = 0; !bad && i < ROWS; i += BATCH, sum += loss) {
            bad = tributary_trainer_step(trainer, x[i], y + i, BATCH, &loss,
                                         &error) != TRIBUTARY_OK;
        }
        if (epoch == 1 || epoch % 20 == 0) {
            (void)printf("epoch %d: loss %.4f\n", epoch, sum * BATCH / ROWS);
        }
    }
    bad = bad || tributary_trainer_store(trainer, model, &error) ||
          tributary_model_save(model, "spirals.onnx", 0, &error);
    tributary_trainer_free(&trainer);
    tributary_model_free(&model);
    if (bad) {
        (void)fprintf(stderr, "%s\n", error.text);
    }
    return bad;
}
