#include "host/settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "support/check.h"
#include "support/folder.h"

typedef struct sample {
    bool fresh;
    uint32_t rounds;
    uint64_t seed;
    double lr;
    float scale;
    char label[8];
    char word[8];
    char file[64];
    struct {
        int where;
        char path[64];
    } evaluate;
    tb_name name;
    int publish;
    bool global;
    uint64_t deadline_ms;
    uint64_t bytes;
    tb_text_list classes;
    tb_float_list mean;
} sample;

static const char *const places[] = {"none", "", "clients", NULL};
static const char *const publishes[] = {"best", "last", NULL};
static const char *const scopes[] = {"layer", "global", NULL};
static const char *const words[] = {"sgd", "adam", NULL};

static const tb_setting rows[] = {
    {.key = "fresh",
     .help = "a switch",
     .type = TB_SETTING_BOOL,
     TB_FIELD(sample, fresh)},
    {.key = "rounds",
     .help = "rounds",
     .value = "N",
     .min = 1,
     .max = 1000,
     .type = TB_SETTING_INT,
     .flags = TB_SETTING_REQUIRED,
     .letter = 'r',
     TB_FIELD(sample, rounds)},
    {.key = "seed",
     .help = "seed",
     .preset = "1",
     .type = TB_SETTING_INT,
     TB_FIELD(sample, seed)},
    {.key = "optimiser.lr",
     .help = "learning rate",
     .value = "RATE",
     .preset = "0.1",
     .max = 10,
     .type = TB_SETTING_FLOAT,
     .flags = TB_SETTING_ABOVE_MIN,
     TB_FIELD(sample, lr)},
    {.key = "optimiser.local_scale",
     .help = "factor",
     .preset = "1/255",
     .type = TB_SETTING_FLOAT,
     TB_FIELD(sample, scale)},
    {.key = "label",
     .help = "label",
     .type = TB_SETTING_TEXT,
     TB_FIELD(sample, label)},
    {.key = "word",
     .help = "word",
     .choices = words,
     .preset = "sgd",
     .type = TB_SETTING_TEXT,
     TB_FIELD(sample, word)},
    {.key = "file",
     .help = "file",
     .type = TB_SETTING_PATH,
     .flags = TB_SETTING_LOCAL,
     TB_FIELD(sample, file)},
    {.key = "evaluate",
     .help = "where",
     .preset = "none",
     .choices = places,
     .type = TB_SETTING_PLACE,
     TB_FIELD(sample, evaluate)},
    {.key = "name",
     .help = "name",
     .type = TB_SETTING_NAME,
     TB_FIELD(sample, name)},
    {.key = "publish",
     .help = "which",
     .preset = "last",
     .choices = publishes,
     .type = TB_SETTING_ENUM,
     TB_FIELD(sample, publish)},
    {.key = "scope",
     .help = "scope",
     .preset = "layer",
     .choices = scopes,
     .type = TB_SETTING_ENUM,
     TB_FIELD(sample, global)},
    {.key = "round.deadline",
     .help = "deadline",
     .value = "TIME",
     .preset = "10m",
     .min = 100,
     .type = TB_SETTING_DURATION,
     TB_FIELD(sample, deadline_ms)},
    {.key = "bytes",
     .help = "size",
     .preset = "8MB",
     .type = TB_SETTING_BYTES,
     TB_FIELD(sample, bytes)},
    {.key = "classes",
     .help = "classes",
     .type = TB_SETTING_TEXTS,
     TB_FIELD(sample, classes)},
    {.key = "mean",
     .help = "means",
     .min = -1,
     .max = 1,
     .type = TB_SETTING_FLOATS,
     TB_FIELD(sample, mean)},
};

