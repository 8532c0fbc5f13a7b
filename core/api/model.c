#include <string.h>

#include "api/api_priv.h"
#include "base/mem.h"
#include "model/bind.h"
#include "model/build.h"
#include "model/onnx.h"
#include "model/params.h"

_Static_assert(TRIBUTARY_RANK_MAX == TB_RANK_MAX, "ranks differ");
_Static_assert(TRIBUTARY_ANY == TB_DIM_ANY, "open dimensions differ");
_Static_assert((int)TRIBUTARY_BFLOAT16 == (int)TB_BF16 &&
                   (int)TRIBUTARY_FLOAT == (int)TB_F32,
               "element types differ");

#define MODEL_BYTES_MAX ((size_t)1 << 31)

/* --- life ----------------------------------------------------------------- */

/* A handle for a graph, which is taken; or nothing when rc says so. */
static tb_rc give(tributary_model **out, tb_graph **graph, tb_rc rc,
                  tb_err *err)
{
    tributary_model *model = NULL;
    if (rc == TB_OK) {
        model = tb_mem_array(1, sizeof *model);
        if (model == NULL) {
            rc = tb_fail(err, TB_E_NOMEM, "model");
        }
    }
    if (rc == TB_OK) {
        model->graph = *graph;
        *graph = NULL;
        *out = model;
    }
    tb_graph_free(graph);
    return rc;
}

tributary_status tributary_model_open(tributary_model **out, const char *path,
                                      tributary_error *error)
{
    tb_err err = {0};
    tb_graph *graph = NULL;
    tb_rc rc = tb_api_need(out, "model_open", "out", &err);
    if (rc == TB_OK) {
        *out = NULL;
        rc = tb_api_need(path, "model_open", "path", &err);
    }
    if (rc == TB_OK) {
        rc = tb_onnx_read_file(&graph, path, NULL, NULL, &err);
        rc = give(out, &graph, rc, &err);
    }
    return tb_api_status(rc, &err, error);
}

tributary_status tributary_model_read(tributary_model **out, const void *bytes,
                                      size_t n_bytes, tributary_error *error)
{
    tb_err err = {0};
    tb_graph *graph = NULL;
    tb_rc rc = tb_api_need(out, "model_read", "out", &err);
    if (rc == TB_OK) {
        *out = NULL;
        rc = tb_api_need(bytes, "model_read", "bytes", &err);
    }
    if (rc == TB_OK) {
        rc = tb_onnx_read(&graph, bytes, n_bytes, NULL, &err);
        rc = give(out, &graph, rc, &err);
    }
    return tb_api_status(rc, &err, error);
}

tributary_status tributary_model_make(tributary_model **out, const char *spec,
                                      uint64_t seed, tributary_error *error)
{
    tb_err err = {0};
    tb_graph *graph = NULL;
    tb_rc rc = tb_api_need(out, "model_make", "out", &err);
    if (rc == TB_OK) {
        *out = NULL;
        rc = tb_api_need(spec, "model_make", "spec", &err);
    }
    if (rc == TB_OK) {
        rc = tb_build_new(&graph, spec, seed, NULL, &err);
        rc = give(out, &graph, rc, &err);
    }
    return tb_api_status(rc, &err, error);
}

void tributary_model_free(tributary_model **model)
{
    if (model != NULL && *model != NULL) {
        tb_graph_free(&(*model)->graph);
        tb_mem_free(*model);
        *model = NULL;
    }
}

/* --- writing -------------------------------------------------------------- */

tributary_status tributary_model_save(const tributary_model *model,
                                      const char *path, int apart,
                                      tributary_error *error)
{
    tb_err err = {0};
    tb_rc rc = tb_api_need(model, "model_save", "model", &err);
    if (rc == TB_OK) {
        rc = tb_api_need(path, "model_save", "path", &err);
    }
    if (rc == TB_OK) {
        rc =
            tb_onnx_write_file(path, model->graph,
                               apart != 0 ? 1 : TB_ONNX_INLINE_MAX, NULL, &err);
    }
    return tb_api_status(rc, &err, error);
}

