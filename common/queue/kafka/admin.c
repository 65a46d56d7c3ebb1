/*
 * Depths, dead letters and search of a Kafka queue, by reading topics from the side (scan.c).
 *
 * What a group has in hand is known to its members alone: beyond what this handle holds itself,
 * depths count leased messages as ready, and a message that finished behind an older, unfinished
 * one as well. Two processes that redrive one dead letter at the same moment may both succeed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/queue/kafka/internal.h"

#define DEAD_MAX_BYTES (64 * 1024 * 1024)
#define TALLY_MORE 64 /* lanes without a topic that are counted */

/* --- the dead letters: the last record of each id counts --- */
struct dead_letters {
    const char *lane_or_null;
    struct queue_entry *all; /* in the order they were dead-lettered */
    size_t count;
    size_t bytes;
    bool too_many;
};

static void fill_entry(const struct kafka_record *r, enum queue_place place,
                       struct queue_entry *out)
{
    *out = (struct queue_entry){.place = place, .ahead = -1, .dead_lettered_ms = r->dead_ms};
    kafka_record_message(r, &out->message);
    kafka_copy(out->reason, sizeof out->reason, r->reason);
}

static void remove_dead(struct dead_letters *d, struct slice id)
{
    for (size_t i = 0; i < d->count; i++) {
        if (slice_eq_cstr(id, d->all[i].message.id)) {
            d->bytes -= d->all[i].message.body_len;
            queue_message_fini(&d->all[i].message);
            memmove(&d->all[i], &d->all[i + 1], (d->count - i - 1) * sizeof d->all[0]);
            d->count--;
            return;
        }
    }
}

static void append_entry(struct queue_entry **all, size_t *count, const struct kafka_record *r,
                         enum queue_place place)
{
    *all = realloc(*all, (*count + 1) * sizeof **all);
    ASSERT(*all != NULL);
    fill_entry(r, place, &(*all)[(*count)++]);
}

static bool read_dead(void *arg, const rd_kafka_message_t *m)
{
    struct dead_letters *d = arg;
    struct kafka_record r;
    remove_dead(d, (struct slice){m->key, m->key_len});
    if (m->payload == NULL) {
        return true;
    }
    kafka_record_read(m, &r);
    if (d->lane_or_null == NULL || strcmp(d->lane_or_null, r.lane) == 0) {
        append_entry(&d->all, &d->count, &r, QUEUE_DEAD);
        d->bytes += r.body.len;
    }
    d->too_many = d->bytes > DEAD_MAX_BYTES;
    return !d->too_many;
}

static int list_dead(struct queue_kafka *q, const char *lane_or_null, struct dead_letters *out,
                     struct err *e)
{
    struct kafka_spans spans;
    *out = (struct dead_letters){.lane_or_null = lane_or_null};
    if (kafka_spans_of(q, KAFKA_DEAD, NULL, &spans, e) != 0) {
        return -1;
    }
    int rc = kafka_scan(q, &spans, read_dead, out, e);
    free(spans.all);
    if (rc == 0 && out->too_many) {
        rc = err_set(e, ERR_CAPACITY, 0, "the dead letters are larger than %d MiB: delete some",
                     DEAD_MAX_BYTES / 1024 / 1024);
    }
    if (rc != 0) {
        queue_entries_free(out->all, out->count);
    }
    return rc;
}

static int kafka_dead(void *state, const char *lane, size_t max, struct queue_entry **out,
                      size_t *n, struct err *e)
{
    struct dead_letters d;
    if (list_dead(state, lane, &d, e) != 0) {
        return -1;
    }
    while (d.count > max) {
        queue_message_fini(&d.all[--d.count].message);
    }
    *out = d.all;
    *n = d.count;
    return 0;
}

/* --- redrive and delete --- */
static int put_tombstone(struct queue_kafka *q, const char *id, struct err *e)
{
    struct kafka_record none = {0};
    struct kafka_outgoing out = {
        .lane = KAFKA_DEAD, .key = slice_of(id), .record = &none, .tombstone = true};
    return kafka_produce(q, &out, 1, e);
}

