/*
 * Reading topics from the side, without a group: for people, who look for a message or at the dead
 * letters. Bounded: what takes longer or is larger than the limits is an error that says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/queue/kafka/internal.h"

#define SCAN_GROUP "scan" /* librdkafka wants one; it is never joined */
#define SCAN_MAX_MS 30000
#define SCAN_MAX_RECORDS 200000
#define POLL_MS 100
#define LEADER_PAUSE_MS 100
#define METADATA_MAX_AGE_MS 30000

/* --- metadata --- */
static int read_metadata(struct queue_kafka *q, const struct rd_kafka_metadata **out, struct err *e)
{
    rd_kafka_t *rk = kafka_producer_get(q->producer);
    int timeout_ms = (int)kafka_cluster_timeout_ms(q->cluster);
    rd_kafka_resp_err_t code =
        rk != NULL ? rd_kafka_metadata(rk, 1, NULL, out, timeout_ms) : RD_KAFKA_RESP_ERR__TRANSPORT;
    kafka_producer_put(q->producer);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : kafka_error(q->cluster, code, "list topics", e);
}

int kafka_lanes(struct queue_kafka *q, char (**out)[QUEUE_LANE_MAX + 1], size_t *n, struct err *e)
{
    const struct rd_kafka_metadata *md;
    if (read_metadata(q, &md, e) != 0) {
        return -1;
    }
    char(*lanes)[QUEUE_LANE_MAX + 1] = calloc((size_t)md->topic_cnt + 1, sizeof *lanes);
    size_t count = 0;
    ASSERT(lanes != NULL);
    for (int i = 0; i < md->topic_cnt; i++) {
        const char *lane = kafka_lane_of(q, md->topics[i].topic);
        if (lane != NULL) {
            (void)snprintf(lanes[count++], sizeof lanes[0], "%s", lane);
        }
    }
    rd_kafka_metadata_destroy(md);
    *out = lanes;
    *n = count;
    return 0;
}

static const struct kafka_topic_name *find_topic_locked(const struct queue_kafka *q,
                                                        const char *topic)
{
    for (size_t i = 0; i < q->known_count; i++) {
        if (strcmp(q->known[i].name, topic) == 0) {
            return &q->known[i];
        }
    }
    return NULL;
}

static void remember_topics_locked(struct queue_kafka *q, const struct rd_kafka_metadata *md)
{
    free(q->known);
    q->known = calloc((size_t)md->topic_cnt + 1, sizeof *q->known);
    ASSERT(q->known != NULL);
    q->known_count = 0;
    q->known_ms = clock_mono_ms();
    for (int i = 0; i < md->topic_cnt; i++) {
        if (strncmp(md->topics[i].topic, kafka_cluster_prefix(q->cluster),
                    strlen(kafka_cluster_prefix(q->cluster))) == 0) {
            struct kafka_topic_name *t = &q->known[q->known_count++];
            kafka_copy(t->name, sizeof t->name, md->topics[i].topic);
            t->partitions = md->topics[i].partition_cnt;
        }
    }
}

/* Asks the brokers only now and then: they answer with all topics of the cluster, since asking for
 * one by name may create it. */
static int partitions_of(struct queue_kafka *q, const char *topic, int *out, struct err *e)
{
    const struct rd_kafka_metadata *md = NULL;
    pthread_mutex_lock(&q->lock);
    bool fresh =
        find_topic_locked(q, topic) != NULL && clock_mono_ms() - q->known_ms < METADATA_MAX_AGE_MS;
    pthread_mutex_unlock(&q->lock);
    if (!fresh && read_metadata(q, &md, e) != 0) {
        return -1;
    }
    pthread_mutex_lock(&q->lock);
    if (md != NULL) {
        remember_topics_locked(q, md);
        rd_kafka_metadata_destroy(md);
    }
    const struct kafka_topic_name *t = find_topic_locked(q, topic);
    *out = t != NULL ? t->partitions : 0;
    pthread_mutex_unlock(&q->lock);
    return 0;
}

/* --- what a group has committed --- */
/* A consumer of the group that never joins it, made once. Not the admin call, by which one client
 * could ask about all groups: in librdkafka 2.0.2 it ends the program when a coordinator moves or
 * does not respond. */
