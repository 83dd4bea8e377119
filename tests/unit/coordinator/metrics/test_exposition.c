// SPDX-License-Identifier: MIT
/* test_exposition.c: the text format, byte for byte
 * (prometheus.io/docs/instrumenting/exposition_formats). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "coordinator/metrics/exposition.h"

static void counts_and_reals(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    exposition_put_counter(&out, "a:b_total", "What it is.", UINT64_MAX);
    exposition_put_gauge(&out, "a:g", "Another.", 0.5);
    exposition_put_real(&out, "a:c", "_sum", NULL, 0, 0.25);
    exposition_put_real(&out, "a:c", "", NULL, 0, 1e300);
    assert_string_equal(out.data, "# HELP a:b_total What it is.\n"
                                  "# TYPE a:b_total counter\n"
                                  "a:b_total 18446744073709551615\n"
                                  "# HELP a:g Another.\n"
                                  "# TYPE a:g gauge\n"
                                  "a:g 0.5\n"
                                  "a:c_sum 0.25\n"
                                  "a:c 1e+300\n");
    buf_deinit(&out);
}

static void labels_are_escaped(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    const struct exposition_label labels[] = {{"rank", "0"}, {"host", "a\"b\\c\nd\xc3\xa9"}};
    exposition_put_count(&out, "up", "", labels, 2, 1);
    assert_string_equal(out.data, "up{rank=\"0\",host=\"a\\\"b\\\\c\\nd\xc3\xa9\"} 1\n");
    buf_deinit(&out);
}

static void a_histogram_adds_up(void **state) {
    (void)state;
    static const uint64_t bounds[] = {1000000, 2500000000};
    struct histogram h;
    struct buf out;
    buf_init(&out, 0);
    histogram_init(&h, bounds, 2);
    histogram_observe(&h, 500000, 2);
    histogram_observe(&h, 1500000000, 1);
    histogram_observe(&h, 3000000000, 1);
    exposition_put_histogram(&out, "t_seconds", "Time.", &h);
    assert_string_equal(out.data, "# HELP t_seconds Time.\n"
                                  "# TYPE t_seconds histogram\n"
                                  "t_seconds_bucket{le=\"0.001\"} 2\n"
                                  "t_seconds_bucket{le=\"2.5\"} 3\n"
                                  "t_seconds_bucket{le=\"+Inf\"} 4\n"
                                  "t_seconds_sum 4.501\n"
                                  "t_seconds_count 4\n");
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_reals),
        cmocka_unit_test(labels_are_escaped),
        cmocka_unit_test(a_histogram_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
