/*
 * On librdkafka's mock cluster, which knows metadata but neither settings nor creation; those are
 * tested on real brokers.
 */
#include <stdio.h>
#include <string.h>

#include "common/kafka/topics.h"
#include "tests/lib/cmocka.h"

#include <librdkafka/rdkafka_mock.h> /* after rdkafka.h */

struct bed {
    rd_kafka_t *host; /* of the mock cluster */
    rd_kafka_mock_cluster_t *mock;
    struct kafka_cluster *cluster;
    rd_kafka_t *rk;
};

static struct bed bed_new(int brokers)
{
    struct bed b = {0};
    struct err e;
    char why[128];
    char url[1200];
    b.host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof why);
    assert_non_null(b.host);
    b.mock = rd_kafka_mock_cluster_new(b.host, brokers);
    assert_non_null(b.mock);
    (void)snprintf(url, sizeof url, "kafka://%s/test?timeout=2s",
                   rd_kafka_mock_cluster_bootstraps(b.mock));
    assert_int_equal(kafka_cluster_new(url, NULL, 0, &b.cluster, &e), 0);
    assert_int_equal(
        kafka_client_new(RD_KAFKA_PRODUCER, kafka_conf_new(b.cluster, NULL), &b.rk, &e), 0);
    return b;
}

static void bed_free(struct bed *b)
{
    rd_kafka_destroy(b->rk);
    kafka_cluster_free(b->cluster);
    rd_kafka_mock_cluster_destroy(b->mock);
    rd_kafka_destroy(b->host);
}

static void brokers_are_counted(void **state)
{
    struct bed b = bed_new(3);
    struct err e;
    int brokers = 0;
    assert_int_equal(kafka_brokers_count(b.cluster, b.rk, &brokers, &e), 0);
    assert_int_equal(brokers, 3);
    bed_free(&b);
}

static void missing_topics_are_described_and_not_created(void **state)
{
    struct bed b = bed_new(1);
    struct err e;
    for (int i = 0; i < 2; i++) {
        struct kafka_topic topics[2] = {{.name = "test.events", .exists = true, .partitions = 9},
                                        {.name = "test.dead"}};
        assert_int_equal(kafka_topics_describe(b.cluster, b.rk, topics, 2, &e), 0);
        assert_false(topics[0].exists || topics[1].exists);
        assert_int_equal(topics[0].partitions, 0);
        assert_string_equal(topics[0].name, "test.events");
    }
    bed_free(&b);
}

static void unreachable_cluster_is_an_error_to_retry(void **state)
{
    struct bed b = bed_new(1);
    struct err e = {0};
    int brokers = 7;
    struct kafka_topic topic = {.name = "test.events"};
    assert_int_equal(rd_kafka_mock_broker_set_down(b.mock, 1), 0);
    assert_int_equal(kafka_brokers_count(b.cluster, b.rk, &brokers, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(brokers, 7);
    assert_non_null(strstr(e.message, kafka_cluster_brokers(b.cluster)));
    assert_int_equal(kafka_topics_describe(b.cluster, b.rk, &topic, 1, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    bed_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brokers_are_counted),
        cmocka_unit_test(missing_topics_are_described_and_not_created),
        cmocka_unit_test(unreachable_cluster_is_an_error_to_retry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
