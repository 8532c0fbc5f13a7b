#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "data/formats.h"
#include "support/check.h"

static const char *const flowers[] = {"setosa", "versicolor", "virginica"};
static const tb_read_options by_class = {.classes = flowers, .n_classes = 3};
static const tb_read_options by_either = {
    .classes = flowers, .n_classes = 3, .or_numbers = true};
static const tb_read_options by_value = {.target = TB_TARGET_VALUE};
static const tb_read_options plain = {0};

static const char iris[] = "length,width,species\n"
                           "5.1,3.5,setosa\n"
                           "7,3.2,versicolor\n"
                           "6.3,-0.25,virginica\n";

static tb_rc decode(tb_dataset **out, const char *text,
                    const tb_read_options *options, tb_err *err)
{
    return tb_csv_decode(out, "t.csv", text, strlen(text), options, err);
}

static void labels_become_indexes_of_the_class_list(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    CHECK_OK(decode(&ds, iris, &by_class, &err), err);
    static const float x[] = {5.1F, 3.5F, 7.0F, 3.2F, 6.3F, -0.25F};
    static const int32_t y[] = {0, 1, 2};
    assert_int_equal(tb_dataset_rows(ds), 3);
    assert_int_equal(tb_dataset_spec(ds)->n_classes, 3);
    assert_memory_equal(tb_dataset_x(ds), x, sizeof x);
    assert_memory_equal(tb_dataset_y(ds), y, sizeof y);
    assert_string_equal(tb_dataset_columns(ds)[1], "width");
    tb_dataset_free(&ds);
    CHECK_OK(decode(&ds, "a,b\n1,0\n1,1\n1,virginica\n", &by_either, &err),
             err);
    assert_memory_equal(tb_dataset_y(ds), y, sizeof y);
    tb_dataset_free(&ds);
    assert_int_equal(tb_mem_live(), 0);
}

static void an_unlabelled_table_is_all_features(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    static const char *const one[] = {"width"};
    tb_read_options o = {.unlabelled = true};
    static const float x[] = {5.1F, 3.5F, 7.0F, 3.2F};
    CHECK_OK(decode(&ds, "length,width\n5.1,3.5\n7,3.2\n", &o, &err), err);
    assert_int_equal(tb_dataset_rows(ds), 2);
    assert_int_equal(tb_dataset_spec(ds)->target, TB_TARGET_VALUE);
    assert_memory_equal(tb_dataset_x(ds), x, sizeof x);
    tb_dataset_free(&ds);
    o.columns = one; /* or those that are named: text is skipped then */
    o.n_columns = 1;
    CHECK_OK(decode(&ds, iris, &o, &err), err);
    assert_memory_equal(tb_dataset_x(ds), &x[1], sizeof x[1]);
    tb_dataset_free(&ds);
    o.label = "species";
    CHECK_ERR(decode(&ds, iris, &o, &err), TB_E_USAGE, err, "species");
    assert_int_equal(tb_mem_live(), 0);
}

static void columns_are_chosen_and_ordered_by_name(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    static const char *const columns[] = {"c", "a"};
    const tb_read_options o = {.columns = columns,
                               .n_columns = 2,
                               .label = "b",
                               .target = TB_TARGET_VALUE};
    CHECK_OK(decode(&ds, "a,b,c,note\n1,2,3,x\n4,5,6,\"y, z\"\n", &o, &err),
             err);
    static const float x[] = {3, 1, 6, 4};
    static const float y[] = {2, 5};
    assert_memory_equal(tb_dataset_x(ds), x, sizeof x);
    assert_memory_equal(tb_dataset_y(ds), y, sizeof y);
    assert_string_equal(tb_dataset_columns(ds)[0], "c");
    tb_dataset_free(&ds);
}

