/*
 * The parts of the Kafka queue that need no broker: what a member has in hand, and delays.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/queue/kafka/hand.h"
#include "common/queue/kafka/internal.h"
#include "tests/lib/cmocka.h"

#include <librdkafka/rdkafka_mock.h> /* after rdkafka.h */

/* --- the hand --- */
static int freed;

static void count_freed(void *record)
{
    (void)record;
    freed++;
}

static void add(struct hand *h, int32_t partition, int64_t offset, int64_t appended_ms)
{
    struct hand_message m = {.partition = partition, .offset = offset, .appended_ms = appended_ms};
    assert_true(hand_add(h, &m));
}

static int64_t position(struct hand *h, int32_t partition)
{
    return hand_position(h, hand_partition(h, partition));
}

static void position_is_the_oldest_unfinished_message(void **state)
{
    struct hand h = {0};
    (void)state;
    hand_add_partition(&h, 3);
    assert_int_equal(position(&h, 3), -1); /* nothing to commit */
    add(&h, 3, 10, 1);
    add(&h, 3, 11, 2);
    add(&h, 3, 14, 3); /* offsets have gaps */
    assert_int_equal(position(&h, 3), 10);
    (void)hand_remove(&h, hand_at(&h, 3, 11));
    assert_int_equal(position(&h, 3), 10);
    (void)hand_remove(&h, hand_at(&h, 3, 10));
    assert_int_equal(position(&h, 3), 14);
    (void)hand_remove(&h, hand_at(&h, 3, 14));
    assert_int_equal(position(&h, 3), 15);
    hand_fini(&h);
}

static void message_of_a_partition_that_is_gone_is_refused(void **state)
{
    struct hand h = {0};
    struct hand_message m = {.partition = 1, .offset = 7};
    (void)state;
    freed = 0;
    assert_false(hand_add(&h, &m));
    hand_add_partition(&h, 1);
    hand_add_partition(&h, 2);
    add(&h, 1, 7, 1);
    add(&h, 2, 8, 1);
    add(&h, 1, 9, 1);
    hand_drop_partition(&h, 1, count_freed);
    assert_int_equal(freed, 2);
    assert_null(hand_partition(&h, 1));
    assert_null(hand_at(&h, 1, 7));
    assert_non_null(hand_at(&h, 2, 8));
    assert_false(hand_add(&h, &m));
    hand_fini(&h);
}

static void oldest_put_is_leased_first_whatever_its_partition(void **state)
{
    struct hand h = {0};
    (void)state;
    hand_add_partition(&h, 0);
    hand_add_partition(&h, 1);
    add(&h, 0, 1, 300);
    add(&h, 1, 1, 100);
    add(&h, 0, 2, 200);
    assert_int_equal(hand_lease(&h, 1000)->appended_ms, 100);
    assert_int_equal(hand_lease(&h, 1000)->appended_ms, 200);
    assert_int_equal(hand_lease(&h, 1000)->appended_ms, 300);
    assert_null(hand_lease(&h, 1000));
    assert_int_equal(hand_count(&h, HAND_ANY_PARTITION, HAND_LEASED), 3);
    assert_int_equal(hand_count(&h, 0, HAND_LEASED), 2);
    hand_fini(&h);
}

static void expired_lease_is_good_until_another_has_the_message(void **state)
{
    struct hand h = {0};
    (void)state;
    hand_add_partition(&h, 0);
    add(&h, 0, 5, 1);
    assert_null(hand_find(&h, 0, 5, 0)); /* never leased: no receipt holds it */
    uint64_t first = hand_lease(&h, 100)->lease;
    assert_int_equal(hand_expire(&h, 99), 0);
    assert_int_equal(hand_expire(&h, 100), 1);
    assert_non_null(hand_find(&h, 0, 5, first));
    uint64_t second = hand_lease(&h, 200)->lease;
    assert_null(hand_find(&h, 0, 5, first));
    assert_non_null(hand_find(&h, 0, 5, second));
    hand_at(&h, 0, 5)->state = HAND_CLAIMED;
    assert_int_equal(hand_expire(&h, 1000), 0); /* it is being put elsewhere */
    hand_fini(&h);
}

/* --- delays --- */
static void delay_goes_through_topics_and_is_never_shortened(void **state)
{
    static const int64_t delays_ms[] = {1,      4999,   5000,   5001,   29999,   30000,
                                        119999, 120000, 599999, 600000, 3599999, 86400000};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(delays_ms); i++) {
        int64_t left = delays_ms[i];
        int64_t total = 0;
        const char *topic;
        while ((topic = kafka_delay_topic(left, &left)) != NULL) {
            total += kafka_delay_of(topic);
        }
        assert_in_range(total, delays_ms[i], delays_ms[i] + 5000);
    }
    int64_t left = 9;
    assert_null(kafka_delay_topic(0, &left));
    assert_int_equal(left, 0);
}

static void delay_topics_are_told_by_their_end(void **state)
{
    (void)state;
    assert_int_equal(kafka_delay_of("mayfly.delay.5s"), 5000);
    assert_int_equal(kafka_delay_of("mayfly.delay.10m"), 600000);
    assert_int_equal(kafka_delay_of("mayfly.events"), 0);
    assert_int_equal(kafka_delay_of("5s"), 0);
}

/* --- the look for deleted messages --- */
#define SLOW_MS 500

static void brokers_that_are_slow_do_not_hold_up_who_looks_for_deleted_messages(void **state)
{
    char why[128];
    char url[128];
    struct err e;
    struct queue_kafka q = {.session_ms = 10000};
    rd_kafka_t *rk;
    (void)state;
    rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof why);
    rd_kafka_mock_cluster_t *mock = rd_kafka_mock_cluster_new(host, 1);
    (void)snprintf(url, sizeof url, "kafka://%s/t", rd_kafka_mock_cluster_bootstraps(mock));
    assert_int_equal(kafka_cluster_new(url, NULL, 0, &q.cluster, &e), 0);
    assert_int_equal(kafka_consumer_new(&q, "t.events", NULL, NULL, NULL, &rk, &e), 0);
    assert_int_equal(rd_kafka_mock_broker_set_rtt(mock, 1, SLOW_MS), 0);
    rd_kafka_topic_partition_list_t *parts = rd_kafka_topic_partition_list_new(1);
    (void)rd_kafka_topic_partition_list_add(parts, "t.events", 0);
    struct kafka_start_check *check = kafka_start_check_new(rk, parts);
    assert_non_null(check);
    assert_false(kafka_start_check_done(check)); /* it cannot be, before a response */
    kafka_start_check_free(check);
    rd_kafka_topic_partition_list_destroy(parts);
    rd_kafka_destroy(rk);
    kafka_cluster_free(q.cluster);
    rd_kafka_mock_cluster_destroy(mock);
    rd_kafka_destroy(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brokers_that_are_slow_do_not_hold_up_who_looks_for_deleted_messages),
        cmocka_unit_test(position_is_the_oldest_unfinished_message),
        cmocka_unit_test(message_of_a_partition_that_is_gone_is_refused),
        cmocka_unit_test(oldest_put_is_leased_first_whatever_its_partition),
        cmocka_unit_test(expired_lease_is_good_until_another_has_the_message),
        cmocka_unit_test(delay_goes_through_topics_and_is_never_shortened),
        cmocka_unit_test(delay_topics_are_told_by_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
