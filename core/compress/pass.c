#include "compress/pass.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "compress/pass_priv.h"

const tb_pass *const tb_pass_list[] = {&tb_pass_unstructured,
                                       &tb_pass_structured, &tb_pass_int8,
                                       &tb_pass_pow2, NULL};

#define N_PASSES (sizeof tb_pass_list / sizeof *tb_pass_list - 1)

tb_rc tb_pass_find(const tb_pass **out, const char *name, tb_err *err)
{
    const char *names[N_PASSES];
    *out = NULL;
    for (size_t i = 0; i < N_PASSES; i++) {
        names[i] = tb_pass_list[i]->name;
        if (strcmp(name, names[i]) == 0) {
            *out = tb_pass_list[i];
            return TB_OK;
        }
    }
    const char *near = tb_text_nearest(name, names, N_PASSES);
    return tb_fail(err, TB_E_USAGE,
                   "no compression pass \"%.64s\"; there are unstructured, "
                   "structured, int8, pow2%s%s%s",
                   name, near != NULL ? " (did you mean " : "",
                   near != NULL ? near : "", near != NULL ? "?)" : "");
}

tb_rc tb_pass_run(tb_graph **out, const tb_pass *pass, const tb_graph *graph,
                  const tb_pass_options *options, tb_err *err)
{
    *out = NULL;
    if (pass->needs_ranges && options->ranges == NULL) {
        return tb_fail(err, TB_E_USAGE, "%s: needs calibrated ranges",
                       pass->name);
    }
    tb_rc rc = pass->run(out, graph, options, err);
    return rc == TB_OK ? rc : tb_err_prefix(err, rc, "%s", pass->name);
}

tb_rc tb_pass_add_data(tb_graph *graph, tb_value_id *out, const char *name,
                       const char *suffix, const tb_tensor *data, tb_err *err)
{
    size_t size = strlen(name) + strlen(suffix) + 2;
    char *hint = tb_mem_array(size, 1);
    char *fresh = NULL;
    if (hint != NULL) {
        (void)snprintf(hint, size, "%s_%s", name, suffix);
        fresh = tb_graph_fresh_name(graph, hint);
    }
    tb_rc rc = fresh == NULL ? tb_fail(err, TB_E_NOMEM, "%s", name)
                             : tb_graph_add_data(graph, out, fresh,
                                                 TB_ROLE_CONST, data, err);
    tb_mem_free(hint);
    tb_mem_free(fresh);
    return rc;
}

tb_rc tb_pass_unpack(tb_graph *graph, tb_value_id *out, const tb_packed *packed,
                     tb_err *err)
{
    tb_value_id in[3] = {TB_ID_NONE, TB_ID_NONE, TB_ID_NONE};
    tb_tensor zero = {0};
    const tb_attr axis = TB_ATTR_I("axis", (int64_t)packed->axis);
    bool sliced = tb_tensor_count(&packed->scale) > 1;
    tb_rc rc = tb_pass_add_data(graph, &in[0], packed->name, "quantized",
                                &packed->data, err);
    if (rc == TB_OK) {
        rc = tb_pass_add_data(graph, &in[1], packed->name, "scale",
                              &packed->scale, err);
    }
    if (rc == TB_OK && packed->with_zero) {
        rc = tb_tensor_init(&zero, packed->data.dtype, &packed->scale.shape,
                            err);
        if (rc == TB_OK) {
            rc = tb_pass_add_data(graph, &in[2], packed->name, "zero_point",
                                  &zero, err);
        }
    }
    if (rc == TB_OK) {
        rc = tb_graph_apply(graph, out,
                            &(tb_node_spec){.op = "DequantizeLinear",
                                            .attrs = &axis,
                                            .n_attrs = sliced ? 1 : 0,
                                            .in = in,
                                            .n_in = packed->with_zero ? 3 : 2},
                            err);
    }
    tb_tensor_release(&zero);
    return rc;
}