static int group_client(struct queue_kafka *q, const char *group, rd_kafka_t **out, struct err *e)
{
    int rc = 0;
    *out = NULL;
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < q->group_count && *out == NULL; i++) {
        *out = strcmp(q->groups[i].name, group) == 0 ? q->groups[i].rk : NULL;
    }
    if (*out == NULL) {
        rc = kafka_consumer_new(q, group, NULL, NULL, NULL, out, e);
        if (rc == 0) {
            q->groups = realloc(q->groups, (q->group_count + 1) * sizeof *q->groups);
            ASSERT(q->groups != NULL);
            struct kafka_group *added = &q->groups[q->group_count++];
            kafka_copy(added->name, sizeof added->name, group);
            added->rk = *out;
        }
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

void kafka_groups_free(struct queue_kafka *q)
{
    for (size_t i = 0; i < q->group_count; i++) {
        rd_kafka_destroy(q->groups[i].rk);
    }
    free(q->groups);
}

static int read_committed(struct queue_kafka *q, const char *group,
                          rd_kafka_topic_partition_list_t *parts, struct err *e)
{
    rd_kafka_t *rk;
    rd_kafka_message_t *event;
    if (group_client(q, group, &rk, e) != 0) {
        return -1;
    }
    while ((event = rd_kafka_consumer_poll(rk, 0)) != NULL) {
        rd_kafka_message_destroy(event); /* errors of connections, which nobody else drops */
    }
    rd_kafka_resp_err_t code =
        rd_kafka_committed(rk, parts, (int)kafka_cluster_timeout_ms(q->cluster));
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : kafka_error(q->cluster, code, "read a group's offsets", e);
}

/* --- spans --- */
/* Again while a partition's leader changes, or is not there yet. */
static rd_kafka_resp_err_t read_ends(rd_kafka_t *rk, const rd_kafka_topic_partition_t *p,
                                     int64_t *low, int64_t *high, int timeout_ms)
{
    int64_t until_ms = clock_mono_ms() + timeout_ms;
    for (;;) {
        rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(rk, p->topic, p->partition, low, high, timeout_ms);
        bool moving = code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
                      code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        if (!moving || clock_mono_ms() >= until_ms) {
            return code;
        }
        clock_sleep_until(clock_mono_ms() + LEADER_PAUSE_MS);
    }
}

static int fill_spans(struct queue_kafka *q, rd_kafka_t *rk,
                      const rd_kafka_topic_partition_list_t *parts, struct kafka_spans *out,
                      struct err *e)
{
    int timeout_ms = (int)kafka_cluster_timeout_ms(q->cluster);
    for (int i = 0; i < parts->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &parts->elems[i];
        struct kafka_span *s = &out->all[out->count++];
        int64_t low = 0;
        rd_kafka_resp_err_t code = read_ends(rk, p, &low, &s->to, timeout_ms);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return kafka_error(q->cluster, code, "read a partition's end", e);
        }
        (void)snprintf(s->topic, sizeof s->topic, "%s", p->topic);
        s->partition = p->partition;
        s->from = p->offset > low ? p->offset : low;
    }
    return 0;
}

int kafka_spans_of(struct queue_kafka *q, const char *lane, const char *group_or_null,
                   struct kafka_spans *out, struct err *e)
{
    char topic[KAFKA_TOPIC_SIZE];
    char group[KAFKA_TOPIC_SIZE];
    int partitions = 0;
    struct kafka_spans spans = {0};
    kafka_topic_of(q, lane, topic);
    if (partitions_of(q, topic, &partitions, e) != 0) {
        return -1;
    }
    rd_kafka_topic_partition_list_t *parts = rd_kafka_topic_partition_list_new(partitions + 1);
    for (int i = 0; i < partitions; i++) {
        rd_kafka_topic_partition_list_add(parts, topic, i)->offset = RD_KAFKA_OFFSET_INVALID;
    }
    spans.all = calloc((size_t)partitions + 1, sizeof *spans.all);
    ASSERT(spans.all != NULL);
    rd_kafka_t *rk = kafka_producer_get(q->producer);
    int rc =
        rk != NULL ? 0 : kafka_error(q->cluster, RD_KAFKA_RESP_ERR__TRANSPORT, "read topics", e);
    if (rc == 0 && group_or_null != NULL && partitions > 0) {
        kafka_topic_of(q, group_or_null, group);
        rc = read_committed(q, group, parts, e);
    }
    rc = rc == 0 ? fill_spans(q, rk, parts, &spans, e) : rc;
    kafka_producer_put(q->producer);
    rd_kafka_topic_partition_list_destroy(parts);
    if (rc != 0) {
        free(spans.all);
        return -1;
    }
    *out = spans;
    return 0;
}

