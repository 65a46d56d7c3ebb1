/* Metrics: the text that Prometheus reads, and updates from many threads. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"
#include "common/base/calls.h"
#include "common/base/metrics.h"
#include "common/base/metrics_table.h"
#include "tests/lib/cmocka.h"

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
    struct metric *c = metrics_counter("mayfly_ingress_spooled_total", "");
    struct metric *g = metrics_gauge("mayfly_worker_class_full", "class=\"x\"");
    metric_inc(c);
    metric_add(c, 4);
    metric_set(g, 9);
    metric_add(g, -12);
    assert_rendered("# HELP mayfly_ingress_spooled",
                    "# HELP mayfly_ingress_spooled_total Messages stored in the local spool.\n");
    assert_rendered("# TYPE mayfly_ingress_spooled",
                    "# TYPE mayfly_ingress_spooled_total counter\n");
    assert_rendered("mayfly_ingress_spooled_total", "mayfly_ingress_spooled_total 5\n");
    assert_rendered("# TYPE mayfly_worker_class_full", "# TYPE mayfly_worker_class_full gauge\n");
    assert_rendered("mayfly_worker_class_full", "mayfly_worker_class_full{class=\"x\"} -3\n");
    assert_int_equal(metric_value(g), -3);
}

static void same_name_and_labels_give_the_same_metric(void **state)
{
    struct metric *a = metrics_counter("mayfly_worker_events_total", "action=\"1\"");
    assert_ptr_equal(a, metrics_counter("mayfly_worker_events_total", "action=\"1\""));
    assert_ptr_not_equal(a, metrics_counter("mayfly_worker_events_total", "action=\"2\""));
    /* One HELP for both. */
    assert_rendered(
        "# HELP mayfly_worker_events",
        "# HELP mayfly_worker_events_total Job events that changed a job or a VM in the ledger, by "
        "GitHub's action.\n");
    assert_rendered(
        "mayfly_worker_events_total",
        "mayfly_worker_events_total{action=\"1\"} 0\nmayfly_worker_events_total{action=\"2\"} 0\n");
}

static void histogram_counts_up_to_each_bound(void **state)
{
    static const int64_t bounds[] = {5, 50, 1500};
    struct metric *h = metrics_histogram("mayfly_vm_life_seconds", "class=\"x\"", bounds, 3);
    metric_observe_ms(h, 5);
    metric_observe_us(h, 5001);
    metric_observe_ms(h, 1500);
    metric_observe_ms(h, 1501);
    assert_rendered("# TYPE mayfly_vm_life_seconds", "# TYPE mayfly_vm_life_seconds histogram\n");
    assert_rendered("mayfly_vm_life_seconds",
                    "mayfly_vm_life_seconds_bucket{class=\"x\",le=\"0.005\"} 1\n"
                    "mayfly_vm_life_seconds_bucket{class=\"x\",le=\"0.05\"} 2\n"
                    "mayfly_vm_life_seconds_bucket{class=\"x\",le=\"1.5\"} 3\n"
                    "mayfly_vm_life_seconds_bucket{class=\"x\",le=\"+Inf\"} 4\n"
                    "mayfly_vm_life_seconds_sum{class=\"x\"} 3.011001\n"
                    "mayfly_vm_life_seconds_count{class=\"x\"} 4\n");
}

static void label_values_are_escaped(void **state)
{
    struct buf labels;
    buf_init(&labels, 100);
    metrics_label(&labels, "a", "x\"y\\z\n");
    metrics_label(&labels, "b", "");
    assert_string_equal(labels.data, "a=\"x\\\"y\\\\z\\n\",b=\"\"");
    buf_fini(&labels);
}

static void metrics_are_sorted_by_name(void **state)
{
    metrics_gauge("mayfly_ingress_in_flight", "");
    metrics_gauge("mayfly_ingress_connections", "");
    metrics_gauge("mayfly_ingress_spool_active", "");
    assert_rendered("mayfly_ingress_", "mayfly_ingress_connections 0\n"
                                       "mayfly_ingress_in_flight 0\n"
                                       "mayfly_ingress_spool_active 0\n"
                                       "mayfly_ingress_spooled_total 5\n");
}

static struct metrics_group group;

