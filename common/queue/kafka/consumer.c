/*
 * Making a consumer: membership in a group by the classic protocol with the cooperative-sticky
 * strategy, so that a rebalance takes from a member only what moves.
 *
 * A commit that is sent while the coordinator holds the member's JoinGroup request is refused, as
 * the response to that begins a new generation; and up to 2.9 librdkafka then gives all partitions
 * up (its issue 4059). A group with a dead member is in that state until the dead one's session
 * ends. So the requests are watched, and a consumer that is joining does not commit.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/queue/kafka/internal.h"

#define HEARTBEAT_MS "1000" /* also how soon a member notices a rebalance */
#define FETCH_WAIT_MS "100" /* a resumed partition joins the next fetch */
#define SAFE_CLOSE_VERSION 0x020300ff
#define CLOSE_POLL_MS 50
#define START_CHECK_TIMEOUT_MS 2000
/* How long the group waits for a member that is alive but does not poll; also, for 3 s longer, how
 * long librdkafka waits for a coordinator that vanished in the middle of a rebalance. */
#define POLL_MOST_MS 60000

/* --- whether it is joining --- */
#define WATCH "mayfly"
#define API_JOIN_GROUP 11
#define API_SYNC_GROUP 14

struct membership {
    const rd_kafka_t *rk;
    atomic_bool joining;
    struct membership *next;
};
static pthread_mutex_t memberships_lock = PTHREAD_MUTEX_INITIALIZER;
static struct membership *memberships; /* under the lock */

bool kafka_consumer_is_joining(const rd_kafka_t *rk)
{
    pthread_mutex_lock(&memberships_lock);
    const struct membership *m = memberships;
    while (m != NULL && m->rk != rk) {
        m = m->next;
    }
    bool joining = m != NULL && atomic_load(&m->joining);
    pthread_mutex_unlock(&memberships_lock);
    return joining;
}

