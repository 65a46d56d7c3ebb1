/*
 * The producer of a Kafka queue: idempotent, acks=all, one blocking call for a batch.
 *
 * A put that timed out may have been written all the same: a repeated one is then there twice, which
 * the queue's contract allows. A fatal error of the idempotent producer (a gap in its sequence that
 * cannot be closed) ends that client; the next call makes another.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/queue/kafka/internal.h"

struct kafka_producer {
    const struct queue_kafka *queue;
    pthread_rwlock_t lock; /* written while the client is exchanged */
    rd_kafka_t *rk;        /* under the lock */
    pthread_t poller;      /* serves rk's delivery reports */
    atomic_bool stopping;  /* the poller */
};

/* One call waits for all its records. */
struct ticket {
    pthread_mutex_t lock;
    pthread_cond_t done;
    size_t left;
    rd_kafka_resp_err_t code; /* of the first that failed */
};

static void report(struct ticket *t, rd_kafka_resp_err_t code)
{
    pthread_mutex_lock(&t->lock);
    if (t->code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        t->code = code;
    }
    if (--t->left == 0) {
        pthread_cond_signal(&t->done);
    }
    pthread_mutex_unlock(&t->lock);
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    (void)opaque;
    report(m->_private, m->err);
}

static void *serve_reports(void *arg)
{
    struct kafka_producer *p = arg;
    while (!atomic_load(&p->stopping)) {
        (void)rd_kafka_poll(p->rk, 100);
    }
    return NULL;
}

/* --- the client --- */
static void set_ms(rd_kafka_conf_t *conf, const char *name, int64_t ms)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)ms);
    kafka_conf_set(conf, name, text);
}

static int start_client(struct kafka_producer *p, struct err *e)
{
    int64_t timeout_ms = kafka_cluster_timeout_ms(p->queue->cluster);
    rd_kafka_conf_t *conf = kafka_conf_new(p->queue->cluster, p);
    kafka_conf_set(conf, "enable.idempotence", "true");
    /* One request at a time. A partition that does not know the producer yet takes any sequence
     * number: were its first batch refused (a new topic's leader is not ready) and the second
     * written, the repeated first one would count as a duplicate, and be confirmed but lost. */
    kafka_conf_set(conf, "max.in.flight.requests.per.connection", "1");
    kafka_conf_set(conf, "linger.ms", "0");
    kafka_conf_set(conf, "sticky.partitioning.linger.ms", "0");
    kafka_conf_set(conf, "partitioner", "murmur2_random");
    /* A leader that hangs is given up in time to try the next one. */
    set_ms(conf, "request.timeout.ms", timeout_ms * 2 / 5);
    set_ms(conf, "message.timeout.ms", timeout_ms);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    if (kafka_client_new(RD_KAFKA_PRODUCER, conf, &p->rk, e) != 0) {
        return -1;
    }
    atomic_store(&p->stopping, false);
    if (thread_start(&p->poller, "the thread that serves a Kafka producer", serve_reports, p, e) !=
        0) {
        rd_kafka_destroy(p->rk);
        p->rk = NULL;
        return -1;
    }
    return 0;
}

static void stop_client(struct kafka_producer *p)
{
    if (p->rk != NULL) {
        atomic_store(&p->stopping, true);
        (void)pthread_join(p->poller, NULL);
        rd_kafka_destroy(p->rk);
        p->rk = NULL;
    }
}

