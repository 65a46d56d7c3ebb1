/* The Kafka sink, against librdkafka's mock cluster. */
#include <librdkafka/rdkafka.h>
/* After it. */
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/events/events.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define TOPIC "fleet-events"
#define WAIT_MS 30000

struct fixture {
    rd_kafka_t *holder; /* a mock cluster needs a client */
    rd_kafka_mock_cluster_t *cluster;
    struct events *ev;
};

static int setup(void **state)
{
    char why[256];
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->holder = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof why);
    assert_non_null(f->holder);
    f->cluster = rd_kafka_mock_cluster_new(f->holder, 1);
    assert_non_null(f->cluster);
    assert_int_equal(rd_kafka_mock_topic_create(f->cluster, TOPIC, 3, 1), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    events_close(f->ev, 1000);
    rd_kafka_mock_cluster_destroy(f->cluster);
    rd_kafka_destroy(f->holder);
    free(f);
    return 0;
}

static void url_of(const struct fixture *f, char *out, size_t size)
{
    (void)snprintf(out, size, "kafka://%s/" TOPIC, rd_kafka_mock_cluster_bootstraps(f->cluster));
}

static void open_sink(struct fixture *f, int64_t buffer)
{
    struct err e;
    char url[256];
    url_of(f, url, sizeof url);
    const struct events_options o = {.program = "mayfly-reaper",
                                     .deployment = "test",
                                     .file = "",
                                     .kafka = url,
                                     .traces = "",
                                     .buffer = buffer};
    MUST(events_open(&o, &f->ev, &e));
}

static void record(struct fixture *f, int64_t job_id)
{
    struct ledger_job job = {.facts.id = job_id, .facts.repository = "octo/app"};
    const struct ledger_transition t = {
        .at_ms = 1000, .job = &job, .from = "waiting", .to = "running", .reason = ""};
    events_record(f->ev, &t);
}

static int64_t written(void)
{
    return metric_value(metrics_counter("mayfly_events_written_total", "sink=\"kafka\""));
}

static int64_t dropped(const char *reason)
{
    char labels[64];
    (void)snprintf(labels, sizeof labels, "sink=\"kafka\",reason=\"%s\"", reason);
    return metric_value(metrics_counter("mayfly_events_dropped_total", labels));
}

static void wait_until_written(int64_t n)
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    while (written() < n && clock_mono_ms() < until) {
        usleep(1000);
    }
    assert_true(written() >= n);
}

/* Reads n records; the key of each must be its job's id. Returns the sum of the ids. */
static int64_t read_topic(const struct fixture *f, int n)
{
    char why[256];
    int64_t sum = 0;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(3);
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers",
                                       rd_kafka_mock_cluster_bootstraps(f->cluster), why,
                                       sizeof why),
                     RD_KAFKA_CONF_OK);
    assert_int_equal(rd_kafka_conf_set(conf, "group.id", "reader", why, sizeof why),
                     RD_KAFKA_CONF_OK);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    assert_non_null(rk);
    for (int32_t p = 0; p < 3; p++) {
        rd_kafka_topic_partition_list_add(all, TOPIC, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    assert_int_equal(rd_kafka_assign(rk, all), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(all);
    int64_t until = clock_mono_ms() + WAIT_MS;
    for (int i = 0; i < n && clock_mono_ms() < until;) {
        char key[32];
        char member[64];
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 1000);
        if (m != NULL && m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            struct slice text = {m->payload, m->len};
            assert_true(slice_to_cstr((struct slice){m->key, m->key_len}, key, sizeof key));
            (void)snprintf(member, sizeof member, "\"job_id\":%s,", key);
            assert_non_null(memmem(text.ptr, text.len, member, strlen(member)));
            sum += strtoll(key, NULL, 10);
            i++;
        }
        if (m != NULL) {
            rd_kafka_message_destroy(m);
        }
    }
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return sum;
}

static void records_arrive_with_the_jobs_id_as_key(void **state)
{
    struct fixture *f = *state;
    int64_t before = written();
    open_sink(f, 100);
    for (int64_t id = 1; id <= 10; id++) {
        record(f, id);
    }
    events_close(f->ev, WAIT_MS); /* flushes */
    f->ev = NULL;
    assert_int_equal(written(), before + 10);
    assert_int_equal(read_topic(f, 10), 55);
}

static void broker_down_at_start_is_waited_for(void **state)
{
    struct fixture *f = *state;
    int64_t before = written();
    assert_int_equal(rd_kafka_mock_broker_set_down(f->cluster, 1), 0);
    open_sink(f, 100);
    record(f, 1);
    record(f, 2);
    assert_int_equal(written(), before);
    assert_int_equal(rd_kafka_mock_broker_set_up(f->cluster, 1), 0);
    wait_until_written(before + 2);
    assert_int_equal(read_topic(f, 2), 3);
}

static void broker_that_goes_down_and_comes_back_gets_what_waited(void **state)
{
    struct fixture *f = *state;
    int64_t before = written();
    open_sink(f, 100);
    record(f, 1);
    wait_until_written(before + 1);
    assert_int_equal(rd_kafka_mock_broker_set_down(f->cluster, 1), 0);
    record(f, 2);
    record(f, 3);
    assert_int_equal(written(), before + 1);
    assert_int_equal(rd_kafka_mock_broker_set_up(f->cluster, 1), 0);
    wait_until_written(before + 3);
    assert_int_equal(read_topic(f, 3), 6);
}

/* librdkafka holds `buffer` records, and the sink as many again. */
static void full_buffer_drops_and_counts_and_the_end_is_bounded(void **state)
{
    struct fixture *f = *state;
    int64_t full = dropped("buffer_full");
    int64_t lost = dropped("shutdown");
    assert_int_equal(rd_kafka_mock_broker_set_down(f->cluster, 1), 0);
    open_sink(f, 5);
    for (int64_t id = 1; id <= 40; id++) {
        record(f, id);
    }
    assert_true(dropped("buffer_full") - full >= 30);
    events_close(f->ev, 100);
    f->ev = NULL;
    assert_int_equal(dropped("buffer_full") - full + dropped("shutdown") - lost, 40);
}

static bool has_logged(FILE *log, const char *text)
{
    char line[2048];
    bool found = false;
    rewind(log);
    while (fgets(line, sizeof line, log) != NULL) {
        found = found || strstr(line, text) != NULL;
    }
    return found;
}

static void wait_until_logged(FILE *log, const char *text)
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    while (!has_logged(log, text) && clock_mono_ms() < until) {
        usleep(1000);
    }
    assert_true(has_logged(log, text));
}

