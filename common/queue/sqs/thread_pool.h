/*
 * A crew: a bounded number of threads that work off the numbered parts of a task together.
 *
 * The caller works too, so a task is done even if no thread could be started; several tasks share
 * the crew. Threads start with the first task that has work for them and stay until the end.
 * Threading: any thread; sqs_pool_free when no task is under way.
 */
#ifndef MAYFLY_QUEUE_SQS_THREAD_POOL_H
#define MAYFLY_QUEUE_SQS_THREAD_POOL_H

#include <stddef.h>

struct sqs_thread_pool;

struct sqs_thread_pool *sqs_pool_new(size_t threads_max);
void sqs_pool_free(struct sqs_thread_pool *c); /* NULL is fine */

typedef void sqs_part_fn(void *arg, size_t part);
/* Calls work(arg, 0) … work(arg, parts - 1), each once, on several threads; returns after the last.
 */
void sqs_pool_run(struct sqs_thread_pool *c, sqs_part_fn *work, void *arg, size_t parts);

#endif
