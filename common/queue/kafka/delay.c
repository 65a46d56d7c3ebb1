/*
 * Messages that wait: four topics, each with one delay, so that a topic is in the order of due
 * times; and the thread that moves what is due.
 *
 * A longer delay goes through several topics, a shorter one is rounded up: a message is never early
 * and at most five seconds late. The time begins when the broker appended the record, so the clock
 * of who put it does not matter. What is due goes to the end of its lane, durable there before the
 * position is committed. Each process that receives has such a thread; the group shares the
 * partitions.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/queue/kafka/internal.h"

#define GROUP "delay"
#define POLL_MS 200
#define BATCH KAFKA_DUE_MAX
#define FAILED_PAUSE_MS 500

const char *const kafka_delay_topics[KAFKA_DELAYS] = {"delay.5s", "delay.30s", "delay.2m",
                                                      "delay.10m"};
static const int64_t delays_ms[KAFKA_DELAYS] = {5000, 30000, 120000, 600000};

const char *kafka_delay_topic(int64_t delay_ms, int64_t *out_left_ms)
{
    size_t i = 0;
    *out_left_ms = 0;
    if (delay_ms <= 0) {
        return NULL;
    }
    while (i + 1 < KAFKA_DELAYS && delays_ms[i + 1] <= delay_ms) {
        i++;
    }
    if (delay_ms > delays_ms[i]) {
        *out_left_ms = delay_ms - delays_ms[i];
    }
    return kafka_delay_topics[i];
}

void kafka_delay_outgoing(struct kafka_record *r, int64_t delay_ms, struct kafka_outgoing *out)
{
    const char *topic = kafka_delay_topic(delay_ms, &r->left_ms);
    *out = (struct kafka_outgoing){
        .lane = topic != NULL ? topic : r->lane, .key = r->group, .record = r};
}

bool kafka_is_delay(const char *lane)
{
    return strncmp(lane, "delay.", strlen("delay.")) == 0;
}

int64_t kafka_delay_of(const char *topic)
{
    size_t len = strlen(topic);
    for (size_t i = 0; i < KAFKA_DELAYS; i++) {
        size_t n = strlen(kafka_delay_topics[i]);
        if (len >= n && strcmp(topic + len - n, kafka_delay_topics[i]) == 0) {
            return delays_ms[i];
        }
    }
    return 0;
}

/* --- the thread --- */
struct head { /* the oldest record of a partition, which is not due yet */
    rd_kafka_message_t *record;
    int64_t due_ms; /* wall clock */
};

struct kafka_mover {
    struct queue_kafka *queue;
    pthread_t thread;
    bool started;
    atomic_bool stopping;
    atomic_bool assigned; /* at least once */
    rd_kafka_t *rk;
    struct head *heads; /* the thread's; their partitions are paused */
    size_t head_count;
    rd_kafka_topic_partition_list_t *moved; /* the thread's; positions that are not committed yet */
};

static int64_t due_ms(const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t type;
    return rd_kafka_message_timestamp(m, &type) + kafka_delay_of(rd_kafka_topic_name(m->rkt));
}

static void pause_or_resume(rd_kafka_t *rk, const rd_kafka_message_t *m, bool pause)
{
    rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
    (void)rd_kafka_topic_partition_list_add(one, rd_kafka_topic_name(m->rkt), m->partition);
    (void)(pause ? rd_kafka_pause_partitions(rk, one) : rd_kafka_resume_partitions(rk, one));
    rd_kafka_topic_partition_list_destroy(one);
}

static void drop_heads(struct kafka_mover *m, const rd_kafka_topic_partition_list_t *parts)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->head_count; i++) {
        rd_kafka_message_t *r = m->heads[i].record;
        if (rd_kafka_topic_partition_list_find(parts, rd_kafka_topic_name(r->rkt), r->partition) !=
            NULL) {
            rd_kafka_message_destroy(r);
        } else {
            m->heads[kept++] = m->heads[i];
        }
    }
    m->head_count = kept;
}

static void note_moved(struct kafka_mover *m, rd_kafka_message_t *const *due, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *topic = rd_kafka_topic_name(due[i]->rkt);
        rd_kafka_topic_partition_t *p =
            rd_kafka_topic_partition_list_find(m->moved, topic, due[i]->partition);
        if (p == NULL) {
            p = rd_kafka_topic_partition_list_add(m->moved, topic, due[i]->partition);
        }
        p->offset = due[i]->offset + 1; /* a partition's records come in order */
    }
}

static void commit(struct kafka_mover *m)
{
    if (m->moved->cnt > 0) {
        (void)rd_kafka_commit(m->rk, m->moved, 1);
        rd_kafka_topic_partition_list_destroy(m->moved);
        m->moved = rd_kafka_topic_partition_list_new(8);
    }
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what,
                         rd_kafka_topic_partition_list_t *parts, void *opaque)
{
    struct kafka_mover *m = opaque;
    rd_kafka_error_t *failed;
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        atomic_store(&m->assigned, true);
        failed = rd_kafka_incremental_assign(rk, parts);
        (void)rd_kafka_resume_partitions(rk, parts);
    } else {
        drop_heads(m, parts);
        if (rd_kafka_assignment_lost(rk) != 0) {
            rd_kafka_topic_partition_list_destroy(m->moved);
            m->moved = rd_kafka_topic_partition_list_new(8);
        } else {
            commit(m);
        }
        failed = rd_kafka_incremental_unassign(rk, parts);
    }
    if (failed != NULL) {
        rd_kafka_error_destroy(failed);
    }
}

