#include "wire/manifest.h"

#include "base/file.h"
#include "base/mem.h"
#include "samples.h"

static tb_class_name classes[TB_CLASSES_MAX];
static tb_manifest manifest;

static tb_buf encoded(void)
{
    tb_buf buf;
    tb_err err = {0};
    sample_manifest(&manifest, classes);
    tb_buf_init(&buf, TB_MANIFEST_BYTES_MAX);
    CHECK_OK(tb_manifest_encode(&manifest, &buf, &err), err);
    return buf;
}

static void a_manifest_comes_back(void **state)
{
    tb_manifest back;
    tb_buf again;
    tb_err err = {0};
    (void)state;
    tb_buf buf = encoded();
    CHECK_OK(tb_manifest_decode(&back, buf.data, buf.len, &err), err);
    assert_string_equal(back.name.text, "fashion");
    assert_string_equal(back.output.classes[1].text, "\xc3\x89t\xc3\xa9");
    CHECK(back.metrics.loss == 0.375F && back.input.dims[1] == 28);
    CHECK(back.standard == TB_ARTEFACT_INT8 && back.served);
    assert_memory_equal(back.artefacts, manifest.artefacts,
                        sizeof back.artefacts);
    CHECK(tb_manifest_artefact(&back, TB_ARTEFACT_INT8)->raw_bytes == 700001);
    assert_null(tb_manifest_artefact(&back, TB_ARTEFACT_POW2));
    tb_buf_init(&again, TB_MANIFEST_BYTES_MAX);
    CHECK_OK(tb_manifest_encode(&back, &again, &err), err);
    CHECK(again.len == buf.len);
    assert_memory_equal(again.data, buf.data, buf.len);
    tb_manifest_release(&back);
    tb_manifest_release(&back);
    tb_buf_release(&buf);
    tb_buf_release(&again);
    CHECK(tb_mem_live() == 0);
}

static void the_epoch_of_a_restored_coordinator_comes_back(void **state)
{
    tb_manifest back;
    tb_buf buf;
    tb_err err = {0};
    (void)state;
    sample_manifest(&manifest, classes);
    manifest.epoch = 7;
    tb_buf_init(&buf, TB_MANIFEST_BYTES_MAX);
    CHECK_OK(tb_manifest_encode(&manifest, &buf, &err), err);
    CHECK_OK(tb_manifest_decode(&back, buf.data, buf.len, &err), err);
    CHECK(back.epoch == 7 && back.n_artefacts == 2);
    tb_manifest_release(&back);
    tb_buf_release(&buf);
}

static void a_thousand_and_24_class_names_fit(void **state)
{
    tb_manifest back;
    tb_buf buf;
    tb_err err = {0};
    (void)state;
    sample_manifest(&manifest, classes);
    manifest.output.n_values = TB_CLASSES_MAX;
    manifest.output.n_classes = TB_CLASSES_MAX;
    for (uint32_t i = 0; i < TB_CLASSES_MAX; i++) {
        memset(&classes[i], 0, sizeof classes[i]);
        memset(classes[i].text, 'c', 28);
    }
    tb_buf_init(&buf, TB_MANIFEST_BYTES_MAX);
    CHECK_OK(tb_manifest_encode(&manifest, &buf, &err), err);
    CHECK_OK(tb_manifest_decode(&back, buf.data, buf.len, &err), err);
    CHECK(back.output.n_classes == TB_CLASSES_MAX);
    tb_manifest_release(&back);
    buf.len = 0; /* longer names make it too large, and it says so */
    for (uint32_t i = 0; i < TB_CLASSES_MAX; i++) {
        memset(classes[i].text, 'c', 63);
    }
    CHECK_ERR(tb_manifest_encode(&manifest, &buf, &err), TB_E_LIMIT, err,
              "at most 32768");
    tb_buf_release(&buf);
    memset(classes, 0, sizeof classes);
}

