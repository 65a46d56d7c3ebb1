/*
 * The topics of a cluster, for checks at startup: which exist, their partitions, replication and
 * settings; and creating those that are missing.
 *
 * Only kafka_topics_create creates topics: none of the other calls triggers the broker's own
 * automatic creation. Each call asks for all of its topics at once.
 *
 * Threading: any thread, with a client (of either type) that nobody closes meanwhile; blocks for up
 * to about twice the cluster's timeout. Failures: those of kafka_error; outputs that stand for
 * topics are unspecified then.
 */
#ifndef MAYFLY_KAFKA_TOPICS_H
#define MAYFLY_KAFKA_TOPICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/kafka/client.h"

#define KAFKA_TOPIC_NAME_SIZE 250 /* Kafka's 249 and a NUL */

struct kafka_topic {
    char name[KAFKA_TOPIC_NAME_SIZE]; /* the caller's, in; all others are out */
    bool exists; /* false: all below are 0; also for a topic that the user may not describe */
    int partitions;
    int replicas;         /* of the partition that has the fewest */
    bool configs_known;   /* false, and all below are 0: the user may not DescribeConfigs on it */
    int64_t retention_ms; /* -1: unlimited */
    int64_t retention_bytes; /* of a partition; -1: unlimited */
    bool compacted;          /* cleanup.policy has "compact" */
    bool deletes;            /* cleanup.policy has "delete": the two retentions apply */
    int min_insync;
};

/* Fills topics[0..n). */
MUST_CHECK int kafka_topics_describe(const struct kafka_cluster *c, rd_kafka_t *rk,
                                     struct kafka_topic *topics, size_t n, struct err *e);

/* The brokers that are registered with the cluster. */
MUST_CHECK int kafka_brokers_count(const struct kafka_cluster *c, rd_kafka_t *rk, int *out,
                                   struct err *e);

struct kafka_topic_wish {
    const char *name;
    int partitions;       /* 0: the broker's default */
    int replicas;         /* 0: the broker's default */
    int64_t retention_ms; /* 0: the broker's default; -1: unlimited */
    bool compacted;       /* cleanup.policy=compact */
    int min_insync;       /* 0: the broker's default */
    bool append_time;     /* message.timestamp.type=LogAppendTime */
};

/* Creates them, and returns once each has a leader for all of its partitions. One that exists
 * already is left as it is. */
MUST_CHECK int kafka_topics_create(const struct kafka_cluster *c, rd_kafka_t *rk,
                                   const struct kafka_topic_wish *wishes, size_t n, struct err *e);

/* What topics must be like. */
struct kafka_topics_rule {
    int brokers;    /* kafka_brokers_count */
    int consumers;  /* that share each topic's partitions; 0: does not matter */
    bool compacted; /* they hold the last message of each key; else every message counts */
};

/* Checks described topics; a pure function. Refuses (ERR_PERMANENT, with the command that cures it)
 * what loses jobs or keeps them from being put: messages deleted within 14 days, compaction of what
 * must not be compacted, one copy where several brokers could have more. ERR_NOT_FOUND for a topic
 * that does not exist. Appends to *warnings a line for each thing that is only unwise. */
MUST_CHECK int kafka_topics_check(const struct kafka_cluster *c, const struct kafka_topic *topics,
                                  size_t n, const struct kafka_topics_rule *rule,
                                  struct buf *warnings, struct err *e);

#endif