static int put_back(struct queue_kafka *q, const struct queue_message *m, struct err *e)
{
    struct kafka_record r = {.enqueued_ms = m->enqueued_ms, .body = {m->body, m->body_len}};
    kafka_copy(r.id, sizeof r.id, m->id);
    kafka_copy(r.key, sizeof r.key, m->key);
    kafka_copy(r.lane, sizeof r.lane, m->lane);
    struct kafka_outgoing out = {.lane = r.lane, .record = &r};
    if (!kafka_is_lane(r.lane)) {
        return err_set(
            e, ERR_PERMANENT, 0,
            "the dead letter %s has no lane to return to (\"%s\" is not the name of one): "
            "another program wrote it; delete it with mayflyctl dlq delete %s",
            r.id, r.lane, r.id);
    }
    return kafka_put_fresh(q, &r, &out, 1, e);
}

/* Removes the dead letter; ready: after it was put back. */
static int take_dead(struct queue_kafka *q, const char *id, bool ready, struct err *e)
{
    struct dead_letters d;
    const struct queue_message *found = NULL;
    if (list_dead(q, NULL, &d, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < d.count && found == NULL; i++) {
        found = strcmp(d.all[i].message.id, id) == 0 ? &d.all[i].message : NULL;
    }
    int rc = found != NULL ? 0 : err_set(e, ERR_NOT_FOUND, 0, "no dead letter has the id %s", id);
    rc = rc == 0 && ready ? put_back(q, found, e) : rc;
    rc = rc == 0 ? put_tombstone(q, id, e) : rc;
    queue_entries_free(d.all, d.count);
    return rc;
}

static int take_dead_alone(void *state, const char *id, bool ready, struct err *e)
{
    struct queue_kafka *q = state;
    pthread_mutex_lock(&q->admin);
    int rc = take_dead(q, id, ready, e);
    pthread_mutex_unlock(&q->admin);
    return rc;
}

static int kafka_redrive(void *state, const char *id, struct err *e)
{
    return take_dead_alone(state, id, true, e);
}

static int kafka_delete(void *state, const char *id, struct err *e)
{
    return take_dead_alone(state, id, false, e);
}

/* --- the lanes that this handle receives from --- */
static struct kafka_lane *lane_here(struct queue_kafka *q, const char *name)
{
    struct kafka_lane *lane = NULL;
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < q->lane_count && lane == NULL; i++) {
        lane = strcmp(kafka_lane_name(q->lanes[i]), name) == 0 ? q->lanes[i] : NULL;
    }
    pthread_mutex_unlock(&q->lock);
    return lane;
}

/* --- find --- */
struct search {
    struct queue_kafka *queue;
    const char *key;
    size_t max;
    struct kafka_lane *lane; /* of the topic being read, if this handle receives from it */
    const char *lane_name;
    enum queue_place place;
    struct queue_entry *all;
    size_t count;
};

static bool read_found(void *arg, const rd_kafka_message_t *m)
{
    struct search *s = arg;
    struct kafka_record r;
    enum queue_place place = s->place;
    int64_t due_ms = 0;
    kafka_record_read(m, &r);
    if (strcmp(r.key, s->key) != 0) {
        return true;
    }
    if (s->lane != NULL) {
        enum kafka_place here = kafka_lane_place(s->lane, m->partition, m->offset, &due_ms);
        if (here == KAFKA_FINISHED) {
            return true;
        }
        place = here == KAFKA_LEASED ? QUEUE_LEASED : QUEUE_READY;
    }
    if (s->lane_name != NULL) {
        kafka_copy(r.lane, sizeof r.lane, s->lane_name);
    }
    append_entry(&s->all, &s->count, &r, place);
    if (place == QUEUE_DELAYED) {
        rd_kafka_timestamp_type_t type;
        due_ms = rd_kafka_message_timestamp(m, &type) +
                 kafka_delay_of(rd_kafka_topic_name(m->rkt)) + r.left_ms;
    }
    s->all[s->count - 1].due_ms = place == QUEUE_READY ? 0 : due_ms;
    return s->count < s->max;
}