static void a_manifest_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    tb_buf buf = encoded();
    for (size_t len = 0; len < buf.len; len++) {
        tb_manifest back;
        CHECK(tb_manifest_decode(&back, buf.data, len, NULL) != TB_OK);
        assert_null(back.output.classes);
    }
    tb_buf_release(&buf);
    CHECK(tb_mem_live() == 0);
}

static void a_flipped_bit_is_refused_or_another_manifest(void **state)
{
    tb_buf again;
    (void)state;
    tb_buf buf = encoded();
    tb_buf_init(&again, TB_MANIFEST_BYTES_MAX);
    for (size_t i = 0; i < buf.len * 8; i++) {
        tb_manifest back;
        buf.data[i / 8] ^= (uint8_t)(1u << (i % 8));
        if (tb_manifest_decode(&back, buf.data, buf.len, NULL) == TB_OK) {
            again.len = 0;
            CHECK(tb_manifest_encode(&back, &again, NULL) == TB_OK);
            CHECK(again.len == buf.len &&
                  memcmp(again.data, buf.data, buf.len) == 0);
        }
        tb_manifest_release(&back);
        buf.data[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    tb_buf_release(&buf);
    tb_buf_release(&again);
    CHECK(tb_mem_live() == 0);
}

static void refuses(tb_rc want, const char *part)
{
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, TB_MANIFEST_BYTES_MAX);
    CHECK_ERR(tb_manifest_encode(&manifest, &buf, &err), want, err, part);
    CHECK(buf.len == 0);
    tb_buf_release(&buf);
    sample_manifest(&manifest, classes);
}

static void each_broken_field_is_named(void **state)
{
    (void)state;
    sample_manifest(&manifest, classes);
    manifest.name.text[0] = '-';
    refuses(TB_E_MALFORMED, "name: not a name");
    manifest.sequence = 0;
    refuses(TB_E_LIMIT, "sequence=0");
    manifest.artefacts[1].accuracy = 1.5F;
    refuses(TB_E_LIMIT, "int8: accuracy or sparsity over 1");
    manifest.artefacts[0].sparsity = 1.5F;
    refuses(TB_E_LIMIT, "fp32: accuracy or sparsity over 1");
    manifest.metrics.n_samples = 0;
    refuses(TB_E_MALFORMED, "fp32: accuracy of no samples");
    manifest.metrics.loss = -0.5F;
    refuses(TB_E_MALFORMED, "loss");
    manifest.input.dtype = TB_INPUT_DTYPE_END;
    refuses(TB_E_UNSUPPORTED, "input of type 8");
    manifest.input.dtype = (tb_input_dtype)3; /* i8: between those we have */
    refuses(TB_E_UNSUPPORTED, "input of type 3");
    manifest.input.rank = 0;
    refuses(TB_E_LIMIT, "0 input dimensions");
    manifest.input.rank = TB_DIMS_MAX + 1;
    refuses(TB_E_LIMIT, "9 input dimensions");
    manifest.input.dims[1] = 0;
    refuses(TB_E_MALFORMED, "dimension 1 is 0");
    manifest.output.n_values = 3;
    refuses(TB_E_MALFORMED, "2 class names for 3 outputs");
    manifest.output.classes[1].text[0] = '\0';
    refuses(TB_E_MALFORMED, "class 1");
    manifest.output.classes[0].text[0] = '\x07';
    refuses(TB_E_MALFORMED, "class 0");
    manifest.standard = TB_ARTEFACT_POW2;
    refuses(TB_E_MALFORMED, "standard artefact is missing");
    manifest.artefacts[1].role = TB_ARTEFACT_FP32;
    refuses(TB_E_MALFORMED, "two artefacts of role fp32");
    manifest.artefacts[1].role = TB_ARTEFACT_ROLE_END;
    refuses(TB_E_UNSUPPORTED, "role 5");
    manifest.artefacts[0].raw_bytes = 0;
    refuses(TB_E_LIMIT, "artefact 0: raw_bytes=0");
    manifest.artefacts[0].stored_bytes = TB_MODEL_BYTES_MAX + 1;
    refuses(TB_E_LIMIT, "artefact 0: stored_bytes=");
    manifest.n_artefacts = 0;
    refuses(TB_E_LIMIT, "0 artefacts");
}

/* One fp32 model, and tensor data beside it. */
static void with_files(void)
{
    sample_manifest(&manifest, classes);
    manifest.n_artefacts = 1;
    manifest.standard = TB_ARTEFACT_FP32;
    manifest.served = false;
    manifest.n_files = 2;
    for (uint32_t i = 0; i < 2; i++) {
        manifest.files[i] = (tb_model_file){.raw = tb_hash_of(&i, sizeof i),
                                            .raw_bytes = (5ull << 30) + i,
                                            .stored = tb_hash_of("stored", 6),
                                            .stored_bytes = 3ull << 30};
        CHECK(tb_name_set(&manifest.files[i].name,
                          i == 0 ? "model.onnx.data" : "more_data"));
    }
}

static void refuses_files(tb_rc want, const char *part)
{
    refuses(want, part);
    with_files();
}

static void files_beside_the_model_come_back(void **state)
{
    tb_manifest back;
    tb_buf buf;
    tb_err err = {0};
    (void)state;
    with_files();
    tb_buf_init(&buf, TB_MANIFEST_BYTES_MAX);
    CHECK_OK(tb_manifest_encode(&manifest, &buf, &err), err);
    CHECK_OK(tb_manifest_decode(&back, buf.data, buf.len, &err), err);
    CHECK(back.n_files == 2);
    assert_string_equal(back.files[1].name.text, "more_data");
    CHECK(back.files[1].raw_bytes == (5ull << 30) + 1);
    CHECK(tb_hash_equal(&back.files[1].raw, &manifest.files[1].raw));
    for (size_t n = 0; n < buf.len; n++) {
        tb_manifest cut;
        if (tb_manifest_decode(&cut, buf.data, n, &err) == TB_OK) {
            CHECK(cut.n_files < 2); /* cut between two: the signature tells */
            tb_manifest_release(&cut);
        }
    }
    tb_manifest_release(&back);
    tb_buf_release(&buf);
}

static void files_must_fit_a_client_s_folder(void **state)
{
    static const char *const names[] = {"manifest", "fp32.onnx", "x.part",
                                        "more_data"};
    (void)state;
    with_files();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK(tb_name_set(&manifest.files[0].name, names[i]));
        refuses_files(TB_E_MALFORMED, i < 3 ? "file 0" : "file 1");
    }
    memcpy(manifest.files[0].name.text, "../x", 5);
    refuses_files(TB_E_MALFORMED, "file 0: name");
    manifest.files[1].raw_bytes = TB_FILE_BYTES_MAX + 1;
    refuses_files(TB_E_LIMIT, "file 1: raw_bytes=");
    manifest.n_files = TB_FILES_MAX + 1;
    refuses_files(TB_E_LIMIT, "9 files");
    manifest.artefacts[0].role = TB_ARTEFACT_INT8;
    manifest.standard = TB_ARTEFACT_INT8;
    refuses_files(TB_E_MALFORMED, "no fp32 model beside them");
    sample_manifest(&manifest, classes);
}

