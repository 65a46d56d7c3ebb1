/*
 * Shared by the files of the Redis queue: its state, its scripts, reading a message.
 *
 * For common/queue/redis/ alone. Keys, each with the prefix "{mayfly:<prefix>}:q:":
 *   seq        the last message's number
 *   lanes      set: every lane that was ever used
 *   m:<id>     hash, the record: l lane, g group, k key, b body, a attempts, e enqueued, n lease
 *              number, p place (r l d x), s its entry in x, u when it was dead-lettered, r reason
 *   r:<lane>   sorted set of ready ids by their turn: a number of seq
 *   g:<lane>:<group>  those of one group
 *   t:<lane>   list of the groups with ready messages; the first is served next
 *   h:<lane>   sorted set of leased ids by the end of their lease
 *   d:<lane>   sorted set of delayed ids by the time they are due
 *   x:<lane>   stream of dead letters
 *   k:<key>    sorted set: ids of the messages with that key
 *   wake       channel: "<lane> <ready> <delay in ms or -1>"
 */
#ifndef MAYFLY_QUEUE_REDIS_INTERNAL_H
#define MAYFLY_QUEUE_REDIS_INTERNAL_H

#include "common/queue/queue_backend.h"
#include "common/queue/redis/wait.h"
#include "common/redis/store.h"

#define QUEUE_REDIS_VERSION 2 /* of the keys' layout */
#define QUEUE_REDIS_VERSION_TEXT "2"

struct queue_redis {
    struct redis_store *store;
    struct queue_redis_waiters *waiters;
};

/* The ARGV and the result of each script are documented at its text in redis/scripts.c. */
extern const struct redis_script queue_script_open;
extern const struct redis_script queue_script_put;
extern const struct redis_script queue_script_receive;
extern const struct redis_script queue_script_ack;
extern const struct redis_script queue_script_extend;
extern const struct redis_script queue_script_nack;
extern const struct redis_script queue_script_dead_letter;
extern const struct redis_script queue_script_depths;
extern const struct redis_script queue_script_dead;
extern const struct redis_script queue_script_find;
extern const struct redis_script queue_script_redrive;
extern const struct redis_script queue_script_delete;

queue_depths_fn queue_redis_depths;
extern const struct queue_admin_ops queue_redis_admin;

/* Reads {id, lane, key, attempts, enqueued_ms, body, …} into m, which then owns its body. */
void queue_redis_message(const struct redis_reply *r, struct queue_message *m);

#endif
