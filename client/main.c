#include "host/cli.h"
#include "verbs.h"

static const tb_verb *const list[] = {
    &verb_join,           &verb_run,        &verb_status,
    &verb_rotate,         &verb_move,       &verb_pull,
    &verb_predict,        &verb_model_new,  &verb_model_inspect,
    &verb_model_train,    &verb_model_eval, &verb_model_prune,
    &verb_model_quantize, &verb_data_split, &verb_doctor,
};

enum { N_VERBS = sizeof list / sizeof list[0] };

int main(int argc, char **argv)
{
    tb_verb verbs[N_VERBS];
    for (size_t i = 0; i < N_VERBS; i++) {
        verbs[i] = *list[i];
    }
    const tb_program program = {
        .name = "tributary",
        .summary = "train and use models where the data lives",
        .examples =
            "tributary join - < invite.txt\n"
            "tributary run --data fashion=/data/fashion\n"
            "tributary predict fashion images/ --count 5\n"
            "tributary model new mlp:784-200-10 -o model.onnx\n"
            "tributary model train model.onnx --data train/ --scale 1/255\n",
        .verbs = verbs,
        .n_verbs = N_VERBS,
    };
    return tb_cli_main(&program, argc, argv);
}