static int search_topic(struct search *s, const char *topic, const char *group, struct err *e)
{
    struct kafka_spans spans;
    if (s->count >= s->max) {
        return 0;
    }
    if (kafka_spans_of(s->queue, topic, group, &spans, e) != 0) {
        return -1;
    }
    int rc = kafka_scan(s->queue, &spans, read_found, s, e);
    free(spans.all);
    return rc;
}

static int search_lanes(struct search *s, struct err *e)
{
    char(*lanes)[QUEUE_LANE_MAX + 1];
    size_t n;
    if (kafka_lanes(s->queue, &lanes, &n, e) != 0) {
        return -1;
    }
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        s->lane = lane_here(s->queue, lanes[i]);
        s->lane_name = lanes[i];
        rc = search_topic(s, lanes[i], lanes[i], e);
    }
    s->lane = NULL;
    s->lane_name = NULL;
    free(lanes);
    return rc;
}

static int search_delayed(struct search *s, struct err *e)
{
    int rc = 0;
    s->place = QUEUE_DELAYED;
    for (size_t i = 0; i < KAFKA_DELAYS && rc == 0; i++) {
        rc = search_topic(s, kafka_delay_topics[i], "delay", e);
    }
    return rc;
}

static int search_dead(struct search *s, struct err *e)
{
    struct dead_letters d;
    if (list_dead(s->queue, NULL, &d, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < d.count; i++) {
        if (strcmp(d.all[i].message.key, s->key) != 0 || s->count >= s->max) {
            queue_message_fini(&d.all[i].message);
            continue;
        }
        s->all = realloc(s->all, (s->count + 1) * sizeof *s->all);
        ASSERT(s->all != NULL);
        s->all[s->count++] = d.all[i];
    }
    free(d.all);
    return 0;
}

static int compare_age(const void *a, const void *b)
{
    int64_t first = ((const struct queue_entry *)a)->message.enqueued_ms;
    int64_t second = ((const struct queue_entry *)b)->message.enqueued_ms;
    return (first > second) - (first < second);
}

static int kafka_find(void *state, const char *key, size_t max, struct queue_entry **out, size_t *n,
                      struct err *e)
{
    struct search s = {.queue = state, .key = key, .max = max};
    if (search_lanes(&s, e) != 0 || search_delayed(&s, e) != 0 || search_dead(&s, e) != 0) {
        queue_entries_free(s.all, s.count);
        return -1;
    }
    if (s.count > 0) {
        qsort(s.all, s.count, sizeof *s.all, compare_age);
    }
    *out = s.all;
    *n = s.count;
    return 0;
}

const struct queue_admin_ops queue_kafka_admin = {
    .dead = kafka_dead, .redrive = kafka_redrive, .delete = kafka_delete, .find = kafka_find};

/* --- depths --- */
struct tally {                  /* of one topic's records, by lane */
    struct queue_depth *depths; /* `most` long */
    size_t count;
    size_t most; /* lanes; those without a topic are added, unless only one is asked for */
};

static struct queue_depth *depth_of(struct tally *t, const char *lane)
{
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->depths[i].lane, lane) == 0) {
            return &t->depths[i];
        }
    }
    if (t->count == t->most) {
        return NULL;
    }
    struct queue_depth *added = &t->depths[t->count++];
    kafka_copy(added->lane, sizeof added->lane, lane);
    return added;
}

static bool count_delayed(void *arg, const rd_kafka_message_t *m)
{
    struct kafka_record r;
    kafka_record_read(m, &r);
    struct queue_depth *d = depth_of(arg, r.lane);
    if (d != NULL) {
        d->delayed++;
    }
    return true;
}

static bool note_age(void *arg, const rd_kafka_message_t *m)
{
    int64_t *oldest_ms = arg;
    struct kafka_record r;
    kafka_record_read(m, &r);
    int64_t age_ms = clock_wall_ms() - r.enqueued_ms;
    *oldest_ms = age_ms > *oldest_ms ? age_ms : *oldest_ms;
    return true;
}