static void files_are_those_of_the_fp32_form_alone(void **state)
{
    tb_manifest back;
    tb_buf buf;
    tb_err err = {0};
    (void)state;
    with_files();
    manifest.served = true;
    manifest.n_artefacts = 2;
    manifest.standard = TB_ARTEFACT_INT8;
    manifest.artefacts[1] = manifest.artefacts[0];
    manifest.artefacts[1].role = TB_ARTEFACT_INT8;
    tb_buf_init(&buf, TB_MANIFEST_BYTES_MAX);
    CHECK_OK(tb_manifest_encode(&manifest, &buf, &err), err);
    CHECK_OK(tb_manifest_decode(&back, buf.data, buf.len, &err), err);
    CHECK(tb_manifest_n_files(&back, &back.artefacts[0]) == 2);
    CHECK(tb_manifest_n_files(&back, &back.artefacts[1]) == 0);
    tb_manifest_release(&back);
    tb_buf_release(&buf);
    sample_manifest(&manifest, classes);
}

static void an_unknown_way_to_store_a_blob_is_refused(void **state)
{
    tb_manifest back;
    tb_err err = {0};
    (void)state;
    tb_buf buf = encoded();
    /* Behind the last artefact's codec, 30 01, are two floats of 5 bytes. */
    uint8_t *codec = buf.data + buf.len - 12;
    CHECK(codec[0] == 0x30 && codec[1] == 1 && codec[2] == 0x3d);
    codec[1] = 2;
    CHECK_ERR(tb_manifest_decode(&back, buf.data, buf.len, &err),
              TB_E_UNSUPPORTED, err, "codec 2");
    tb_buf_release(&buf);
}

