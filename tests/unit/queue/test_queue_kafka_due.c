/* What lanes do not take: messages that are put, and delayed ones whose time has come; against librdkafka's mock cluster. */
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

extern const struct queue_ops queue_ops_kafka;

#define WAIT_MS 30000
#define QUIET_MS 300 /* nothing more is expected in a topic */
#define DAY_MS (24LL * 3600 * 1000)

struct fixture {
    rd_kafka_t *holder; /* a mock cluster needs a client */
    rd_kafka_mock_cluster_t *mock;
    struct queue_kafka queue;
};

static int setup(void **state)
{
    static const char *const topics[] = {"p.good",      "p.gone",     "p.dead",     "p.delay.5s",
                                         "p.delay.30s", "p.delay.2m", "p.delay.10m"};
    char text[256];
    struct err e;
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->holder = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    assert_non_null(f->holder);
    f->mock = rd_kafka_mock_cluster_new(f->holder, 1);
    assert_non_null(f->mock);
    for (size_t i = 0; i < COUNT_OF(topics); i++) {
        assert_int_equal(rd_kafka_mock_topic_create(f->mock, topics[i], 1, 1), 0);
    }
    (void)snprintf(text, sizeof text, "kafka://%s/p?timeout=3s",
                   rd_kafka_mock_cluster_bootstraps(f->mock));
    f->queue.session_ms = 10000;
    assert_int_equal(pthread_mutex_init(&f->queue.lock, NULL), 0);
    assert_int_equal(pthread_mutex_init(&f->queue.admin, NULL), 0);
    MUST(kafka_cluster_new(text, NULL, 0, &f->queue.cluster, &e));
    MUST(kafka_producer_new(&f->queue, &f->queue.producer, &e));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    kafka_groups_free(&f->queue);
    kafka_producer_free(f->queue.producer);
    kafka_cluster_free(f->queue.cluster);
    pthread_mutex_destroy(&f->queue.lock);
    pthread_mutex_destroy(&f->queue.admin);
    free(f->queue.known);
    rd_kafka_mock_cluster_destroy(f->mock);
    rd_kafka_destroy(f->holder);
    free(f);
    return 0;
}

static void put_delayed(struct fixture *f, const char *id, const char *lane, int64_t age_ms)
{
    struct err e;
    struct kafka_record r = {.enqueued_ms = clock_wall_ms() - age_ms, .body = slice_of("{}")};
    struct kafka_outgoing out = {.lane = "delay.5s", .record = &r};
    kafka_copy(r.id, sizeof r.id, id);
    kafka_copy(r.lane, sizeof r.lane, lane);
    MUST(kafka_produce(&f->queue, &out, 1, &e));
}