/* The age of the first message of each partition that is not finished. */
static int read_age(struct queue_kafka *q, struct kafka_spans *spans, int64_t *oldest_ms,
                    struct err *e)
{
    for (size_t i = 0; i < spans->count; i++) {
        struct kafka_span *s = &spans->all[i];
        s->to = s->from < s->to ? s->from + 1 : s->to;
    }
    return kafka_scan(q, spans, note_age, oldest_ms, e);
}

static int count_lane(struct queue_kafka *q, struct queue_depth *d, struct err *e)
{
    struct kafka_spans spans;
    struct kafka_lane *lane = lane_here(q, d->lane);
    if (kafka_spans_of(q, d->lane, d->lane, &spans, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < spans.count; i++) {
        struct kafka_span *s = &spans.all[i];
        int64_t next = s->from;
        int64_t ready = 0;
        int64_t leased = 0;
        if (lane != NULL && kafka_lane_counts(lane, s->partition, &next, &ready, &leased)) {
            s->from = ready > 0 || s->from > next ? s->from : next;
        }
        d->ready += ready + (s->to > next ? s->to - next : 0);
        d->leased += leased;
    }
    int rc = d->ready > 0 ? read_age(q, &spans, &d->oldest_ready_ms, e) : 0;
    free(spans.all);
    return rc;
}

static int count_others(struct queue_kafka *q, struct tally *t, struct err *e)
{
    struct dead_letters dead;
    int rc = 0;
    for (size_t i = 0; i < KAFKA_DELAYS && rc == 0; i++) {
        struct kafka_spans spans;
        rc = kafka_spans_of(q, kafka_delay_topics[i], "delay", &spans, e);
        if (rc == 0) {
            rc = kafka_scan(q, &spans, count_delayed, t, e);
            free(spans.all);
        }
    }
    if (rc != 0 || list_dead(q, NULL, &dead, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < dead.count; i++) {
        struct queue_depth *d = depth_of(t, dead.all[i].message.lane);
        if (d != NULL) {
            d->dead++;
        }
    }
    queue_entries_free(dead.all, dead.count);
    return 0;
}

static int wanted_lanes(struct queue_kafka *q, const char *lane_or_null, struct tally *out,
                        struct err *e)
{
    char(*lanes)[QUEUE_LANE_MAX + 1] = NULL;
    size_t count = 1;
    if (lane_or_null == NULL && kafka_lanes(q, &lanes, &count, e) != 0) {
        return -1;
    }
    out->count = count;
    out->most = lane_or_null != NULL ? count : count + TALLY_MORE;
    out->depths = calloc(out->most, sizeof *out->depths);
    ASSERT(out->depths != NULL);
    for (size_t i = 0; i < count; i++) {
        kafka_copy(out->depths[i].lane, sizeof out->depths[i].lane,
                   lane_or_null != NULL ? lane_or_null : lanes[i]);
    }
    free(lanes);
    return 0;
}

/* Without a lane, those without messages are left out. */
static size_t drop_empty(struct queue_depth *all, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (all[i].ready + all[i].leased + all[i].delayed + all[i].dead > 0) {
            all[kept++] = all[i];
        }
    }
    return kept;
}

int queue_kafka_depths(void *state, const char *lane_or_null, struct queue_depth **out, size_t *n,
                       struct err *e)
{
    struct queue_kafka *q = state;
    struct tally t = {0};
    if (wanted_lanes(q, lane_or_null, &t, e) != 0) {
        return -1;
    }
    int rc = 0;
    for (size_t i = 0; i < t.count && rc == 0; i++) {
        rc = count_lane(q, &t.depths[i], e);
    }
    if (rc != 0 || count_others(q, &t, e) != 0) {
        free(t.depths);
        return -1;
    }
    *n = lane_or_null != NULL ? t.count : drop_empty(t.depths, t.count);
    *out = t.depths;
    return 0;
}
