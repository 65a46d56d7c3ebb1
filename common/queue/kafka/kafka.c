/*
 * The queue on Kafka: a topic per lane, a group per lane.
 *
 * Where it differs from the contract of queue.h: a lease lives in the process that holds it
 * (lease.c), so a message comes again when that process is gone or its partition moves, finished
 * ones behind an unfinished one included; a message goes to whichever member holds its partition;
 * an order exists per partition; a put is not all or nothing. See deploy/docs/kafka.md.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/queue/kafka/internal.h"

#define ID_BYTES 12
#define WARNINGS_MAX (16 * 1024)
#define PARTITIONS_DEFAULT 12
#define WINDOW_DEFAULT 256
#define SESSION_DEFAULT_MS 10000
#define IDLE_DEFAULT_MS 10000

/* --- open and close --- */
static void kafka_close(void *state)
{
    struct queue_kafka *q = state;
    for (size_t i = 0; i < q->lane_count; i++) {
        kafka_lane_free(q->lanes[i]);
    }
    kafka_mover_free(q->mover);
    kafka_groups_free(q);
    kafka_producer_free(q->producer);
    kafka_cluster_free(q->cluster);
    pthread_mutex_destroy(&q->lock);
    pthread_mutex_destroy(&q->admin);
    free(q->lanes);
    free(q->made);
    free(q->known);
    free(q);
}

static int kafka_ping(void *state, struct err *e)
{
    struct queue_kafka *q = state;
    const struct rd_kafka_metadata *md;
    rd_kafka_t *rk = kafka_producer_get(q->producer);
    int timeout_ms = (int)kafka_cluster_timeout_ms(q->cluster);
    rd_kafka_resp_err_t code =
        rk != NULL ? rd_kafka_metadata(rk, 0, NULL, &md, timeout_ms) : RD_KAFKA_RESP_ERR__TRANSPORT;
    kafka_producer_put(q->producer);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error(q->cluster, code, "reach a broker", e);
    }
    rd_kafka_metadata_destroy(md);
    return 0;
}

/* What would lose jobs is refused at once; what is only unwise is for queue_check. */
static int refuse_dangerous_topics(struct queue_kafka *q, struct err *e)
{
    struct buf warnings;
    buf_init(&warnings, WARNINGS_MAX);
    int rc = queue_kafka_check(q, true, &warnings, e);
    buf_fini(&warnings);
    if (rc != 0 && e->class == ERR_NOT_FOUND) {
        e->class = ERR_PERMANENT;
        return err_wrap(e, "without create=1 in the queue's URL the topics must be there");
    }
    return rc;
}

/* For a program that makes none. */
static int refuse_missing_topics(struct queue_kafka *q, struct err *e)
{
    struct buf warnings;
    int64_t create = q->create;
    buf_init(&warnings, WARNINGS_MAX);
    q->create = 0;
    int rc = queue_kafka_check(q, true, &warnings, e);
    q->create = create;
    buf_fini(&warnings);
    if (rc != 0 && e->class == ERR_NOT_FOUND) {
        return err_wrap(e,
                        "the name in the queue's URL is wrong, or no daemon has run with it yet");
    }
    return rc;
}

static int kafka_open(const char *url, bool existing, void **out_state, struct err *e)
{
    struct queue_kafka *q = calloc(1, sizeof *q);
    ASSERT(q != NULL);
    ASSERT(pthread_mutex_init(&q->lock, NULL) == 0 && pthread_mutex_init(&q->admin, NULL) == 0);
    q->partitions = PARTITIONS_DEFAULT;
    q->window = WINDOW_DEFAULT;
    q->session_ms = SESSION_DEFAULT_MS;
    q->idle_ms = IDLE_DEFAULT_MS;
    const struct url_option own[] = {
        {.name = "create", .number = &q->create, .least = 0, .most = 1},
        {.name = "partitions", .number = &q->partitions, .least = 1, .most = 1000},
        {.name = "replicas", .number = &q->replicas, .least = 1, .most = 9},
        {.name = "window", .number = &q->window, .least = 1, .most = 10000},
        {.name = "session", .duration_ms = &q->session_ms, .least = 1000, .most = 300000},
        {.name = "idle", .duration_ms = &q->idle_ms, .least = 1000, .most = 3600000}};
    if (kafka_cluster_new(url, own, COUNT_OF(own), &q->cluster, e) != 0 ||
        kafka_producer_new(q, &q->producer, e) != 0 || kafka_ping(q, e) != 0 ||
        (existing ? refuse_missing_topics(q, e) : refuse_dangerous_topics(q, e)) != 0) {
        kafka_close(q);
        return -1;
    }
    *out_state = q;
    return 0;
}

/* --- put --- */
static int kafka_put(void *state, const struct queue_item *items, size_t n, struct err *e)
{
    struct kafka_record *records = calloc(n, sizeof *records);
    struct kafka_outgoing *out = calloc(n, sizeof *out);
    ASSERT(records != NULL && out != NULL);
    for (size_t i = 0; i < n; i++) {
        struct kafka_record *r = &records[i];
        random_hex(r->id, ID_BYTES);
        kafka_copy(r->lane, sizeof r->lane, items[i].lane);
        if (items[i].key != NULL) {
            kafka_copy(r->key, sizeof r->key, items[i].key);
        }
        r->group = slice_of(items[i].group != NULL ? items[i].group : "");
        r->body = items[i].body;
        kafka_delay_outgoing(r, items[i].delay_ms, &out[i]);
    }
    int rc = kafka_put_fresh(state, records, out, n, e);
    free(out);
    free(records);
    return rc;
}