/* --- the scan --- */
static struct kafka_span *span_of(struct kafka_span *all, size_t n, const char *topic,
                                  int32_t partition)
{
    for (size_t i = 0; i < n; i++) {
        if (all[i].partition == partition && strcmp(all[i].topic, topic) == 0) {
            return &all[i];
        }
    }
    return NULL;
}

/* Advances the partition of m, whose error may be "end of partition"; returns whether m is one of
 * the records asked for. */
static bool advance(struct kafka_span *all, size_t n, const rd_kafka_message_t *m, size_t *open)
{
    struct kafka_span *s =
        m->rkt != NULL ? span_of(all, n, rd_kafka_topic_name(m->rkt), m->partition) : NULL;
    bool record = m->err == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (s == NULL || s->from >= s->to || (!record && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)) {
        return false;
    }
    bool wanted = record && m->offset < s->to;
    s->from = record ? m->offset + 1 : s->to;
    *open -= s->from >= s->to ? 1 : 0;
    return wanted;
}

static int scan_open(struct queue_kafka *q, rd_kafka_t *rk, struct kafka_span *all, size_t n,
                     kafka_scan_fn *fn, void *arg, struct err *e)
{
    size_t open = 0;
    size_t read = 0;
    int64_t until_ms = clock_mono_ms() + SCAN_MAX_MS;
    bool more = true;
    for (size_t i = 0; i < n; i++) {
        open += all[i].from < all[i].to ? 1 : 0;
    }
    while (open > 0 && more) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, POLL_MS);
        if (m != NULL && advance(all, n, m, &open)) {
            more = fn(arg, m);
            read++;
        }
        if (m != NULL) {
            rd_kafka_message_destroy(m);
        }
        if (open > 0 && (clock_mono_ms() > until_ms || read >= SCAN_MAX_RECORDS)) {
            return err_set(e, ERR_RETRY, 0,
                           "reading the topics of %s took more than %d s or %d records: there are "
                           "too many messages to search",
                           kafka_cluster_prefix(q->cluster), SCAN_MAX_MS / 1000, SCAN_MAX_RECORDS);
        }
    }
    return 0;
}

int kafka_scan(struct queue_kafka *q, const struct kafka_spans *spans, kafka_scan_fn *fn, void *arg,
               struct err *e)
{
    char group[KAFKA_TOPIC_SIZE];
    rd_kafka_t *rk;
    size_t n = spans->count;
    rd_kafka_topic_partition_list_t *parts = rd_kafka_topic_partition_list_new((int)n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct kafka_span *s = &spans->all[i];
        if (s->from < s->to) {
            rd_kafka_topic_partition_list_add(parts, s->topic, s->partition)->offset = s->from;
        }
    }
    kafka_topic_of(q, SCAN_GROUP, group);
    int rc = 0;
    if (parts->cnt > 0) {
        rc = kafka_consumer_new(q, group, NULL, NULL, NULL, &rk, e);
        if (rc == 0) {
            struct kafka_span *all = malloc(n * sizeof *all);
            ASSERT(all != NULL);
            memcpy(all, spans->all, n * sizeof *all);
            (void)rd_kafka_assign(rk, parts);
            rc = scan_open(q, rk, all, n, fn, arg, e);
            free(all);
            (void)rd_kafka_consumer_close(rk);
            rd_kafka_destroy(rk);
        }
    }
    rd_kafka_topic_partition_list_destroy(parts);
    return rc;
}
