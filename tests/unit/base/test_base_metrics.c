/* Metrics: the text that Prometheus reads, and updates from many threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "common/base/metrics.h"

/* The rendered lines that begin with `prefix`, one a line. */
static char *rendered(const char *prefix)
{
    struct buf all;
    struct buf out;
    struct slice line;
    struct slice rest;
    buf_init(&all, 1 << 20);
    buf_init(&out, 1 << 20);
    metrics_render(&all);
    rest = buf_slice(&all);
    while (slice_cut(rest, '\n', &line, &rest)) {
        if (slice_starts_with(line, slice_of(prefix))) {
            buf_append(&out, line);
            buf_append_byte(&out, '\n');
        }
    }
    assert_int_equal(rest.len, 0); /* the last line is ended too */
    buf_fini(&all);
    return buf_take(&out);
}

static void assert_rendered(const char *prefix, const char *expected)
{
    char *text = rendered(prefix);
    assert_string_equal(text, expected);
    free(text);
}

static void counter_and_gauge_are_rendered_with_help_and_type(void **state)
{
    (void)state;
    struct metric *c = metrics_counter("t_a_total", "Things.", "");
    struct metric *g = metrics_gauge("t_b", "Level.", "class=\"x\"");
    metric_inc(c);
    metric_add(c, 4);
    metric_set(g, 9);
    metric_add(g, -12);
    assert_rendered("# HELP t_a", "# HELP t_a_total Things.\n");
    assert_rendered("# TYPE t_a", "# TYPE t_a_total counter\n");
    assert_rendered("t_a_total", "t_a_total 5\n");
    assert_rendered("# TYPE t_b", "# TYPE t_b gauge\n");
    assert_rendered("t_b", "t_b{class=\"x\"} -3\n");
    assert_int_equal(metric_value(g), -3);
}

static void same_name_and_labels_give_the_same_metric(void **state)
{
    (void)state;
    struct metric *a = metrics_counter("t_c_total", "C.", "k=\"1\"");
    assert_ptr_equal(a, metrics_counter("t_c_total", "C.", "k=\"1\""));
    assert_ptr_not_equal(a, metrics_counter("t_c_total", "C.", "k=\"2\""));
    /* One HELP for both. */
    assert_rendered("# HELP t_c", "# HELP t_c_total C.\n");
    assert_rendered("t_c_total", "t_c_total{k=\"1\"} 0\nt_c_total{k=\"2\"} 0\n");
}

static void histogram_counts_up_to_each_bound(void **state)
{
    static const int64_t bounds[] = {5, 50, 1500};
    (void)state;
    struct metric *h = metrics_histogram("t_h_seconds", "H.", "class=\"x\"", bounds, 3);
    metric_observe_ms(h, 5);
    metric_observe_us(h, 5001);
    metric_observe_ms(h, 1500);
    metric_observe_ms(h, 1501);
    assert_rendered("# TYPE t_h", "# TYPE t_h_seconds histogram\n");
    assert_rendered("t_h_seconds", "t_h_seconds_bucket{class=\"x\",le=\"0.005\"} 1\n"
                                   "t_h_seconds_bucket{class=\"x\",le=\"0.050\"} 2\n"
                                   "t_h_seconds_bucket{class=\"x\",le=\"1.500\"} 3\n"
                                   "t_h_seconds_bucket{class=\"x\",le=\"+Inf\"} 4\n"
                                   "t_h_seconds_sum{class=\"x\"} 3.011001\n"
                                   "t_h_seconds_count{class=\"x\"} 4\n");
}

static void label_values_are_escaped(void **state)
{
    struct buf labels;
    (void)state;
    buf_init(&labels, 100);
    metrics_label(&labels, "a", "x\"y\\z\n");
    metrics_label(&labels, "b", "");
    assert_string_equal(labels.data, "a=\"x\\\"y\\\\z\\n\",b=\"\"");
    buf_fini(&labels);
}

static void metrics_are_sorted_by_name(void **state)
{
    (void)state;
    metrics_gauge("t_s_b", "B.", "");
    metrics_gauge("t_s_a", "A.", "");
    metrics_gauge("t_s_c", "C.", "");
    assert_rendered("t_s_", "t_s_a 0\nt_s_b 0\nt_s_c 0\n");
}

#define THREADS 4
#define ROUNDS 20000

static void *observe(void *arg)
{
    struct metric **m = arg;
    for (int i = 0; i < ROUNDS; i++) {
        metric_inc(m[0]);
        metric_observe_ms(m[1], i % 3);
    }
    return NULL;
}

/* The number behind the first line with this beginning. */
static int64_t number_of(struct slice text, const char *beginning)
{
    struct slice line;
    int64_t number = -1;
    while (slice_cut(text, '\n', &line, &text)) {
        if (slice_starts_with(line, slice_of(beginning))) {
            struct slice tail = {line.ptr + strlen(beginning), line.len - strlen(beginning)};
            assert_true(slice_to_int64(tail, &number));
            return number;
        }
    }
    return number;
}

static void updates_from_threads_are_all_counted(void **state)
{
    static const int64_t bounds[] = {0, 10};
    pthread_t threads[THREADS];
    struct buf page;
    (void)state;
    struct metric *m[2] = {metrics_counter("t_t_total", "T.", ""),
                           metrics_histogram("t_u_seconds", "U.", "", bounds, 2)};
    buf_init(&page, 1 << 20);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, observe, m), 0);
    }
    int64_t total = 0;
    while (total < THREADS * ROUNDS) {
        /* No reader ever sees a bucket above +Inf. */
        buf_reset(&page);
        metrics_render(&page);
        total = number_of(buf_slice(&page), "t_u_seconds_bucket{le=\"+Inf\"} ");
        assert_true(number_of(buf_slice(&page), "t_u_seconds_bucket{le=\"0.010\"} ") <= total);
        assert_int_equal(number_of(buf_slice(&page), "t_u_seconds_count "), total);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(metric_value(m[0]), THREADS * ROUNDS);
    assert_int_equal(metric_value(m[1]), THREADS * ROUNDS);
    buf_fini(&page);
}

static void *register_and_observe(void *arg)
{
    static const int64_t bounds[] = {0, 10};
    (void)arg;
    for (int i = 0; i < ROUNDS / 10; i++) {
        metric_observe_ms(metrics_histogram("t_v_seconds", "V.", "", bounds, 2), 5);
    }
    return NULL;
}

/* The thread sanitizer says so if registering again writes to what others observe. */
static void known_histogram_is_registered_again_while_it_is_observed(void **state)
{
    static const int64_t bounds[] = {0, 10};
    pthread_t threads[THREADS];
    (void)state;
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, register_and_observe, NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(metric_value(metrics_histogram("t_v_seconds", "V.", "", bounds, 2)),
                     THREADS * (ROUNDS / 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counter_and_gauge_are_rendered_with_help_and_type),
        cmocka_unit_test(same_name_and_labels_give_the_same_metric),
        cmocka_unit_test(histogram_counts_up_to_each_bound),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(metrics_are_sorted_by_name),
        cmocka_unit_test(updates_from_threads_are_all_counted),
        cmocka_unit_test(known_histogram_is_registered_again_while_it_is_observed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