/* Encodes behind other bytes, and reads that. What fails leaves the buffer as
 * it was, and the manifest empty. */
static tb_rc send_and_read(void *arg, tb_err *err)
{
    static const tb_manifest empty;
    uint8_t first[200];
    tb_manifest back;
    tb_buf buf;
    (void)arg;
    FILL(first, 0x5a);
    memset(&back, 0x5a, sizeof back);
    tb_buf_init(&buf, sizeof first + TB_MANIFEST_BYTES_MAX);
    tb_rc rc = tb_buf_put(&buf, first, sizeof first, err);
    size_t before = buf.len;
    if (rc == TB_OK) {
        rc = tb_manifest_encode(&manifest, &buf, err);
        CHECK(memcmp(buf.data, first, before) == 0);
        CHECK(rc == TB_OK || buf.len == before);
    }
    if (rc == TB_OK) {
        rc =
            tb_manifest_decode(&back, buf.data + before, buf.len - before, err);
        CHECK(rc == TB_OK || memcmp(&back, &empty, sizeof back) == 0);
        tb_manifest_release(&back);
    }
    tb_buf_release(&buf);
    return rc;
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    sample_manifest(&manifest, classes);
    CHECK(tb_check_each_allocation(send_and_read, NULL) > 12);
}

static void a_manifest_encoded_by_the_script_is_read(void **state)
{
    tb_manifest back;
    tb_buf file;
    tb_err err = {0};
    (void)state;
    tb_buf_init(&file, TB_MANIFEST_BYTES_MAX);
    CHECK_OK(tb_file_read(&file, TB_SOURCE_DIR "/tests/corpus/manifest/fashion",
                          &err),
             err);
    CHECK_OK(tb_manifest_decode(&back, file.data, file.len, &err), err);
    CHECK(back.input.rank == 2 && back.input.dims[0] == 28);
    CHECK(back.sequence == 3 && back.metrics.loss == 0.375F);
    CHECK(back.artefacts[1].role == TB_ARTEFACT_INT8);
    tb_manifest_release(&back);
    tb_buf_release(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_comes_back),
        cmocka_unit_test(the_epoch_of_a_restored_coordinator_comes_back),
        cmocka_unit_test(a_thousand_and_24_class_names_fit),
        cmocka_unit_test(a_manifest_cut_at_any_byte_is_refused),
        cmocka_unit_test(a_flipped_bit_is_refused_or_another_manifest),
        cmocka_unit_test(each_broken_field_is_named),
        cmocka_unit_test(files_beside_the_model_come_back),
        cmocka_unit_test(files_must_fit_a_client_s_folder),
        cmocka_unit_test(files_are_those_of_the_fp32_form_alone),
        cmocka_unit_test(an_unknown_way_to_store_a_blob_is_refused),
        cmocka_unit_test(a_manifest_encoded_by_the_script_is_read),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
