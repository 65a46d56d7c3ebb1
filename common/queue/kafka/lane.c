/*
 * One lane of a Kafka queue: a consumer in the group of that lane, and the thread that serves it.
 *
 * The thread only polls, commits and keeps the hand in order, so that however long a launch takes,
 * the membership lasts. It fetches a little ahead (some times what a receive asks for); beyond that
 * it pauses its partitions. A pause outlives an assignment, so what is assigned is resumed or paused
 * anew. Positions are committed behind the oldest unfinished message (hand.h): every 200 ms, in
 * order before a partition is given away, never after it was lost, and every 12 hours even without
 * a change, because brokers forget the offsets of a quiet group.
 *
 * A lane that nobody receives from is left to other members: with nothing leased the consumer
 * leaves the group; with launches at work it puts what it has fetched back at the lane's end, where
 * any partition may get it. kafka_lane_keep says that the caller is at a cap instead, as everybody
 * then is, and wants to stay.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/thread.h"
#include "common/queue/kafka/lane.h"

#define POLL_MS 200
#define COMMIT_EVERY_MS 200
#define COMMIT_AGAIN_MS (12LL * 3600 * 1000)
#define AHEAD_LEAST 16
#define RECREATE_PAUSE_MS 1000
#define ROOM_WAIT_MS 300
#define PASS_ON_LEASE_MS 60000
#define NO_PARTITION_WARN_MS 30000

const char *kafka_lane_name(const struct kafka_lane *lane)
{
    return lane->name;
}

static void free_record(void *record)
{
    rd_kafka_message_destroy(record);
}

void kafka_lane_end_poll_locked(struct kafka_lane *lane)
{
    if (lane->events != NULL) {
        rd_kafka_queue_yield(lane->events);
    }
}

/* --- commits --- */
static rd_kafka_topic_partition_list_t *positions_locked(struct kafka_lane *lane, bool all)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (size_t i = 0; i < lane->hand.partition_count; i++) {
        struct hand_partition *p = &lane->hand.partitions[i];
        int64_t position = hand_position(&lane->hand, p);
        if (position >= 0 && (all || position != p->committed)) {
            rd_kafka_topic_partition_list_add(list, lane->topic, p->id)->offset = position;
            p->committed = position;
        }
    }
    return list;
}

/* A commit that failed is repeated with the next one. */
static void on_committed(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *parts, void *opaque)
{
    struct kafka_lane *lane = opaque;
    (void)rk;
    pthread_mutex_lock(&lane->lock);
    for (int i = 0; parts != NULL && i < parts->cnt; i++) {
        struct hand_partition *p = hand_partition(&lane->hand, parts->elems[i].partition);
        if (p != NULL && (code != RD_KAFKA_RESP_ERR_NO_ERROR ||
                          parts->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR)) {
            p->committed = -1;
        }
    }
    pthread_mutex_unlock(&lane->lock);
}

static void commit_due(struct kafka_lane *lane, int64_t now)
{
    if (kafka_consumer_is_joining(lane->rk)) {
        return;
    }
    pthread_mutex_lock(&lane->lock);
    bool again = now - lane->committed_ms >= COMMIT_AGAIN_MS;
    rd_kafka_topic_partition_list_t *list = NULL;
    if (again || now - lane->committed_ms >= COMMIT_EVERY_MS) {
        list = positions_locked(lane, again);
    }
    if (list != NULL && (list->cnt > 0 || again)) {
        lane->committed_ms = now;
    }
    pthread_mutex_unlock(&lane->lock);
    if (list != NULL) {
        rd_kafka_resp_err_t code =
            list->cnt > 0 ? rd_kafka_commit(lane->rk, list, 1) : RD_KAFKA_RESP_ERR_NO_ERROR;
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            on_committed(lane->rk, code, list, lane);
        }
        rd_kafka_topic_partition_list_destroy(list);
    }
}

