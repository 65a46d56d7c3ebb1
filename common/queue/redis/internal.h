/*
 * What the files of the Redis queue share: its state, its scripts, reading a message.
 *
 * For queue_redis*.c alone. Keys, each behind "{mayfly:<prefix>}:q:":
 *   seq        the last message's number          lanes      the set of lanes that ever were
 *   m:<id>     the record, a hash: l lane, k key, b body, a attempts, e enqueued, n lease number,
 *              p place (r l d x), s its entry in a stream, u buried, r reason
 *   s:<lane>   stream of ids, read by the group "mayfly": what it has not delivered is ready
 *   h:<lane>   sorted set of the delivered: id by the time its lease ends (returned: by now)
 *   d:<lane>   sorted set of the delayed: id by the time it is due
 *   x:<lane>   stream of the dead                 k:<key>    sorted set: ids of a key
 *   wake       channel: "<lane> <ready> <delay in ms or -1>"
 */
#ifndef MAYFLY_QUEUE_REDIS_INTERNAL_H
#define MAYFLY_QUEUE_REDIS_INTERNAL_H

#include "common/queue/queue_backend.h"
#include "common/queue/redis/wait.h"
#include "common/redis/store.h"

#define QUEUE_REDIS_VERSION 1 /* of the keys' layout */

struct queue_redis {
    struct redis_store *store;
    struct queue_redis_waiters *waiters;
};

/* Each script's ARGV and answer stand at its text, in redis/scripts.c. */
extern const struct redis_script queue_script_open;
extern const struct redis_script queue_script_put;
extern const struct redis_script queue_script_take;
extern const struct redis_script queue_script_done;
extern const struct redis_script queue_script_extend;
extern const struct redis_script queue_script_retry;
extern const struct redis_script queue_script_bury;
extern const struct redis_script queue_script_depths;
extern const struct redis_script queue_script_dead;
extern const struct redis_script queue_script_find;
extern const struct redis_script queue_script_kick;
extern const struct redis_script queue_script_drop;

queue_depths_fn queue_redis_depths;
extern const struct queue_admin_ops queue_redis_admin;

/* Reads {id, lane, key, attempts, enqueued_ms, body, …} into m, whose body is owned after. */
void queue_redis_message(const struct redis_reply *r, struct queue_message *m);

#endif
