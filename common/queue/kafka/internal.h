/*
 * Shared by the files of the Kafka queue: its state, records, producer, lanes, scans.
 *
 * For common/queue/kafka/ alone. Topics, each with the name of the deployment and a dot in front:
 *   <lane>            the messages of a lane, "mayfly.launch.small"; group of the same name
 *   delay.5s … 10m    parked messages of all lanes, each due so long after it was appended;
 *                     group "<name>.delay"
 *   dead              dead letters of all lanes, compacted: the message's id is the record's key,
 *                     a record without a value removes it
 * A record's value is the message's body, its headers are the rest (record.c).
 */
#ifndef MAYFLY_QUEUE_KAFKA_INTERNAL_H
#define MAYFLY_QUEUE_KAFKA_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/kafka/client.h"
#include "common/queue/queue_backend.h"

#define KAFKA_TOPIC_SIZE 160 /* the deployment's name, a dot, a lane */
#define KAFKA_DELAYS 4
#define KAFKA_DEAD "dead"
/* Longer than a job can wait at GitHub (a day), with room for a long outage. */
#define KAFKA_RETENTION_MS (30LL * 24 * 3600 * 1000)

struct kafka_producer;
struct kafka_lane;
struct kafka_mover;

struct queue_kafka {
    struct kafka_cluster *cluster;
    int64_t create; /* make missing topics: */
    int64_t partitions;
    int64_t replicas;
    int64_t window;     /* offsets of a partition beyond its oldest unfinished message */
    int64_t session_ms; /* a member that is silent this long is dead to the group */
    int64_t idle_ms;    /* a lane that nobody receives from this long is left to others */
    struct kafka_producer *producer;
    atomic_bool interrupted;
    pthread_mutex_t lock;
    /* Under the lock: */
    struct kafka_lane **lanes;
    size_t lane_count;
    struct kafka_mover *mover; /* from the first receive on */
    struct kafka_topic_name {
        char name[KAFKA_TOPIC_SIZE];
        int partitions;
    } * made; /* topics that are known to exist; without their partitions */
    size_t made_count;
    struct kafka_topic_name *known; /* the deployment's topics when the brokers were last asked */
    size_t known_count;
    int64_t known_ms;    /* monotonic */
    struct kafka_group { /* asked what it has committed */
        char name[KAFKA_TOPIC_SIZE];
        rd_kafka_t *rk;
    } * groups;
    size_t group_count;
    /* Serializes this process's redrives and deletions. */
    pthread_mutex_t admin;
};

/* --- record.c: a message as a Kafka record --- */
struct kafka_record {
    char id[64];
    char lane[QUEUE_LANE_MAX + 1];
    char key[32];
    int64_t attempts;
    int64_t enqueued_ms; /* 0: the time of the record is the time of the put */
    int64_t left_ms;     /* in a delay topic: what is left of the delay after that topic's own */
    int64_t dead_ms;
    char reason[512];
    struct slice group; /* the record's key in a lane: the repository */
    struct slice body;
};
/* r's slices are valid as long as m. */
void kafka_record_read(const rd_kafka_message_t *m, struct kafka_record *r);
rd_kafka_headers_t *kafka_record_headers(const struct kafka_record *r);
/* Cuts at the end of out, which other records than ours may need. */
void kafka_copy(char *out, size_t size, const char *text);
/* Copies into m, which then owns its body; the caller fills the lease. */
void kafka_record_message(const struct kafka_record *r, struct queue_message *m);

/* --- topics.c --- */
void kafka_topic_of(const struct queue_kafka *q, const char *lane, char out[KAFKA_TOPIC_SIZE]);
/* The lane of a topic, or NULL: another deployment's, a delay topic, the dead letters. */
const char *kafka_lane_of(const struct queue_kafka *q, const char *topic);
/* Makes those that are missing if the URL says create=1; at most 8. Remembers what it made. */
MUST_CHECK int kafka_topics_ensure(struct queue_kafka *q, const char *const *lanes, size_t n,
                                   struct err *e);
