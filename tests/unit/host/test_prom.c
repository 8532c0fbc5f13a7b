/* Against the text format 0.0.4 as Prometheus documents it; promtool judges
 * the daemon's whole page in the end-to-end tests. */
#include "host/prom.h"

#include <math.h>
#include <string.h>

#include "support/check.h"

static tb_buf out;

static tb_prom begin(void)
{
    tb_buf_release(&out);
    tb_buf_init(&out, 1 << 16);
    return (tb_prom){.out = &out};
}

static void is(const tb_prom *p, const char *want)
{
    CHECK(p->rc == TB_OK && out.len == strlen(want));
    assert_memory_equal(out.data, want, out.len);
}

static void a_family_has_help_type_and_samples(void **state)
{
    (void)state;
    tb_prom p = begin();
    tb_prom_family(&p, "a_total", TB_PROM_COUNTER, "All a.");
    tb_prom_sample(&p, "kind", "x", 3.0);
    tb_prom_sample(&p, "kind", "y", 0.1);
    tb_prom_one(&p, "b_bytes", TB_PROM_GAUGE, "B.", 12345678901.0);
    is(&p, "# HELP a_total All a.\n# TYPE a_total counter\n"
           "a_total{kind=\"x\"} 3\na_total{kind=\"y\"} 0.1\n"
           "# HELP b_bytes B.\n# TYPE b_bytes gauge\nb_bytes 12345678901\n");
}

static void what_would_break_a_line_is_escaped(void **state)
{
    (void)state;
    tb_prom p = begin();
    tb_prom_family(&p, "a", TB_PROM_GAUGE, "one\\two\n\"three\"");
    tb_prom_sample(&p, "l", "q\" b\\ n\n}", 1.0);
    is(&p, "# HELP a one\\\\two\\n\"three\"\n# TYPE a gauge\n"
           "a{l=\"q\\\" b\\\\ n\\n}\"} 1\n");
}

static void what_is_no_number_has_its_own_words(void **state)
{
    (void)state;
    tb_prom p = begin();
    tb_prom_family(&p, "a", TB_PROM_GAUGE, "A.");
    tb_prom_sample(&p, NULL, NULL, NAN);
    tb_prom_sample(&p, NULL, NULL, INFINITY);
    tb_prom_sample(&p, NULL, NULL, -INFINITY);
    CHECK(strstr((char *)out.data, "\na NaN\na +Inf\na -Inf\n") != NULL);
}

static void buckets_of_a_histogram_add_up(void **state)
{
    (void)state;
    tb_prom_times t = {0};
    tb_prom p = begin();
    tb_prom_observe(&t, 0.001);  /* on a bound: below it */
    tb_prom_observe(&t, 0.0011); /* over it */
    tb_prom_observe(&t, 60.0);
    tb_prom_family(&p, "d_seconds", TB_PROM_HISTOGRAM, "D.");
    tb_prom_histogram(&p, "k", "v", &t);
    CHECK(tb_buf_put_u8(&out, 0, NULL) == TB_OK);
    const char *text = (const char *)out.data;
    CHECK(strstr(text, "d_seconds_bucket{k=\"v\",le=\"0.0005\"} 0\n"));
    CHECK(strstr(text, "d_seconds_bucket{k=\"v\",le=\"0.001\"} 1\n"));
    CHECK(strstr(text, "d_seconds_bucket{k=\"v\",le=\"0.0025\"} 2\n"));
    CHECK(strstr(text, "d_seconds_bucket{k=\"v\",le=\"10\"} 2\n"));
    CHECK(strstr(text, "d_seconds_bucket{k=\"v\",le=\"+Inf\"} 3\n"));
    CHECK(strstr(text, "d_seconds_sum{k=\"v\"} 60.0021\n"));
    CHECK(strstr(text, "d_seconds_count{k=\"v\"} 3\n"));
}

static void a_full_buffer_is_told_once_and_stays(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_buf small;
    tb_buf_init(&small, 20);
    tb_prom p = {.out = &small, .err = &err};
    tb_prom_one(&p, "a_total", TB_PROM_COUNTER, "All a.", 1.0);
    tb_prom_one(&p, "b_total", TB_PROM_COUNTER, "All b.", 1.0);
    CHECK(p.rc == TB_E_LIMIT && small.len <= 20);
    tb_buf_release(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_family_has_help_type_and_samples),
        cmocka_unit_test(what_would_break_a_line_is_escaped),
        cmocka_unit_test(what_is_no_number_has_its_own_words),
        cmocka_unit_test(buckets_of_a_histogram_add_up),
        cmocka_unit_test(a_full_buffer_is_told_once_and_stays),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    tb_buf_release(&out);
    return rc;
}