tributary_status tributary_model_write(const tributary_model *model,
                                       void **bytes, size_t *n_bytes,
                                       tributary_error *error)
{
    tb_err err = {0};
    tb_buf buf;
    tb_buf_init(&buf, MODEL_BYTES_MAX);
    tb_rc rc = tb_api_need(model, "model_write", "model", &err);
    if (rc == TB_OK) {
        rc = tb_api_need(bytes, "model_write", "bytes", &err);
    }
    if (rc == TB_OK) {
        *bytes = NULL;
        rc = tb_api_need(n_bytes, "model_write", "n_bytes", &err);
    }
    if (rc == TB_OK) {
        rc = tb_onnx_write(&buf, model->graph, &err);
    }
    if (rc == TB_OK) {
        *bytes = buf.data; /* the caller's from here */
        *n_bytes = buf.len;
        buf = (tb_buf){0};
    }
    tb_buf_release(&buf);
    return tb_api_status(rc, &err, error);
}

void tributary_free(void *bytes)
{
    tb_mem_free(bytes);
}

/* --- values --------------------------------------------------------------- */

/* Slots of parameters or statistics; empty for other kinds. */
static tb_rc slots_of(tb_slots *out, const tb_graph *graph, tributary_kind kind,
                      tb_err *err)
{
    *out = (tb_slots){0};
    if (kind == TRIBUTARY_PARAMETER) {
        return tb_params_slots(out, graph, err);
    }
    return kind == TRIBUTARY_STATISTIC ? tb_buffers_slots(out, graph, err)
                                       : TB_OK;
}

size_t tributary_model_count(const tributary_model *model, tributary_kind kind)
{
    tb_slots slots;
    size_t n = 0;
    if (model == NULL) {
        return 0;
    }
    if (kind == TRIBUTARY_INPUT) {
        return model->graph->n_inputs;
    }
    if (kind == TRIBUTARY_OUTPUT) {
        return model->graph->n_outputs;
    }
    if (slots_of(&slots, model->graph, kind, NULL) == TB_OK) {
        n = slots.n;
        tb_slots_release(&slots);
    }
    return n;
}

static void put_dims(tributary_value *out, const tb_dims *dims)
{
    out->rank = dims->rank > 0 ? (size_t)dims->rank : 0;
    for (size_t k = 0; k < out->rank; k++) {
        out->dim[k] = dims->dim[k];
    }
}

static tb_rc end_at(tributary_value *out, const tb_graph *graph, bool output,
                    size_t i, tb_err *err)
{
    tb_value_type *types = NULL;
    size_t n = output ? graph->n_outputs : graph->n_inputs;
    if (i >= n) {
        return tb_fail(err, TB_E_NOT_FOUND, "%s %zu of %zu",
                       output ? "output" : "input", i, n);
    }
    const tb_value *value =
        graph->values[output ? graph->outputs[i] : graph->inputs[i]];
    *out = (tributary_value){.name = value->name,
                             .type = (tributary_type)value->dtype};
    put_dims(out, &value->dims);
    if (!output) {
        return TB_OK;
    }
    tb_rc rc = tb_bind_types(&types, graph, err);
    if (rc == TB_OK) {
        out->type = (tributary_type)types[graph->outputs[i]].dtype;
        put_dims(out, &types[graph->outputs[i]].dims);
    }
    tb_mem_free(types);
    return rc;
}

