/* Any bytes: the reader refuses them, or the model can be bound and listed, and
 * writing it gives bytes that read back to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "model/bind.h"
#include "model/onnx.h"
#include "model/text.h"

#define MAX_BYTES ((size_t)1 << 24)

static const tb_onnx_limits limits = {.bytes = MAX_BYTES,
                                      .nodes = 256,
                                      .values = 1024,
                                      .tensor_bytes = (size_t)1 << 20,
                                      .total_bytes = (size_t)1 << 22,
                                      .name_bytes = 128,
                                      .list = 256,
                                      .depth = 16};

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tb_graph *graph = NULL;
    tb_bound *bound = NULL;
    tb_buf text;
    tb_buf_init(&text, MAX_BYTES);
    if (tb_onnx_read(&graph, data, size, &limits, NULL) != TB_OK) {
        return 0;
    }
    const tb_bind_options options = {.batch = 3, .max_bytes = MAX_BYTES};
    if (tb_bind_new(&bound, graph, &options, NULL) == TB_OK) {
        tb_bind_free(&bound);
        if (tb_model_text(&text, graph, NULL) == TB_OK) {
            check_round_trip(graph);
        }
    }
    tb_graph_free(&graph);
    tb_buf_release(&text);
    return 0;
}
