#include "model/params.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/roles.h"

/* --- roles ---------------------------------------------------------------- */

/* A name in the job that is no initialiser: proposes the nearest. */
static tb_rc unknown_name(const tb_graph *graph, const char *name, tb_err *err)
{
    const char *nearest = NULL;
    const char **names = tb_mem_array(graph->n_values, sizeof *names);
    size_t n = 0;
    for (size_t i = 0; names != NULL && i < graph->n_values; i++) {
        if (graph->values[i] != NULL && graph->values[i]->data.data != NULL) {
            names[n++] = graph->values[i]->name;
        }
    }
    if (n > 0) {
        nearest = tb_text_nearest(name, names, n);
    }
    tb_rc rc = tb_fail(
        err, TB_E_NOT_FOUND, "the model has no initialiser \"%s\"%s%s%s", name,
        nearest != NULL ? "; did you mean \"" : "",
        nearest != NULL ? nearest : "", nearest != NULL ? "\"?" : "");
    tb_mem_free(names);
    return rc;
}

/* Whether initialiser i fits a pattern, or has just that name. */
static bool fits(const tb_graph *graph, size_t i, const char *pattern)
{
    const tb_value *value = graph->values[i];
    return value != NULL && value->data.data != NULL &&
           (strcmp(pattern, value->name) == 0 ||
            tb_text_fits(pattern, value->name));
}

/* Whether every pattern fits something that may get that role. */
static tb_rc check_names(const tb_graph *graph, const char *const *names,
                         size_t n, bool train, tb_err *err)
{
    for (size_t k = 0; k < n; k++) {
        const tb_value *wrong = NULL;
        bool found = false;
        for (size_t i = 0; i < graph->n_values; i++) {
            if (fits(graph, i, names[k])) {
                bool good = !train || graph->values[i]->dtype == TB_F32;
                found = found || good;
                wrong = good ? wrong : graph->values[i];
            }
        }
        if (!found && wrong != NULL) {
            return tb_fail(err, TB_E_MISMATCH,
                           "\"%s\" is %s; only f32 can be trained", wrong->name,
                           tb_dtype_name(wrong->dtype));
        }
        if (!found) {
            return unknown_name(graph, names[k], err);
        }
    }
    return TB_OK;
}

static void set_roles(tb_graph *graph, const char *const *names, size_t n,
                      tb_role role)
{
    for (size_t i = 0; n > 0 && i < graph->n_values; i++) {
        for (size_t k = 0; k < n; k++) {
            if (fits(graph, i, names[k]) &&
                (role != TB_ROLE_PARAM || graph->values[i]->dtype == TB_F32)) {
                graph->values[i]->role = role;
            }
        }
    }
}