static void group_is_shown_between_its_rounds_until_it_is_hidden(void **state)
{
    struct metric *a = metrics_group_gauge(&group, "mayfly_fleet_demand", "class=\"a\"");
    struct metric *b = metrics_group_gauge(&group, "mayfly_fleet_demand", "class=\"b\"");
    assert_rendered("mayfly_fleet_demand", "");
    assert_rendered("# HELP mayfly_fleet_demand", "");
    metric_set(a, 1);
    metric_set(b, 2);
    assert_rendered("mayfly_fleet_demand", "");
    metrics_group_show(&group);
    assert_rendered("mayfly_fleet_demand", "mayfly_fleet_demand{class=\"a\"} 1\n"
                                           "mayfly_fleet_demand{class=\"b\"} 2\n");
    metric_set(a, 5); /* the next round is being made */
    assert_rendered("mayfly_fleet_demand", "mayfly_fleet_demand{class=\"a\"} 5\n"
                                           "mayfly_fleet_demand{class=\"b\"} 2\n");
    metrics_group_show(&group);
    assert_rendered("mayfly_fleet_demand", "mayfly_fleet_demand{class=\"a\"} 5\n");
    metrics_group_hide(&group);
    assert_rendered("mayfly_fleet_demand", "");
    metric_set(b, 3);
    metrics_group_show(&group);
    assert_rendered("mayfly_fleet_demand", "mayfly_fleet_demand{class=\"b\"} 3\n");
}

static void numbers_have_no_trailing_zeros(void **state)
{
    static const int64_t bounds[] = {5, 250, 1000, 21600000};
    struct metric *g = metrics_gauge("process_start_time_seconds", "");
    (void)metrics_histogram("mayfly_ingress_batch_size", "", bounds, COUNT_OF(bounds));
    assert_rendered("mayfly_ingress_batch_size",
                    "mayfly_ingress_batch_size_bucket{le=\"0.005\"} 0\n"
                    "mayfly_ingress_batch_size_bucket{le=\"0.25\"} 0\n"
                    "mayfly_ingress_batch_size_bucket{le=\"1\"} 0\n"
                    "mayfly_ingress_batch_size_bucket{le=\"21600\"} 0\n"
                    "mayfly_ingress_batch_size_bucket{le=\"+Inf\"} 0\n"
                    "mayfly_ingress_batch_size_sum 0\n"
                    "mayfly_ingress_batch_size_count 0\n");
    metric_set_thousandths(g, 1800000000050);
    assert_rendered("process_start_time_seconds", "process_start_time_seconds 1800000000.05\n");
    metric_set_thousandths(g, -5);
    assert_rendered("process_start_time_seconds", "process_start_time_seconds -0.005\n");
    metric_set_thousandths(g, 3000);
    assert_rendered("process_start_time_seconds", "process_start_time_seconds 3\n");
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
    struct metric *m[2] = {metrics_counter("mayfly_reaper_leases_lost_total", ""),
                           metrics_histogram("mayfly_ingress_accept_seconds", "", bounds, 2)};
    buf_init(&page, 1 << 20);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, observe, m), 0);
    }
    int64_t total = 0;
    while (total < THREADS * ROUNDS) {
        /* No reader ever sees a bucket above +Inf. */
        buf_reset(&page);
        metrics_render(&page);
        total = number_of(buf_slice(&page), "mayfly_ingress_accept_seconds_bucket{le=\"+Inf\"} ");
        assert_true(number_of(buf_slice(&page),
                              "mayfly_ingress_accept_seconds_bucket{le=\"0.01\"} ") <= total);
        assert_int_equal(number_of(buf_slice(&page), "mayfly_ingress_accept_seconds_count "),
                         total);
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
        metric_observe_ms(metrics_histogram("mayfly_ingress_commit_seconds", "", bounds, 2), 5);
    }
    return NULL;
}

/* The thread sanitizer says so if registering again writes to what others observe. */
static void known_histogram_is_registered_again_while_it_is_observed(void **state)
{
    static const int64_t bounds[] = {0, 10};
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, register_and_observe, NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(
        metric_value(metrics_histogram("mayfly_ingress_commit_seconds", "", bounds, 2)),
        THREADS * (ROUNDS / 10));
}