static const tb_setting_table table = {.env = "TB_TEST_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(sample)};

/* Reads YAML into *v, then finishes it. */
static tb_rc read_yaml(sample *v, const char *text, tb_err *err)
{
    tb_settings s;
    tb_settings_init(&s, &table, v);
    tb_rc rc = tb_settings_read_yaml(&s, text, strlen(text), "a/job.yaml", err);
    return rc == TB_OK ? tb_settings_finish(&s, err) : rc;
}

static void presets_fill_what_is_not_given(void **state)
{
    (void)state;
    sample v;
    tb_err err = {0};
    CHECK_OK(read_yaml(&v, "rounds: 3", &err), err);
    CHECK(v.rounds == 3 && v.seed == 1 && v.lr == 0.1 && !v.fresh);
    CHECK(v.scale == 1.0f / 255.0f);
    CHECK(v.label[0] == '\0' && v.file[0] == '\0' && v.name.text[0] == '\0');
    assert_string_equal(v.word, "sgd");
    CHECK(v.evaluate.where == 0 && v.publish == 1 && !v.global);
    CHECK(v.deadline_ms == 600000 && v.bytes == 8000000);
    CHECK(v.classes.n == 0 && v.mean.n == 0);
    tb_settings_release(&table, &v);
}

static void each_type_is_read_from_yaml(void **state)
{
    (void)state;
    static const char text[] = "# a comment\n"
                               "fresh: true\n"
                               "rounds: 30\n"
                               "seed: 18446744073709551615\n"
                               "optimiser:\n"
                               "  lr: 5e-2\n"
                               "  local_scale: 0.5\n"
                               "label: \"a \\u00e9\"\n"
                               "word: adam\n"
                               "file: m.onnx\n"
                               "evaluate: test/data\n"
                               "name: fashion-1\n"
                               "publish: best\n"
                               "scope: global\n"
                               "round.deadline: 1.5h\n"
                               "bytes: 2MiB\n"
                               "classes: [x y, 'no', \"3\"]\n"
                               "mean:\n"
                               "  - 0.25\n"
                               "  - -1\n";
    sample v;
    tb_err err = {0};
    CHECK_OK(read_yaml(&v, text, &err), err);
    CHECK(v.fresh && v.rounds == 30 && v.seed == UINT64_MAX && v.lr == 0.05);
    CHECK(v.scale == 0.5f && v.deadline_ms == 5400000 && v.bytes == 2097152);
    assert_string_equal(v.label, "a \xc3\xa9");
    assert_string_equal(v.word, "adam");
    assert_string_equal(v.file, "a/m.onnx"); /* beside a/job.yaml */
    CHECK(v.evaluate.where == 1);
    assert_string_equal(v.evaluate.path, "a/test/data");
    assert_string_equal(v.name.text, "fashion-1");
    CHECK(v.publish == 0 && v.global);
    CHECK(v.classes.n == 3 && v.mean.n == 2);
    assert_string_equal(v.classes.at[0], "x y");
    assert_string_equal(v.classes.at[1], "no");
    assert_string_equal(v.classes.at[2], "3");
    CHECK(v.mean.at[0] == 0.25f && v.mean.at[1] == -1.0f);
    tb_settings_release(&table, &v);
    CHECK(v.classes.at == NULL && v.rounds == 0);
}

static void words_and_absolute_paths_stay_as_they_are(void **state)
{
    (void)state;
    sample v;
    tb_err err = {0};
    CHECK_OK(read_yaml(&v, "rounds: 1\nevaluate: clients\nfile: /m", &err),
             err);
    CHECK(v.evaluate.where == 2 && v.evaluate.path[0] == '\0');
    assert_string_equal(v.file, "/m");
    tb_settings_release(&table, &v);
}

/* What is wrong, where, and how the message must begin behind the place. */
static void what_is_wrong_is_told_with_its_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        tb_rc rc;
        const char *want;
    } cases[] = {
        {"rounds: 0", TB_E_USAGE,
         "a/job.yaml:1:9: rounds: \"0\" is not a whole number from 1 to 1000"},
        {"rounds: 1001", TB_E_USAGE, ":1:9: rounds: \"1001\" is not"},
        {"rounds: -1", TB_E_USAGE, ":1:9: rounds: \"-1\" is not"},
        {"rounds: 1.5", TB_E_USAGE, ":1:9: rounds: \"1.5\" is not"},
        {"rounds: four", TB_E_USAGE, ":1:9: rounds: \"four\" is not"},
        {"rounds:", TB_E_USAGE, ":1:8: rounds: no value is given"},
        {"rounds: ~", TB_E_USAGE, ":1:9: rounds: no value is given"},
        {"rounds: [1]", TB_E_USAGE, ":1:9: rounds: must be a whole number"},
        {"rounds: {a: 1}", TB_E_USAGE, ":1:9: rounds: must be"},
        {"rounds: 1\nrounds: 2", TB_E_USAGE, ":2:1: rounds stands here twice"},
        {"optimiser:\n  lr: 0", TB_E_USAGE,
         ":2:7: optimiser.lr: \"0\" is not a number over 0 and at most 10"},
        {"optimiser:\n  lr: nan", TB_E_USAGE, ":2:7: optimiser.lr: \"nan\""},
        {"optimiser:\n  lr: .inf", TB_E_USAGE, ":2:7: optimiser.lr: \".inf\""},
        {"optimiser:\n  lr: 1/0", TB_E_USAGE, ":2:7: optimiser.lr: \"1/0\""},
        {"optimiser: 3", TB_E_USAGE, ":1:12: optimiser: keys of its own"},
        {"optimiser: {lr: 1}\noptimiser: {local_scale: 1}", TB_E_USAGE,
         ":2:1: optimiser stands here twice"},
        {"optimiser: {lr: 1}\noptimiser.lr: 2", TB_E_USAGE,
         ":2:1: optimiser.lr stands here twice"},
        {"optimiser:\n  local_scale: 1e39", TB_E_USAGE, ":2:16: "},
        {"roundz: 1", TB_E_USAGE,
         ":1:1: unknown key \"roundz\"; did you mean \"rounds\"?"},
        {"optimizer:\n  lr: 1", TB_E_USAGE,
         ":1:1: unknown key \"optimizer\"; did you mean \"optimiser\"?"},
        {"optimiser:\n  lrr: 1", TB_E_USAGE,
         ":2:3: unknown key \"optimiser.lrr\"; did you mean \"optimiser.lr\"?"},
        {"lr: 1", TB_E_USAGE,
         ":1:1: unknown key \"lr\"; did you mean \"optimiser.lr\"?"},
        {"zzz: 1", TB_E_USAGE, ":1:1: unknown key \"zzz\""},
        {"label: 12345678", TB_E_USAGE,
         ":1:8: label: \"12345678\" is not a text of at most 7 bytes"},
        {"label: \"a\\nb\"", TB_E_USAGE, ":1:8: label: "},
        {"label: \"a\\0b\"", TB_E_USAGE, ":1:8: a text with a NUL"},
        {"word: adan", TB_E_USAGE,
         ":1:7: word: \"adan\" is not one of sgd, adam"},
        {"publish: first", TB_E_USAGE,
         ":1:10: publish: \"first\" is not one of best, last"},
        {"fresh: yes", TB_E_USAGE, ":1:8: fresh: \"yes\" is not true or false"},
        {"name: a b", TB_E_USAGE, ":1:7: name: \"a b\" is not a name"},
        {"name: ''", TB_E_USAGE, ":1:7: name: \"\" is not a name"},
        {"round: {deadline: 60}", TB_E_USAGE,
         ":1:19: round.deadline: \"60\" is not a time such as"},
        {"round: {deadline: 99ms}", TB_E_USAGE, ":1:19: round.deadline: "},
        {"round: {deadline: -5s}", TB_E_USAGE, ":1:19: round.deadline: "},
        {"round: {deadline: 1e3s}", TB_E_USAGE, ":1:19: round.deadline: "},
        {"bytes: 5XB", TB_E_USAGE, ":1:8: bytes: \"5XB\" is not a size"},
        {"bytes: 99999999TB", TB_E_USAGE, ":1:8: bytes: "},
        {"mean: [0, 2]", TB_E_USAGE, ":1:11: mean: \"2\" is not"},
        {"mean: [0, [1]]", TB_E_USAGE, ":1:11: an item of a list"},
        {"mean: 1,,1", TB_E_USAGE, ":1:7: mean: \"\" is not"},
        {"classes: [a, '']", TB_E_USAGE, ":1:14: classes: \"\" is not"},
        {"classes: {a: b}", TB_E_USAGE, ":1:10: classes: must be a list"},
        {"evaluate: ''", TB_E_USAGE,
         ":1:11: evaluate: \"\" is not one of none, "
         "a path, clients"},
        {"a: &x 1", TB_E_USAGE, ":1:1: unknown key"},
        {"rounds: &x 1", TB_E_USAGE, ":1:9: anchors, aliases and tags"},
        {"rounds: *x", TB_E_USAGE, ":1:9: anchors, aliases and tags"},
        {"rounds: !!int 1", TB_E_USAGE, ":1:9: anchors, aliases and tags"},
        {"[rounds]", TB_E_USAGE, ":1:1: lines of \"key: value\""},
        {"rounds", TB_E_USAGE, ":1:1: lines of \"key: value\""},
        {"[a]: 1", TB_E_USAGE, ":1:1: "},
        {"rounds: 1\n---\nrounds: 2", TB_E_USAGE, ":2:1: a second document"},
        {"seed: 1\nrounds: @1", TB_E_MALFORMED, ":2:9: not YAML: "},
        {"rounds: \"1", TB_E_MALFORMED, "not YAML: "},
        {"label: \xff", TB_E_MALFORMED, "not YAML: "},
        {"seed: 1", TB_E_USAGE,
         "rounds is missing (rounds): give \"rounds: ...\" in a file, or "
         "--rounds N"},
        {"", TB_E_USAGE, "rounds is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sample v;
        tb_err err = {0};
        print_message("%s\n", cases[i].text);
        CHECK_ERR(read_yaml(&v, cases[i].text, &err), cases[i].rc, err,
                  cases[i].want);
        tb_settings_release(&table, &v);
    }
    CHECK(tb_mem_live() == 0);
}