/* --- partitions come and go --- */
static void on_assigned(struct kafka_lane *lane, rd_kafka_t *rk,
                        const rd_kafka_topic_partition_list_t *parts)
{
    rd_kafka_error_t *failed = rd_kafka_incremental_assign(rk, parts);
    if (failed != NULL) {
        log_warn("kafka_assign_failed", LOG_STR("topic", lane->topic),
                 LOG_STR("error", rd_kafka_error_string(failed)));
        rd_kafka_error_destroy(failed);
    }
    rd_kafka_topic_partition_list_t *copy = rd_kafka_topic_partition_list_copy(parts);
    (void)rd_kafka_resume_partitions(rk, copy);
    rd_kafka_topic_partition_list_destroy(copy);
    pthread_mutex_lock(&lane->lock);
    for (int i = 0; i < parts->cnt; i++) {
        hand_add_partition(&lane->hand, parts->elems[i].partition);
    }
    lane->joined_ms = clock_mono_ms();
    lane->warned_no_partition = lane->warned_no_partition && parts->cnt == 0;
    atomic_store(&lane->assigned, true);
    lane->trouble.class = ERR_NONE;
    pthread_cond_broadcast(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
}

static void on_revoked(struct kafka_lane *lane, rd_kafka_t *rk,
                       const rd_kafka_topic_partition_list_t *parts)
{
    bool lost = rd_kafka_assignment_lost(rk) != 0;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(parts->cnt);
    pthread_mutex_lock(&lane->lock);
    for (int i = 0; i < parts->cnt; i++) {
        struct hand_partition *p = hand_partition(&lane->hand, parts->elems[i].partition);
        int64_t position = p != NULL ? hand_position(&lane->hand, p) : -1;
        if (position >= 0 && position != p->committed) {
            rd_kafka_topic_partition_list_add(list, lane->topic, p->id)->offset = position;
        }
        hand_drop_partition(&lane->hand, parts->elems[i].partition, free_record);
    }
    lane->joined_ms = lost ? 0 : lane->joined_ms; /* no member any more, until it joins again */
    pthread_mutex_unlock(&lane->lock);
    if (!lost && list->cnt > 0) {
        (void)rd_kafka_commit(rk, list, 1); /* librdkafka gives nothing away before the response */
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_error_t *failed = rd_kafka_incremental_unassign(rk, parts);
    if (failed != NULL) {
        rd_kafka_error_destroy(failed);
    }
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what,
                         rd_kafka_topic_partition_list_t *parts, void *opaque)
{
    struct kafka_lane *lane = opaque;
    log_debug("kafka_rebalance", LOG_STR("topic", lane->topic),
              LOG_STR("text", rd_kafka_err2name(what)), LOG_INT("count", parts->cnt),
              LOG_BOOL("lost", rd_kafka_assignment_lost(rk) != 0));
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        on_assigned(lane, rk, parts);
    } else {
        on_revoked(lane, rk, parts);
    }
}

/* --- fetching --- */
static void remember_trouble(struct kafka_lane *lane, const rd_kafka_message_t *m)
{
    struct err e;
    (void)kafka_error(lane->queue->cluster, m->err, "receive", &e);
    (void)err_wrap(&e, "topic %s", lane->topic);
    if (e.class == ERR_NOT_FOUND || e.class == ERR_PERMANENT) {
        e.class = ERR_RETRY; /* an operator may create the topic, or put it right */
    }
    pthread_mutex_lock(&lane->lock);
    lane->trouble = e;
    pthread_cond_broadcast(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
}

static void take_in(struct kafka_lane *lane, rd_kafka_message_t *m)
{
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        remember_trouble(lane, m);
        rd_kafka_message_destroy(m);
        return;
    }
    rd_kafka_timestamp_type_t type;
    struct hand_message fetched = {.partition = m->partition,
                                   .offset = m->offset,
                                   .appended_ms = rd_kafka_message_timestamp(m, &type),
                                   .record = m};
    pthread_mutex_lock(&lane->lock);
    bool ours = hand_add(&lane->hand, &fetched);
    lane->trouble.class = ERR_NONE;
    pthread_cond_signal(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
    if (!ours) {
        rd_kafka_message_destroy(m);
    }
}

/* A partition waits while enough is ready, or while its oldest unfinished message holds it up. */
static bool must_pause_locked(struct kafka_lane *lane, const struct hand_partition *p)
{
    return lane->full || p->next - hand_position(&lane->hand, p) >= lane->queue->window;
}

static void regulate(struct kafka_lane *lane)
{
    rd_kafka_topic_partition_list_t *pause = rd_kafka_topic_partition_list_new(4);
    rd_kafka_topic_partition_list_t *resume = rd_kafka_topic_partition_list_new(4);
    pthread_mutex_lock(&lane->lock);
    for (size_t i = 0; i < lane->hand.partition_count; i++) {
        struct hand_partition *p = &lane->hand.partitions[i];
        bool stop = must_pause_locked(lane, p);
        if (stop != p->paused) {
            (void)rd_kafka_topic_partition_list_add(stop ? pause : resume, lane->topic, p->id);
            p->paused = stop;
        }
    }
    pthread_mutex_unlock(&lane->lock);
    if (pause->cnt > 0) {
        (void)rd_kafka_pause_partitions(lane->rk, pause);
    }
    if (resume->cnt > 0) {
        (void)rd_kafka_resume_partitions(lane->rk, resume);
    }
    rd_kafka_topic_partition_list_destroy(pause);
    rd_kafka_topic_partition_list_destroy(resume);
}

/* With enough ready the thread stops polling for a moment, which those who receive end. Only then
 * are the partitions paused: a resumed one is fetched anew, which costs a round trip. */
static void wait_for_room(struct kafka_lane *lane)
{
    int64_t until_us = cond_deadline_us(ROOM_WAIT_MS);
    pthread_mutex_lock(&lane->lock);
    size_t ready = hand_count(&lane->hand, HAND_ANY_PARTITION, HAND_READY);
    while (!lane->full && !lane->stopping && ready >= lane->ahead &&
           cond_wait_until(&lane->room, &lane->lock, until_us)) {
        ready = hand_count(&lane->hand, HAND_ANY_PARTITION, HAND_READY);
    }
    lane->full = ready >= lane->ahead || (lane->full && ready > lane->ahead / 2);
    pthread_mutex_unlock(&lane->lock);
}

/* --- leaving what nobody receives --- */
/* Leases one ready message that is to be passed on; *r is valid until it is moved. */
static bool lease_one(struct kafka_lane *lane, struct queue_message *m, struct kafka_record *r)
{
    pthread_mutex_lock(&lane->lock);
    struct hand_message *held = hand_lease(&lane->hand, clock_mono_ms() + PASS_ON_LEASE_MS);
    if (held != NULL) {
        kafka_record_read(held->record, r);
        r->group = (struct slice){"", 0}; /* so that any partition may get it */
        *m = (struct queue_message){0};
        kafka_lane_receipt(lane, held, m->receipt);
    }
    pthread_mutex_unlock(&lane->lock);
    return held != NULL;
}

static void pass_on(struct kafka_lane *lane)
{
    struct kafka_record r;
    struct queue_message m;
    struct err e;
    int64_t n = 0;
    while (n < (int64_t)lane->ahead && lease_one(lane, &m, &r)) {
        struct kafka_outgoing out = {.lane = lane->name, .record = &r};
        if (kafka_lane_move(lane, &m, &out, &e) != 0) {
            break;
        }
        n++;
    }
    if (n > 0) {
        log_info("kafka_messages_passed_on", LOG_STR("lane", lane->name), LOG_INT("count", n));
    }
}

static void leave(struct kafka_lane *lane)
{
    (void)rd_kafka_unsubscribe(lane->rk);
    pthread_mutex_lock(&lane->lock);
    lane->subscribed = false;
    lane->joined_ms = 0;
    pthread_mutex_unlock(&lane->lock);
    log_debug("kafka_lane_left", LOG_STR("lane", lane->name));
}

static void join(struct kafka_lane *lane)
{
    const char *const names[] = {lane->name};
    struct err e;
    atomic_store(&lane->assigned, false);
    bool ok = kafka_consumer_subscribe(lane->queue, lane->rk, names, 1, &e) == 0;
    pthread_mutex_lock(&lane->lock);
    lane->subscribed = ok;
    if (!ok) {
        lane->trouble = e;
    }
    pthread_mutex_unlock(&lane->lock);
}

static void stay_or_leave(struct kafka_lane *lane, int64_t now)
{
    pthread_mutex_lock(&lane->lock);
    bool wanted = lane->waiting > 0 || now - lane->wanted_ms < lane->queue->idle_ms;
    bool busy = hand_count(&lane->hand, HAND_ANY_PARTITION, HAND_LEASED) > 0 ||
                hand_count(&lane->hand, HAND_ANY_PARTITION, HAND_CLAIMED) > 0;
    bool subscribed = lane->subscribed;
    bool joined = lane->joined_ms > 0;
    bool due = now - lane->passed_on_ms >= lane->queue->idle_ms;
    if (!wanted && busy && due) {
        lane->passed_on_ms = now;
    }
    pthread_mutex_unlock(&lane->lock);
    if (wanted && !subscribed) {
        join(lane);
    } else if (!wanted && joined && !busy) {
        leave(lane);
    } else if (!wanted && busy && due) {
        pass_on(lane);
    }
}

/* --- the thread --- */
/* Partitions that are new here: was anything of them deleted before it was finished? */
static void check_new_partitions(struct kafka_lane *lane)
{
    if (lane->check != NULL && !kafka_start_check_done(lane->check)) {
        return;
    }
    kafka_start_check_free(lane->check);
    lane->check = NULL;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    pthread_mutex_lock(&lane->lock);
    for (size_t i = 0; i < lane->hand.partition_count; i++) {
        struct hand_partition *p = &lane->hand.partitions[i];
        if (!p->checked) {
            (void)rd_kafka_topic_partition_list_add(list, lane->topic, p->id);
            p->checked = true;
        }
    }
    pthread_mutex_unlock(&lane->lock);
    if (list->cnt > 0) {
        lane->check = kafka_start_check_new(lane->rk, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static void warn_without_partition(struct kafka_lane *lane, int64_t now)
{
    pthread_mutex_lock(&lane->lock);
    bool none = lane->joined_ms > 0 && lane->hand.partition_count == 0 && lane->waiting > 0 &&
                now - lane->joined_ms >= NO_PARTITION_WARN_MS && !lane->warned_no_partition;
    lane->warned_no_partition = lane->warned_no_partition || none;
    pthread_mutex_unlock(&lane->lock);
    if (none) {
        log_warn("kafka_no_partition", LOG_STR("topic", lane->topic),
                 LOG_STR("action", "this process receives nothing from the topic"),
                 LOG_STR("hint",
                         "create the topic if it is missing; else there are more consumers than "
                         "partitions: add partitions"));
    }
}

static int open_consumer(struct kafka_lane *lane, struct err *e)
{
    if (kafka_consumer_new(lane->queue, lane->topic, on_rebalance, on_committed, lane, &lane->rk,
                           e) != 0) {
        return -1;
    }
    atomic_store(&lane->assigned, true); /* nothing to wait for until it joins */
    pthread_mutex_lock(&lane->lock);
    lane->events = rd_kafka_queue_get_consumer(lane->rk);
    pthread_mutex_unlock(&lane->lock);
    return 0;
}

/* Commits what is finished, and forgets the rest: it goes to other members. */
static void close_consumer(struct kafka_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    rd_kafka_topic_partition_list_t *list = positions_locked(lane, false);
    while (lane->hand.partition_count > 0) {
        hand_drop_partition(&lane->hand, lane->hand.partitions[0].id, free_record);
    }
    rd_kafka_queue_destroy(lane->events);
    lane->events = NULL;
    lane->subscribed = false;
    lane->joined_ms = 0;
    pthread_mutex_unlock(&lane->lock);
    if (list->cnt > 0 && rd_kafka_assignment_lost(lane->rk) == 0) {
        (void)rd_kafka_commit(lane->rk, list, 0);
    }
    rd_kafka_topic_partition_list_destroy(list);
    kafka_start_check_free(lane->check);
    lane->check = NULL;
    kafka_consumer_free(lane->queue, lane->rk, &lane->assigned);
    lane->rk = NULL;
}

static bool is_stopping(struct kafka_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    bool stopping = lane->stopping;
    pthread_mutex_unlock(&lane->lock);
    return stopping;
}

static void serve(struct kafka_lane *lane)
{
    while (!is_stopping(lane) && rd_kafka_fatal_error(lane->rk, NULL, 0) == 0) {
        wait_for_room(lane);
        regulate(lane);
        rd_kafka_message_t *m = rd_kafka_consumer_poll(lane->rk, POLL_MS);
        int64_t now = clock_mono_ms();
        if (m != NULL) {
            take_in(lane, m);
        }
        stay_or_leave(lane, now);
        check_new_partitions(lane);
        commit_due(lane, now);
        warn_without_partition(lane, now);
    }
}

static void *serve_lane(void *arg)
{
    struct kafka_lane *lane = arg;
    struct err e;
    for (;;) {
        serve(lane);
        bool stopping = is_stopping(lane);
        if (!stopping) {
            char why[256] = "";
            (void)rd_kafka_fatal_error(lane->rk, why, sizeof why);
            log_warn("kafka_consumer_renewed", LOG_STR("topic", lane->topic),
                     LOG_STR("reason", why));
        }
        close_consumer(lane);
        if (stopping) {
            return NULL;
        }
        while (open_consumer(lane, &e) != 0) {
            if (is_stopping(lane)) {
                return NULL;
            }
            clock_sleep_until(clock_mono_ms() + RECREATE_PAUSE_MS);
        }
    }
}

int kafka_lane_new(struct queue_kafka *q, const char *name, struct kafka_lane **out, struct err *e)
{
    struct kafka_lane *lane = calloc(1, sizeof *lane);
    ASSERT(lane != NULL && pthread_mutex_init(&lane->lock, NULL) == 0);
    cond_init(&lane->changed);
    cond_init(&lane->room);
    lane->queue = q;
    kafka_copy(lane->name, sizeof lane->name, name);
    kafka_topic_of(q, name, lane->topic);
    random_bytes(&lane->nonce, sizeof lane->nonce);
    lane->ahead = AHEAD_LEAST;
    lane->wanted_ms = clock_mono_ms();
    if (open_consumer(lane, e) != 0) {
        kafka_lane_free(lane);
        return -1;
    }
    if (thread_start(&lane->thread, "the thread of a Kafka consumer", serve_lane, lane, e) != 0) {
        close_consumer(lane);
        kafka_lane_free(lane);
        return -1;
    }
    lane->started = true;
    *out = lane;
    return 0;
}

void kafka_lane_free(struct kafka_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->stopping = true;
    pthread_cond_signal(&lane->room);
    kafka_lane_end_poll_locked(lane);
    pthread_mutex_unlock(&lane->lock);
    if (lane->started) {
        (void)pthread_join(lane->thread, NULL);
    }
    hand_fini(&lane->hand);
    pthread_cond_destroy(&lane->changed);
    pthread_cond_destroy(&lane->room);
    pthread_mutex_destroy(&lane->lock);
    free(lane);
}