static void the_table_names_each_metrics_labels(void **state)
{
    const struct metric_row *plain = metrics_table_find("mayfly_ingress_connections");
    const struct metric_row *two = metrics_table_find("mayfly_queue_put_total");
    static const struct metric_row pair = {"x", METRIC_GAUGE, "a b", "X."};
    assert_null(metrics_table_find("mayfly_ingress"));
    assert_non_null(plain);
    assert_non_null(two);
    assert_true(metric_row_has_labels(plain, ""));
    assert_false(metric_row_has_labels(plain, "class=\"x\""));
    assert_true(metric_row_has_labels(two, "lane=\"a \\\" b\""));
    assert_false(metric_row_has_labels(two, ""));
    assert_false(metric_row_has_labels(two, "lan=\"a\""));
    assert_false(metric_row_has_labels(two, "lane=\"a"));
    assert_false(metric_row_has_labels(two, "lane=\"a\\\""));
    assert_true(metric_row_has_labels(&pair, "a=\"1\",b=\"2\""));
    assert_false(metric_row_has_labels(&pair, "b=\"2\",a=\"1\""));
    assert_false(metric_row_has_labels(&pair, "a=\"1\""));
    assert_false(metric_row_has_labels(&pair, "a=\"1\",b=\"2\",c=\"3\""));
}

/* --- mayfly_call_seconds: its series are bounded, whatever is called and however it fails --- */

static int lines_with(const char *text)
{
    struct buf page;
    struct slice rest;
    struct slice line;
    int n = 0;
    buf_init(&page, 1 << 20);
    metrics_render(&page);
    rest = buf_slice(&page);
    while (slice_cut(rest, '\n', &line, &rest)) {
        n += line.ptr[0] != '#' && memmem(line.ptr, line.len, text, strlen(text)) != NULL ? 1 : 0;
    }
    buf_fini(&page);
    return n;
}

static void call_is_counted_by_service_operation_and_outcome(void **state)
{
    const struct err e = {.class = ERR_THROTTLED};
    calls_observe("sqs", "SendMessageBatch", ERR_NONE, 7000);
    assert_int_equal(calls_ended("sqs", "SendMessageBatch", 0, 0, &e), 0);
    assert_int_equal(calls_ended("sqs", "SendMessageBatch", 0, -1, &e), -1);
    assert_int_equal(
        lines_with("_count{service=\"sqs\",operation=\"SendMessageBatch\",outcome=\"ok\"} 2"), 1);
    assert_int_equal(lines_with("_count{service=\"sqs\",operation=\"SendMessageBatch\",outcome="
                                "\"throttled\"} 1"),
                     1);
    assert_int_equal(lines_with("outcome=\"ok\",le=\"0.05\"} 1"), 1);
    assert_int_equal(lines_with("outcome=\"throttled\",le="), 1); /* +Inf */
}

static void further_operations_are_others(void **state)
{
    for (int i = 0; i < 100; i++) {
        char operation[32];
        (void)snprintf(operation, sizeof operation, "Operation%d", i);
        calls_observe("sqs", operation, ERR_NONE, 1);
        calls_observe("sqs", operation, i % 2 == 0 ? ERR_RETRY : ERR_AUTH, 1);
    }
    assert_int_equal(lines_with("operation=\"Operation5\",outcome=\"ok\",le=\"+Inf\"} 1"), 1);
    assert_int_equal(lines_with("Operation99"), 0);
    /* One success and one failure are those of the test above. */
    assert_int_equal(lines_with("_count{service=\"other\",operation=\"other\",outcome=\"ok\"} 77"),
                     1);
    assert_int_equal(
        lines_with("_count{service=\"other\",operation=\"other\",outcome=\"failed\"} 77"), 1);
    assert_int_equal(lines_with("mayfly_call_seconds"),
                     (CALLS_OK_MAX + 1) * 7 + (CALLS_FAILED_MAX + 1) * 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counter_and_gauge_are_rendered_with_help_and_type),
        cmocka_unit_test(same_name_and_labels_give_the_same_metric),
        cmocka_unit_test(histogram_counts_up_to_each_bound),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(metrics_are_sorted_by_name),
        cmocka_unit_test(group_is_shown_between_its_rounds_until_it_is_hidden),
        cmocka_unit_test(numbers_have_no_trailing_zeros),
        cmocka_unit_test(call_is_counted_by_service_operation_and_outcome),
        cmocka_unit_test(further_operations_are_others),
        cmocka_unit_test(the_table_names_each_metrics_labels),
        cmocka_unit_test(updates_from_threads_are_all_counted),
        cmocka_unit_test(known_histogram_is_registered_again_while_it_is_observed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
