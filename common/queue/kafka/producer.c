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
};

/* One record of a call. */
struct receipt {
    struct ticket *ticket;
    rd_kafka_resp_err_t code;
};

static void report(struct receipt *s, rd_kafka_resp_err_t code)
{
    struct ticket *t = s->ticket;
    pthread_mutex_lock(&t->lock);
    s->code = code;
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
    /* A missing topic is reported as one, not as a timeout. */
    set_ms(conf, "topic.metadata.propagation.max.ms", timeout_ms * 2 / 5);
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
                                   const struct kafka_outgoing *out, struct receipt *receipt)
{
    char topic[KAFKA_TOPIC_SIZE];
    rd_kafka_headers_t *headers = kafka_record_headers(out->record);
    struct slice body = out->tombstone ? (struct slice){NULL, 0} : out->record->body;
    kafka_topic_of(q, out->lane, topic);
    /* librdkafka copies key and value, and takes the headers. */
    rd_kafka_vu_t args[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = receipt},
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
static void wait_for_all(struct ticket *t)
{
    pthread_mutex_lock(&t->lock);
    while (t->left > 0) {
        pthread_cond_wait(&t->done, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
}

/* Those whose code is an error already are left out. */
static void produce_all(struct queue_kafka *q, rd_kafka_t *rk, const struct kafka_outgoing *out,
                        rd_kafka_resp_err_t *codes, size_t n)
{
    struct ticket t = {.left = n};
    struct receipt *receipts = calloc(n, sizeof *receipts);
    ASSERT(receipts != NULL && pthread_mutex_init(&t.lock, NULL) == 0 &&
           pthread_cond_init(&t.done, NULL) == 0);
    for (size_t i = 0; i < n; i++) {
        receipts[i].ticket = &t;
        rd_kafka_resp_err_t code = codes[i];
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            code = enqueue(q, rk, &out[i], &receipts[i]);
        }
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            report(&receipts[i], code);
        }
    }
    wait_for_all(&t);
    for (size_t i = 0; i < n; i++) {
        codes[i] = receipts[i].code;
    }
    pthread_cond_destroy(&t.done);
    pthread_mutex_destroy(&t.lock);
    free(receipts);
}

static int fail_produce(struct queue_kafka *q, rd_kafka_resp_err_t code, const char *lane,
                        struct err *e)
{
    char topic[KAFKA_TOPIC_SIZE];
    kafka_topic_of(q, lane, topic);
    (void)kafka_error(q->cluster, code, "put messages", e);
    if (e->class == ERR_NOT_FOUND) { /* deleted since it was made, or never made */
        kafka_topics_forget(q, topic);
        e->class = ERR_RETRY; /* an operator makes the topic; nothing may be lost till then */
        return err_wrap(e,
                        q->create != 0 ? "topic %s: it was deleted, and is made again"
                                       : "topic %s: create it, or add create=1 to the queue's URL",
                        topic);
    }
    return err_wrap(e, "topic %s", topic);
}

/* A topic that cannot be made fails its own records, and is asked for once. */
static void ensure_topics(struct queue_kafka *q, const struct kafka_outgoing *out,
                          rd_kafka_resp_err_t *codes, size_t n)
{
    struct err e = {0};
    for (size_t i = 0; i < n; i++) {
        size_t same = 0;
        while (same < i && strcmp(out[same].lane, out[i].lane) != 0) {
            same++;
        }
        codes[i] = RD_KAFKA_RESP_ERR_NO_ERROR;
        if (same < i) {
            codes[i] = codes[same];
        } else if (kafka_topics_ensure(q, &out[i].lane, 1, &e) != 0) {
            codes[i] = e.code != 0 ? (rd_kafka_resp_err_t)e.code : RD_KAFKA_RESP_ERR__FAIL;
        }
    }
}

/* Without a client nothing is sent. */
static int fail_all(rd_kafka_resp_err_t *codes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        codes[i] = RD_KAFKA_RESP_ERR__FAIL;
    }
    return -1;
}

/* Fills codes for records whose code is still no error. */
static int produce(struct queue_kafka *q, const struct kafka_outgoing *out,
                   rd_kafka_resp_err_t *codes, size_t n, struct err *e)
{
    struct kafka_producer *p = q->producer;
    rd_kafka_t *rk = kafka_producer_get(p);
    if (rk == NULL || rd_kafka_fatal_error(rk, NULL, 0) != 0) {
        kafka_producer_put(p);
        if (renew_client(p, e) != 0) {
            return fail_all(codes, n);
        }
        rk = kafka_producer_get(p);
    }
    if (rk == NULL) { /* another thread's exchange failed */
        kafka_producer_put(p);
        (void)kafka_error(q->cluster, RD_KAFKA_RESP_ERR__TRANSPORT, "put messages", e);
        return fail_all(codes, n);
    }
    produce_all(q, rk, out, codes, n);
    kafka_producer_put(p);
    for (size_t i = 0; i < n; i++) {
        if (codes[i] != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return fail_produce(q, codes[i], out[i].lane, e);
        }
    }
    return 0;
}

int kafka_produce_each(struct queue_kafka *q, const struct kafka_outgoing *out,
                       rd_kafka_resp_err_t *codes, size_t n, struct err *e)
{
    ensure_topics(q, out, codes, n);
    return produce(q, out, codes, n, e);
}

int kafka_produce(struct queue_kafka *q, const struct kafka_outgoing *out, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        if (kafka_topics_ensure(q, &out[i].lane, 1, e) != 0) {
            return -1;
        }
    }
    rd_kafka_resp_err_t *codes = calloc(n, sizeof *codes);
    ASSERT(codes != NULL || n == 0);
    int rc = produce(q, out, codes, n, e);
    free(codes);
    return rc;
}