/* It was deleted: the next call that needs it asks again. */
void kafka_topics_forget(struct queue_kafka *q, const char *topic);
queue_check_fn queue_kafka_check;

/* --- producer.c --- */
struct kafka_outgoing {
    const char *lane; /* or "delay.5s" …, or "dead" */
    struct slice key; /* empty: any partition */
    const struct kafka_record *record;
    bool tombstone; /* no value */
};
MUST_CHECK int kafka_producer_new(const struct queue_kafka *q, struct kafka_producer **out,
                                  struct err *e);
void kafka_producer_free(struct kafka_producer *p);
/* Returns 0 once all are in sync with the topic's replicas. After a failure some may be there. */
MUST_CHECK int kafka_produce(struct queue_kafka *q, const struct kafka_outgoing *out, size_t n,
                             struct err *e);
/* The same, and codes[i] for each record. A topic that cannot be made fails its own records only. */
MUST_CHECK int kafka_produce_each(struct queue_kafka *q, const struct kafka_outgoing *out,
                                  rd_kafka_resp_err_t *codes, size_t n, struct err *e);
/* The client to ask about topics, groups and offsets; put it back soon. */
rd_kafka_t *kafka_producer_get(struct kafka_producer *p);
void kafka_producer_put(struct kafka_producer *p);

/* --- consumer.c --- */
typedef void kafka_rebalance_fn(rd_kafka_t *rk, rd_kafka_resp_err_t what,
                                rd_kafka_topic_partition_list_t *parts, void *opaque);
typedef void kafka_committed_fn(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                                rd_kafka_topic_partition_list_t *parts, void *opaque);
/* A member of a group that commits by hand; rebalance NULL: it never joins, for scans. */
MUST_CHECK int kafka_consumer_new(const struct queue_kafka *q, const char *group,
                                  kafka_rebalance_fn *rebalance, kafka_committed_fn *committed,
                                  void *opaque, rd_kafka_t **out, struct err *e);
MUST_CHECK int kafka_consumer_subscribe(const struct queue_kafka *q, rd_kafka_t *rk,
                                        const char *const *lanes, size_t n, struct err *e);
/* A member that asked to join, or to join again, and does not know its partitions yet: a commit would
 * cost it all it has (consumer.c), so it waits. */
bool kafka_consumer_is_joining(const rd_kafka_t *rk);
/* Leaves the group and frees the client. assigned: the rebalance callback has seen partitions, or
 * none for want of any, at least once; it may be called once more from here. */
void kafka_consumer_free(const struct queue_kafka *q, rd_kafka_t *rk, const atomic_bool *assigned);
/* Logs a loss for each partition of which the group had committed less than the log still has. In a
 * thread of its own: brokers that are away cost it seconds for each partition. NULL: no thread could be started, and
 * nothing is checked. */
struct kafka_start_check;
struct kafka_start_check *kafka_start_check_new(rd_kafka_t *rk,
                                                const rd_kafka_topic_partition_list_t *parts);
bool kafka_start_check_done(const struct kafka_start_check *c);
/* Waits for the thread; before rk is freed. */
void kafka_start_check_free(struct kafka_start_check *c);

/* --- lane.c --- */
MUST_CHECK int kafka_lane_new(struct queue_kafka *q, const char *name, struct kafka_lane **out,
                              struct err *e);
void kafka_lane_free(struct kafka_lane *lane);
const char *kafka_lane_name(const struct kafka_lane *lane);
MUST_CHECK int kafka_lane_receive(struct kafka_lane *lane, const struct queue_receive_args *w,
                                  struct queue_message *out, size_t *got, struct err *e);
void kafka_lane_keep(struct kafka_lane *lane);
void kafka_lane_wake(struct kafka_lane *lane);
MUST_CHECK int kafka_lane_extend(struct kafka_lane *lane, struct queue_message *m, int64_t lease_ms,
                                 struct err *e);
MUST_CHECK int kafka_lane_ack(struct kafka_lane *lane, const struct queue_message *m,
                              struct err *e);