/* librdkafka may refuse records by itself for as long as it remembers that the broker refused one: then
 * they stay in the sink's buffer. */
static void wait_until_handed_over(int64_t timeout_ms)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    while (metric_value(metrics_gauge("mayfly_events_buffered", "sink=\"kafka\"")) > 0 &&
           clock_mono_ms() < until) {
        usleep(1000);
    }
    usleep(20000);
}

static void refused_record_is_logged_at_once_and_resumed_only_by_a_delivery(void **state)
{
    struct fixture *f = *state;
    FILE *log = tmpfile();
    int64_t lost = dropped("delivery_failed");
    assert_non_null(log);
    log_open("test", fileno(log));
    rd_kafka_mock_push_request_errors(f->cluster, 0 /* Produce */, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    open_sink(f, 100);
    record(f, 1);
    wait_until_logged(log, "topic " TOPIC ": ");
    assert_true(has_logged(log, "ACL"));
    assert_true(has_logged(log, "the record is dropped"));
    assert_false(has_logged(log, "events_write_resumed"));
    assert_int_equal(dropped("delivery_failed"), lost + 1);
    assert_int_equal(rd_kafka_mock_broker_set_down(f->cluster, 1), 0);
    record(f, 2);
    record(f, 3);
    wait_until_handed_over(1500);
    assert_false(has_logged(log, "events_write_resumed"));
    assert_int_equal(rd_kafka_mock_broker_set_up(f->cluster, 1), 0);
    wait_until_logged(log, "events_write_resumed");
    log_open("test", 2);
    (void)fclose(log);
}

static void check_finds_the_topic_or_says_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    struct err e;
    char url[256];
    url_of(f, url, sizeof url);
    MUST(events_check_kafka(url, &e));
    must_fail_saying(events_check_kafka("kafka://127.0.0.1:1/x?nosuch=1", &e), &e, ERR_PERMANENT,
                     "nosuch");
    assert_int_equal(events_check_kafka("kafka://127.0.0.1:1/x?timeout=1s", &e), -1);
}

int main(void)
{
#define KAFKA_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        KAFKA_TEST(records_arrive_with_the_jobs_id_as_key),
        KAFKA_TEST(broker_down_at_start_is_waited_for),
        KAFKA_TEST(broker_that_goes_down_and_comes_back_gets_what_waited),
        KAFKA_TEST(full_buffer_drops_and_counts_and_the_end_is_bounded),
        KAFKA_TEST(refused_record_is_logged_at_once_and_resumed_only_by_a_delivery),
        KAFKA_TEST(check_finds_the_topic_or_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