/* NOLINTNEXTLINE(readability-function-size): librdkafka's type of an interceptor */
static rd_kafka_resp_err_t on_request_sent(rd_kafka_t *rk, int fd, const char *broker,
                                           int32_t broker_id, int16_t api, int16_t version,
                                           int32_t correlation, size_t size, void *opaque)
{
    struct membership *m = opaque;
    (void)rk, (void)fd, (void)broker, (void)broker_id, (void)version, (void)correlation, (void)size;
    if (api == API_JOIN_GROUP) {
        atomic_store(&m->joining, true);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* A failed JoinGroup or SyncGroup is followed by another JoinGroup. */
/* NOLINTNEXTLINE(readability-function-size): librdkafka's type of an interceptor */
static rd_kafka_resp_err_t on_response_received(rd_kafka_t *rk, int fd, const char *broker,
                                                int32_t broker_id, int16_t api, int16_t version,
                                                int32_t correlation, size_t size, int64_t rtt,
                                                rd_kafka_resp_err_t code, void *opaque)
{
    struct membership *m = opaque;
    (void)rk, (void)fd, (void)broker, (void)broker_id, (void)version, (void)correlation, (void)size;
    (void)rtt;
    if (api == API_SYNC_GROUP && code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        atomic_store(&m->joining, false);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_destroy(rd_kafka_t *rk, void *opaque)
{
    struct membership *m = opaque;
    (void)rk;
    pthread_mutex_lock(&memberships_lock);
    struct membership **link = &memberships;
    while (*link != m) {
        link = &(*link)->next;
    }
    *link = m->next;
    pthread_mutex_unlock(&memberships_lock);
    free(m);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque,
                                  char *why, size_t why_size)
{
    struct membership *m = calloc(1, sizeof *m);
    ASSERT(m != NULL);
    (void)conf, (void)opaque, (void)why, (void)why_size;
    m->rk = rk;
    (void)rd_kafka_interceptor_add_on_request_sent(rk, WATCH, on_request_sent, m);
    (void)rd_kafka_interceptor_add_on_response_received(rk, WATCH, on_response_received, m);
    (void)rd_kafka_interceptor_add_on_destroy(rk, WATCH, on_destroy, m);
    pthread_mutex_lock(&memberships_lock);
    m->next = memberships;
    memberships = m;
    pthread_mutex_unlock(&memberships_lock);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* --- making and freeing --- */
static void set_ms(rd_kafka_conf_t *conf, const char *name, int64_t ms)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, ms);
    kafka_conf_set(conf, name, text);
}

int kafka_consumer_new(const struct queue_kafka *q, const char *group,
                       kafka_rebalance_fn *rebalance, kafka_committed_fn *committed, void *opaque,
                       rd_kafka_t **out, struct err *e)
{
    rd_kafka_conf_t *conf = kafka_conf_new(q->cluster, opaque);
    kafka_conf_set(conf, "group.id", group);
    kafka_conf_set(conf, "enable.auto.commit", "false");
    kafka_conf_set(conf, "enable.auto.offset.store", "false");
    kafka_conf_set(conf, "auto.offset.reset", "earliest");
    kafka_conf_set(conf, "partition.assignment.strategy", "cooperative-sticky");
    set_ms(conf, "session.timeout.ms", q->session_ms);
    set_ms(conf, "max.poll.interval.ms",
           POLL_MOST_MS > q->session_ms ? POLL_MOST_MS : q->session_ms);
    kafka_conf_set(conf, "heartbeat.interval.ms", HEARTBEAT_MS);
    kafka_conf_set(conf, "allow.auto.create.topics", "false");
    kafka_conf_set(conf, "topic.metadata.refresh.interval.ms", "30000");
    kafka_conf_set(conf, "fetch.wait.max.ms", FETCH_WAIT_MS);
    kafka_conf_set(conf, "fetch.error.backoff.ms", "100");
    if (rebalance != NULL) {
        /* Little is fetched ahead: what is in hand here is not with a member that has room. */
        kafka_conf_set(conf, "queued.min.messages", "64");
        kafka_conf_set(conf, "queued.max.messages.kbytes", "2048");
        kafka_conf_set(conf, "max.partition.fetch.bytes", "262144");
        rd_kafka_conf_set_rebalance_cb(conf, rebalance);
        rd_kafka_conf_set_offset_commit_cb(conf, committed);
        (void)rd_kafka_conf_interceptor_add_on_new(conf, WATCH, on_new, NULL);
    } else {
        /* Beyond these, librdkafka fetches once a second. */
        kafka_conf_set(conf, "queued.min.messages", "50000");
        kafka_conf_set(conf, "queued.max.messages.kbytes", "16384");
        kafka_conf_set(conf, "enable.partition.eof", "true");
    }
    if (kafka_client_new(RD_KAFKA_CONSUMER, conf, out, e) != 0) {
        return -1;
    }
    (void)rd_kafka_poll_set_consumer(*out);
    return 0;
}

int kafka_consumer_subscribe(const struct queue_kafka *q, rd_kafka_t *rk, const char *const *lanes,
                             size_t n, struct err *e)
{
    char topic[KAFKA_TOPIC_SIZE];
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++) {
        kafka_topic_of(q, lanes[i], topic);
        (void)rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    }
    rd_kafka_resp_err_t code = rd_kafka_subscribe(rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : kafka_error(q->cluster, code, "subscribe to topics", e);
}

/* Before 2.3.0 librdkafka aborts the program when a cooperative-sticky consumer that is joining a
 * group is closed before its first assignment (its issue 4312). */
static bool may_close(const struct queue_kafka *q, rd_kafka_t *rk, const atomic_bool *assigned)
{
    int64_t until_ms = clock_mono_ms() + q->session_ms;
    while (rd_kafka_version() < SAFE_CLOSE_VERSION && !atomic_load(assigned) &&
           clock_mono_ms() < until_ms) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, CLOSE_POLL_MS);
        if (m != NULL) {
            rd_kafka_message_destroy(m);
        }
    }
    return rd_kafka_version() >= SAFE_CLOSE_VERSION || atomic_load(assigned);
}

void kafka_consumer_free(const struct queue_kafka *q, rd_kafka_t *rk, const atomic_bool *assigned)
{
    if (!may_close(q, rk, assigned)) {
        log_warn("kafka_consumer_abandoned",
                 LOG_STR("action", "the consumer is left to the end of the process"));
        return;
    }
    (void)rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

/* --- what the brokers deleted too early --- */
struct kafka_start_check {
    rd_kafka_t *rk;
    rd_kafka_topic_partition_list_t *parts;
    pthread_t thread;
    atomic_bool stopping;
    atomic_bool done;
};

static void check_start(rd_kafka_t *rk, const rd_kafka_topic_partition_t *p)
{
    int64_t low = 0;
    int64_t high = 0;
    if (p->offset < 0 ||
        rd_kafka_query_watermark_offsets(rk, p->topic, p->partition, &low, &high,
                                         START_CHECK_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        p->offset >= low) {
        return;
    }
    log_error("kafka_messages_lost", LOG_STR("topic", p->topic), LOG_INT("partition", p->partition),
              LOG_INT("count", low - p->offset),
              LOG_STR("action", "receiving goes on with the oldest message that is left"),
              LOG_STR("hint", "the broker deleted messages that were not finished: raise "
                              "retention.ms and remove retention.bytes of the topic; the reaper "
                              "finds the jobs at GitHub"));
}

static void *check_starts(void *arg)
{
    struct kafka_start_check *c = arg;
    if (rd_kafka_committed(c->rk, c->parts, START_CHECK_TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < c->parts->cnt && !atomic_load(&c->stopping); i++) {
            check_start(c->rk, &c->parts->elems[i]);
        }
    }
    atomic_store(&c->done, true);
    return NULL;
}

struct kafka_start_check *kafka_start_check_new(rd_kafka_t *rk,
                                                const rd_kafka_topic_partition_list_t *parts)
{
    struct err e;
    struct kafka_start_check *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    c->rk = rk;
    c->parts = rd_kafka_topic_partition_list_copy(parts);
    if (thread_start(&c->thread, "the thread that looks for messages Kafka deleted", check_starts,
                     c, &e) != 0) {
        rd_kafka_topic_partition_list_destroy(c->parts);
        free(c);
        return NULL;
    }
    return c;
}

bool kafka_start_check_done(const struct kafka_start_check *c)
{
    return atomic_load(&c->done);
}

void kafka_start_check_free(struct kafka_start_check *c)
{
    if (c != NULL) {
        atomic_store(&c->stopping, true);
        (void)pthread_join(c->thread, NULL);
        rd_kafka_topic_partition_list_destroy(c->parts);
        free(c);
    }
}
