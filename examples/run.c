/* Runs what train.c has learnt, and prints what a model takes and gives. */
#include <math.h>
#include <stdio.h>

#include <tributary.h>

enum { ROWS = 600 };

static void print_value(const char *what, const tributary_value *value)
{
    (void)printf("%s %s:", what, value->name);
    for (size_t k = 0; k < value->rank; k++) {
        if (value->dim[k] == TRIBUTARY_ANY) {
            (void)printf(" N");
        } else {
            (void)printf(" %lld", (long long)value->dim[k]);
        }
    }
    (void)printf("\n");
}

static int describe(const tributary_model *model, tributary_error *error)
{
    static const char *const names[] = {"input", "output", "parameter"};
    for (int kind = TRIBUTARY_INPUT; kind <= TRIBUTARY_PARAMETER; kind++) {
        size_t n = tributary_model_count(model, (tributary_kind)kind);
        for (size_t i = 0; i < n; i++) {
            tributary_value value;
            if (tributary_model_value(model, (tributary_kind)kind, i, &value,
                                      error) != TRIBUTARY_OK) {
                return 1;
            }
            print_value(names[kind], &value);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "spirals.onnx";
    tributary_model *model = NULL;
    tributary_session *session = NULL;
    tributary_error error = {0};
    int right = 0;
    int bad = tributary_model_open(&model, path, &error) ||
              describe(model, &error) ||
              tributary_session_new(&session, model, ROWS, &error);
    float *x = tributary_session_input(session, 0, NULL);
    for (int i = 0; !bad && i < ROWS; i++) {
        float r = (float)i / ROWS;
        float angle = 4 * r + 2.1F * (float)(i % 3);
        x[2 * i] = r * sinf(angle);
        x[2 * i + 1] = r * cosf(angle);
    }
    bad = bad || tributary_session_run(session, &error);
    const float *y = tributary_session_output(session, 0, NULL);
    for (int i = 0; !bad && i < ROWS; i++) {
        const float *row = y + (size_t)3 * (size_t)i;
        int best = row[1] > row[0] ? 1 : 0;
        best = row[2] > row[best] ? 2 : best;
        right += best == i % 3;
    }
    if (bad) {
        (void)fprintf(stderr, "%s\n", error.text);
    } else {
        (void)printf("%d of %d points are told right\n", right, ROWS);
    }
    tributary_session_free(&session);
    tributary_model_free(&model);
    return bad;
}
