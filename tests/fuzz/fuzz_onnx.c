/* Any bytes: the reader refuses them, or the model can be bound, listed, run
 * and trained a step - each only if a look before says that it is small - and
 * writing it gives bytes that read back to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "model/notes.h"
#include "model/onnx.h"
#include "model/text.h"
#include "support/bounded.h"
#include "train/trainer.h"

#define MAX_BYTES ((size_t)1 << 24)

static const tb_onnx_limits limits = {.bytes = MAX_BYTES,
                                      .nodes = 256,
                                      .values = 1024,
                                      .tensor_bytes = (size_t)1 << 20,
                                      .total_bytes = (size_t)1 << 22,
                                      .name_bytes = 128,
                                      .list = 256,
                                      .depth = 16};

static const bounds most = {
    .value_bytes = (size_t)1 << 20, .plan_bytes = (size_t)4 << 20, .work = 4e6};

static void check_round_trip(const tb_graph *graph)
{
    tb_buf once, twice;
    tb_graph *back = NULL;
    tb_buf_init(&once, MAX_BYTES);
    tb_buf_init(&twice, MAX_BYTES);
    if (tb_onnx_write(&once, graph, NULL) == TB_OK) {
        if (tb_onnx_read(&back, once.data, once.len, NULL, NULL) != TB_OK ||
            tb_onnx_write(&twice, back, NULL) != TB_OK ||
            once.len != twice.len ||
            memcmp(once.data, twice.data, once.len) != 0) {
            abort();
        }
    }
    tb_graph_free(&back);
    tb_buf_release(&once);
    tb_buf_release(&twice);
}

/* A step on zeros, if the trainer would be small. */
static void check_training(const tb_graph *graph)
{
    const tb_optimiser *sgd = tb_optimiser_find("sgd");
    const tb_trainer_options options = {.loss = tb_loss_find("mse"),
                                        .optimiser = sgd,
                                        .config = sgd->defaults,
                                        .batch = 2,
                                        .chance_seed = 1};
    tb_trainer *trainer = NULL;
    tb_trainer_cost cost;
    if (tb_trainer_measure(&cost, graph, &options, NULL) == TB_OK &&
        cost.bytes <= 2 * most.plan_bytes && cost.flops <= most.work &&
        tb_trainer_new(&trainer, graph, &options, NULL) == TB_OK) {
        (void)!tb_trainer_step(trainer, tb_trainer_x(trainer),
                               tb_trainer_y(trainer), 2, NULL, NULL);
    }
    tb_trainer_free(&trainer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tb_graph *graph = NULL;
    tb_buf text;
    tb_note notes[TB_NOTES_MAX];
    size_t n_run = 0;
    tb_buf_init(&text, MAX_BYTES);
    if (tb_onnx_read(&graph, data, size, &limits, NULL) != TB_OK) {
        return 0;
    }
    tb_rc rc = TB_OK;
    for (size_t batch = 1; rc == TB_OK && batch <= 2; batch++) {
        const tb_bind_options options = {.batch = batch};
        rc = bounded_try(graph, &options, &most, &n_run, NULL);
        if (rc != TB_OK && tb_rc_fault(rc) != TB_FAULT_PEER) {
            abort();
        }
    }
    if (n_run > 0) {
        check_training(graph);
    }
    (void)tb_model_notes(graph, notes);
    if (rc == TB_OK && tb_model_text(&text, graph, NULL) == TB_OK) {
        check_round_trip(graph);
    }
    tb_graph_free(&graph);
    tb_buf_release(&text);
    return 0;
}
