/*
 * The sink that produces to a Kafka topic. The key is the job's id (of a VM without a job its name),
 * so that a job's records keep their order within one partition. acks=all without idempotence: a
 * retry may repeat a record. librdkafka's own queue is bounded as the sink's buffer is; when it is
 * full, records stay in that buffer.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/events/sink.h"
#include "common/kafka/client.h"

#define QUEUE_KBYTES "32768"
#define MESSAGE_TIMEOUT_MS "300000"
#define LINGER_MS "50"
#define END_POLL_MS 100

struct event_topic {
    struct kafka_cluster *cluster;
    rd_kafka_t *producer;
    struct sink *sink;
};

static void fail_put(const struct event_topic *t, rd_kafka_resp_err_t code, struct err *e)
{
    const char *topic = kafka_cluster_prefix(t->cluster);
    (void)kafka_error(t->cluster, code, "put an event on it", e);
    if (e->class == ERR_NOT_FOUND) {
        (void)err_wrap(e, "topic %s: create it (deploy/docs/events.md)", topic);
    } else {
        (void)err_wrap(e, "topic %s", topic);
    }
}

static void record_delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct event_topic *t = opaque;
    (void)rk;
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        sink_count_written(t->sink, 1);
        return;
    }
    if (m->err != RD_KAFKA_RESP_ERR__PURGE_QUEUE && m->err != RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) {
        struct err e = {0};
        fail_put(t, m->err, &e);
        sink_count_dropped(t->sink, "delivery_failed", 1);
        sink_report_failure(t->sink, &e, "the record is dropped");
    }
}

static void topic_close(void *state)
{
    struct event_topic *t = state;
    if (t->producer != NULL) {
        rd_kafka_destroy(t->producer);
    }
    kafka_cluster_free(t->cluster);
    free(t);
}

static int make_producer(struct event_topic *t, int64_t buffer, struct err *e)
{
    char most[24];
    rd_kafka_conf_t *conf = kafka_conf_new(t->cluster, t);
    (void)snprintf(most, sizeof most, "%lld", (long long)buffer);
    kafka_conf_set(conf, "acks", "all");
    kafka_conf_set(conf, "linger.ms", LINGER_MS);
    kafka_conf_set(conf, "message.timeout.ms", MESSAGE_TIMEOUT_MS);
    kafka_conf_set(conf, "queue.buffering.max.messages", most);
    kafka_conf_set(conf, "queue.buffering.max.kbytes", QUEUE_KBYTES);
    kafka_conf_set(conf, "partitioner", "murmur2_random");
    rd_kafka_conf_set_dr_msg_cb(conf, record_delivered);
    return kafka_client_new(RD_KAFKA_PRODUCER, conf, &t->producer, e);
}

static int topic_open(const struct sink_target *target, struct sink *sink, void **out,
                      struct err *e)
{
    struct event_topic *t = calloc(1, sizeof *t);
    ASSERT(t != NULL);
    t->sink = sink;
    if (kafka_cluster_new(target->url, NULL, 0, &t->cluster, e) != 0 ||
        make_producer(t, target->buffer, e) != 0) {
        topic_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

/* librdkafka copies key and value. */
static rd_kafka_resp_err_t produce(struct event_topic *t, const struct sink_record *r)
{
    rd_kafka_vu_t args[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = kafka_cluster_prefix(t->cluster)},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)r->key.ptr, r->key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)r->json.ptr, r->json.len}},
    };
    rd_kafka_error_t *failed = rd_kafka_produceva(t->producer, args, COUNT_OF(args));
    rd_kafka_resp_err_t code = rd_kafka_error_code(failed);
    if (failed != NULL) {
        rd_kafka_error_destroy(failed);
    }
    return code;
}

static size_t topic_write(void *state, const struct sink_record *records, size_t n, struct err *e)
{
    struct event_topic *t = state;
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t code = produce(t, &records[i]);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            fail_put(t, code, e);
            return i;
        }
    }
    return n;
}

static void poll_deliveries(void *state)
{
    struct event_topic *t = state;
    (void)rd_kafka_poll(t->producer, 0);
}

static int64_t topic_flush(void *state, int64_t timeout_ms)
{
    struct event_topic *t = state;
    (void)rd_kafka_flush(t->producer, (int)timeout_ms);
    int64_t lost = rd_kafka_outq_len(t->producer);
    /* Otherwise destroying the producer would wait for them. */
    (void)rd_kafka_purge(t->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    (void)rd_kafka_poll(t->producer, END_POLL_MS);
    return lost;
}

const struct sink_ops sink_ops_kafka = {
    .name = "kafka",
    .open = topic_open,
    .write = topic_write,
    .idle = poll_deliveries,
    .flush = topic_flush,
    .close = topic_close,
    .counts_itself = true,
};
