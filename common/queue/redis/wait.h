/*
 * Waiting for a message of a Redis queue.
 *
 * One thread subscribes to the channel on which every put, nack and redrive is announced, this
 * process's own included. A receive reports the number of announcements before it started, whether
 * it emptied the lane, and when the next message is due. So no announcement between a receive and
 * the wait after it is missed, and an idle lane costs one poll a second. While the subscription is
 * down, waits are short and receives poll. Threading: any thread; queue_redis_waiters_free only
 * when no wait is in progress.
 */
#ifndef MAYFLY_QUEUE_REDIS_WAIT_H
#define MAYFLY_QUEUE_REDIS_WAIT_H

#include "common/redis/store.h"

struct queue_redis_waiters;

/* store: borrowed for the object's life. The thread starts with the first wait. */
struct queue_redis_waiters *queue_redis_waiters_new(struct redis_store *store);
void queue_redis_waiters_free(struct queue_redis_waiters *w); /* NULL is fine */

/* Call before a receive: the number of announcements in the lane so far. */
int64_t queue_redis_announced(struct queue_redis_waiters *w, const char *lane);
/* Call after a receive that left nothing ready. announced: queue_redis_announced before it.
 * due_in_ms: when the next message is due (-1: none is). */
void queue_redis_emptied(struct queue_redis_waiters *w, const char *lane, int64_t announced,
                         int64_t due_in_ms);

/* Returns when a receive from the lane may find a message, after timeout_ms, or early. */
void queue_redis_wait(struct queue_redis_waiters *w, const char *lane, int64_t timeout_ms);

/* Makes all present and later waits return. */
void queue_redis_waiters_interrupt(struct queue_redis_waiters *w);

#endif