static void a_file_over_the_limit_is_refused(void **state)
{
    (void)state;
    static char text[TB_SETTINGS_FILE_BYTES_MAX + 2];
    memset(text, '#', sizeof text - 1);
    sample v;
    tb_err err = {0};
    CHECK_ERR(read_yaml(&v, text, &err), TB_E_LIMIT, err, "a/job.yaml: ");
}

static void deep_nesting_costs_nothing(void **state)
{
    (void)state;
    static char text[100001];
    memset(text, '[', sizeof text - 1);
    sample v;
    tb_err err = {0};
    CHECK(read_yaml(&v, text, &err) != TB_OK);
    memset(text, '{', sizeof text - 1);
    CHECK(read_yaml(&v, text, &err) != TB_OK);
    tb_settings_release(&table, &v);
}

static void flag_wins_over_environment_over_file_over_preset(void **state)
{
    (void)state;
    static const char text[] = "rounds: 2\nseed: 2\nclasses: [f, g]\n";
    sample v;
    tb_settings s;
    tb_err err = {0};
    CHECK(setenv("TB_TEST_ROUNDS", "3", 1) == 0);
    CHECK(setenv("TB_TEST_OPTIMISER_LOCAL_SCALE", "3", 1) == 0);
    CHECK(setenv("TB_TEST_CLASSES", "e,f,g", 1) == 0);
    tb_settings_init(&s, &table, &v);
    CHECK_OK(tb_settings_set(&s, "rounds", "4", TB_FROM_FLAG, &err), err);
    CHECK_OK(tb_settings_read_env(&s, &err), err);
    CHECK_OK(tb_settings_read_yaml(&s, text, sizeof text - 1, "f", &err), err);
    CHECK_OK(tb_settings_finish(&s, &err), err);
    CHECK(v.rounds == 4 && v.seed == 2 && v.scale == 3.0f && v.lr == 0.1);
    CHECK(v.classes.n == 3);
    assert_string_equal(v.classes.at[0], "e");
    assert_string_equal(v.classes.at[2], "g");
    CHECK(tb_settings_from(&s, "rounds") == TB_FROM_FLAG);
    CHECK(tb_settings_from(&s, "optimiser.local_scale") == TB_FROM_ENV);
    CHECK(tb_settings_from(&s, "seed") == TB_FROM_FILE);
    CHECK(tb_settings_from(&s, "word") == TB_FROM_PRESET);
    CHECK(tb_settings_from(&s, "label") == TB_FROM_NOWHERE);
    CHECK(tb_settings_from(&s, "no") == TB_FROM_NOWHERE);
    CHECK_OK(tb_settings_set(&s, "classes", "x", TB_FROM_FLAG, &err), err);
    CHECK_OK(tb_settings_set(&s, "classes", "y", TB_FROM_FLAG, &err), err);
    CHECK(v.classes.n == 2);
    tb_settings_release(&table, &v);
    CHECK(setenv("TB_TEST_ROUNDS", "x", 1) == 0);
    tb_settings_init(&s, &table, &v);
    CHECK_ERR(tb_settings_read_env(&s, &err), TB_E_USAGE, err,
              "TB_TEST_ROUNDS: \"x\" is not a whole number");
    CHECK(unsetenv("TB_TEST_ROUNDS") == 0 && unsetenv("TB_TEST_CLASSES") == 0);
    CHECK(unsetenv("TB_TEST_OPTIMISER_LOCAL_SCALE") == 0);
    tb_settings_release(&table, &v);
}

