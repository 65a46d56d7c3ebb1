/*
 * What a member of a lane's group has in hand: its partitions, and of each the fetched messages
 * that are not finished. Plain data without a lock or a client; lane.c owns both.
 *
 * Kafka keeps one offset per partition, but launches finish in any order. So the position of a
 * partition, which is what may be committed, is the offset of its oldest unfinished message. What
 * finished behind it comes a second time if the partition moves to another member.
 *
 *     add ──> ready ──lease──> leased ──remove──> (finished)
 *               ^                 │ └─claim─> claimed ──remove──> (finished elsewhere)
 *               └──lease expires──┘      └───────unclaim──────> leased
 */
#ifndef MAYFLY_QUEUE_KAFKA_HAND_H
#define MAYFLY_QUEUE_KAFKA_HAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hand_state { HAND_READY, HAND_LEASED, HAND_CLAIMED };

struct hand_message {
    int32_t partition;
    int64_t offset;
    int64_t appended_ms; /* a message that was returned counts from its return */
    enum hand_state state;
    uint64_t lease;        /* of the last lease; 0: never leased */
    int64_t until_ms;      /* monotonic */
    int64_t until_wall_ms; /* the same for people */
    void *record;          /* the owner's */
};

struct hand_partition {
    int32_t id;
    int64_t next;      /* the offset after the last one fetched; -1: nothing yet */
    int64_t committed; /* the position of the last commit; -1: none */
    bool paused;
    bool checked; /* its start was compared with the log's */
};

struct hand {
    struct hand_message *messages; /* unfinished, in the order they came */
    size_t count;
    struct hand_partition *partitions;
    size_t partition_count;
    uint64_t last_lease;
};

void hand_fini(struct hand *h); /* the owner frees the records first */

/* --- partitions --- */
struct hand_partition *hand_partition(struct hand *h, int32_t id); /* NULL: not ours */
void hand_add_partition(struct hand *h, int32_t id);
/* Forgets it and its messages; free_record gets each record. */
void hand_drop_partition(struct hand *h, int32_t id, void (*free_record)(void *));
/* What may be committed; -1: nothing was fetched. */
int64_t hand_position(const struct hand *h, const struct hand_partition *p);

/* --- messages --- */
/* False if the partition is not ours (any more): the caller keeps the record. */
bool hand_add(struct hand *h, const struct hand_message *m);
/* Makes ready what is leased beyond now_ms; returns how many. */
size_t hand_expire(struct hand *h, int64_t now_ms);
/* Leases the ready message that was appended first; NULL: there is none. Valid until the next change. */
struct hand_message *hand_lease(struct hand *h, int64_t until_ms);
struct hand_message *hand_at(struct hand *h, int32_t partition, int64_t offset); /* or NULL */
/* The message whose last lease this is, also an expired one; NULL: there is none. */
struct hand_message *hand_find(struct hand *h, int32_t partition, int64_t offset, uint64_t lease);
/* Removes it; returns its record. */
void *hand_remove(struct hand *h, struct hand_message *m);
size_t hand_count(const struct hand *h, int32_t partition_or_any, enum hand_state state);
#define HAND_ANY_PARTITION (-1)

#endif