static tb_rc slot_at(tributary_value *out, const tb_graph *graph,
                     tributary_kind kind, size_t i, tb_err *err)
{
    tb_slots slots;
    tb_rc rc = slots_of(&slots, graph, kind, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (i < slots.n) {
        const tb_slot *slot = &slots.slot[i];
        *out = (tributary_value){.name = slot->name,
                                 .type = TRIBUTARY_FLOAT,
                                 .rank = slot->shape.rank,
                                 .offset = slot->offset,
                                 .n = slot->n};
        for (size_t k = 0; k < slot->shape.rank; k++) {
            out->dim[k] = (int64_t)slot->shape.dim[k];
        }
    } else {
        rc = tb_fail(err, TB_E_NOT_FOUND, "%s %zu of %zu",
                     kind == TRIBUTARY_PARAMETER ? "parameter" : "statistic", i,
                     slots.n);
    }
    tb_slots_release(&slots);
    return rc;
}

tributary_status tributary_model_value(const tributary_model *model,
                                       tributary_kind kind, size_t i,
                                       tributary_value *out,
                                       tributary_error *error)
{
    tb_err err = {0};
    tributary_value value = {0};
    tb_rc rc = tb_api_need(model, "model_value", "model", &err);
    if (rc == TB_OK) {
        rc = tb_api_need(out, "model_value", "out", &err);
    }
    if (rc == TB_OK) {
        bool end = kind == TRIBUTARY_INPUT || kind == TRIBUTARY_OUTPUT;
        rc = end ? end_at(&value, model->graph, kind == TRIBUTARY_OUTPUT, i,
                          &err)
                 : slot_at(&value, model->graph, kind, i, &err);
    }
    if (rc == TB_OK) {
        *out = value;
    }
    return tb_api_status(rc, &err, error);
}

/* --- vectors -------------------------------------------------------------- */

static tb_rc need_vector(tributary_kind kind, tb_err *err)
{
    return kind == TRIBUTARY_PARAMETER || kind == TRIBUTARY_STATISTIC
               ? TB_OK
               : tb_fail(err, TB_E_USAGE,
                         "only parameters and statistics lie in a vector");
}

size_t tributary_model_n_floats(const tributary_model *model,
                                tributary_kind kind)
{
    if (model == NULL || need_vector(kind, NULL) != TB_OK) {
        return 0;
    }
    return kind == TRIBUTARY_PARAMETER ? tb_params_count(model->graph)
                                       : tb_buffers_count(model->graph);
}

tributary_status tributary_model_get(const tributary_model *model,
                                     tributary_kind kind, float *to, size_t n,
                                     tributary_error *error)
{
    tb_err err = {0};
    tb_rc rc = tb_api_need(model, "model_get", "model", &err);
    if (rc == TB_OK && n > 0) {
        rc = tb_api_need(to, "model_get", "memory", &err);
    }
    if (rc == TB_OK) {
        rc = need_vector(kind, &err);
    }
    if (rc == TB_OK) {
        rc = kind == TRIBUTARY_PARAMETER
                 ? tb_params_get(model->graph, to, n, &err)
                 : tb_buffers_get(model->graph, to, n, &err);
    }
    return tb_api_status(rc, &err, error);
}

tributary_status tributary_model_set(tributary_model *model,
                                     tributary_kind kind, const float *from,
                                     size_t n, tributary_error *error)
{
    tb_err err = {0};
    tb_rc rc = tb_api_need(model, "model_set", "model", &err);
    if (rc == TB_OK && n > 0) {
        rc = tb_api_need(from, "model_set", "memory", &err);
    }
    if (rc == TB_OK) {
        rc = need_vector(kind, &err);
    }
    if (rc == TB_OK) {
        rc = kind == TRIBUTARY_PARAMETER
                 ? tb_params_set(model->graph, from, n, &err)
                 : tb_buffers_set(model->graph, from, n, &err);
    }
    return tb_api_status(rc, &err, error);
}

tributary_status tributary_model_freeze(tributary_model *model,
                                        const char *const *names, size_t n,
                                        tributary_error *error)
{
    tb_err err = {0};
    const tb_params_rule rule = {.freeze = names, .n_freeze = n};
    tb_rc rc = tb_api_need(model, "model_freeze", "model", &err);
    if (rc == TB_OK && n > 0) {
        rc = tb_api_need(names, "model_freeze", "names", &err);
    }
    if (rc == TB_OK) {
        rc = tb_params_assign(model->graph, &rule, &err);
    }
    return tb_api_status(rc, &err, error);
}