static void a_refused_value_leaves_the_old_one(void **state)
{
    (void)state;
    sample v;
    tb_settings s;
    tb_err err = {0};
    static const char *const sets[][3] = {
        {"rounds", "5", "0"},        {"optimiser.lr", "1", "nan"},
        {"label", "a", "123456789"}, {"file", "f", "\x01"},
        {"evaluate", "p", ""},       {"name", "n", "-"},
        {"publish", "best", "x"},    {"round.deadline", "1s", "1"},
        {"mean", "1,-1", "1,2"},     {"classes", "c", ""},
    };
    tb_settings_init(&s, &table, &v);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        CHECK_OK(tb_settings_set(&s, sets[i][0], sets[i][1], TB_FROM_ENV, &err),
                 err);
    }
    for (int from = TB_FROM_ENV; from <= TB_FROM_FLAG; from++) {
        for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
            CHECK_ERR(tb_settings_set(&s, sets[i][0], sets[i][2],
                                      (tb_setting_from)from, &err),
                      TB_E_USAGE, err, sets[i][0]);
        }
    }
    CHECK(v.rounds == 5 && v.lr == 1.0 && v.evaluate.where == 1);
    assert_string_equal(v.label, "a");
    assert_string_equal(v.file, "f");
    assert_string_equal(v.evaluate.path, "p");
    assert_string_equal(v.name.text, "n");
    CHECK(v.publish == 0 && v.deadline_ms == 1000);
    CHECK(v.mean.n == 2 && v.classes.n == 1);
    CHECK_ERR(tb_settings_set(&s, "round", "1", TB_FROM_FLAG, &err), TB_E_USAGE,
              err, "did you mean \"round");
    tb_settings_release(&table, &v);
}

