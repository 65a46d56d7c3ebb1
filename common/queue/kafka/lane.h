/*
 * A lane's consumer, for lane.c (its thread) and lease.c (the calls of those who receive).
 */
#ifndef MAYFLY_QUEUE_KAFKA_LANE_H
#define MAYFLY_QUEUE_KAFKA_LANE_H

#include "common/queue/kafka/hand.h"
#include "common/queue/kafka/internal.h"

struct kafka_lane {
    struct queue_kafka *queue;
    char name[QUEUE_LANE_MAX + 1];
    char topic[KAFKA_TOPIC_SIZE];
    uint64_t nonce;                  /* in receipts: another handle's receipt is not ours */
    rd_kafka_t *rk;                  /* the thread's */
    struct kafka_start_check *check; /* the thread's; of partitions that are new here, or NULL */
    pthread_t thread;
    bool started;
    atomic_bool assigned; /* the client has had an assignment, maybe an empty one */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* for those who receive */
    pthread_cond_t room;    /* for the thread */
    /* Under the lock: */
    rd_kafka_queue_t *events; /* to end the thread's poll */
    struct hand hand;
    struct err trouble; /* what librdkafka said last, until it is assigned or has a message */
    size_t ahead;       /* fetch up to so many ready messages */
    size_t waiting;
    int64_t wanted_ms; /* monotonic: the last receive or keep */
    int64_t passed_on_ms;
    int64_t committed_ms;
    int64_t joined_ms; /* monotonic; 0: not assigned yet, or thrown out of the group */
    bool subscribed;
    bool full; /* nobody takes what is ready: all partitions are paused */
    bool stopping;
    bool warned_no_partition;
};

/* Makes the thread look at the lane at once. */
void kafka_lane_end_poll_locked(struct kafka_lane *lane);
/* Writes the proof of the message's lease; out holds QUEUE_RECEIPT_SIZE. */
void kafka_lane_receipt(const struct kafka_lane *lane, const struct hand_message *held, char *out);

#endif