tb_rc tb_params_assign(tb_graph *graph, const tb_params_rule *rule, tb_err *err)
{
    const tb_params_rule none = {0};
    const tb_params_rule *r = rule != NULL ? rule : &none;
    tb_rc rc = check_names(graph, r->freeze, r->n_freeze, false, err);
    if (rc == TB_OK) {
        rc = check_names(graph, r->train, r->n_train, true, err);
    }
    if (rc == TB_OK) {
        rc = tb_roles_assign(graph, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    set_roles(graph, r->train, r->n_train, TB_ROLE_PARAM);
    set_roles(graph, r->freeze, r->n_freeze, TB_ROLE_CONST);
    return TB_OK;
}

/* --- the vectors ---------------------------------------------------------- */

static const tb_value *value_at(const tb_graph *graph, size_t i, tb_role role)
{
    const tb_value *value = graph->values[i];
    return value != NULL && value->role == role ? value : NULL;
}

static tb_rc list_slots(tb_slots *out, const tb_graph *graph, tb_role role,
                        tb_err *err)
{
    *out = (tb_slots){0};
    size_t n = 0;
    for (size_t i = 0; i < graph->n_values; i++) {
        n += value_at(graph, i, role) != NULL;
    }
    tb_slot *slots = tb_mem_array(n, sizeof *slots);
    if (slots == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu parameters", n);
    }
    for (size_t i = 0; i < graph->n_values; i++) {
        const tb_value *value = value_at(graph, i, role);
        if (value != NULL) {
            size_t floats = tb_tensor_count(&value->data);
            slots[out->n++] = (tb_slot){.name = value->name,
                                        .value = (tb_value_id)i,
                                        .shape = value->data.shape,
                                        .offset = out->n_floats,
                                        .n = floats};
            out->n_floats += floats;
        }
    }
    out->slot = slots;
    return TB_OK;
}

void tb_slots_release(tb_slots *slots)
{
    tb_mem_free(slots->slot);
    *slots = (tb_slots){0};
}

static size_t count(const tb_graph *graph, tb_role role)
{
    size_t n = 0;
    for (size_t i = 0; i < graph->n_values; i++) {
        const tb_value *value = value_at(graph, i, role);
        n += value != NULL ? tb_tensor_count(&value->data) : 0;
    }
    return n;
}

static tb_rc check_length(const tb_graph *graph, tb_role role, size_t n,
                          tb_err *err)
{
    size_t want = count(graph, role);
    return n == want ? TB_OK
                     : tb_fail(err, TB_E_MISMATCH,
                               "%zu numbers for a model of %zu %s", n, want,
                               role == TB_ROLE_PARAM ? "parameters"
                                                     : "running statistics");
}

/* Copies all values of a role out of the graph, or (from != NULL) into it. */
static tb_rc copy_all(const tb_graph *graph, tb_role role, float *out,
                      const float *from, size_t n, tb_err *err)
{
    tb_rc rc = check_length(graph, role, n, err);
    size_t at = 0;
    for (size_t i = 0; rc == TB_OK && i < graph->n_values; i++) {
        const tb_value *value = value_at(graph, i, role);
        if (value == NULL) {
            continue;
        }
        size_t floats = tb_tensor_count(&value->data);
        if (from != NULL) {
            memcpy(value->data.data, from + at, floats * sizeof *from);
        } else {
            memcpy(out + at, value->data.data, floats * sizeof *out);
        }
        at += floats;
    }
    return rc;
}

tb_rc tb_params_slots(tb_slots *out, const tb_graph *graph, tb_err *err)
{
    return list_slots(out, graph, TB_ROLE_PARAM, err);
}

size_t tb_params_count(const tb_graph *graph)
{
    return count(graph, TB_ROLE_PARAM);
}

tb_rc tb_params_get(const tb_graph *graph, float *out, size_t n, tb_err *err)
{
    return copy_all(graph, TB_ROLE_PARAM, out, NULL, n, err);
}

tb_rc tb_params_set(tb_graph *graph, const float *from, size_t n, tb_err *err)
{
    return copy_all(graph, TB_ROLE_PARAM, NULL, from, n, err);
}

tb_rc tb_params_mask(tb_graph *graph, const uint8_t *keep, size_t n,
                     tb_err *err)
{
    tb_rc rc = check_length(graph, TB_ROLE_PARAM, n, err);
    size_t at = 0;
    for (size_t i = 0; rc == TB_OK && i < graph->n_values; i++) {
        const tb_value *value = value_at(graph, i, TB_ROLE_PARAM);
        float *data = value != NULL ? value->data.data : NULL;
        size_t floats = value != NULL ? tb_tensor_count(&value->data) : 0;
        for (size_t k = 0; k < floats; k++, at++) {
            data[k] = keep[at] != 0 ? data[k] : 0.0F;
        }
    }
    return rc;
}

tb_rc tb_buffers_slots(tb_slots *out, const tb_graph *graph, tb_err *err)
{
    return list_slots(out, graph, TB_ROLE_BUFFER, err);
}

size_t tb_buffers_count(const tb_graph *graph)
{
    return count(graph, TB_ROLE_BUFFER);
}

tb_rc tb_buffers_get(const tb_graph *graph, float *out, size_t n, tb_err *err)
{
    return copy_all(graph, TB_ROLE_BUFFER, out, NULL, n, err);
}

tb_rc tb_buffers_set(tb_graph *graph, const float *from, size_t n, tb_err *err)
{
    return copy_all(graph, TB_ROLE_BUFFER, NULL, from, n, err);
}