static void the_canonical_text_reads_back_to_itself(void **state)
{
    (void)state;
    static const char text[] =
        "seed: 7\nrounds: 12\noptimiser: {local_scale: 1/3, lr: "
        "0.30000000000000004}\n"
        "label: \"\\\"\\\\ \\u2028\"\nevaluate: /x y\nname: n\n"
        "classes: [\"a: b\", \"#c\", \"\\U0001F600\", '- d']\nmean: [0.1, "
        "1e-20]\n"
        "file: local\n";
    static const char want[] =
        "fresh: false\nrounds: 12\nseed: 7\noptimiser.lr: 0.30000000000000004\n"
        "optimiser.local_scale: 0.33333334\nlabel: \"\\\"\\\\ \\u2028\"\n"
        "word: \"sgd\"\nevaluate: \"/x y\"\nname: \"n\"\npublish: last\n"
        "scope: layer\nround.deadline: 600000ms\nbytes: 8000000\n"
        "classes: [\"a: b\", \"#c\", \"\\U0001f600\", \"- d\"]\n"
        "mean: [0.1, 1e-20]\n";
    sample v;
    tb_err err = {0};
    tb_buf first;
    tb_buf second;
    tb_buf_init(&first, 4096);
    tb_buf_init(&second, 4096);
    CHECK_OK(read_yaml(&v, text, &err), err);
    CHECK_OK(tb_settings_encode(&table, &v, TB_SETTING_LOCAL, &first, &err),
             err);
    CHECK_OK(tb_buf_put_u8(&first, 0, &err), err);
    assert_string_equal((char *)first.data, want);
    tb_settings_release(&table, &v);
    CHECK_OK(read_yaml(&v, (char *)first.data, &err), err);
    CHECK_OK(tb_settings_encode(&table, &v, 0, &second, &err), err);
    CHECK(second.len == first.len - 1 &&
          memcmp(first.data, second.data, second.len) == 0);
    tb_settings_release(&table, &v);
    tb_buf_release(&first);
    tb_buf_release(&second);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    (void)arg;
    sample v;
    tb_buf out;
    tb_buf_init(&out, 4096);
    tb_rc rc = read_yaml(&v, "rounds: 1\nclasses: [a, b]\nmean: [0, 1]\n", err);
    if (rc == TB_OK) {
        rc = tb_settings_encode(&table, &v, 0, &out, err);
    }
    tb_buf_release(&out);
    tb_settings_release(&table, &v);
    return rc;
}

static void it_survives_each_allocation_failing(void **state)
{
    (void)state;
    CHECK(tb_check_each_allocation(attempt, NULL) >= 7);
}

static void a_file_that_is_cut_anywhere_is_never_taken_for_whole(void **state)
{
    (void)state;
    static const char text[] = "optimiser: {lr: 2, local_scale: 3}\n"
                               "classes: [a, b]\nrounds: 123";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        sample v;
        tb_settings s;
        tb_err err = {0};
        tb_settings_init(&s, &table, &v);
        tb_rc rc = tb_settings_read_yaml(&s, text, n, "f", &err);
        rc = rc == TB_OK ? tb_settings_finish(&s, &err) : rc;
        /* Only behind "rounds: 1" is it a whole file again. */
        CHECK((rc == TB_OK) == (n > sizeof text - 4));
        CHECK(rc == TB_OK || err.text[0] != '\0');
        tb_settings_release(&table, &v);
    }
}