int kafka_producer_new(const struct queue_kafka *q, struct kafka_producer **out, struct err *e)
{
    struct kafka_producer *p = calloc(1, sizeof *p);
    ASSERT(p != NULL);
    p->queue = q;
    ASSERT(pthread_rwlock_init(&p->lock, NULL) == 0);
    if (start_client(p, e) != 0) {
        kafka_producer_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

void kafka_producer_free(struct kafka_producer *p)
{
    if (p != NULL) {
        stop_client(p);
        pthread_rwlock_destroy(&p->lock);
        free(p);
    }
}

rd_kafka_t *kafka_producer_get(struct kafka_producer *p)
{
    pthread_rwlock_rdlock(&p->lock);
    return p->rk;
}

void kafka_producer_put(struct kafka_producer *p)
{
    pthread_rwlock_unlock(&p->lock);
}

/* Exchanges a client that has failed permanently, or that is missing since the last exchange. */
static int renew_client(struct kafka_producer *p, struct err *e)
{
    char why[256] = "";
    int rc = 0;
    pthread_rwlock_wrlock(&p->lock);
    if (p->rk == NULL || rd_kafka_fatal_error(p->rk, why, sizeof why) != 0) {
        log_warn("kafka_producer_renewed", LOG_STR("reason", why));
        stop_client(p);
        rc = start_client(p, e);
    }
    pthread_rwlock_unlock(&p->lock);
    return rc;
}

/* --- putting --- */
static rd_kafka_resp_err_t enqueue(const struct queue_kafka *q, rd_kafka_t *rk,
                                   const struct kafka_outgoing *out, struct ticket *t)
{
    char topic[KAFKA_TOPIC_SIZE];
    rd_kafka_headers_t *headers = kafka_record_headers(out->record);
    struct slice body = out->tombstone ? (struct slice){NULL, 0} : out->record->body;
    kafka_topic_of(q, out->lane, topic);
    /* librdkafka copies key and value, and takes the headers. */
    rd_kafka_vu_t args[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = t},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
        {.vtype = RD_KAFKA_VTYPE_VALUE,
         .u.mem = {(void *)(uintptr_t)(body.len > 0 || out->tombstone ? body.ptr : ""), body.len}},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)out->key.ptr, out->key.len}},
    };
    size_t n = COUNT_OF(args) - (out->key.len == 0 ? 1 : 0);
    rd_kafka_error_t *failed = rd_kafka_produceva(rk, args, n);
    rd_kafka_resp_err_t code = rd_kafka_error_code(failed);
    if (failed != NULL) {
        rd_kafka_error_destroy(failed);
        rd_kafka_headers_destroy(headers);
    }
    return code;
}

/* The message's own timeout bounds the wait. */
static rd_kafka_resp_err_t wait_for_all(struct ticket *t)
{
    pthread_mutex_lock(&t->lock);
    while (t->left > 0) {
        pthread_cond_wait(&t->done, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return t->code;
}

static rd_kafka_resp_err_t produce_all(struct queue_kafka *q, rd_kafka_t *rk,
                                       const struct kafka_outgoing *out, size_t n)
{
    struct ticket t = {.left = n};
    ASSERT(pthread_mutex_init(&t.lock, NULL) == 0 && pthread_cond_init(&t.done, NULL) == 0);
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t code = enqueue(q, rk, &out[i], &t);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            report(&t, code);
        }
    }
    rd_kafka_resp_err_t code = wait_for_all(&t);
    pthread_cond_destroy(&t.done);
    pthread_mutex_destroy(&t.lock);
    return code;
}

static int fail_produce(struct queue_kafka *q, rd_kafka_resp_err_t code, const char *lane,
                        struct err *e)
{
    char topic[KAFKA_TOPIC_SIZE];
    kafka_topic_of(q, lane, topic);
    (void)kafka_error(q->cluster, code, "put messages", e);
    if (e->class ==
        ERR_NOT_FOUND) { /* an operator makes the topic; nothing may be lost till then */
        e->class = ERR_RETRY;
        return err_wrap(e, "topic %s: create it, or add create=1 to the queue's URL", topic);
    }
    return err_wrap(e, "topic %s", topic);
}

int kafka_produce(struct queue_kafka *q, const struct kafka_outgoing *out, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        if (kafka_topics_ensure(q, &out[i].lane, 1, e) != 0) {
            return -1;
        }
    }
    rd_kafka_t *rk = kafka_producer_get(q->producer);
    bool broken = rk == NULL || rd_kafka_fatal_error(rk, NULL, 0) != 0;
    if (broken) {
        kafka_producer_put(q->producer);
        if (renew_client(q->producer, e) != 0) {
            return -1;
        }
        rk = kafka_producer_get(q->producer);
    }
    rd_kafka_resp_err_t code =
        rk != NULL ? produce_all(q, rk, out, n) : RD_KAFKA_RESP_ERR__TRANSPORT;
    kafka_producer_put(q->producer);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : fail_produce(q, code, out[0].lane, e);
}
