/*
 * Waiting for a message of a Redis queue.
 *
 * One thread listens to the channel on which every put, return and kick is announced, also our own
 * process's. A take says what it saw: how the lane stood before it asked, whether it emptied it,
 * and when more comes due; so nothing announced between a take and the wait after it is missed, and
 * an idle lane costs one look a second. While the subscription is lost, waits become short and
 * takes poll. Threading: any thread; queue_redis_waiters_free when no wait is under way.
 */
#ifndef MAYFLY_QUEUE_REDIS_WAIT_H
#define MAYFLY_QUEUE_REDIS_WAIT_H

#include "common/redis/store.h"

struct queue_redis_waiters;

/* store: borrowed for the object's life. The thread starts with the first wait. */
struct queue_redis_waiters *queue_redis_waiters_new(struct redis_store *store);
void queue_redis_waiters_free(struct queue_redis_waiters *w); /* NULL is fine */

/* To be called before a take: a mark of what was announced in the lane so far. */
int64_t queue_redis_mark(struct queue_redis_waiters *w, const char *lane);
/* After a take that left nothing to take: its mark, and in how many ms more comes due (-1: nothing
 * will). */
void queue_redis_emptied(struct queue_redis_waiters *w, const char *lane, int64_t mark,
                         int64_t due_in_ms);

/* Returns when a take of the lane may find something, after timeout_ms, or early. */
void queue_redis_wait(struct queue_redis_waiters *w, const char *lane, int64_t timeout_ms);

/* Ends all present and later waits. */
void queue_redis_waiters_end(struct queue_redis_waiters *w);

#endif
