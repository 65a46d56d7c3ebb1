/*
 * Making a consumer: membership in a group by the classic protocol with the cooperative-sticky
 * strategy, so that a rebalance takes from a member only what moves.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/queue/kafka/internal.h"

#define HEARTBEAT_MS "1000" /* also how soon a member notices a rebalance */
#define FETCH_WAIT_MS "100" /* a resumed partition joins the next fetch */
#define SAFE_CLOSE_VERSION 0x020300ff
#define CLOSE_POLL_MS 50
#define START_CHECK_TIMEOUT_MS 2000

int kafka_consumer_new(const struct queue_kafka *q, const char *group,
                       kafka_rebalance_fn *rebalance, kafka_committed_fn *committed, void *opaque,
                       rd_kafka_t **out, struct err *e)
{
    char session[24];
    rd_kafka_conf_t *conf = kafka_conf_new(q->cluster, opaque);
    (void)snprintf(session, sizeof session, "%" PRId64, q->session_ms);
    kafka_conf_set(conf, "group.id", group);
    kafka_conf_set(conf, "enable.auto.commit", "false");
    kafka_conf_set(conf, "enable.auto.offset.store", "false");
    kafka_conf_set(conf, "auto.offset.reset", "earliest");
    kafka_conf_set(conf, "partition.assignment.strategy", "cooperative-sticky");
    kafka_conf_set(conf, "session.timeout.ms", session);
    kafka_conf_set(conf, "heartbeat.interval.ms", HEARTBEAT_MS);
    kafka_conf_set(conf, "allow.auto.create.topics", "false");
    kafka_conf_set(conf, "topic.metadata.refresh.interval.ms", "30000");
    /* Little is fetched ahead: what is in hand here is not with a member that has room. */
    kafka_conf_set(conf, "queued.min.messages", "64");
    kafka_conf_set(conf, "queued.max.messages.kbytes", "2048");
    kafka_conf_set(conf, "max.partition.fetch.bytes", "262144");
    kafka_conf_set(conf, "fetch.wait.max.ms", FETCH_WAIT_MS);
    kafka_conf_set(conf, "fetch.error.backoff.ms", "100");
    if (rebalance != NULL) {
        rd_kafka_conf_set_rebalance_cb(conf, rebalance);
        rd_kafka_conf_set_offset_commit_cb(conf, committed);
    } else {
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

static void check_start(const struct queue_kafka *q, rd_kafka_t *rk,
                        const rd_kafka_topic_partition_t *p)
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
    (void)q;
}

void kafka_consumer_check_start(const struct queue_kafka *q, rd_kafka_t *rk,
                                const rd_kafka_topic_partition_list_t *parts)
{
    rd_kafka_topic_partition_list_t *copy = rd_kafka_topic_partition_list_copy(parts);
    if (rd_kafka_committed(rk, copy, START_CHECK_TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < copy->cnt; i++) {
            check_start(q, rk, &copy->elems[i]);
        }
    }
    rd_kafka_topic_partition_list_destroy(copy);
}