static void every_way_to_write_the_same_table_is_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "a,b\n1,2\n",
        "a,b\r\n1,2\r\n",
        "a,b\n1,2",
        ("\xef\xbb\xbf"
         "a,b\n1,2\n"),
        "\n  \na , \"b\"\n\n\t1 , \"2\" \n\n",
        "a,b\n1.0,+2\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tb_err err;
        tb_dataset *ds = NULL;
        CHECK_OK(decode(&ds, texts[i], &by_value, &err), err);
        assert_int_equal(tb_dataset_rows(ds), 1);
        assert_string_equal(tb_dataset_columns(ds)[0], "a");
        CHECK(*(const float *)tb_dataset_x(ds) == 1.0F);
        CHECK(*(const float *)tb_dataset_y(ds) == 2.0F);
        tb_dataset_free(&ds);
    }
}

static void a_quoted_field_may_hold_commas_and_quotes(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    static const char *const names[] = {"a, \"b\"", "c"};
    const tb_read_options o = {.classes = names, .n_classes = 2};
    CHECK_OK(decode(&ds, "x,y\n1,\"a, \"\"b\"\"\"\n2,c\n", &o, &err), err);
    assert_int_equal(tb_dataset_label(ds, 0), 0);
    assert_int_equal(tb_dataset_label(ds, 1), 1);
    tb_dataset_free(&ds);
}

static void without_a_class_list_labels_are_numbers(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    CHECK_OK(decode(&ds, "x,y\n1,0\n2,4\n", &plain, &err), err);
    assert_int_equal(tb_dataset_spec(ds)->n_classes, 5);
    assert_int_equal(tb_dataset_label(ds, 1), 4);
    tb_dataset_free(&ds);
}