/* Finishes m by what `out` puts elsewhere: durable there first, then done here. */
MUST_CHECK int kafka_lane_move(struct kafka_lane *lane, const struct queue_message *m,
                               const struct kafka_outgoing *out, struct err *e);
/* Of a partition that this handle holds: *next, the offset to fetch next, and what it has in hand.
 * False: it does not hold it. */
bool kafka_lane_counts(struct kafka_lane *lane, int32_t partition, int64_t *next, int64_t *ready,
                       int64_t *leased);
/* Where this handle knows a fetched message to be; due_ms: the end of its lease, wall clock. */
enum kafka_place { KAFKA_UNKNOWN, KAFKA_READY, KAFKA_LEASED, KAFKA_FINISHED };
enum kafka_place kafka_lane_place(struct kafka_lane *lane, int32_t partition, int64_t offset,
                                  int64_t *due_ms);

/* --- delay.c --- */
extern const char *const kafka_delay_topics[KAFKA_DELAYS];
/* The topic in which a message waits for delay_ms or the first part of it, and what is left then;
 * NULL: no delay. */
const char *kafka_delay_topic(int64_t delay_ms, int64_t *out_left_ms);
bool kafka_is_delay(const char *lane);
int64_t kafka_delay_of(const char *topic); /* 0: it is no delay topic */
/* out puts r, which names its lane, at the end of the lane, or where it waits for delay_ms. */
void kafka_delay_outgoing(struct kafka_record *r, int64_t delay_ms, struct kafka_outgoing *out);
/* Under the queue's lock, after the topics were made. */
MUST_CHECK int kafka_mover_new(struct queue_kafka *q, struct kafka_mover **out, struct err *e);
void kafka_mover_free(struct kafka_mover *m);

/* --- due.c --- */
#define KAFKA_DUE_MAX 64
bool kafka_is_lane(const char *lane); /* another program's record can name any */
/* Puts messages into their lanes; those of a lane that takes nothing while Kafka responds wait in a
 * delay topic. out[i] is records[i]'s, and is changed. Returns 0 once each is in sync somewhere. */
MUST_CHECK int kafka_put_fresh(struct queue_kafka *q, struct kafka_record *records,
                               struct kafka_outgoing *out, size_t n, struct err *e);
/* Puts records of the delay topics at the end of their lanes, or where they wait on; n <= KAFKA_DUE_MAX.
 * Returns 0 once each is in sync with the replicas somewhere. */
MUST_CHECK int kafka_put_due(struct queue_kafka *q, rd_kafka_message_t *const *due, size_t n,
                             struct err *e);

/* --- scan.c: reading a topic from the side, for people --- */
struct kafka_span { /* offsets of one partition */
    char topic[KAFKA_TOPIC_SIZE];
    int32_t partition;
    int64_t from;
    int64_t to; /* exclusive: the end of the log */
};
struct kafka_spans {
    struct kafka_span *all;
    size_t count;
};
/* The partitions of a lane, of a delay topic, or of the dead letters. From what the group of that
 * name has committed; else from the log's start. None if there is no such topic. */
MUST_CHECK int kafka_spans_of(struct queue_kafka *q, const char *lane, const char *group_or_null,
                              struct kafka_spans *out, struct err *e);
void kafka_groups_free(struct queue_kafka *q);
/* Returns false to end the scan. */
typedef bool kafka_scan_fn(void *arg, const rd_kafka_message_t *m);
MUST_CHECK int kafka_scan(struct queue_kafka *q, const struct kafka_spans *spans, kafka_scan_fn *fn,
                          void *arg, struct err *e);
/* The lanes that have a topic. *out: owned, free(). */
MUST_CHECK int kafka_lanes(struct queue_kafka *q, char (**out)[QUEUE_LANE_MAX + 1], size_t *n,
                           struct err *e);

queue_depths_fn queue_kafka_depths;
extern const struct queue_admin_ops queue_kafka_admin;

#endif
