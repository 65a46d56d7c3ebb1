/* A lane's consumer when the brokers are away, against librdkafka's mock cluster. */
#include <librdkafka/rdkafka.h>
/* After it. */
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/queue/kafka/internal.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define WAIT_MS 30000

struct fixture {
    rd_kafka_t *holder; /* a mock cluster needs a client */
    rd_kafka_mock_cluster_t *mock;
    struct queue_kafka queue;
    struct kafka_lane *lane;
};

static int setup(void **state)
{
    char text[256];
    struct err e;
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->holder = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    assert_non_null(f->holder);
    f->mock = rd_kafka_mock_cluster_new(f->holder, 1);
    assert_non_null(f->mock);
    assert_int_equal(rd_kafka_mock_topic_create(f->mock, "p.lane", 1, 1), 0);
    (void)snprintf(text, sizeof text, "kafka://%s/p?timeout=3s",
                   rd_kafka_mock_cluster_bootstraps(f->mock));
    f->queue.session_ms = 3000;
    f->queue.idle_ms = 10000;
    f->queue.window = 256;
    assert_int_equal(pthread_mutex_init(&f->queue.lock, NULL), 0);
    MUST(kafka_cluster_new(text, NULL, 0, &f->queue.cluster, &e));
    MUST(kafka_producer_new(&f->queue, &f->queue.producer, &e));
    MUST(kafka_lane_new(&f->queue, "lane", &f->lane, &e));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    kafka_lane_free(f->lane);
    kafka_producer_free(f->queue.producer);
    kafka_cluster_free(f->queue.cluster);
    pthread_mutex_destroy(&f->queue.lock);
    rd_kafka_mock_cluster_destroy(f->mock);
    rd_kafka_destroy(f->holder);
    free(f);
    return 0;
}

static void put(struct fixture *f)
{
    struct err e;
    struct kafka_record r = {.id = "a", .body = slice_of("{}")};
    const struct kafka_outgoing out = {.lane = "lane", .record = &r};
    MUST(kafka_produce(&f->queue, &out, 1, &e));
}

/* Until a receive fails, or has a message. */
static int receive(struct fixture *f, struct err *e)
{
    const struct queue_receive_args w = {
        .lane = "lane", .max = 1, .lease_ms = 60000, .wait_ms = 500};
    struct queue_message m;
    int64_t until = clock_mono_ms() + WAIT_MS;
    size_t got = 0;
    int rc = 0;
    while (rc == 0 && got == 0 && clock_mono_ms() < until) {
        rc = kafka_lane_receive(f->lane, &w, &m, &got, e);
    }
    if (got > 0) {
        queue_message_fini(&m);
    }
    return got > 0 ? 1 : rc;
}

static void receive_fails_while_no_broker_was_reached_yet(void **state)
{
    struct fixture *f = *state;
    struct err e;
    assert_int_equal(rd_kafka_mock_broker_set_down(f->mock, 1), 0);
    must_fail_saying(receive(f, &e), &e, ERR_RETRY, "topic p.lane: cannot receive on Kafka");
    assert_int_equal(rd_kafka_mock_broker_set_up(f->mock, 1), 0);
    put(f);
    while (receive(f, &e) != 1) { /* until ctest's timeout */
        assert_int_equal(e.class, ERR_RETRY);
    }
}

static void receive_fails_after_the_session_was_lost(void **state)
{
    struct fixture *f = *state;
    struct err e;
    put(f);
    assert_int_equal(receive(f, &e), 1);
    assert_int_equal(rd_kafka_mock_broker_set_down(f->mock, 1), 0);
    must_fail_saying(receive(f, &e), &e, ERR_RETRY, "topic p.lane: cannot receive on Kafka");
    assert_int_equal(rd_kafka_mock_broker_set_up(f->mock, 1), 0);
    put(f);
    while (receive(f, &e) != 1) {
        assert_int_equal(e.class, ERR_RETRY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(receive_fails_while_no_broker_was_reached_yet, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(receive_fails_after_the_session_was_lost, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