/* Reads the whole topic, which must have `want` records; the caller destroys them and closes *rk. */
static size_t read_topic(struct fixture *f, const char *topic, size_t want, rd_kafka_t **rk,
                         rd_kafka_message_t **out)
{
    struct err e;
    size_t n = 0;
    int64_t until = clock_mono_ms() + (want > 0 ? WAIT_MS : QUIET_MS);
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(all, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    MUST(kafka_consumer_new(&f->queue, "reader", NULL, NULL, NULL, rk, &e));
    assert_int_equal(rd_kafka_assign(*rk, all), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(all);
    while (clock_mono_ms() < until) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(*rk, 50);
        if (m != NULL && m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            assert_true(n < want);
            out[n++] = m;
            until = n == want ? clock_mono_ms() + QUIET_MS : until;
        } else if (m != NULL) {
            rd_kafka_message_destroy(m);
        }
    }
    return n;
}

static void close_topic(rd_kafka_t *rk, rd_kafka_message_t *const *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        rd_kafka_message_destroy(all[i]);
    }
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

static int put_all_due(struct fixture *f, size_t count, struct err *e)
{
    rd_kafka_message_t *due[KAFKA_DUE_MAX];
    rd_kafka_t *rk;
    assert_int_equal(read_topic(f, "p.delay.5s", count, &rk, due), count);
    int rc = kafka_put_due(&f->queue, due, count, e);
    close_topic(rk, due, count);
    return rc;
}

/* The ids in the topic, in order, each with a blank after it; *last: without slices. */
static void expect_ids(struct fixture *f, const char *topic, size_t count, const char *ids,
                       struct kafka_record *last)
{
    rd_kafka_message_t *all[KAFKA_DUE_MAX];
    struct kafka_record r = {0};
    rd_kafka_t *rk;
    char got[256] = "";
    size_t n = read_topic(f, topic, count, &rk, all);
    for (size_t i = 0; i < n; i++) {
        kafka_record_read(all[i], &r);
        (void)snprintf(got + strlen(got), sizeof got - strlen(got), "%.30s ", r.id);
    }
    close_topic(rk, all, n);
    assert_string_equal(got, ids);
    if (last != NULL) {
        *last = r;
    }
}

static void due_messages_go_to_their_lanes(void **state)
{
    struct fixture *f = *state;
    struct err e;
    put_delayed(f, "a", "good", 0);
    put_delayed(f, "b", "gone", 0);
    put_delayed(f, "c", "good", 0);
    MUST(put_all_due(f, 3, &e));
    expect_ids(f, "p.good", 2, "a c ", NULL);
    expect_ids(f, "p.gone", 1, "b ", NULL);
    expect_ids(f, "p.dead", 0, "", NULL);
}

static void lane_without_a_topic_holds_up_no_other(void **state)
{
    struct fixture *f = *state;
    struct kafka_record r;
    struct err e;
    put_delayed(f, "a", "gone", 0);
    put_delayed(f, "b", "good", 0);
    put_delayed(f, "old", "gone", 40 * DAY_MS);
    rd_kafka_mock_topic_set_error(f->mock, "p.gone", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    MUST(put_all_due(f, 3, &e));
    rd_kafka_mock_topic_set_error(f->mock, "p.gone", RD_KAFKA_RESP_ERR_NO_ERROR);
    expect_ids(f, "p.good", 1, "b ", NULL);
    expect_ids(f, "p.delay.30s", 1, "a ", &r);
    assert_string_equal(r.lane, "gone");
    expect_ids(f, "p.dead", 1, "old ", &r);
    assert_non_null(strstr(r.reason, "\"gone\" took nothing for 30 days"));
    expect_ids(f, "p.gone", 0, "", NULL);
}

static void name_that_is_no_lane_is_a_dead_letter(void **state)
{
    struct fixture *f = *state;
    struct kafka_record r;
    struct err e;
    put_delayed(f, "a", "delay.5s", 0); /* it would wait for ever */
    put_delayed(f, "b", "dead", 0);
    put_delayed(f, "c", "", 0);
    put_delayed(f, "d", "a lane/", 0);
    put_delayed(f, "e", "good", 0);
    MUST(put_all_due(f, 5, &e));
    expect_ids(f, "p.good", 1, "e ", NULL);
    expect_ids(f, "p.dead", 4, "a b c d ", &r);
    assert_string_equal(r.lane, "a lane/");
    assert_true(r.dead_ms > 0);
    assert_non_null(strstr(r.reason, "\"a lane/\" is not the name of one"));
}

static void nothing_is_given_up_while_kafka_is_away(void **state)
{
    struct fixture *f = *state;
    struct err e;
    put_delayed(f, "a", "good", 0);
    rd_kafka_message_t *due[1];
    rd_kafka_t *rk;
    assert_int_equal(read_topic(f, "p.delay.5s", 1, &rk, due), 1);
    assert_int_equal(rd_kafka_mock_broker_set_down(f->mock, 1), 0);
    assert_int_equal(kafka_put_due(&f->queue, due, 1, &e), -1);
    assert_int_equal(rd_kafka_mock_broker_set_up(f->mock, 1), 0);
    MUST(kafka_put_due(&f->queue, due, 1, &e));
    close_topic(rk, due, 1);
    expect_ids(f, "p.good", 1, "a ", NULL);
}

/* Another program's record, which other topics might not take, and terminals not show. */
static void long_and_unprintable_parts_of_a_record_are_left_out(void **state)
{
    static char text[2 * QUEUE_BODY_MAX_BYTES];
    struct fixture *f = *state;
    rd_kafka_message_t *all[1];
    rd_kafka_t *rk;
    struct err e;
    struct kafka_record r = {
        .id = "a\033[31m\n", .lane = "good", .body = {text, sizeof text}, .enqueued_ms = 1};
    const struct kafka_outgoing out = {.lane = "delay.5s", .record = &r, .key = {text, 20000}};
    memset(text, 'x', sizeof text);
    MUST(kafka_produce(&f->queue, &out, 1, &e));
    MUST(put_all_due(f, 1, &e));
    assert_int_equal(read_topic(f, "p.good", 1, &rk, all), 1);
    assert_true(all[0]->len >
                QUEUE_BODY_MAX_BYTES); /* it is still too long to be read as one of Mayfly's */
    assert_true(all[0]->len < 2 * QUEUE_BODY_MAX_BYTES);
    assert_true(all[0]->key_len < 20000);
    kafka_record_read(all[0], &r);
    assert_string_equal(r.id, "a?[31m?");
    close_topic(rk, all, 1);
}

/* --- messages that are put --- */
static int put(struct fixture *f, const char *first, const char *second, struct err *e)
{
    const struct queue_item items[] = {{.lane = first, .key = "1", .body = slice_of("{}")},
                                       {.lane = second, .key = "2", .body = slice_of("{}")}};
    return queue_ops_kafka.put(&f->queue, items, 2, e);
}

static void expect_key(struct fixture *f, const char *topic, const char *key, const char *reason)
{
    rd_kafka_message_t *all[2];
    struct kafka_record r = {0};
    rd_kafka_t *rk;
    size_t n = read_topic(f, topic, key != NULL ? 1 : 0, &rk, all);
    if (n > 0) {
        kafka_record_read(all[0], &r);
    }
    close_topic(rk, all, n);
    assert_string_equal(r.key, key != NULL ? key : "");
    assert_non_null(strstr(r.reason, reason));
}

static void message_put_into_a_lane_without_a_topic_holds_up_no_other(void **state)
{
    struct fixture *f = *state;
    struct err e;
    rd_kafka_mock_topic_set_error(f->mock, "p.gone", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    MUST(put(f, "gone", "good", &e));
    rd_kafka_mock_topic_set_error(f->mock, "p.gone", RD_KAFKA_RESP_ERR_NO_ERROR);
    expect_key(f, "p.delay.30s", "1", "its lane took nothing: ");
    expect_key(f, "p.good", "2", ""); /* once */
    expect_key(f, "p.gone", NULL, "");
}

static void put_fails_while_kafka_is_away(void **state)
{
    struct fixture *f = *state;
    struct err e;
    assert_int_equal(rd_kafka_mock_broker_set_down(f->mock, 1), 0);
    assert_int_equal(put(f, "good", "gone", &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
}

static void put_into_a_delay_topic_that_is_missing_fails(void **state)
{
    struct fixture *f = *state;
    const struct queue_item late = {.lane = "good", .body = slice_of("{}"), .delay_ms = 6000};
    struct err e;
    rd_kafka_mock_topic_set_error(f->mock, "p.delay.5s", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    must_fail_saying(queue_ops_kafka.put(&f->queue, &late, 1, &e), &e, ERR_RETRY,
                     "topic p.delay.5s: create it");
}

/* --- people --- */
static void put_dead(struct fixture *f, const char *id, const char *lane)
{
    struct err e;
    struct kafka_record r = {.body = slice_of("{}")};
    struct kafka_outgoing out = {.lane = KAFKA_DEAD, .key = slice_of(id), .record = &r};
    kafka_copy(r.id, sizeof r.id, id);
    kafka_copy(r.lane, sizeof r.lane, lane);
    MUST(kafka_produce(&f->queue, &out, 1, &e));
}

static void dead_letter_without_a_lane_cannot_be_redriven_but_deleted(void **state)
{
    struct fixture *f = *state;
    struct err e;
    put_dead(f, "a", "delay.5s");
    put_dead(f, "b", "../x");
    must_fail_saying(queue_kafka_admin.redrive(&f->queue, "a", &e), &e, ERR_PERMANENT,
                     "\"delay.5s\" is not the name of one");
    must_fail_saying(queue_kafka_admin.redrive(&f->queue, "b", &e), &e, ERR_PERMANENT,
                     "mayflyctl dlq delete b");
    MUST(queue_kafka_admin.delete(&f->queue, "b", &e));
    must_fail_saying(queue_kafka_admin.redrive(&f->queue, "b", &e), &e, ERR_NOT_FOUND, "b");
    expect_ids(f, "p.delay.5s", 0, "", NULL);
}

static void messages_of_a_lane_without_a_topic_are_counted(void **state)
{
    struct fixture *f = *state;
    struct queue_depth *all;
    size_t n;
    struct err e;
    put_delayed(f, "a", "nosuch", 0);
    put_dead(f, "b", "nosuch");
    MUST(queue_kafka_depths(&f->queue, NULL, &all, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(all[0].lane, "nosuch");
    assert_int_equal(all[0].delayed, 1);
    assert_int_equal(all[0].dead, 1);
    free(all);
    MUST(queue_kafka_depths(&f->queue, "good", &all, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(all[0].delayed + all[0].dead, 0);
    free(all);
}

#define DEAD_COUNT 6000
#define DEAD_BATCH 100 /* one fetch of the mock */

/* More than a reader could read in its 30 s that fetches as little as a lane's consumer. */
static void many_dead_letters_can_be_read(void **state)
{
    static struct kafka_record records[DEAD_COUNT];
    static struct kafka_outgoing out[DEAD_COUNT];
    struct fixture *f = *state;
    struct queue_entry *all;
    size_t n;
    struct err e;
    for (size_t i = 0; i < DEAD_COUNT; i++) {
        (void)snprintf(records[i].id, sizeof records[i].id, "%zu", i);
        records[i].body = slice_of("{}");
        out[i] = (struct kafka_outgoing){
            .lane = KAFKA_DEAD, .key = slice_of(records[i].id), .record = &records[i]};
    }
    for (size_t i = 0; i < DEAD_COUNT; i += DEAD_BATCH) {
        MUST(kafka_produce(&f->queue, &out[i], DEAD_BATCH, &e));
    }
    MUST(queue_kafka_admin.dead(&f->queue, NULL, DEAD_COUNT, &all, &n, &e));
    assert_int_equal(n, DEAD_COUNT);
    queue_entries_free(all, n);
}

/* With an argument only the one that takes as long as the reader may. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(due_messages_go_to_their_lanes, setup, teardown),
        cmocka_unit_test_setup_teardown(lane_without_a_topic_holds_up_no_other, setup, teardown),
        cmocka_unit_test_setup_teardown(name_that_is_no_lane_is_a_dead_letter, setup, teardown),
        cmocka_unit_test_setup_teardown(long_and_unprintable_parts_of_a_record_are_left_out, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_is_given_up_while_kafka_is_away, setup, teardown),
        cmocka_unit_test_setup_teardown(message_put_into_a_lane_without_a_topic_holds_up_no_other,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(put_fails_while_kafka_is_away, setup, teardown),
        cmocka_unit_test_setup_teardown(put_into_a_delay_topic_that_is_missing_fails, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(dead_letter_without_a_lane_cannot_be_redriven_but_deleted,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(messages_of_a_lane_without_a_topic_are_counted, setup,
                                        teardown),
    };
    const struct CMUnitTest many[] = {
        cmocka_unit_test_setup_teardown(many_dead_letters_can_be_read, setup, teardown),
    };
    (void)argv;
    return argc > 1 ? cmocka_run_group_tests(many, NULL, NULL)
                    : cmocka_run_group_tests(tests, NULL, NULL);
}
