/* The files of a model in the coordinator's blobs. */
#include <string.h>

#include "model_blobs.h"
#include "support/check.h"

static void the_fp32_form_of_a_version_is_what_a_run_starts_from(void **state)
{
    tb_manifest m = {.sequence = 7, .n_artefacts = 2, .n_files = 1};
    tb_model_blobs out;
    tb_err err;
    (void)state;
    CHECK(tb_name_set(&m.name, "eyes") &&
          tb_name_set(&m.files[0].name, "eyes.data"));
    m.artefacts[0] = (tb_artefact){.role = TB_ARTEFACT_INT8, .raw_bytes = 1};
    m.artefacts[1] = (tb_artefact){.role = TB_ARTEFACT_FP32, .raw_bytes = 4};
    m.standard = TB_ARTEFACT_INT8;
    CHECK_OK(tb_model_blobs_of(&out, &m, &err), err);
    CHECK(out.onnx.raw_bytes == 4 && out.n_files == 1);
    assert_string_equal(out.files[0].name.text, "eyes.data");
    m.artefacts[1].role = TB_ARTEFACT_POW2;
    CHECK_ERR(tb_model_blobs_of(&out, &m, &err), TB_E_UNSUPPORTED, err,
              "version 7 of eyes has no fp32 form");
    CHECK(strstr(err.text, "start from another version") != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fp32_form_of_a_version_is_what_a_run_starts_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