static void what_is_wrong_is_said_with_line_and_column(void **state)
{
    (void)state;
    static const char *const unknown[] = {"lenght"};
    static const char *const twice[] = {"length", "length"};
    static const char *const label[] = {"species"};
    const tb_read_options o_unknown = {.columns = unknown, .n_columns = 1};
    const tb_read_options o_twice = {.columns = twice, .n_columns = 2};
    const tb_read_options o_label = {.columns = label, .n_columns = 1};
    const tb_read_options o_target = {.label = "specie"};
    const struct {
        const char *text;
        const tb_read_options *options;
        tb_rc rc;
        const char *says;
    } rows[] = {
        {"a,b\n1,setose\n", &by_class, TB_E_MALFORMED,
         "t.csv:2:3: column \"b\": \"setose\" is not in the list of 3 classes; "
         "did you mean \"setosa\"?"},
        {"a,b\n1,rose\n", &by_class, TB_E_MALFORMED, "\"rose\" is not in"},
        {"a,b\n1,1\n", &by_class, TB_E_MALFORMED, "\"1\" is not in"},
        {"a,b\n1,3\n", &by_either, TB_E_MALFORMED, "\"3\" is not in"},
        {"a,b\n1,1.5\n", &plain, TB_E_MALFORMED, "no class index"},
        {"a,b\n1,-1\n", &plain, TB_E_MALFORMED, "no class index"},
        {"a,b\n1,9999999\n", &plain, TB_E_MALFORMED, "no class index"},
        {"a,b\n1,2\nnan,2\n", &plain, TB_E_MALFORMED,
         "t.csv:3:1: column \"a\": \"nan\" is not a finite number"},
        {"a,b\ninf,2\n", &plain, TB_E_MALFORMED, "not a finite number"},
        {"a,b\n-Infinity,2\n", &plain, TB_E_MALFORMED, "not a finite number"},
        {"a,b\n,2\n", &plain, TB_E_MALFORMED,
         "t.csv:2:1: column \"a\": is "
         "empty"},
        {"a,b\n1e39,2\n", &plain, TB_E_LIMIT, "1e39 does not fit a float32"},
        {"a,b\n1 2,2\n", &plain, TB_E_MALFORMED, "\"1 2\" is not"},
        {"a,b\n1;2,2\n", &plain, TB_E_MALFORMED, "\"1;2\" is not"},
        {"a,b\n1,2,3\n", &plain, TB_E_MALFORMED, "3 fields, the first line"},
        {"a,b,c\n1,2\n4,5,6\n", &plain, TB_E_MALFORMED,
         "t.csv:2:3: 2 fields, the first line names 3"},
        {"a,b,c\n1\n1\n1\n", &plain, TB_E_MALFORMED, "missing or too short"},
        {"a,b\n", &plain, TB_E_MALFORMED, "0 rows"},
        {"a,b", &plain, TB_E_MALFORMED, "0 rows"},
        {"", &plain, TB_E_MALFORMED, "is empty"},
        {"\n\n \n", &plain, TB_E_MALFORMED, "is empty"},
        {"a;b\n1;2\n", &plain, TB_E_MALFORMED, "separated by commas"},
        {"a,,c\n1,2,3\n", &plain, TB_E_MALFORMED, "t.csv:1:3: a column has no"},
        {"a,a,b\n1,2,3\n", &plain, TB_E_MALFORMED, "\"a\" stands there twice"},
        {"a,b\n1,\"2\n", &plain, TB_E_MALFORMED, "t.csv:2:3: a quote is not"},
        {"a,b\n1,\"2\"x\n", &plain, TB_E_MALFORMED, "follows a closing quote"},
        {iris, &o_unknown, TB_E_USAGE, "did you mean \"length\"?"},
        {iris, &o_twice, TB_E_USAGE, "asked for twice"},
        {iris, &o_label, TB_E_USAGE, "or is the label"},
        {iris, &o_target, TB_E_USAGE, "did you mean \"species\"?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tb_err err;
        tb_dataset *ds = NULL;
        CHECK_ERR(decode(&ds, rows[i].text, rows[i].options, &err), rows[i].rc,
                  err, rows[i].says);
        CHECK(ds == NULL);
    }
    assert_int_equal(tb_mem_live(), 0);
}

static void a_text_with_nul_bytes_is_refused(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    CHECK_ERR(tb_csv_decode(&ds, "t.csv", "a\0,b\n", 5, &plain, &err),
              TB_E_MALFORMED, err, "UTF-8");
}

static void long_fields_are_skipped_but_not_used(void **state)
{
    (void)state;
    tb_err err;
    tb_dataset *ds = NULL;
    char text[2048];
    char wide[1001];
    memset(wide, '1', 1000);
    wide[1000] = '\0';
    static const char *const columns[] = {"a"};
    const tb_read_options o = {.columns = columns,
                               .n_columns = 1,
                               .label = "b",
                               .target = TB_TARGET_VALUE};
    (void)snprintf(text, sizeof text, "a,note,b\n1,%s,2\n", wide);
    CHECK_OK(decode(&ds, text, &o, &err), err);
    tb_dataset_free(&ds);
    CHECK_ERR(decode(&ds, text, &by_value, &err), TB_E_MALFORMED, err,
              "too long for a number");
}

/* No prefix crashes; one that is accepted has fewer rows or a shorter last
 * field, never more. */
static void every_truncation_is_refused_or_shorter(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof iris - 2; n++) {
        tb_dataset *ds = NULL;
        if (tb_csv_decode(&ds, "t", iris, n, &by_class, NULL) == TB_OK) {
            CHECK(tb_dataset_rows(ds) < 3);
        }
        tb_dataset_free(&ds);
    }
    assert_int_equal(tb_mem_live(), 0);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    tb_dataset *ds = NULL;
    tb_rc rc = decode(&ds, arg, &by_class, err);
    tb_dataset_free(&ds);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    char text[sizeof iris];
    memcpy(text, iris, sizeof iris);
    CHECK(tb_check_each_allocation(attempt, text) == 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_become_indexes_of_the_class_list),
        cmocka_unit_test(an_unlabelled_table_is_all_features),
        cmocka_unit_test(columns_are_chosen_and_ordered_by_name),
        cmocka_unit_test(every_way_to_write_the_same_table_is_read),
        cmocka_unit_test(a_quoted_field_may_hold_commas_and_quotes),
        cmocka_unit_test(without_a_class_list_labels_are_numbers),
        cmocka_unit_test(what_is_wrong_is_said_with_line_and_column),
        cmocka_unit_test(a_text_with_nul_bytes_is_refused),
        cmocka_unit_test(long_fields_are_skipped_but_not_used),
        cmocka_unit_test(every_truncation_is_refused_or_shorter),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