static void a_file_is_read_from_its_folder(void **state)
{
    static const char text[] = "rounds: 5\nfile: m.onnx\n";
    const char *path =
        tb_test_folder_write(*state, "job.yaml", text, sizeof text - 1);
    sample v;
    tb_settings s;
    tb_err err = {0};
    tb_settings_init(&s, &table, &v);
    CHECK_OK(tb_settings_read_file(&s, path, &err), err);
    CHECK(v.rounds == 5);
    assert_string_equal(v.file, tb_test_folder_path(*state, "m.onnx"));
    CHECK_ERR(
        tb_settings_read_file(&s, tb_test_folder_path(*state, "no"), &err),
        TB_E_NOT_FOUND, err, "/no");
    tb_settings_release(&table, &v);
}

static void each_row_has_a_flag_and_a_variable(void **state)
{
    (void)state;
    char name[100];
    bool negated = true;
    tb_setting_flag(&rows[4], name, sizeof name);
    assert_string_equal(name, "--optimiser-local-scale");
    tb_setting_env(&table, &rows[4], name, sizeof name);
    assert_string_equal(name, "TB_TEST_OPTIMISER_LOCAL_SCALE");
    CHECK(tb_setting_of_flag(&table, "--optimiser-lr", 14, &negated) ==
          &rows[3]);
    CHECK(!negated);
    CHECK(tb_setting_of_flag(&table, "-r", 2, &negated) == &rows[1]);
    CHECK(tb_setting_of_flag(&table, "--no-fresh", 10, &negated) == &rows[0]);
    CHECK(negated);
    CHECK(tb_setting_of_flag(&table, "--no-rounds", 11, &negated) == NULL);
    CHECK(tb_setting_of_flag(&table, "--optimiser", 11, &negated) == NULL);
    CHECK(tb_setting_of_flag(&table, "-", 1, &negated) == NULL);
}

static void help_names_flag_range_and_default(void **state)
{
    (void)state;
    tb_buf out;
    tb_err err = {0};
    tb_buf_init(&out, 16384);
    CHECK_OK(tb_settings_help(&table, &out, &err), err);
    CHECK_OK(tb_buf_put_u8(&out, 0, &err), err);
    const char *text = (char *)out.data;
    CHECK(strstr(text,
                 "  -r, --rounds N            rounds (a whole number from 1 to "
                 "1000) [required]\n") != NULL);
    CHECK(strstr(text, "      --optimiser-lr RATE   learning rate (a number "
                       "over 0 and at most 10)\n"
                       "                            [default: 0.1]\n") != NULL);
    CHECK(strstr(text, "      --fresh               a switch\n") != NULL);
    for (const char *line = text; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        CHECK(n <= 79);
        line += n + 1;
    }
    out.len = 0;
    CHECK_OK(tb_settings_man(&table, &out, &err), err);
    CHECK_OK(tb_buf_put_u8(&out, 0, &err), err);
    CHECK(strstr((char *)out.data, "TB\\_TEST\\_OPTIMISER\\_LOCAL\\_SCALE") !=
          NULL);
    tb_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_fill_what_is_not_given),
        cmocka_unit_test(each_type_is_read_from_yaml),
        cmocka_unit_test(words_and_absolute_paths_stay_as_they_are),
        cmocka_unit_test(what_is_wrong_is_told_with_its_line_and_column),
        cmocka_unit_test(a_file_over_the_limit_is_refused),
        cmocka_unit_test(deep_nesting_costs_nothing),
        cmocka_unit_test(flag_wins_over_environment_over_file_over_preset),
        cmocka_unit_test(a_refused_value_leaves_the_old_one),
        cmocka_unit_test(the_canonical_text_reads_back_to_itself),
        cmocka_unit_test(it_survives_each_allocation_failing),
        cmocka_unit_test(a_file_that_is_cut_anywhere_is_never_taken_for_whole),
        cmocka_unit_test_setup_teardown(a_file_is_read_from_its_folder,
                                        tb_test_folder_setup,
                                        tb_test_folder_teardown),
        cmocka_unit_test(each_row_has_a_flag_and_a_variable),
        cmocka_unit_test(help_names_flag_range_and_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