/* --- lanes --- */
static struct kafka_lane *find_lane_locked(struct queue_kafka *q, const char *name)
{
    for (size_t i = 0; i < q->lane_count; i++) {
        if (strcmp(kafka_lane_name(q->lanes[i]), name) == 0) {
            return q->lanes[i];
        }
    }
    return NULL;
}

static struct kafka_lane *find_lane(struct queue_kafka *q, const char *name)
{
    pthread_mutex_lock(&q->lock);
    struct kafka_lane *lane = find_lane_locked(q, name);
    pthread_mutex_unlock(&q->lock);
    return lane;
}

static int add_lane_locked(struct queue_kafka *q, const char *name, struct kafka_lane **out,
                           struct err *e)
{
    *out = find_lane_locked(q, name);
    if (*out != NULL) {
        return 0;
    }
    if ((q->mover == NULL && kafka_mover_new(q, &q->mover, e) != 0) ||
        kafka_lane_new(q, name, out, e) != 0) {
        return -1;
    }
    q->lanes = realloc(q->lanes, (q->lane_count + 1) * sizeof(struct kafka_lane *));
    ASSERT(q->lanes != NULL);
    q->lanes[q->lane_count++] = *out;
    return 0;
}

static int open_lane(struct queue_kafka *q, const char *name, struct kafka_lane **out,
                     struct err *e)
{
    *out = find_lane(q, name);
    if (*out != NULL) {
        return 0;
    }
    if (kafka_topics_ensure(q, &name, 1, e) != 0) {
        return -1;
    }
    pthread_mutex_lock(&q->lock);
    int rc = add_lane_locked(q, name, out, e);
    pthread_mutex_unlock(&q->lock);
    return rc;
}

static int kafka_poll(void *state, const struct queue_receive_args *w, struct queue_message *out,
                      size_t *got, struct err *e)
{
    struct kafka_lane *lane;
    return open_lane(state, w->lane, &lane, e) != 0 ? -1 : kafka_lane_receive(lane, w, out, got, e);
}

static void kafka_keep(void *state, const char *name)
{
    struct kafka_lane *lane = find_lane(state, name);
    if (lane != NULL) {
        kafka_lane_keep(lane);
    }
}

static void kafka_wake(void *state)
{
    struct queue_kafka *q = state;
    atomic_store(&q->interrupted, true);
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < q->lane_count; i++) {
        kafka_lane_wake(q->lanes[i]);
    }
    pthread_mutex_unlock(&q->lock);
}

/* --- the holder's calls --- */
static int find_holder(struct queue_kafka *q, const char *name, struct kafka_lane **out,
                       struct err *e)
{
    *out = find_lane(q, name);
    return *out != NULL ? 0
                        : err_set(e, ERR_CONFLICT, 0,
                                  "this process does not receive from the lane %s: the message's "
                                  "lease is not its own",
                                  name);
}

static int kafka_extend(void *state, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    struct kafka_lane *lane;
    return find_holder(state, m->lane, &lane, e) != 0 ? -1
                                                      : kafka_lane_extend(lane, m, lease_ms, e);
}

static int kafka_ack(void *state, const struct queue_message *m, size_t n, struct err *e)
{
    struct kafka_lane *lane;
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        if (find_holder(state, m[i].lane, &lane, e) != 0 || kafka_lane_ack(lane, &m[i], e) != 0) {
            rc = -1;
        }
    }
    return rc;
}

static void fill_record(const struct queue_message *m, const char *reason, struct kafka_record *r)
{
    *r = (struct kafka_record){
        .attempts = m->attempts, .enqueued_ms = m->enqueued_ms, .body = {m->body, m->body_len}};
    kafka_copy(r->id, sizeof r->id, m->id);
    kafka_copy(r->lane, sizeof r->lane, m->lane);
    kafka_copy(r->key, sizeof r->key, m->key);
    kafka_copy(r->reason, sizeof r->reason, reason != NULL ? reason : "");
}

static int kafka_nack(void *state, const struct queue_message *m, const struct queue_return *r,
                      struct err *e)
{
    struct kafka_lane *lane;
    struct kafka_record record;
    struct kafka_outgoing out;
    fill_record(m, r->reason, &record);
    record.attempts += r->spend_attempt ? 1 : 0;
    kafka_delay_outgoing(&record, r->delay_ms, &out);
    return find_holder(state, m->lane, &lane, e) != 0 ? -1 : kafka_lane_move(lane, m, &out, e);
}

static int kafka_dead_letter(void *state, const struct queue_message *m, const char *reason,
                             struct err *e)
{
    struct kafka_lane *lane;
    struct kafka_record record;
    fill_record(m, reason, &record);
    record.dead_ms = clock_wall_ms();
    struct kafka_outgoing out = {.lane = KAFKA_DEAD, .key = slice_of(record.id), .record = &record};
    return find_holder(state, m->lane, &lane, e) != 0 ? -1 : kafka_lane_move(lane, m, &out, e);
}

const struct queue_ops queue_ops_kafka = {
    .scheme = "kafka",
    .can = QUEUE_SCANS | QUEUE_PARTITIONED,
    .open = kafka_open,
    .close = kafka_close,
    .put = kafka_put,
    .poll = kafka_poll,
    .keep = kafka_keep,
    .wake = kafka_wake,
    .extend = kafka_extend,
    .ack = kafka_ack,
    .nack = kafka_nack,
    .dead_letter = kafka_dead_letter,
    .depths = queue_kafka_depths,
    .admin = &queue_kafka_admin,
    .ping = kafka_ping,
    .check = queue_kafka_check,
};
