/*
 * The topics of a deployment: names, and making what is missing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/kafka/topics.h"
#include "common/queue/kafka/internal.h"

#define DELAY_PARTITIONS 1 /* in the order of due times */
#define ENSURE_MAX 8

void kafka_topic_of(const struct queue_kafka *q, const char *lane, char out[KAFKA_TOPIC_SIZE])
{
    (void)snprintf(out, KAFKA_TOPIC_SIZE, "%s.%s", kafka_cluster_prefix(q->cluster), lane);
}

const char *kafka_lane_of(const struct queue_kafka *q, const char *topic)
{
    const char *prefix = kafka_cluster_prefix(q->cluster);
    size_t len = strlen(prefix);
    if (strncmp(topic, prefix, len) != 0 || topic[len] != '.') {
        return NULL;
    }
    const char *lane = topic + len + 1;
    bool others = kafka_is_delay(lane) || strcmp(lane, KAFKA_DEAD) == 0;
    return others || strlen(lane) > QUEUE_LANE_MAX ? NULL : lane;
}

/* --- making --- */
static bool is_made(struct queue_kafka *q, const char *topic)
{
    bool made = false;
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < q->made_count && !made; i++) {
        made = strcmp(q->made[i].name, topic) == 0;
    }
    pthread_mutex_unlock(&q->lock);
    return made;
}

static void remember_made(struct queue_kafka *q, const char *topic)
{
    pthread_mutex_lock(&q->lock);
    q->made = realloc(q->made, (q->made_count + 1) * sizeof *q->made);
    ASSERT(q->made != NULL);
    (void)snprintf(q->made[q->made_count++].name, KAFKA_TOPIC_SIZE, "%s", topic);
    pthread_mutex_unlock(&q->lock);
}

void kafka_topics_forget(struct queue_kafka *q, const char *topic)
{
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < q->made_count; i++) {
        if (strcmp(q->made[i].name, topic) == 0) {
            q->made[i] = q->made[--q->made_count];
            break;
        }
    }
    pthread_mutex_unlock(&q->lock);
}

/* Three replicas of which two must confirm, as far as there are brokers for it. */
static struct kafka_topic_wish wish_for(const struct queue_kafka *q, const char *lane,
                                        const char *topic, int brokers)
{
    bool dead = strcmp(lane, KAFKA_DEAD) == 0;
    int replicas = q->replicas > 0 ? (int)q->replicas : brokers < 3 ? brokers : 3;
    return (struct kafka_topic_wish){.name = topic,
                                     .partitions = dead                   ? 1
                                                   : kafka_is_delay(lane) ? DELAY_PARTITIONS
                                                                          : (int)q->partitions,
                                     .replicas = replicas,
                                     .retention_ms = dead ? 0 : KAFKA_RETENTION_MS,
                                     .compacted = dead,
                                     .min_insync = replicas >= 2 ? 2 : 1,
                                     .append_time = true};
}

/* Makes those of the topics that do not exist, in one call. */
static int make_missing(struct queue_kafka *q, rd_kafka_t *rk, const char *const *lanes, size_t n,
                        struct err *e)
{
    struct kafka_topic known[ENSURE_MAX] = {0};
    struct kafka_topic_wish wishes[ENSURE_MAX];
    int brokers = 0;
    size_t missing = 0;
    for (size_t i = 0; i < n; i++) {
        char topic[KAFKA_TOPIC_SIZE];
        kafka_topic_of(q, lanes[i], topic);
        kafka_copy(known[i].name, sizeof known[i].name, topic);
    }
    if (kafka_topics_describe(q->cluster, rk, known, n, e) != 0 ||
        kafka_brokers_count(q->cluster, rk, &brokers, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (!known[i].exists) {
            wishes[missing++] = wish_for(q, lanes[i], known[i].name, brokers);
        }
    }
    return kafka_topics_create(q->cluster, rk, wishes, missing, e);
}

int kafka_topics_ensure(struct queue_kafka *q, const char *const *lanes, size_t n, struct err *e)
{
    const char *unknown[ENSURE_MAX];
    char topic[KAFKA_TOPIC_SIZE];
    size_t count = 0;
    ASSERT(n <= ENSURE_MAX);
    for (size_t i = 0; i < n; i++) {
        kafka_topic_of(q, lanes[i], topic);
        if (!is_made(q, topic)) {
            unknown[count++] = lanes[i];
        }
    }
    if (q->create == 0 || count == 0) {
        return 0;
    }
    rd_kafka_t *rk = kafka_producer_get(q->producer);
    int rc = rk != NULL ? make_missing(q, rk, unknown, count, e)
                        : kafka_error(q->cluster, RD_KAFKA_RESP_ERR__TRANSPORT, "create topics", e);
    kafka_producer_put(q->producer);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        kafka_topic_of(q, unknown[i], topic);
        remember_made(q, topic);
    }
    return rc;
}

/* --- the check at the start --- */
/* The topics that every deployment has, made if the URL says so, and the lanes there are. */
static int all_topics(struct queue_kafka *q, struct kafka_topic **out, size_t *n, struct err *e)
{
    char(*lanes)[QUEUE_LANE_MAX + 1];
    size_t count = 0;
    const char *const always[] = {kafka_delay_topics[0], kafka_delay_topics[1],
                                  kafka_delay_topics[2], kafka_delay_topics[3], KAFKA_DEAD};
    if (kafka_topics_ensure(q, always, COUNT_OF(always), e) != 0 ||
        kafka_lanes(q, &lanes, &count, e) != 0) {
        return -1;
    }
    struct kafka_topic *topics = calloc(count + COUNT_OF(always), sizeof *topics);
    ASSERT(topics != NULL);
    for (size_t i = 0; i < count + COUNT_OF(always); i++) {
        char name[KAFKA_TOPIC_SIZE];
        kafka_topic_of(q, i < count ? lanes[i] : always[i - count], name);
        kafka_copy(topics[i].name, sizeof topics[i].name, name);
    }
    free(lanes);
    *out = topics;
    *n = count + COUNT_OF(always);
    return 0;
}

static int check_all(struct queue_kafka *q, rd_kafka_t *rk, struct kafka_topic *topics, size_t n,
                     struct buf *out, struct err *e)
{
    struct kafka_topics_rule rule = {0};
    struct kafka_topics_rule dead = {.compacted = true};
    if (kafka_topics_describe(q->cluster, rk, topics, n, e) != 0 ||
        kafka_brokers_count(q->cluster, rk, &rule.brokers, e) != 0) {
        return -1;
    }
    dead.brokers = rule.brokers;
    return kafka_topics_check(q->cluster, topics, n - 1, &rule, out, e) != 0 ||
                   kafka_topics_check(q->cluster, &topics[n - 1], 1, &dead, out, e) != 0
               ? -1
               : 0;
}

int queue_kafka_check(void *state, bool dead_letters, struct buf *out, struct err *e)
{
    (void)dead_letters; /* the topic must be there to open the queue */
    struct queue_kafka *q = state;
    struct kafka_topic *topics = NULL;
    size_t n = 0;
    if (all_topics(q, &topics, &n, e) != 0) {
        return -1;
    }
    rd_kafka_t *rk = kafka_producer_get(q->producer);
    int rc = rk != NULL ? check_all(q, rk, topics, n, out, e)
                        : kafka_error(q->cluster, RD_KAFKA_RESP_ERR__TRANSPORT, "check topics", e);
    kafka_producer_put(q->producer);
    free(topics);
    return rc;
}