static void on_committed(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *parts, void *opaque)
{
    (void)rk;
    (void)parts;
    (void)opaque;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__NO_OFFSET) {
        log_debug("kafka_commit_failed", LOG_STR("error", rd_kafka_err2str(code)));
    }
}

/* Tries until it works: what is due must not be lost, and the position stays where it is. */
static void move(struct kafka_mover *m, rd_kafka_message_t *const *due, size_t n)
{
    struct err e;
    while (n > 0 && !atomic_load(&m->stopping)) {
        if (kafka_put_due(m->queue, due, n, &e) == 0) {
            note_moved(m, due, n);
            return;
        }
        log_warn("kafka_move_failed", LOG_INT("count", (int64_t)n), LOG_ERR(&e),
                 LOG_STR("action", "delayed messages are moved when Kafka accepts them"));
        clock_sleep_until(clock_mono_ms() + FAILED_PAUSE_MS);
    }
}

static void keep_head(struct kafka_mover *m, rd_kafka_message_t *record, int64_t due)
{
    m->heads = realloc(m->heads, (m->head_count + 1) * sizeof *m->heads);
    ASSERT(m->heads != NULL);
    m->heads[m->head_count++] = (struct head){record, due};
    pause_or_resume(m->rk, record, true);
}

/* Heads that have become due, at most `max`; their partitions go on. */
static size_t take_due_heads(struct kafka_mover *m, rd_kafka_message_t **due, size_t max)
{
    int64_t now = clock_wall_ms();
    size_t n = 0;
    size_t kept = 0;
    for (size_t i = 0; i < m->head_count; i++) {
        if (m->heads[i].due_ms <= now && n < max) {
            due[n++] = m->heads[i].record;
            pause_or_resume(m->rk, m->heads[i].record, false);
        } else {
            m->heads[kept++] = m->heads[i];
        }
    }
    m->head_count = kept;
    return n;
}

static int next_wait_ms(const struct kafka_mover *m)
{
    int64_t now = clock_wall_ms();
    int64_t wait_ms = POLL_MS;
    for (size_t i = 0; i < m->head_count; i++) {
        int64_t left_ms = m->heads[i].due_ms - now;
        wait_ms = left_ms < wait_ms ? left_ms : wait_ms;
    }
    return wait_ms > 0 ? (int)wait_ms : 0;
}

/* One turn: what is due, of the heads and of what can be polled without a wait. */
static void turn(struct kafka_mover *m)
{
    rd_kafka_message_t *due[BATCH];
    int wait_ms = next_wait_ms(m);
    size_t n = 0;
    rd_kafka_message_t *r;
    while (n < BATCH && (r = rd_kafka_consumer_poll(m->rk, n == 0 ? wait_ms : 0)) != NULL) {
        int64_t when = r->err == RD_KAFKA_RESP_ERR_NO_ERROR ? due_ms(r) : 0;
        if (r->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_message_destroy(r);
        } else if (when > clock_wall_ms()) {
            keep_head(m, r, when);
        } else {
            due[n++] = r;
        }
        wait_ms = 0;
    }
    n += take_due_heads(m, due + n, BATCH - n);
    move(m, due, n);
    if (!kafka_consumer_is_joining(m->rk)) {
        commit(m);
    }
    for (size_t i = 0; i < n; i++) {
        rd_kafka_message_destroy(due[i]);
    }
}

static void *move_until_stopped(void *arg)
{
    struct kafka_mover *m = arg;
    while (!atomic_load(&m->stopping)) {
        turn(m);
    }
    return NULL;
}

int kafka_mover_new(struct queue_kafka *q, struct kafka_mover **out, struct err *e)
{
    char group[KAFKA_TOPIC_SIZE];
    struct kafka_mover *m = calloc(1, sizeof *m);
    ASSERT(m != NULL);
    m->queue = q;
    m->moved = rd_kafka_topic_partition_list_new(8);
    kafka_topic_of(q, GROUP, group);
    if (kafka_consumer_new(q, group, on_rebalance, on_committed, m, &m->rk, e) != 0 ||
        kafka_consumer_subscribe(q, m->rk, kafka_delay_topics, KAFKA_DELAYS, e) != 0 ||
        thread_start(&m->thread, "the thread that moves delayed messages", move_until_stopped, m,
                     e) != 0) {
        kafka_mover_free(m);
        return -1;
    }
    m->started = true;
    *out = m;
    return 0;
}

void kafka_mover_free(struct kafka_mover *m)
{
    if (m == NULL) {
        return;
    }
    atomic_store(&m->stopping, true);
    if (m->started) {
        (void)pthread_join(m->thread, NULL);
    }
    if (m->rk != NULL) {
        kafka_consumer_free(m->queue, m->rk, &m->assigned);
    }
    rd_kafka_topic_partition_list_destroy(m->moved);
    free(m->heads);
    free(m);
}
