#include "verbs.h"

int main(int argc, char **argv)
{
    const tb_program program = {
        .name = "tributary-sim",
        .summary = "run a federated job in one process, without a network",
        .examples = "tributary data split images.gz --clients 10 -o parts\n"
                    "tributary-sim run job.yaml --clients-data parts\n",
        .verbs = &verb_run,
        .n_verbs = 1,
    };
    return tb_cli_main(&program, argc, argv);
}
